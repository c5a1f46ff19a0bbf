//! Every state of the page and the widget, as snapshots that were reviewed; `UPDATE_SNAPSHOTS=1` writes them anew.
//! A few are whole, the others outlines.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use backup_sync_dropbox::age::Recipients;
use backup_sync_dropbox::backup_id::BackupId;
use backup_sync_dropbox::dropbox::files::FileMetadata;
use backup_sync_dropbox::findings::{Finding, table};
use backup_sync_dropbox::inspect::Verdict;
use backup_sync_dropbox::page::forms::Tokens;
use backup_sync_dropbox::page::moments::Moments;
use backup_sync_dropbox::page::report::{Facts, Report, report as report_of};
use backup_sync_dropbox::page::view;
use backup_sync_dropbox::plugin::config::Settings;
use backup_sync_dropbox::plugin::lock::Seen;
use backup_sync_dropbox::record::{Lists, Record, RunRecord, ShownAddress, Space, Unusable};
use backup_sync_dropbox::row::{Decision, Provenance, Reason, Row, Sealed};
use backup_sync_dropbox::secret::Secret;
use backup_sync_dropbox::source::Backup;
use chrono::{DateTime, TimeDelta, Utc};

use crate::outline::outline;

const URL: &str = "https://www.dropbox.com/oauth2/authorize?response_type=code&client_id=test-app-key&state=backup-sync-dropbox";

fn now() -> DateTime<Utc> {
    "2026-11-21T09:30:00Z".parse().unwrap()
}

fn secret(text: &str) -> Option<Secret> {
    Some(Secret::new(text))
}

fn run(days_ago: i64) -> RunRecord {
    RunRecord {
        started_at: now() - TimeDelta::days(days_ago) - TimeDelta::minutes(318),
        seconds: 38,
        uploaded: 1,
        uploaded_bytes: 40_000_000 + 3_000_000 * (days_ago as u64 % 5),
        deleted: 1,
        left: 0,
        replaced: 0,
        is_well: true,
        findings: Vec::new(),
    }
}

fn name(day: u32, id: u32) -> String {
    format!("unms-backup-202611{day:02}-0400_00000000-0000-4000-8000-{id:012}.unms")
}

fn file() -> Option<FileMetadata> {
    Some(FileMetadata {
        rev: "015f0000000000000000001".into(),
        size: 42_300_000,
        content_hash: None,
        server_modified: Some(now() - TimeDelta::hours(5)),
        client_modified: None,
    })
}

/// A backup of this day of November.
fn listed(day: u32, is_stored: bool) -> Row {
    let id = format!("00000000-0000-4000-8000-{day:012}");
    let id = BackupId::parse(&id).unwrap();
    let created_at = format!("2026-11-{day:02}T03:00:00Z");
    Row {
        name: name(day, day),
        backup: Some(Backup {
            id: id.clone(),
            finished: true,
            created_at: created_at.parse().unwrap(),
            version: None,
            is_from_the_future: false,
            has_failed: false,
        }),
        id: Some(id),
        file: file().filter(|_| is_stored),
        is_beside: false,
        sealed: None,
        inspected: Verdict::NotChecked,
        verified_at: is_stored.then(|| now() - TimeDelta::hours(5)),
        decision: if is_stored {
            Decision::Mirrored
        } else {
            Decision::Upload
        },
    }
}

/// A file whose backup is not listed.
fn kept(day: u32, decision: Decision) -> Row {
    let id = format!("00000000-0000-4000-8000-{:012}", day + 100);
    Row {
        name: name(day, day + 100),
        id: BackupId::parse(&id).ok(),
        backup: None,
        decision,
        ..listed(day, true)
    }
}

fn one_missing() -> Vec<Row> {
    let mut rows = three_backups();
    rows.insert(0, listed(22, false));
    rows
}

fn lists(rows: &[Row]) -> Option<Lists> {
    Some(Lists::new(
        rows,
        &BTreeMap::new(),
        now() - TimeDelta::minutes(317),
    ))
}

fn three_backups() -> Vec<Row> {
    [21, 20, 19].map(|day| listed(day, true)).into()
}

/// What an installation has recorded that has mirrored for 20 days.
fn record() -> Record {
    let mut record = Record::default();
    record.runs = (0..20).rev().map(run).collect();
    record.lists = lists(&three_backups());
    record
}

fn authorized() -> Settings {
    Settings {
        uisp_token: secret("test-uisp-token"),
        app_key: Some("test-app-key".into()),
        refresh_token: secret("test-refresh-token"),
        ..Settings::default()
    }
}

fn facts(settings: Settings, record: Record) -> Facts {
    Facts {
        moments: Moments {
            now: now(),
            zone: "Europe/Vienna".parse().unwrap(),
        },
        settings: Ok(settings),
        record: Ok(record),
        lock: Seen::Free,
        progress: Vec::new(),
        is_run_planned: false,
        is_changed: false,
        plugin_id: Some(7),
        shows_all: false,
    }
}

/// As somebody gets them who may edit plugins.
fn tokens() -> Tokens {
    Tokens {
        run: "test-token-run".into(),
        connect: "test-token-connect".into(),
        agree: "test-token-agree".into(),
    }
}

fn well() -> Facts {
    facts(authorized(), record())
}

fn with(change: impl FnOnce(&mut Record)) -> Facts {
    let mut record = record();
    change(&mut record);
    facts(authorized(), record)
}

/// With the link shown, for an installation that has recorded this.
fn asked(settings: Settings, mut record: Record) -> Facts {
    record.authorization = Some(ShownAddress {
        app_key: "test-app-key".into(),
        url: URL.into(),
    });
    facts(settings, record)
}

/// States whose page is reviewed with every tag: one as it mostly is, a step of the setup, and one with a bit of everything.
const WHOLE: [&str; 3] = ["all-well", "setup-link", "hostile"];

/// Compares page and widget with the reviewed ones, and returns what they were made of.
fn check(state: &str, facts: &Facts) -> Report {
    let report = report_of(facts);
    let page = view::page(&report, Some(&tokens())).unwrap();
    let widget = view::widget(&report).unwrap();
    if let Some(folder) = std::env::var_os("PAGES") {
        let folder = Path::new(&folder);
        fs::write(folder.join(format!("{state}.html")), &page).unwrap();
        fs::write(folder.join(format!("{state}-widget.html")), &widget).unwrap();
    }
    // What looks empty in the templates is, and what the files in public/ hold is for others to see.
    let shown = |html: &str| {
        let lines = html.lines().filter(|line| !line.trim().is_empty());
        let lines = lines.map(|line| match line.split_once("?") {
            Some((address, rest)) if address.contains("\"public/") => {
                format!("{address}{}\n", rest.trim_start_matches(char::is_numeric))
            }
            _ => format!("{line}\n"),
        });
        lines.collect::<String>()
    };
    let is_whole = WHOLE.contains(&state);
    let (extension, look): (_, fn(&str) -> String) = match is_whole {
        true => ("html", str::to_owned),
        false => ("txt", outline),
    };
    let seen = format!(
        "{}\n<!-- the widget -->\n\n{}",
        look(&shown(&page)),
        look(&shown(&widget))
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/rules/snapshots")
        .join(format!("{state}.{extension}"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &seen).unwrap();
    }
    let reviewed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        seen == reviewed,
        "{} is not what is shown:\n{seen}",
        path.display()
    );
    // Each state is a sentence of its own, in the widget too.
    assert!(report.lead.title.ends_with('.') && widget.contains("<h1 id=\"headline\">"));
    report
}

#[test]
fn a_newcomer_sees_the_first_step() {
    let settings = Settings {
        uisp_token: secret("test-uisp-token"),
        ..Settings::default()
    };
    let report = check("setup-app-key", &facts(settings, Record::default()));
    assert!(report.lead.title.starts_with("Setup, step 1 of 3"));
}

#[test]
fn then_the_link_is_shown_as_soon_as_it_exists() {
    let settings = Settings {
        refresh_token: None,
        ..authorized()
    };
    let facts = facts(settings.clone(), Record::default());
    check("setup-no-link-yet", &facts);
    let report = check("setup-link", &asked(settings.clone(), Record::default()));
    assert_eq!(report.steps[1].link.as_ref().unwrap().url, URL);
    // A link that was made for another app is of no use.
    let other = Settings {
        app_key: Some("another-app-key".into()),
        ..settings
    };
    let other = report_of(&asked(other, Record::default()));
    assert_eq!(other.steps[1].link, None);
}

#[test]
fn a_pasted_code_and_the_first_run_are_waited_for() {
    let settings = Settings {
        refresh_token: None,
        access_code: secret("test-access-code"),
        ..authorized()
    };
    check("setup-code-pasted", &facts(settings, Record::default()));
    check("setup-first-run", &facts(authorized(), Record::default()));
    let running = Facts {
        lock: Seen::Running { since: None },
        ..facts(authorized(), Record::default())
    };
    check("setup-first-run-going-on", &running);
}

#[test]
fn all_is_well() {
    let report = check("all-well", &well());
    assert_eq!(report.lead.title, "All 3 backups are in Dropbox.");
    assert_eq!(
        report.summary,
        [
            "Newest verified copy: today 04:00.",
            "Last run today 05:12, 38\u{a0}s."
        ]
    );
}

#[test]
fn a_count_says_only_what_was_verified() {
    let report = report_of(&with(|record| {
        let mut rows = three_backups();
        rows[0].decision = Decision::Compare(Provenance::Unknown);
        rows[1].decision = Decision::Replace(Provenance::Outdated);
        record.lists = lists(&rows);
    }));
    assert_eq!(report.lead.title, "1 of 3 backups are in Dropbox.");
}

#[test]
fn a_run_is_going_on() {
    let running = Facts {
        lock: Seen::Running { since: None },
        progress: vec![
            format!(
                "Uploading \"{}\": 41 %, 17 MB of 42 MB, 3.0 MB/s, 8 s left.",
                name(22, 22)
            ),
            format!("Uploading \"{}\": 5.0 MB so far, 3.0 MB/s.", name(23, 23)),
        ],
        ..with(|record| record.lists = lists(&one_missing()))
    };
    let report = check("running", &running);
    assert_eq!(report.transfers[0].percent, Some(41));
    assert_eq!(report.transfers[1].percent, None);
}

#[test]
fn a_run_that_can_only_hang_is_a_problem() {
    for (minutes, hangs) in [(89, false), (91, true)] {
        let since = Some(now() - TimeDelta::minutes(minutes));
        let report = report_of(&Facts {
            lock: Seen::Running { since },
            ..well()
        });
        let title = report.lead.title;
        assert_eq!(
            title.contains("longer than any run may take"),
            hangs,
            "{title}"
        );
    }
}

#[test]
fn a_run_failed() {
    let error = Finding {
        meaning: "UISP may be starting or overloaded".into(),
        remedy: "The next run tries again; if this repeats, check that UISP is running".into(),
        cause: "UISP could not be reached at http://unms:8081/nms/api/v2.1/nms/backups (connection refused)".into(),
        ..table::source_not_listed("UISP")
    };
    let failed = with(|record| {
        let last = record.runs.back_mut().unwrap();
        last.uploaded = 0;
        last.uploaded_bytes = 0;
        last.findings = vec![error.clone()];
        record.lists.as_mut().unwrap().taken_at -= TimeDelta::days(1);
    });
    let report = check("run-failed", &failed);
    assert_eq!(report.lead.texts, [error.line()]);
    assert_eq!(
        report.summary[0],
        "All 3 backups are in Dropbox, as listed yesterday 05:13."
    );
    assert_eq!(report.lead.link, None);

    let mut revoked = record();
    revoked.runs.back_mut().unwrap().findings = vec![table::authorization_revoked()];
    let report = check("authorization-revoked", &asked(authorized(), revoked));
    assert!(report.lead.texts[1].contains("\"Dropbox access code\""));
    assert_eq!(report.lead.link.unwrap().url, URL);
}

#[test]
fn what_the_last_run_warned_of_is_shown() {
    let warned = with(|record| {
        let files = "\"a:b.sql\" (it has a colon)";
        record.runs.back_mut().unwrap().findings = vec![table::passed_over(files)];
    });
    let report = report_of(&warned);
    assert!(report.lead.title.contains("a:b.sql"), "{report:?}");
    assert_eq!(report.lead.tone.word(), "Attention");
}

#[test]
fn a_run_did_not_come_to_its_end() {
    check(
        "run-left-over",
        &with(|record| {
            record.lists = lists(&one_missing());
            record.runs.back_mut().unwrap().left = 1;
        }),
    );
    let cut_off = Facts {
        lock: Seen::CutOff,
        ..well()
    };
    check("run-cut-off", &cut_off);
}

#[test]
fn nothing_has_run_and_nothing_was_backed_up_for_too_long() {
    let mut late = well();
    late.moments.now += TimeDelta::days(3);
    let report = check("overdue-run", &late);
    assert_eq!(report.lead.title, "No run since 21 November 2026, 05:12.");
    // What UISP has made since is not known.
    assert_eq!(report.notices, []);

    let old = with(|record| {
        for row in &mut record.lists.as_mut().unwrap().rows {
            row.backup.as_mut().unwrap().created_at -= TimeDelta::days(3);
        }
    });
    let report = check("overdue-backup", &old);
    assert_eq!(
        report.lead.title,
        "UISP has no backup that is newer than 18 November 2026, 04:00."
    );
    check("no-backups", &with(|record| record.lists = lists(&[])));
}

#[test]
fn files_without_a_backup_are_explained() {
    let report = check(
        "on-hold",
        &with(|record| {
            let until = now() + TimeDelta::days(3);
            let missing_since = now();
            let decisions = [
                Decision::Keep(Reason::OnHold),
                Decision::Keep(Reason::RetainedUntil(until)),
                Decision::Keep(Reason::NeverSeen),
                Decision::Keep(Reason::ListUnfit),
                Decision::Delete { missing_since },
            ];
            let mut rows = three_backups();
            rows.extend(
                decisions
                    .into_iter()
                    .zip(10..15)
                    .rev()
                    .map(|(decision, day)| kept(day, decision)),
            );
            let mut lists = Lists::new(&rows, &BTreeMap::new(), now() - TimeDelta::minutes(317));
            lists.rows_count += 2;
            record.lists = Some(lists);
            record.runs.back_mut().unwrap().findings = vec![table::on_hold(
                "1 file in Dropbox is",
                "UISP",
                "restoring UISP from one of these backups",
                "\"unms-backup-20261110-0400_00000000-0000-4000-8000-000000000110.unms\"",
                "tick \"Confirm clean-up\" in the plugin's configuration and save",
            )];
        }),
    );
    assert!(
        report
            .lead
            .title
            .starts_with("1 file in Dropbox is on hold.")
    );
    let shown = |report: &Report| {
        report
            .backups
            .iter()
            .map(|group| group.rows.len())
            .collect::<Vec<_>>()
    };
    // Those of other servers come last, in a group of their own.
    assert_eq!((shown(&report), report.more_backups), (vec![7, 1], 2));
    assert!(report.backups[0].is_open && !report.backups[1].is_open);
}

#[test]
fn copies_are_encrypted_and_the_key_was_not_proved_yet() {
    let key = "age12v4frtfqjxpene2jjpyhfwqtt2kvweaqnz6h9sfhhuqfy8elf4uql9k86s";
    let settings = Settings {
        encrypt_to: Recipients::parse(key).unwrap(),
        ..authorized()
    };
    let plain = Row {
        is_beside: true,
        decision: Decision::Keep(Reason::KeyNotProved),
        ..listed(21, true)
    };
    let sealed = Row {
        name: format!("{}.age", name(21, 21)),
        sealed: Some(Sealed::default()),
        ..listed(21, true)
    };
    let mut record = record();
    record.lists = lists(&[sealed, plain]);
    let last = record.runs.back_mut().unwrap();
    let command = "echo FAKE | base64 -d | age -d -i key.txt";
    last.findings = vec![table::prove_key(command)];
    let report = check("encrypted", &facts(settings, record));
    assert!(report.lead.texts.iter().any(|text| text.contains(command)));
    assert_eq!(report.keys, "1 key");
}

#[test]
fn a_legacy_token_is_in_use() {
    let legacy = |app_key: Option<&str>| Settings {
        app_key: app_key.map(str::to_owned),
        refresh_token: None,
        legacy_token: secret("test-legacy-token"),
        ..authorized()
    };
    check("legacy-token", &facts(legacy(None), record()));
    check(
        "legacy-token-never-run",
        &facts(legacy(None), Record::default()),
    );
    let migrating = asked(legacy(Some("test-app-key")), record());
    check("legacy-token-migrating", &migrating);
}

#[test]
fn dropbox_is_nearly_full() {
    let space = |free: u64| {
        with(|record| {
            record.space = Some(Space {
                used: 2_000_000_000 - free,
                allocated: 2_000_000_000,
                asked_at: now(),
            });
        })
    };
    // Three times the largest backup has 127 MB, a twentieth of the space 100 MB.
    check("space-low", &space(126_000_000));
    assert!(report_of(&space(127_000_000)).notices.is_empty());
    assert_eq!(
        report_of(&space(127_000_000)).lead.title,
        "All 3 backups are in Dropbox."
    );
}

#[test]
fn files_of_the_plugin_cannot_be_used() {
    let without_record = |why| Facts {
        record: Err(why),
        ..well()
    };
    check("record-damaged", &without_record(Unusable::Damaged));
    check("record-unreadable", &without_record(Unusable::Unreadable));
    let problem = table::configuration_field(
        "keepDeletedDays",
        "a whole number from 0 to 3650",
        "something else",
    );
    let invalid = Facts {
        settings: Err(vec![problem]),
        ..well()
    };
    check("configuration-invalid", &invalid);
    let settings = Settings {
        uisp_token: None,
        ..authorized()
    };
    check("no-uisp-token", &facts(settings, record()));
}

#[test]
fn what_comes_from_outside_is_text() {
    let script = "<script>alert(\"1\")</script>&'";
    let hostile = Facts {
        lock: Seen::Running { since: None },
        progress: vec![format!("Uploading \"{script}\": 41 %, {script}")],
        settings: Ok(Settings {
            mirror_folder: format!("/{script}"),
            app_key: Some("test-app-key".into()),
            refresh_token: None,
            legacy_token: secret("test-legacy-token"),
            ..authorized()
        }),
        ..with(|record| {
            record.authorization = Some(ShownAddress {
                app_key: "test-app-key".into(),
                url: format!("https://example/?a=\"><b>{script}"),
            });
            let finding = table::not_uploaded(script).because(&script).about(script);
            record.runs.back_mut().unwrap().findings = vec![finding];
            let mut row = kept(18, Decision::Keep(Reason::NeverSeen));
            row.name = script.into();
            let mut rows = three_backups();
            rows.push(row);
            record.lists = lists(&rows);
        })
    };
    check("hostile", &hostile);
    let report = report_of(&hostile);
    for html in [
        view::page(&report, Some(&tokens())).unwrap(),
        view::widget(&report).unwrap(),
    ] {
        let scripts = html.matches("<script").count();
        assert!(scripts == 1 && !html.contains("<b>"), "{html}");
    }
}

#[test]
fn a_long_history_stays_a_short_page() {
    let long = with(|record| {
        record.runs = (0..60).rev().map(run).collect();
        let made = (0..5000).map(|number| {
            let mut row = listed(1, true);
            row.name = format!("unms-backup-20261101-0000_id-{number}.unms");
            row.id = BackupId::parse(&format!("id-{number}")).ok();
            row
        });
        record.lists = lists(&made.collect::<Vec<_>>());
    });
    let report = report_of(&long);
    assert_eq!(
        (report.backups[0].rows.len(), report.more_backups),
        (100, 4900)
    );
    assert_eq!((report.runs.len(), report.bars.len()), (10, 60));
    let page = view::page(&report, Some(&tokens())).unwrap();
    assert!(page.len() < 60_000 && page.contains("href=\"?all=1\""));
    // All that are recorded can be reached.
    let all = report_of(&Facts {
        shows_all: true,
        ..long
    });
    assert_eq!((all.backups[0].rows.len(), all.more_backups), (1000, 4000));
}

#[test]
fn what_a_browser_loads_is_small() {
    let month = with(|record| {
        record.runs = (0..60).rev().map(run).collect();
        let rows = (1..=30).rev().map(|day| listed(day, true));
        record.lists = lists(&rows.collect::<Vec<_>>());
    });
    let page = view::page(&report_of(&month), Some(&tokens())).unwrap();
    assert!(page.len() < 30_000, "the page has {} bytes", page.len());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("public");
    let files = fs::read_dir(folder).unwrap();
    let bytes: u64 = files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes < 30_000, "the files beside it have {bytes} bytes");
}
