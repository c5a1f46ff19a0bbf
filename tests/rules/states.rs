//! Every state of the page and the widget, as snapshots that were reviewed; `UPDATE_SNAPSHOTS=1` writes them anew.

use std::fs;
use std::path::Path;

use backup_sync_dropbox::backup_id::BackupId;
use backup_sync_dropbox::page::moments::Moments;
use backup_sync_dropbox::page::report::{Facts, NoMemory, Report, report};
use backup_sync_dropbox::page::view;
use backup_sync_dropbox::plugin::config::Settings;
use backup_sync_dropbox::plugin::lock::Seen;
use backup_sync_dropbox::secret::Secret;
use backup_sync_dropbox::state::{
    Inventory, Kept, KeptBecause, Listed, Memory, Older, PendingAuthorization, RunRecord, Space,
    StoredFile,
};
use chrono::{DateTime, TimeDelta, Utc};

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
        succeeded: true,
        uploaded: 1,
        uploaded_bytes: 40_000_000 + 3_000_000 * (days_ago as u64 % 5),
        deleted: 1,
        left: 0,
        error: None,
    }
}

fn name(day: u32, id: u32) -> String {
    format!("unms-backup-202611{day:02}-0400_00000000-0000-4000-8000-{id:012}.unms")
}

fn file(name: String) -> StoredFile {
    StoredFile {
        name,
        bytes: 42_300_000,
        stored_at: Some(now() - TimeDelta::hours(5)),
        verified_at: Some(now() - TimeDelta::hours(5)),
    }
}

fn listed(day: u32, is_stored: bool) -> (BackupId, Listed) {
    let id = format!("00000000-0000-4000-8000-{day:012}");
    let created_at = format!("2026-11-{day:02}T03:00:00Z");
    let listed = Listed {
        created_at: created_at.parse().unwrap(),
        finished: true,
        file: is_stored.then(|| file(name(day, day))),
    };
    (BackupId::parse(&id).unwrap(), listed)
}

/// What an installation remembers that has mirrored for 20 days.
fn memory() -> Memory {
    let mut memory = Memory::default();
    memory.runs = (0..20).rev().map(run).collect();
    memory.inventory = Some(Inventory {
        taken_at: now() - TimeDelta::minutes(317),
        listed: (19..=21).map(|day| listed(day, true)).collect(),
        older: Older::default(),
        kept: Vec::new(),
        kept_count: 0,
    });
    memory
}

fn inventory(memory: &mut Memory) -> &mut Inventory {
    memory.inventory.as_mut().unwrap()
}

fn authorized() -> Settings {
    Settings {
        uisp_token: secret("test-uisp-token"),
        app_key: Some("test-app-key".into()),
        refresh_token: secret("test-refresh-token"),
        ..Settings::default()
    }
}

fn facts(settings: Settings, memory: Memory) -> Facts {
    Facts {
        moments: Moments {
            now: now(),
            zone: "Europe/Vienna".parse().unwrap(),
        },
        settings: Ok(settings),
        memory: Ok(memory),
        url: None,
        lock: Seen::Free,
        progress: Vec::new(),
    }
}

fn well() -> Facts {
    facts(authorized(), memory())
}

fn with(change: impl FnOnce(&mut Memory)) -> Facts {
    let mut memory = memory();
    change(&mut memory);
    facts(authorized(), memory)
}

/// Compares page and widget with the reviewed ones, and returns what they were made of.
fn check(state: &str, facts: &Facts) -> Report {
    let report = report(facts);
    let page = view::page(&report).unwrap();
    let widget = view::widget(&report).unwrap();
    if let Some(folder) = std::env::var_os("PAGES") {
        let folder = Path::new(&folder);
        fs::write(folder.join(format!("{state}.html")), &page).unwrap();
        fs::write(folder.join(format!("{state}-widget.html")), &widget).unwrap();
    }
    // The style sheet is a file of its own; what looks empty in the templates is.
    let shown = |html: &str| {
        let (before, rest) = html.split_once("<style>").unwrap();
        let (_, after) = rest.split_once("</style>").unwrap();
        let html = format!("{before}<style>style.css</style>{after}");
        let lines = html.lines().filter(|line| !line.trim().is_empty());
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let html = format!(
        "{}\n<!-- the widget -->\n\n{}",
        shown(&page),
        shown(&widget)
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/rules/snapshots")
        .join(format!("{state}.html"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &html).unwrap();
    }
    let reviewed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        html == reviewed,
        "{} is not what is shown:\n{html}",
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
    let report = check("setup-app-key", &facts(settings, Memory::default()));
    assert!(report.lead.title.starts_with("Setup, step 1 of 3"));
}

#[test]
fn then_the_link_is_shown_as_soon_as_it_exists() {
    let settings = Settings {
        refresh_token: None,
        ..authorized()
    };
    let mut facts = facts(settings, Memory::default());
    check("setup-no-link-yet", &facts);
    facts.url = Some(URL.into());
    let report = check("setup-link", &facts);
    assert_eq!(report.steps[1].link.as_ref().unwrap().url, URL);
}

#[test]
fn a_pasted_code_and_the_first_run_are_waited_for() {
    let settings = Settings {
        refresh_token: None,
        access_code: secret("test-access-code"),
        ..authorized()
    };
    check("setup-code-pasted", &facts(settings, Memory::default()));
    check("setup-first-run", &facts(authorized(), Memory::default()));
    let running = Facts {
        lock: Seen::Running,
        ..facts(authorized(), Memory::default())
    };
    check("setup-first-run-going-on", &running);
}

#[test]
fn all_is_well() {
    let report = check("all-well", &well());
    assert_eq!(report.lead.title, "All 3 backups are in Dropbox.");
    assert_eq!(report.summary, ["Last run today 05:12, 38\u{a0}s."]);
}

#[test]
fn a_run_is_going_on() {
    let running = Facts {
        lock: Seen::Running,
        progress: vec![
            format!(
                "Uploading \"{}\": 41 %, 17 MB of 42 MB, 3.0 MB/s, 8 s left.",
                name(22, 22)
            ),
            format!("Uploading \"{}\": 5.0 MB so far, 3.0 MB/s.", name(23, 23)),
        ],
        ..with(|memory| {
            inventory(memory).listed.extend([listed(22, false)]);
        })
    };
    let report = check("running", &running);
    assert_eq!(report.transfers[0].percent, Some(41));
    assert_eq!(report.transfers[1].percent, None);
}

#[test]
fn a_run_failed() {
    let error = "UISP's list of backups could not be read, so nothing is mirrored and nothing is deleted. UISP may be starting or overloaded. The next run tries again; if this repeats, check that UISP is running. Cause: UISP could not be reached at http://unms:8081/nms/api/v2.1/nms/backups (connection refused).";
    let failed = with(|memory| {
        let last = memory.runs.back_mut().unwrap();
        last.succeeded = false;
        last.uploaded = 0;
        last.uploaded_bytes = 0;
        last.error = Some(error.into());
        inventory(memory).taken_at -= TimeDelta::days(1);
    });
    let report = check("run-failed", &failed);
    assert_eq!(report.lead.texts, [error]);
    assert_eq!(
        report.summary[0],
        "All 3 backups are in Dropbox, as listed yesterday 05:13."
    );
    assert_eq!(report.lead.link, None);

    let asked_again = Facts {
        url: Some(URL.into()),
        ..with(|memory| {
            let last = memory.runs.back_mut().unwrap();
            last.succeeded = false;
            last.error = Some("Dropbox no longer accepts the stored authorization.".into());
            memory.pending_authorization = Some(PendingAuthorization {
                app_key: "test-app-key".into(),
                code_verifier: Secret::new("test-verifier"),
            });
        })
    };
    let report = check("authorization-revoked", &asked_again);
    assert!(report.lead.texts[1].contains("\"Dropbox access code\""));
    assert_eq!(report.lead.link.unwrap().url, URL);
}

#[test]
fn a_run_did_not_come_to_its_end() {
    check(
        "run-left-over",
        &with(|memory| {
            inventory(memory).listed.extend([listed(22, false)]);
            memory.runs.back_mut().unwrap().left = 1;
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

    let old = with(|memory| {
        let listed = &mut inventory(memory).listed;
        listed
            .values_mut()
            .for_each(|listed| listed.created_at -= TimeDelta::days(3));
    });
    let report = check("overdue-backup", &old);
    assert_eq!(
        report.lead.title,
        "UISP has no backup that is newer than 18 November 2026, 04:00."
    );
    check(
        "no-backups",
        &with(|memory| inventory(memory).listed.clear()),
    );
}

#[test]
fn files_without_a_backup_are_explained() {
    let report = check(
        "on-hold",
        &with(|memory| {
            memory.on_hold = (1..=4)
                .map(|id| BackupId::parse(&format!("00000000-0000-4000-8000-{id:012}")).unwrap())
                .collect();
            let until = now() + TimeDelta::days(3);
            let reasons = [
                KeptBecause::OnHold,
                KeptBecause::RetainedUntil(until),
                KeptBecause::NeverSeen,
                KeptBecause::ListUnfit,
                KeptBecause::Due,
            ];
            let kept = reasons.iter().zip(10..).map(|(because, day)| Kept {
                file: file(name(day, day + 100)),
                because: *because,
            });
            inventory(memory).kept = kept.collect();
            inventory(memory).kept_count = 7;
        }),
    );
    assert_eq!(report.lead.title, "4 backups in Dropbox are on hold.");
    assert_eq!((report.backups.len(), report.more_backups), (8, 2));
}

#[test]
fn a_token_of_old_is_in_use() {
    let legacy = |app_key: Option<&str>| Settings {
        app_key: app_key.map(str::to_owned),
        refresh_token: None,
        legacy_token: secret("test-legacy-token"),
        ..authorized()
    };
    check("legacy-token", &facts(legacy(None), memory()));
    check(
        "legacy-token-never-run",
        &facts(legacy(None), Memory::default()),
    );
    let migrating = Facts {
        url: Some(URL.into()),
        ..facts(legacy(Some("test-app-key")), memory())
    };
    check("legacy-token-migrating", &migrating);
}

#[test]
fn dropbox_is_nearly_full() {
    let space = |free: u64| {
        with(|memory| {
            memory.space = Some(Space {
                used: 2_000_000_000 - free,
                allocated: 2_000_000_000,
                asked_at: now(),
            });
        })
    };
    // Three times the largest backup has 127 MB, a twentieth of the space 100 MB.
    check("space-low", &space(126_000_000));
    assert!(report(&space(127_000_000)).notices.is_empty());
    assert_eq!(
        report(&space(127_000_000)).lead.title,
        "All 3 backups are in Dropbox."
    );
}

#[test]
fn files_of_the_plugin_cannot_be_used() {
    let without_memory = |why| Facts {
        memory: Err(why),
        ..well()
    };
    check("memory-damaged", &without_memory(NoMemory::Damaged));
    check("memory-unreadable", &without_memory(NoMemory::Unreadable));
    let invalid = Facts {
        settings: Err(vec![
            "The configuration field \"keepDeletedDays\" in data/config.json must be a whole number from 0 to 3650, but holds something else. Correct it in the plugin's configuration form and save.".into(),
        ]),
        ..well()
    };
    check("configuration-invalid", &invalid);
    let settings = Settings {
        uisp_token: None,
        ..authorized()
    };
    check("no-uisp-token", &facts(settings, memory()));
}

#[test]
fn what_comes_from_outside_is_text() {
    let script = "<script>alert(\"1\")</script>&'";
    let hostile = Facts {
        lock: Seen::Running,
        url: Some(format!("https://example/?a=\"><b>{script}")),
        progress: vec![format!("Uploading \"{script}\": 41 %, {script}")],
        settings: Ok(Settings {
            mirror_folder: format!("/{script}"),
            refresh_token: None,
            legacy_token: secret("test-legacy-token"),
            ..authorized()
        }),
        ..with(|memory| {
            let last = memory.runs.back_mut().unwrap();
            last.succeeded = false;
            last.error = Some(script.into());
            inventory(memory).kept = vec![Kept {
                file: file(script.into()),
                because: KeptBecause::NeverSeen,
            }];
        })
    };
    check("hostile", &hostile);
    let report = report(&hostile);
    for html in [view::page(&report).unwrap(), view::widget(&report).unwrap()] {
        assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
    }
}

#[test]
fn a_long_history_stays_a_short_page() {
    let long = with(|memory| {
        memory.runs = (0..60).rev().map(run).collect();
        let made = (0..5000).map(|number| {
            let id = BackupId::parse(&format!("id-{number}")).unwrap();
            let created_at = now() - TimeDelta::hours(number);
            let listed = Listed {
                created_at,
                finished: true,
                file: Some(file(format!("unms-backup-20261101-0000_id-{number}.unms"))),
            };
            (id, listed)
        });
        inventory(memory).listed = made.collect();
    });
    let report = report(&long);
    assert_eq!((report.backups.len(), report.more_backups), (100, 4900));
    assert_eq!((report.runs.len(), report.bars.len()), (10, 60));
    let page = view::page(&report).unwrap();
    assert!(page.len() < 150_000 && page.contains("<summary>90 more</summary>"));
}
