//! The journal of an upload: whatever a power cut or a bad disk makes of it, what is read of its beginning stays
//! the same when its end is lost.

use backup_sync_dropbox::state::journal::parse;
use chrono::{DateTime, Utc};

/// Panics if what is made of the input is not as it should be.
pub fn check(input: &[u8]) {
    let Some((number, content)) = input.split_first_chunk() else {
        return;
    };
    let cut = u16::from_le_bytes(*number);
    let now: DateTime<Utc> = "2026-11-21T00:00:00Z".parse().expect("a time");
    let read = |content: &[u8]| parse(&String::from_utf8_lossy(content), None, now);

    let whole = read(content);
    let part = read(&content[..usize::from(cut).min(content.len())]);
    let Some(part) = part else { return };
    let whole = whole.expect("its first line is whole in the part, too");
    assert_eq!(part.session_id, whole.session_id);
    assert!(
        part.blocks
            .keys()
            .all(|index| whole.blocks.contains_key(index))
    );
    assert!(part.complete.is_none() || whole.complete.is_some());
}
