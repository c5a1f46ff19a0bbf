//! `data/page.key`: what the forms of the status page are signed with.
//!
//! A form's token counts for one user, one action and one hour, and no longer than the key. The key is replaced when
//! something is done on the word of a form, so that no form counts twice.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::atomic;

/// Length of a key in bytes.
const BYTES: usize = 32;
/// How long a token counts.
const AGE_MAX: TimeDelta = TimeDelta::hours(1);

/// The key as it stands on disk.
pub struct Key(hmac::Key);

/// What a token counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose<'a> {
    /// Who may use it, in the host's words.
    pub user: &'a str,
    /// For which form.
    pub action: &'a str,
}

impl Key {
    /// Reads the key; none where there is no usable one.
    pub fn read(path: &Path) -> Option<Self> {
        let bytes = super::read(path, BYTES as u64).ok()?;
        (bytes.len() == BYTES).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// Puts a new key in the place of the old one, in a file that only its owner can read.
    ///
    /// # Errors
    /// If it cannot be written; the old one counts then.
    pub fn renew(path: &Path) -> io::Result<()> {
        let mut bytes = [0; BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| io::Error::other("the system has no random numbers"))?;
        atomic::write(path, &bytes)
    }

    /// Makes a key where there is no usable one.
    ///
    /// # Errors
    /// As [`Key::renew`].
    pub fn make(path: &Path) -> io::Result<()> {
        match Self::read(path) {
            Some(_) => Ok(()),
            None => Self::renew(path),
        }
    }

    /// The token of a form that is shown now.
    pub fn token(&self, purpose: &Purpose<'_>, now: DateTime<Utc>) -> String {
        let time = now.timestamp();
        let tag = hmac::sign(&self.0, &signed(purpose, time));
        format!("{time}-{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Whether a token is one of ours, for this purpose, and young enough.
    pub fn accepts(&self, token: &str, purpose: &Purpose<'_>, now: DateTime<Utc>) -> bool {
        let parts = token.split_once('-').and_then(|(time, tag)| {
            let time: i64 = time.parse().ok()?;
            Some((time, URL_SAFE_NO_PAD.decode(tag).ok()?))
        });
        parts.is_some_and(|(time, tag)| {
            let age = now.timestamp().saturating_sub(time);
            (0..=AGE_MAX.num_seconds()).contains(&age)
                && hmac::verify(&self.0, &signed(purpose, time), &tag).is_ok()
        })
    }
}

/// The user comes last: the host's word may hold anything.
fn signed(purpose: &Purpose<'_>, time: i64) -> Vec<u8> {
    format!("{time}\n{}\n{}", purpose.action, purpose.user).into_bytes()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const PURPOSE: Purpose<'_> = Purpose {
        user: "1 admin",
        action: "run",
    };

    #[test]
    fn a_token_counts_for_one_user_one_action_one_hour_and_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.key");
        assert!(Key::read(&path).is_none());
        Key::make(&path).unwrap();
        let key = Key::read(&path).unwrap();
        let now: DateTime<Utc> = "2026-11-21T09:30:00Z".parse().unwrap();
        let token = key.token(&PURPOSE, now);
        let accepts = |token: &str, purpose: &Purpose<'_>, seconds: i64| {
            let now = now + TimeDelta::seconds(seconds);
            Key::read(&path).unwrap().accepts(token, purpose, now)
        };
        assert!(accepts(&token, &PURPOSE, 0) && accepts(&token, &PURPOSE, 3600));
        assert!(!accepts(&token, &PURPOSE, 3601) && !accepts(&token, &PURPOSE, -1));
        for (user, action) in [
            ("2 admin", "run"),
            ("1 admin", "agree"),
            ("1 admin\n", "run"),
        ] {
            assert!(!accepts(&token, &Purpose { user, action }, 0));
        }
        let (time, tag) = token.split_once('-').unwrap();
        for forged in [
            "",
            "-",
            "1-",
            time,
            &format!("{}-{tag}", now.timestamp() + 1),
            &format!("{token}A"),
        ] {
            assert!(!accepts(forged, &PURPOSE, 1), "{forged}");
        }
        Key::make(&path).unwrap();
        assert!(accepts(&token, &PURPOSE, 0), "a key that is there stays");
        Key::renew(&path).unwrap();
        assert!(
            !accepts(&token, &PURPOSE, 0),
            "a new key ends the old one's tokens"
        );
    }

    #[test]
    fn only_its_owner_can_read_the_key_and_a_damaged_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.key");
        Key::make(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        for damaged in ["short".to_owned(), "x".repeat(BYTES + 1)] {
            fs::write(&path, damaged).unwrap();
            assert!(Key::read(&path).is_none());
            Key::make(&path).unwrap();
            assert!(Key::read(&path).is_some());
        }
    }
}
