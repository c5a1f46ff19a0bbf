//! What the client does for itself, asked directly: copies that Dropbox makes, and names that it refuses.

use std::sync::Arc;

use backup_sync_dropbox::clock::Stop;
use backup_sync_dropbox::dropbox::files::{Commit, Depth, FileMetadata, WriteMode};
use backup_sync_dropbox::dropbox::{Conflict, Credential, Dropbox, Error, Hosts};
use backup_sync_dropbox::http::{Client, Peer, Trust};
use backup_sync_dropbox::secret::Secret;
use sandbox::dropbox::{self, DropboxOptions};
use sandbox::http::{Action, On};
use serde_json::json;

const COPY: &str = "files/copy_v2";

fn connected() -> (dropbox::Dropbox, Dropbox) {
    let service = dropbox::Dropbox::start(DropboxOptions::default()).unwrap();
    let hosts = Hosts {
        api: service.api_url().parse().unwrap(),
        content: service.content_url().parse().unwrap(),
        web: service.web_url().parse().unwrap(),
    };
    let token = Secret::new(service.issue_legacy_token());
    let client = Dropbox::new(
        Client::new(Trust::Roots, Peer::Internet).unwrap(),
        hosts,
        Stop::new(Arc::default()),
        Credential::LegacyToken(token.clone()),
        token,
    );
    (service, client)
}

#[test]
fn a_copy_is_made_once_whatever_becomes_of_the_answer() {
    for fault in [
        None,
        Some(Action::AnswerLost),
        Some(Action::TruncateResponse(5)),
    ] {
        let (service, client) = connected();
        let original = service.put("/a.sql", b"content");
        if let Some(fault) = fault {
            service.inject(On::next(COPY), fault);
        }
        let copy = client.copy_file("/a.sql", "/aside/a (1).sql").unwrap();
        let copied = service.file("/aside/a (1).sql").unwrap();
        assert_eq!(
            (copy.rev, copied.content_hash),
            (copied.rev, original.content_hash)
        );
        assert_eq!(service.files().len(), 2);
    }
}

#[test]
fn a_copy_replaces_nothing() {
    let (service, client) = connected();
    service.put("/a", b"content");
    let other = service.put("/b", b"another content");
    let refused = client.copy_file("/a", "/b").unwrap_err();
    assert_eq!(refused.conflict(), Some(Conflict::File));
    assert_eq!(service.file("/b"), Some(other));
    service.put_folder("/c");
    let refused = client.copy_file("/a", "/c").unwrap_err();
    assert_eq!(refused.conflict(), Some(Conflict::Folder));
    assert!(client.copy_file("/none", "/d").is_err());
    service.set_quota(0, 0);
    let full = client.copy_file("/a", "/d").unwrap_err();
    assert!(full.is_out_of_space());
}

fn store(client: &Dropbox, path: &str) -> Result<FileMetadata, Error> {
    let session_id = &client.start_closed_session(&[b"x"])?;
    let commit = Commit {
        session_id,
        length: 1,
        path,
        mode: &WriteMode::Add,
        client_modified: None,
    };
    client.finish_batch(&[commit]).pop().unwrap()
}

#[test]
fn what_dropbox_refuses_of_a_file_is_told_apart() {
    let (service, client) = connected();
    service.put("/file", b"content");
    service.put_folder("/folder");
    for (path, conflict) in [
        ("/FILE", Conflict::File),
        ("/folder", Conflict::Folder),
        ("/file/below", Conflict::FileAbove),
    ] {
        let refused = store(&client, path).unwrap_err();
        assert_eq!(refused.conflict(), Some(conflict));
        assert!(!refused.is_name_refused() && !refused.is_out_of_space());
    }
    for tag in ["malformed_path", "disallowed_name", "restricted_content"] {
        let error = json!({".tag": tag});
        service.refuse_commits(Some("/rocket"), error, 1);
        let refused = store(&client, "/rocket").unwrap_err();
        assert!(refused.is_name_refused() && refused.conflict().is_none());
    }
    let refused = store(&client, "/thumbs.db").unwrap_err();
    assert!(refused.is_name_refused());
    service.refuse_commits(None, json!({".tag": "no_write_permission"}), 1);
    assert!(!store(&client, "/a").unwrap_err().is_name_refused());
    assert!(store(&client, "/rocket").is_ok());
}

#[test]
fn a_listing_tells_folders_and_dropboxs_time() {
    let (service, client) = connected();
    service.set_clock_back(std::time::Duration::from_secs(400 * 24 * 60 * 60));
    service.put("/Top/sub/a", b"x");
    service.put_folder("/Top/empty");
    let listed = client.list_folder("/top", Depth::Subfolders).unwrap();
    assert_eq!(listed.folders, ["empty", "sub"]);
    assert_eq!(listed.files[0].name, "sub/a");
    let age = chrono::Utc::now() - listed.time.unwrap();
    assert_eq!(age.num_days(), 400);
    // The root is always there.
    let not_found = json!({"error": {".tag": "path", "path": {".tag": "not_found"}}});
    service.inject(On::next("files/list_folder"), Action::json(409, &not_found));
    assert!(client.list_folder("", Depth::Folder).is_err());
    let none = client.list_folder("/none", Depth::Folder).unwrap();
    assert!(none.files.is_empty() && none.folders.is_empty());
    let root = client.list_folder("", Depth::Folder).unwrap();
    assert_eq!(
        (root.files.len(), root.folders),
        (0, vec!["Top".to_owned()])
    );
}
