//! The table of backups after real runs: what was uploaded, deleted, kept and why.

use sandbox::http::{Action, Fault, On};
use sandbox::uisp::Backup;
use serde_json::json;

use super::crm::Site;
use crate::support::World;

/// When a backup was made, its size and where it is.
fn row(page: &str, number: u32) -> Option<Vec<String>> {
    let id = Backup::numbered(number, 0).id;
    let (_, list) = page.split_once("id=\"backups\"")?;
    let row = list.split("<li>").find(|row| row.contains(&id))?;
    let cells = row.split("<span").skip(1).map(|cell| {
        let (_, text) = cell.split_once('>').unwrap();
        text.split("</span>").next().unwrap().to_owned()
    });
    Some(cells.collect())
}

fn mirrored(count: u32) -> Site {
    let site = Site::around(World::authorized());
    site.world.add_backups(1, count, 1000);
    site.world.run_well();
    site
}

fn is_time(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    digits >= 5 && text.contains(':') && text.contains(' ')
}

#[test]
fn what_was_uploaded_is_there_since_then_and_verified() {
    let page = mirrored(3).page();
    page.assert_says(&[
        "All 3 backups are in Dropbox.",
        "America/Caracas (UTC-04:00)",
    ]);
    let cells = row(&page.body, 2).unwrap();
    // 04:12 UTC in the host's timezone.
    assert!(
        cells[0].starts_with("Sat 3 Jan") && cells[0].ends_with(", 00:12"),
        "{cells:?}"
    );
    assert_eq!(cells[1], "1.0 kB");
    assert!(
        is_time(cells[2].strip_prefix("verified ").unwrap()),
        "{cells:?}"
    );
    page.assert_says(&[
        "<summary>January 2026 <span class=\"note\">3 files, 3.0 kB</span></summary>",
    ]);
}

#[test]
fn what_was_deleted_is_gone_and_what_is_kept_says_until_when() {
    let site = mirrored(5);
    site.world.remove_backup(1);
    site.world.run_well();
    let page = site.page();
    page.assert_says(&["All 4 backups are in Dropbox."]);
    assert_eq!(row(&page.body, 1), None);

    site.world.configure(json!({"keepDeletedDays": 5}));
    site.world.remove_backup(2);
    site.world.run_well();
    let cells = row(&site.page().body, 2).unwrap();
    let kept = cells[2].strip_prefix("no longer in UISP, kept until ");
    assert!(is_time(kept.unwrap()), "{cells:?}");
}

#[test]
fn what_is_on_hold_and_what_was_never_seen_is_told_apart() {
    let site = mirrored(6);
    let stranger = Backup::numbered(99, 10);
    let name = format!("/unms-backup-20251231-0012_{}.unms", stranger.id);
    site.world.dropbox.put(&name, &stranger.bytes());
    for number in 1..=5 {
        site.world.remove_backup(number);
    }
    site.world.run();
    let page = site.page();
    page.assert_says(&[
        "5 files in Dropbox are on hold.",
        "The only backup is in Dropbox.",
    ]);
    let cells = row(&page.body, 3).unwrap();
    assert_eq!(cells[2], "no longer in UISP, on hold");
    let cells = row(&page.body, 99).unwrap();
    assert_eq!(cells[0], "Wed 31 Dec 2025, 00:12");
    assert_eq!(cells[2], "never seen in UISP");
    let (_, others) = page
        .body
        .split_once("From other servers, or from before")
        .unwrap();
    assert!(others.contains(&stranger.id) && others.contains("1 file, 10 B"));
}

#[test]
fn what_failed_is_not_there_yet_and_the_reason_leads() {
    let site = mirrored(2);
    site.world.add_backups(3, 3, 1000);
    site.world.dropbox.traffic().inject(Fault {
        on: On::every("files/upload_session/start"),
        action: Action::text(400, "a test refuses this"),
    });
    site.world.run_badly();
    let page = site.page();
    page.assert_says(&[
        "The last run failed: ",
        "a test refuses this",
        "2 of 3 backups are in Dropbox.",
    ]);
    // Not the last line, which says nothing new.
    assert!(!page.body.contains("The errors above say what to do"));
    assert_eq!(row(&page.body, 3).unwrap()[2], "not in Dropbox yet");
}

#[test]
fn what_an_older_version_left_is_there_but_not_verified_until_it_was_compared() {
    let site = Site::around(World::authorized());
    site.world.add_backups(1, 1, 1000);
    let backup = Backup::numbered(1, 1000);
    let name = format!("/unms-backup-20260102-0012_{}.unms", backup.id);
    site.world.dropbox.put(&name, &backup.bytes());
    site.world.uisp.traffic().inject(Fault {
        on: On::next(&format!("nms/backups/{}", backup.id)),
        action: Action::text(404, "not now"),
    });
    site.world.run();
    let cells = row(&site.page().body, 1).unwrap();
    assert_eq!(cells[2], "in Dropbox, not compared yet");
    site.world.uisp.traffic().clear_faults();
    site.world.run_well();
    assert!(row(&site.page().body, 1).unwrap()[2].starts_with("verified "));
}

#[test]
fn a_list_that_cannot_be_read_leaves_the_older_picture_with_its_date() {
    let site = mirrored(2);
    site.world.dropbox.traffic().inject(Fault {
        on: On::every("files/list_folder"),
        action: Action::json(
            401,
            &json!({
                "error_summary": "missing_scope/",
                "error": {".tag": "missing_scope", "required_scope": "files.metadata.read"},
            }),
        ),
    });
    site.world.run_badly();
    site.page().assert_says(&[
        "The last run failed: ",
        "tick files.metadata.read on its Permissions tab",
        "All 2 backups are in Dropbox, as listed today",
    ]);
}
