//! Certificates, Dropbox's real host names, and proxies.

use std::net::Ipv4Addr;
use std::process::Command;

use sandbox::dropbox::{Dropbox, DropboxOptions};
use sandbox::http::{ConnectProxy, Leaf, TestCa, self_signed};

use super::*;
use crate::support::stranger;

const MIB: u64 = 1024 * 1024;

/// The command under Dropbox's real names, which a proxy leads to the stand-in.
fn under_real_names(world: &World, proxy: &ConnectProxy) -> Command {
    let mut command = world.command();
    command
        .env("HTTPS_PROXY", proxy.url())
        .env_remove("DROPBOX_API_URL")
        .env_remove("DROPBOX_CONTENT_URL")
        .env_remove("DROPBOX_WEB_URL");
    command
}

#[test]
fn the_whole_way_under_dropboxs_real_names() {
    for has_secret in [true, false] {
        let world = World::with_app(has_secret);
        world.add_backups(1, 2, 1000);
        world.add_backups(3, 3, 9 * MIB);
        let proxy = ConnectProxy::start(world.dropbox.real_names()).unwrap();
        let run = || world.run_as(&mut under_real_names(&world, &proxy));
        let ended = run();
        assert!(
            ended
                .url()
                .starts_with("https://www.dropbox.com/oauth2/authorize?"),
            "{}",
            ended.log
        );
        world.allow_and_paste(&ended);
        let ended = run();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        world.assert_mirrored();
        world.remove_backup(1);
        let ended = run();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        world.assert_mirrored();
        let mut asked = proxy.asked();
        asked.sort();
        asked.dedup();
        assert_eq!(
            asked,
            ["api.dropboxapi.com:443", "content.dropboxapi.com:443"]
        );
    }
}

#[test]
fn a_certificate_that_is_not_dropboxs_gets_no_credential() {
    let expired = Leaf {
        is_expired: true,
        ..Dropbox::leaf()
    };
    let other_ca = TestCa::new().unwrap();
    for (name, issuer, leaf) in [
        ("unknown issuer", Some(&other_ca), Dropbox::leaf()),
        ("expired", None, expired),
        ("another name", None, Leaf::of(["api.dropbox.example"])),
    ] {
        let mut world = World::authorized();
        let tls = issuer.unwrap_or(&world.ca).issue(&leaf).unwrap();
        world.dropbox = Dropbox::start(DropboxOptions {
            tls: Some(tls),
            ..DropboxOptions::default()
        })
        .unwrap();
        world.add_backups(1, 1, 1000);
        let refresh = world.config();
        let mut code = refresh.clone();
        code["dropboxAccessCode"] = json!("test-code");
        code["dropboxRefreshToken"] = json!(null);
        let mut legacy = refresh.clone();
        legacy["dropboxAccessToken"] = json!("test-legacy-token");
        legacy["dropboxRefreshToken"] = json!(null);
        legacy["dropboxAppKey"] = json!(null);
        for config in [refresh, code, legacy] {
            world.configure(config.clone());
            let before = world.config();
            let ended = world.run_badly();
            ended.assert_line(&["ERROR: ", "certificate was not accepted", "SSL_CERT_FILE"]);
            assert!(world.dropbox.requests().is_empty(), "{name}");
            assert_eq!(world.config(), before, "{name}");
        }
    }
}

#[test]
fn without_the_file_of_certificates_only_the_public_ones_count() {
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    let ended = world.run_as(world.command().env_remove("SSL_CERT_FILE"));
    assert_eq!(ended.code, Some(1));
    ended.assert_line(&["ERROR: ", "certificate was not accepted"]);
    assert!(world.dropbox.requests().is_empty());
}

#[test]
fn a_file_of_certificates_that_cannot_be_used_is_named() {
    let world = World::authorized();
    let folder = world.root().to_owned();
    let empty = folder.join("empty.pem");
    fs::write(&empty, "no certificate\n").unwrap();
    for file in [folder.join("missing.pem"), empty, folder] {
        let ended = world.run_as(world.command().env("SSL_CERT_FILE", &file));
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        ended.assert_line(&["ERROR: ", "SSL_CERT_FILE", file.to_str().unwrap()]);
        assert!(world.dropbox.requests().is_empty());
    }
}

#[test]
fn an_impostor_of_one_host_gets_no_token() {
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    let tls = self_signed(&Dropbox::leaf()).unwrap();
    let impostor = stranger(Ipv4Addr::LOCALHOST, Some(tls));
    let names = world
        .dropbox
        .real_names()
        .into_iter()
        .map(|(name, address)| {
            let is_content = name.starts_with("content.");
            let address = if is_content {
                impostor.address()
            } else {
                address
            };
            (name, address)
        });
    let proxy = ConnectProxy::start(names).unwrap();
    let ended = world.run_as(&mut under_real_names(&world, &proxy));
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    ended.assert_line(&["ERROR: ", "certificate was not accepted"]);
    assert!(impostor.traffic().requests().is_empty());
    world.run_well();
    world.assert_mirrored();
}

#[test]
fn dropbox_is_not_spoken_to_without_tls() {
    for variable in ["DROPBOX_API_URL", "DROPBOX_CONTENT_URL", "DROPBOX_WEB_URL"] {
        for url in [
            "http://dropbox.example",
            "dropbox.example",
            "ftp://127.0.0.1",
        ] {
            let world = World::authorized();
            let ended = world.run_as(world.command().env(variable, url));
            assert_eq!(ended.code, Some(1), "{}", ended.log);
            ended.assert_line(&["ERROR: ", variable]);
            assert!(world.dropbox.requests().is_empty());
        }
    }
}

#[test]
fn a_proxy_that_refuses_is_named_without_its_password() {
    let world = World::authorized();
    let proxy = ConnectProxy::start(None).unwrap();
    let url = proxy
        .url()
        .replace("http://", "http://test-user:test-proxy-password@");
    let mut command = under_real_names(&world, &proxy);
    command.env("HTTPS_PROXY", url).env("RUST_LOG", "trace");
    let ended = world.run_as(&mut command);
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    ended.assert_line(&["ERROR: ", "proxy"]);
    assert!(!ended.log.contains("test-proxy-password"), "{}", ended.log);
    // "test-user:test-proxy-password"
    let credentials = "Basic dGVzdC11c2VyOnRlc3QtcHJveHktcGFzc3dvcmQ=";
    assert_eq!(proxy.credentials(), Some(credentials.into()));
    assert!(proxy.asked().contains(&"api.dropboxapi.com:443".into()));
}

#[test]
fn a_proxy_that_is_no_url_is_said() {
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    for value in ["http://", "nonsense://x:1", "http://127.0.0.1:99999"] {
        let proxy = ConnectProxy::start(None).unwrap();
        let mut command = under_real_names(&world, &proxy);
        command.env("HTTPS_PROXY", value);
        let ended = world.run_as(&mut command);
        assert_eq!(ended.code, Some(1), "{value}: {}", ended.log);
        ended.assert_line(&["ERROR: ", "proxy"]);
    }
}

#[test]
fn a_socks_proxy_serves_as_well() {
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    let proxy = ConnectProxy::start(world.dropbox.real_names()).unwrap();
    let mut command = under_real_names(&world, &proxy);
    command.env("HTTPS_PROXY", proxy.socks_url());
    let ended = world.run_as(&mut command);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    world.assert_mirrored();
    assert!(proxy.asked().contains(&"api.dropboxapi.com:443".into()));
}

#[test]
fn of_several_proxies_the_specific_one_counts() {
    // Nobody listens at port 1.
    let dead = "http://127.0.0.1:1";
    for (right, others) in [
        ("HTTPS_PROXY", &["ALL_PROXY", "HTTP_PROXY", "all_proxy"][..]),
        ("https_proxy", &["HTTPS_PROXY", "ALL_PROXY", "http_proxy"]),
        ("ALL_PROXY", &["HTTP_PROXY", "http_proxy"]),
        ("http_proxy", &["HTTP_PROXY"]),
        ("HTTP_PROXY", &[]),
    ] {
        for wrong in [dead, "socks5h://127.0.0.1:1", "nonsense://x", ""] {
            let world = World::authorized();
            world.add_backups(1, 1, 1000);
            let proxy = ConnectProxy::start(world.dropbox.real_names()).unwrap();
            let mut command = under_real_names(&world, &proxy);
            command.env_remove("HTTPS_PROXY").env(right, proxy.url());
            for other in others {
                command.env(other, wrong);
            }
            let ended = world.run_as(&mut command);
            assert_eq!(ended.code, Some(0), "{right}, {wrong}: {}", ended.log);
            world.assert_mirrored();
        }
    }
}

#[test]
fn a_proxy_that_cannot_be_used_is_named_and_never_passed_by() {
    for (value, said) in [
        ("quic://127.0.0.1:1", "of the kind \"quic\""),
        (
            "socks6://test-user:test-proxy-password@127.0.0.1:1",
            "of the kind \"socks6\"",
        ),
        ("http://127.0.0.1:1", "refused"),
        ("socks5://127.0.0.1:1", "refused"),
    ] {
        for variable in ["HTTPS_PROXY", "all_proxy"] {
            let world = World::authorized();
            world.add_backups(1, 1, 1000);
            let ended = world.run_as(world.command().env(variable, value));
            assert_eq!(ended.code, Some(1), "{}", ended.log);
            ended.assert_line(&["ERROR: ", variable, said]);
            assert!(!ended.log.contains("test-proxy-password"), "{}", ended.log);
            assert!(world.dropbox.requests().is_empty());
            // What is excepted is asked directly.
            for exception in ["127.0.0.1", " example.com, 127.0.0.1", "*"] {
                let mut command = world.command();
                command
                    .env(variable, "http://127.0.0.1:1")
                    .env("no_proxy", exception);
                let ended = world.run_as(&mut command);
                assert_eq!(ended.code, Some(0), "{exception}: {}", ended.log);
            }
        }
    }
}
