//! Faults on the way: what the design's table of faults promises, row by row.

mod authorization;
mod deletions;
mod downloads;
mod interrupted;
mod listings;
mod passing;
mod patience;
mod space;
mod uploads;

use sandbox::dropbox::{DropboxOptions, StoredFile};
use sandbox::uisp::Backup;

use crate::support::World;

const MIB: u64 = 1024 * 1024;

const TOKEN: &str = "oauth2/token";
const LIST: &str = "files/list_folder";
const CONTINUE: &str = "files/list_folder/continue";
const START: &str = "files/upload_session/start";
const APPEND: &str = "files/upload_session/append_v2";
const FINISH: &str = "files/upload_session/finish_batch_v2";
const METADATA: &str = "files/get_metadata";
const DELETE: &str = "files/delete_batch";
const CHECK: &str = "files/delete_batch/check";

/// Two whole blocks and a rest: a concurrent session with two appends, and a third that closes.
const LARGE: u64 = 8 * MIB + 1;

/// A world of four mirrored backups of which one was deleted since and three were made: numbers 5
/// and 7 are small, 6 is large.
fn changed_world() -> World {
    let world = World::authorized_with(DropboxOptions {
        page_size: 2,
        ..DropboxOptions::default()
    });
    world.add_backups(1, 4, 1000);
    world.run_well();
    world.remove_backup(1);
    world.add_backups(5, 5, 20_000);
    world.add_backups(6, 6, LARGE);
    world.add_backups(7, 7, 20_000);
    world.dropbox.traffic().clear_log();
    world.uisp.traffic().clear_log();
    world
}

fn download_route(number: u32) -> String {
    format!("nms/backups/{}", Backup::numbered(number, 0).id)
}

fn name_of(number: u32) -> String {
    format!("_{}.unms", Backup::numbered(number, 0).id)
}

fn file_of(world: &World, number: u32) -> Option<StoredFile> {
    let name = name_of(number);
    let mut files = world.dropbox.files().into_iter();
    files.find(|file| file.path.ends_with(&name))
}

/// Takes all faults away; then one run brings the mirror up to date.
fn assert_recovers(world: &World) {
    world.dropbox.traffic().clear_faults();
    world.uisp.traffic().clear_faults();
    world.run_well();
    world.assert_mirrored();
}
