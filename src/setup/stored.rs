//! Access with what is stored already, for commands: nothing is written, and no code is spent.

use super::stage::{Stage, Stored, stage};
use super::what_failed;
use crate::advice::{self, FIELD_ACCESS_CODE, FIELD_APP_KEY};
use crate::clock::Stop;
use crate::dropbox::oauth::{self, App};
use crate::dropbox::{Credential, Dropbox, Hosts};
use crate::http::Client;
use crate::http::retry::with_retry;
use crate::plugin::config::Settings;
use crate::secret::Secret;

/// Why nothing stored gives access; a whole message for the admin.
#[derive(Debug, thiserror::Error)]
pub enum NoAccess {
    /// Step 1 of the setup is missing.
    #[error(
        "No Dropbox app is set up yet. Put its key into the field \"{FIELD_APP_KEY}\" of the plugin's configuration, save and execute the plugin; its log explains each step."
    )]
    NeedsAppKey,
    /// Step 2 of the setup is missing.
    #[error(
        "Nobody has allowed access to Dropbox yet. Execute the plugin; its log then shows an address to open and what to do with the code that it gives."
    )]
    NeedsCode,
    /// Step 3 of the setup is missing.
    #[error(
        "The code in the field \"{FIELD_ACCESS_CODE}\" has not been exchanged yet, and only a run does that. Execute the plugin soon: codes expire after a few minutes."
    )]
    CodeWaits,
    /// A stored token was not accepted, or Dropbox could not be asked.
    #[error("{}. {}. Cause: {cause}.", what_failed(.cause), advice::authorization(.cause))]
    Refused {
        /// What Dropbox said.
        cause: oauth::Error,
    },
}

/// A client with a fresh access token.
///
/// # Errors
/// [`NoAccess`] says which step is missing.
pub fn connect(
    http: &Client,
    hosts: &Hosts,
    stop: &Stop,
    settings: &Settings,
) -> Result<Dropbox, NoAccess> {
    let (credential, access_token) = match stage(settings) {
        Stage::NeedsAppKey => return Err(NoAccess::NeedsAppKey),
        Stage::NeedsCode { legacy: None, .. } => return Err(NoAccess::NeedsCode),
        Stage::HasCode { fallback: None, .. } => return Err(NoAccess::CodeWaits),
        Stage::HasLegacyToken(token)
        | Stage::NeedsCode {
            legacy: Some(token),
            ..
        }
        | Stage::HasCode {
            fallback: Some(Stored::LegacyToken(token)),
            ..
        } => (Credential::LegacyToken(token.clone()), token),
        Stage::HasRefreshToken { app, refresh_token }
        | Stage::HasCode {
            app,
            fallback: Some(Stored::RefreshToken(refresh_token)),
            ..
        } => renewed(http, hosts, stop, app, refresh_token)
            .map_err(|cause| NoAccess::Refused { cause })?,
    };
    let (http, hosts, stop) = (http.clone(), hosts.clone(), stop.clone());
    Ok(Dropbox::new(http, hosts, stop, credential, access_token))
}

fn renewed(
    http: &Client,
    hosts: &Hosts,
    stop: &Stop,
    app: App,
    refresh_token: Secret,
) -> Result<(Credential, Secret), oauth::Error> {
    let access_token = with_retry(stop, oauth::TOKEN_ROUTE, || {
        oauth::refresh(http, hosts, &app, &refresh_token)
    })?;
    Ok((
        Credential::RefreshToken { app, refresh_token },
        access_token,
    ))
}
