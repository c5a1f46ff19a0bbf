//! What an error means for the admin, and what to do next. The one place for this wording.

use crate::dropbox::{self, oauth};
use crate::http;
use crate::source::{self, Kind};

/// Label of the form's field for the code; the same words stand in `manifest.json`.
pub const FIELD_ACCESS_CODE: &str = "Dropbox access code";
/// Label of the form's field for the refresh token.
pub const FIELD_REFRESH_TOKEN: &str = "Dropbox refresh token";
/// Label of the form's field for the token of old.
pub const FIELD_LEGACY_TOKEN: &str = "Dropbox access token (legacy)";
/// Label of the form's field for the app key.
pub const FIELD_APP_KEY: &str = "Dropbox app key";
/// Label of the form's field for the app secret.
pub const FIELD_APP_SECRET: &str = "Dropbox app secret";
/// Label of the form's field for the monitoring service.
pub const FIELD_HEALTHCHECK: &str = "Healthcheck URL";
/// Label of the form's box for a fresh backup in each run.
pub const FIELD_CREATE_BACKUP: &str = "Create a fresh backup first";
/// Label of the form's field for UISP's token.
pub const FIELD_UISP_TOKEN: &str = "UISP API token";
/// Where the admin registered the app.
pub const APP_CONSOLE: &str = "https://www.dropbox.com/developers/apps";

/// How to authorize again.
pub fn authorize_again() -> String {
    format!(
        "To authorize again, clear the field \"{FIELD_REFRESH_TOKEN}\" in the plugin\'s configuration, save, and click \"Execute manually\"; the log then shows what to do"
    )
}

fn tls() -> &'static str {
    "The certificate was not accepted. If a firewall or proxy inspects TLS, put its certificate into a file and name that file in the environment variable SSL_CERT_FILE; otherwise check the server's clock"
}

/// The meaning of a failed call of Dropbox's API, without a final full stop.
pub fn dropbox(error: &dropbox::Error) -> String {
    use dropbox::Error;
    match error {
        Error::Network {
            cause: http::Error::Tls(_),
            ..
        } => tls().into(),
        Error::Network { .. } => {
            "The next run tries again. If this repeats, check the server's internet connection, DNS and proxy settings".into()
        }
        Error::Server { .. } | Error::Unfinished { .. } => {
            "Dropbox has a problem of its own. The next run tries again; there is nothing to do unless this repeats".into()
        }
        Error::Busy { .. } => {
            "Another program may be writing to the same Dropbox, or it was asked too often. The next run tries again; there is nothing to do unless this repeats".into()
        }
        Error::LegacyTokenRefused { .. } => format!(
            "The token in the field \"{FIELD_LEGACY_TOKEN}\" is revoked, lacks a permission, or was one of those that are valid for four hours only. Clear that field, fill \"{FIELD_APP_KEY}\" instead, save and click \"Execute manually\"; the log then shows how to authorize for good"
        ),
        Error::ExpiredAccessToken { .. } => "The next run tries again".into(),
        Error::MissingScope { scope, .. } => format!(
            "Open your app at {APP_CONSOLE}, tick {scope} on its Permissions tab and submit. A permission counts only for authorizations made after it was ticked. {}",
            authorize_again()
        ),
        Error::AccessRefused { .. } => format!(
            "Dropbox no longer accepts the authorization, so nothing is mirrored. {}",
            authorize_again()
        ),
        Error::Forbidden { .. } => {
            "The Dropbox account or its team does not allow this call; on some business plans the monthly quota of uploads is used up until the first of the month. Ask the team's administrator, or wait".into()
        }
        Error::Route { failure, .. } if failure.has("insufficient_space") => {
            "Dropbox is full. Free some space there or get more; what is missing is uploaded by the next run".into()
        }
        Error::Route { failure, .. } if failure.has("conflict") => {
            "Something else with this name is in the mirror folder already, and it is not touched. Rename or remove it in Dropbox; the next run tries again".into()
        }
        Error::Route { failure, .. }
            if failure.has("no_write_permission") || failure.has("access_restricted") =>
        {
            "The Dropbox account may not write to the mirror folder. Check its sharing and team settings".into()
        }
        Error::OtherVersion => "Try again: the newer version is taken then".into(),
        Error::Stopped(_) => "The next run carries on".into(),
        Error::Route { .. } | Error::Rejected { .. } | Error::Malformed { .. } => {
            "Something between this server and Dropbox may have changed the answer, or the plugin is at fault. The next run tries again; if this repeats, report it with this line".into()
        }
    }
}

/// Where a copy that differs from its backup comes from, without a final full stop.
pub fn differing_copy(kind: Kind) -> &'static str {
    match kind {
        Kind::Uisp => "It was probably cut off or damaged when another program uploaded it",
        Kind::Folder => {
            "Another program put it there or changed it; Dropbox keeps it among the file's previous versions for a while"
        }
    }
}

/// What to look at when a source has no finished backup, without a final full stop.
pub fn nothing_finished(kind: Kind) -> &'static str {
    match kind {
        Kind::Uisp => "Check in UISP under Settings, Backups, that backups are made",
        Kind::Folder => {
            "Check that the folder is mounted and that backups are made; files that are empty or were changed within the last minute do not count"
        }
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
pub fn confirm_cleanup(kind: Kind) -> &'static str {
    match kind {
        Kind::Uisp => "tick \"Confirm clean-up\" in the plugin's configuration and save",
        Kind::Folder => "set \"confirmCleanup\" to true in data/config.json",
    }
}

/// The meaning of a fault of the source, without a final full stop.
pub fn source(error: &source::Error) -> String {
    use source::Error;
    match error {
        Error::Network {
            cause: http::Error::Tls(_),
            ..
        } => tls().into(),
        Error::Network { .. } => {
            "UISP may be starting or overloaded. The next run tries again; if this repeats, check that UISP is running".into()
        }
        Error::Unauthorized { .. } => format!(
            "Make a new token in UISP under Network, Settings, Users, API tokens, put it into the field \"{FIELD_UISP_TOKEN}\" of the plugin's configuration and save"
        ),
        Error::Status { status: 404, .. } => {
            "It may have been deleted in UISP since the list was read. The next run finds out; there is nothing to do unless this repeats".into()
        }
        Error::Status { .. } => {
            "UISP has a problem of its own. The next run tries again; if this repeats, look at UISP's own log".into()
        }
        Error::Unexpected { .. } => {
            "A login page or a proxy may have answered instead of UISP. Nothing of it was stored. Check that UISP is running; the next run tries again".into()
        }
        Error::Truncated { .. } => {
            "Nothing incomplete was stored in Dropbox. The next run tries again; there is nothing to do unless this repeats".into()
        }
        Error::TooSlow { .. } => {
            "It was given up so that the other backups have their turn. Nothing of it was stored. The next run tries again; if this repeats, look at the load of the UISP server".into()
        }
        Error::CreationFailed => {
            "Look at UISP under Settings, Backups, and at its free disk space".into()
        }
        Error::CreationTooSlow => {
            "It is mirrored by a later run, once it is finished".into()
        }
        Error::OtherContent => {
            "The backup changed while it was being read. Nothing of it was stored. The next run tries again".into()
        }
        Error::Unreadable { .. } => {
            "Check that it exists, that its disk is mounted and sound, and that the user who runs this program may read it. The next run tries again".into()
        }
        Error::InUse => "The next run tries again; there is nothing to do unless this repeats".into(),
        Error::Stopped(_) => "The next run carries on".into(),
    }
}

/// The meaning of a fault of the source's list, without a final full stop.
pub fn listing(error: &source::Error) -> String {
    match error {
        source::Error::Status { status: 404, .. } => {
            "There is no UISP at this address, or its version has no such list. Check that UISP is running and that its version is 2.1 or newer; the next run tries again".into()
        }
        error => source(error),
    }
}

/// The meaning of a fresh backup that could not be made, without a final full stop.
pub fn creation(error: &source::Error) -> String {
    match error {
        source::Error::Unauthorized { .. } => format!(
            "Making backups takes an API token with read and write access. Make one in UISP under Network, Settings, Users, API tokens, put it into the field \"{FIELD_UISP_TOKEN}\" and save, or untick \"{FIELD_CREATE_BACKUP}\""
        ),
        source::Error::Status { status: 404, .. } => format!(
            "This version of UISP cannot be asked for a backup. Untick \"{FIELD_CREATE_BACKUP}\" in the plugin's configuration and save"
        ),
        error => source(error),
    }
}

/// The meaning of a refused or failed authorization with a stored refresh token.
pub fn authorization(error: &oauth::Error) -> String {
    match error {
        oauth::Error::InvalidGrant(_) => {
            "The authorization was revoked or belongs to another app. New backups are not copied until you authorize again".into()
        }
        oauth::Error::InvalidClient(_) => format!(
            "The values of \"{FIELD_APP_KEY}\" and \"{FIELD_APP_SECRET}\" do not belong to one app. Compare them with your app's Settings tab at {APP_CONSOLE}, correct them and save. The stored authorization is kept"
        ),
        oauth::Error::Unavailable(http::Error::Tls(_)) => tls().into(),
        oauth::Error::Busy { .. } | oauth::Error::Unavailable(_) => {
            "The stored authorization is kept. The next run tries again; if this repeats, check the server's internet connection, DNS and proxy settings".into()
        }
        oauth::Error::Stopped(_) => "The next run carries on".into(),
        oauth::Error::Refused(_) => format!(
            "The stored authorization is kept. Compare \"{FIELD_APP_KEY}\" and \"{FIELD_APP_SECRET}\" with your app's Settings tab at {APP_CONSOLE}"
        ),
    }
}
