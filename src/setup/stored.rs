//! Access with what is stored already, for commands: nothing is written, and no code is spent.

use super::stage::{Stage, Stored, stage};
use crate::clock::Stop;
use crate::dropbox::oauth::{self, App};
use crate::dropbox::{Credential, Dropbox, Hosts};
use crate::findings::{Finding, from, table};
use crate::http::Client;
use crate::http::retry::with_retry;
use crate::plugin::config::Settings;
use crate::secret::Secret;

/// A client with a fresh access token.
///
/// # Errors
/// Which step is missing, or why the stored authorization gave no access.
pub fn connect(
    http: &Client,
    hosts: &Hosts,
    stop: &Stop,
    settings: &Settings,
) -> Result<Dropbox, Finding> {
    let (credential, access_token) = match stage(settings) {
        Stage::NeedsAppKey => return Err(table::app_key_missing()),
        Stage::NeedsCode { legacy: None, .. } => return Err(table::access_not_allowed()),
        Stage::HasCode { fallback: None, .. } => return Err(table::code_waits()),
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
        } => {
            renewed(http, hosts, stop, app, refresh_token).map_err(|error| from::renewal(&error))?
        }
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
