//! Everything the stand-in knows: the clock, the apps with their folders, grants and tokens, sessions, jobs.

use super::answer::Refusal;
use super::folder::{Circumstances, Commit, Content, Entry, Folder, key};
use super::session::Session;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Lifetime of an access token.
pub(super) const ACCESS_TOKEN_SECONDS: i64 = 14_400;
/// Lifetime of an authorization code.
/// Assumption: the real number of minutes is not published; RFC 6749 recommends ten at most.
pub(super) const CODE_SECONDS: i64 = 600;

/// An app as its owner registered it in the App Console.
#[derive(Debug, Clone)]
pub struct App {
    /// The app key.
    pub key: String,
    /// The app secret.
    pub secret: String,
    /// The permissions ticked in the console.
    pub scopes: Vec<String>,
}

impl App {
    /// An app with these permissions.
    pub fn new(key: &str, secret: &str, scopes: &[&str]) -> Self {
        Self {
            key: key.into(),
            secret: secret.into(),
            scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
        }
    }
}

impl Default for App {
    /// The app that version 1.2.2's manual has its readers make: two permissions, no more.
    fn default() -> Self {
        Self::new(
            "test-app-key",
            "test-app-secret",
            &["files.metadata.read", "files.content.write"],
        )
    }
}

/// An app together with its folder in the one account that the stand-in has.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) app: App,
    pub(super) folder: Folder,
}

/// What an admin agreed to; its tokens share its fate.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) app: String,
    pub(super) scopes: Vec<String>,
    pub(super) challenge: Option<String>,
    pub(super) is_offline: bool,
    pub(super) is_revoked: bool,
}

#[derive(Debug)]
pub(super) struct AuthorizationCode {
    pub(super) grant: usize,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) is_spent: bool,
}

#[derive(Debug)]
pub(super) struct AccessToken {
    pub(super) grant: usize,
    pub(super) scopes: Vec<String>,
    /// `None` for the long-lived tokens of old.
    pub(super) expires_at: Option<DateTime<Utc>>,
}

/// A position in a listing, immutable, so that asking twice with one cursor answers twice the same.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    pub(super) app: String,
    pub(super) folder: String,
    pub(super) recursive: bool,
    pub(super) page_size: usize,
    /// The first listing, or the changes that the client is being told.
    pub(super) entries: Arc<Vec<Value>>,
    pub(super) at: usize,
    /// Where in the journal the changes go on after `entries`.
    pub(super) since: usize,
    pub(super) is_reset: bool,
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) polls_left: u32,
    pub(super) outcome: Value,
}

/// An ordered refusal of commits.
#[derive(Debug)]
pub(super) struct CommitRefusal {
    pub(super) path: Option<String>,
    pub(super) error: Value,
    pub(super) times: u32,
}

#[derive(Debug, Default)]
pub(super) struct World {
    clock_offset: TimeDelta,
    serial: u64,
    pub(super) apps: BTreeMap<String, Registered>,
    pub(super) grants: Vec<Grant>,
    pub(super) codes: HashMap<String, AuthorizationCode>,
    /// Refresh token to grant.
    pub(super) refresh_tokens: HashMap<String, usize>,
    pub(super) access_tokens: HashMap<String, AccessToken>,
    pub(super) sessions: HashMap<String, Session>,
    pub(super) cursors: HashMap<String, Cursor>,
    pub(super) jobs: HashMap<String, Job>,
    /// Bytes that the account may hold, and what lies outside the app folders.
    pub(super) allocated_bytes: u64,
    pub(super) used_elsewhere_bytes: u64,
    pub(super) commit_refusals: Vec<CommitRefusal>,
    pub(super) corrupt_commits: u32,
    /// Batches of commits that take long, and how long.
    pub(super) slow_commits: (u32, std::time::Duration),
    /// Sessions to be opened that can never be committed, and those that were.
    pub(super) spoilt_to_come: u32,
    pub(super) spoilt_sessions: std::collections::HashSet<String>,
    pub(super) failing_delete_jobs: u32,
    pub(super) is_writing: bool,
    pub(super) contentions: usize,
}

impl World {
    pub(super) fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.clock_offset
    }

    pub(super) fn advance(&mut self, by: TimeDelta) {
        self.clock_offset += by;
    }

    pub(super) fn set_back(&mut self, by: TimeDelta) {
        self.clock_offset = -by;
    }

    pub(super) fn timestamp(&self) -> String {
        self.now().format("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// A name that was not given before.
    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(super) fn register(&mut self, app: App) {
        let folder = Folder::default();
        self.apps
            .insert(app.key.clone(), Registered { app, folder });
    }

    /// The folder of a registered app.
    pub(super) fn folder(&mut self, app: &str) -> &mut Folder {
        &mut self
            .apps
            .entry(app.to_owned())
            .or_insert_with(|| Registered {
                app: App::new(app, "", &[]),
                folder: Folder::default(),
            })
            .folder
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let in_apps: u64 = self.apps.values().map(|app| app.folder.used_bytes()).sum();
        in_apps + self.used_elsewhere_bytes
    }

    /// Time and space as they are.
    pub(super) fn circumstances(&self) -> Circumstances {
        Circumstances {
            now: self.timestamp(),
            free_bytes: self.allocated_bytes.saturating_sub(self.used_bytes()),
        }
    }

    /// Commits content for an app, ordered faults included; an error is a WriteError.
    pub(super) fn commit(
        &mut self,
        app: &str,
        commit: &Commit,
        mut content: Content,
    ) -> Result<Entry, Value> {
        let refusal = self.commit_refusals.iter_mut().find(|refusal| {
            let is_meant = |path: &String| key(path) == key(&commit.path);
            refusal.times > 0 && refusal.path.as_ref().is_none_or(is_meant)
        });
        if let Some(refusal) = refusal {
            refusal.times -= 1;
            return Err(refusal.error.clone());
        }
        if self.corrupt_commits > 0 {
            self.corrupt_commits -= 1;
            corrupt(&mut content);
        }
        let circumstances = self.circumstances();
        self.folder(app).commit(commit, content, &circumstances)
    }

    /// Whose token this is; refuses in the ways Dropbox does.
    pub(super) fn authorize(&self, header: Option<&str>, scope: &str) -> Result<String, Refusal> {
        let Some(header) = header else {
            return Err(Refusal::BadInput(
                "Must provide HTTP header \"Authorization\" or URL parameter \"authorization\"."
                    .into(),
            ));
        };
        let Some(token) = header
            .strip_prefix("Bearer ")
            .filter(|token| !token.trim().is_empty())
        else {
            // Recorded for an empty token; the header's value is repeated there.
            return Err(Refusal::BadInput(format!(
                "Invalid authorization value in HTTP header \"Authorization\": {header:?}. \
                 Expecting \"Bearer <oauth2_access_token>\"."
            )));
        };
        let invalid = || {
            // Short-lived tokens begin with "sl."; anything else is a long-lived token or none, and
            // a revoked long-lived token is answered as one that never was.
            if token.starts_with("sl.") {
                Refusal::Unauthorized(super::answer::tag("invalid_access_token"))
            } else {
                Refusal::BadInput("The given OAuth 2 access token is malformed.".into())
            }
        };
        let access = self.access_tokens.get(token).ok_or_else(invalid)?;
        let grant = &self.grants[access.grant];
        if grant.is_revoked {
            return Err(invalid());
        }
        if access.expires_at.is_some_and(|at| at <= self.now()) {
            let expired = super::answer::tag("expired_access_token");
            return Err(Refusal::Unauthorized(expired));
        }
        let has = |scopes: &[String]| scope.is_empty() || scopes.iter().any(|own| own == scope);
        if !has(&self.apps[&grant.app].app.scopes) {
            return Err(Refusal::BadInput(format!(
                "Your app is not permitted to access this endpoint because it does not have the \
                 required scope '{scope}'. The owner of the app can enable the scope for the app \
                 using the Permissions tab on the App Console."
            )));
        }
        if !has(&access.scopes) {
            return Err(Refusal::Unauthorized(super::answer::flattened(
                "missing_scope",
                serde_json::json!({ "required_scope": scope }),
            )));
        }
        Ok(grant.app.clone())
    }
}

/// Damages content on its way into the folder, as a fault that a client must find by the hash.
fn corrupt(content: &mut Content) {
    match &mut content.pieces {
        Some(pieces) if content.size > 0 => {
            let mut bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
            bytes[0] ^= 0xff;
            content.hash = super::content_hash::content_hash(&bytes);
            *pieces = vec![Arc::new(bytes)];
        }
        _ => content.hash = super::content_hash::content_hash(b"damaged on the way"),
    }
}
