//! UISP's list of backups: any bytes make a listing that is fit to act on, or none.

use std::collections::BTreeSet;

use backup_sync_dropbox::mirror::names::Naming;
use backup_sync_dropbox::source::rows;
use backup_sync_dropbox::text::is_printable;
use backup_sync_dropbox::zone::Zone;
use serde_json::Value;

/// Panics if what is made of the input is not as it should be.
pub fn check(json: &[u8]) {
    let listing = rows::parse(json);
    // What is JSON is a listing exactly if it is a list.
    if let Ok(value) = serde_json::from_slice::<Value>(json) {
        assert_eq!(listing.is_ok(), value.is_array());
    }
    let Ok(listing) = listing else { return };

    let mut ids = BTreeSet::new();
    for backup in &listing.backups {
        assert!(ids.insert(&backup.id), "{} stands twice", backup.id);
        let name = Naming::Dated(Zone::UTC).file_name(backup);
        assert!(!name.contains('/') && name.len() < 100, "{name:?}");
        assert_eq!(
            Naming::Dated(Zone::UTC).recognise(&name).as_ref(),
            Some(&backup.id)
        );
        // Both ways to read the list agree, unless a row that is passed over has the same id.
        if listing.problems.is_empty() {
            let state = rows::state_of(json, &backup.id).expect("it was a list before");
            assert_eq!(state == Some(rows::State::Finished), backup.finished);
        }
    }
    assert!(listing.problems.len() <= 21, "the log is flooded");
    for problem in &listing.problems {
        assert!(problem.chars().count() < 300, "{problem:?}");
        assert!(problem.chars().all(is_printable), "{problem:?}");
    }
}
