//! The three-stage authorization: from an empty form to an access token.
//!
//! What the stages are is pure ([`stage`]); this file carries them out. A stored token is given up
//! by nobody but the admin: a refused one stays in the configuration, because a network that lies
//! must not cost it.

pub mod guide;
pub mod stage;
pub mod stored;

use std::path::{Path, PathBuf};

use crate::clock::Stop;
use crate::dropbox::oauth::{self, App};
use crate::dropbox::{Credential, Hosts};
use crate::findings::labels::PERMISSIONS;
use crate::findings::{Finding, Findings, advice, from, table};
use crate::http::Client;
use crate::http::retry::with_retry;
use crate::plugin::config::{self, Change, Settings};
use crate::plugin::log::BLOCK;
use crate::record::{Record, ShownAddress};
use crate::secret::Secret;
use crate::state::{PendingAuthorization, State};

use guide::Step;
use stage::{Stage, Stored, stage};

/// What the authorization needs to work with.
pub struct Setup<'a> {
    /// Carries the requests.
    pub http: &'a Client,
    /// Where Dropbox is.
    pub hosts: &'a Hosts,
    /// When to give up.
    pub stop: &'a Stop,
    /// The configuration's file.
    pub config: PathBuf,
    /// Keeps the verifier.
    pub state: &'a mut State,
    /// Keeps the address, for the page.
    pub record: &'a mut Record,
    /// Gets what there is to say.
    pub findings: &'a Findings,
}

/// Permission to call Dropbox.
pub struct Authorized {
    /// For when the access token ends.
    pub credential: Credential,
    /// The current access token.
    pub access_token: Secret,
    /// A code was exchanged for it just now.
    pub is_new: bool,
    /// The code whose token could not be stored yet.
    pub unstored: Option<Secret>,
}

impl Authorized {
    /// Tries once more to store the token that the code has bought.
    ///
    /// # Errors
    /// [`config::Error`] if it cannot be stored.
    pub fn store(
        credential: &Credential,
        config: &Path,
        code: &Secret,
    ) -> Result<(), config::Error> {
        match credential {
            Credential::LegacyToken(_) => Ok(()),
            Credential::RefreshToken { refresh_token, .. } => {
                let spent_code = code;
                config::change(
                    config,
                    &Change::Authorized {
                        refresh_token,
                        spent_code,
                    },
                )
            }
        }
    }
}

/// Why there is no permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAuthorized {
    /// The admin has been told the next step; this is no failure.
    Waiting,
    /// Something failed, and the log says what.
    Failed,
    /// The run had to stop before it was decided.
    Stopped,
}

/// Whether the address of `pending` can be shown again.
fn is_usable(pending: &PendingAuthorization, app: &App) -> bool {
    pending.app_key == app.key && oauth::is_code_verifier(&pending.code_verifier)
}

impl Setup<'_> {
    /// Takes the configuration as far as it goes.
    ///
    /// # Errors
    /// [`NotAuthorized`]; what there is to say has been logged.
    pub fn authorize(&mut self, settings: &Settings) -> Result<Authorized, NotAuthorized> {
        match stage(settings) {
            Stage::NeedsAppKey => {
                show(guide::step(&Stage::NeedsAppKey, None));
                Err(NotAuthorized::Waiting)
            }
            Stage::NeedsCode { app, legacy } => {
                self.ask_for_code(&app)?;
                let token = legacy.ok_or(NotAuthorized::Waiting)?;
                Ok(self.use_legacy(token))
            }
            Stage::HasCode {
                app,
                code,
                fallback,
            } => self.exchange(&app, &code, fallback),
            Stage::HasRefreshToken { app, refresh_token } => {
                let authorized = self.refresh(app, refresh_token)?;
                // Left from an exchange that was killed right behind its success.
                self.state.memory.pending_authorization = None;
                self.record.authorization = None;
                Ok(authorized)
            }
            Stage::HasLegacyToken(token) => Ok(self.use_legacy(token)),
        }
    }

    /// The same right after somebody has saved the form, who may have put the code into the field of the refresh token.
    ///
    /// # Errors
    /// As [`Setup::authorize`].
    pub fn authorize_saved(&mut self, settings: &Settings) -> Result<Authorized, NotAuthorized> {
        if let Stage::HasRefreshToken { app, refresh_token } = stage(settings) {
            let shown = self.record.authorization.as_ref();
            // Nobody has given a code yet for the address that was shown, so this may be it.
            if shown.is_some_and(|shown| shown.app_key == app.key) {
                let refreshed = with_retry(self.stop, oauth::TOKEN_ROUTE, || {
                    oauth::refresh(self.http, self.hosts, &app, &refresh_token)
                });
                if matches!(refreshed, Err(oauth::Error::InvalidGrant(_)))
                    && let Ok(grant) = self.buy(&app, &refresh_token)?
                {
                    self.findings.add(table::code_in_token_field());
                    return Ok(self.keep(&app, &refresh_token, grant));
                }
            }
        }
        self.authorize(settings)
    }

    /// Prints the authorization URL.
    fn ask_for_code(&mut self, app: &App) -> Result<(), NotAuthorized> {
        let url = self.address(app)?;
        show(Some(guide::allow_access(url)));
        Ok(())
    }

    /// The authorization URL: the same one each time, until a code has been exchanged.
    ///
    /// # Errors
    /// [`NotAuthorized`]; what there is to say has been logged.
    pub fn address(&mut self, app: &App) -> Result<String, NotAuthorized> {
        let verifier = self.verifier_for_url(app)?;
        let url =
            oauth::authorization_url(self.hosts, app, verifier.as_ref()).map_err(|error| {
                self.findings
                    .add(table::no_authorization_url().because(&error));
                NotAuthorized::Failed
            })?;
        self.record.authorization = Some(ShownAddress {
            app_key: app.key.clone(),
            url: url.clone(),
        });
        if let Err(error) = self.record.save() {
            self.findings
                .add(table::record_unwritable().because(&error));
        }
        Ok(url)
    }

    /// The verifier for the URL: none if the app's secret protects the code, else the one of the
    /// last URL, so that a code the admin is about to paste stays good.
    fn verifier_for_url(&mut self, app: &App) -> Result<Option<Secret>, NotAuthorized> {
        let pending = &mut self.state.memory.pending_authorization;
        if app.secret.is_some() {
            *pending = None;
        } else if !pending.as_ref().is_some_and(|p| is_usable(p, app)) {
            *pending = Some(PendingAuthorization {
                app_key: app.key.clone(),
                code_verifier: oauth::new_code_verifier(),
            });
        }
        let verifier = pending.as_ref().map(|p| p.code_verifier.clone());
        // Without the stored verifier the code could not be exchanged: better no URL than that one.
        self.save_state()?;
        Ok(verifier)
    }

    fn exchange(
        &mut self,
        app: &App,
        code: &Secret,
        fallback: Option<Stored>,
    ) -> Result<Authorized, NotAuthorized> {
        if let Some(what) = oauth::not_a_code(code) {
            self.forget_code(code);
            self.findings.add(table::not_a_code(what));
            return match fallback {
                Some(stored) => self.use_stored(app, stored),
                None => {
                    self.ask_for_code(app)?;
                    Err(NotAuthorized::Failed)
                }
            };
        }
        match self.buy(app, code)? {
            Ok(grant) => Ok(self.keep(app, code, grant)),
            Err(oauth::Error::Stopped(_)) => Err(NotAuthorized::Stopped),
            Err(oauth::Error::InvalidGrant(cause) | oauth::Error::Refused(cause)) => {
                self.after_refused_code(app, code, fallback, &cause)
            }
            Err(error) => match fallback {
                Some(stored)
                    if matches!(
                        error,
                        oauth::Error::Busy { .. } | oauth::Error::Unavailable(_)
                    ) =>
                {
                    self.findings
                        .add(table::code_not_exchanged_yet().because(&error));
                    self.use_stored(app, stored)
                }
                _ => {
                    let advice = advice::authorization(&error);
                    self.findings
                        .add(table::code_not_exchanged().explained(&error, advice));
                    Err(NotAuthorized::Failed)
                }
            },
        }
    }

    /// Exchanges a code.
    fn buy(
        &mut self,
        app: &App,
        code: &Secret,
    ) -> Result<Result<oauth::Grant, oauth::Error>, NotAuthorized> {
        // A code buys a token once: be sure first that the token can be stored.
        if let Err(error) = config::rehearse_change(&self.config) {
            let cause = from::configuration(&error);
            self.findings.add(table::code_not_used().after(&cause));
            return Err(NotAuthorized::Failed);
        }
        let pending = self.state.memory.pending_authorization.as_ref();
        let verifier = pending
            .filter(|pending| pending.app_key == app.key)
            .map(|pending| pending.code_verifier.clone());
        // A code that was asked for with a challenge is exchanged with its verifier and no secret,
        // also when the secret has been filled in since.
        let exchanging = App {
            key: app.key.clone(),
            secret: app.secret.clone().filter(|_| verifier.is_none()),
        };
        Ok(with_retry(self.stop, oauth::TOKEN_ROUTE, || {
            oauth::exchange_code(self.http, self.hosts, &exchanging, code, verifier.as_ref())
        }))
    }

    /// Stores what the code has bought.
    fn keep(&mut self, app: &App, code: &Secret, grant: oauth::Grant) -> Authorized {
        let change = Change::Authorized {
            refresh_token: &grant.refresh_token,
            spent_code: code,
        };
        let stored = config::change(&self.config, &change);
        self.findings.add(match &stored {
            Ok(()) => table::authorized(),
            Err(error) => table::authorization_not_stored_yet().after(&from::configuration(error)),
        });
        self.findings
            .extend(grant.scopes.as_deref().and_then(missing_permissions));
        self.state.memory.pending_authorization = None;
        self.record.authorization = None;
        // The new authorization may have permissions that the old one lacked.
        self.state.memory.space_is_unknowable = false;
        // A failure to save is said by the mirror, which saves next; the token counts more.
        let _ = self.state.save();
        Authorized {
            credential: Credential::RefreshToken {
                app: app.clone(),
                refresh_token: grant.refresh_token,
            },
            access_token: grant.access_token,
            is_new: true,
            unstored: stored.is_err().then(|| code.clone()),
        }
    }

    fn after_refused_code(
        &mut self,
        app: &App,
        code: &Secret,
        fallback: Option<Stored>,
        cause: &str,
    ) -> Result<Authorized, NotAuthorized> {
        self.forget_code(code);
        match fallback {
            Some(stored) => {
                self.findings
                    .add(table::code_refused_but_stored().because(&cause));
                self.use_stored(app, stored)
            }
            None => {
                self.findings.add(table::code_refused().because(&cause));
                // The verifier stays: a code that was only mistyped can still be pasted rightly.
                self.ask_for_code(app)?;
                Err(NotAuthorized::Failed)
            }
        }
    }

    fn forget_code(&self, code: &Secret) {
        if let Err(error) = config::change(&self.config, &Change::ForgetCode { spent_code: code }) {
            let cause = from::configuration(&error);
            self.findings.add(table::refused_code_stays().after(&cause));
        }
    }

    fn use_stored(&mut self, app: &App, stored: Stored) -> Result<Authorized, NotAuthorized> {
        match stored {
            Stored::RefreshToken(token) => self.refresh(app.clone(), token),
            Stored::LegacyToken(token) => Ok(self.use_legacy(token)),
        }
    }

    fn refresh(&mut self, app: App, refresh_token: Secret) -> Result<Authorized, NotAuthorized> {
        let refreshed = with_retry(self.stop, oauth::TOKEN_ROUTE, || {
            oauth::refresh(self.http, self.hosts, &app, &refresh_token)
        });
        match refreshed {
            Ok(access_token) => Ok(Authorized {
                credential: Credential::RefreshToken { app, refresh_token },
                access_token,
                is_new: false,
                unstored: None,
            }),
            Err(oauth::Error::Stopped(_)) => Err(NotAuthorized::Stopped),
            Err(error) => {
                self.findings.add(from::renewal(&error));
                if matches!(error, oauth::Error::InvalidGrant(_)) {
                    self.ask_for_code(&app)?;
                }
                Err(NotAuthorized::Failed)
            }
        }
    }

    fn use_legacy(&self, token: Secret) -> Authorized {
        self.findings.add(table::legacy_token());
        Authorized {
            credential: Credential::LegacyToken(token.clone()),
            access_token: token,
            is_new: false,
            unstored: None,
        }
    }

    fn save_state(&mut self) -> Result<(), NotAuthorized> {
        self.state.save().map_err(|error| {
            let finding = table::memory_unwritable("The authorization cannot go on without it");
            self.findings.add(finding.because(&error));
            NotAuthorized::Failed
        })
    }
}

/// What a new authorization lacks. A word that names none of what is asked for says nothing.
fn missing_permissions(granted: &[String]) -> Option<Finding> {
    let is_granted = |name: &str| granted.iter().any(|granted| granted == name);
    let (granted, missing): (Vec<_>, Vec<_>) =
        PERMISSIONS.iter().partition(|(name, _)| is_granted(name));
    let missing = missing
        .iter()
        .map(|(name, purpose)| format!("{name} ({purpose})"));
    let missing: Vec<String> = missing.collect();
    (!granted.is_empty() && !missing.is_empty())
        .then(|| table::permissions_missing(&missing.join(", ")))
}

/// Shows a step of the setup in the log.
fn show(step: Option<Step>) {
    if let Some(step) = step {
        log::info!(target: BLOCK, "{}", step.framed());
    }
}
