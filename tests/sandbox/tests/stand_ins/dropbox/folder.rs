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
