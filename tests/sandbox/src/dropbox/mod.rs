//! A strict stand-in for Dropbox: API, content and web host over real sockets, one account, its app folders.
//!
//! Where the real service's behaviour is documented, this one keeps to the stricter reading; where it is
//! not known, the code says `Assumption:`. Absent on purpose: sharing, team spaces, `append_batch`, and
//! every route that the plugin does not call.

mod answer;
mod arguments;
mod consent;
mod content_hash;
mod folder;
mod oauth;
mod routes;
mod service;
mod session;
mod world;

pub use content_hash::{BLOCK_BYTES, ContentHasher, content_hash};
pub use world::App;

use crate::http::{
    Action, Exchange, Fault, Leaf, Link, On, Server, ServerOptions, TlsConfig, Traffic,
};
use chrono::TimeDelta;
use folder::{Commit, Content, WriteMode};
use serde_json::{Value, json};
use service::{Role, Service, Shared};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use world::{CommitRefusal, Grant};

/// How a stand-in is started.
#[derive(Clone)]
pub struct DropboxOptions {
    /// The address to listen on.
    pub address: IpAddr,
    /// The first app; more can be registered later.
    pub app: App,
    /// TLS with this certificate, or plain HTTP. `Dropbox::leaf()` names what it should be valid for.
    pub tls: Option<TlsConfig>,
    /// Keeps every byte in memory; without it only sizes and hashes, and downloads are refused.
    pub keep_content: bool,
    /// Entries on a page of a listing, when the client does not ask for fewer.
    pub page_size: usize,
    /// How `files/delete_batch` answers.
    pub delete_batch: DeleteBatch,
    /// Answers 429 `too_many_write_operations` to a commit that meets another one.
    pub refuses_parallel_commits: bool,
    /// How long a commit holds the namespace.
    pub commit_time: Duration,
    /// Answers more than 150 MiB with an HTML 413 instead of `payload_too_large`.
    pub refuses_oversize_at_the_edge: bool,
}

impl Default for DropboxOptions {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            app: App::default(),
            tls: None,
            keep_content: true,
            page_size: 500,
            delete_batch: DeleteBatch::Asynchronous { polls: 1 },
            refuses_parallel_commits: true,
            commit_time: Duration::from_millis(2),
            refuses_oversize_at_the_edge: false,
        }
    }
}

/// The two ways in which `files/delete_batch` may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteBatch {
    /// With the result.
    Synchronous,
    /// With a job that is in progress for so many polls.
    Asynchronous {
        /// How often `check` answers `in_progress`.
        polls: u32,
    },
}

/// A file in an app folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// The path in its letter case.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Dropbox's content hash.
    pub content_hash: String,
    /// The revision.
    pub rev: String,
    /// What the client said.
    pub client_modified: String,
}

/// An upload session that is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// Its id.
    pub id: String,
    /// Concurrent or sequential.
    pub is_concurrent: bool,
    /// Whether an append or start closed it.
    pub is_closed: bool,
    /// Bytes it holds.
    pub received_bytes: u64,
}

/// Another writer in the account, a desktop client for instance, that holds the namespace until dropped.
pub struct NamespaceHold(Arc<Shared>);

impl Drop for NamespaceHold {
    fn drop(&mut self) {
        self.0.world().is_writing = false;
    }
}

/// A running stand-in. Dropping it stops its three listeners.
pub struct Dropbox {
    shared: Arc<Shared>,
    traffic: Arc<Traffic>,
    api: Server,
    content: Server,
    web: Server,
}

impl Dropbox {
    /// Starts three loopback listeners: API, content, web.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(options: DropboxOptions) -> std::io::Result<Self> {
        let (address, tls) = (options.address, options.tls.clone());
        let shared = Arc::new(Shared::new(options));
        let traffic = Arc::new(Traffic::default());
        let listen = |role| {
            let service = Service {
                role,
                shared: Arc::clone(&shared),
            };
            let options = ServerOptions {
                address,
                tls: tls.clone(),
                traffic: Arc::clone(&traffic),
                ..ServerOptions::default()
            };
            Server::start(options, Arc::new(service))
        };
        Ok(Self {
            api: listen(Role::Api)?,
            content: listen(Role::Content)?,
            web: listen(Role::Web)?,
            shared,
            traffic,
        })
    }

    /// What a certificate for the stand-in should be valid for: loopback, and Dropbox's real names.
    pub fn leaf() -> Leaf {
        Leaf::of([
            "127.0.0.1",
            "localhost",
            "api.dropboxapi.com",
            "api.dropbox.com",
            "content.dropboxapi.com",
            "www.dropbox.com",
        ])
    }

    /// Base URL of the RPC routes and the token endpoint.
    pub fn api_url(&self) -> String {
        self.api.url()
    }

    /// Base URL of uploads and downloads.
    pub fn content_url(&self) -> String {
        self.content.url()
    }

    /// Base URL of the consent page.
    pub fn web_url(&self) -> String {
        self.web.url()
    }

    /// Where each of Dropbox's real `host:443` names is answered, for a `ConnectProxy` or a resolver.
    pub fn real_names(&self) -> Vec<(String, SocketAddr)> {
        vec![
            ("api.dropboxapi.com:443".into(), self.api.address()),
            ("api.dropbox.com:443".into(), self.api.address()),
            ("content.dropboxapi.com:443".into(), self.content.address()),
            ("www.dropbox.com:443".into(), self.web.address()),
        ]
    }

    // ---- traffic ----

    /// The request log, the faults and the line.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Orders a fault.
    pub fn inject(&self, on: On, action: Action) {
        self.traffic.inject(Fault { on, action });
    }

    /// Shapes the line to Dropbox.
    pub fn set_link(&self, link: Link) {
        self.traffic.set_link(link);
    }

    /// The request log.
    pub fn requests(&self) -> Vec<Exchange> {
        self.traffic.requests()
    }

    /// How many commits met another one.
    pub fn write_contentions(&self) -> usize {
        self.shared.world().contentions
    }

    // ---- apps and authorization ----

    /// Registers another app, with a folder of its own; replaces one of the same key.
    pub fn add_app(&self, app: App) {
        self.shared.world().register(app);
    }

    /// The first app.
    pub fn app(&self) -> App {
        let world = self.shared.world();
        world.apps[&self.shared.options.app.key].app.clone()
    }

    /// Ticks exactly these permissions of the first app; existing tokens keep what they have.
    pub fn set_app_scopes(&self, scopes: &[&str]) {
        let mut world = self.shared.world();
        if let Some(registered) = world.apps.get_mut(&self.shared.options.app.key) {
            registered.app.scopes = scopes.iter().map(|scope| (*scope).into()).collect();
        }
    }

    /// Gives the first app another secret, as its owner can in the console.
    pub fn set_app_secret(&self, secret: &str) {
        let mut world = self.shared.world();
        if let Some(registered) = world.apps.get_mut(&self.shared.options.app.key) {
            registered.app.secret = secret.into();
        }
    }

    /// Does what an admin does with an authorization URL: opens it and clicks Allow.
    ///
    /// # Errors
    /// The text of the page that refuses, when the URL is not right.
    pub fn allow(&self, authorize_url: &str) -> Result<String, String> {
        let url = url::Url::parse(authorize_url).map_err(|error| error.to_string())?;
        let origin = url.origin().ascii_serialization();
        if origin != self.web_url() && origin != "https://www.dropbox.com" {
            return Err(format!("{origin} is not Dropbox's web site"));
        }
        if url.path() != "/oauth2/authorize" {
            return Err(format!("{} is not the consent page", url.path()));
        }
        let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let mut world = self.shared.world();
        let consent = oauth::check_authorization(&world, &query)?;
        Ok(world.allow(consent))
    }

    /// A refresh token of the first app, as a finished setup with the app secret leaves it.
    pub fn issue_refresh_token(&self) -> String {
        let mut world = self.shared.world();
        let grant = self.grant(&mut world);
        world.issue_refresh_token(grant)
    }

    /// A short-lived access token of the first app.
    pub fn issue_access_token(&self) -> String {
        let mut world = self.shared.world();
        let grant = self.grant(&mut world);
        let scopes = world.grants[grant].scopes.clone();
        world.issue_access_token(grant, scopes)
    }

    /// A long-lived token of the kind issued until 2021.
    pub fn issue_legacy_token(&self) -> String {
        let mut world = self.shared.world();
        world.issue_legacy_token(&self.shared.options.app.key)
    }

    fn grant(&self, world: &mut world::World) -> usize {
        let app = world.apps[&self.shared.options.app.key].app.clone();
        world.add_grant(Grant {
            app: app.key,
            scopes: app.scopes,
            challenge: None,
            is_offline: true,
            is_revoked: false,
        })
    }

    /// Ends every short-lived access token, as four hours do; refresh tokens stay good.
    pub fn expire_access_tokens(&self) {
        let mut world = self.shared.world();
        let now = world.now();
        for token in world.access_tokens.values_mut() {
            if token.expires_at.is_some() {
                token.expires_at = Some(now);
            }
        }
    }

    /// Disconnects the app, as a user can in the account settings: every token of every kind is dead.
    pub fn revoke_all_tokens(&self) {
        for grant in &mut self.shared.world().grants {
            grant.is_revoked = true;
        }
    }

    /// Lets time pass: codes, tokens and sessions age.
    pub fn advance_clock(&self, by: Duration) {
        let by = TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
        self.shared.world().advance(by);
    }

    /// Sets the clock back from the real time, so that what is stored from now on looks so old.
    pub fn set_clock_back(&self, by: Duration) {
        let by = TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
        self.shared.world().set_back(by);
    }

    // ---- files of the first app ----

    /// Puts a file there, replacing what there is.
    ///
    /// # Panics
    /// When the path cannot be stored; tests want to know.
    pub fn put(&self, path: &str, bytes: &[u8]) -> StoredFile {
        let mut hasher = ContentHasher::default();
        hasher.update(bytes);
        let keep = self.shared.options.keep_content;
        let pieces = keep.then(|| vec![Arc::new(bytes.to_vec())]);
        let commit = Commit {
            path: path.into(),
            mode: WriteMode::Overwrite,
            autorename: false,
            client_modified: None,
            strict_conflict: false,
        };
        let mut world = self.shared.world();
        let circumstances = folder::Circumstances {
            now: world.timestamp(),
            free_bytes: u64::MAX / 2,
        };
        let entry = world
            .folder(&self.shared.options.app.key)
            .commit(&commit, Content::new(&hasher, pieces), &circumstances)
            .unwrap_or_else(|error| panic!("cannot put {path}: {error}"));
        stored(&entry).unwrap_or_else(|| panic!("{path} is a folder"))
    }

    /// Makes a folder there.
    ///
    /// # Panics
    /// When the path is taken.
    pub fn put_folder(&self, path: &str) {
        let mut world = self.shared.world();
        let folder = world.folder(&self.shared.options.app.key);
        if let Err(error) = folder.create_folder(path, false) {
            panic!("cannot make folder {path}: {error}");
        }
    }

    /// Removes a file or folder, as a user can; false when there is none.
    pub fn remove(&self, path: &str) -> bool {
        let mut world = self.shared.world();
        let folder = world.folder(&self.shared.options.app.key);
        folder.delete(path, None).is_ok()
    }

    /// All files, by path.
    pub fn files(&self) -> Vec<StoredFile> {
        self.files_of(&self.shared.options.app.key)
    }

    /// All files of one app, by path.
    pub fn files_of(&self, app_key: &str) -> Vec<StoredFile> {
        let mut world = self.shared.world();
        world.folder(app_key).entries().filter_map(stored).collect()
    }

    /// The paths of all files.
    pub fn paths(&self) -> Vec<String> {
        self.files().into_iter().map(|file| file.path).collect()
    }

    /// The paths of all folders.
    pub fn folders(&self) -> Vec<String> {
        let mut world = self.shared.world();
        let folder = world.folder(&self.shared.options.app.key);
        let folders = folder.entries().filter(|entry| entry.file.is_none());
        folders.map(|entry| entry.path.clone()).collect()
    }

    /// One file.
    pub fn file(&self, path: &str) -> Option<StoredFile> {
        let mut world = self.shared.world();
        let folder = world.folder(&self.shared.options.app.key);
        folder.lookup(path).ok().and_then(stored)
    }

    /// The bytes of a file, where content is kept.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        let mut reader = {
            let mut world = self.shared.world();
            let folder = world.folder(&self.shared.options.app.key);
            let file = folder.lookup(path).ok()?.file.clone()?;
            file.content.reader(0, file.content.size)?
        };
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Upload sessions that are not finished.
    pub fn sessions(&self) -> Vec<OpenSession> {
        let world = self.shared.world();
        let mut sessions: Vec<OpenSession> = world
            .sessions
            .iter()
            .map(|(id, session)| OpenSession {
                id: id.clone(),
                is_concurrent: session.is_concurrent(),
                is_closed: session.is_closed,
                received_bytes: session.received_bytes(),
            })
            .collect();
        sessions.sort_by(|a, b| a.id.cmp(&b.id));
        sessions
    }

    /// Forgets every upload session, as time or Dropbox may.
    pub fn drop_sessions(&self) {
        self.shared.world().sessions.clear();
    }

    // ---- circumstances ----

    /// Sets what the account may hold, and how much of it is used outside the app folders.
    pub fn set_quota(&self, allocated_bytes: u64, used_elsewhere_bytes: u64) {
        let mut world = self.shared.world();
        world.allocated_bytes = allocated_bytes;
        world.used_elsewhere_bytes = used_elsewhere_bytes;
    }

    /// Lets another writer hold the namespace: commits and deletions meanwhile answer 429.
    pub fn hold_namespace(&self) -> NamespaceHold {
        self.shared.world().is_writing = true;
        NamespaceHold(Arc::clone(&self.shared))
    }

    /// Makes every existing listing cursor answer `reset`.
    pub fn reset_cursors(&self) {
        for cursor in self.shared.world().cursors.values_mut() {
            cursor.is_reset = true;
        }
    }

    /// Refuses the next commits with this WriteError, for example `{".tag":"too_many_write_operations"}`;
    /// of one path only, or of any. Single uploads answer 409 with it, batches carry it in their entry.
    pub fn refuse_commits(&self, path: Option<&str>, write_error: Value, times: u32) {
        self.shared.world().commit_refusals.push(CommitRefusal {
            path: path.map(str::to_owned),
            error: write_error,
            times,
        });
    }

    /// Damages the content of the next commits, so that their content hash is not that of what was sent.
    pub fn corrupt_commits(&self, times: u32) {
        self.shared.world().corrupt_commits = times;
    }

    /// Makes the next batches of commits take so long. Meanwhile their sessions are gone, and their files not there.
    pub fn slow_commits(&self, times: u32, time: Duration) {
        self.shared.world().slow_commits = (times, time);
    }

    /// Spoils the next upload sessions: they take everything in, and their commits fail for ever.
    pub fn spoil_next_sessions(&self, count: u32) {
        self.shared.world().spoilt_to_come = count;
    }

    /// Makes the next `files/delete_batch` jobs fail as a whole, with nothing deleted.
    pub fn fail_delete_jobs(&self, times: u32) {
        self.shared.world().failing_delete_jobs = times;
    }
}

/// Ready-made answers for faults, in Dropbox's forms.
pub mod faults {
    use super::{Action, Value, json};

    /// 429 for too many requests, with or without the time to wait.
    pub fn too_many_requests(retry_after_seconds: Option<u64>) -> Action {
        let mut error = json!({ "reason": { ".tag": "too_many_requests" } });
        if let Some(seconds) = retry_after_seconds {
            error["retry_after"] = json!(seconds);
        }
        let body = json!({ "error_summary": "too_many_requests/...", "error": error });
        let answer = Action::json(429, &body);
        match retry_after_seconds {
            Some(seconds) => answer.with_header("Retry-After", &seconds.to_string()),
            None => answer,
        }
    }

    /// 429 in plain text, which stands for too many requests as well.
    pub fn too_many_requests_as_text() -> Action {
        Action::text(429, "Too many requests")
    }

    /// 429 because another writer holds the namespace.
    pub fn too_many_write_operations(retry_after_seconds: Option<u64>) -> Action {
        let body = json!({
            "error_summary": "too_many_write_operations/.",
            "error": { "reason": { ".tag": "too_many_write_operations" } },
        });
        let answer = Action::json(429, &body);
        match retry_after_seconds {
            Some(seconds) => answer.with_header("Retry-After", &seconds.to_string()),
            None => answer,
        }
    }

    /// 500 with the JSON that the token endpoint was seen to answer.
    pub fn server_error() -> Action {
        let text =
            "The server has either erred or is incapable of performing the requested operation.";
        Action::json(500, &json!({ "error": text }))
    }

    /// 504 with an HTML page.
    pub fn gateway_timeout() -> Action {
        Action::html(504, "<html><h1>504 Gateway Time-out</h1></html>")
    }

    /// 401 with an error of the authorization, for example `expired_access_token`.
    pub fn unauthorized(tag: &str) -> Action {
        let error = json!({ ".tag": tag });
        Action::json(
            401,
            &json!({ "error_summary": format!("{tag}/.."), "error": error }),
        )
    }

    /// 403 of a Business plan whose upload calls are used up for the month.
    pub fn upload_calls_used_up() -> Action {
        let body = json!({
            "error_summary": "invalid_account_type/feature/.",
            "error": {
                ".tag": "invalid_account_type",
                "invalid_account_type": { ".tag": "feature" },
            },
            "user_message": { "locale": "en", "text": "Your team has used up its upload calls." },
        });
        Action::json(403, &body)
    }

    /// 409 with a route's own error.
    pub fn route_error(summary: &str, error: &Value) -> Action {
        Action::json(409, &json!({ "error_summary": summary, "error": error }))
    }
}

fn stored(entry: &folder::Entry) -> Option<StoredFile> {
    let file = entry.file.as_ref()?;
    Some(StoredFile {
        path: entry.path.clone(),
        size: file.content.size,
        content_hash: file.content.hash.clone(),
        rev: file.rev.clone(),
        client_modified: file.client_modified.clone(),
    })
}
