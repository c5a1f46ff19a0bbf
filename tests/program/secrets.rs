//! Nothing that is secret is ever shown or sent astray: every secret of a scenario is looked for, in
//! several spellings, in everything that a run writes but the one place where it belongs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::{env, fs, thread};

use crate::support::{Ended, World, stranger};
use base64::Engine;
use sandbox::dropbox::faults;
use sandbox::http::{Action, On};
use sandbox::uisp::{Backup, RawAnswer};
use serde_json::{Value, json};

const TOKEN: &str = "oauth2/token";
const LIST: &str = "files/list_folder";
const FILE_KEY: &str = "file key";
const MIB: u64 = 1024 * 1024;

/// Fields of the configuration that hold secrets. The app key is public by nature.
const SECRET_FIELDS: [&str; 6] = [
    "encryptionProof",
    "unmsApiToken",
    "dropboxAppSecret",
    "dropboxAccessCode",
    "dropboxRefreshToken",
    "dropboxAccessToken",
];

// ---- the search ----

/// The secrets of one world, and everything that its runs have written.
struct Watch<'w> {
    world: &'w World,
    secrets: BTreeMap<String, String>,
    written: Vec<(String, Vec<u8>)>,
}

impl<'w> Watch<'w> {
    fn new(world: &'w World) -> Self {
        let mut watch = Self {
            world,
            secrets: BTreeMap::new(),
            written: Vec::new(),
        };
        watch.learn();
        watch
    }

    /// Adds a secret that no file and no request shows.
    fn add(&mut self, name: &str, secret: &str) {
        assert!(secret.len() >= 6, "too short to be looked for: {name}");
        self.secrets.insert(secret.to_owned(), name.to_owned());
    }

    /// Learns the secrets that are in use now: those on disk, and those that requests carried.
    fn learn(&mut self) {
        let config = self.world.config();
        for field in SECRET_FIELDS {
            if let Some(secret) = config[field].as_str().filter(|secret| secret.len() >= 6) {
                self.add(field, secret);
            }
        }
        let state = fs::read(self.world.data("state.json")).unwrap_or_default();
        let state: Value = serde_json::from_slice(&state).unwrap_or_default();
        let verifier = &state["pending_authorization"]["code_verifier"];
        if let Some(verifier) = verifier.as_str() {
            self.add("code verifier", verifier);
        }
        for journal in files_below(&self.world.data("transfers")) {
            let text = fs::read_to_string(journal).unwrap();
            if let Some((_, rest)) = text.split_once("\"file_key\":\"") {
                self.add(FILE_KEY, rest.split('"').next().unwrap());
            }
        }
        for exchange in self.world.dropbox.requests() {
            let bearer = exchange.header("authorization").map(str::to_owned);
            if let Some(token) = bearer
                .as_deref()
                .and_then(|text| text.strip_prefix("Bearer "))
            {
                // A token of old is in the configuration, too, and is known by its field.
                if !self.secrets.contains_key(token) {
                    self.add("access token", token);
                }
            }
        }
    }

    /// Does one run at the most talkative level, and looks at everything.
    fn run(&mut self) -> Option<i32> {
        self.run_as(&mut self.world.command())
    }

    /// Does one run that ends with this exit code.
    fn run_to(&mut self, code: i32) {
        let ended = self.run();
        assert_eq!(ended, Some(code), "{}", self.world.log());
    }

    fn run_as(&mut self, command: &mut Command) -> Option<i32> {
        self.learn();
        let output = command.env("RUST_LOG", "trace").output().unwrap();
        self.written.push(("standard output".into(), output.stdout));
        self.written.push(("standard error".into(), output.stderr));
        self.learn();
        self.assert_clean();
        output.status.code()
    }

    /// The whole machine, but for what was there before: also what a run may have started.
    fn look_at_processes(&mut self, before: &BTreeMap<u32, Vec<u8>>) {
        let mut new = processes();
        new.retain(|process, _| !before.contains_key(process));
        assert!(!new.is_empty(), "the run is not in the process list");
        let named = new.into_iter();
        let named = named.map(|(number, line)| (format!("the command line of {number}"), line));
        self.written.extend(named);
    }

    /// Looks for every secret in every place where it does not belong.
    fn assert_clean(&self) {
        let mut places = self.written.clone();
        for path in files_below(self.world.root()) {
            let name = path
                .strip_prefix(self.world.root())
                .unwrap()
                .display()
                .to_string();
            places.push((name, fs::read(&path).unwrap()));
        }
        for (secret, what) in &self.secrets {
            for (place, content) in &places {
                let belongs = place == "data/config.json" && what != "access token" && what != FILE_KEY
                    || place.starts_with("data/transfers/") && what == FILE_KEY
                    || place == "data/state.json" && what == "code verifier"
                    // What was set aside is the old file, as it was.
                    || place.starts_with("data/state.json.damaged-") && what == "code verifier";
                if !belongs {
                    assert_absent(secret, what, place, content);
                }
            }
        }
        self.assert_requests_clean();
    }

    /// Credentials travel in the header that is made for them, to the one who gave them.
    fn assert_requests_clean(&self) {
        let host = |url: String| url.split("//").nth(1).unwrap().to_owned();
        let (api, content) = (
            host(self.world.dropbox.api_url()),
            host(self.world.dropbox.content_url()),
        );
        for exchange in self.world.dropbox.requests() {
            assert!(
                exchange.header("x-auth-token").is_none(),
                "UISP's token went to Dropbox"
            );
            assert!(
                exchange.host == api || exchange.host == content,
                "asked {}",
                exchange.host
            );
            self.assert_request_clean(&exchange, "authorization");
        }
        for exchange in self.world.uisp.requests() {
            assert!(
                exchange.header("authorization").is_none(),
                "a bearer token went to UISP"
            );
            self.assert_request_clean(&exchange, "x-auth-token");
        }
    }

    fn assert_request_clean(&self, exchange: &sandbox::http::Exchange, allowed: &str) {
        let mut rest = exchange.target.clone();
        for (name, value) in &exchange.headers {
            if !name.eq_ignore_ascii_case(allowed) {
                rest.push_str(&format!("\n{name}: {value}"));
            }
        }
        for (secret, what) in &self.secrets {
            assert_absent(
                secret,
                what,
                &format!("a request of {}", exchange.route),
                rest.as_bytes(),
            );
        }
    }
}

/// Neither the secret nor a telling part of it stands there, however it is written.
fn assert_absent(secret: &str, what: &str, place: &str, content: &[u8]) {
    let content = String::from_utf8_lossy(content);
    // A cut in the middle still shows most of a token.
    let part = |secret: &str| secret.chars().take(20).collect::<String>();
    let json = serde_json::to_string(secret).unwrap();
    let percent: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    for form in [
        part(secret),
        part(json.trim_matches('"')),
        part(&percent),
        part(&percent.replace('+', "%20")),
        part(&base64::engine::general_purpose::STANDARD.encode(secret)),
    ] {
        assert!(
            !content.contains(&form),
            "{what} ({form}) is shown in {place}:\n{content}"
        );
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// A world that has only a token of old; the test knows its access token before the run.
fn legacy_world() -> World {
    let world = World::fresh();
    world.configure(json!({"dropboxAccessToken": world.dropbox.issue_legacy_token()}));
    world.add_backups(1, 2, 1000);
    world
}

/// A page as debugging gateways make them: it repeats the request.
fn echo(code: u16, secrets: &[&str]) -> Action {
    let headers: String = secrets
        .iter()
        .map(|secret| format!("<dt>Authorization</dt><dd>Bearer {secret}</dd>"))
        .collect();
    Action::html(
        code,
        &format!("<html><h1>Bad gateway</h1><dl>{headers}</dl></html>"),
    )
}

// ---- scenarios ----

#[test]
fn the_whole_setup_shows_no_secret() {
    for has_secret in [true, false] {
        let world = World::with_app(has_secret);
        world.add_backups(1, 2, 1000);
        world.add_backups(3, 3, 9 * MIB);
        let mut watch = Watch::new(&world);
        // The URL, a wrong code, the URL again, the right code, and a run on the stored token.
        watch.run_to(0);
        world.configure(json!({"dropboxAccessCode": "fake-wrong-code-1234"}));
        watch.run_to(1);
        let log = world.log();
        let url = log
            .lines()
            .rev()
            .find(|line| line.contains("/authorize?"))
            .unwrap();
        let code = world.dropbox.allow(url).unwrap();
        world.configure(json!({"dropboxAccessCode": code}));
        watch.run_to(0);
        world.assert_mirrored();
        world.dropbox.expire_access_tokens();
        world.remove_backup(1);
        watch.run_to(0);
        world.assert_mirrored();
        assert!(
            watch.secrets.len() >= 5,
            "the search knows too little: {:?}",
            watch.secrets.values()
        );
    }
}

#[test]
fn refused_authorizations_show_no_secret() {
    for tag in [
        "invalid_access_token",
        "expired_access_token",
        "missing_scope",
        "user_suspended",
    ] {
        for world in [World::authorized(), legacy_world()] {
            world.add_backups(5, 5, 1000);
            world
                .dropbox
                .inject(On::every(LIST), faults::unauthorized(tag));
            assert_eq!(Watch::new(&world).run(), Some(1), "{tag}");
        }
    }
    for world in [World::authorized(), legacy_world()] {
        world.dropbox.revoke_all_tokens();
        assert_eq!(Watch::new(&world).run(), Some(1));
    }
    let world = World::authorized();
    world.dropbox.set_app_secret("test-app-secret-of-today");
    assert_eq!(Watch::new(&world).run(), Some(1));
    let world = World::authorized();
    world.configure(json!({"unmsApiToken": "test-wrong-uisp-token"}));
    assert_eq!(Watch::new(&world).run(), Some(1));
}

#[test]
fn an_answer_of_dropbox_that_repeats_the_token_is_not_repeated() {
    let shapes = |token: &str| {
        let padding = "x".repeat(170);
        vec![
            Action::text(
                400,
                &format!("The given OAuth 2 access token is malformed: {token}"),
            ),
            Action::text(
                400,
                &format!(
                    "Invalid authorization value in HTTP header \"Authorization\": \"Bearer {token}\"."
                ),
            ),
            Action::text(400, &format!("Something new about {token} here")),
            // The quotation ends in the middle of the token.
            Action::text(400, &format!("{padding} {token}")),
            Action::text(400, &format!("new\r\n\t{token}")),
            Action::json(
                401,
                &json!({"error_summary": token, "error": {".tag": token}, "user_message": {"text": token}}),
            ),
            Action::json(
                401,
                &json!({"error": {".tag": "missing_scope", "required_scope": token}}),
            ),
            Action::json(
                403,
                &json!({"error": {".tag": token}, "user_message": {"locale": "en", "text": token}}),
            ),
            Action::json(
                409,
                &json!({"error": {".tag": "path", "path": {".tag": token}}}),
            ),
            Action::json(
                200,
                &json!({"entries": token, "cursor": token, "has_more": token}),
            ),
            Action::text(200, token),
            Action::text(404, token),
            Action::text(429, token).with_header("Retry-After", token),
            echo(502, &[token]),
            Action::Redirect(format!("https://127.0.0.1:9/{token}")),
        ]
    };
    let count = shapes("").len();
    for shape in 0..count {
        let world = legacy_world();
        let token = world.config()["dropboxAccessToken"]
            .as_str()
            .unwrap()
            .to_owned();
        world
            .dropbox
            .inject(On::every(LIST), shapes(&token).swap_remove(shape));
        assert_eq!(Watch::new(&world).run(), Some(1), "shape {shape}");
    }
}

#[test]
fn an_answer_of_the_token_endpoint_that_repeats_the_form_is_not_repeated() {
    for (what, field) in [
        ("refresh", "dropboxRefreshToken"),
        ("code", "dropboxAccessCode"),
    ] {
        let shapes = |token: &str, secret: &str| {
            let padding = "x".repeat(190);
            vec![
                echo(500, &[token, secret]),
                echo(403, &[token, secret]),
                Action::text(
                    502,
                    &format!("POST grant_type=x&client_secret={secret}&code={token}"),
                ),
                Action::text(
                    400,
                    &format!("POST grant_type=x&client_secret={secret}&code={token}"),
                ),
                Action::json(
                    400,
                    &json!({"error": "invalid_grant", "error_description": format!("{token} does not exist")}),
                ),
                Action::json(
                    400,
                    &json!({"error": "invalid_grant", "error_description": format!("{padding} {token}")}),
                ),
                Action::json(
                    400,
                    &json!({"error": format!("invalid_client: {secret} is wrong"), "error_description": secret}),
                ),
                Action::json(400, &json!({"error": format!("{token}{secret}")})),
                Action::json(401, &json!({"error": {"text": token}})),
                Action::Redirect(format!(
                    "https://127.0.0.1:9/?code={token}&client_secret={secret}"
                )),
            ]
        };
        for shape in 0..shapes("", "").len() {
            let world = World::authorized();
            if what == "code" {
                world.configure(json!({
                    "dropboxAccessCode": "fake-code-0123456789",
                    "dropboxRefreshToken": null,
                }));
            }
            let config = world.config();
            let token = config[field].as_str().unwrap().to_owned();
            let secret = config["dropboxAppSecret"].as_str().unwrap().to_owned();
            world
                .dropbox
                .inject(On::every(TOKEN), shapes(&token, &secret).swap_remove(shape));
            assert_eq!(Watch::new(&world).run(), Some(1), "{what}, shape {shape}");
        }
    }
}

#[test]
fn a_token_answer_that_cannot_be_read_is_not_quoted() {
    let fresh = "sl.fake-fresh-access-0123456789";
    let refresh = "fake-fresh-refresh-0123456789";
    for body in [
        json!({"access_tokn": fresh, "refresh_tokn": refresh}).to_string(),
        json!({"access_token": fresh, "refresh_token": refresh}).to_string(),
        json!({"access_token": fresh, "token_type": "bearer", "expires_in": "soon", "refresh_token": refresh})
            .to_string(),
        json!({"access_token": {"value": fresh}, "token_type": "bearer"}).to_string(),
        json!({"access_token": [fresh], "token_type": "bearer", "refresh_token": refresh}).to_string(),
        json!({"token_type": fresh, "access_token": 5, "refresh_token": refresh}).to_string(),
        json!(fresh).to_string(),
        json!([fresh, refresh]).to_string(),
        format!("access={fresh}&refresh={refresh}"),
        format!("{{\"access_token\":\"{fresh}\",\"token_type\":\"bearer\",\"refresh_token\":\"{refresh}"),
        fresh.to_owned(),
    ] {
        for has_code in [true, false] {
            let world = World::authorized();
            if has_code {
                world.configure(json!({"dropboxAccessCode": "fake-code-0123456789"}));
            }
            let answer = Action::Status {
                code: 200,
                headers: vec![("Content-Type".into(), "application/json".into())],
                body: body.clone().into_bytes(),
            };
            world.dropbox.inject(On::every(TOKEN), answer);
            let mut watch = Watch::new(&world);
            watch.add("fresh access token", fresh);
            watch.add("fresh refresh token", refresh);
            watch.run();
        }
    }
}

#[test]
fn an_answer_of_uisp_that_repeats_the_token_is_not_repeated() {
    let token = "test-uisp-token";
    let padding = "x".repeat(190);
    let texts = [
        format!("<html>x-auth-token: {token}</html>"),
        format!("{padding}{token}"),
        format!("[{{\"id\":\"{token}\",\"state\":\"success\",\"createdAt\":\"{token}\"}}]"),
        format!("[{{\"id\":\"a/{token}\",\"state\":\"success\"}},\"{token}\"]"),
        format!("{{\"error\":\"{token}\"}}"),
        format!("\"{token}\""),
    ];
    for status in [200, 401, 403, 404, 429, 500] {
        for text in &texts {
            let world = World::authorized();
            world.add_backups(1, 1, 1000);
            world.uisp.answer_list(Some(RawAnswer::json(status, text)));
            world.uisp.answer_settings(Some(RawAnswer::json(
                status,
                &json!({"timezone": token, "text": text}).to_string(),
            )));
            Watch::new(&world).run();
            // The same where a backup is asked for.
            let world = World::authorized();
            world.add_backups(1, 1, 1000);
            world
                .uisp
                .inject(On::every("nms/backups/*"), Action::html(status, text));
            assert_eq!(Watch::new(&world).run(), Some(1), "{status} {text}");
        }
    }
}

#[test]
fn credentials_do_not_follow_a_redirect() {
    let routes = [
        TOKEN,
        LIST,
        "files/upload_session/start",
        "files/upload_session/append_v2",
        "files/upload_session/finish_batch_v2",
        "files/delete_batch",
        "files/delete_batch/check",
        "nms/backups",
        "nms/settings",
        "nms/backups/*",
    ];
    let elsewhere = stranger(Ipv4Addr::LOCALHOST, None);
    for route in routes {
        let world = World::authorized();
        world.add_backups(1, 6, 1000);
        world.run_well();
        for (round, code) in (1..).zip([301, 302, 303, 307, 308]) {
            world.remove_backup(round);
            world.add_backups(10 + round, 10 + round, 9 * MIB);
            let answer = Action::Status {
                code,
                headers: vec![("Location".into(), format!("{}/{route}", elsewhere.url()))],
                body: Vec::new(),
            };
            // A path below the list, as the download of a backup is, has a label of its own.
            world.dropbox.inject(On::every(route), answer.clone());
            world.uisp.inject(On::every(route), answer);
            let expected = if route == "nms/settings" { 0 } else { 1 };
            assert_eq!(Watch::new(&world).run(), Some(expected), "{route} {code}");
            assert_eq!(elsewhere.traffic().requests().len(), 0, "{route} {code}");
            world.dropbox.traffic().clear_faults();
            world.uisp.traffic().clear_faults();
        }
    }
}

#[test]
fn files_that_cannot_be_read_are_not_quoted() {
    // The configuration: damaged around its secrets, and secrets in the wrong fields.
    let secret = "fake-secret-0123456789";
    for content in [
        format!("{{\"unmsApiToken\":\"{secret}"),
        format!("{{\"unmsApiToken\":{secret}}}"),
        format!("\"{secret}\""),
        format!("[\"{secret}\"]"),
        format!("{{\"{secret}\" \"x\"}}"),
        format!(
            "{{\"keepDeletedDays\":\"{secret}\",\"confirmCleanup\":\"{secret}\",\"uploadLimitMbps\":\"{secret}\"}}"
        ),
        format!("{{\"unmsApiToken\":[\"{secret}\"],\"dropboxAppSecret\":{{\"a\":\"{secret}\"}}}}"),
        format!("{{\"unmsApiToken\":\"{secret}\\n{secret}\"}}"),
        format!("{{\"unmsApiToken\":\"{secret}\\u001b[31m\"}}"),
    ] {
        let world = World::authorized();
        fs::write(world.data("config.json"), &content).unwrap();
        let output = world.command().env("RUST_LOG", "trace").output().unwrap();
        for (place, content) in [
            ("the log", world.log().into_bytes()),
            ("standard output", output.stdout),
            ("standard error", output.stderr),
            (
                "the state",
                fs::read(world.data("state.json")).unwrap_or_default(),
            ),
        ] {
            assert_absent(secret, "a configured secret", place, &content);
        }
    }
    // The memory: its reader must not quote a verifier that stands where something else should.
    for content in [
        json!({"version": 1, "pending_authorization": secret}).to_string(),
        json!({"version": 1, "pending_authorization": {"app_key": 1, "code_verifier": secret}}).to_string(),
        json!({"version": 1, "pending_authorization": {"app_key": "x", "code_verifier": secret}, "seen": 1})
            .to_string(),
        json!({"version": secret}).to_string(),
        json!({"version": 1, "on_hold": [secret, format!("../{secret}")]}).to_string(),
        format!("{{\"version\":1,\"pending_authorization\":{{\"app_key\":\"x\",\"code_verifier\":\"{secret}"),
    ] {
        let world = World::authorized();
        fs::write(world.data("state.json"), &content).unwrap();
        let output = world.command().env("RUST_LOG", "trace").output().unwrap();
        assert_absent(secret, "a verifier", "the log", world.log().as_bytes());
        assert_absent(secret, "a verifier", "standard error", &output.stderr);
        let state = fs::read(world.data("state.json")).unwrap();
        assert_absent(secret, "a verifier", "the new state", &state);
    }
}

#[test]
fn values_that_no_header_can_carry_are_not_shown() {
    for odd in [
        "tökén-0123456789",
        "a\"b\\c-0123456789",
        "spa ce+0123456789&x=%41",
        "🔑🔑🔑-0123456789",
    ] {
        let world = World::with_app(true);
        world.configure(
            json!({"unmsApiToken": odd, "dropboxAccessToken": null, "dropboxRefreshToken": odd}),
        );
        Watch::new(&world).run();
        world.configure(
            json!({"dropboxAccessToken": odd, "dropboxRefreshToken": null, "dropboxAppKey": null}),
        );
        Watch::new(&world).run();
        world.configure(json!({"dropboxAppKey": "test-app-key", "dropboxAppSecret": odd, "dropboxAccessCode": odd}));
        Watch::new(&world).run();
    }
}

#[test]
fn a_proxys_password_is_not_shown_and_uisps_token_does_not_pass_it() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, heads) = mpsc::channel();
    // A proxy that refuses everybody; the thread ends with the test's process.
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap_or(0);
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
            let _ = sender.send(String::from_utf8_lossy(&head[..length]).into_owned());
        }
    });
    let address = format!("http://somebody:fake-proxy-password@127.0.0.1:{port}");
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    let mut watch = Watch::new(&world);
    watch.add("the proxy's password", "fake-proxy-password");
    let mut command = world.command();
    for variable in [
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "ALL_PROXY",
        "https_proxy",
        "http_proxy",
        "all_proxy",
    ] {
        command.env(variable, &address);
    }
    assert_eq!(watch.run_as(&mut command), Some(1));
    let heads: Vec<String> = heads.try_iter().collect();
    assert!(!heads.is_empty(), "the proxy was not asked");
    for head in heads {
        assert!(
            head.starts_with("CONNECT "),
            "only tunnels lead through a proxy: {head}"
        );
        for (secret, what) in &watch.secrets {
            if what != "the proxy's password" {
                assert_absent(secret, what, "a request to the proxy", head.as_bytes());
            }
        }
    }
}

#[test]
fn the_process_list_shows_no_secret() {
    for is_sealed in [false, true] {
        let world = World::authorized().sealing(is_sealed);
        world.add_backups(1, 1, 9 * MIB);
        let mut watch = Watch::new(&world);
        let before = processes();
        let (running, gate) = world.start_held("files/upload_session/append_v2");
        watch.learn();
        assert_eq!(
            watch.secrets.values().any(|what| what == FILE_KEY),
            is_sealed
        );
        watch.look_at_processes(&before);
        gate.open();
        assert_eq!(running.wait(), Some(0));
        watch.assert_clean();
    }
}

#[test]
fn nothing_that_opens_an_encrypted_copy_is_shown() {
    let world = World::authorized().sealing(true);
    world.add_backups(1, 2, 1000);
    world.add_backups(3, 3, 9 * MIB);
    let mut watch = Watch::new(&world);
    // A run that is killed before any commit leaves the keys of all three on disk.
    let (running, _gate) = world.start_held("files/upload_session/finish_batch_v2");
    running.signal("KILL");
    assert_eq!(running.wait(), None);
    let looks: [&[&str]; 6] = [
        &["run", "--dry-run"],
        &["list", "--json"],
        &["status", "--json"],
        &["verify", "--json"],
        &["verify", "--deep", "--json"],
        &["check", "--json"],
    ];
    let look = |watch: &mut Watch| {
        for arguments in looks {
            let code = watch.run_as(world.command().args(arguments));
            assert!(matches!(code, Some(0 | 1)), "{arguments:?}: {code:?}");
        }
    };
    look(&mut watch);
    let keys = watch.secrets.values().filter(|what| *what == FILE_KEY);
    assert_eq!(keys.count(), 3);
    watch.run_to(0);
    world.assert_mirrored();
    assert!(files_below(&world.data("transfers")).is_empty());
    let ended = Ended {
        code: Some(0),
        log: world.log(),
    };
    let word = world.owner.as_ref().unwrap().word(&ended);
    watch.add("the word", &word);
    look(&mut watch);
    world.configure(json!({"encryptionProof": word.to_uppercase()}));
    watch.run_to(0);
    assert_eq!(world.config()["encryptionProof"], Value::Null);
    look(&mut watch);
}

fn processes() -> BTreeMap<u32, Vec<u8>> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            let mut line = fs::read(entry.path().join("cmdline")).ok()?;
            line.extend(fs::read(entry.path().join("comm")).ok()?);
            Some((process, line))
        })
        .collect()
}

#[test]
fn files_that_the_program_makes_are_private_and_others_keep_their_mode() {
    let world = World::with_app(false);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let secret_files = |world: &World| -> BTreeSet<PathBuf> {
        let secrets: Vec<String> = Watch::new(world).secrets.into_keys().collect();
        files_below(world.root())
            .into_iter()
            .filter(|path| {
                let content = fs::read_to_string(path).unwrap_or_default();
                secrets.iter().any(|secret| content.contains(secret))
            })
            .collect()
    };
    fs::set_permissions(world.data("config.json"), fs::Permissions::from_mode(0o640)).unwrap();
    // The URL's verifier is in the state now, which the program has made.
    let ended = world.run();
    let found = secret_files(&world);
    assert!(found.contains(&world.data("state.json")), "{found:?}");
    assert_eq!(mode(&world.data("state.json")), 0o600);
    world.allow_and_paste(&ended);
    assert_eq!(world.run().code, Some(0));
    assert_eq!(
        mode(&world.data("config.json")),
        0o640,
        "the host's own choice stays"
    );
    for path in secret_files(&world) {
        assert!(
            mode(&path) & 0o007 == 0,
            "{} can be read by everybody",
            path.display()
        );
    }
    // Nor do journals and what is set aside tell others anything.
    world.add_backups(1, 1, 12 * MIB);
    world.dropbox.inject(
        On::from_nth("files/upload_session/append_v2", 2),
        faults::server_error(),
    );
    world.run();
    let journals = files_below(&world.data("transfers"));
    assert!(!journals.is_empty());
    for journal in journals {
        assert_eq!(
            mode(&journal),
            0o600,
            "{} names an upload session",
            journal.display()
        );
    }
    fs::write(world.data("state.json"), "{\"version\":1,").unwrap();
    fs::set_permissions(world.data("state.json"), fs::Permissions::from_mode(0o600)).unwrap();
    world.run();
    let set_aside = files_below(&world.data(""))
        .into_iter()
        .find(|path| path.display().to_string().contains("damaged"))
        .unwrap();
    assert_eq!(mode(&set_aside), 0o600);
}

#[test]
fn a_secret_cannot_be_formatted() {
    // What cannot be written cannot leak: the type has no Display, and these are all its Debug says.
    use backup_sync_dropbox::plugin::config::Settings;
    use backup_sync_dropbox::secret::Secret;
    let secret = || Some(Secret::new("fake-secret-0123456789"));
    let settings = Settings {
        uisp_token: secret(),
        app_secret: secret(),
        access_code: secret(),
        refresh_token: secret(),
        legacy_token: secret(),
        ..Settings::default()
    };
    assert_absent(
        "fake-secret-0123456789",
        "a secret",
        "Debug",
        format!("{settings:#?}").as_bytes(),
    );
    assert!(env::args().all(|argument| !argument.contains("fake-secret")));
}

#[test]
fn downloads_ask_for_validated_paths_only() {
    // The token must not travel to a path that a list has made up.
    let world = World::authorized();
    world.uisp.add(Backup::finished(
        "../../settings",
        "2026-01-01T00:00:00Z",
        1000,
    ));
    world.uisp.add(Backup::finished(
        "http://127.0.0.1:9/x",
        "2026-01-01T00:00:00Z",
        1000,
    ));
    world.uisp.add(Backup::finished(
        "@127.0.0.1:9",
        "2026-01-01T00:00:00Z",
        1000,
    ));
    Watch::new(&world).run();
    let asked: BTreeSet<String> = world
        .uisp
        .requests()
        .into_iter()
        .map(|e| e.target)
        .collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
}
