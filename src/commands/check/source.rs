//! The place where the backups come from.

use super::super::{Call, Failure};
use super::report::{Report, explained};
use crate::advice;
use crate::clock::Stop;
use crate::open;
use crate::plugin::config::Settings;
use crate::source::{self, Kind, Source};
use crate::text;

pub(super) fn check(
    call: &Call,
    settings: &Settings,
    stop: &Stop,
    report: &mut Report,
) -> Result<(), Failure> {
    let source = match open::source(&call.folder, settings, stop) {
        Ok(source) => source,
        Err(errors) => {
            for error in &errors {
                let link = match error {
                    open::Error::NoUispToken => "UISP token",
                    open::Error::NoUispAddress(_) => "UISP address",
                    _ => "source",
                };
                report.problem(link, &error.to_string())?;
            }
            return report.skip_all(&["list of backups"], "the problem above comes first");
        }
    };
    let body = || match source.kind() {
        Kind::Folder => check_folder_source(source.as_ref(), report),
        Kind::Uisp => check_uisp(source.as_ref(), report),
    };
    stop.watch(|| source.shutdown(), body)
}

fn check_uisp(uisp: &dyn Source, report: &mut Report) -> Result<(), Failure> {
    const REST: &[&str] = &["UISP token", "list of backups", "timezone"];
    match uisp.list() {
        Ok(listing) => {
            report.ok("UISP", "answers at the address in ucrm.json")?;
            report.ok("UISP token", "accepted")?;
            check_list(&listing, report)?;
        }
        Err(source::Error::Stopped(_)) => {
            report.problem("UISP", "UISP gave no complete answer in time. Check that UISP is running and not overloaded.")?;
            return report.skip_all(REST, "UISP does not answer");
        }
        Err(error @ source::Error::Network { .. }) => {
            report.problem("UISP", &explained(&error, &advice::source(&error)))?;
            return report.skip_all(REST, "UISP does not answer");
        }
        Err(error @ source::Error::Unauthorized { .. }) => {
            report.ok("UISP", "answers at the address in ucrm.json")?;
            report.problem("UISP token", &explained(&error, &advice::source(&error)))?;
            return report.skip_all(&REST[1..], "the token is not accepted");
        }
        Err(error) => {
            report.ok("UISP", "answers at the address in ucrm.json")?;
            report.skip_all(&REST[..1], "it was not asked for")?;
            report.problem(
                "list of backups",
                &explained(&error, &advice::listing(&error)),
            )?;
        }
    }
    match uisp.timezone() {
        Ok(zone) => report.ok("timezone", zone.name()),
        Err(cause) => report.problem("timezone", &format!("UISP's timezone is not known, so times are in UTC. Set the timezone in UISP's settings. Cause: {cause}.")),
    }
}

fn check_folder_source(folder: &dyn Source, report: &mut Report) -> Result<(), Failure> {
    match folder.list() {
        Ok(listing) => check_list(&listing, report)?,
        Err(error) => report.problem(
            "list of backups",
            &explained(&error, &advice::listing(&error)),
        )?,
    }
    match folder.timezone() {
        Ok(zone) => report.ok("timezone", zone.name()),
        Err(cause) => report.skip_all(&["timezone"], &cause),
    }
}

fn check_list(listing: &source::Listing, report: &mut Report) -> Result<(), Failure> {
    const LINK: &str = "list of backups";
    for problem in &listing.problems {
        report.problem(LINK, &format!("A row cannot be used: {problem}. Nothing is deleted while it is there; usable backups are uploaded all the same. If this does not pass, report it with this line."))?;
    }
    let finished = listing
        .backups
        .iter()
        .filter(|backup| backup.finished)
        .count();
    if finished == 0 {
        return report.problem(LINK, "There is no finished backup in it. Check in UISP under Settings, Backups, that backups are made.");
    }
    let backups = text::count(listing.backups.len(), "backup");
    report.ok(LINK, &format!("{backups}, {finished} of them finished"))
}
