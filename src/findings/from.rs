//! Findings that are made of the errors of the floors below.

use std::path::Path;

use super::{Finding, advice, table};
use crate::dropbox::{InvalidHost, oauth};
use crate::plugin::{Strange, config};
use crate::state::Fault;

/// What is wrong with the configuration, each thing by itself.
pub fn configuration(error: &config::Error) -> Vec<Finding> {
    match error {
        config::Error::Unreadable { file, cause } => {
            vec![table::configuration_unreadable(file).because(cause)]
        }
        config::Error::Damaged { file, cause } => {
            vec![table::configuration_damaged(file, cause)]
        }
        config::Error::Invalid(problems) => problems.iter().map(field).collect(),
        config::Error::Unwritable { file, cause } => {
            vec![table::configuration_unwritable(file).because(cause)]
        }
    }
}

/// A field that cannot be used.
pub fn field(problem: &config::Problem) -> Finding {
    let (expected, found) = (&problem.expected, &problem.found);
    match &problem.variable {
        Some(variable) => table::environment_value(variable, expected, found),
        None => table::configuration_field(&problem.key, expected, found),
    }
}

/// A memory that cannot be read.
pub fn memory(file: &Path, fault: &Fault) -> Finding {
    match fault {
        Fault::Unreadable(error) => table::memory_unreadable(file.display()).because(error),
        Fault::Damaged(cause) => table::memory_damaged().because(cause),
    }
}

/// Something that stands where a file of the plugin should be.
pub fn strange(strange: &Strange) -> Finding {
    table::not_ours(strange.path.display(), &strange.what)
}

/// An address in the environment that cannot be used.
pub fn host(error: &InvalidHost) -> Finding {
    table::environment_address(error.variable).because(&error.cause)
}

/// A stored authorization that gave no access.
pub fn renewal(error: &oauth::Error) -> Finding {
    let finding = match error {
        oauth::Error::InvalidGrant(_) => table::authorization_revoked(),
        oauth::Error::InvalidClient(_) => table::app_unknown(),
        oauth::Error::Refused(_) | oauth::Error::AppDisabled(_) => table::renewal_refused(),
        oauth::Error::Busy { .. } | oauth::Error::Unavailable(_) | oauth::Error::Stopped(_) => {
            table::renewal_failed()
        }
    };
    finding.explained(error, advice::authorization(error))
}
