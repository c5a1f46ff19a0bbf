//! Tokens, scopes, the consent page and the token endpoint.

use super::*;

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
    assert!(page.text().contains("Allow</button>"));
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
