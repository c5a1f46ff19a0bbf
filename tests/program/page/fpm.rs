//! `public.php` where hosts run it: nginx in front, PHP's process manager behind it with five processes in all. What
//! strangers ask for must leave some of them to everybody else.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use super::crm::Site;
use super::php::{install, program};
use crate::support::{PATIENCE, World};

/// Says who has started it, and answers when the test writes into its own pipe.
const STUB: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then echo "backup-sync-dropbox 0.0.0"; exit 0; fi
mkfifo "FOLDER/gate-$$"
echo "$PPID $$" >"FOLDER/news"
read line <"FOLDER/gate-$$"
printf 'Status: 403 Forbidden\r\nContent-Type: text/plain\r\n\r\nreleased'
"#;

/// A page of the host that has nothing to do with the plugin.
const ORDINARY: &str = "<?php echo 'an ordinary page';";

const JUNK: &str = "Cookie: PHPSESSID=junk\r\n";
const EDITOR: &str = "Cookie: PHPSESSID=test-admin-who-edits\r\n";
const ADMIN: &str = "Cookie: PHPSESSID=test-admin-who-views\r\n";

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let mut kill = Command::new("kill");
        // Asked to end, it ends its own processes first.
        let _ = kill.arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Starts a server and waits for its word that it is ready.
    fn start(mut command: Command, ready: &str) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains(ready) {
            assert!(
                lines.read_line(&mut said).unwrap() > 0,
                "it does not start: {said}"
            );
        }
        // Read on, so that it never waits for a reader.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self(child)
    }
}

/// A host: its web server, its PHP, and a plugin.
struct Host {
    site: Site,
    folder: tempfile::TempDir,
    _nginx: Server,
    _fpm: Server,
}

fn tool(names: &[&str]) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = folders.iter().find_map(|folder| {
        let entries = fs::read_dir(folder).ok()?.flatten();
        let is_it = |name: &str| names.iter().any(|wanted| name.starts_with(wanted));
        let mut paths = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_it));
        paths.next().map(|entry| entry.path())
    });
    found.unwrap_or_else(|| panic!("these tests need {names:?}: ./build.sh test installs it"))
}

impl Host {
    fn start(site: Site) -> Self {
        install(&site);
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().display();
        let root = site.world.root();
        let web = folder.path().join("web");
        fs::create_dir(&web).unwrap();
        fs::write(web.join("ordinary.php"), ORDINARY).unwrap();
        for name in ["public.php", "public"] {
            symlink(root.join(name), web.join(name)).unwrap();
        }
        let user = "user = root\ngroup = root\n";
        let pool = format!(
            "[global]\ndaemonize = no\nerror_log = /dev/stderr\n\
             [www]\n{user}listen = {here}/php.sock\nlisten.mode = 0666\nclear_env = no\n\
             pm = static\npm.max_children = 5\ncatch_workers_output = yes\n"
        );
        fs::write(folder.path().join("fpm.conf"), pool).unwrap();
        let nginx = format!(
            "daemon off;\nuser root;\npid {here}/nginx.pid;\nerror_log stderr notice;\nevents {{}}\n\
             http {{ access_log off; include /etc/nginx/mime.types;\n\
             client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;\n\
             uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;\n\
             server {{ listen unix:{here}/http.sock; root {};\n\
             location ~ \\.php$ {{ include /etc/nginx/fastcgi_params;\n\
             fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;\n\
             fastcgi_pass unix:{here}/php.sock; fastcgi_read_timeout 1h; }} }} }}\n",
            web.display()
        );
        fs::write(folder.path().join("nginx.conf"), nginx).unwrap();

        let plain = site.world.command();
        let mut fpm = Command::new(tool(&["php-fpm"]));
        fpm.args(["--nodaemonize", "--allow-to-run-as-root", "--no-php-ini"])
            .arg("--fpm-config")
            .arg(folder.path().join("fpm.conf"))
            .env_clear()
            .envs(
                plain
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
            .env("PATH", std::env::var_os("PATH").unwrap());
        let fpm = Server::start(fpm, "ready to handle connections");
        let mut web = Command::new(tool(&["nginx"]));
        web.arg("-c").arg(folder.path().join("nginx.conf"));
        let nginx = Server::start(web, "start worker process");
        Self {
            site,
            folder,
            _nginx: nginx,
            _fpm: fpm,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Asks for a page; the answer comes when it comes.
    fn ask(&self, target: &str, headers: &str) -> Receiver<Answer> {
        let (sender, answer) = mpsc::channel();
        let socket = self.path("http.sock");
        let request = format!("GET {target} HTTP/1.0\r\nHost: uisp.example\r\n{headers}\r\n");
        std::thread::spawn(move || sender.send(exchange(&socket, &request)));
        answer
    }

    /// Sends a form as the page itself does.
    fn post(&self, headers: &str, form: &[(String, String)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let length = body.len();
        let request = format!(
            "POST /public.php HTTP/1.0\r\nHost: uisp.example\r\nOrigin: https://uisp.example\r\n{headers}\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        exchange(&self.path("http.sock"), &request)
    }

    fn get(&self, target: &str, headers: &str) -> Answer {
        self.ask(target, headers).recv_timeout(PATIENCE).unwrap()
    }

    /// Puts the stub in the program's place.
    fn put_stub(&self) -> Stubs {
        let news = self.path("news");
        assert!(
            Command::new("mkfifo")
                .arg(&news)
                .status()
                .unwrap()
                .success()
        );
        let here = self.folder.path().to_str().unwrap();
        let program = program(self.site.world.root());
        let stub = self.path("stub");
        fs::write(&stub, STUB.replace("FOLDER", here)).unwrap();
        // By another process, as `copy_binary` does.
        let copied = Command::new("cp").arg(stub).arg(&program).status();
        assert!(copied.unwrap().success());
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        // Open for writing as well, it never ends.
        let pipe = fs::File::options()
            .read(true)
            .write(true)
            .open(news)
            .unwrap();
        let (sender, started) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                let line = line.unwrap();
                let (php, own) = line.split_once(' ').unwrap();
                let stub = Stub {
                    php: php.to_owned(),
                    own: own.to_owned(),
                };
                if sender.send(stub).is_err() {
                    break;
                }
            }
        });
        Stubs(started)
    }

    /// Lets a stub answer.
    fn release(&self, stub: &Stub) {
        fs::write(self.path(&format!("gate-{}", stub.own)), "go\n").unwrap();
    }
}

/// A started stub, by the numbers of its process and of the PHP process that has started it.
struct Stub {
    php: String,
    own: String,
}

/// The stubs as they are started.
struct Stubs(Receiver<Stub>);

impl Stubs {
    fn next(&self) -> Stub {
        self.0.recv_timeout(PATIENCE).unwrap()
    }

    fn assert_no_more(&self) {
        assert!(self.0.try_recv().is_err(), "another program was started");
    }
}

struct Answer {
    head: String,
    body: String,
}

impl Answer {
    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    fn is_sent_away(&self) -> bool {
        self.status() == "503" && self.head.contains("\r\nRetry-After: ")
    }
}

fn exchange(socket: &Path, request: &str) -> Answer {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

#[test]
fn strangers_never_occupy_more_than_two_of_the_hosts_php_processes() {
    let host = Host::start(Site::around(World::authorized()));
    let stubs = host.put_stub();
    // Five with a session that nobody knows yet to be none: as many as there are processes.
    let (sender, answers) = mpsc::channel();
    for _ in 0..5 {
        let answer = host.ask("/public.php", JUNK);
        let sender = sender.clone();
        std::thread::spawn(move || sender.send(answer.recv_timeout(PATIENCE).unwrap()));
    }
    let held = [stubs.next(), stubs.next()];
    // Three are sent away while the first two are still being asked about.
    for _ in 0..3 {
        let answer = answers.recv_timeout(PATIENCE).unwrap();
        assert!(answer.is_sent_away(), "{}", answer.head);
    }
    // Meanwhile everybody else is served.
    for _ in 0..5 {
        assert_eq!(host.get("/ordinary.php", JUNK).body, "an ordinary page");
        assert_eq!(host.get("/public.php", "").status(), "403");
        assert!(host.get("/public.php", JUNK).is_sent_away());
    }
    stubs.assert_no_more();
    for stub in &held {
        host.release(stub);
        let answer = answers.recv_timeout(PATIENCE).unwrap();
        assert_eq!((answer.status(), answer.body.as_str()), ("403", "released"));
    }
    // And the slots are free again.
    let last = host.ask("/public.php", JUNK);
    host.release(&stubs.next());
    assert_eq!(last.recv_timeout(PATIENCE).unwrap().body, "released");
}

#[test]
fn a_slot_is_free_when_its_program_has_ended_however_php_ended() {
    enum Event {
        Started,
        Answered(Answer),
    }
    let host = Host::start(Site::around(World::authorized()));
    let stubs = host.put_stub();
    let _answers = [host.ask("/public.php", JUNK), host.ask("/public.php", JUNK)];
    let held = [stubs.next(), stubs.next()];
    for stub in &held {
        let mut kill = Command::new("kill");
        assert!(
            kill.args(["-s", "KILL", &stub.php])
                .status()
                .unwrap()
                .success()
        );
    }
    let process = |stub: &Stub| Path::new("/proc").join(&stub.php);
    let killed_at = Instant::now();
    while held.iter().any(|stub| process(stub).exists()) {
        assert!(killed_at.elapsed() < PATIENCE, "PHP does not end");
        std::thread::yield_now();
    }
    // The programs go on, so there is no place for more of them.
    for _ in 0..5 {
        assert!(host.get("/public.php", JUNK).is_sent_away());
    }
    stubs.assert_no_more();
    held.iter().for_each(|stub| host.release(stub));
    // They end in their own time; then the next one is started.
    let (sender, events) = mpsc::channel();
    let started = sender.clone();
    std::thread::spawn(move || {
        stubs.next();
        started.send(Event::Started)
    });
    loop {
        let answer = host.ask("/public.php", JUNK);
        let sender = sender.clone();
        std::thread::spawn(move || {
            if let Ok(answer) = answer.recv() {
                let _ = sender.send(Event::Answered(answer));
            }
        });
        match events.recv_timeout(PATIENCE).unwrap() {
            Event::Started => break,
            Event::Answered(answer) => assert!(answer.is_sent_away(), "{}", answer.head),
        }
    }
}

#[test]
fn the_page_is_shown_behind_a_web_server() {
    let site = Site::around(World::authorized());
    site.world.add_backups(1, 2, 1000);
    site.world.run_well();
    let host = Host::start(site);
    let page = host.get("/public.php", ADMIN);
    assert_eq!(page.status(), "200", "{}", page.head);
    assert!(
        page.body.contains("All 2 backups are in Dropbox."),
        "{}",
        page.body
    );
    assert_eq!(host.get("/public.php", JUNK).status(), "403");
    assert_eq!(host.site.questions(), 2);
    let stranger = host.get("/public.php", "Cookie: theme=dark\r\n");
    assert_eq!(stranger.status(), "403");
    assert_eq!(host.site.questions(), 2);
}

#[test]
fn forms_arrive_through_a_web_server_and_their_answers_come_back() {
    let site = Site::around(World::authorized());
    site.world.add_backups(1, 2, 1000);
    site.world.run_well();
    let host = Host::start(site);
    let form = host.site.editors_page().filled("run", &[]);
    let answer = host.post(EDITOR, &form);
    assert_eq!(answer.status(), "303", "{}{}", answer.head, answer.body);
    assert!(answer.head.ends_with("\r\nLocation: ?"), "{}", answer.head);
    let request = host
        .site
        .world
        .root()
        .join(".ucrm-plugin-execution-requested");
    assert!(request.exists());
    assert_eq!(host.post(EDITOR, &form).status(), "403");
    assert_eq!(host.post("", &form).status(), "403");
}

#[test]
fn what_is_beside_the_page_is_served_to_anybody_and_holds_nothing_of_the_installation() {
    let host = Host::start(Site::around(World::authorized()));
    for (name, kind) in [
        ("style.css", "text/css"),
        ("page.js", "application/javascript"),
        ("icon.svg", "image/svg+xml"),
        ("restore.html", "text/html"),
    ] {
        let answer = host.get(&format!("/public/{name}"), "");
        assert_eq!(answer.status(), "200", "{name}: {}", answer.head);
        assert!(
            answer.head.contains(&format!("Content-Type: {kind}")),
            "{}",
            answer.head
        );
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("public")
            .join(name);
        assert_eq!(answer.body, fs::read_to_string(file).unwrap());
    }
    assert_eq!(host.site.questions(), 0);
}
