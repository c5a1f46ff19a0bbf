//! Opens both ends of a run from the configuration: the source, and the way to Dropbox.

use std::path::Path;
use std::sync::Arc;

use crate::clock::Stop;
use crate::dropbox::Hosts;
use crate::findings::{Finding, from, table};
use crate::http::pace::Pace;
use crate::http::{self, Client, Peer, Trust};
use crate::plugin::config::Settings;
use crate::plugin::{PluginFolder, ucrm};
use crate::source::Source;
use crate::source::directory::Directory;
use crate::source::uisp::Uisp;

/// The source that the configuration names.
///
/// # Errors
/// Everything that is missing, so that nothing waits for the next run.
pub fn source(
    folder: &PluginFolder,
    settings: &Settings,
    stop: &Stop,
) -> Result<Arc<dyn Source>, Vec<Finding>> {
    if let Some(directory) = &settings.backup_directory {
        table::folder_is_source(directory.display()).log();
        if holds(directory, &folder.data()) {
            return Err(vec![table::own_folder(directory.display())]);
        }
        return Ok(Arc::new(Directory::new(
            directory.clone(),
            &settings.exclude,
        )));
    }
    let base = ucrm::uisp_api_url(&folder.ucrm());
    let base = base.map_err(|error| table::no_uisp_address().because(&error));
    match (settings.uisp_token.clone(), base) {
        (Some(token), Ok(base)) => match Uisp::new(base, token, stop.clone()) {
            Ok(uisp) => Ok(Arc::new(uisp)),
            Err(error) => Err(vec![no_client(&error)]),
        },
        (token, base) => {
            let no_token = token.is_none().then(table::no_uisp_token);
            Err(no_token.into_iter().chain(base.err()).collect())
        }
    }
}

fn no_client(error: &http::Error) -> Finding {
    table::no_http_client().because(error)
}

/// Whether one folder is or contains the other, whatever links lead to them.
fn holds(folder: &Path, other: &Path) -> bool {
    match (folder.canonicalize(), other.canonicalize()) {
        (Ok(folder), Ok(other)) => other.starts_with(folder),
        _ => false,
    }
}

/// The client for Dropbox's servers, with the configured upload limit, and their addresses.
///
/// # Errors
/// Everything that is wrong in the environment.
pub fn dropbox(settings: &Settings, stop: &Stop) -> Result<(Client, Hosts), Vec<Finding>> {
    let pace = settings
        .upload_bytes_per_second
        .map(|rate| Pace::new(f64::from(rate), stop.clone()));
    match (
        Client::within(stop.time_left(), Trust::Roots, Peer::Internet),
        Hosts::from_environment(),
    ) {
        (Ok(http), Ok(hosts)) => Ok((http.with_upload_pace(pace), hosts)),
        (http, hosts) => {
            let no_client = http.err().map(|error| no_client(&error));
            let no_host = hosts.err().map(|error| from::host(&error));
            Err(no_client.into_iter().chain(no_host).collect())
        }
    }
}
