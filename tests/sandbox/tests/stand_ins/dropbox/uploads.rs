//! Uploads and commits: sizes, hashes, paths, space, contention.

use super::*;

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
