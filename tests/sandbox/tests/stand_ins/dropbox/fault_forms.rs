//! Ready-made faults, and the stand-in under its real names.

use super::*;

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
