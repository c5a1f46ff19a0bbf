//! Says what a run is going to do, and what needs attention.

use crate::advice;
use crate::backup_id::BackupId;
use crate::mirror::plan::{KeepReason, Plan, Unfit};
use crate::source::{Kind, Listing};
use crate::text;

/// Names of files quoted in one line.
const NAMES_IN_A_LINE: usize = 5;

/// Says what is going to happen, and what needs attention.
pub fn announce(plan: &Plan, listing: &Listing, kind: Kind) {
    let (source, source_at_start) = (kind.name(), kind.name_at_start());
    for problem in &listing.problems {
        log::warn!(
            "{source_at_start}'s list of backups has an entry that cannot be used: {problem}."
        );
    }
    match plan.unfit {
        Some(Unfit::BadRows) => log::warn!(
            "Because {source}'s list has entries that cannot be used, nothing is deleted in Dropbox in this run; usable backups are uploaded. If this repeats, {}.",
            advice::unusable_entries(kind)
        ),
        Some(Unfit::NothingFinished) => log::warn!(
            "{source_at_start} lists no finished backup, so nothing is deleted in Dropbox. {}.",
            advice::nothing_finished(kind)
        ),
        None => {}
    }
    let finished = listing
        .backups
        .iter()
        .filter(|backup| backup.finished)
        .count();
    log::info!(
        "{source_at_start} has {}: {} to upload, {} to compare, {} unchanged.",
        text::count(finished, "finished backup"),
        plan.uploads.len(),
        plan.verifications.len(),
        plan.unchanged
    );
    if kind == Kind::Folder {
        announce_files(plan, listing);
    }
    let held: Vec<&str> = plan.kept_as(KeepReason::OnHold).collect();
    if !held.is_empty() {
        log::warn!(
            "{} in Dropbox would be deleted because {source} no longer lists their backups, but that is most of what the mirror holds, as after {}. Nothing of it is deleted: {}. If the backups were deleted on purpose, {}; otherwise there is nothing to do.",
            text::count(held.len(), "file"),
            advice::sudden_loss(kind),
            text::list(held.iter().copied(), NAMES_IN_A_LINE),
            advice::confirm_cleanup(kind)
        );
    }
    let unknown: Vec<&str> = plan.kept_as(KeepReason::NeverSeen).collect();
    if !unknown.is_empty() {
        log::info!(
            "Kept {} in Dropbox that this installation never saw in {source} (from another server, or from before): {}.",
            text::count(unknown.len(), "backup"),
            text::list(unknown.iter().copied(), NAMES_IN_A_LINE)
        );
    }
}

/// Says what is special about backups that are files and may change.
fn announce_files(plan: &Plan, listing: &Listing) {
    if !listing.passed_over.is_empty() {
        log::warn!(
            "Dropbox cannot hold some files of the backup folder, so they are not mirrored: {}. Rename them, or move them out of the folder.",
            listing.passed_over.join("; ")
        );
    }
    if !listing.renamed.is_empty() {
        log::info!(
            "Dropbox takes some names of the backup folder for the same, so these files have other names there: {}.",
            listing.renamed.join("; ")
        );
    }
    for upload in &plan.uploads {
        let Some(replaced) = &upload.replaces else {
            continue;
        };
        if let Some((before, after)) = upload.sudden_shrink() {
            log::warn!(
                "\"{}\" has suddenly become much smaller: {} instead of {}. It replaces the copy in Dropbox all the same. Check whether it is a whole backup; if not, Dropbox keeps the larger one among the file's previous versions, as a rule for 30 days.",
                upload.name,
                text::bytes(after),
                text::bytes(before)
            );
        } else if !replaced.is_outdated {
            log::warn!(
                "The copy of \"{}\" in Dropbox is not what this program stored there or knows ({} instead of {}). {}. It is replaced now; there is nothing to do.",
                upload.name,
                text::bytes(replaced.file.metadata.size),
                text::bytes(upload.backup.version.map_or(0, |version| version.bytes)),
                advice::differing_copy(Kind::Folder)
            );
        }
    }
    announce_waiting(plan, listing);
}

/// Names the files of a backup folder that have no finished backup, by their reasons.
fn announce_waiting(plan: &Plan, listing: &Listing) {
    let (mut young, mut empty, mut emptied, mut others) = (vec![], vec![], vec![], vec![]);
    for backup in listing.backups.iter().filter(|backup| !backup.finished) {
        let has_copy = || {
            let mut copies = plan.kept_as(KeepReason::Unfinished);
            copies.any(|name| BackupId::of_path(name).as_ref() == Ok(&backup.id))
        };
        let names = match backup.version {
            Some(version) if version.bytes > 0 => &mut young,
            Some(_) if has_copy() => &mut emptied,
            Some(_) => &mut empty,
            None => &mut others,
        };
        names.push(backup.id.as_str());
    }
    let quoted = |names: &[&str]| text::list(names.iter().copied(), NAMES_IN_A_LINE);
    if !emptied.is_empty() {
        log::warn!(
            "Some files of the backup folder are empty now, but not their copies in Dropbox, which stay: {}. Check the program that makes these backups, and whether its disk is full.",
            quoted(&emptied)
        );
    }
    for (names, reason) in [
        (
            young,
            "changed within the last minute and may still be growing",
        ),
        (empty, "empty"),
        (others, "links or no files"),
    ] {
        if !names.is_empty() {
            log::info!("Not copied, because {reason}: {}.", quoted(&names));
        }
    }
}
