//! The routes, each with its style and the permission it needs.

mod account;
mod delete;
mod download;
mod listing;
mod relocation;
mod session;
mod upload;

use super::answer::Refusal;
use super::service::{Route, Shared, Style};
use std::time::Duration;

const METADATA_READ: &str = "files.metadata.read";
const CONTENT_WRITE: &str = "files.content.write";
const CONTENT_READ: &str = "files.content.read";
const ACCOUNT_READ: &str = "account_info.read";

macro_rules! route {
    ($name:literal, $style:ident, $scope:expr, $run:path) => {
        Route {
            name: $name,
            style: Style::$style,
            scope: $scope,
            run: $run,
        }
    };
}

/// Every route that the stand-in knows.
pub(super) const ALL: &[Route] = &[
    route!("auth/token/revoke", Rpc, "", account::revoke),
    route!("check/user", Rpc, ACCOUNT_READ, account::check_user),
    route!(
        "users/get_space_usage",
        Rpc,
        ACCOUNT_READ,
        account::space_usage
    ),
    route!("files/list_folder", Rpc, METADATA_READ, listing::list),
    route!(
        "files/list_folder/continue",
        Rpc,
        METADATA_READ,
        listing::go_on
    ),
    route!(
        "files/get_metadata",
        Rpc,
        METADATA_READ,
        listing::get_metadata
    ),
    route!(
        "files/create_folder_v2",
        Rpc,
        CONTENT_WRITE,
        listing::create_folder
    ),
    route!("files/copy_v2", Rpc, CONTENT_WRITE, relocation::copy),
    route!("files/restore", Rpc, CONTENT_WRITE, relocation::restore),
    route!(
        "files/list_revisions",
        Rpc,
        METADATA_READ,
        listing::revisions
    ),
    route!("files/upload", Upload, CONTENT_WRITE, upload::upload),
    route!(
        "files/upload_session/start",
        Upload,
        CONTENT_WRITE,
        session::start
    ),
    route!(
        "files/upload_session/start_batch",
        Rpc,
        CONTENT_WRITE,
        session::start_batch
    ),
    route!(
        "files/upload_session/append_v2",
        Upload,
        CONTENT_WRITE,
        session::append
    ),
    route!(
        "files/upload_session/finish",
        Upload,
        CONTENT_WRITE,
        session::finish
    ),
    route!(
        "files/upload_session/finish_batch_v2",
        Rpc,
        CONTENT_WRITE,
        session::finish_batch
    ),
    route!("files/delete_v2", Rpc, CONTENT_WRITE, delete::delete),
    route!("files/delete_batch", Rpc, CONTENT_WRITE, delete::batch),
    route!(
        "files/delete_batch/check",
        Rpc,
        CONTENT_WRITE,
        delete::check
    ),
    route!("files/download", Download, CONTENT_READ, download::download),
];

/// Holds the namespace for a commit; dropping it lets the next writer in.
struct Writing<'a>(&'a Shared);

/// Takes the namespace for a commit, as upload, finish, finish_batch, delete and create_folder do; starts
/// and appends of sessions do not. A second writer meanwhile is refused with 429.
fn begin_write(shared: &Shared) -> Result<Writing<'_>, Refusal> {
    {
        let mut world = shared.world();
        if world.is_writing && shared.options.refuses_parallel_commits {
            world.contentions += 1;
            return Err(Refusal::WriteContention);
        }
        world.is_writing = true;
    }
    let writing = Writing(shared);
    if shared.options.commit_time > Duration::ZERO {
        // Not a wait for anything: the time that a commit takes is part of what is imitated.
        std::thread::sleep(shared.options.commit_time);
    }
    Ok(writing)
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.world().is_writing = false;
    }
}
