//! What the Dropbox stand-in refuses, and how: each rule of the published API that a client can break.

mod authorization;
mod calls;
mod fault_forms;
mod folder;
mod sessions;
mod uploads;

use crate::client::{Client, Reply};
use sandbox::dropbox::{
    App, BLOCK_BYTES, DeleteBatch, Dropbox, DropboxOptions, content_hash, faults,
};
use sandbox::http::{On, TestCa};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::time::Duration;

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
