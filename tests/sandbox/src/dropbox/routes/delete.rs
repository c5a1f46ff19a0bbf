//! `files/delete_v2`, `files/delete_batch` and its `check`.

use super::super::DeleteBatch;
use super::super::answer::{Answer, Refusal, flattened, nested, tag};
use super::super::arguments::{Fields, Pattern};
use super::super::service::Call;
use super::super::world::Job;
use super::begin_write;
use serde_json::{Value, json};

struct Delete {
    path: String,
    parent_rev: Option<String>,
}

fn delete_argument(mut fields: Fields) -> Result<Delete, Refusal> {
    let path = fields.path("path", Pattern::Write)?;
    let parent_rev = fields.optional_string("parent_rev")?;
    fields.end()?;
    Ok(Delete { path, parent_rev })
}

pub(super) fn delete(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    let wanted = delete_argument(call.fields()?)?;
    let _writing = begin_write(call.shared)?;
    let mut world = call.shared.world();
    let folder = world.folder(&call.app);
    match folder.delete(&wanted.path, wanted.parent_rev.as_deref()) {
        Ok(entry) => Ok(Answer::Json(json!({ "metadata": entry.tagged_metadata() }))),
        Err(error) => Err(Refusal::Route(error)),
    }
}

pub(super) fn batch(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    let mut fields = call.fields()?;
    let wanted = fields
        .list("entries", 1000)?
        .into_iter()
        .map(delete_argument)
        .collect::<Result<Vec<_>, _>>()?;
    fields.end()?;
    let _writing = begin_write(call.shared)?;
    let mut world = call.shared.world();
    let outcome = if world.failing_delete_jobs > 0 {
        world.failing_delete_jobs -= 1;
        nested("failed", tag("too_many_write_operations"))
    } else {
        let folder = world.folder(&call.app);
        let entries: Vec<Value> = wanted
            .iter()
            .map(
                |wanted| match folder.delete(&wanted.path, wanted.parent_rev.as_deref()) {
                    Ok(entry) => {
                        flattened("success", json!({ "metadata": entry.tagged_metadata() }))
                    }
                    Err(error) => nested("failure", error),
                },
            )
            .collect();
        flattened("complete", json!({ "entries": entries }))
    };
    match call.shared.options.delete_batch {
        // A launch cannot tell of failure, only a job can.
        DeleteBatch::Synchronous if outcome[".tag"] == "complete" => Ok(Answer::Json(outcome)),
        how => {
            let polls_left = match how {
                DeleteBatch::Synchronous => 0,
                DeleteBatch::Asynchronous { polls } => polls,
            };
            let id = format!("job-{:06}", world.next_serial());
            let job = Job {
                polls_left,
                outcome,
            };
            world.jobs.insert(id.clone(), job);
            Ok(Answer::Json(nested("async_job_id", json!(id))))
        }
    }
}

pub(super) fn check(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    let mut fields = call.fields()?;
    let id = fields.string("async_job_id")?;
    fields.end()?;
    let mut world = call.shared.world();
    let Some(job) = world.jobs.get_mut(&id) else {
        return Err(Refusal::Route(tag("invalid_async_job_id")));
    };
    if job.polls_left > 0 {
        job.polls_left -= 1;
        return Ok(Answer::Json(tag("in_progress")));
    }
    Ok(Answer::Json(job.outcome.clone()))
}
