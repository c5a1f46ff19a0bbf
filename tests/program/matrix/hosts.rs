//! Whole hosts that are not there, or not who they should be.

use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sandbox::dropbox::Dropbox;
use sandbox::http::{
    Body, Handler, Head, Leaf, Request, Response, Server, ServerOptions, TestCa, TlsConfig,
};
use serde_json::json;

use super::Place;
use super::expectation::{Attack, Cell, End, Expected, expected, failure};
use super::faults::Nature;
use super::requests::{Kind, Service};
use super::scene::Scene;
use crate::support::{PATIENCE, stranger};

/// A host that a run talks to, and the first kind of request that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Dropbox's API, when a code is exchanged.
    ApiForCode,
    /// Dropbox's API, when the access is renewed.
    Api,
    /// Dropbox's content host, for a small backup.
    Content,
    /// Dropbox's content host, for a large backup.
    ContentForLarge,
    /// UISP.
    Uisp,
}

impl Host {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ApiForCode,
        Self::Api,
        Self::Content,
        Self::ContentForLarge,
        Self::Uisp,
    ];

    /// Its name over a column.
    pub fn heading(self) -> String {
        let (host, first) = match self {
            Self::ApiForCode | Self::Api => ("API", self.kind().name()),
            Self::Content | Self::ContentForLarge => ("content", self.kind().name()),
            Self::Uisp => ("UISP", self.kind().name()),
        };
        format!("{host} host: {first}")
    }

    fn kind(self) -> Kind {
        match self {
            Self::ApiForCode => Kind::Code,
            Self::Api => Kind::Refresh,
            Self::Content => Kind::StartSmall,
            Self::ContentForLarge => Kind::StartLarge,
            Self::Uisp => Kind::Backups,
        }
    }

    fn variable(self) -> Option<&'static str> {
        match self {
            Self::ApiForCode | Self::Api => Some("DROPBOX_API_URL"),
            Self::Content | Self::ContentForLarge => Some("DROPBOX_CONTENT_URL"),
            Self::Uisp => None,
        }
    }

    /// The host that answers a kind of request.
    pub fn of(kind: Kind) -> Self {
        match kind.service() {
            Service::Uisp => Self::Uisp,
            Service::Dropbox if kind.is_upload() => Self::Content,
            Service::Dropbox | Service::Token => Self::Api,
        }
    }

    fn url(self, scene: &Scene) -> String {
        match self {
            Self::Uisp => scene.world.uisp.local_url(),
            Self::Content | Self::ContentForLarge => scene.world.dropbox.content_url(),
            Self::ApiForCode | Self::Api => scene.world.dropbox.api_url(),
        }
    }

    fn is_content(self) -> bool {
        matches!(self, Self::Content | Self::ContentForLarge)
    }
}

/// What is the matter with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing listens there.
    Refused,
    /// Its name has no address.
    NoName,
    /// Its certificate is for another name.
    WrongName,
    /// Its certificate has expired.
    Expired,
    /// Nobody knows who issued its certificate.
    UnknownIssuer,
    /// It speaks no TLS.
    NoTls,
    /// It answers byte by byte, and its answers do not end.
    Endless,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Refused,
        Self::NoName,
        Self::WrongName,
        Self::Expired,
        Self::UnknownIssuer,
        Self::NoTls,
        Self::Endless,
    ];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "connection refused",
            Self::NoName => "name not resolved",
            Self::WrongName => "certificate for another name",
            Self::Expired => "certificate expired",
            Self::UnknownIssuer => "certificate of an unknown issuer",
            Self::NoTls => "no TLS",
            Self::Endless => "endless slow answers",
        }
    }

    fn is_certificate(self) -> bool {
        matches!(self, Self::WrongName | Self::Expired | Self::UnknownIssuer)
    }
}

/// The cells of this trouble with this host, or why there is none.
pub fn cells(trouble: Trouble, host: Host) -> Place {
    if trouble == Trouble::Endless && !host.is_content() {
        return Err("stands in the matrix of requests and faults");
    }
    if trouble == Trouble::NoTls && host == Host::Uisp {
        return Err("UISP is reached without TLS inside its containers");
    }
    let kind = host.kind();
    let cell = |lasting| {
        let says = match trouble {
            trouble if trouble.is_certificate() => "The certificate was not accepted",
            Trouble::NoTls => "",
            _ => "next run tries again",
        };
        let expected = match (trouble, lasting) {
            (Trouble::Refused, false) => Expected {
                end: End::Well,
                says: "",
            },
            (Trouble::Endless, _) => Expected {
                end: End::OutOfTime,
                says: "",
            },
            _ => Expected {
                end: failure(kind),
                says,
            },
        };
        Cell {
            name: format!("{} at {}", trouble.name(), host.heading()),
            kind,
            lasting,
            attack: Attack::Host(host, trouble),
            expected,
            speed: match (trouble, lasting) {
                (Trouble::Endless, _) => 400,
                (_, true) => 200,
                (_, false) => 40,
            },
        }
    };
    // A certificate is looked at once, and a name cannot be given an address while a run goes on:
    // only a host that was not there can appear.
    if trouble == Trouble::Refused {
        Ok(vec![cell(false), cell(true)])
    } else {
        Ok(vec![cell(true)])
    }
}

/// The cells of a host that goes away while it has this kind of request: for a moment, for good.
pub fn leaving(kind: Kind) -> Place {
    if kind == Kind::Renew {
        return Err("its host is that of the request before it");
    }
    if kind.is_code() || Host::ALL.iter().any(|host| host.kind() == kind) {
        return Err("the first request to its host; see the table of whole hosts");
    }
    let cell = |lasting| Cell {
        name: format!("host leaves at {}", kind.name()),
        kind,
        lasting,
        attack: Attack::HostLeaves,
        expected: expected(Nature::Passing, kind, lasting),
        speed: 100,
    };
    // These are followed by others to the same host, which would fail for good in their own ways.
    let is_followed = matches!(
        kind,
        Kind::Metadata
            | Kind::Copy
            | Kind::Space
            | Kind::Create
            | Kind::Settings
            | Kind::Download
            | Kind::Compare
    );
    if is_followed {
        Ok(vec![cell(false)])
    } else {
        Ok(vec![cell(false), cell(true)])
    }
}

/// The cell of an access token that expires before this kind of request, with a cut answer.
pub fn broken_expiry(kind: Kind) -> Place {
    let after = match kind {
        Kind::List => Kind::Refresh,
        Kind::Continue => Kind::List,
        Kind::StartSmall => Kind::Download,
        Kind::Finish => Kind::StartSmall,
        Kind::Delete => Kind::Finish,
        Kind::Check => Kind::Delete,
        Kind::Append => Kind::StartLarge,
        _ if kind.service() == Service::Token => return Err("no access token is sent"),
        _ if kind.service() == Service::Uisp => return Err("UISP's tokens do not expire"),
        _ => return Err("goes the way of another column, as far as this fault is concerned"),
    };
    Ok(vec![Cell {
        name: format!("expired, and the answer cut, at {}", kind.name()),
        kind,
        lasting: false,
        attack: Attack::BrokenExpiry { after },
        expected: expected(Nature::Passing, kind, false),
        speed: 40,
    }])
}

/// A host that stands in the place of another.
pub struct Replaced {
    host: Host,
    url: String,
    /// Nobody should tell it anything.
    impostor: Option<Server>,
    /// The way to the real host.
    door: Option<Arc<Door>>,
    /// The way opens once the program has tried in vain.
    is_late: bool,
    /// What `ucrm.json` held before.
    ucrm: Option<(PathBuf, Vec<u8>)>,
}

/// Puts a host in trouble in the place of the real one.
pub fn replace(scene: &Scene, host: Host, trouble: Trouble, lasting: bool) -> Replaced {
    let world = &scene.world;
    let mut replaced = Replaced {
        host,
        url: String::new(),
        impostor: None,
        door: None,
        is_late: false,
        ucrm: None,
    };
    let scheme = if host == Host::Uisp { "http" } else { "https" };
    // UISP's own certificate is not looked at under 127.0.0.1.
    let address = Ipv4Addr::new(127, 0, 0, 2);
    let mut good = Dropbox::leaf();
    good.names.push(address.to_string());
    let impostor = |tls| {
        let address = if host == Host::Uisp {
            address
        } else {
            Ipv4Addr::LOCALHOST
        };
        stranger(address, tls)
    };
    let issued = |ca: &TestCa, leaf: &Leaf| impostor(Some(ca.issue(leaf).unwrap()));
    replaced.url = match trouble {
        Trouble::Refused if lasting => format!("{scheme}://127.0.0.1:1"),
        Trouble::Refused => {
            let door = Door::new(scene, &host.url(scene));
            let url = format!("{scheme}://{}", door.address);
            replaced.door = Some(Arc::new(door));
            replaced.is_late = true;
            url
        }
        Trouble::NoName => format!("{scheme}://no-such-host.invalid"),
        Trouble::Endless => {
            let tls = world.ca.issue(&good).unwrap();
            let endless = Endless::start(tls, host == Host::ContentForLarge);
            let url = endless.url();
            replaced.impostor = Some(endless);
            url
        }
        trouble => {
            let server = match trouble {
                Trouble::WrongName => issued(&world.ca, &Leaf::of(["dropbox.example"])),
                Trouble::Expired => issued(
                    &world.ca,
                    &Leaf {
                        is_expired: true,
                        ..good
                    },
                ),
                Trouble::UnknownIssuer => issued(&TestCa::new().unwrap(), &good),
                _ => impostor(None),
            };
            let url = server.url().replacen("http://", "https://", 1);
            replaced.impostor = Some(server);
            url
        }
    };
    replaced.lead_there(scene);
    replaced
}

/// Puts an open door before a host.
pub fn put_door_before(scene: &Scene, host: Host) -> Replaced {
    let scheme = if host == Host::Uisp { "http" } else { "https" };
    let door = Door::new(scene, &host.url(scene));
    door.open();
    let mut replaced = Replaced {
        host,
        url: format!("{scheme}://{}", door.address),
        impostor: None,
        door: Some(Arc::new(door)),
        is_late: false,
        ucrm: None,
    };
    replaced.lead_there(scene);
    replaced
}

impl Replaced {
    /// UISP's address stands in a file; Dropbox's are given by the environment.
    fn lead_there(&mut self, scene: &Scene) {
        if self.host != Host::Uisp {
            return;
        }
        let path = scene.world.root().join("ucrm.json");
        let ucrm = json!({"unmsLocalUrl": format!("{}/nms/", self.url), "pluginId": 1});
        self.ucrm = Some((path.clone(), fs::read(&path).unwrap()));
        fs::write(path, ucrm.to_string()).unwrap();
    }

    /// The environment that leads there.
    pub fn variables(&self) -> Option<(&'static str, &str)> {
        Some((self.host.variable()?, &self.url))
    }

    /// The way to the real host.
    pub fn door(&self) -> Arc<Door> {
        Arc::clone(self.door.as_ref().expect("there is no door"))
    }

    /// The way to the real host, if it is to open once the program has tried in vain.
    pub fn late_door(&self) -> Option<Arc<Door>> {
        self.door.clone().filter(|_| self.is_late)
    }

    /// Nobody has told an impostor anything.
    pub fn assert_no_credential(&self) {
        let Some(impostor) = &self.impostor else {
            return;
        };
        let requests = impostor.traffic().requests();
        if requests.iter().any(|request| request.route == "endless") {
            return;
        }
        let said: Vec<_> = requests
            .iter()
            .flat_map(|request| &request.headers)
            .collect();
        assert!(said.is_empty(), "an impostor was told {said:?}");
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        if let Some((path, content)) = &self.ucrm {
            // A failure shows in the next run.
            let _ = fs::write(path, content);
        }
    }
}

/// A content host whose answers do not end; it may give a session first.
struct Endless {
    gives_session: bool,
}

impl Endless {
    fn start(tls: TlsConfig, gives_session: bool) -> Server {
        let options = ServerOptions {
            tls: Some(tls),
            ..ServerOptions::default()
        };
        Server::start(options, Arc::new(Self { gives_session })).unwrap()
    }
}

impl Handler for Endless {
    fn route(&self, _: &Head) -> String {
        "endless".into()
    }

    fn handle(&self, request: &mut Request<'_>) -> io::Result<Response> {
        if self.gives_session && request.head.path().ends_with("/start") {
            let session = json!({"session_id": "pid_upload_session:endless"});
            return Ok(Response::json(200, &session));
        }
        Ok(Response {
            status: 200,
            headers: Vec::new(),
            body: Body::Stream {
                reader: Box::new(Trickle),
                length: None,
            },
        })
    }
}

/// White space without end, which may stand before any JSON.
struct Trickle;

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        std::thread::sleep(Duration::from_millis(20));
        buffer[0] = b' ';
        Ok(1)
    }
}

/// A way to a real server that can be opened and closed; while it is closed, nothing listens.
pub struct Door {
    address: SocketAddr,
    target: SocketAddr,
    inner: Mutex<Option<OpenDoor>>,
}

struct OpenDoor {
    is_over: Arc<AtomicBool>,
    sockets: Arc<Mutex<Vec<TcpStream>>>,
    acceptor: JoinHandle<()>,
}

impl Door {
    /// A closed door. Nothing else uses the scene's own address, so that its port stays free.
    fn new(scene: &Scene, url: &str) -> Self {
        let (_, rest) = url.split_once("://").unwrap();
        Self {
            address: SocketAddr::from((scene.address, 4433)),
            target: rest.split('/').next().unwrap().parse().unwrap(),
            inner: Mutex::default(),
        }
    }

    /// Listens again. A program that another test starts holds the old listener until it has replaced itself.
    fn listen(&self) -> TcpListener {
        let since = Instant::now();
        loop {
            match TcpListener::bind(self.address) {
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse && since.elapsed() < PATIENCE =>
                {
                    std::thread::sleep(Duration::from_millis(5));
                }
                result => return result.unwrap(),
            }
        }
    }

    /// Lets connections through.
    pub fn open(&self) {
        let listener = self.listen();
        let is_over = Arc::new(AtomicBool::new(false));
        let sockets: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let acceptor = std::thread::spawn({
            let (is_over, sockets) = (Arc::clone(&is_over), Arc::clone(&sockets));
            let target = self.target;
            move || {
                for client in listener.incoming().flatten() {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    let server = TcpStream::connect(target).unwrap();
                    for (from, to) in [(&client, &server), (&server, &client)] {
                        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                        std::thread::spawn(move || relay(from, &to));
                    }
                    sockets.lock().unwrap().extend([client, server]);
                }
            }
        });
        *self.inner.lock().unwrap() = Some(OpenDoor {
            is_over,
            sockets,
            acceptor,
        });
    }

    /// Ends all connections and refuses new ones; when this returns, nothing listens.
    pub fn close(&self) {
        let Some(open) = self.inner.lock().unwrap().take() else {
            return;
        };
        open.is_over.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        let _ = open.acceptor.join();
        for socket in &*open.sockets.lock().unwrap() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}

/// Copies until one side ends, then ends the other.
fn relay(mut from: TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}
