//! Opens both ends of a run from the configuration: the source, and the way to Dropbox.

use std::path::Path;

use crate::advice::FIELD_UISP_TOKEN;
use crate::clock::Stop;
use crate::dropbox::{Hosts, InvalidHost};
use crate::http::pace::Pace;
use crate::http::{self, Client, Peer, Trust};
use crate::plugin::config::Settings;
use crate::plugin::{PluginFolder, ucrm};
use crate::source::Source;
use crate::source::directory::Directory;
use crate::source::uisp::Uisp;

/// Why an end could not be opened; a whole message for the admin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration has no token for UISP.
    #[error(
        "The field \"{FIELD_UISP_TOKEN}\" of the plugin's configuration is empty. Make a token in UISP under Network, Settings, Users, API tokens (read only is enough), put it there and save."
    )]
    NoUispToken,
    /// The host has not written its addresses.
    #[error(
        "The address of UISP is not known, so no backup can be read. Save UISP's system settings once or reinstall the plugin to have the file written anew. Cause: {0}."
    )]
    NoUispAddress(#[from] ucrm::Error),
    /// The backup folder holds the program's own files, and with them the authorization.
    #[error(
        "The folder {0}, which data/config.json names as \"backupDirectory\", contains this program's own folder, whose files must not be mirrored. Name another one, or move this program's folder out of it."
    )]
    OwnFolder(String),
    /// Certificates or proxy settings cannot be used.
    #[error(
        "The HTTP client could not be set up. Correct the environment variable it names, or remove it. Cause: {0}."
    )]
    NoClient(#[from] http::Error),
    /// An environment variable that replaces one of Dropbox's addresses cannot be used.
    #[error(transparent)]
    NoHost(#[from] InvalidHost),
}

/// The source that the configuration names.
///
/// # Errors
/// Everything that is missing, so that nothing waits for the next run.
pub fn source(
    folder: &PluginFolder,
    settings: &Settings,
    stop: &Stop,
) -> Result<Box<dyn Source>, Vec<Error>> {
    if let Some(directory) = &settings.backup_directory {
        log::info!(
            "The folder {} is mirrored instead of UISP's backups, because data/config.json names it as \"backupDirectory\".",
            directory.display()
        );
        if holds(directory, &folder.data()) {
            return Err(vec![Error::OwnFolder(directory.display().to_string())]);
        }
        return Ok(Box::new(Directory::new(directory.clone())));
    }
    let base = ucrm::uisp_api_url(&folder.ucrm()).map_err(Error::from);
    match (settings.uisp_token.clone(), base) {
        (Some(token), Ok(base)) => match Uisp::new(base, token, stop.clone()) {
            Ok(uisp) => Ok(Box::new(uisp)),
            Err(error) => Err(vec![error.into()]),
        },
        (token, base) => {
            let no_token = token.is_none().then_some(Error::NoUispToken);
            Err(no_token.into_iter().chain(base.err()).collect())
        }
    }
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
pub fn dropbox(settings: &Settings, stop: &Stop) -> Result<(Client, Hosts), Vec<Error>> {
    let pace = settings
        .upload_bytes_per_second
        .map(|rate| Pace::new(f64::from(rate), stop.clone()));
    match (
        Client::within(stop.time_left(), Trust::Roots, Peer::Internet),
        Hosts::from_environment(),
    ) {
        (Ok(http), Ok(hosts)) => Ok((http.with_upload_pace(pace), hosts)),
        (http, hosts) => {
            let no_client = http.err().map(Error::from);
            Err(no_client
                .into_iter()
                .chain(hosts.err().map(Error::from))
                .collect())
        }
    }
}
