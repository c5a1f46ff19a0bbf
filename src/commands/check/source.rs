//! The place where the backups come from.

use super::super::{Call, Failure};
use super::report::Report;
use crate::clock::Stop;
use crate::findings::{advice, table};
use crate::open;
use crate::plugin::config::Settings;
use crate::source::{self, Kind, Source};
use crate::text;
use crate::zone::Zone;

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
                let link = match &*error.code {
                    "no_uisp_token" => "UISP token",
                    "no_uisp_address" => "UISP address",
                    _ => "source",
                };
                report.problem(link, error)?;
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
            check_list(Kind::Uisp, &listing, report)?;
        }
        Err(source::Error::Stopped(_)) => {
            report.problem("UISP", &table::no_answer_in_time())?;
            return report.skip_all(REST, "UISP does not answer");
        }
        Err(error @ source::Error::Network { .. }) => {
            report.problem("UISP", &table::broken(&error).advised(&error))?;
            return report.skip_all(REST, "UISP does not answer");
        }
        Err(error @ source::Error::Unauthorized { .. }) => {
            report.ok("UISP", "answers at the address in ucrm.json")?;
            report.problem("UISP token", &table::broken(&error).advised(&error))?;
            return report.skip_all(&REST[1..], "the token is not accepted");
        }
        Err(error) => {
            report.ok("UISP", "answers at the address in ucrm.json")?;
            report.skip_all(&REST[..1], "it was not asked for")?;
            let finding = table::broken(&error).advised(advice::listing(&error));
            report.problem("list of backups", &finding)?;
        }
    }
    match uisp.timezone() {
        Ok(zone) => report.ok("timezone", zone.name()),
        Err(cause) => report.problem(
            "timezone",
            &table::no_timezone(Zone::UTC.name()).because(&cause),
        ),
    }
}

fn check_folder_source(folder: &dyn Source, report: &mut Report) -> Result<(), Failure> {
    match folder.list() {
        Ok(listing) => check_list(Kind::Folder, &listing, report)?,
        Err(error) => {
            let finding = table::broken(&error).advised(advice::listing(&error));
            report.problem("list of backups", &finding)?;
        }
    }
    match folder.timezone() {
        Ok(zone) => report.ok("timezone", zone.name()),
        Err(cause) => report.skip_all(&["timezone"], &cause),
    }
}

fn check_list(kind: Kind, listing: &source::Listing, report: &mut Report) -> Result<(), Failure> {
    const LINK: &str = "list of backups";
    for problem in &listing.problems {
        report.problem(
            LINK,
            &table::unusable_row(problem, advice::unusable_entries(kind)),
        )?;
    }
    let finished = listing.backups.iter().filter(|backup| backup.finished);
    let finished = finished.count();
    if finished == 0 {
        let finding = table::no_finished_backup().advised(advice::nothing_finished(kind));
        return report.problem(LINK, &finding);
    }
    let backups = text::count(listing.backups.len(), "backup");
    report.ok(LINK, &format!("{backups}, {finished} of them finished"))
}
