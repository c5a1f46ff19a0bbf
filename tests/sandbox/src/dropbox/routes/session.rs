//! `files/upload_session/*`.

use super::super::answer::{Answer, Refusal, flattened, nested, tag};
use super::super::arguments::Fields;
use super::super::content_hash::content_hash;
use super::super::folder::{Commit, Entry};
use super::super::service::Call;
use super::super::session::{SESSION_LIFE, Session};
use super::super::world::World;
use super::begin_write;
use super::upload::{commit_info, receive};
use serde_json::{Value, json};

/// Entries of one batch.
const BATCH_ENTRIES_MAX: usize = 1000;

struct Cursor {
    session_id: String,
    offset: u64,
}

fn cursor(fields: &mut Fields) -> Result<Cursor, Refusal> {
    let mut cursor = fields.fields("cursor")?;
    let parsed = Cursor {
        session_id: cursor.string("session_id")?,
        offset: cursor.unsigned("offset")?,
    };
    cursor.end()?;
    Ok(parsed)
}

fn is_concurrent(fields: &mut Fields) -> Result<bool, Refusal> {
    let kind = fields.union("session_type", &["sequential", "concurrent"], &[])?;
    Ok(kind.is_some_and(|(tag, _)| tag == "concurrent"))
}

/// A living session of this app; to others, and after seven days, it does not exist.
fn find<'w>(world: &'w mut World, app: &str, id: &str) -> Result<&'w mut Session, Value> {
    let now = world.now();
    world
        .sessions
        .get_mut(id)
        .filter(|session| session.app == app && now < session.created_at + SESSION_LIFE)
        .ok_or_else(|| tag("not_found"))
}

fn open(world: &mut World, session: Session) -> String {
    // The real service names them like this.
    let id = format!("pid_upload_session:sandbox-{:06}", world.next_serial());
    world.sessions.insert(id.clone(), session);
    if world.spoilt_to_come > 0 {
        world.spoilt_to_come -= 1;
        world.spoilt_sessions.insert(id.clone());
    }
    id
}

pub(super) fn start(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    let mut fields = call.fields()?;
    let close = fields.bool_or("close", false)?;
    let is_concurrent = is_concurrent(&mut fields)?;
    let hash = fields.optional_hash("content_hash")?;
    fields.end()?;
    let received = receive(&mut call, hash.as_deref(), None)?;
    if is_concurrent && received.size() > 0 {
        return Err(Refusal::Route(tag("concurrent_session_data_not_allowed")));
    }
    if is_concurrent && close {
        return Err(Refusal::Route(tag("concurrent_session_close_not_allowed")));
    }
    let keep = call.shared.options.keep_content;
    let mut world = call.shared.world();
    let mut session = Session::new(&call.app, is_concurrent, keep, world.now());
    session.append(0, received, close).map_err(Refusal::Route)?;
    let id = open(&mut world, session);
    Ok(Answer::Json(json!({ "session_id": id })))
}

pub(super) fn start_batch(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    let mut fields = call.fields()?;
    let is_concurrent = is_concurrent(&mut fields)?;
    let count = fields.unsigned("num_sessions")?;
    if !(1..=BATCH_ENTRIES_MAX as u64).contains(&count) {
        return Err(fields.bad("num_sessions", "not within 1 and 1000").into());
    }
    fields.end()?;
    let keep = call.shared.options.keep_content;
    let mut world = call.shared.world();
    let ids: Vec<String> = (0..count)
        .map(|_| {
            let session = Session::new(&call.app, is_concurrent, keep, world.now());
            open(&mut world, session)
        })
        .collect();
    Ok(Answer::Json(json!({ "session_ids": ids })))
}

pub(super) fn append(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    let mut fields = call.fields()?;
    let cursor = cursor(&mut fields)?;
    let close = fields.bool_or("close", false)?;
    let hash = fields.optional_hash("content_hash")?;
    fields.end()?;
    let continued = {
        let mut world = call.shared.world();
        let session = find(&mut world, &call.app, &cursor.session_id);
        session.ok().and_then(|session| session.continuation())
    };
    let received = receive(&mut call, hash.as_deref(), continued)?;
    let mut world = call.shared.world();
    find(&mut world, &call.app, &cursor.session_id)
        .and_then(|session| session.append(cursor.offset, received, close))
        .map_err(Refusal::Route)?;
    Ok(Answer::Json(Value::Null))
}

pub(super) fn finish(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    let mut fields = call.fields()?;
    let cursor = cursor(&mut fields)?;
    let mut info = fields.fields("commit")?;
    let commit = commit_info(&mut info)?;
    info.end()?;
    let hash = fields.optional_hash("content_hash")?;
    fields.end()?;
    let continued = {
        let mut world = call.shared.world();
        let session = find(&mut world, &call.app, &cursor.session_id);
        session.ok().and_then(|session| session.continuation())
    };
    let received = receive(&mut call, hash.as_deref(), continued)?;
    let lookup_failed = |error| Refusal::Route(nested("lookup_failed", error));

    // Assumption: a commit that meets another writer is turned away before its bytes are appended.
    let _writing = begin_write(call.shared)?;
    let mut world = call.shared.world();
    let session = find(&mut world, &call.app, &cursor.session_id).map_err(lookup_failed)?;
    let mut offset = cursor.offset;
    if received.size() > 0 {
        if session.is_concurrent() {
            return Err(Refusal::Route(tag("concurrent_session_data_not_allowed")));
        }
        let size = received.size();
        session
            .append(offset, received, false)
            .map_err(lookup_failed)?;
        offset += size;
    }
    // When the commit fails, the bytes stay in the session, and its offset stays raised.
    let entry = commit_session(&mut world, &call.app, &cursor.session_id, offset, &commit)
        .map_err(Refusal::Route)?;
    Ok(Answer::Json(entry.metadata()))
}

pub(super) fn finish_batch(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    let mut fields = call.fields()?;
    let entries = fields.list("entries", BATCH_ENTRIES_MAX)?;
    fields.end()?;
    let mut wanted = Vec::new();
    for mut entry in entries {
        let cursor = cursor(&mut entry)?;
        let mut info = entry.fields("commit")?;
        let commit = commit_info(&mut info)?;
        info.end()?;
        let hash = entry.optional_hash("content_hash")?;
        entry.end()?;
        wanted.push((cursor, commit, hash));
    }
    take_long(&call, wanted.iter().map(|(cursor, ..)| &cursor.session_id));
    let _writing = begin_write(call.shared)?;
    let mut world = call.shared.world();
    let finished: Vec<Value> = wanted
        .into_iter()
        .map(|(cursor, commit, hash)| {
            // Assumption: a hash covers the bytes of its call, and these calls carry none.
            if hash.is_some_and(|hash| hash != content_hash(b"")) {
                return nested("failure", tag("content_hash_mismatch"));
            }
            let id = &cursor.session_id;
            let result = match find(&mut world, &call.app, id) {
                Err(error) => Err(nested("lookup_failed", error)),
                Ok(session) if !session.is_closed && !session.is_concurrent() => {
                    Err(nested("lookup_failed", tag("not_closed")))
                }
                Ok(_) => commit_session(&mut world, &call.app, id, cursor.offset, &commit),
            };
            match result {
                Ok(entry) => flattened("success", entry.metadata()),
                Err(error) => nested("failure", error),
            }
        })
        .collect();
    Ok(Answer::Json(json!({ "entries": finished })))
}

/// Spends the time that a batch of commits was ordered to take; nobody sees its sessions meanwhile.
fn take_long<'a>(call: &Call<'_, '_>, sessions: impl Iterator<Item = &'a String>) {
    let mut world = call.shared.world();
    let (times, time) = world.slow_commits;
    if times == 0 {
        return;
    }
    world.slow_commits = (times - 1, time);
    let at_work: Vec<(String, Session)> = sessions
        .filter_map(|id| world.sessions.remove_entry(id))
        .collect();
    drop(world);
    // Not a wait for anything: the time that a commit takes is part of what is imitated.
    std::thread::sleep(time);
    call.shared.world().sessions.extend(at_work);
}

/// Commits a session and ends it; an error is an UploadSessionFinishError and leaves it as it is.
/// Assumption: a finished session no longer exists, so that finishing it again is `not_found`.
fn commit_session(
    world: &mut World,
    app: &str,
    id: &str,
    offset: u64,
    commit: &Commit,
) -> Result<Entry, Value> {
    let session = find(world, app, id).map_err(|error| nested("lookup_failed", error))?;
    let content = session.content(offset)?;
    if world.spoilt_sessions.contains(id) {
        return Err(tag("other"));
    }
    let entry = world
        .commit(app, commit, content)
        .map_err(|error| nested("path", error))?;
    world.sessions.remove(id);
    Ok(entry)
}
