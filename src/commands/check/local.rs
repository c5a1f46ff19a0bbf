//! The plugin's own files: folder, memory, configuration.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::{Call, Failure};
use super::report::Report;
use crate::plugin::atomic::Replacement;
use crate::plugin::config::{self, Settings};
use crate::state::{Fault, Memory};
use crate::text;

pub(super) fn check_folder(call: &Call, report: &mut Report) -> Result<(), Failure> {
    const LINK: &str = "plugin folder";
    let data = call.folder.data();
    let shown = data.display().to_string();
    let owner = match fs::metadata(&data) {
        Ok(metadata) if metadata.is_dir() => metadata.uid(),
        Ok(_) => {
            return report.problem(
                LINK,
                &format!("{shown} is no folder. Remove it; the plugin makes it anew."),
            );
        }
        Err(error) => {
            return report.problem(LINK, &format!("{shown} cannot be found. Name the plugin's folder, which has data/ in it, with --root; or execute the plugin once, which makes it. Cause: {error}."));
        }
    };
    if let Err(error) = Replacement::prepare(&call.folder.state(), b"") {
        return report.problem(LINK, &format!("Nothing can be written into {shown}. Free disk space or correct its permissions; it belongs to user {owner}. Cause: {error}."));
    }
    let strange = [
        call.folder.config(),
        call.folder.state(),
        call.folder.log(),
        call.folder.lock(),
    ]
    .into_iter()
    .find(|file| is_out_of_reach(file, owner));
    match strange {
        Some(file) => {
            let file = file.display();
            report.problem(LINK, &format!("{file} does not belong to the owner of {shown}, user {owner}, who may be unable to use it. Give it to that user: chown {owner} {file}"))
        }
        None => report.ok(
            LINK,
            &format!("{shown} can be written and belongs to user {owner}"),
        ),
    }
}

/// Whether a file belongs to somebody else than its folder does, and is not open to everybody either.
fn is_out_of_reach(file: &Path, owner: u32) -> bool {
    const OTHERS_READ_AND_WRITE: u32 = 0o006;
    fs::metadata(file).is_ok_and(|file| {
        file.uid() != owner && file.mode() & OTHERS_READ_AND_WRITE != OTHERS_READ_AND_WRITE
    })
}

pub(super) fn check_memory(call: &Call, report: &mut Report) -> Result<(), Failure> {
    const LINK: &str = "plugin memory";
    match Memory::read(&call.folder.state()) {
        Ok(memory) => {
            let memory = memory.unwrap_or_default();
            let runs = text::count(memory.runs.len(), "run");
            let files = text::count(memory.mirrored.len(), "verified file");
            report.ok(LINK, &format!("data/state.json remembers {runs} and {files}"))
        }
        Err(Fault::Damaged(cause)) => report.problem(LINK, &format!("The plugin's memory data/state.json is damaged: {cause}. Execute the plugin: it sets the file aside and builds it anew; no backup is lost.")),
        Err(Fault::Unreadable(error)) => report.problem(LINK, &format!("The plugin's memory data/state.json cannot be read. Correct its permissions, or run this command as its owner. Cause: {error}.")),
    }
}

/// The settings as far as they can be used.
pub(super) fn check_configuration(call: &Call, report: &mut Report) -> Result<Settings, Failure> {
    const LINK: &str = "configuration";
    match config::inspect(&call.folder.config()) {
        Ok((settings, problems)) => {
            for problem in &problems {
                report.problem(LINK, problem)?;
            }
            if problems.is_empty() {
                report.ok(LINK, "every field of data/config.json can be used")?;
            }
            Ok(settings)
        }
        Err(error) => {
            report.problem(LINK, &error.to_string())?;
            Ok(Settings::default())
        }
    }
}
