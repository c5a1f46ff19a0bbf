//! What an error means for the admin, and what to do next.

use super::labels::{
    APP_CONSOLE, FIELD_APP_KEY, FIELD_APP_SECRET, FIELD_CONFIRM_CLEANUP, FIELD_CREATE_BACKUP,
    FIELD_ENCRYPT_TO, FIELD_LEGACY_TOKEN, FIELD_REFRESH_TOKEN, FIELD_UISP_TOKEN,
};
use crate::dropbox::{self, Conflict, oauth};
use crate::http;
use crate::source::{self, Kind};

/// What an error means and what to do about it; neither ends with a full stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// What it means.
    pub meaning: String,
    /// What to do.
    pub remedy: String,
}

impl Advice {
    fn new(meaning: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            meaning: meaning.into(),
            remedy: remedy.into(),
        }
    }
}

impl From<&dropbox::Error> for Advice {
    fn from(error: &dropbox::Error) -> Self {
        dropbox(error)
    }
}

impl From<&source::Error> for Advice {
    fn from(error: &source::Error) -> Self {
        source(error)
    }
}

/// What to do about recipients that nothing can be sealed to.
pub fn recipients() -> String {
    format!("Put the public keys of age (age1...) into the field \"{FIELD_ENCRYPT_TO}\" once more")
}

const NEXT_RUN: &str = "The next run tries again; there is nothing to do unless this repeats";

/// How to authorize again.
fn authorize_again() -> String {
    format!(
        "To authorize again, clear the field \"{FIELD_REFRESH_TOKEN}\" in the plugin's configuration, save, and click \"Execute manually\"; the log then shows what to do"
    )
}

fn tls() -> Advice {
    Advice::new(
        "The certificate was not accepted",
        "If a firewall or proxy inspects TLS, put its certificate into a file and name that file in the environment variable SSL_CERT_FILE; otherwise check the server's clock",
    )
}

/// A failed call of Dropbox's API.
pub fn dropbox(error: &dropbox::Error) -> Advice {
    use dropbox::Error;
    match error {
        Error::Network {
            cause: http::Error::Tls(_),
            ..
        } => tls(),
        Error::Network { .. } => Advice::new(
            "",
            "The next run tries again. If this repeats, check the server's internet connection, DNS and proxy settings",
        ),
        Error::Server { .. } | Error::Unfinished { .. } => {
            Advice::new("Dropbox has a problem of its own", NEXT_RUN)
        }
        Error::Busy { .. } => Advice::new(
            "Another program may be writing to the same Dropbox, or Dropbox was asked too often",
            NEXT_RUN,
        ),
        Error::LegacyTokenRefused { .. } => Advice::new(
            format!(
                "The token in the field \"{FIELD_LEGACY_TOKEN}\" is revoked, lacks a permission, or was one of those that are valid for four hours only"
            ),
            format!(
                "Clear that field, fill in \"{FIELD_APP_KEY}\" instead, save and click \"Execute manually\"; the log then shows how to authorize for good"
            ),
        ),
        Error::ExpiredAccessToken { .. } => Advice::new("", "The next run tries again"),
        Error::MissingScope { scope, .. } => Advice::new(
            "",
            format!(
                "Open your app at {APP_CONSOLE}, tick {scope} on its Permissions tab and submit. A permission counts only for authorizations made after it was ticked. {}",
                authorize_again()
            ),
        ),
        Error::AccessRefused { reason, .. } if reason.contains("suspended") => Advice::new(
            "Dropbox no longer accepts the authorization, because the account is suspended, so nothing is mirrored",
            format!(
                "Have the suspension lifted, by the team's administrator or by Dropbox; the next run carries on then. {}, with another account",
                authorize_again()
            ),
        ),
        Error::AccessRefused { .. } => Advice::new(
            "Dropbox no longer accepts the authorization, so nothing is mirrored",
            authorize_again(),
        ),
        Error::AppDisabled { .. } => app_disabled(),
        Error::Forbidden { reason, .. } => forbidden(reason),
        error if error.is_out_of_space() => Advice::new(
            "Dropbox is full",
            "Free some space there or get more; what is missing is uploaded by the next run",
        ),
        error if error.conflict().is_some() => Advice::new(
            match error.conflict() {
                Some(Conflict::Folder) => {
                    "A folder with this name is in the mirror folder, and it is not touched"
                }
                Some(Conflict::FileAbove) => {
                    "A file is in the place of one of the folders above it, and it is not touched"
                }
                _ => {
                    "Something else with this name is in the mirror folder already, and it is not touched"
                }
            },
            "Rename or remove it in Dropbox; the next run tries again",
        ),
        Error::Route { failure, .. }
            if failure.has("no_write_permission") || failure.has("access_restricted") =>
        {
            Advice::new(
                "The Dropbox account may not write to the mirror folder",
                "Check its sharing and team settings",
            )
        }
        Error::OtherVersion => Advice::new("", "Try again: the newer version is taken then"),
        Error::Stopped(_) => Advice::new("", "The next run carries on"),
        Error::Route { .. } | Error::Rejected { .. } | Error::Malformed { .. } => Advice::new(
            "Something between this server and Dropbox may have changed the answer, or the plugin is at fault",
            "The next run tries again; if this repeats, report it with this line",
        ),
    }
}

/// An app that is switched off.
fn app_disabled() -> Advice {
    Advice::new(
        "Nothing is wrong with the account or the stored authorization",
        format!(
            "Open your app at {APP_CONSOLE} and enable it on its Settings tab; the next run carries on. If it cannot be enabled, make a new app, put its key into \"{FIELD_APP_KEY}\" and authorize again"
        ),
    )
}

/// A call that Dropbox forbids, by the reason that it names.
fn forbidden(reason: &str) -> Advice {
    let names = |tag: &str| reason.split(['/', ',']).any(|own| own == tag);
    if names("feature") {
        return Advice::new(
            "The account's plan does not allow this call; on some business plans the monthly quota of uploads is used up until the first of the month",
            "Ask the team's administrator, or wait",
        );
    }
    if names("invalid_account_type") {
        return Advice::new(
            "The account's plan does not allow this call",
            "Use an account with another plan, or ask the team's administrator",
        );
    }
    if ["team_access_denied", "no_permission", "paper_access_denied"]
        .into_iter()
        .any(names)
    {
        return Advice::new(
            "The team that the account belongs to does not allow it",
            "Ask the team's administrator to allow this app and this member in the team's admin console",
        );
    }
    Advice::new(
        "The account, its team, or a firewall or proxy on the way does not allow this call",
        "Read the cause; if it is not Dropbox that speaks there, have the firewall or proxy let this server reach Dropbox, else ask the account's administrator",
    )
}

/// Where a copy that differs from its backup comes from.
pub fn differing_copy(kind: Kind) -> Advice {
    match kind {
        Kind::Uisp => Advice::new(
            "It was probably cut off or damaged when another program uploaded it",
            "",
        ),
        Kind::Folder => Advice::new(
            "Another program put it there or changed it; Dropbox keeps it among the file's previous versions for a while",
            "",
        ),
    }
}

/// What to look at when a source has no finished backup.
pub fn nothing_finished(kind: Kind) -> Advice {
    match kind {
        Kind::Uisp => Advice::new(
            "",
            "Check in UISP under Settings, Backups, that backups are made",
        ),
        Kind::Folder => Advice::new(
            "",
            "Check that the folder is mounted and that backups are made; files that are empty or were changed within the last minute do not count",
        ),
    }
}

/// What to look at when there is no new backup.
pub fn no_new_backup(kind: Kind) -> Advice {
    match kind {
        Kind::Uisp => Advice::new(
            "",
            "See in UISP under Settings, Backups, whether backups are made",
        ),
        Kind::Folder => Advice::new(
            "",
            "See whether the program that makes the backups still does",
        ),
    }
}

/// What to do about a list with entries that cannot be used, if that repeats.
pub fn unusable_entries(kind: Kind) -> &'static str {
    match kind {
        Kind::Uisp => "report it with the lines above",
        Kind::Folder => "correct what the lines above name",
    }
}

/// What may make most of a source's list go missing without anybody wanting it.
pub fn sudden_loss(kind: Kind) -> &'static str {
    match kind {
        Kind::Uisp => "restoring UISP from one of these backups",
        Kind::Folder => "restoring the folder from an older state, or when a disk is not mounted",
    }
}

/// How the admin agrees to deletions that are on hold.
pub fn confirm_cleanup(kind: Kind) -> String {
    match kind {
        Kind::Uisp => {
            format!("tick \"{FIELD_CONFIRM_CLEANUP}\" in the plugin's configuration and save")
        }
        Kind::Folder => "set \"confirmCleanup\" to true in data/config.json".into(),
    }
}

fn new_uisp_token() -> String {
    format!(
        "Make a new token in UISP under Network, Settings, Users, API tokens, put it into the field \"{FIELD_UISP_TOKEN}\" of the plugin's configuration and save"
    )
}

/// A fault of the source.
pub fn source(error: &source::Error) -> Advice {
    use source::Error;
    match error {
        Error::Network {
            cause: http::Error::Tls(_),
            ..
        } => tls(),
        Error::Network { .. } => Advice::new(
            "UISP may be starting or overloaded",
            "The next run tries again; if this repeats, check that UISP is running",
        ),
        Error::Unauthorized { .. } => Advice::new("", new_uisp_token()),
        Error::Busy { .. } => Advice::new("UISP is busy", NEXT_RUN),
        Error::Status { status: 404, .. } => Advice::new(
            "It may have been deleted in UISP since the list was read",
            "The next run finds out; there is nothing to do unless this repeats",
        ),
        Error::Status { .. } => Advice::new(
            "UISP has a problem of its own",
            "The next run tries again; if this repeats, look at UISP's own log",
        ),
        Error::Unexpected { .. } => Advice::new(
            "A login page or a proxy may have answered instead of UISP. Nothing of it was stored",
            "Check that UISP is running; the next run tries again",
        ),
        Error::Truncated { .. } => {
            Advice::new("Nothing incomplete was stored in Dropbox", NEXT_RUN)
        }
        Error::TooSlow { .. } => Advice::new(
            "It was given up so that the other backups have their turn. Nothing of it was stored",
            "The next run tries again; if this repeats, look at the load of the UISP server",
        ),
        Error::CreationFailed => Advice::new(
            "",
            "Look at UISP under Settings, Backups, and at its free disk space",
        ),
        Error::CreationTooSlow => {
            Advice::new("It is mirrored by a later run, once it is finished", "")
        }
        Error::OtherContent => Advice::new(
            "The backup changed while it was being read. Nothing of it was stored",
            "The next run tries again",
        ),
        Error::Unreadable { .. } => Advice::new(
            "",
            "Check that it exists, that its disk is mounted and sound, and that the user who runs this program may read it. The next run tries again",
        ),
        Error::InUse => Advice::new("", NEXT_RUN),
        Error::Stopped(_) => Advice::new("", "The next run carries on"),
    }
}

/// A fault of the source's list.
pub fn listing(error: &source::Error) -> Advice {
    match error {
        source::Error::Status { status: 404, .. } => Advice::new(
            "There is no UISP at this address, or its version has no such list",
            "Check that UISP is running and that its version is 2.1 or newer; the next run tries again",
        ),
        error => source(error),
    }
}

/// A fresh backup that could not be made.
pub fn creation(error: &source::Error) -> Advice {
    match error {
        source::Error::Unauthorized { .. } => Advice::new(
            "Making backups takes an API token with read and write access",
            format!("{}, or untick \"{FIELD_CREATE_BACKUP}\"", new_uisp_token()),
        ),
        source::Error::Status { status: 404, .. } => Advice::new(
            "This version of UISP cannot be asked for a backup",
            format!("Untick \"{FIELD_CREATE_BACKUP}\" in the plugin's configuration and save"),
        ),
        error => source(error),
    }
}

/// A refused or failed authorization.
pub fn authorization(error: &oauth::Error) -> Advice {
    let compare = format!(
        "Compare \"{FIELD_APP_KEY}\" and \"{FIELD_APP_SECRET}\" with your app's Settings tab at {APP_CONSOLE}"
    );
    match error {
        oauth::Error::InvalidGrant(_) => Advice::new(
            "The authorization was revoked or belongs to another app. New backups are not copied until you authorize again",
            "",
        ),
        oauth::Error::InvalidClient(_) => Advice::new(
            format!(
                "The values of \"{FIELD_APP_KEY}\" and \"{FIELD_APP_SECRET}\" do not belong to one app. The stored authorization is kept"
            ),
            format!("{compare}, correct them and save"),
        ),
        oauth::Error::AppDisabled(_) => app_disabled(),
        oauth::Error::Unavailable(http::Error::Tls(_)) => tls(),
        oauth::Error::Busy { .. } | oauth::Error::Unavailable(_) => Advice::new(
            "The stored authorization is kept",
            "The next run tries again; if this repeats, check the server's internet connection, DNS and proxy settings",
        ),
        oauth::Error::Stopped(_) => Advice::new("", "The next run carries on"),
        oauth::Error::Refused(_) => Advice::new("The stored authorization is kept", compare),
    }
}
