//! The bare copy loop: what the machine and the stand-ins can do with the same bytes on the same routes.
//!
//! `bench copy ORDER` downloads backups from UISP one after another and posts them to Dropbox in the pieces that
//! the program sends, over as many connections. It hashes, checks, retries and remembers nothing.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::uisp::Backup;
use anyhow::{Context, Result, anyhow, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use super::world::World;

/// Connections to Dropbox, as the program has.
const LANES: usize = 8;
/// Bytes of one append, as the program sends them.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// A backup up to this size goes as one request, as the program does it.
const SMALL_BYTES: u64 = 2 * CHUNK_BYTES as u64;

/// What to copy, from where to where.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// UISP's base URL, with a slash at its end.
    pub uisp_url: String,
    /// UISP's token.
    pub uisp_token: String,
    /// Dropbox's host for the commits.
    pub api_url: String,
    /// Dropbox's host for the bytes.
    pub content_url: String,
    /// An access token for both.
    pub access_token: String,
    /// The authority to trust, where Dropbox is reached over TLS.
    pub ca_path: Option<PathBuf>,
    /// Ids and sizes.
    pub backups: BTreeMap<String, u64>,
}

impl Order {
    /// All these backups of a world.
    pub fn of(world: &World, backups: &[Backup]) -> Self {
        Self {
            uisp_url: world.uisp.local_url(),
            uisp_token: world.uisp.token(),
            api_url: world.dropbox.api_url(),
            content_url: world.dropbox.content_url(),
            access_token: world.dropbox.issue_access_token(),
            ca_path: world.ca_path().map(Path::to_owned),
            backups: backups
                .iter()
                .map(|backup| (backup.id.clone(), backup.size))
                .collect(),
        }
    }
}

/// Carries out an order.
///
/// # Errors
/// Whatever goes wrong ends the copy.
pub fn run(order: &str) -> Result<()> {
    let order: Order = serde_json::from_str(order)?;
    let tls = order.ca_path.as_deref().map(trusting).transpose()?;
    let upload = || Client::connect(&order.content_url, tls.as_ref());

    let (work_sender, work) = channel::<Post>();
    let work = Mutex::new(work);
    let (done_sender, done) = channel::<Result<Done>>();
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            let (work, done, token) = (&work, done_sender.clone(), &order.access_token);
            scope.spawn(move || {
                let mut client = None;
                while let Some(post) = next(work) {
                    let sent =
                        client
                            .take()
                            .map_or_else(upload, Ok)
                            .and_then(|mut open: Client| {
                                let answer =
                                    open.post(post.route, token, &post.argument, &post.body)?;
                                client = Some(open);
                                Ok(Done {
                                    key: post.key,
                                    buffer: post.body,
                                    answer,
                                })
                            });
                    if done.send(sent).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done_sender);
        let mut copy = Copy {
            order: &order,
            work: work_sender,
            done,
            free: vec![Vec::new(); LANES + 1],
            sessions: BTreeMap::new(),
        };
        copy.read_all(&mut upload()?)?;
        let mut api = Client::connect(&order.api_url, tls.as_ref())?;
        copy.commit(&mut api)
    })
}

fn next(work: &Mutex<Receiver<Post>>) -> Option<Post> {
    work.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .recv()
        .ok()
}

/// One request with bytes.
struct Post {
    /// The backup whose session the answer names, for the start of a session.
    key: Option<String>,
    route: &'static str,
    argument: Value,
    body: Vec<u8>,
}

/// Its answer, and the buffer for the next one.
struct Done {
    key: Option<String>,
    buffer: Vec<u8>,
    answer: Value,
}

struct Copy<'a> {
    order: &'a Order,
    work: Sender<Post>,
    done: Receiver<Result<Done>>,
    free: Vec<Vec<u8>>,
    /// Session by backup.
    sessions: BTreeMap<String, String>,
}

const START: &str = "files/upload_session/start";
const APPEND: &str = "files/upload_session/append_v2";

impl Copy<'_> {
    fn read_all(&mut self, starter: &mut Client) -> Result<()> {
        let mut uisp = Client::connect(&self.order.uisp_url, None)?;
        for (id, &size) in &self.order.backups {
            uisp.get(&self.order.uisp_url, id, &self.order.uisp_token, size)?;
            if size <= SMALL_BYTES {
                let body = self.fill(&mut uisp, usize::try_from(size)?)?;
                self.post(Some(id), START, json!({ "close": true }), body)?;
                continue;
            }
            let argument = json!({ "close": false, "session_type": "concurrent" });
            let started = starter.post(START, &self.order.access_token, &argument, &[])?;
            let session = session_id(&started)?;
            let whole = size - size % CHUNK_BYTES as u64;
            for offset in (0..whole).step_by(CHUNK_BYTES) {
                let body = self.fill(&mut uisp, CHUNK_BYTES)?;
                self.post(None, APPEND, append(&session, offset, false), body)?;
            }
            // Dropbox takes nothing more after the piece that closes the session.
            self.wait_for_all()?;
            let tail = self.fill(&mut uisp, usize::try_from(size - whole)?)?;
            self.post(None, APPEND, append(&session, whole, true), tail)?;
            self.sessions.insert(id.clone(), session);
        }
        self.wait_for_all()
    }

    /// The next bytes of a download, in a buffer that is free.
    fn fill(&mut self, uisp: &mut Client, bytes: usize) -> Result<Vec<u8>> {
        while self.free.is_empty() {
            self.take_answer()?;
        }
        let mut buffer = self.free.pop().unwrap_or_default();
        buffer.resize(bytes, 0);
        uisp.stream.read_exact(&mut buffer)?;
        Ok(buffer)
    }

    fn post(
        &mut self,
        key: Option<&String>,
        route: &'static str,
        argument: Value,
        body: Vec<u8>,
    ) -> Result<()> {
        let key = key.cloned();
        let post = Post {
            key,
            route,
            argument,
            body,
        };
        self.work
            .send(post)
            .map_err(|_| anyhow!("no connection is left"))
    }

    fn wait_for_all(&mut self) -> Result<()> {
        while self.free.len() < LANES + 1 {
            self.take_answer()?;
        }
        Ok(())
    }

    fn take_answer(&mut self) -> Result<()> {
        let done = self.done.recv().context("no connection is left")??;
        if let Some(key) = done.key {
            self.sessions.insert(key, session_id(&done.answer)?);
        }
        self.free.push(done.buffer);
        Ok(())
    }

    fn commit(&self, api: &mut Client) -> Result<()> {
        let entries: Vec<Value> = self
            .sessions
            .iter()
            .map(|(id, session)| {
                let size = self.order.backups[id];
                json!({
                    "cursor": { "session_id": session, "offset": size },
                    "commit": { "path": format!("/bare_{id}.unms") },
                })
            })
            .collect();
        let body = json!({ "entries": entries }).to_string();
        let route = "files/upload_session/finish_batch_v2";
        let head = format!(
            "Content-Type: application/json\r\nAuthorization: Bearer {}\r\n",
            self.order.access_token
        );
        let answer = api.exchange(&format!("POST /2/{route}"), &head, body.as_bytes())?;
        let failed = answer["entries"]
            .as_array()
            .is_none_or(|entries| entries.iter().any(|entry| entry[".tag"] != "success"));
        ensure!(!failed, "not committed: {answer}");
        Ok(())
    }
}

fn append(session: &str, offset: u64, close: bool) -> Value {
    json!({ "cursor": { "session_id": session, "offset": offset }, "close": close })
}

fn session_id(answer: &Value) -> Result<String> {
    let id = answer["session_id"].as_str();
    Ok(id
        .with_context(|| format!("no session: {answer}"))?
        .to_owned())
}

/// A connection to one host.
struct Client {
    host: String,
    stream: BufReader<Box<dyn Wire>>,
}

trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

impl Client {
    fn connect(url: &str, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let url = Url::parse(url)?;
        let name = url.host_str().context("no host")?.to_owned();
        let port = url.port_or_known_default().context("no port")?;
        let socket = TcpStream::connect((name.as_str(), port))?;
        socket.set_nodelay(true)?;
        let host = format!("{name}:{port}");
        let wire: Box<dyn Wire> = match tls {
            None => Box::new(socket),
            Some(config) => {
                let name = ServerName::try_from(name)?;
                let session = ClientConnection::new(Arc::clone(config), name)?;
                Box::new(StreamOwned::new(session, socket))
            }
        };
        Ok(Self {
            host,
            stream: BufReader::with_capacity(64 * 1024, wire),
        })
    }

    /// Asks for a backup; its bytes follow on the stream.
    fn get(&mut self, base: &str, id: &str, token: &str, size: u64) -> Result<()> {
        let path = Url::parse(base)?.path().to_owned();
        let request = format!(
            "GET {path}api/v2.1/nms/backups/{id} HTTP/1.1\r\nHost: {}\r\nx-auth-token: {token}\r\n\r\n",
            self.host
        );
        let wire = self.stream.get_mut();
        wire.write_all(request.as_bytes())?;
        wire.flush()?;
        let length = self.read_head()?;
        ensure!(length == size, "{length} bytes instead of {size}");
        Ok(())
    }

    fn post(&mut self, route: &str, token: &str, argument: &Value, body: &[u8]) -> Result<Value> {
        let headers = format!(
            "Content-Type: application/octet-stream\r\nDropbox-API-Arg: {argument}\r\nAuthorization: Bearer {token}\r\n"
        );
        self.exchange(&format!("POST /2/{route}"), &headers, body)
    }

    fn exchange(&mut self, request: &str, headers: &str, body: &[u8]) -> Result<Value> {
        let head = format!(
            "{request} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        let wire = self.stream.get_mut();
        wire.write_all(head.as_bytes())?;
        wire.write_all(body)?;
        wire.flush()?;
        let length = self.read_head()?;
        let mut answer = vec![0; usize::try_from(length)?];
        self.stream.read_exact(&mut answer)?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// Reads the head of an answer that must be good; returns the length of its body.
    fn read_head(&mut self) -> Result<u64> {
        let mut line = String::new();
        let mut length = None;
        self.stream.read_line(&mut line)?;
        ensure!(line.starts_with("HTTP/1.1 200"), "answer: {line:?}");
        while line != "\r\n" {
            line.clear();
            ensure!(self.stream.read_line(&mut line)? > 0, "cut off");
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse()?);
            }
        }
        length.context("an answer without a length")
    }
}

fn trusting(ca_path: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca_path)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::super::world::Line;
    use super::*;

    #[test]
    fn every_size_arrives() {
        let backups: Vec<Backup> = [0, 5_000_000, 3 * CHUNK_BYTES as u64, 12_345_678]
            .into_iter()
            .zip(0..)
            .map(|(size, number)| Backup::numbered(number, size))
            .collect();
        for has_tls in [false, true] {
            let world = World::new(Line::Loopback, has_tls, &backups).unwrap();
            let order = Order::of(&world, &backups);
            let order = serde_json::to_string(&order).unwrap();
            run(&order).unwrap();
            let hashes = backups
                .iter()
                .map(|backup| (backup.id.clone(), backup.content_hash()));
            world.check(&hashes.collect()).unwrap();
        }
    }
}
