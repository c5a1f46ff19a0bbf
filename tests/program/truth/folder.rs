//! Folders in which something cannot be taken, is not ready, or takes another thing's place.

use std::fs;
use std::os::unix::fs::symlink;

use sandbox::dropbox::faults;
use sandbox::http::{Action, On};
use serde_json::json;

use super::{START, Watch, assert_holds, changed_meanwhile, dry_run};
use crate::folder::world::FolderWorld;

/// A world with these files, mirrored and watched.
fn mirrored(names: &[&str]) -> (FolderWorld, Watch) {
    let world = FolderWorld::new();
    for name in names {
        world.write(name, format!("content of {name}"));
    }
    let watch = Watch::over(&world);
    watch.run_well(&world);
    (world, watch)
}

/// Asserts that Dropbox has the content that these names had at first.
#[track_caller]
fn assert_safe(world: &FolderWorld, names: &[&str]) {
    for name in names {
        assert_holds(world, &format!("content of {name}"));
    }
}

const NINE: [&str; 9] = ["db/1", "db/2", "db/x/3", "db/x/4", "e", "f", "g", "h", "i"];

#[test]
fn what_was_moved_to_another_disk_and_linked_stays() {
    let (world, watch) = mirrored(&NINE);
    let disk = tempfile::tempdir().unwrap();
    fs::rename(world.path("db"), disk.path().join("db")).unwrap();
    symlink(disk.path().join("db"), world.path("db")).unwrap();
    watch.run_not_well(&world).assert_line(&["0 deleted"]);
    assert_safe(&world, &NINE);
    // One of them.
    let (world, watch) = mirrored(&NINE);
    fs::rename(world.path("db/x"), disk.path().join("x")).unwrap();
    symlink(disk.path().join("x"), world.path("db/x")).unwrap();
    world.remove("e");
    watch.run_not_well(&world);
    assert_safe(
        &world,
        &["db/1", "db/2", "db/x/3", "db/x/4", "f", "g", "h", "i"],
    );
    assert!(
        world.dropbox.file("/e").is_none(),
        "nothing protects it: {}",
        world.log()
    );
    // One of them, under another name: only its length tells. A link to what is listed protects nothing else.
    let (world, watch) = mirrored(&NINE);
    fs::rename(world.path("db/x/3"), disk.path().join("3")).unwrap();
    symlink(disk.path().join("3"), world.path("elsewhere")).unwrap();
    symlink("f", world.path("latest")).unwrap();
    world.remove("e");
    watch.run_not_well(&world).assert_line(&["1 deleted"]);
    assert_safe(&world, &["db/x/3"]);
    assert!(world.dropbox.file("/e").is_none(), "{}", world.log());
}

#[test]
fn what_got_a_name_that_dropbox_cannot_hold_stays_wherever_it_is_now() {
    for (from, to) in [
        ("db/1", "db/1 "),
        ("db/1", "db/a\\b"),
        ("db/1", "moved "),
        ("db", "db "),
        ("db/x", "x\n"),
        ("db/1", "new /1"),
    ] {
        let (world, watch) = mirrored(&NINE);
        if let Some(folder) = world.path(to).parent() {
            fs::create_dir_all(folder).unwrap();
        }
        fs::rename(world.path(from), world.path(to)).unwrap();
        let ended = world.run();
        eprintln!("{from:?} -> {to:?}");
        watch.assert_not_well(&world, &ended);
        ended.assert_line(&["0 deleted"]);
        assert_safe(&world, &NINE);
    }
}

/// What Dropbox answers to a commit under a name that it does not take.
fn refusal(reason: &str) -> serde_json::Value {
    json!({".tag": "path", "reason": {".tag": reason}, "upload_session_id": "x"})
}

#[test]
fn what_got_a_name_that_dropbox_refuses_stays_also_in_the_run_that_learns_of_it() {
    for reason in ["malformed_path", "disallowed_name"] {
        let (world, watch) = mirrored(&NINE);
        let name = "\u{1f680} 1.zip";
        fs::rename(world.path("db/1"), world.path(name)).unwrap();
        world
            .dropbox
            .refuse_commits(Some(&format!("/{name}")), refusal(reason), u32::MAX);
        for run in 0..3 {
            let ended = watch.run_with_gap(&world);
            assert_eq!(ended.code, Some(0), "{}", ended.log);
            ended.assert_line(&["WARNING: Dropbox refuses the name of", name]);
            assert_safe(&world, &NINE);
            assert!(world.dropbox.file("/db/1").is_some(), "run {run}");
        }
        // It holds nothing else up.
        world.remove("i");
        world.write("new", "new one");
        world.run_well().assert_line(&["1 uploaded", "1 deleted"]);
        assert!(world.dropbox.file("/i").is_none());
        // With another name all is well, and its old copy goes.
        fs::rename(world.path(name), world.path("1.zip")).unwrap();
        watch.run_well(&world);
        world.assert_stored(&[
            "1.zip", "db/2", "db/x/3", "db/x/4", "e", "f", "g", "h", "new",
        ]);
    }
}

#[test]
fn the_only_file_whose_new_name_and_content_dropbox_refuses_keeps_its_copy() {
    let (world, watch) = mirrored(&["only"]);
    world.remove("only");
    world.write("\u{1f680}", "another content of another length");
    world
        .dropbox
        .refuse_commits(None, refusal("malformed_path"), u32::MAX);
    let ended = watch.run_not_well(&world);
    ended.assert_line(&["WARNING: 1 file in Dropbox is on hold"]);
    assert_safe(&world, &["only"]);
}

#[test]
fn a_refused_name_is_sent_only_once_a_week() {
    let (world, watch) = mirrored(&["a", "b"]);
    // By Dropbox's clock, of which this machine's may be far behind.
    world
        .dropbox
        .advance_clock(std::time::Duration::from_secs(30 * 24 * 3600));
    world.write("bad", "refused");
    world
        .dropbox
        .refuse_commits(Some("/bad"), refusal("malformed_path"), 1);
    watch.run_not_well(&world);
    let sent = world.count(START);
    for _ in 0..3 {
        world
            .dropbox
            .advance_clock(std::time::Duration::from_secs(2 * 24 * 3600));
        watch.run_not_well(&world);
        assert_eq!(world.count(START), sent);
    }
    world
        .dropbox
        .advance_clock(std::time::Duration::from_secs(2 * 24 * 3600));
    watch.run_well(&world);
    world.assert_stored(&["a", "b", "bad"]);
}

#[test]
fn the_last_dump_stays_until_the_next_one_is_there() {
    let (world, watch) = mirrored(&["dump-1.sql", "readme"]);
    world.remove("dump-1.sql");
    world.write_just_now("dump-2.sql", "half a dump");
    watch.run_not_well(&world).assert_line(&["0 deleted"]);
    assert_safe(&world, &["dump-1.sql"]);
    world.write("dump-2.sql", "the whole dump");
    watch
        .run_well(&world)
        .assert_line(&["1 uploaded", "1 deleted"]);
    world.assert_stored(&["dump-2.sql", "readme"]);
}

#[test]
fn seven_nights_of_empty_dumps_take_no_dump_away() {
    let dumps: Vec<String> = (1..=7).map(|night| format!("dump-{night}.sql")).collect();
    let mut names: Vec<&str> = dumps.iter().map(String::as_str).collect();
    names.push("readme");
    let (world, watch) = mirrored(&names);
    for night in 8..=14 {
        world.remove(format!("dump-{}.sql", night - 7));
        world.write(format!("dump-{night}.sql"), "");
        let ended = watch.run_with_gap(&world);
        assert_safe(&world, &names);
        if night >= 10 {
            assert!(ended.log.contains("WARNING"), "{}", ended.log);
        }
    }
    // The first good one sets the old ones free, as far as that is no sudden loss.
    for night in 8..=14 {
        world.write(format!("dump-{night}.sql"), format!("dump of {night}"));
    }
    world.run_well();
    for night in 8..=14 {
        assert_holds(&world, &format!("dump of {night}"));
    }
}

#[test]
fn seven_nights_of_empty_dumps_under_names_that_move_on_leave_the_last_good_one() {
    let (world, watch) = mirrored(&["dump.1", "dump.2", "dump.3", "readme"]);
    for _ in 0..7 {
        fs::rename(world.path("dump.2"), world.path("dump.3")).unwrap();
        fs::rename(world.path("dump.1"), world.path("dump.2")).unwrap();
        world.write("dump.1", "");
        watch.run_with_gap(&world);
    }
    assert_safe(&world, &["dump.1", "readme"]);
}

#[test]
fn a_copy_of_an_older_version_is_not_taken_for_the_present_one() {
    let (world, watch) = mirrored(&["a", "b"]);
    world.write_just_now("a", "half of the new a");
    let ended = watch.run_not_well(&world);
    ended.assert_line(&["Not copied, because changed within", "\"a\""]);
    world.write("a", "the new a");
    watch.run_well(&world);
    // A file that marks its folder holds nothing.
    world.write("sub/.gitkeep", "");
    watch
        .run_well(&world)
        .assert_line(&["0 uploaded", "0 deleted", "2 unchanged"]);
}

#[test]
fn a_file_becomes_a_folder_and_a_folder_a_file() {
    let (world, watch) = mirrored(&["dump", "d/1", "e", "f", "g"]);
    world.remove("dump");
    world.write("dump/new", "in the folder");
    watch
        .run_well(&world)
        .assert_line(&["1 uploaded", "1 deleted"]);
    world.assert_stored(&["dump/new", "d/1", "e", "f", "g"]);
    world.remove("dump/new");
    fs::remove_dir(world.path("dump")).unwrap();
    world.write("dump", "a file again");
    watch
        .run_well(&world)
        .assert_line(&["1 uploaded", "1 deleted"]);
    world.assert_stored(&["dump", "d/1", "e", "f", "g"]);
    // The folder stays in Dropbox when its only file goes.
    world.remove("d/1");
    watch.run_well(&world).assert_line(&["1 deleted"]);
    fs::remove_dir(world.path("d")).unwrap();
    world.write("d", "now a file");
    watch.run_well(&world).assert_line(&["1 uploaded"]);
    world.assert_stored(&["dump", "d", "e", "f", "g"]);
}

#[test]
fn what_is_in_the_way_goes_only_by_the_rules_of_deletion() {
    // It stays for its days.
    let (world, watch) = mirrored(&["dump", "e", "f"]);
    world.configure(json!({"keepDeletedDays": 5}));
    world.remove("dump");
    world.write("dump/new", "in the folder");
    watch
        .run_with_gap(&world)
        .assert_line(&["is in its place in Dropbox"]);
    assert_safe(&world, &["dump"]);
    world
        .dropbox
        .advance_clock(std::time::Duration::from_secs(6 * 24 * 3600));
    watch.run_well(&world);
    world.assert_stored(&["dump/new", "e", "f"]);
    // Somebody's own file in the folder.
    let (world, watch) = mirrored(&["d/1", "e", "f"]);
    world.dropbox.put("/d/own", b"somebody's own");
    world.remove("d/1");
    fs::remove_dir(world.path("d")).unwrap();
    world.write("d", "now a file");
    watch.run_not_well(&world);
    assert_holds(&world, "somebody's own");
    assert_safe(&world, &["d/1"]);
    // Another upload fails: rule 6.
    let (world, watch) = mirrored(&["dump", "e", "f"]);
    world.remove("dump");
    world.write("dump/new", "in the folder");
    world.write("other", "fails");
    world
        .dropbox
        .refuse_commits(Some("/other"), refusal("no_write_permission"), 1);
    let ended = watch.run_not_well(&world);
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    assert_safe(&world, &["dump"]);
    watch.run_well(&world);
    world.assert_stored(&["dump/new", "e", "f", "other"]);
    // All uploads fail.
    let (world, watch) = mirrored(&["dump", "e", "f"]);
    world.remove("dump");
    world.write("dump/new", "in the folder");
    world.write("other", "fails");
    world
        .dropbox
        .inject(On::every(START), faults::server_error());
    watch.run_not_well(&world);
    assert_safe(&world, &["dump"]);
}

#[test]
fn a_folder_with_something_of_another_is_never_emptied_for_a_file() {
    let (world, watch) = mirrored(&["d/1", "e", "f", "g"]);
    world.remove("d/1");
    fs::remove_dir(world.path("d")).unwrap();
    world.write_just_now("d", "not ready");
    watch.run_not_well(&world);
    assert_safe(&world, &["d/1"]);
}

#[test]
fn a_folder_that_gets_a_file_during_the_run_is_not_removed_for_a_file() {
    let (world, watch) = mirrored(&["d/1", "e", "f"]);
    world.remove("d/1");
    watch.run_well(&world).assert_line(&["1 deleted"]);
    world.dropbox.put_folder("/d");
    fs::remove_dir(world.path("d")).unwrap();
    world.write("d", "now a file");
    world.write("other", "sent before it");
    let log = changed_meanwhile(&world, || {
        world.dropbox.put("/d/own", b"somebody's own");
    });
    assert_holds(&world, "somebody's own");
    assert_eq!(watch.ping(), Some("bad"), "{log}");
}

#[test]
fn a_memory_of_another_folder_is_none_of_this_one_also_after_a_crash() {
    let (world, _watch) = mirrored(&["a", "b", "c", "d"]);
    for name in ["a", "b", "c"] {
        world.remove(name);
    }
    world.run_well();
    assert_eq!(world.state()["on_hold"].as_array().unwrap().len(), 3);
    // Another folder is named, and the box is ticked; the run is killed when it has taken note of the tick.
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("new"), "new").unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let file = fs::File::options()
        .write(true)
        .open(other.path().join("new"));
    file.unwrap().set_modified(old).unwrap();
    world.configure(json!({"backupDirectory": other.path(), "confirmCleanup": true}));
    let shown = dry_run(&world);
    let deletes = |(action, _): &(String, String)| action == "delete";
    assert!(!shown.iter().any(deletes), "{shown:?}");
    world.run();
    let contents = super::contents(&world);
    for name in ["a", "b", "c", "d"] {
        assert_safe(&world, &[name]);
    }
    assert!(contents.len() >= 4);
}

#[test]
fn another_folder_with_the_same_names_takes_no_copy_away() {
    let (world, watch) = mirrored(&["a", "b"]);
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("a"), "of another folder").unwrap();
    world.configure(json!({"backupDirectory": other.path()}));
    watch
        .run_well(&world)
        .assert_line(&["1 uploaded", "0 deleted"]);
    assert_safe(&world, &["a", "b"]);
    assert_holds(&world, "of another folder");
}

#[test]
fn a_night_in_which_everything_is_rewritten_is_told() {
    let names: Vec<String> = (0..10).map(|number| format!("file-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let warning = "WARNING: 10 files in Dropbox are about to be replaced";
    let (world, watch) = mirrored(&names);
    world.write("file-0", "one is usual");
    assert!(!watch.run_well(&world).log.contains("about to be replaced"));
    // More than usual, but less than half.
    for name in &names[..4] {
        world.write(name, "now it is four");
    }
    assert!(!watch.run_well(&world).log.contains("about to be replaced"));
    for same_length in [false, true] {
        let (world, watch) = mirrored(&names);
        watch.run_well(&world);
        for name in &names {
            let content = format!("encrypted {name}");
            let length = if same_length {
                format!("content of {name}").len()
            } else {
                content.len()
            };
            world.write(
                name,
                content.chars().cycle().take(length).collect::<String>(),
            );
        }
        let ended = world.run_well();
        ended.assert_line(&[warning]);
        crate::page::crm::page_around(&world).assert_says(&["about to be replaced", "Attention"]);
    }
    // New times alone replace nothing, night after night.
    let (world, watch) = mirrored(&names);
    for _ in 0..2 {
        for name in &names {
            world.write(name, format!("content of {name}"));
        }
        let ended = watch.run_well(&world);
        assert!(!ended.log.contains("about to be replaced"), "{}", ended.log);
    }
}

#[test]
fn what_is_usual_once_a_day_is_no_news_for_who_runs_every_hour() {
    let names = ["a", "b", "c", "d"];
    let (world, watch) = mirrored(&names);
    for night in 0..2 {
        for name in names {
            world.write(name, format!("{name} of night {night}, which is longer"));
        }
        let ended = world.run_well();
        let is_told = ended.log.contains("about to be replaced");
        assert_eq!(is_told, night == 0, "{}", ended.log);
        for _ in 0..12 {
            world.run_well();
        }
    }
    drop(watch);
}

#[test]
fn a_service_that_is_down_is_told_as_bad_not_as_well() {
    let (world, watch) = mirrored(&["a", "b"]);
    world.remove("a");
    world.write("c", "new");
    world
        .dropbox
        .inject(On::every("files/list_folder"), Action::text(400, "no"));
    let ended = world.run();
    assert_eq!(ended.code, Some(1));
    assert_eq!(watch.ping(), Some("bad"));
    assert_safe(&world, &["a"]);
}
