//! Hostile input: what a broken or malicious UISP, Dropbox, admin or disk can hand to the program.
//!
//! The real binary is run where the whole way matters, with its memory watched; the library's
//! parsers get arbitrary bytes in volume.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::support::World;
use chrono::DateTime;
use sandbox::dropbox::content_hash;
use sandbox::http::{Action, On};
use sandbox::uisp::{Backup, RawAnswer};
use serde_json::{Value, json};

const LIST: &str = "files/list_folder";
/// Memory that no hostile input may make the program exceed.
const MEMORY_MAX: u64 = 320 * 1024 * 1024;
/// Time that no hostile input may make the program exceed, far above what is needed.
const TIME_MAX: Duration = Duration::from_secs(300);

// ---- the binary, watched ----

/// Waits for the end of a run; returns its exit code and the most memory it has held.
fn watched(mut child: Child) -> (Option<i32>, u64) {
    let (status, program) = ["status", "exe"]
        .map(|file| format!("/proc/{}/{file}", child.id()))
        .into();
    let tests = std::env::current_exe().unwrap();
    // For a moment, a new process still has the memory of the one that started it.
    let has_begun = || fs::read_link(&program).is_ok_and(|program| program != tests);
    let started = Instant::now();
    let mut most = 0;
    loop {
        // The kernel keeps the high-water mark, so that looking now and then is enough.
        let text = match has_begun() {
            true => fs::read_to_string(&status).unwrap_or_default(),
            false => String::new(),
        };
        let line = text.lines().find(|line| line.starts_with("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        most = most.max(kilobytes.unwrap_or(0) * 1024);
        if let Some(status) = child.try_wait().unwrap() {
            return (status.code(), most);
        }
        if started.elapsed() > TIME_MAX || most > 4 * MEMORY_MAX {
            child.kill().unwrap();
            child.wait().unwrap();
            return (None, most);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// One run with bounded memory that ends by itself and leaves a clean log.
fn run_bounded(world: &World, what: &str) -> Option<i32> {
    run_bounded_as(world, &mut world.command(), what)
}

fn run_bounded_as(world: &World, command: &mut Command, what: &str) -> Option<i32> {
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let (code, most) = watched(command.spawn().unwrap());
    eprintln!("{what}: {} MB", most / 1_000_000);
    assert!(
        code.is_some(),
        "{what}: did not end by itself, or was killed"
    );
    assert!(
        most <= MEMORY_MAX,
        "{what}: {} MB of memory",
        most / 1_000_000
    );
    assert_log_clean(&world.log());
    code
}

/// Every line is one event, short, printable, with its time; framed guides aside.
fn assert_log_clean(log: &str) {
    let is_fit = |c: char| {
        let is_invisible = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        !c.is_control() && !is_invisible
    };
    for line in log.lines() {
        assert!(line.chars().all(is_fit), "not printable: {line:?}");
        assert!(
            line.len() < 4000,
            "too long: {} bytes, {line:.100}",
            line.len()
        );
        let ends_with_time = line.rsplit_once(" (").is_some_and(|(_, time)| {
            DateTime::parse_from_rfc3339(time.trim_end_matches(')')).is_ok()
        });
        assert!(ends_with_time, "not one whole event: {line:?}");
    }
    assert!(!log.contains("because of a bug"), "a panic:\n{log}");
}

/// A mirrored world of three backups, one of which has been deleted since.
fn world_with_a_deletion_due() -> World {
    let world = World::authorized();
    world.add_backups(1, 3, 1000);
    world.run_well();
    world.remove_backup(1);
    world
}

fn list_of(rows: &[Value]) -> RawAnswer {
    RawAnswer::json(200, &Value::from(rows.to_vec()).to_string())
}

fn row(id: &str) -> Value {
    json!({"id": id, "state": "success", "createdAt": "2026-01-05T04:12:00.000Z"})
}

// ---- UISP's list ----

/// Ids that must never reach a path, a URL or a file name.
fn hostile_ids() -> Vec<String> {
    let mut ids: Vec<String> = [
        "",
        " ",
        ".",
        "..",
        "../x",
        "..\\x",
        "a/b",
        "/etc/passwd",
        "a\\b",
        "a b",
        "a\nb",
        "a\r\nHost: x",
        "a\0b",
        "a\u{7f}",
        "a\u{1b}[31mred",
        "%2e%2e%2fx",
        "%",
        "a%0d%0ab",
        "ä",
        "ａ",
        "а",
        "a\u{301}",
        "a\u{202e}b",
        "a\u{2028}b",
        "\u{feff}a",
        "a?b",
        "a#b",
        "a:b",
        "a;b",
        "a&b",
        "a=b",
        "a@b",
        "a_b",
        "a.b",
        "<b>x</b>",
        "\"",
        "'",
        "`id`",
        "$(id)",
        "~",
        "*",
        "CON",
        "nul\0",
        "a,b",
        "[a]",
        "{a}",
        "|",
        "😀",
    ]
    .map(String::from)
    .to_vec();
    // Plain, but a file of that name would be nothing to worry about.
    ids.retain(|id| id != "CON");
    ids.push("a".repeat(65));
    ids.push("a".repeat(5000));
    ids.push("é".repeat(2500));
    ids
}

#[test]
fn hostile_ids_are_no_paths_and_protect_everything() {
    let world = world_with_a_deletion_due();
    let paths = world.dropbox.paths();
    for id in hostile_ids() {
        world.uisp.traffic().clear_log();
        world.uisp.answer_list(Some(list_of(&[
            row(&Backup::numbered(2, 0).id),
            row(&Backup::numbered(3, 0).id),
            row(&id),
        ])));
        let ended = world.run();
        assert_eq!(ended.code, Some(0), "{id:?}: {}", ended.log);
        ended.assert_line(&["WARNING", "row 3"]);
        assert_log_clean(&ended.log);
        assert_eq!(
            world.dropbox.paths(),
            paths,
            "{id:?}: nothing is deleted, nothing appears"
        );
        let asked: BTreeSet<String> = world.uisp.traffic().routes().into_iter().collect();
        let expected = ["nms/backups", "nms/settings"].map(String::from);
        assert_eq!(asked, BTreeSet::from(expected), "{id:?}");
    }
    world.uisp.answer_list(None);
    world.run_well();
    world.assert_mirrored();
}

#[test]
fn all_hostile_rows_at_once_do_not_hide_the_good_ones() {
    let world = world_with_a_deletion_due();
    world.add_backups(4, 4, 1000);
    let good = row(&Backup::numbered(4, 0).id);
    let mut rows: Vec<Value> = hostile_ids().iter().map(|id| row(id)).collect();
    rows.extend([
        json!(null),
        json!(0),
        json!("x"),
        json!([]),
        json!({}),
        json!([[[]]]),
        json!(true),
        json!(1e300),
        json!({"id": ["a"], "state": {"a": 1}, "createdAt": null}),
        json!({"id": "b", "state": "success"}),
        json!({"id": "b", "createdAt": "2026-01-05T04:12:00Z"}),
        json!({"id": "b", "state": 1, "createdAt": "2026-01-05T04:12:00Z"}),
        json!({"ID": "b", "State": "success", "CreatedAt": "2026-01-05T04:12:00Z"}),
        good.clone(),
        good,
    ]);
    world.uisp.answer_list(Some(list_of(&rows)));
    let ended = world.run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_log_clean(&ended.log);
    assert!(
        ended.log.lines().count() < 40,
        "the log is flooded:\n{}",
        ended.log
    );
    assert_eq!(
        world.dropbox.files().len(),
        4,
        "the good one is stored, none is deleted"
    );
}

#[test]
fn duplicate_ids_delete_nothing() {
    let (two, three) = (Backup::numbered(2, 0).id, Backup::numbered(3, 0).id);
    for (twin, state) in [
        (three.clone(), "success"),
        (three.clone(), "failed"),
        (three.to_uppercase(), "success"),
        (format!(" {three}\t"), "success"),
    ] {
        let world = world_with_a_deletion_due();
        let mut second = row(&twin);
        second["state"] = json!(state);
        world
            .uisp
            .answer_list(Some(list_of(&[row(&two), row(&three), second])));
        let ended = world.run();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert_eq!(world.dropbox.files().len(), 3, "{twin:?}");
        assert_eq!(world.count("files/delete_batch"), 0);
    }
}

#[test]
fn lists_of_every_wrong_shape_delete_nothing() {
    let deep = |open: &str, close: &str, depth: usize| open.repeat(depth) + &close.repeat(depth);
    let mut bodies = vec![
        String::new(),
        " ".into(),
        "null".into(),
        "0".into(),
        "\"[]\"".into(),
        "{}".into(),
        "[".into(),
        "]".into(),
        "[]]".into(),
        "[] []".into(),
        "[,]".into(),
        "[1e999]".into(),
        "[-]".into(),
        "[NaN]".into(),
        "[\"\\ud800\"]".into(),
        "\u{feff}[]".into(),
        "<html>".into(),
        json!({"backups": [], "items": []}).to_string(),
        json!({"statusCode": 401, "error": "Unauthorized"}).to_string(),
    ];
    for depth in [100, 127, 128, 200, 100_000] {
        bodies.push(deep("[", "]", depth));
        bodies.push(deep("{\"id\":", "}", depth));
        bodies.push(format!(
            "[{{\"id\":\"a\",\"state\":\"success\",\"x\":{}}}]",
            deep("[", "]", depth)
        ));
    }
    let world = world_with_a_deletion_due();
    for body in bodies {
        world.uisp.answer_list(Some(RawAnswer::json(200, &body)));
        let code = run_bounded(&world, &format!("list {body:.30}"));
        assert!(code.is_some());
        assert_eq!(world.dropbox.files().len(), 3, "{body:.100}");
    }
    world.uisp.answer_list(Some(RawAnswer::new(
        200,
        "application/json",
        vec![0xff; 1000],
    )));
    assert_eq!(run_bounded(&world, "list that is no UTF-8"), Some(1));
    world.uisp.answer_list(None);
    world.run_well();
    world.assert_mirrored();
}

#[test]
fn every_form_of_created_at_is_read_rightly_or_makes_the_list_unfit() {
    // (text, the instant that it must mean if it is accepted)
    let forms = [
        ("2026-01-05T04:12:09Z", Some("20260105-0412")),
        ("2026-01-05T04:12:09.1Z", Some("20260105-0412")),
        ("2026-01-05T04:12:09.123456789Z", Some("20260105-0412")),
        ("2026-01-05T04:12:09,123Z", None),
        ("2026-01-05t04:12:09z", Some("20260105-0412")),
        ("2026-01-05 04:12:09", Some("20260105-0412")),
        ("2026-01-05T04:12Z", Some("20260105-0412")),
        ("2026-01-05T05:12:09+01:00", Some("20260105-0412")),
        ("2026-01-05T05:12:09+0100", Some("20260105-0412")),
        ("2026-01-05T05:12:09+01", Some("20260105-0412")),
        ("2026-01-04T22:42:09-05:30", Some("20260105-0412")),
        ("2026-01-05T04:12:60Z", Some("20260105-0412")),
        ("2026-12-31T23:59:60Z", Some("20261231-2359")),
        ("2026-01-05T24:00:00Z", None),
        ("2026-01-05", None),
        ("20260105T041209Z", None),
        ("2026-W02-1T04:12:09Z", None),
        ("2026-005T04:12:09Z", None),
        ("+002026-01-05T04:12:09Z", Some("20260105-0412")),
        ("-002026-01-05T04:12:09Z", None),
        ("0000-00-00T00:00:00Z", None),
        ("2026-02-30T04:12:09Z", None),
        ("2026-13-01T04:12:09Z", None),
        ("1969-12-31T23:59:59Z", None),
        ("9999-12-31T23:59:59Z", None),
        ("99999-01-01T00:00:00Z", None),
        ("1767586329", None),
        ("Mon, 05 Jan 2026 04:12:09 GMT", None),
        ("2026-01-05T04:12:09+99:99", None),
        ("2026-01-05T04:12:09\u{2212}01:00", Some("20260105-0512")),
        ("", None),
        ("never", None),
    ];
    for (text, expected) in forms {
        let world = World::authorized();
        world
            .uisp
            .configure(|options| options.timezone = Some(json!("UTC")));
        world.add_backups(1, 2, 1000);
        world.run_well();
        world.remove_backup(1);
        world.uisp.add(Backup::finished("form", text, 1000));
        let ended = world.run();
        assert_eq!(ended.code, Some(0), "{text}: {}", ended.log);
        assert_log_clean(&ended.log);
        let paths = world.dropbox.paths();
        let stored = paths.iter().find(|path| path.ends_with("_form.unms"));
        match stored {
            Some(path) => {
                let expected = expected.unwrap_or_else(|| panic!("{text} was taken for {path}"));
                assert_eq!(
                    *path,
                    format!("/unms-backup-{expected}_form.unms"),
                    "{text}"
                );
                assert_eq!(paths.len(), 2, "{text}: the deleted backup went");
            }
            None => {
                assert!(expected.is_none(), "{text} is a form that servers write");
                assert_eq!(paths.len(), 2, "{text}: an unfit list deletes nothing");
            }
        }
    }
}

// ---- size ----

#[test]
fn huge_lists_cost_bounded_memory() {
    let world = world_with_a_deletion_due();
    let size = 127 * 1024 * 1024;
    for (what, unit) in [
        ("numbers", "0,"),
        ("objects", "{},"),
        ("lists", "[],"),
        ("short words", "\"a\","),
        ("bad rows", "{\"id\":\"a/b\",\"state\":\"s\"},"),
    ] {
        let body = format!("[{}0]", unit.repeat(size / unit.len()));
        world.uisp.answer_list(Some(RawAnswer::json(200, &body)));
        run_bounded(&world, &format!("a list of {what}"));
        assert_eq!(world.dropbox.files().len(), 3, "{what}");
    }
    for (what, body) in [
        ("one text", format!("[\"{}\"]", "x".repeat(size))),
        (
            "one id",
            format!(
                "[{{\"id\":\"{}\",\"state\":\"s\",\"createdAt\":\"x\"}}]",
                "x".repeat(size)
            ),
        ),
        ("words that are no JSON", "a ".repeat(size / 2)),
        ("one key", format!("[{{\"{}\":1}}]", "x".repeat(size))),
        ("brackets", "[".repeat(size)),
        (
            "more than is read",
            format!("[{}0]", "0,".repeat(70 * 1024 * 1024)),
        ),
    ] {
        world.uisp.answer_list(Some(RawAnswer::json(200, &body)));
        run_bounded(&world, &format!("a list of {what}"));
        assert_eq!(world.dropbox.files().len(), 3, "{what}");
    }
    let words = "a ".repeat(size / 2);
    world.uisp.answer_list(None);
    world
        .uisp
        .answer_settings(Some(RawAnswer::json(200, &words)));
    run_bounded(&world, "settings of words");
    let settings = format!(
        "{{\"timezone\":\"{}\",\"x\":[{}0]}}",
        "y".repeat(1 << 20),
        "0,".repeat(size / 2)
    );
    world
        .uisp
        .answer_settings(Some(RawAnswer::json(200, &settings)));
    run_bounded(&world, "settings of numbers");
    world.uisp.answer_settings(None);
    world
        .uisp
        .answer_list(Some(RawAnswer::html(500, &"<p>".repeat(size / 3))));
    assert_eq!(run_bounded(&world, "a huge error page"), Some(1));
}

#[test]
fn huge_answers_of_dropbox_cost_bounded_memory() {
    let size = 60 * 1024 * 1024;
    let page = |entries: &str, has_more: bool| {
        format!("{{\"entries\":[{entries}],\"cursor\":\"c\",\"has_more\":{has_more}}}")
    };
    let folder = "{\".tag\":\"folder\",\"name\":\"x\"},";
    let bodies = [
        ("words", "a ".repeat(size / 2)),
        (
            "numbers",
            page(&format!("{}0", "0,".repeat(size / 2)), false),
        ),
        (
            "objects",
            page(&format!("{}{{}}", "{},".repeat(size / 3)), false),
        ),
        (
            "deep entries",
            page(&("[".repeat(200) + &"]".repeat(200)), false),
        ),
        ("brackets", "[".repeat(size)),
        (
            "folders",
            page(
                folder.repeat(size / folder.len()).trim_end_matches(','),
                false,
            ),
        ),
        (
            "a wide entry",
            page(
                &format!(
                    "{{\".tag\":\"folder\",\"name\":\"x\",\"y\":[{}0]}}",
                    "0,".repeat(size / 2)
                ),
                false,
            ),
        ),
        (
            "a long cursor",
            format!(
                "{{\"entries\":[],\"cursor\":\"{}\",\"has_more\":false}}",
                "c".repeat(size)
            ),
        ),
    ];
    for (what, body) in bodies {
        let world = World::authorized();
        world.add_backups(1, 1, 1000);
        let answer = Action::Status {
            code: 200,
            headers: vec![("Content-Type".into(), "application/json".into())],
            body: body.into_bytes(),
        };
        world.dropbox.inject(On::next(LIST), answer);
        run_bounded(&world, &format!("a listing of {what}"));
    }
    for route in ["oauth2/token", LIST, "files/upload_session/finish_batch_v2"] {
        for code in [200, 400, 409, 500] {
            let world = World::authorized();
            world.add_backups(1, 1, 1000);
            world
                .dropbox
                .inject(On::next(route), Action::html(code, &"a ".repeat(10 << 20)));
            run_bounded(&world, &format!("{code} of {route} with a huge page"));
        }
    }
}

#[test]
fn a_listing_that_never_ends_is_ended() {
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    let page = json!({"entries": [], "cursor": "c", "has_more": true});
    world
        .dropbox
        .inject(On::every("files/list_folder*"), Action::json(200, &page));
    assert_eq!(run_bounded(&world, "an endless listing"), Some(1));
    assert!(world.dropbox.files().is_empty());
}

/// A file of zeros that takes no disk.
fn sparse(world: &World, name: &str, bytes: u64) {
    File::create(world.data(name))
        .unwrap()
        .set_len(bytes)
        .unwrap();
}

#[test]
fn huge_and_deep_files_cost_bounded_memory() {
    let gigabyte = 1 << 30;
    let deep = "[".repeat(1 << 20);
    for name in ["config.json", "state.json", "../ucrm.json", "plugin.log"] {
        let world = World::authorized();
        world.add_backups(1, 1, 1000);
        sparse(&world, name, 2 * gigabyte);
        let mut command = world.command();
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let (code, most) = watched(command.spawn().unwrap());
        eprintln!("{name} of 2 GB: {} MB", most / 1_000_000);
        assert!(
            most <= MEMORY_MAX,
            "{name} of 2 GB: {} MB of memory",
            most / 1_000_000
        );
        let expected = if matches!(name, "state.json" | "plugin.log") {
            0
        } else {
            1
        };
        assert_eq!(code, Some(expected), "{name}");
        if name == "plugin.log" {
            continue;
        }
        let world = World::authorized();
        world.add_backups(1, 1, 1000);
        fs::write(world.data(name), &deep).unwrap();
        assert_eq!(run_bounded(&world, &format!("deep {name}")), Some(expected));
        // A wide one: small for what it says.
        let wide = format!("{{\"version\":1,\"seen\":[{}0]}}", "0,".repeat(20 << 20));
        fs::write(world.data(name), wide).unwrap();
        assert!(run_bounded(&world, &format!("wide {name}")).is_some());
    }
    let world = World::authorized();
    world.add_backups(1, 1, 9 << 20);
    fs::create_dir(world.data("transfers")).unwrap();
    let hash = content_hash(Backup::numbered(1, 0).id.to_lowercase().as_bytes());
    let journal = format!("transfers/{hash}.journal");
    sparse(&world, &journal, 2 * gigabyte);
    assert_eq!(run_bounded(&world, "a journal of 2 GB"), Some(0));
    world.assert_mirrored();
}

#[test]
fn a_hundred_thousand_backups_cost_bounded_time_and_memory() {
    let world = World::authorized();
    // Unoptimised code would take a minute of the ordinary test run; the soak test takes them all.
    let number = if cfg!(debug_assertions) {
        20_000
    } else {
        100_000
    };
    let content = b"one small backup";
    let hash = content_hash(content);
    let mut rows = Vec::with_capacity(number);
    let mut mirrored = serde_json::Map::new();
    let mut seen = serde_json::Map::new();
    for n in 0..number {
        let id = format!("00000000-0000-4000-8000-{n:012}");
        let file = world
            .dropbox
            .put(&format!("/unms-backup-20260105-0012_{id}.unms"), content);
        mirrored.insert(
            id.clone(),
            json!({"rev": file.rev, "content_hash": hash, "bytes": content.len(), "verified_at": "2026-01-06T00:00:00Z"}),
        );
        seen.insert(id.clone(), json!({"missing_since": null}));
        rows.push(row(&id));
    }
    let state = json!({"version": 1, "seen": seen, "mirrored": mirrored});
    fs::write(world.data("state.json"), state.to_string()).unwrap();
    // On the wall's clock: a run that is short of time may leave its deletions to the next one.
    let run = |what| {
        let started = Instant::now();
        let mut command = world.command();
        command.env_remove("BACKUP_SYNC_CLOCK_SPEED");
        assert_eq!(
            run_bounded_as(&world, &mut command, what),
            Some(0),
            "{}",
            world.log()
        );
        eprintln!("{what}: {:.1} s", started.elapsed().as_secs_f64());
    };
    world.uisp.answer_list(Some(list_of(&rows[1000..])));
    run("backups by the ten thousand, 1,000 of them deleted");
    assert_eq!(world.dropbox.files().len(), number - 1000);
    // And with everything gone but one: nothing is deleted, and the log stays readable.
    world.uisp.answer_list(Some(list_of(&rows[number - 1..])));
    run("all but one deleted");
    assert_eq!(world.dropbox.files().len(), number - 1000);
    assert!(
        world.log().contains(&format!("{} files", number - 1001)),
        "{}",
        world.log()
    );
}

// ---- Dropbox's names ----

#[test]
fn names_that_nearly_match_are_never_touched_and_never_break_the_log() {
    let world = World::authorized();
    world
        .uisp
        .configure(|options| options.timezone = Some(json!("UTC")));
    world.add_backups(1, 3, 1000);
    world.run_well();
    let names: Vec<String> = [
        "unms-backup-20260102-0412_a.unms.unms",
        "unms-backup-20260102-0412_a.UNMS",
        "Unms-backup-20260102-0412_a.unms",
        "unms-backup-20260102-0412-a.unms",
        "unms-backup-20260102-041_a.unms",
        "unms-backup-20260102-2512_a.unms",
        "unms-backup-20261302-0412_a.unms",
        "unms-backup-20260230-0412_a.unms",
        "unms-backup-+2026012-0412_a.unms",
        "unms-backup- 2026012-0412_a.unms",
        "unms-backup-20260102-0412_.unms",
        "unms-backup-20260102-0412_a_b.unms",
        "unms-backup-20260102-0412_a (1).unms",
        "unms-backup-20260102-0412_a (Conflicted copy).unms",
        "unms-backup-20260102-0412_ä.unms",
        "unms-backup-20260102-0412_<script>alert(1)<script>.unms",
        "unms-backup-20260102-0412_\u{1b}[2J\u{1b}]0;x\u{7}.unms",
        "unms-backup-20260102-0412_\u{202e}smnu.unms",
        "unms-backup-２０２６0102-0412_a.unms",
        "unms-backup-20260102-0412_a.unms\u{200b}",
        "\nERROR: Finished: nothing (2026-01-01T00:00:00+00:00)",
        "%s%n",
        "..a",
        "-rf",
        "x",
    ]
    .map(String::from)
    .to_vec();
    for name in &names {
        world.dropbox.put(&format!("/{name}"), b"foreign");
    }
    // A folder that is called like a backup, and files in it.
    world
        .dropbox
        .put_folder("/unms-backup-20260102-0412_folder.unms");
    let inside = "/unms-backup-20260102-0412_folder.unms/unms-backup-20260102-0412_inside.unms";
    world.dropbox.put(inside, b"foreign");
    let before: BTreeSet<String> = world.dropbox.paths().into_iter().collect();
    world.remove_backup(1);
    let ended = world.run_well();
    assert_log_clean(&ended.log);
    let after: BTreeSet<String> = world.dropbox.paths().into_iter().collect();
    let gone: Vec<&String> = before.difference(&after).collect();
    assert_eq!(gone.len(), 1, "{gone:?}");
    assert!(gone[0].ends_with(&format!("_{}.unms", Backup::numbered(1, 0).id)));
    assert_eq!(after.difference(&before).count(), 0);
    assert!(!ended.log.contains("script"), "{}", ended.log);
}

#[test]
fn a_foreign_file_under_a_name_that_differs_in_case_is_not_replaced() {
    let world = World::authorized();
    world
        .uisp
        .configure(|options| options.timezone = Some(json!("UTC")));
    world.add_backups(1, 2, 1000);
    world.run_well();
    let name = |n| {
        let backup = Backup::numbered(n, 0);
        let time = backup
            .created_at
            .get(..16)
            .unwrap()
            .replace(['-', ':'], "")
            .replace('T', "-");
        format!("/UNMS-Backup-{time}_{}.unms", backup.id)
    };
    // In the way of backup 3, with other content; and of backup 4, with the same.
    let foreign = world.dropbox.put(&name(3), b"somebody's own");
    world
        .dropbox
        .put(&name(4), &Backup::numbered(4, 1000).bytes());
    world.add_backups(3, 5, 1000);
    let ended = world.run();
    assert_eq!(
        world.dropbox.file(&name(3)),
        Some(foreign.clone()),
        "{}",
        ended.log
    );
    assert_eq!(
        ended.code,
        Some(1),
        "what is in the way is no silence: {}",
        ended.log
    );
    assert!(
        world
            .dropbox
            .paths()
            .iter()
            .any(|path| path.ends_with(&format!("{}.unms", Backup::numbered(5, 0).id)))
    );
    // The same bytes under the same path, as Dropbox compares paths: that is the backup.
    world.remove_backup(3);
    world.dropbox.traffic().clear_log();
    world.run_well();
    world.run_well();
    assert_eq!(world.dropbox.file(&name(3)), Some(foreign));
    assert_eq!(
        world.count("files/upload_session/start"),
        0,
        "it is sent again in every run"
    );
}
