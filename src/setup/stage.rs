//! Which stage of the authorization a configuration is in. Pure.

use crate::dropbox::oauth::App;
use crate::plugin::config::Settings;
use crate::secret::Secret;

/// What can be used when a pasted code turns out to be worth nothing, or while none is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A refresh token of the configured app.
    RefreshToken(Secret),
    /// A long-lived token of old.
    LegacyToken(Secret),
}

/// The stages, in the order in which an admin meets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing to begin with.
    NeedsAppKey,
    /// The admin has to open the authorization URL; meanwhile a legacy token may serve.
    NeedsCode {
        /// The app.
        app: App,
        /// The legacy token, if there is one.
        legacy: Option<Secret>,
    },
    /// Somebody just pasted a code; it wins over whatever is stored.
    HasCode {
        /// The app.
        app: App,
        /// The code.
        code: Secret,
        /// What is stored already.
        fallback: Option<Stored>,
    },
    /// Authorized.
    HasRefreshToken {
        /// The app.
        app: App,
        /// The token.
        refresh_token: Secret,
    },
    /// Only the token of old.
    HasLegacyToken(Secret),
}

impl Stage {
    /// The app, once it is known.
    pub fn app(&self) -> Option<&App> {
        match self {
            Self::NeedsCode { app, .. }
            | Self::HasCode { app, .. }
            | Self::HasRefreshToken { app, .. } => Some(app),
            Self::NeedsAppKey | Self::HasLegacyToken(_) => None,
        }
    }
}

/// The stage of `settings`.
pub fn stage(settings: &Settings) -> Stage {
    let legacy = settings.legacy_token.clone();
    let Some(key) = settings.app_key.clone() else {
        return legacy.map_or(Stage::NeedsAppKey, Stage::HasLegacyToken);
    };
    let app = App {
        key,
        secret: settings.app_secret.clone(),
    };
    let refresh_token = settings.refresh_token.clone();
    match (settings.access_code.clone(), refresh_token) {
        (Some(code), stored) => Stage::HasCode {
            app,
            code,
            fallback: stored
                .map(Stored::RefreshToken)
                .or(legacy.map(Stored::LegacyToken)),
        },
        (None, Some(refresh_token)) => Stage::HasRefreshToken { app, refresh_token },
        (None, None) => Stage::NeedsCode { app, legacy },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stage's name, for each of the 16 combinations of the four fields that decide.
    fn name(key: bool, code: bool, refresh: bool, legacy: bool) -> &'static str {
        let secret = |present: bool| present.then(|| Secret::new("fake"));
        let settings = Settings {
            app_key: key.then(|| "fake".into()),
            access_code: secret(code),
            refresh_token: secret(refresh),
            legacy_token: secret(legacy),
            ..Settings::default()
        };
        match stage(&settings) {
            Stage::NeedsAppKey => "needs app key",
            Stage::NeedsCode { legacy: None, .. } => "needs code",
            Stage::NeedsCode { .. } => "needs code, legacy meanwhile",
            Stage::HasCode { fallback: None, .. } => "code",
            Stage::HasCode {
                fallback: Some(Stored::RefreshToken(_)),
                ..
            } => "code, else refresh token",
            Stage::HasCode { .. } => "code, else legacy",
            Stage::HasRefreshToken { .. } => "refresh token",
            Stage::HasLegacyToken(_) => "legacy",
        }
    }

    #[test]
    fn every_combination_has_its_stage() {
        for (code, refresh) in [(false, false), (true, false), (false, true), (true, true)] {
            assert_eq!(name(false, code, refresh, false), "needs app key");
            assert_eq!(name(false, code, refresh, true), "legacy");
        }
        assert_eq!(name(true, false, false, false), "needs code");
        assert_eq!(
            name(true, false, false, true),
            "needs code, legacy meanwhile"
        );
        assert_eq!(name(true, true, false, false), "code");
        assert_eq!(name(true, true, false, true), "code, else legacy");
        assert_eq!(name(true, true, true, false), "code, else refresh token");
        assert_eq!(name(true, true, true, true), "code, else refresh token");
        assert_eq!(name(true, false, true, false), "refresh token");
        assert_eq!(name(true, false, true, true), "refresh token");
    }
}
