//! `files/upload`, and what all routes that take bytes or commit files share.

use super::super::answer::{Answer, Refusal, flattened, tag};
use super::super::arguments::{Fields, Pattern};
use super::super::content_hash::ContentHasher;
use super::super::folder::{Commit, Content, WriteMode};
use super::super::service::Call;
use super::super::session::{Received, Session};
use super::begin_write;
use serde_json::{Value, json};
use std::io::Read;
use std::sync::Arc;

/// One request carries at most 150 MiB.
pub const REQUEST_BYTES_MAX: u64 = 150 * 1024 * 1024;

pub(super) fn upload(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    let mut fields = call.fields()?;
    let commit = commit_info(&mut fields)?;
    let hash = fields.optional_hash("content_hash")?;
    fields.end()?;
    let received = receive(&mut call, hash.as_deref(), None)?;
    let _writing = begin_write(call.shared)?;
    let mut world = call.shared.world();
    let pieces = received.bytes.clone().map(|bytes| vec![bytes]);
    let content = Content::new(&received.own, pieces);
    match world.commit(&call.app, &commit, content) {
        Ok(entry) => Ok(Answer::Json(entry.metadata())),
        Err(reason) => {
            // The bytes are kept: the commit alone can be tried again from this session.
            let keep = call.shared.options.keep_content;
            let mut session = Session::new(&call.app, false, keep, world.now());
            let id = format!("pid_upload_session:sandbox-{:06}", world.next_serial());
            session.append(0, received, false).map_err(Refusal::Route)?;
            world.sessions.insert(id.clone(), session);
            Err(Refusal::Route(flattened(
                "path",
                json!({ "reason": reason, "upload_session_id": id }),
            )))
        }
    }
}

/// The fields of CommitInfo, out of an argument that may have more.
pub(super) fn commit_info(fields: &mut Fields) -> Result<Commit, Refusal> {
    let path = fields.path("path", Pattern::Write)?;
    let mode = match fields.union("mode", &["add", "overwrite"], &["update"])? {
        None => WriteMode::Add,
        Some((tag, _)) if tag == "add" => WriteMode::Add,
        Some((tag, _)) if tag == "overwrite" => WriteMode::Overwrite,
        Some((_, Some(Value::String(rev)))) if rev.len() >= 9 => WriteMode::Update(rev),
        Some(_) => return Err(fields.bad("mode", "'update' needs a rev").into()),
    };
    let commit = Commit {
        path,
        mode,
        autorename: fields.bool_or("autorename", false)?,
        client_modified: fields.optional_time("client_modified")?,
        strict_conflict: fields.bool_or("strict_conflict", false)?,
    };
    fields.ignore_bools(&["mute"])?;
    Ok(commit)
}

/// Takes the body of a request in, hashing on the way; nothing is applied when the hash does not match.
pub(super) fn receive(
    call: &mut Call<'_, '_>,
    hash: Option<&str>,
    mut continued: Option<ContentHasher>,
) -> Result<Received, Refusal> {
    let announced = call.body.announced_bytes().unwrap_or(0);
    if announced > REQUEST_BYTES_MAX {
        return Err(too_large(call));
    }
    let mut bytes = call
        .shared
        .options
        .keep_content
        .then(|| Vec::with_capacity(announced as usize));
    let mut own = ContentHasher::default();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = call.body.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        let piece = &buffer[..count];
        own.update(piece);
        if let Some(continued) = &mut continued {
            continued.update(piece);
        }
        if let Some(bytes) = &mut bytes {
            bytes.extend_from_slice(piece);
        }
        if own.size() > REQUEST_BYTES_MAX {
            return Err(too_large(call));
        }
    }
    if hash.is_some_and(|hash| hash != own.finish()) {
        return Err(Refusal::Route(tag("content_hash_mismatch")));
    }
    Ok(Received {
        own,
        continued,
        bytes: bytes.map(Arc::new),
    })
}

/// Assumption: which of the two forms the live service answers with is not known; both were reported.
fn too_large(call: &Call<'_, '_>) -> Refusal {
    if call.shared.options.refuses_oversize_at_the_edge {
        Refusal::TooLargeAtTheEdge
    } else {
        Refusal::Route(tag("payload_too_large"))
    }
}
