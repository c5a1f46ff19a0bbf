//! One backup that cannot be read, or not as it should.

use std::time::Duration;

use sandbox::http::{Action, Gate, On};
use sandbox::uisp::Backup;
use serde_json::json;

use super::*;
use crate::support::PATIENCE;

#[test]
fn a_backup_that_cannot_be_read_fails_alone_and_nothing_is_deleted() {
    let body = |content_type: &str, body: &str| Action::Status {
        code: 200,
        headers: vec![("Content-Type".into(), content_type.into())],
        body: body.into(),
    };
    let page = "<!DOCTYPE html>\n<html><title>Log in</title></html>";
    let message = r#"{"statusCode":500,"error":"Internal Server Error"}"#;
    // Small backups meet all faults in the matrix.
    for (number, name, action) in [
        (
            5,
            "HTML in disguise",
            body("application/octet-stream", page),
        ),
        (
            5,
            "JSON in disguise",
            body("application/octet-stream", message),
        ),
        (
            6,
            "HTML in disguise",
            body("application/octet-stream", page),
        ),
        (6, "JSON", body("application/json; charset=utf-8", message)),
        (6, "empty", body("application/octet-stream", "")),
        (6, "500", Action::html(500, page)),
        (6, "cut", Action::TruncateResponse(1000)),
        (6, "reset", Action::ResetMidResponse(1000)),
    ] {
        let world = changed_world();
        world
            .uisp
            .inject(On::every(&download_route(number)), action);
        let ended = world.run_badly();
        ended.assert_line(&["ERROR: ", &name_of(number), "could not be uploaded"]);
        ended.assert_line(&["Finished: 2 uploaded", "0 deleted", "1 failed"]);
        assert!(file_of(&world, number).is_none(), "{name}");
        assert!(file_of(&world, 1).is_some(), "{name}");
        assert_recovers(&world);
    }
}

#[test]
fn a_download_without_length_that_breaks_off_is_not_stored() {
    for (number, cut) in [(5, 1000), (6, 5 * MIB), (6, 8 * MIB)] {
        for supports_range in [true, false] {
            let world = changed_world();
            world.uisp.configure(|options| {
                options.announces_length = false;
                options.supports_range = supports_range;
            });
            let route = download_route(number);
            world
                .uisp
                .inject(On::next(&route), Action::TruncateResponse(cut));
            world.run_well();
            world.assert_mirrored();
        }
    }
}

#[test]
fn an_end_that_is_not_told_is_proved() {
    // A whole block, the end of one, the middle of one; of a small backup, too.
    let cuts = [(5, 1000), (6, 4 * MIB), (6, 5 * MIB), (6, 8 * MIB)];
    for (number, bytes) in cuts {
        for chunked in [true, false] {
            for supports_range in [true, false] {
                let world = changed_world();
                world.uisp.configure(|options| {
                    options.announces_length = false;
                    options.supports_range = supports_range;
                });
                let cut = Action::EndEarly { bytes, chunked };
                world.uisp.inject(On::next(&download_route(number)), cut);
                let ended = world.run_well();
                world.assert_mirrored();
                // What is there already is not sent again.
                assert!(!ended.log.contains("begins again"), "{}", ended.log);
            }
        }
    }
    // Each time, so that only the parts together are the whole.
    let world = changed_world();
    world
        .uisp
        .configure(|options| options.announces_length = false);
    let cut = Action::EndEarly {
        bytes: 5 * MIB,
        chunked: true,
    };
    world.uisp.inject(On::every(&download_route(6)), cut);
    world.run_well();
    world.assert_mirrored();
}

#[test]
fn another_content_of_the_same_length_proves_no_end() {
    let world = changed_world();
    world.uisp.configure(|options| {
        options.announces_length = false;
        options.supports_range = false;
    });
    let route = download_route(6);
    let gate = Gate::new();
    // The first download is the backup's, the second one the proof's.
    let hold = Action::Hold(gate.clone());
    world.uisp.inject(On::nth(&route, 2), hold);
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE));
    world.remove_backup(6);
    world.uisp.add(Backup {
        seed: 1,
        altered_at: None,
        ..Backup::numbered(6, LARGE)
    });
    gate.open();
    run.wait();
    let stored = file_of(&world, 6).map(|file| file.content_hash);
    let present = world.uisp.content_hash(&Backup::numbered(6, 0).id);
    assert!(stored.is_none() || stored == present, "{}", world.log());
}

#[test]
fn an_end_that_is_not_told_is_proved_for_comparisons_too() {
    let world = changed_world();
    let whole = Backup::numbered(6, LARGE);
    let cut = whole.bytes()[..5 * MIB as usize].to_vec();
    world
        .dropbox
        .put(&format!("/unms-backup-20260107-0012{}", name_of(6)), &cut);
    world.uisp.configure(|options| {
        options.announces_length = false;
        options.supports_range = false;
    });
    let early = Action::EndEarly {
        bytes: 5 * MIB,
        chunked: true,
    };
    world.uisp.inject(On::next(&download_route(6)), early);
    world.run();
    let stored = file_of(&world, 6).unwrap();
    assert_eq!(stored.content_hash, whole.content_hash());
}

#[test]
fn a_download_that_breaks_off_again_and_again_goes_on_by_range() {
    let world = changed_world();
    let cut = Action::TruncateResponse(5 * MIB);
    world.uisp.inject(On::every(&download_route(6)), cut);
    world.run_well();
    world.assert_mirrored();
}

#[test]
fn a_backup_that_changes_while_it_is_read_is_not_stored() {
    for (supports_range, new_size) in [
        (false, LARGE),
        (false, LARGE - 1),
        (true, LARGE - 1),
        (true, LARGE + 1),
    ] {
        let world = changed_world();
        world
            .uisp
            .configure(|options| options.supports_range = supports_range);
        let route = download_route(6);
        let gate = Gate::new();
        world
            .uisp
            .inject(On::next(&route), Action::TruncateResponse(5 * MIB));
        world
            .uisp
            .inject(On::nth(&route, 2), Action::Hold(gate.clone()));
        let run = world.start();
        assert!(gate.wait_reached(PATIENCE));
        world.remove_backup(6);
        let changed = Backup {
            seed: 1,
            altered_at: None,
            ..Backup::numbered(6, new_size)
        };
        world.uisp.add(changed);
        gate.open();
        let code = run.wait();
        // Sending the new content whole is as good as leaving it to the next run.
        let stored = file_of(&world, 6).map(|file| file.content_hash);
        let hash = world.uisp.content_hash(&Backup::numbered(6, 0).id);
        let what = format!("range {supports_range}, {new_size} bytes: {}", world.log());
        assert!(stored.is_none() || stored == hash, "{what}");
        // Another length is noticed at once.
        assert!(
            new_size == LARGE || what.contains("another content than before"),
            "{what}"
        );
        assert!(code == Some(0) || file_of(&world, 1).is_some());
        assert_recovers(&world);
    }
}

#[test]
fn a_backup_that_is_deleted_during_the_run_leaves_no_trace() {
    // As some say it whose content is gone for good.
    let world = changed_world();
    let gate = Gate::new();
    let list = On::next("nms/backups");
    world.uisp.inject(list, Action::HoldAnswer(gate.clone()));
    let gone = Action::json(410, &json!({"statusCode": 410, "error": "Gone"}));
    world.uisp.inject(On::every(&download_route(5)), gone);
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE));
    world.remove_backup(5);
    gate.open();
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    assert_recovers(&world);

    let world = changed_world();
    let gate = Gate::new();
    world
        .uisp
        .inject(On::next(&download_route(5)), Action::Hold(gate.clone()));
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE));
    world.remove_backup(5);
    gate.open();
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    assert!(
        world
            .log()
            .contains("was deleted in UISP before its turn came")
    );
    assert!(file_of(&world, 5).is_none());
    assert_recovers(&world);
}

#[test]
fn a_backup_that_crawls_is_given_up_for_the_others() {
    // Its first byte comes after each minute and a half, or a block takes half an hour.
    for (number, bytes, every) in [(7, 1, 900), (6, 4096, 20)] {
        let world = changed_world();
        let every = Duration::from_millis(every);
        let crawl = Action::SlowResponse { bytes, every };
        world.uisp.inject(On::every(&download_route(number)), crawl);
        let ended = world.run_badly();
        ended.assert_line(&[
            "ERROR: ",
            &name_of(number),
            "less than a block in 10 minutes",
        ]);
        ended.assert_line(&["Finished: 2 uploaded", "0 deleted", "1 failed"]);
        assert_recovers(&world);
    }
}

#[test]
fn what_begins_elsewhere_is_not_the_rest_of_a_backup() {
    for range in ["bytes 5-9/8388609", "bytes */8388609", "5-9", ""] {
        let world = changed_world();
        let route = download_route(6);
        world
            .uisp
            .inject(On::next(&route), Action::TruncateResponse(5 * MIB));
        let elsewhere = Action::text(206, "other").with_header("Content-Range", range);
        world.uisp.inject(On::every(&route), elsewhere);
        let ended = world.run_badly();
        ended.assert_line(&["ERROR: ", &name_of(6), "the rest of a backup"]);
        assert_recovers(&world);
    }
}

#[test]
fn a_token_that_uisp_refuses_during_the_run_ends_the_uploads() {
    let world = changed_world();
    world.add_backups(10, 30, 1000);
    let refused = Action::json(401, &json!({"statusCode": 401, "error": "Unauthorized"}));
    world.uisp.inject(On::every("nms/backups/*"), refused);
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", "\"UISP API token\""]);
    assert!(world.uisp.traffic().count("nms/backups/*") < 24);
    assert!(file_of(&world, 1).is_some());
    assert_recovers(&world);
}
