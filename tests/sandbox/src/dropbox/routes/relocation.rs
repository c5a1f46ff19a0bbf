//! `files/copy_v2` and `files/restore`.

use super::super::answer::{Answer, Refusal};
use super::super::arguments::Pattern;
use super::super::service::Call;
use super::begin_write;
use serde_json::json;

pub(super) fn copy(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    let mut fields = call.fields()?;
    let from = fields.path("from_path", Pattern::Write)?;
    let to = fields.path("to_path", Pattern::Write)?;
    let autorename = fields.bool_or("autorename", false)?;
    fields.ignore_bools(&["allow_shared_folder", "allow_ownership_transfer"])?;
    fields.end()?;
    let _writing = begin_write(call.shared)?;
    let mut world = call.shared.world();
    let circumstances = world.circumstances();
    let folder = world.folder(&call.app);
    match folder.copy(&from, &to, autorename, &circumstances) {
        Ok(entry) => Ok(Answer::Json(json!({ "metadata": entry.tagged_metadata() }))),
        Err(error) => Err(Refusal::Route(error)),
    }
}

pub(super) fn restore(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    let mut fields = call.fields()?;
    let path = fields.path("path", Pattern::Write)?;
    let rev = fields.string("rev")?;
    if rev.len() < 9 || !rev.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let complaint = format!("'{rev}' did not match pattern '[0-9a-f]+'");
        return Err(fields.bad("rev", complaint).into());
    }
    fields.end()?;
    let _writing = begin_write(call.shared)?;
    let mut world = call.shared.world();
    let circumstances = world.circumstances();
    match world.folder(&call.app).restore(&path, &rev, &circumstances) {
        Ok(entry) => Ok(Answer::Json(entry.metadata())),
        Err(error) => Err(Refusal::Route(error)),
    }
}
