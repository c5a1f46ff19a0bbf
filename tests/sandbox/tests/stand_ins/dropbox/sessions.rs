//! Upload sessions, sequential, concurrent and in batches.

use super::*;

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
