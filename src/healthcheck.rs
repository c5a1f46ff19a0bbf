//! Tells a monitoring service how runs go: `healthcheckUrl`, as healthchecks.io and its kin expect.
//!
//! `…/start` at the start of a run, the address itself after a good one, `…/fail` with the error after a
//! bad one; nothing after a run that was stopped or waits for the setup, so that the service notices the
//! silence. Whoever knows the address can use it, so it is a secret. A service that does not answer costs
//! a run a few seconds and nothing else.

use url::Url;

use crate::findings::{Finding, table};
use crate::http::{self, Body, Client, Patience, Peer, Trust};
use crate::secret::Secret;

/// Tries of a ping that tells how a run went.
const ATTEMPTS: u32 = 2;

/// A monitoring service.
#[derive(Debug)]
pub struct Healthcheck {
    http: Client,
    address: Secret,
}

/// What the service is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ping<'a> {
    /// A run begins.
    Start,
    /// It has done everything.
    Good,
    /// It failed; the last error.
    Bad(&'a str),
}

impl Healthcheck {
    /// A service at `address`, an http or https URL.
    ///
    /// # Errors
    /// [`http::Error`] if trust cannot be set up.
    pub fn new(address: Secret) -> Result<Self, http::Error> {
        Ok(Self {
            http: Client::new(Trust::Roots, Peer::Monitor)?,
            address,
        })
    }

    /// Tells the service.
    ///
    /// # Errors
    /// A WARNING, if the service was not told how the run went.
    pub fn tell(&self, ping: Ping<'_>) -> Result<(), Finding> {
        let Ok(mut url) = Url::parse(self.address.expose()) else {
            return Ok(());
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        let (suffix, body) = match ping {
            Ping::Start => ("/start", None),
            Ping::Good => ("", None),
            Ping::Bad(error) => ("/fail", Some(error)),
        };
        url.set_path(&format!("{}{suffix}", url.path().trim_end_matches('/')));
        let attempts = if ping == Ping::Start { 1 } else { ATTEMPTS };
        let mut cause = String::new();
        for _ in 0..attempts {
            match self.send(url.as_str(), body) {
                Ok(()) => return Ok(()),
                Err(error) => cause = error,
            }
        }
        if ping == Ping::Start {
            log::debug!("The monitoring service at {host} was not told of the start: {cause}");
            return Ok(());
        }
        Err(table::monitor_not_told(&host).because(&cause))
    }

    fn send(&self, url: &str, body: Option<&str>) -> Result<(), String> {
        let sent = match body {
            None => {
                let method = ureq::http::Method::GET;
                self.http
                    .send(Patience::Call, method, url, &[], Body::Empty)
            }
            Some(text) => self.http.send(
                Patience::Call,
                ureq::http::Method::POST,
                url,
                &[("Content-Type", "text/plain; charset=utf-8")],
                Body::Bytes(text.as_bytes()),
            ),
        };
        match sent {
            Ok(response) if (200..300).contains(&response.status) => Ok(()),
            Ok(response) => Err(format!("it answered with status {}", response.status)),
            Err(error) => Err(error.to_string()),
        }
    }
}
