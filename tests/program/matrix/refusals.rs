//! The refusals that Dropbox documents for each route, and one that it does not.
//!
//! Source of the tags: <https://github.com/dropbox/dropbox-api-spec/blob/main/files.stone>.

use sandbox::dropbox::faults;
use sandbox::http::Action;
use serde_json::{Value, json};

use super::Place;
use super::expectation::{Attack, Cell, End, Expected, failure};
use super::requests::Kind;

/// A refusal of one route.
#[derive(Debug)]
pub struct Refusal {
    /// The route.
    pub kind: Kind,
    /// Its tags.
    pub name: String,
    action: Action,
    remedy: Remedy,
}

/// What helps against a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    /// Doing it once more, the whole file where it must be.
    Again,
    /// Nothing is the matter.
    None,
    /// Nothing is the matter, although the file is still there.
    NoneLater,
    /// Room, which the deletions that are due may make.
    Room,
    /// Only what the text tells the admin.
    Admin(&'static str),
    /// Another name for the backup; all else goes on without it.
    Rename,
    /// Pasting a new code.
    NewCode,
}

const REPORT: &str = "if this repeats, report it with this line";

/// All of them.
pub fn all() -> Vec<Refusal> {
    let routes = [
        token(),
        listing(),
        sending(),
        committing(),
        deleting(),
        looking(),
    ];
    routes.into_iter().flatten().collect()
}

/// `a/b/c` as a union within a union within a union.
fn union(tags: &str) -> Value {
    match tags.split_once('/') {
        None => json!({".tag": tags}),
        Some((tag, rest)) => json!({".tag": tag, tag: union(rest)}),
    }
}

/// 409 with a route's own error.
fn conflict(kind: Kind, tags: &str, remedy: Remedy) -> Refusal {
    let mut error = union(tags);
    if tags == "incorrect_offset" {
        error["correct_offset"] = json!(0);
    }
    Refusal {
        kind,
        name: tags.into(),
        action: faults::route_error(&format!("{tags}/.."), &error),
        remedy,
    }
}

/// OAuth's own errors.
fn token() -> Vec<Refusal> {
    let refused = |kind, error: &str, remedy| Refusal {
        kind,
        name: error.into(),
        action: Action::json(400, &json!({"error": error, "error_description": "no"})),
        remedy,
    };
    let client = "with your app's Settings tab";
    vec![
        refused(Kind::Code, "invalid_grant", Remedy::NewCode),
        refused(Kind::Code, "invalid_request", Remedy::NewCode),
        refused(
            Kind::Code,
            "invalid_client: Invalid client_id",
            Remedy::Admin(client),
        ),
        refused(
            Kind::Refresh,
            "invalid_grant",
            Remedy::Admin("until you authorize again"),
        ),
        refused(
            Kind::Refresh,
            "invalid_client: Invalid client_id",
            Remedy::Admin(client),
        ),
        refused(
            Kind::Refresh,
            "unsupported_grant_type",
            Remedy::Admin("The stored authorization is kept"),
        ),
    ]
}

fn listing() -> Vec<Refusal> {
    let report = Remedy::Admin(REPORT);
    vec![
        // An app folder's root is always there.
        conflict(Kind::List, "path/not_found", report),
        conflict(Kind::List, "path/not_folder", report),
        conflict(Kind::List, "path/malformed_path", report),
        conflict(Kind::List, "path/restricted_content", report),
        conflict(Kind::List, "template_error/other", report),
        conflict(Kind::List, "other", report),
        conflict(Kind::Continue, "reset", Remedy::Again),
        conflict(Kind::Continue, "path/not_found", Remedy::Again),
        conflict(Kind::Continue, "other", report),
    ]
}

fn sending() -> Vec<Refusal> {
    let report = Remedy::Admin(REPORT);
    let mut all = vec![
        conflict(
            Kind::StartLarge,
            "concurrent_session_data_not_allowed",
            report,
        ),
        conflict(
            Kind::StartLarge,
            "concurrent_session_close_not_allowed",
            report,
        ),
    ];
    for kind in [Kind::StartSmall, Kind::Append, Kind::Close] {
        all.extend([
            conflict(kind, "content_hash_mismatch", Remedy::Again),
            conflict(kind, "payload_too_large", report),
            conflict(kind, "other", report),
        ]);
    }
    for kind in [Kind::Append, Kind::Close] {
        all.extend([
            conflict(kind, "not_found", Remedy::Again),
            conflict(kind, "incorrect_offset", Remedy::Again),
            conflict(kind, "closed", Remedy::Again),
            conflict(kind, "concurrent_session_invalid_offset", Remedy::Again),
            conflict(kind, "too_large", report),
            conflict(kind, "concurrent_session_invalid_data_size", report),
        ]);
    }
    all
}

/// A batch is answered with success, and its entries say what was refused.
fn committing() -> Vec<Refusal> {
    let entry = |tags: &str, remedy| Refusal {
        kind: Kind::Finish,
        name: tags.into(),
        action: Action::json(
            200,
            &json!({"entries": [{".tag": "failure", "failure": union(tags)}]}),
        ),
        remedy,
    };
    let report = Remedy::Admin(REPORT);
    let rights = Remedy::Admin("may not write to the mirror folder");
    let taken = Remedy::Admin("Rename or remove it in Dropbox");
    let name = Remedy::Rename;
    vec![
        entry("lookup_failed/not_found", Remedy::Again),
        entry("lookup_failed/incorrect_offset", Remedy::Again),
        entry("lookup_failed/not_closed", Remedy::Again),
        entry("concurrent_session_not_closed", Remedy::Again),
        entry("concurrent_session_missing_data", Remedy::Again),
        entry("content_hash_mismatch", Remedy::Again),
        entry("path/too_many_write_operations", Remedy::Again),
        entry("too_many_write_operations", Remedy::Again),
        entry("path/insufficient_space", Remedy::Room),
        entry("path/conflict/file", taken),
        entry("path/conflict/folder", taken),
        entry("path/no_write_permission", rights),
        entry("path/access_restricted", rights),
        entry("path/malformed_path", name),
        entry("path/disallowed_name", name),
        entry("path/restricted_content", name),
        entry("path/team_folder", report),
        entry("path/operation_suppressed", report),
        entry("properties_error/other", report),
        entry("payload_too_large", report),
        entry("other", report),
    ]
}

fn deleting() -> Vec<Refusal> {
    let answer = |kind, name: &str, body: Value, remedy| Refusal {
        kind,
        name: name.into(),
        action: Action::json(200, &body),
        remedy,
    };
    let entry = |tags: &str, remedy| {
        let failure = json!({".tag": "failure", "failure": union(tags)});
        let body = json!({".tag": "complete", "entries": [failure]});
        answer(Kind::Delete, tags, body, remedy)
    };
    let report = Remedy::Admin(REPORT);
    let rights = Remedy::Admin("may not write to the mirror folder");
    vec![
        entry("path_write/too_many_write_operations", Remedy::Again),
        entry("too_many_write_operations", Remedy::Again),
        entry("path_lookup/not_found", Remedy::NoneLater),
        entry("path_write/no_write_permission", rights),
        entry("path_lookup/restricted_content", report),
        entry("too_many_files", report),
        entry("other", report),
        answer(
            Kind::Delete,
            "an unknown answer",
            json!({".tag": "new"}),
            report,
        ),
        answer(
            Kind::Check,
            "failed/too_many_write_operations",
            json!({".tag": "failed", "failed": union("too_many_write_operations")}),
            Remedy::Again,
        ),
        answer(
            Kind::Check,
            "failed/other",
            json!({".tag": "failed", "failed": union("other")}),
            report,
        ),
        answer(
            Kind::Check,
            "an unknown state",
            json!({".tag": "other"}),
            report,
        ),
        conflict(Kind::Check, "internal_error", Remedy::Again),
        conflict(Kind::Check, "invalid_async_job_id", report),
        conflict(Kind::Check, "other", report),
    ]
}

fn looking() -> Vec<Refusal> {
    // Whatever the look for a doubtful commit brings, sending the file again settles it.
    ["path/not_found", "path/malformed_path", "other"]
        .map(|tags| conflict(Kind::Metadata, tags, Remedy::None))
        .into()
}

/// The cells of a refusal: once, and lasting.
pub fn cells(refusal: &Refusal) -> Place {
    let kind = refusal.kind;
    let cell = |lasting| {
        let expected = match (refusal.remedy, lasting) {
            (Remedy::Room, true) => Expected {
                end: End::BackupFailedDeletionsDone,
                says: "Dropbox is full",
            },
            (Remedy::Again | Remedy::Room, false) | (Remedy::None, _) => Expected {
                end: End::Well,
                says: "",
            },
            (Remedy::Again, true) => Expected {
                end: failure(kind),
                says: "next run tries again",
            },
            (Remedy::NoneLater, _) => Expected {
                end: End::WellWithoutDeletions,
                says: "",
            },
            (Remedy::Admin(says), _) => Expected {
                end: failure(kind),
                says,
            },
            (Remedy::Rename, _) => Expected {
                end: End::NameRefused,
                says: "Rename it",
            },
            (Remedy::NewCode, _) => Expected {
                end: End::CodeSpent,
                says: "paste the new code",
            },
        };
        Cell {
            name: format!("{} at {}", refusal.name, kind.name()),
            kind,
            lasting,
            attack: Attack::Answer(refusal.action.clone()),
            expected,
            speed: if kind == Kind::Code { 40 } else { 200 },
        }
    };
    Ok(vec![cell(false), cell(true)])
}
