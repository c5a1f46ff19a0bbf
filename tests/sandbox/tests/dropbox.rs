//! What the Dropbox stand-in refuses, and how: each rule of the published API that a client can break.

mod support;

use sandbox::dropbox::{
    App, BLOCK_BYTES, DeleteBatch, Dropbox, DropboxOptions, content_hash, faults,
};
use sandbox::http::{On, TestCa};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::time::Duration;
use support::{Client, Reply};

const BLOCK: usize = BLOCK_BYTES as usize;

fn all_scopes() -> App {
    App::new(
        "test-app-key",
        "test-app-secret",
        &[
            "account_info.read",
            "files.metadata.read",
            "files.content.write",
            "files.content.read",
        ],
    )
}

/// A stand-in with a client that has a good access token.
struct Fixture {
    dropbox: Dropbox,
    bearer: String,
    api: Client,
    content: Client,
}

fn fixture_with(options: DropboxOptions) -> Fixture {
    let dropbox = Dropbox::start(options).unwrap();
    Fixture {
        bearer: format!("Bearer {}", dropbox.issue_access_token()),
        api: Client::plain(&dropbox.api_url()),
        content: Client::plain(&dropbox.content_url()),
        dropbox,
    }
}

fn fixture() -> Fixture {
    fixture_with(DropboxOptions {
        app: all_scopes(),
        ..DropboxOptions::default()
    })
}

impl Fixture {
    fn rpc(&mut self, route: &str, argument: Value) -> Reply {
        let headers = [
            ("Authorization", self.bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        let body = argument.to_string();
        let target = format!("/2/{route}");
        self.api
            .send("POST", &target, &headers, body.as_bytes())
            .unwrap()
    }

    fn upload(&mut self, route: &str, argument: Value, bytes: &[u8]) -> Reply {
        let argument = argument.to_string();
        let headers = [
            ("Authorization", self.bearer.as_str()),
            ("Content-Type", "application/octet-stream"),
            ("Dropbox-API-Arg", argument.as_str()),
        ];
        let target = format!("/2/{route}");
        self.content.send("POST", &target, &headers, bytes).unwrap()
    }

    fn append(&mut self, session: &str, offset: usize, bytes: &[u8], close: bool) -> Reply {
        let argument = json!({
            "cursor": { "session_id": session, "offset": offset },
            "close": close,
        });
        self.upload("files/upload_session/append_v2", argument, bytes)
    }

    fn start(&mut self, argument: Value) -> String {
        let reply = self.upload("files/upload_session/start", argument, b"");
        reply.json()["session_id"].as_str().unwrap().to_owned()
    }

    fn finish(&mut self, session: &str, offset: usize, path: &str) -> Reply {
        let argument = json!({
            "cursor": { "session_id": session, "offset": offset },
            "commit": { "path": path },
        });
        self.upload("files/upload_session/finish", argument, b"")
    }

    fn token(&self, form: &[(&str, &str)]) -> Reply {
        self.token_with(form, &[])
    }

    fn token_with(&self, form: &[(&str, &str)], more: &[(&str, &str)]) -> Reply {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let mut headers = vec![("Content-Type", "application/x-www-form-urlencoded")];
        headers.extend_from_slice(more);
        Client::plain(&self.dropbox.api_url())
            .send("POST", "/oauth2/token", &headers, form.as_bytes())
            .unwrap()
    }

    fn authorize_url(&self, parameters: &[(&str, &str)]) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        format!("{}/oauth2/authorize?{query}", self.dropbox.web_url())
    }

    fn code(&self, more: &[(&str, &str)]) -> String {
        let mut parameters = vec![
            ("client_id", "test-app-key"),
            ("response_type", "code"),
            ("token_access_type", "offline"),
        ];
        parameters.extend_from_slice(more);
        self.dropbox
            .allow(&self.authorize_url(&parameters))
            .unwrap()
    }
}

/// The reply is a 400 in plain text that contains this.
fn assert_bad_input(reply: &Reply, contains: &str) {
    let text = reply.text();
    assert_eq!(reply.status, 400, "{text}");
    assert_eq!(
        reply.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert!(text.contains(contains), "{text} lacks {contains}");
}

/// The reply has this status and a JSON error whose summary begins so.
fn assert_error(reply: &Reply, status: u16, summary: &str) {
    let text = reply.text();
    assert_eq!(reply.status, status, "{text}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let found = reply.json()["error_summary"].as_str().unwrap().to_owned();
    assert!(found.starts_with(summary), "{found} is no {summary}");
    assert!(found.trim_end_matches('.').ends_with('/'), "{found}");
}

fn assert_oauth_error(reply: &Reply, error: &str) {
    assert_eq!(reply.status, 400, "{}", reply.text());
    let found = reply.json()["error"].as_str().unwrap().to_owned();
    assert!(found.starts_with(error), "{}", reply.text());
}

// ---- calls ----

#[test]
fn every_answer_has_its_own_request_id() {
    let mut f = fixture();
    let mut ids = Vec::new();
    for argument in [json!({"path": ""}), json!({"path": "nonsense"})] {
        let reply = f.rpc("files/list_folder", argument);
        ids.push(reply.header("x-dropbox-request-id").unwrap().to_owned());
    }
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn calls_at_the_wrong_host_or_with_the_wrong_method_are_refused() {
    let mut f = fixture();
    let bearer = f.bearer.clone();
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    let reply = f
        .content
        .send("POST", "/2/files/list_folder", &headers, b"{\"path\":\"\"}")
        .unwrap();
    assert_bad_input(&reply, "Unexpected host name");
    let reply = f
        .api
        .send("POST", "/2/files/upload_session/finish", &headers, b"")
        .unwrap();
    assert_bad_input(&reply, "Unexpected host name");
    let reply = f
        .api
        .send("GET", "/2/files/list_folder", &headers, b"")
        .unwrap();
    assert_bad_input(&reply, "method");
    let reply = f.rpc("files/no_such_route", json!({}));
    assert_bad_input(&reply, "Unknown API function");
    for path in ["/1/files", "/", "/oauth2/authorize"] {
        let reply = f.api.send("POST", path, &headers, b"").unwrap();
        assert_eq!(reply.status, 404, "{path}");
    }
    let mut web = Client::plain(&f.dropbox.web_url());
    let reply = web.send("POST", "/oauth2/token", &[], b"").unwrap();
    assert_eq!(reply.status, 404);
}

#[test]
fn content_types_are_exact() {
    let mut f = fixture();
    let bearer = f.bearer.clone();
    for content_type in [
        None,
        Some("application/json; charset=utf-8"),
        Some("text/plain"),
    ] {
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend(content_type.map(|value| ("Content-Type", value)));
        let reply = f
            .api
            .send("POST", "/2/files/list_folder", &headers, b"{\"path\":\"\"}")
            .unwrap();
        assert_bad_input(&reply, "Content-Type");
    }
    // Also where the body is empty.
    for content_type in [None, Some("application/octet-stream; charset=utf-8")] {
        let mut headers = vec![
            ("Authorization", bearer.as_str()),
            ("Dropbox-API-Arg", "{}"),
        ];
        headers.extend(content_type.map(|value| ("Content-Type", value)));
        let reply = f
            .content
            .send("POST", "/2/files/upload_session/start", &headers, b"")
            .unwrap();
        assert_bad_input(&reply, "Content-Type");
    }
    f.dropbox.put("/a", b"a");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Dropbox-API-Arg", "{\"path\":\"/a\"}"),
    ];
    let reply = f
        .content
        .send("POST", "/2/files/download", &headers, b"")
        .unwrap();
    assert_bad_input(&reply, "Content-Type");
}

#[test]
fn argument_headers_are_ascii_json() {
    let mut f = fixture();
    let bearer = f.bearer.clone();
    let mut send = |argument: Option<&str>| {
        let mut headers = vec![
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/octet-stream"),
        ];
        headers.extend(argument.map(|argument| ("Dropbox-API-Arg", argument)));
        f.content
            .send("POST", "/2/files/upload", &headers, b"x")
            .unwrap()
    };
    let undecodable = "HTTP header \"Dropbox-API-Arg\": could not decode input as JSON";
    assert_bad_input(&send(Some("{\"path\":\"/\u{fc}\"}")), undecodable);
    assert_bad_input(&send(Some("{\"path\"")), undecodable);
    assert_bad_input(&send(None), "Must provide HTTP header");
    let escaped = send(Some(r#"{"path":"/\u00fc\ud83d\ude00"}"#));
    assert_eq!(escaped.json()["name"], "\u{fc}\u{1f600}");
}

#[test]
fn arguments_are_read_strictly() {
    let mut f = fixture();
    for (route, argument, complaint) in [
        (
            "files/list_folder",
            json!({"path": "/"}),
            "Specify the root folder as an empty string",
        ),
        (
            "files/list_folder",
            json!({"path": "test"}),
            "'test' did not match pattern",
        ),
        (
            "files/list_folder",
            json!({}),
            "missing required field 'path'",
        ),
        ("files/list_folder", json!({"path": 1}), "expected string"),
        (
            "files/list_folder",
            json!({"path": "", "recursive": "yes"}),
            "expected boolean",
        ),
        (
            "files/list_folder",
            json!({"path": "", "limit": 0}),
            "limit",
        ),
        (
            "files/list_folder",
            json!({"path": "", "limit": 2001}),
            "limit",
        ),
        (
            "files/list_folder",
            json!({"path": "", "colour": 1}),
            "unknown field 'colour'",
        ),
        ("files/list_folder", json!([]), "expected object"),
        (
            "files/list_folder/continue",
            json!({"cursor": "made-up"}),
            "cursor",
        ),
        (
            "files/get_metadata",
            json!({"path": ""}),
            "did not match pattern",
        ),
        (
            "files/get_metadata",
            json!({"path": "/"}),
            "root folder is unsupported",
        ),
        (
            "files/delete_v2",
            json!({"path": "rev:0123456789"}),
            "did not match pattern",
        ),
        (
            "files/create_folder_v2",
            json!({"path": "id:abc"}),
            "did not match pattern",
        ),
        ("users/get_space_usage", json!({}), "expected null"),
        (
            "files/upload_session/start_batch",
            json!({"num_sessions": 0}),
            "num_sessions",
        ),
        (
            "files/upload_session/start_batch",
            json!({"num_sessions": 1001}),
            "num_sessions",
        ),
        (
            "files/upload_session/finish_batch_v2",
            json!({"entries": vec![json!({}); 1001]}),
            "at most 1000",
        ),
        (
            "files/delete_batch",
            json!({"entries": [{"path": "x"}]}),
            "entries[0]: path",
        ),
    ] {
        let reply = f.rpc(route, argument);
        assert_bad_input(&reply, complaint);
        let place = format!("Error in call to API function \"{route}\": request body: ");
        assert!(reply.text().starts_with(&place), "{}", reply.text());
    }
    for (argument, complaint) in [
        (json!({"path": "x"}), "did not match pattern"),
        (json!({"path": "/x", "mode": "update"}), "needs a value"),
        (json!({"path": "/x", "mode": "replace"}), "unknown tag"),
        (
            json!({"path": "/x", "client_modified": "2026-11-21T04:12:09.000Z"}),
            "time data",
        ),
        (
            json!({"path": "/x", "content_hash": "abc"}),
            "64 characters",
        ),
        (
            json!({"path": "/x", "overwrite": true}),
            "unknown field 'overwrite'",
        ),
    ] {
        let reply = f.upload("files/upload", argument, b"x");
        assert_bad_input(&reply, complaint);
    }
    assert!(f.dropbox.files().is_empty());
}

#[test]
fn a_path_root_is_not_for_app_folder_apps() {
    let mut f = fixture();
    let bearer = f.bearer.clone();
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Dropbox-API-Path-Root", "{\".tag\":\"home\"}"),
    ];
    let reply = f
        .api
        .send("POST", "/2/files/list_folder", &headers, b"{\"path\":\"\"}")
        .unwrap();
    assert_bad_input(&reply, "Path root is not supported for sandbox app.");
}

// ---- authorization ----

#[test]
fn access_tokens_are_refused_in_dropboxs_ways() {
    let mut f = fixture();
    let list = |f: &mut Fixture, bearer: &str| {
        f.bearer = bearer.to_owned();
        f.rpc("files/list_folder", json!({"path": ""}))
    };
    let good = f.bearer.clone();
    assert_eq!(list(&mut f, &good).status, 200);
    let invalid = "Invalid authorization value in HTTP header \"Authorization\"";
    assert_bad_input(&list(&mut f, "Bearer "), invalid);
    assert_bad_input(&list(&mut f, "Basic abc"), invalid);
    let malformed = "The given OAuth 2 access token is malformed.";
    assert_bad_input(&list(&mut f, "Bearer nonsense"), malformed);
    assert_error(
        &list(&mut f, "Bearer sl.unknown"),
        401,
        "invalid_access_token/",
    );
    f.dropbox.advance_clock(Duration::from_secs(14_399));
    assert_eq!(list(&mut f, &good).status, 200);
    f.dropbox.advance_clock(Duration::from_secs(2));
    assert_error(&list(&mut f, &good), 401, "expired_access_token/");
    let legacy = format!("Bearer {}", f.dropbox.issue_legacy_token());
    f.dropbox.advance_clock(Duration::from_secs(400 * 86_400));
    assert_eq!(list(&mut f, &legacy).status, 200);
    let fresh = format!("Bearer {}", f.dropbox.issue_access_token());
    f.dropbox.revoke_all_tokens();
    assert_error(&list(&mut f, &fresh), 401, "invalid_access_token/");
    assert_bad_input(&list(&mut f, &legacy), malformed);
    let reply = f
        .api
        .send(
            "POST",
            "/2/files/list_folder",
            &[("Content-Type", "application/json")],
            b"{\"path\":\"\"}",
        )
        .unwrap();
    assert_bad_input(&reply, "Authorization");
}

#[test]
fn a_scope_can_be_missing_in_the_app_or_in_the_token() {
    let mut f = fixture_with(DropboxOptions::default());
    // The default app has the two permissions of 1.2.2's manual.
    let reply = f.rpc("users/get_space_usage", Value::Null);
    assert_bad_input(&reply, "required scope 'account_info.read'");
    // A permission that is ticked later is not in tokens of before.
    f.dropbox.set_app_scopes(&["account_info.read"]);
    let reply = f.rpc("users/get_space_usage", Value::Null);
    assert_error(&reply, 401, "missing_scope/");
    assert_eq!(reply.json()["error"]["required_scope"], "account_info.read");
}

#[test]
fn the_consent_page_refuses_wrong_links() {
    let f = fixture();
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let (key, code) = (("client_id", "test-app-key"), ("response_type", "code"));
    for (parameters, is_right) in [
        (vec![key, code], true),
        (vec![key, code, ("scope", ""), ("state", "x")], true),
        (vec![key, code, ("scope", "files.metadata.read")], true),
        (vec![code], false),
        (vec![("client_id", "other"), code], false),
        (vec![key], false),
        (vec![key, ("response_type", "token")], false),
        (vec![key, code, ("token_access_type", "forever")], false),
        (vec![key, code, ("code_challenge", challenge)], false),
        (
            vec![
                key,
                code,
                ("code_challenge", "short"),
                ("code_challenge_method", "S256"),
            ],
            false,
        ),
        (
            vec![
                key,
                code,
                ("code_challenge", challenge),
                ("code_challenge_method", "plain"),
            ],
            false,
        ),
        (vec![key, code, ("scope", "files.content.delete")], false),
        (
            vec![key, code, ("redirect_uri", "http://localhost/")],
            false,
        ),
        (vec![key, code, ("tokn_access_type", "offline")], false),
        (vec![key, key, code], false),
    ] {
        let url = f.authorize_url(&parameters);
        assert_eq!(f.dropbox.allow(&url).is_ok(), is_right, "{url}");
        let mut browser = Client::plain(&f.dropbox.web_url());
        let target = url.strip_prefix(&f.dropbox.web_url()).unwrap();
        let page = browser.send("GET", target, &[], b"").unwrap();
        assert_eq!(page.status, if is_right { 200 } else { 400 }, "{url}");
    }
    let elsewhere = f
        .authorize_url(&[key, code])
        .replace("127.0.0.1", "127.0.0.2");
    assert!(f.dropbox.allow(&elsewhere).is_err());
}

#[test]
fn a_browser_gets_a_code_that_works() {
    let f = fixture();
    let url = f.authorize_url(&[("client_id", "test-app-key"), ("response_type", "code")]);
    let query = url.split_once('?').unwrap().1;
    let mut browser = Client::plain(&f.dropbox.web_url());
    let page = browser
        .send("GET", &format!("/oauth2/authorize?{query}"), &[], b"")
        .unwrap();
    assert!(page.text().contains("<button type=\"submit\">Allow"));
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("query", query)
        .finish();
    let page = browser
        .send("POST", "/oauth2/authorize", &[], form.as_bytes())
        .unwrap()
        .text();
    let code = page
        .split("value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let granted = f.token(&[
        ("grant_type", "authorization_code"),
        ("code", code),
        ("client_id", "test-app-key"),
        ("client_secret", "test-app-secret"),
    ]);
    assert_eq!(granted.status, 200, "{}", granted.text());
    // The link did not ask for offline access.
    assert!(granted.json().get("refresh_token").is_none());
}

#[test]
fn codes_are_single_use_short_lived_and_bound() {
    let f = fixture();
    let exchange = |code: &str, more: &[(&str, &str)]| {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", "test-app-key"),
        ];
        form.extend_from_slice(more);
        f.token(&form)
    };
    let secret = ("client_secret", "test-app-secret");

    let code = f.code(&[]);
    // A wrong secret does not cost the code.
    assert_oauth_error(
        &exchange(&code, &[("client_secret", "wrong")]),
        "invalid_client",
    );
    assert_oauth_error(&exchange(&code, &[]), "invalid_client");
    let granted = exchange(&code, &[secret]).json();
    assert_eq!(granted["token_type"], "bearer");
    assert_eq!(granted["expires_in"], 14_400);
    assert!(granted["access_token"].as_str().unwrap().starts_with("sl."));
    assert!(granted["refresh_token"].is_string());
    let reused = exchange(&code, &[secret]);
    assert_oauth_error(&reused, "invalid_grant");
    assert_eq!(
        reused.json()["error_description"],
        "code doesn't exist or has expired"
    );
    assert_oauth_error(&exchange("unknown", &[secret]), "invalid_grant");

    let old = f.code(&[]);
    f.dropbox.advance_clock(Duration::from_secs(601));
    assert_oauth_error(&exchange(&old, &[secret]), "invalid_grant");

    f.dropbox
        .add_app(App::new("other-app-key", "other-app-secret", &[]));
    let bound = f.code(&[]);
    let by_other = f.token(&[
        ("grant_type", "authorization_code"),
        ("code", &bound),
        ("client_id", "other-app-key"),
        ("client_secret", "other-app-secret"),
    ]);
    assert_oauth_error(&by_other, "invalid_grant");
    let redirected = exchange(&f.code(&[]), &[secret, ("redirect_uri", "http://x/")]);
    assert_oauth_error(&redirected, "invalid_grant");
}

#[test]
fn pkce_codes_need_their_verifier_and_no_secret() {
    let f = fixture();
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let pkce = [
        (
            "code_challenge",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        ),
        ("code_challenge_method", "S256"),
    ];
    let exchange = |code: &str, more: &[(&str, &str)]| {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", "test-app-key"),
        ];
        form.extend_from_slice(more);
        f.token(&form)
    };
    let code = f.code(&pkce);
    let both = [
        ("code_verifier", verifier),
        ("client_secret", "test-app-secret"),
    ];
    assert_oauth_error(&exchange(&code, &both), "invalid_request");
    let granted = exchange(&code, &[("code_verifier", verifier)]).json();
    let refreshed = f.token(&[
        ("grant_type", "refresh_token"),
        ("refresh_token", granted["refresh_token"].as_str().unwrap()),
        ("client_id", "test-app-key"),
    ]);
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());

    let code = f.code(&pkce);
    let wrong = "x".repeat(43);
    assert_oauth_error(
        &exchange(&code, &[("code_verifier", &wrong)]),
        "invalid_grant",
    );
    assert_oauth_error(
        &exchange(&code, &[("code_verifier", verifier)]),
        "invalid_grant",
    );
    assert_oauth_error(&exchange(&f.code(&pkce), &[]), "invalid_grant");
}

#[test]
fn refreshing_follows_the_grant() {
    let f = fixture();
    let refresh = |token: &str, more: &[(&str, &str)]| {
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", "test-app-key"),
        ];
        form.extend_from_slice(more);
        f.token(&form)
    };
    let secret = ("client_secret", "test-app-secret");
    let token = f.dropbox.issue_refresh_token();
    let refreshed = refresh(&token, &[secret]).json();
    assert!(refreshed["access_token"].is_string());
    assert!(refreshed.get("refresh_token").is_none());
    assert_oauth_error(&refresh(&token, &[]), "invalid_client");
    assert_oauth_error(
        &refresh(&token, &[("client_secret", "wrong")]),
        "invalid_client",
    );
    let scoped = refresh(&token, &[secret, ("scope", "files.metadata.read")]);
    assert_eq!(scoped.status, 200);
    let too_much = refresh(&token, &[secret, ("scope", "team_data.member")]);
    assert_oauth_error(&too_much, "invalid_scope");
    let pasted = refresh(&f.code(&[]), &[secret]);
    assert_eq!(
        pasted.json()["error_description"],
        "refresh token is malformed"
    );
    f.dropbox.revoke_all_tokens();
    let revoked = refresh(&token, &[secret]);
    assert_oauth_error(&revoked, "invalid_grant");
    assert_eq!(
        revoked.json()["error_description"],
        "refresh token is invalid or revoked"
    );
}

#[test]
fn the_token_endpoint_takes_one_form_and_one_client() {
    let f = fixture();
    let token = f.dropbox.issue_refresh_token();
    let basic = [(
        "Authorization",
        "Basic dGVzdC1hcHAta2V5OnRlc3QtYXBwLXNlY3JldA==",
    )];
    let form = [("grant_type", "refresh_token"), ("refresh_token", &token)];
    assert_eq!(f.token_with(&form, &basic).status, 200);
    let mut twice = form.to_vec();
    twice.push(("client_secret", "test-app-secret"));
    assert_oauth_error(&f.token_with(&twice, &basic), "invalid_request");
    assert_oauth_error(&f.token(&form), "invalid_request");
    let unknown = f.token(&[("client_id", "unknown"), ("client_secret", "x")]);
    assert_oauth_error(
        &unknown,
        "invalid_client: Invalid client_id or client_secret",
    );
    let duplicated = f.token(&[("client_id", "test-app-key"), ("client_id", "test-app-key")]);
    assert_oauth_error(&duplicated, "invalid_request");
    let grant = f.token(&[("client_id", "test-app-key"), ("grant_type", "password")]);
    assert_oauth_error(&grant, "unsupported_grant_type");
    let mut api = Client::plain(&f.dropbox.api_url());
    let json = [("Content-Type", "application/json")];
    let reply = api.send("POST", "/oauth2/token", &json, b"{}").unwrap();
    assert_oauth_error(&reply, "invalid_request");
    let in_query = format!("/oauth2/token?refresh_token={token}");
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let reply = api.send("POST", &in_query, &form, b"").unwrap();
    assert_oauth_error(&reply, "invalid_request");
}

#[test]
fn apps_have_folders_of_their_own() {
    let f = fixture();
    f.dropbox.put("/mine", b"x");
    f.dropbox
        .add_app(App::new("other-app-key", "other-app-secret", &[]));
    assert_eq!(f.dropbox.paths(), ["/mine"]);
    assert!(f.dropbox.files_of("other-app-key").is_empty());
}

// ---- uploads ----

#[test]
fn more_than_150_mib_is_refused_in_either_form() {
    let limit = 150 * 1024 * 1024;
    for (at_the_edge, status) in [(false, 409), (true, 413)] {
        let mut f = fixture_with(DropboxOptions {
            app: all_scopes(),
            keep_content: false,
            refuses_oversize_at_the_edge: at_the_edge,
            ..DropboxOptions::default()
        });
        let bytes = vec![0; limit + 1];
        let reply = f.upload("files/upload", json!({"path": "/big"}), &bytes);
        assert_eq!(reply.status, status);
        let reply = f.upload("files/upload", json!({"path": "/big"}), &bytes[..limit]);
        assert_eq!(reply.json()["size"], limit);
    }
}

#[test]
fn a_chunked_body_does_not_evade_the_limit() {
    let mut f = fixture_with(DropboxOptions {
        app: all_scopes(),
        keep_content: false,
        ..DropboxOptions::default()
    });
    let head = format!(
        "POST /2/files/upload HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n\
         Content-Type: application/octet-stream\r\nDropbox-API-Arg: {{\"path\":\"/big\"}}\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        f.bearer
    );
    f.content.raw(head.as_bytes()).unwrap();
    let mib = [&b"100000\r\n"[..], &vec![0; 1 << 20], b"\r\n"].concat();
    for _ in 0..151 {
        f.content.raw(&mib).unwrap();
    }
    f.content.raw(b"0\r\n\r\n").unwrap();
    assert_error(&f.content.reply().unwrap(), 409, "payload_too_large/");
}

#[test]
fn a_content_hash_covers_the_bytes_of_its_call() {
    let mut f = fixture();
    let wrong = json!({"path": "/a", "content_hash": content_hash(b"other")});
    let reply = f.upload("files/upload", wrong, b"bytes");
    assert_error(&reply, 409, "content_hash_mismatch/");
    let right = json!({"path": "/a", "content_hash": content_hash(b"bytes")});
    assert_eq!(f.upload("files/upload", right, b"bytes").status, 200);
    let session = f.start(json!({}));
    f.append(&session, 0, b"first", false);
    for (hash, status) in [(b"firstsecond".as_slice(), 409), (b"second", 200)] {
        let argument = json!({
            "cursor": { "session_id": session, "offset": 5 },
            "content_hash": content_hash(hash),
        });
        let reply = f.upload("files/upload_session/append_v2", argument, b"second");
        assert_eq!(reply.status, status, "{}", reply.text());
    }
    let done = f.finish(&session, 11, "/b");
    assert_eq!(done.json()["content_hash"], content_hash(b"firstsecond"));
}

#[test]
fn what_was_sent_survives_a_refused_commit() {
    let mut f = fixture();
    f.dropbox.set_quota(100, 95);
    let refused = f.upload("files/upload", json!({"path": "/a"}), b"0123456789");
    assert_error(&refused, 409, "path/insufficient_space/");
    let kept = refused.json()["error"]["upload_session_id"].clone();
    let session = f.start(json!({}));
    let argument = json!({
        "cursor": { "session_id": session, "offset": 0 },
        "commit": { "path": "/b" },
    });
    let refused = f.upload("files/upload_session/finish", argument, b"0123456789");
    assert_error(&refused, 409, "path/insufficient_space/");
    // The bytes were appended all the same: the old offset is wrong now.
    let stale = f.finish(&session, 0, "/b");
    assert_error(&stale, 409, "lookup_failed/incorrect_offset/");
    let correct = &stale.json()["error"]["lookup_failed"]["correct_offset"];
    assert_eq!(*correct, 10);
    f.dropbox.set_quota(1000, 95);
    assert_eq!(f.finish(&session, 10, "/b").status, 200);
    assert_eq!(f.finish(kept.as_str().unwrap(), 10, "/a").status, 200);
    let usage = f.rpc("users/get_space_usage", Value::Null).json();
    assert_eq!(usage["used"], 115);
}

#[test]
fn paths_that_cannot_be_stored_are_refused() {
    let mut f = fixture();
    for (path, reason) in [
        ("/a\\b", "path/malformed_path/"),
        ("/a/", "path/malformed_path/"),
        ("/a ", "path/malformed_path/"),
        ("/.DS_Store", "path/disallowed_name/"),
    ] {
        let reply = f.upload("files/upload", json!({"path": path}), b"x");
        assert_error(&reply, 409, reason);
    }
    let null = f
        .upload("files/upload", json!({"path": "/a\\b"}), b"x")
        .json();
    assert_eq!(null["error"]["reason"]["malformed_path"], Value::Null);
}

#[test]
fn ordered_refusals_and_damage_reach_single_and_batch_commits() {
    let mut f = fixture();
    let busy = json!({".tag": "too_many_write_operations"});
    f.dropbox.refuse_commits(Some("/b"), busy, 2);
    let reply = f.upload("files/upload", json!({"path": "/B"}), b"x");
    assert_error(&reply, 409, "path/too_many_write_operations/");
    let mut entries = Vec::new();
    for path in ["/a", "/b"] {
        let session = f.start(json!({"close": true}));
        entries.push(json!({
            "cursor": { "session_id": session, "offset": 0 },
            "commit": { "path": path },
        }));
    }
    let batch = json!({ "entries": entries });
    let done = f
        .rpc("files/upload_session/finish_batch_v2", batch.clone())
        .json();
    assert_eq!(done["entries"][0][".tag"], "success");
    assert_eq!(
        done["entries"][1]["failure"],
        json!({".tag": "path", "path": {".tag": "too_many_write_operations"}})
    );
    // Once more: the first session is finished and gone, the second is still there.
    let done = f.rpc("files/upload_session/finish_batch_v2", batch).json();
    assert_eq!(
        done["entries"][0]["failure"]["lookup_failed"][".tag"],
        "not_found"
    );
    assert_eq!(done["entries"][1][".tag"], "success");

    f.dropbox.corrupt_commits(1);
    let reply = f.upload("files/upload", json!({"path": "/c"}), b"x").json();
    assert_ne!(reply["content_hash"], content_hash(b"x"));
    let again = json!({"path": "/c", "mode": "overwrite"});
    let reply = f.upload("files/upload", again, b"x").json();
    assert_eq!(reply["content_hash"], content_hash(b"x"));
}

#[test]
fn commits_that_meet_another_writer_are_turned_away() {
    let mut f = fixture();
    f.dropbox.put("/old", b"x");
    let session = f.start(json!({"close": true}));
    let hold = f.dropbox.hold_namespace();
    // Starting and appending take no lock.
    let other = f.start(json!({}));
    assert_eq!(f.append(&other, 0, b"x", false).status, 200);
    let entry = json!({
        "cursor": { "session_id": session, "offset": 0 },
        "commit": { "path": "/batch" },
    });
    let batch = json!({"entries": [entry]});
    let replies = [
        f.upload("files/upload", json!({"path": "/new"}), b"x"),
        f.finish(&other, 1, "/finished"),
        f.rpc("files/upload_session/finish_batch_v2", batch.clone()),
        f.rpc("files/delete_v2", json!({"path": "/old"})),
        f.rpc("files/delete_batch", json!({"entries": [{"path": "/old"}]})),
        f.rpc("files/create_folder_v2", json!({"path": "/folder"})),
    ];
    for reply in &replies {
        assert_error(reply, 429, "too_many_write_operations/");
        assert_eq!(reply.header("retry-after"), Some("1"));
        let reason = &reply.json()["error"]["reason"][".tag"];
        assert_eq!(*reason, "too_many_write_operations");
    }
    assert_eq!(f.dropbox.write_contentions(), replies.len());
    assert_eq!(f.dropbox.paths(), ["/old"]);
    drop(hold);
    assert_eq!(f.finish(&other, 1, "/finished").status, 200);
    let done = f.rpc("files/upload_session/finish_batch_v2", batch).json();
    assert_eq!(done["entries"][0][".tag"], "success");
}

// ---- sessions ----

#[test]
fn sequential_sessions_refuse_what_does_not_follow() {
    let mut f = fixture();
    let session = f.start(json!({}));
    assert_eq!(f.append(&session, 0, b"hello", false).json(), Value::Null);
    let lost = f.append(&session, 0, b"hello", false);
    assert_error(&lost, 409, "incorrect_offset/");
    assert_eq!(lost.json()["error"]["correct_offset"], 5);
    assert_eq!(f.append(&session, 5, b" world", true).status, 200);
    assert_error(&f.append(&session, 11, b"!", false), 409, "closed/");
    let unknown = f.append("pid_upload_session:none", 0, b"x", false);
    assert_error(&unknown, 409, "not_found/");
    let done = f.finish(&session, 11, "/a").json();
    assert_eq!(done["content_hash"], content_hash(b"hello world"));
    assert!(done.get(".tag").is_none());
    assert_error(
        &f.finish(&session, 11, "/a"),
        409,
        "lookup_failed/not_found/",
    );
}

#[test]
fn sequential_sessions_need_not_follow_the_grid() {
    let mut f = fixture_with(DropboxOptions {
        app: all_scopes(),
        keep_content: false,
        ..DropboxOptions::default()
    });
    let data: Vec<u8> = (0..2 * BLOCK + 99).map(|at| (at % 251) as u8).collect();
    let session = f.start(json!({}));
    let mut offset = 0;
    for size in [1, BLOCK - 1, 5, BLOCK, 94] {
        let piece = &data[offset..offset + size];
        assert_eq!(f.append(&session, offset, piece, false).status, 200);
        offset += size;
    }
    let done = f.finish(&session, offset, "/a").json();
    assert_eq!(done["content_hash"], content_hash(&data));
    assert_eq!(f.dropbox.read("/a"), None);
}

#[test]
fn sessions_die_after_seven_days_or_by_order() {
    let mut f = fixture();
    let session = f.start(json!({}));
    f.dropbox
        .advance_clock(Duration::from_secs(7 * 86_400 - 60));
    f.bearer = format!("Bearer {}", f.dropbox.issue_access_token());
    assert_eq!(f.append(&session, 0, b"x", false).status, 200);
    f.dropbox.advance_clock(Duration::from_secs(61));
    assert_error(&f.append(&session, 1, b"x", false), 409, "not_found/");
    let session = f.start(json!({}));
    assert_eq!(f.dropbox.sessions().len(), 2);
    f.dropbox.drop_sessions();
    assert_error(&f.append(&session, 0, b"x", false), 409, "not_found/");
}

#[test]
fn concurrent_sessions_keep_their_rules() {
    let mut f = fixture();
    let concurrent = json!({"session_type": "concurrent"});
    let reply = f.upload("files/upload_session/start", concurrent.clone(), b"x");
    assert_error(&reply, 409, "concurrent_session_data_not_allowed/");
    let closed = json!({"session_type": {".tag": "concurrent"}, "close": true});
    let reply = f.upload("files/upload_session/start", closed, b"");
    assert_error(&reply, 409, "concurrent_session_close_not_allowed/");

    let session = f.start(concurrent);
    let block = vec![1; BLOCK];
    let reply = f.append(&session, 1, &block, false);
    assert_error(&reply, 409, "concurrent_session_invalid_offset/");
    let reply = f.append(&session, 0, b"x", false);
    assert_error(&reply, 409, "concurrent_session_invalid_data_size/");
    assert_eq!(f.append(&session, BLOCK, &block, false).status, 200);
    // The answer was lost, and the same range comes again.
    assert_eq!(f.append(&session, BLOCK, &block, false).status, 200);
    let reply = f.finish(&session, 2 * BLOCK, "/a");
    assert_error(&reply, 409, "concurrent_session_not_closed/");
    assert_eq!(f.append(&session, 2 * BLOCK, b"tail", true).status, 200);
    assert_error(&f.append(&session, 0, &block, false), 409, "closed/");
    let reply = f.finish(&session, 2 * BLOCK + 4, "/a");
    assert_error(&reply, 409, "concurrent_session_missing_data/");
    assert_eq!(f.dropbox.sessions()[0].received_bytes, BLOCK as u64 + 4);
}

#[test]
fn batches_take_closed_sessions_only() {
    let mut f = fixture();
    let started = f.rpc(
        "files/upload_session/start_batch",
        json!({"num_sessions": 2}),
    );
    let open = started.json()["session_ids"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let entry = |session: &str, hash: Option<String>| {
        let mut entry = json!({
            "cursor": { "session_id": session, "offset": 0 },
            "commit": { "path": "/a" },
        });
        if let Some(hash) = hash {
            entry["content_hash"] = json!(hash);
        }
        entry
    };
    let closed = f.start(json!({"close": true}));
    let wrong_hash = Some(content_hash(b"x"));
    let batch = json!({"entries": [entry(&open, None), entry(&closed, wrong_hash)]});
    let done = f.rpc("files/upload_session/finish_batch_v2", batch).json();
    assert_eq!(
        done["entries"][0]["failure"],
        json!({".tag": "lookup_failed", "lookup_failed": {".tag": "not_closed"}})
    );
    assert_eq!(
        done["entries"][1]["failure"],
        json!({".tag": "content_hash_mismatch"})
    );
}

// ---- listing, downloads, deletions ----

#[test]
fn listings_come_in_pages_and_cursors_are_repeatable() {
    let mut f = fixture_with(DropboxOptions {
        app: all_scopes(),
        page_size: 2,
        ..DropboxOptions::default()
    });
    for name in ["/a", "/b", "/c", "/D/e"] {
        f.dropbox.put(name, b"x");
    }
    let first = f.rpc("files/list_folder", json!({"path": ""})).json();
    assert_eq!(first["entries"].as_array().unwrap().len(), 2);
    assert_eq!(first["has_more"], true);
    let cursor = json!({"cursor": first["cursor"]});
    let second = f.rpc("files/list_folder/continue", cursor.clone()).json();
    let again = f.rpc("files/list_folder/continue", cursor.clone()).json();
    assert_eq!(second["entries"], again["entries"]);
    assert_eq!(second["has_more"], false);
    let mut names: Vec<&str> = [&first, &second]
        .iter()
        .flat_map(|page| page["entries"].as_array().unwrap())
        .map(|entry| entry["path_lower"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["/a", "/b", "/c", "/d"]);
    f.dropbox.reset_cursors();
    let reset = f.rpc("files/list_folder/continue", cursor);
    assert_error(&reset, 409, "reset/");
    let missing = f.rpc("files/list_folder", json!({"path": "/none"}));
    assert_error(&missing, 409, "path/not_found/");
    let file = f.rpc("files/list_folder", json!({"path": "/a"}));
    assert_error(&file, 409, "path/not_folder/");
}

#[test]
fn downloads_take_ranges_and_know_what_is_unchanged() {
    let mut f = fixture();
    f.dropbox.put("/\u{fc}", b"0123456789");
    let bearer = f.bearer.clone();
    let mut download = |more: &[(&str, &str)]| {
        let mut headers = vec![
            ("Authorization", bearer.as_str()),
            ("Dropbox-API-Arg", r#"{"path":"/\u00fc"}"#),
        ];
        headers.extend_from_slice(more);
        f.content
            .send("POST", "/2/files/download", &headers, b"")
            .unwrap()
    };
    let whole = download(&[]);
    assert_eq!(whole.text(), "0123456789");
    let result = whole.header("dropbox-api-result").unwrap();
    assert!(result.is_ascii());
    let metadata: Value = serde_json::from_str(result).unwrap();
    assert_eq!(metadata["content_hash"], content_hash(b"0123456789"));
    let part = download(&[("Range", "bytes=4-5")]);
    assert_eq!((part.status, part.text().as_str()), (206, "45"));
    assert_eq!(part.header("content-range"), Some("bytes 4-5/10"));
    assert_eq!(download(&[("Range", "bytes=10-")]).status, 416);
    let etag = whole.header("etag").unwrap();
    assert_eq!(download(&[("If-None-Match", etag)]).status, 304);
}

#[test]
fn deletions_follow_revs_and_jobs() {
    let mut f = fixture();
    let rev = f.dropbox.put("/a", b"x").rev;
    f.dropbox.put("/b", b"x");
    let stale = f.rpc(
        "files/delete_v2",
        json!({"path": "/a", "parent_rev": "0123456789"}),
    );
    assert_error(&stale, 409, "path_write/conflict/file/");
    let gone = f.rpc("files/delete_v2", json!({"path": "/A", "parent_rev": rev}));
    assert_eq!(gone.json()["metadata"][".tag"], "file");
    let again = f.rpc("files/delete_v2", json!({"path": "/a"}));
    assert_error(&again, 409, "path_lookup/not_found/");

    let batch = json!({"entries": [{"path": "/b"}, {"path": "/none"}]});
    f.dropbox.fail_delete_jobs(1);
    let mut check = |batch: &Value| {
        let job = f.rpc("files/delete_batch", batch.clone()).json();
        let job = json!({"async_job_id": job["async_job_id"]});
        let first = f.rpc("files/delete_batch/check", job.clone()).json();
        assert_eq!(first, json!({".tag": "in_progress"}));
        f.rpc("files/delete_batch/check", job).json()
    };
    let failed = check(&batch);
    assert_eq!(failed["failed"][".tag"], "too_many_write_operations");
    let complete = check(&batch);
    assert_eq!(complete[".tag"], "complete");
    assert_eq!(complete["entries"][0][".tag"], "success");
    assert_eq!(
        complete["entries"][1]["failure"],
        json!({".tag": "path_lookup", "path_lookup": {".tag": "not_found"}})
    );
    let unknown = f.rpc(
        "files/delete_batch/check",
        json!({"async_job_id": "job-none"}),
    );
    assert_error(&unknown, 409, "invalid_async_job_id/");
    assert!(f.dropbox.files().is_empty());
}

#[test]
fn a_batch_of_deletions_may_be_answered_at_once() {
    let mut f = fixture_with(DropboxOptions {
        app: all_scopes(),
        delete_batch: DeleteBatch::Synchronous,
        ..DropboxOptions::default()
    });
    f.dropbox.put("/a", b"x");
    let done = f.rpc("files/delete_batch", json!({"entries": [{"path": "/a"}]}));
    assert_eq!(done.json()[".tag"], "complete");
}

// ---- faults and names ----

#[test]
fn ready_made_faults_have_dropboxs_forms() {
    let mut f = fixture();
    let list = json!({"path": ""});
    for (fault, status, summary) in [
        (
            faults::too_many_requests(Some(5)),
            429,
            "too_many_requests/",
        ),
        (
            faults::too_many_write_operations(None),
            429,
            "too_many_write_operations/",
        ),
        (
            faults::unauthorized("expired_access_token"),
            401,
            "expired_access_token/",
        ),
        (
            faults::upload_calls_used_up(),
            403,
            "invalid_account_type/feature/",
        ),
    ] {
        f.dropbox.inject(On::next("files/list_folder"), fault);
        let reply = f.rpc("files/list_folder", list.clone());
        assert_error(&reply, status, summary);
    }
    for (fault, status) in [
        (faults::too_many_requests_as_text(), 429),
        (faults::server_error(), 500),
        (faults::gateway_timeout(), 504),
    ] {
        f.dropbox.inject(On::next("files/*"), fault);
        assert_eq!(f.rpc("files/list_folder", list.clone()).status, status);
    }
    assert_eq!(f.rpc("files/list_folder", list).status, 200);
}

#[test]
fn under_its_real_names_one_listener_plays_every_host() {
    let ca = TestCa::new().unwrap();
    let dropbox = Dropbox::start(DropboxOptions {
        tls: Some(ca.issue(&Dropbox::leaf()).unwrap()),
        ..DropboxOptions::default()
    })
    .unwrap();
    let (_, address) = dropbox.real_names()[0].clone();
    let connect = |name: &str| {
        let stream = TcpStream::connect(address).unwrap();
        Client::tls(stream, name, ca.pem(), &[&rustls::version::TLS13]).unwrap()
    };
    let consent = "/oauth2/authorize?client_id=test-app-key&response_type=code";
    let page = connect("www.dropbox.com")
        .send("GET", consent, &[], b"")
        .unwrap();
    assert_eq!(page.status, 200);
    let page = connect("api.dropboxapi.com")
        .send("GET", consent, &[], b"")
        .unwrap();
    assert_eq!(page.status, 404);
    let bearer = format!("Bearer {}", dropbox.issue_access_token());
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/octet-stream"),
        ("Dropbox-API-Arg", r#"{"path":"/a"}"#),
    ];
    let mut content = connect("content.dropboxapi.com");
    let reply = content
        .send("POST", "/2/files/upload", &headers, b"x")
        .unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let url = format!("https://www.dropbox.com{consent}");
    assert!(dropbox.allow(&url).is_ok());
}
