//! The plugin's own files: folder, memory, configuration.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::{Call, Failure};
use super::report::Report;
use crate::age;
use crate::findings::{advice, from, table};
use crate::plugin::atomic::Replacement;
use crate::plugin::config::{self, Settings};
use crate::state::Memory;
use crate::text;

pub(super) fn check_folder(call: &Call, report: &mut Report) -> Result<(), Failure> {
    const LINK: &str = "plugin folder";
    let data = call.folder.data();
    let shown = data.display().to_string();
    let owner = match fs::metadata(&data) {
        Ok(metadata) if metadata.is_dir() => metadata.uid(),
        Ok(_) => {
            return report.problem(LINK, &table::no_folder(&shown));
        }
        Err(error) => {
            return report.problem(LINK, &table::folder_missing(&shown).because(&error));
        }
    };
    if let Err(strange) = call.folder.look() {
        return report.problem(LINK, &from::strange(&strange));
    }
    if let Err(error) = Replacement::prepare(&call.folder.state(), b"") {
        let finding = table::folder_unwritable(&shown, owner);
        return report.problem(LINK, &finding.because(&error));
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
        Some(file) => report.problem(LINK, &table::foreign_owner(file.display(), &shown, owner)),
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
            let runs = text::count(call.record().runs.len(), "run");
            let files = text::count(memory.mirrored.len(), "verified file");
            report.ok(LINK, &format!("data/ remembers {runs} and {files}"))
        }
        Err(fault) => report.problem(LINK, &from::memory(&call.folder.state(), &fault)),
    }
}

/// Whether something can be sealed to the recipients, if there are any.
pub(super) fn check_sealing(
    call: &Call,
    settings: &Settings,
    report: &mut Report,
) -> Result<(), Failure> {
    const LINK: &str = "encryption";
    let Some(recipients) = &settings.encrypt_to else {
        return Ok(());
    };
    if let Err(error) = age::sealed_text("probe", recipients) {
        let finding = table::broken(error).advised(advice::Advice {
            meaning: String::new(),
            remedy: advice::recipients(),
        });
        return report.problem(LINK, &finding);
    }
    let memory = Memory::read(&call.folder.state()).ok().flatten();
    let is_proved = memory.is_some_and(|memory| memory.is_proved(&recipients.fingerprint()));
    let keys = text::count(recipients.count(), "key");
    let proved = match is_proved {
        true => "it was shown that the copies can be opened",
        false => "nobody has shown yet that the copies can be opened; the log of a run says how",
    };
    report.ok(LINK, &format!("works, to {keys}; {proved}"))
}

/// The settings as far as they can be used.
pub(super) fn check_configuration(call: &Call, report: &mut Report) -> Result<Settings, Failure> {
    const LINK: &str = "configuration";
    match config::inspect(&call.folder.config()) {
        Ok((settings, problems)) => {
            for problem in &problems {
                report.problem(LINK, &from::field(problem))?;
            }
            if problems.is_empty() {
                report.ok(LINK, "every field of data/config.json can be used")?;
            }
            Ok(settings)
        }
        Err(error) => {
            for finding in from::configuration(&error) {
                report.problem(LINK, &finding)?;
            }
            Ok(Settings::default())
        }
    }
}
