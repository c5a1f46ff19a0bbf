//! `public.php` and `hook_configure.php` under real PHP, as web servers run them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sandbox::host::find_php;
use serde_json::json;

use super::crm::Site;
use crate::crash::kill::copy_binary;
use crate::support::World;

/// PHP's own web server in a plugin's folder.
struct Web {
    server: Child,
    address: String,
    errors: BufReader<std::process::ChildStderr>,
}

impl Web {
    fn start(site: &Site, settings: &[&str]) -> Self {
        install(site);
        let plain = site.world.command();
        let mut server = Command::new(php());
        server
            .args(["-d", "error_reporting=-1", "-d", "display_errors=1"])
            .args(settings)
            .args(["-S", "127.0.0.1:0", "-t"])
            .arg(site.world.root())
            .env_clear()
            .envs(
                plain
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
            .env_remove("BACKUP_SYNC_CLOCK_SPEED")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut server = server.spawn().unwrap();
        let mut errors = BufReader::new(server.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("started") {
            line.clear();
            assert!(
                errors.read_line(&mut line).unwrap() > 0,
                "PHP does not start"
            );
        }
        let (_, rest) = line.split_once("http://").unwrap();
        let address = rest.split(')').next().unwrap().to_owned();
        Self {
            server,
            address,
            errors,
        }
    }

    /// Head and body of the answer.
    fn get(&self, target: &str, headers: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let host = &self.address;
        // In one piece: the server is a simple one.
        let request = format!("GET {target} HTTP/1.0\r\nHost: {host}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// Sends a form as the page itself does; head and body of the answer.
    fn post(&self, headers: &str, form: &[(String, String)]) -> (String, String) {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        self.post_body(headers, &body)
    }

    fn post_body(&self, headers: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let (host, length) = (&self.address, body.len());
        let request = format!(
            "POST /public.php HTTP/1.0\r\nHost: {host}\r\nOrigin: http://{host}\r\n{headers}\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// Ends the server and returns what it wrote to its own log.
    fn end(mut self) -> String {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        let mut log = String::new();
        self.errors.read_to_string(&mut log).unwrap();
        log
    }
}

fn php() -> PathBuf {
    find_php().expect("these tests need php: ./build.sh test installs it")
}

/// The program in the plugin's folder.
pub fn program(root: &Path) -> PathBuf {
    root.join("bin")
        .join(std::env::consts::ARCH)
        .join("backup-sync-dropbox")
}

/// Puts the plugin's files beside its data, as the host's unpacking leaves them.
pub fn install(site: &Site) {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = site.world.root();
    for name in ["launcher.php", "public.php", "hook_configure.php"] {
        fs::copy(checkout.join(name), root.join(name)).unwrap();
    }
    let public = root.join("public");
    fs::create_dir(&public).unwrap();
    for file in fs::read_dir(checkout.join("public")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), public.join(file.file_name())).unwrap();
    }
    let program = program(root);
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    copy_binary(&program);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
}

const EDITOR: &str = "Cookie: PHPSESSID=test-admin-who-edits\r\n";
const ADMIN: &str = "Cookie: PHPSESSID=test-admin-who-views\r\n";

#[test]
fn the_page_reaches_the_browser_with_status_and_headers() {
    let site = Site::around(World::authorized());
    site.world.add_backups(1, 2, 1000);
    site.world.run_well();
    let before = files(&site.world);
    let web = Web::start(&site, &[]);

    let (head, body) = web.get("/public.php", ADMIN);
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    assert!(
        head.contains(
            "\r\nContent-Security-Policy: default-src 'none'; style-src 'self'; script-src 'self';"
        ),
        "{head}"
    );
    assert!(
        head.contains("\r\nContent-Type: text/html; charset=utf-8"),
        "{head}"
    );
    assert!(
        !head.contains("X-Powered-By") && !head.contains("Status:"),
        "{head}"
    );
    assert!(body.starts_with("<!DOCTYPE html>"), "{body}");
    assert!(
        body.contains("All 2 backups are in Dropbox.") && body.ends_with("</html>"),
        "{body}"
    );
    let (_, widget) = web.get("/public.php?widget=1", ADMIN);
    assert!(widget.contains("Open the status page"), "{widget}");

    // A header cannot become an environment variable of the program.
    let evil = "Proxy: http://192.0.2.1/\r\nSSL-CERT-FILE: /nowhere\r\n";
    assert!(
        web.get("/public.php", &format!("{ADMIN}{evil}"))
            .0
            .contains(" 200 ")
    );
    assert!(web.get("/public.php", "").0.starts_with("HTTP/1.0 403 "));
    site.set_crm_url(json!(null), json!(null));
    assert!(web.get("/public.php", ADMIN).0.starts_with("HTTP/1.0 503 "));
    drop(web.end());
    // Nothing was written by looking.
    assert_eq!(files(&site.world), before);
}

#[test]
fn a_form_reaches_the_program_and_its_answer_the_browser() {
    let site = Site::around(World::with_app(false));
    let code = site.world.dropbox.allow(site.world.run().url()).unwrap();
    let web = Web::start(&site, &[]);
    let form = site.editors_page().filled("connect", &[("code", &code)]);
    let (head, body) = web.post(EDITOR, &form);
    assert!(head.starts_with("HTTP/1.0 303 "), "{head}{body}");
    assert!(
        head.ends_with("\r\nLocation: ?") && body.is_empty(),
        "{head}{body}"
    );
    assert!(site.world.config()["dropboxRefreshToken"].is_string());
    let (_, body) = web.get("/public.php", EDITOR);
    assert!(
        body.contains("Connected: Dropbox accepted the code."),
        "{body}"
    );
    // Used up; and another site's.
    fs::remove_file(site.world.root().join(".ucrm-plugin-execution-requested")).unwrap();
    assert!(web.post(EDITOR, &form).0.starts_with("HTTP/1.0 403 "));
    let elsewhere = format!("{EDITOR}Sec-Fetch-Site: cross-site\r\n");
    let (head, body) = web.post(&elsewhere, &site.editors_page().filled("run", &[]));
    assert!(head.starts_with("HTTP/1.0 403 "), "{head}");
    assert!(body.contains("did not come from the plugin"), "{body}");
    drop(web.end());
}

/// What others on the machine could see: a program's arguments, and with its own user's rights its environment.
#[test]
fn what_is_in_a_form_goes_through_a_pipe_and_no_more_of_it_than_a_form_has() {
    let site = Site::around(World::authorized());
    let web = Web::start(&site, &[]);
    let trace = site.world.root().join("trace");
    let stub = format!(
        "#!/bin/sh\n{{ echo \"$*\"; env; }} >'{0}.seen'\nwc -c >'{0}.length'\n\
         printf 'Status: 200 OK\\r\\n\\r\\nseen'\n",
        trace.display()
    );
    fs::write(program(site.world.root()), stub).unwrap();
    for (length, passed) in [
        (0, 0),
        (100, 100),
        (8192, 8192),
        (8193, 8193),
        (200_000, 8193),
    ] {
        let code = "fake-code".repeat(length / 9 + 1);
        let (head, body) = web.post_body(EDITOR, &code[..length]);
        assert!(
            head.starts_with("HTTP/1.0 200 ") && body == "seen",
            "{head}{body}"
        );
        let seen = fs::read_to_string(trace.with_extension("seen")).unwrap();
        assert!(
            seen.contains("HTTP_ORIGIN=") && !seen.contains("fake-code"),
            "{seen}"
        );
        let counted = fs::read_to_string(trace.with_extension("length")).unwrap();
        assert_eq!(counted.trim(), passed.to_string());
    }
    // Who only looks sends nothing.
    web.get("/public.php", EDITOR);
    let counted = fs::read_to_string(trace.with_extension("length")).unwrap();
    assert_eq!(counted.trim(), "0");
    drop(web.end());
}

/// The files in `data/` with their contents.
fn files(world: &World) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(world.root().join("data"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn what_keeps_the_program_from_answering_is_told_to_nobody_but_phps_own_log() {
    for (settings, cause) in [
        (
            &["-d", "disable_functions=proc_open"][..],
            "disable_functions",
        ),
        (&[], "is missing"),
        (&[], "no answer"),
    ] {
        let site = Site::around(World::authorized());
        let web = Web::start(&site, settings);
        let program = program(site.world.root());
        match cause {
            "is missing" => fs::remove_file(&program).unwrap(),
            "no answer" => fs::write(
                &program,
                "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'backup-sync-dropbox 0'; else exit 1; fi\n",
            )
            .unwrap(),
            _ => {}
        }
        let (head, body) = web.get("/public.php", ADMIN);
        assert!(head.starts_with("HTTP/1.0 503 "), "{head}");
        assert_eq!(
            body,
            "This page cannot be shown at the moment. Try again in a minute.\n"
        );
        let log = web.end();
        assert!(log.contains(cause), "{cause}: {log}");
        assert!(site.world.log().is_empty(), "{}", site.world.log());
    }
}

#[test]
fn saving_the_form_shows_the_link_and_nothing_on_the_page() {
    let site = Site::around(World::with_app(false));
    let web = Web::start(&site, &[]);
    let (head, body) = web.get("/hook_configure.php", "");
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    assert_eq!(body, "");
    assert!(
        site.world.log().contains("/authorize?"),
        "{}",
        site.world.log()
    );

    // Also where the program cannot be started: the log says why.
    fs::remove_file(program(site.world.root())).unwrap();
    let (head, body) = web.get("/hook_configure.php", "");
    assert!(
        head.starts_with("HTTP/1.0 200 ") && body.is_empty(),
        "{head}{body}"
    );
    assert!(
        site.world
            .log()
            .contains("is missing from the plugin's folder")
    );
    drop(web.end());
}

/// The launcher looks at the cookies so that nothing is started for nothing; the program looks more closely. Nobody whom
/// the program would ask the host about is sent away.
#[test]
fn a_request_without_a_session_starts_nothing_and_one_with_a_session_is_asked_about() {
    let site = Site::around(World::authorized());
    let web = Web::start(&site, &[]);
    let has_session = [
        "PHPSESSID=test-admin-who-views",
        "nms-session=a",
        "nms-crm-php-session-id=-",
        "theme=dark; PHPSESSID=x",
        "theme=dark;nms-session=\"x\"",
        "a=b;  \tPHPSESSID=,,x",
        "PHPSESSID=x=y",
        "PHPSESSID==x",
    ];
    let has_none = [
        "",
        "theme=dark",
        "PHPSESSID",
        "PHPSESSID=",
        "PHPSESSID=; nms-session=,",
        "XPHPSESSID=x",
        "x=PHPSESSID=x",
        "phpsessid=x",
        "nms-sessions=x",
        "nms-session =x",
        "PHPSESSID=;x",
    ];
    for cookies in has_session {
        let before = site.questions();
        site.ask("GET", "", cookies);
        assert_eq!(
            site.questions(),
            before + 1,
            "the program does not ask: {cookies}"
        );
        web.get("/public.php", &format!("Cookie: {cookies}\r\n"));
        assert_eq!(
            site.questions(),
            before + 2,
            "the launcher refuses: {cookies}"
        );
    }
    // From here on, whatever is started leaves a trace.
    let trace = site.world.root().join("started");
    let stub = format!("#!/bin/sh\n: >'{}'\nexit 1\n", trace.display());
    fs::write(program(site.world.root()), stub).unwrap();
    for cookies in has_none {
        let before = site.questions();
        assert_eq!(site.ask("GET", "", cookies).status, "403 Forbidden");
        assert_eq!(site.questions(), before, "{cookies}");
        let (head, body) = web.get("/public.php", &format!("Cookie: {cookies}\r\n"));
        assert!(head.starts_with("HTTP/1.0 403 "), "{cookies}: {head}");
        assert!(head.contains("\r\nCache-Control: no-store"), "{head}");
        assert!(!head.contains("X-Powered-By"), "{head}");
        let page = format!("{head}{body}").to_lowercase();
        for word in ["dropbox", "backup", "uisp", "2.0.0"] {
            assert!(!page.contains(word), "{word} in {page}");
        }
    }
    for method in ["HEAD", "POST"] {
        let mut stream = TcpStream::connect(&web.address).unwrap();
        let request =
            format!("{method} /public.php HTTP/1.0\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 403 "), "{method}: {answer}");
    }
    assert!(!trace.exists(), "a program was started");
    web.get("/public.php", ADMIN);
    assert!(trace.exists());
    drop(web.end());
}
