//! The fault matrix: every kind of request meets every fault, once and lasting.
//!
//! What a cell should come to is derived from the nature of the fault and the part of the request
//! (`expectation.rs`), never written by hand for one cell. Each cell runs the real binary against the
//! stand-ins, looks for damage, then runs it undisturbed and looks for the whole mirror.
//!
//! `MATRIX_ONLY=text` runs only the cells whose name contains the text.

mod expectation;
mod faults;
mod hosts;
mod refusals;
mod requests;
mod scene;
mod table;

use expectation::Cell;
use faults::FAULTS;
use requests::Kind;
use table::{Row, Sheet, Stay};

fn faults() -> Sheet {
    let mut sheet = Sheet::new("Fault matrix", Kind::ALL.map(Kind::heading).to_vec());
    for fault in FAULTS {
        let cells = Kind::ALL.map(|kind| faults::cells(fault, kind));
        sheet.add(Row::new(fault.name, cells.to_vec()));
    }
    let leaving = Kind::ALL.map(hosts::leaving);
    sheet.add(Row::new("the host goes away", leaving.to_vec()));
    let broken = Kind::ALL.map(hosts::broken_expiry);
    sheet.add(Row::new("401 expired, truncated", broken.to_vec()));
    sheet
}

fn refusals() -> Sheet {
    let mut sheet = Sheet::new("Refusals that Dropbox documents", vec!["outcome".into()]);
    for refusal in refusals::all() {
        let name = format!("{}: {}", refusal.kind.name(), refusal.name);
        sheet.add(Row::new(&name, vec![refusals::cells(&refusal)]));
    }
    sheet
}

fn whole_hosts() -> Sheet {
    let hosts = hosts::Host::ALL;
    let mut sheet = Sheet::new("Whole hosts", hosts.map(hosts::Host::heading).to_vec());
    for trouble in hosts::Trouble::ALL {
        let cells = hosts.map(|host| hosts::cells(trouble, host));
        sheet.add(Row::new(trouble.name(), cells.to_vec()));
    }
    sheet
}

#[test]
fn every_request_meets_every_fault() {
    faults().fill(Stay::Once);
}

#[test]
#[ignore = "long; part of ./build.sh release-test"]
fn every_request_meets_every_fault_that_lasts() {
    faults().fill(Stay::Lasting);
}

#[test]
fn every_refusal_that_dropbox_knows() {
    refusals().fill(Stay::Once);
}

#[test]
#[ignore = "long; part of ./build.sh release-test"]
fn every_refusal_that_dropbox_knows_and_that_lasts() {
    refusals().fill(Stay::Lasting);
}

#[test]
fn hosts_that_are_not_there_or_not_themselves() {
    whole_hosts().fill(Stay::Once);
}

#[test]
#[ignore = "long; part of ./build.sh release-test"]
fn hosts_that_never_come_back_or_to_themselves() {
    whole_hosts().fill(Stay::Lasting);
}

// What is encrypted goes the same ways. A sample shows it in every run of the tests, the rest in the long ones.

#[test]
fn a_sample_of_it_all_where_everything_is_encrypted() {
    faults().sealed().one_in(6).fill(Stay::Once);
    refusals().sealed().one_in(6).fill(Stay::Once);
}

#[test]
#[ignore = "long; part of ./build.sh release-test"]
fn all_of_it_where_everything_is_encrypted() {
    faults().sealed().fill(Stay::Once);
    refusals().sealed().fill(Stay::Once);
    whole_hosts().sealed().fill(Stay::Once);
}

#[test]
#[ignore = "long; part of ./build.sh release-test"]
fn all_of_it_that_lasts_where_everything_is_encrypted() {
    faults().sealed().fill(Stay::Lasting);
    // Where Dropbox goes on saying of a file that is there that it is not, another one is made, with another key.
    let refusals = refusals().sealed().without(Kind::Metadata);
    refusals.fill(Stay::Lasting);
    whole_hosts().sealed().fill(Stay::Lasting);
}

/// Cells of one place in a table.
type Place = Result<Vec<Cell>, &'static str>;
