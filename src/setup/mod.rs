//! The three-stage authorization: from an empty form to an access token.
//!
//! What the stages are is pure ([`stage`]); this file carries them out. A stored token is given up
//! by nobody but the admin: a refused one stays in the configuration, because a network that lies
//! must not cost it.

pub mod stage;
pub mod stored;

use std::path::{Path, PathBuf};

use crate::advice::{self, APP_CONSOLE, FIELD_ACCESS_CODE, FIELD_APP_KEY, FIELD_LEGACY_TOKEN};
use crate::clock::Stop;
use crate::dropbox::oauth::{self, App};
use crate::dropbox::{Credential, Hosts};
use crate::http::Client;
use crate::http::retry::with_retry;
use crate::plugin::config::{self, Change, Settings};
use crate::plugin::log::BLOCK;
use crate::secret::Secret;
use crate::state::{Memory, PendingAuthorization, State};

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

/// The address that the admin was last asked to open, if there is one. Changes nothing.
pub fn shown_url(hosts: &Hosts, app: &App, memory: &Memory) -> Option<String> {
    let pending = memory.pending_authorization.as_ref();
    let verifier = pending
        .filter(|pending| is_usable(pending, app))
        .map(|pending| &pending.code_verifier);
    // Without the app's secret, an address without a verifier would lead to a code of no use.
    if app.secret.is_none() && verifier.is_none() {
        return None;
    }
    let verifier = verifier.filter(|_| app.secret.is_none());
    oauth::authorization_url(hosts, app, verifier).ok()
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
                log::info!(target: BLOCK, "{}", app_key_guide());
                Err(NotAuthorized::Waiting)
            }
            Stage::NeedsCode { app, legacy } => {
                self.ask_for_code(&app)?;
                legacy.map_or(Err(NotAuthorized::Waiting), |token| Ok(use_legacy(token)))
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
                Ok(authorized)
            }
            Stage::HasLegacyToken(token) => Ok(use_legacy(token)),
        }
    }

    /// Prints the authorization URL.
    fn ask_for_code(&mut self, app: &App) -> Result<(), NotAuthorized> {
        let url = self.address(app)?;
        log::info!(target: BLOCK, "{}", authorization_guide(&url));
        Ok(())
    }

    /// The authorization URL: the same one each time, until a code has been exchanged.
    ///
    /// # Errors
    /// [`NotAuthorized`]; what there is to say has been logged.
    pub fn address(&mut self, app: &App) -> Result<String, NotAuthorized> {
        let verifier = self.verifier_for_url(app)?;
        oauth::authorization_url(self.hosts, app, verifier.as_ref()).map_err(|error| {
            log::error!(
                "The authorization URL could not be made. Check the environment variables DROPBOX_API_URL and DROPBOX_WEB_URL. Cause: {error}."
            );
            NotAuthorized::Failed
        })
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
        // A code buys a token once: be sure first that the token can be stored.
        if let Err(error) = config::rehearse_change(&self.config) {
            log::error!(
                "The access code was not used, because the token that it buys could not be stored. {error}"
            );
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
        let exchanged = with_retry(self.stop, oauth::TOKEN_ROUTE, || {
            oauth::exchange_code(self.http, self.hosts, &exchanging, code, verifier.as_ref())
        });
        match exchanged {
            Ok(grant) => {
                let change = Change::Authorized {
                    refresh_token: &grant.refresh_token,
                    spent_code: code,
                };
                let stored = config::change(&self.config, &change);
                if let Err(error) = &stored {
                    log::warn!(
                        "The new authorization could not be stored yet; it serves this run, and is stored at its end if that is possible by then. {error}"
                    );
                } else {
                    log::info!(
                        "Authorized: Dropbox accepted the access code. The refresh token is stored and the field \"{FIELD_ACCESS_CODE}\" is empty again."
                    );
                }
                self.state.memory.pending_authorization = None;
                // The new authorization may have permissions that the old one lacked.
                self.state.memory.space_is_unknowable = false;
                // A failure to save is said by the mirror, which saves next; the token counts more.
                let _ = self.state.save();
                Ok(Authorized {
                    credential: Credential::RefreshToken {
                        app: app.clone(),
                        refresh_token: grant.refresh_token,
                    },
                    access_token: grant.access_token,
                    is_new: true,
                    unstored: stored.is_err().then(|| code.clone()),
                })
            }
            Err(oauth::Error::Stopped(_)) => Err(NotAuthorized::Stopped),
            Err(oauth::Error::InvalidGrant(cause) | oauth::Error::Refused(cause)) => {
                self.forget_code(code);
                self.after_refused_code(app, fallback, &cause)
            }
            Err(error) => {
                let meaning = advice::authorization(&error);
                match fallback {
                    Some(stored)
                        if matches!(
                            error,
                            oauth::Error::Busy { .. } | oauth::Error::Unavailable(_)
                        ) =>
                    {
                        log::warn!(
                            "The access code could not be exchanged yet; it stays in its field, and this run uses the stored authorization. Cause: {error}."
                        );
                        self.use_stored(app, stored)
                    }
                    _ => {
                        log::error!(
                            "The access code could not be exchanged; it stays in its field. {meaning}. Cause: {error}."
                        );
                        Err(NotAuthorized::Failed)
                    }
                }
            }
        }
    }

    fn after_refused_code(
        &mut self,
        app: &App,
        fallback: Option<Stored>,
        cause: &str,
    ) -> Result<Authorized, NotAuthorized> {
        let refused = format!(
            "Dropbox refused the access code: it is wrong, was used before, has expired (codes live a few minutes), or belongs to an older authorization page. The field \"{FIELD_ACCESS_CODE}\" was emptied"
        );
        match fallback {
            Some(stored) => {
                log::warn!(
                    "{refused}. The stored authorization is used instead. To authorize anew, clear the stored token and click \"Execute manually\". Cause: {cause}."
                );
                self.use_stored(app, stored)
            }
            None => {
                log::error!(
                    "{refused}. Open the address below again and paste the new code soon. Cause: {cause}."
                );
                // The verifier stays: a code that was only mistyped can still be pasted rightly.
                self.ask_for_code(app)?;
                Err(NotAuthorized::Failed)
            }
        }
    }

    fn use_stored(&mut self, app: &App, stored: Stored) -> Result<Authorized, NotAuthorized> {
        match stored {
            Stored::RefreshToken(token) => self.refresh(app.clone(), token),
            Stored::LegacyToken(token) => Ok(use_legacy(token)),
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
                let revoked = matches!(error, oauth::Error::InvalidGrant(_));
                let what = what_failed(&error);
                log::error!("{what}. {}. Cause: {error}.", advice::authorization(&error));
                if revoked {
                    self.ask_for_code(&app)?;
                }
                Err(NotAuthorized::Failed)
            }
        }
    }

    fn forget_code(&self, code: &Secret) {
        if let Err(error) = config::change(&self.config, &Change::ForgetCode { spent_code: code }) {
            log::error!(
                "The refused access code could not be removed from the configuration. {error}"
            );
        }
    }

    fn save_state(&mut self) -> Result<(), NotAuthorized> {
        self.state.save().map_err(|error| {
            log::error!("The plugin's memory (data/state.json) could not be written, so the authorization cannot go on. Free disk space or correct the permissions of the plugin's data folder, then click \"Execute manually\". Cause: {error}.");
            NotAuthorized::Failed
        })
    }
}

/// What happened when a stored token could not be renewed.
fn what_failed(error: &oauth::Error) -> &'static str {
    match error {
        oauth::Error::InvalidGrant(_) => "Dropbox no longer accepts the stored authorization",
        oauth::Error::InvalidClient(_) => "Dropbox does not know the app",
        oauth::Error::Refused(_) => "Dropbox refused to renew the access",
        oauth::Error::Busy { .. } | oauth::Error::Unavailable(_) | oauth::Error::Stopped(_) => {
            "Dropbox could not be asked for access"
        }
    }
}

fn use_legacy(token: Secret) -> Authorized {
    log::warn!(
        "The token in the field \"{FIELD_LEGACY_TOKEN}\" is used. Dropbox no longer issues such tokens and retires them. Fill the field \"{FIELD_APP_KEY}\", click \"Execute manually\" and follow the steps in this log; then clear the old token."
    );
    Authorized {
        credential: Credential::LegacyToken(token.clone()),
        access_token: token,
        is_new: false,
        unstored: None,
    }
}

const FRAME: &str =
    "================================================================================";

fn app_key_guide() -> String {
    format!(
        "{FRAME}
Setup, step 1 of 3: tell the plugin which Dropbox app to use.

  1. Open {APP_CONSOLE}, click \"Create app\", choose \"Scoped access\" and
     \"App folder\", and give it a name.
  2. On the app's Permissions tab tick files.metadata.read and files.content.write,
     then submit.
  3. Copy the App key from the Settings tab into the field \"{FIELD_APP_KEY}\"
     of this plugin's configuration and save. This log then shows the next step
     at once; if it does not, click \"Execute manually\".
{FRAME}"
    )
}

fn authorization_guide(url: &str) -> String {
    format!(
        "{FRAME}
Setup, step 2 of 3: allow the plugin to use its folder in your Dropbox.

  1. Open this address in a browser and click \"Allow\":

{url}

  2. Copy the access code that Dropbox shows into the field
     \"{FIELD_ACCESS_CODE}\" of this plugin's configuration and save soon:
     it expires after a few minutes.
  3. The plugin uses the code at once and keeps the authorization from then on.
     If this log does not say so, click \"Execute manually\".
{FRAME}"
    )
}
