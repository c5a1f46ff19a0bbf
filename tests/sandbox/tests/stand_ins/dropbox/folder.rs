//! Listings, downloads and deletions.

use super::*;

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
fn a_change_during_a_listing_is_told_at_its_end() {
    let mut f = fixture();
    f.dropbox.put("/a", b"x");
    let argument = json!({"path": "", "limit": 1});
    f.dropbox.put("/b", b"x");
    let first = f.rpc("files/list_folder", argument).json();
    f.dropbox.remove("/a");
    let mut page = first;
    let mut tags = Vec::new();
    while page["has_more"] == true {
        let cursor = json!({"cursor": page["cursor"]});
        page = f.rpc("files/list_folder/continue", cursor).json();
        tags.push(page["entries"][0][".tag"].as_str().unwrap().to_owned());
    }
    assert_eq!(tags, ["file", "deleted"]);
}

#[test]
fn copies_are_new_files_that_replace_nothing() {
    let mut f = fixture();
    let original = f.dropbox.put("/a", b"x");
    let argument = json!({"from_path": "/A", "to_path": "/d/b", "autorename": false});
    let copied = f.rpc("files/copy_v2", argument.clone()).json();
    assert_eq!(copied["metadata"][".tag"], "file");
    assert_eq!(copied["metadata"]["content_hash"], original.content_hash);
    assert_ne!(copied["metadata"]["rev"], original.rev);
    let again = f.rpc("files/copy_v2", argument);
    assert_error(&again, 409, "to/conflict/file/");
    for (from, to, error) in [
        ("/none", "/c", "from_lookup/not_found/"),
        ("/a", "/d", "to/conflict/folder/"),
        ("/a", "/a/c", "to/conflict/file_ancestor/"),
        ("/a", "/c ", "to/malformed_path/"),
    ] {
        let refused = f.rpc("files/copy_v2", json!({"from_path": from, "to_path": to}));
        assert_error(&refused, 409, error);
    }
    f.dropbox.set_quota(0, 0);
    let full = f.rpc("files/copy_v2", json!({"from_path": "/a", "to_path": "/c"}));
    assert_error(&full, 409, "insufficient_quota/");
}

#[test]
fn earlier_versions_come_back_as_new_ones() {
    let mut f = fixture();
    let first = f.dropbox.put("/a", b"first");
    let other = f.dropbox.put("/b", b"other");
    f.dropbox.put("/a", b"second");
    let wanted = json!({"path": "/A", "rev": first.rev});
    let restored = f.rpc("files/restore", wanted.clone()).json();
    assert_eq!(restored["content_hash"], first.content_hash);
    assert_ne!(restored["rev"], first.rev);
    f.dropbox.remove("/a");
    f.rpc("files/restore", wanted);
    assert_eq!(f.dropbox.read("/a").unwrap(), b"first");
    let foreign = f.rpc("files/restore", json!({"path": "/a", "rev": other.rev}));
    assert_error(&foreign, 409, "invalid_revision/");
    let never = f.rpc("files/restore", json!({"path": "/never", "rev": other.rev}));
    assert_error(&never, 409, "path_lookup/not_found/");
    let text = f.rpc("files/restore", json!({"path": "/a", "rev": "first"}));
    assert_bad_input(&text, "did not match pattern");
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
