//! `files/list_folder` with its continuation, `files/get_metadata`, `files/list_revisions`, `files/create_folder_v2`.

use super::super::answer::{Answer, Refusal, nested, tag};
use super::super::arguments::{Fields, Pattern};
use super::super::folder::key;
use super::super::service::Call;
use super::super::world::{Cursor, World};
use super::begin_write;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

pub(super) fn list(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    let mut fields = call.fields()?;
    let path = fields.path("path", Pattern::List)?;
    let recursive = fields.bool_or("recursive", false)?;
    let include_deleted = fields.bool_or("include_deleted", false)?;
    let limit = fields.optional_within("limit", 1..=2000)?;
    fields.ignore_bools(&[
        "include_media_info",
        "include_mounted_folders",
        "include_non_downloadable_files",
        "include_has_explicit_shared_members",
        "include_restorable_info",
    ])?;
    fields.end()?;

    let mut world = call.shared.world();
    let folder = world.folder(&call.app);
    let root = if path.is_empty() {
        String::new()
    } else {
        let entry = folder
            .lookup(&path)
            .map_err(|error| Refusal::Route(nested("path", error)))?;
        if entry.file.is_some() {
            return Err(Refusal::Route(nested("path", tag("not_folder"))));
        }
        key(&entry.path)
    };
    let mut entries: Vec<Value> = folder
        .below(&root, recursive)
        .map(|(_, entry)| entry.tagged_metadata())
        .collect();
    if include_deleted {
        entries.extend(folder.deleted(&root, recursive));
    }
    // The order of entries is not promised; a stable disorder keeps clients from relying on one.
    entries.sort_by_key(|entry| {
        let path = entry["path_lower"].as_str().unwrap_or_default();
        <[u8; 32]>::from(Sha256::digest(path.as_bytes()))
    });
    let since = folder.journal_end();
    let page_size = limit
        .map_or(usize::MAX, |limit| limit as usize)
        .min(call.shared.options.page_size)
        .max(1);
    let first = Cursor {
        app: call.app,
        folder: root,
        recursive,
        page_size,
        entries: Arc::new(entries),
        at: 0,
        since,
        is_reset: false,
    };
    Ok(Answer::Json(page(&mut world, first)))
}

pub(super) fn go_on(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    let mut fields = call.fields()?;
    let text = fields.string("cursor")?;
    let mut world = call.shared.world();
    let cursor = match world.cursors.get(&text) {
        Some(cursor) if cursor.app == call.app => cursor.clone(),
        _ => return Err(fields.bad("cursor", "Invalid \"cursor\" parameter").into()),
    };
    fields.end()?;
    if cursor.is_reset {
        return Err(Refusal::Route(tag("reset")));
    }
    let folder = world.folder(&cursor.app);
    if !cursor.folder.is_empty() && folder.lookup(&cursor.folder).is_err() {
        return Err(Refusal::Route(nested("path", tag("not_found"))));
    }
    let next = if cursor.at < cursor.entries.len() {
        cursor
    } else {
        let entries = folder.changes(cursor.since, &cursor.folder, cursor.recursive);
        Cursor {
            entries: Arc::new(entries),
            at: 0,
            since: folder.journal_end(),
            ..cursor
        }
    };
    Ok(Answer::Json(page(&mut world, next)))
}

/// One page from a position, with the cursor for the next.
fn page(world: &mut World, from: Cursor) -> Value {
    let end = from
        .at
        .saturating_add(from.page_size)
        .min(from.entries.len());
    let entries = from.entries[from.at..end].to_vec();
    // What changes while a listing is read is told at its end.
    let folder = world.folder(&from.app);
    let has_more = end < from.entries.len()
        || !folder
            .changes(from.since, &from.folder, from.recursive)
            .is_empty();
    let text = format!("cursor-{:06}", world.next_serial());
    world
        .cursors
        .insert(text.clone(), Cursor { at: end, ..from });
    json!({ "entries": entries, "cursor": text, "has_more": has_more })
}

pub(super) fn get_metadata(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    let mut fields = call.fields()?;
    let path = fields.path("path", Pattern::Read)?;
    let include_deleted = fields.bool_or("include_deleted", false)?;
    ignore_metadata_options(&mut fields)?;
    fields.end()?;
    let mut world = call.shared.world();
    let folder = world.folder(&call.app);
    match folder.lookup(&path) {
        Ok(entry) => Ok(Answer::Json(entry.tagged_metadata())),
        Err(error) => match folder.deleted_at(&path).filter(|_| include_deleted) {
            Some(deleted) => Ok(Answer::Json(deleted)),
            None => Err(Refusal::Route(nested("path", error))),
        },
    }
}

pub(super) fn revisions(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    const LIMIT: u64 = 10;
    let mut fields = call.fields()?;
    let path = fields.path("path", Pattern::Write)?;
    let mode = fields.union("mode", &["path", "id", "other"], &[])?;
    if mode.is_some_and(|(tag, _)| tag != "path") {
        let complaint = "this stand-in knows the mode 'path' only";
        return Err(fields.bad("mode", complaint).into());
    }
    let limit = fields.optional_within("limit", 1..=100)?.unwrap_or(LIMIT) as usize;
    fields.end()?;
    let mut world = call.shared.world();
    let folder = world.folder(&call.app);
    let revisions = folder.revisions(&path).map_err(Refusal::Route)?;
    let entries = revisions.iter().take(limit);
    // The type is fixed here, so that no tag says it.
    let entries: Vec<Value> = entries.map(|entry| entry.metadata()).collect();
    let is_deleted = folder.lookup(&path).is_err();
    Ok(Answer::Json(json!({
        "is_deleted": is_deleted,
        "entries": entries,
        "has_more": revisions.len() > limit,
    })))
}

fn ignore_metadata_options(fields: &mut Fields) -> Result<(), Refusal> {
    let names = ["include_media_info", "include_has_explicit_shared_members"];
    Ok(fields.ignore_bools(&names)?)
}

pub(super) fn create_folder(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    let mut fields = call.fields()?;
    let path = fields.path("path", Pattern::Create)?;
    let autorename = fields.bool_or("autorename", false)?;
    fields.end()?;
    let _writing = begin_write(call.shared)?;
    let mut world = call.shared.world();
    match world.folder(&call.app).create_folder(&path, autorename) {
        Ok(entry) => Ok(Answer::Json(json!({ "metadata": entry.metadata() }))),
        Err(error) => Err(Refusal::Route(nested("path", error))),
    }
}
