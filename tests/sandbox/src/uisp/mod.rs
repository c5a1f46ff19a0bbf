//! A stand-in for UISP's API: the list of backups, the settings, the backups themselves.
//!
//! What the real API sends beyond the documented fields is not known, so rows carry an extra field that
//! clients must ignore. Range, length and framing of downloads are switches, because they are not known
//! either.

mod content;

use crate::http::{
    Action, Body, Exchange, Fault, Handler, Head, Link, On, Request, Response, Server,
    ServerOptions, TlsConfig, Traffic,
};
use chrono::{SecondsFormat, Utc};
use content::Content;
use serde_json::{Value, json};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a stand-in is started.
#[derive(Clone)]
pub struct UispOptions {
    /// The address to listen on.
    pub address: IpAddr,
    /// TLS with this certificate, or plain HTTP as inside the containers.
    pub tls: Option<TlsConfig>,
    /// Answers below `/nms/api/v2.1/` only; without it below `/api/v2.1/` only. Both forms exist.
    pub has_nms_prefix: bool,
    /// The API token that is accepted.
    pub token: String,
    /// The value of `timezone` in the settings; `None` leaves the field out.
    pub timezone: Option<Value>,
    /// Answers `Range` on downloads with 206; without it the header is ignored.
    pub supports_range: bool,
    /// Sends `Content-Length` with downloads; without it they are chunked.
    pub announces_length: bool,
    /// What becomes of a backup that is asked for by `nms/backups/create`.
    pub creation: Creation,
}

impl Default for UispOptions {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            tls: None,
            has_nms_prefix: true,
            token: "test-uisp-token".into(),
            timezone: Some(json!("America/Caracas")),
            supports_range: true,
            announces_length: true,
            creation: Creation::Succeeds { after_lists: 1 },
        }
    }
}

/// What becomes of a backup that a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// It is `in-progress` in so many lists, then `success`.
    Succeeds {
        /// Lists in which it is still in progress.
        after_lists: u32,
    },
    /// It is `in-progress` in one list, then `failed`.
    Fails,
    /// It stays `in-progress`.
    Hangs,
}

/// A backup at the host.
#[derive(Debug, Clone)]
pub struct Backup {
    /// The id, a UUID at the real host.
    pub id: String,
    /// `success`, `in-progress`, `failed`, or whatever a test needs.
    pub state: String,
    /// ISO 8601, as text.
    pub created_at: String,
    /// Bytes.
    pub size: u64,
    /// Decides the content, together with the size.
    pub seed: u64,
    /// A byte that differs from that, if it is to be another content in this place only.
    pub altered_at: Option<u64>,
    /// The content itself, if it is not to be made up.
    pub given: Option<Vec<u8>>,
}

impl Backup {
    /// A finished backup; its content follows from its id.
    pub fn finished(id: &str, created_at: &str, size: u64) -> Self {
        let seed = id.bytes().fold(0, |seed: u64, byte| {
            seed.wrapping_mul(31).wrapping_add(byte.into())
        });
        Self {
            id: id.into(),
            state: "success".into(),
            created_at: created_at.into(),
            size,
            seed,
            altered_at: None,
            given: None,
        }
    }

    /// The same backup with this content.
    #[must_use]
    pub fn with_content(mut self, content: Vec<u8>) -> Self {
        self.size = content.len() as u64;
        self.given = Some(content);
        self
    }

    /// The nth of a row of finished backups, one a day at 04:12 UTC from 2026-01-01 on, with a UUID-like id.
    pub fn numbered(number: u32, size: u64) -> Self {
        let start =
            chrono::DateTime::from_timestamp(1_767_240_720, 123_000_000).unwrap_or_default();
        let time = start + chrono::TimeDelta::days(i64::from(number));
        Self::finished(
            &format!("00000000-0000-4000-8000-{number:012}"),
            &time.to_rfc3339_opts(SecondsFormat::Millis, true),
            size,
        )
    }

    /// The same backup in another state.
    #[must_use]
    pub fn in_state(mut self, state: &str) -> Self {
        self.state = state.into();
        self
    }

    fn content(&self) -> Content {
        if let Some(given) = &self.given {
            return Content::given(given.clone());
        }
        let mut content = Content::new(self.seed, self.size);
        content.altered_at = self.altered_at;
        content
    }

    /// Dropbox's content hash of what a download gives.
    pub fn content_hash(&self) -> String {
        self.content().hash()
    }

    /// What a download gives, whole in memory.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Reading made-up content cannot fail.
        let _ = self.content().reader(0).read_to_end(&mut bytes);
        bytes
    }
}

/// An answer that stands in for the usual one.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    /// Status code.
    pub status: u16,
    /// Content type.
    pub content_type: String,
    /// Body.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// Any answer.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            content_type: content_type.into(),
            body: body.into(),
        }
    }

    /// JSON text, right or wrong.
    pub fn json(status: u16, body: &str) -> Self {
        Self::new(status, "application/json; charset=utf-8", body)
    }

    /// An HTML page, as a proxy or a login page answers.
    pub fn html(status: u16, body: &str) -> Self {
        Self::new(status, "text/html", body)
    }

    fn response(&self) -> Response {
        Response::bytes(self.status, &self.content_type, self.body.clone())
    }
}

#[derive(Default)]
struct World {
    backups: Vec<Backup>,
    /// Backups that were asked for: id, and lists left until it changes.
    growing: Vec<(String, u32)>,
    list_answer: Option<RawAnswer>,
    settings_answer: Option<RawAnswer>,
    is_forbidden: bool,
    created: u32,
}

struct Service {
    options: Mutex<UispOptions>,
    world: Mutex<World>,
}

/// A running stand-in. Dropping it stops it.
pub struct Uisp {
    service: Arc<Service>,
    server: Server,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Uisp {
    /// Starts on a free loopback port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(options: UispOptions) -> io::Result<Self> {
        let (address, tls) = (options.address, options.tls.clone());
        let service = Arc::new(Service {
            options: Mutex::new(options),
            world: Mutex::default(),
        });
        let options = ServerOptions {
            address,
            tls,
            ..ServerOptions::default()
        };
        let server = Server::start(options, Arc::clone(&service) as Arc<dyn Handler>)?;
        Ok(Self { service, server })
    }

    /// The value for `unmsLocalUrl` in `ucrm.json`, with the slash at its end that the host writes.
    pub fn local_url(&self) -> String {
        let prefix = if locked(&self.service.options).has_nms_prefix {
            "/nms/"
        } else {
            "/"
        };
        format!("{}{prefix}", self.server.url())
    }

    /// The same under the name `localhost`, as certificates of UISP installs go.
    pub fn localhost_url(&self) -> String {
        self.local_url().replacen("127.0.0.1", "localhost", 1)
    }

    /// The token that is accepted.
    pub fn token(&self) -> String {
        locked(&self.service.options).token.clone()
    }

    /// Changes options while the stand-in runs; `tls` stays as it was started.
    pub fn configure(&self, change: impl FnOnce(&mut UispOptions)) {
        change(&mut locked(&self.service.options));
    }

    // ---- backups ----

    /// Adds a backup at the end of the list.
    pub fn add(&self, backup: Backup) {
        locked(&self.service.world).backups.push(backup);
    }

    /// Deletes a backup; false when there is none of that id.
    pub fn remove(&self, id: &str) -> bool {
        let mut world = locked(&self.service.world);
        let before = world.backups.len();
        world.backups.retain(|backup| backup.id != id);
        world.backups.len() < before
    }

    /// Deletes all backups.
    pub fn clear(&self) {
        locked(&self.service.world).backups.clear();
    }

    /// Changes the state of a backup.
    pub fn set_state(&self, id: &str, state: &str) {
        for backup in &mut locked(&self.service.world).backups {
            if backup.id == id {
                backup.state = state.into();
            }
        }
    }

    /// All backups, in list order.
    pub fn backups(&self) -> Vec<Backup> {
        locked(&self.service.world).backups.clone()
    }

    /// Dropbox's content hash of a backup.
    pub fn content_hash(&self, id: &str) -> Option<String> {
        let backup = self.backups().into_iter().find(|backup| backup.id == id)?;
        Some(backup.content_hash())
    }

    // ---- answers ----

    /// Answers `nms/backups` with this instead; `None` goes back to the list.
    pub fn answer_list(&self, answer: Option<RawAnswer>) {
        locked(&self.service.world).list_answer = answer;
    }

    /// Answers `nms/settings` with this instead; `None` goes back to the settings.
    pub fn answer_settings(&self, answer: Option<RawAnswer>) {
        locked(&self.service.world).settings_answer = answer;
    }

    /// Answers every call with 403, as to a token whose user may not see backups.
    pub fn set_forbidden(&self, is_forbidden: bool) {
        locked(&self.service.world).is_forbidden = is_forbidden;
    }

    // ---- traffic ----

    /// The request log, the faults and the line. Labels: `nms/backups`, `nms/settings`,
    /// `POST nms/backups/create`, and `nms/backups/<id>` for a download (`nms/backups/*` for any).
    pub fn traffic(&self) -> &Arc<Traffic> {
        self.server.traffic()
    }

    /// Orders a fault.
    pub fn inject(&self, on: On, action: Action) {
        self.traffic().inject(Fault { on, action });
    }

    /// Shapes the line to UISP.
    pub fn set_link(&self, link: Link) {
        self.traffic().set_link(link);
    }

    /// The request log.
    pub fn requests(&self) -> Vec<Exchange> {
        self.traffic().requests()
    }
}

impl Handler for Service {
    fn route(&self, head: &Head) -> String {
        let path = head.path();
        let label = path.split_once("/api/v2.1/").map_or(path, |(_, rest)| rest);
        if head.method == "GET" {
            label.to_owned()
        } else {
            format!("{} {label}", head.method)
        }
    }

    fn handle(&self, request: &mut Request<'_>) -> io::Result<Response> {
        let options = locked(&self.options).clone();
        let prefix = if options.has_nms_prefix {
            "/nms/api/v2.1/"
        } else {
            "/api/v2.1/"
        };
        let head = request.head;
        let Some(path) = head.path().strip_prefix(prefix) else {
            // Outside the API the web application answers, whatever the path.
            return Ok(Response::html(404, "<html><title>UISP</title></html>"));
        };
        if head.header("x-auth-token") != Some(options.token.as_str()) {
            return Ok(error(401, "Unauthorized", "Invalid token"));
        }
        let mut world = locked(&self.world);
        if world.is_forbidden {
            return Ok(error(403, "Forbidden", "Insufficient permissions"));
        }
        Ok(match (head.method.as_str(), path) {
            ("GET", "nms/backups") => world.list(options.creation),
            ("GET", "nms/settings") => world.settings(options.timezone.as_ref()),
            ("POST", "nms/backups/create") => world.create(options.creation),
            ("GET", path) => match path.strip_prefix("nms/backups/") {
                Some(id) => world.download(id, head, &options),
                None => error(404, "Not Found", "Not Found"),
            },
            _ => error(404, "Not Found", "Not Found"),
        })
    }
}

fn error(status: u16, name: &str, message: &str) -> Response {
    let body = json!({ "statusCode": status, "error": name, "message": message });
    Response::bytes(status, "application/json; charset=utf-8", body.to_string())
}

impl World {
    fn list(&mut self, creation: Creation) -> Response {
        if let Some(answer) = &self.list_answer {
            return answer.response();
        }
        let rows: Vec<Value> = self
            .backups
            .iter()
            .map(|backup| {
                json!({
                    "id": backup.id,
                    "state": backup.state,
                    "createdAt": backup.created_at,
                    "sandboxExtra": { "ignored": true },
                })
            })
            .collect();
        let grown = match creation {
            Creation::Succeeds { .. } => "success",
            Creation::Fails => "failed",
            Creation::Hangs => "in-progress",
        };
        for (id, lists_left) in &mut self.growing {
            *lists_left = lists_left.saturating_sub(1);
            if *lists_left == 0 {
                for backup in self.backups.iter_mut().filter(|backup| backup.id == *id) {
                    backup.state = grown.into();
                }
            }
        }
        self.growing.retain(|(_, lists_left)| *lists_left > 0);
        json_ok(&Value::Array(rows))
    }

    fn settings(&self, timezone: Option<&Value>) -> Response {
        if let Some(answer) = &self.settings_answer {
            return answer.response();
        }
        let mut settings = json!({ "autoBackups": true });
        if let Some(timezone) = timezone {
            settings["timezone"] = timezone.clone();
        }
        json_ok(&settings)
    }

    fn create(&mut self, creation: Creation) -> Response {
        self.created += 1;
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let id = format!("00000000-0000-4000-9000-{:012}", self.created);
        let (state, lists) = match creation {
            Creation::Succeeds { after_lists: 0 } => ("success", 0),
            Creation::Succeeds { after_lists } => ("in-progress", after_lists),
            Creation::Fails => ("in-progress", 1),
            Creation::Hangs => ("in-progress", u32::MAX),
        };
        if lists > 0 {
            self.growing.push((id.clone(), lists));
        }
        self.backups
            .push(Backup::finished(&id, &now, 1_000_000).in_state(state));
        json_ok(&json!({ "id": id }))
    }

    fn download(&self, id: &str, head: &Head, options: &UispOptions) -> Response {
        // Assumption: a backup that is not finished is answered like one that is not there.
        let finished = |backup: &&Backup| backup.id == id && backup.state == "success";
        let Some(backup) = self.backups.iter().find(finished) else {
            return error(404, "Not Found", "Backup not found");
        };
        let content = backup.content();
        let size = content.size();
        let from = head
            .header("range")
            .filter(|_| options.supports_range)
            .and_then(|range| {
                range
                    .strip_prefix("bytes=")?
                    .strip_suffix('-')?
                    .parse()
                    .ok()
            });
        if from.is_some_and(|from: u64| from >= size) {
            return Response::empty(416).with_header("Content-Range", format!("bytes */{size}"));
        }
        let length = size - from.unwrap_or(0);
        let response = Response {
            status: if from.is_some() { 206 } else { 200 },
            headers: vec![
                ("Content-Type".into(), "application/octet-stream".into()),
                (
                    "Content-Disposition".into(),
                    format!("attachment; filename=\"{id}.unms\""),
                ),
            ],
            body: Body::Stream {
                reader: Box::new(content.reader(from.unwrap_or(0))),
                length: options.announces_length.then_some(length),
            },
        };
        match from {
            Some(from) => {
                response.with_header("Content-Range", format!("bytes {from}-{}/{size}", size - 1))
            }
            None => response,
        }
    }
}

fn json_ok(value: &Value) -> Response {
    Response::bytes(200, "application/json; charset=utf-8", value.to_string())
}
