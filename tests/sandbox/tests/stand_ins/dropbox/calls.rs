//! How a call must look: host, method, content type, argument.

use super::*;

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
