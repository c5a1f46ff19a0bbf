//! Values that must never be shown: tokens, secrets, access codes and code verifiers.
//!
//! A [`Secret`] has no `Display`, and `Debug` prints a placeholder, so a secret reaches text only
//! where the code says [`Secret::expose`], which can be searched for. Foreign texts are another way:
//! an error page may repeat what was sent. [`redact`] removes every secret that this process knows
//! from such a text.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest;
use serde::{Deserialize, Serialize};

/// Shorter texts are not looked for: they would be found in words.
const LENGTH_MIN: usize = 6;
/// What stands in a text where a secret was.
const REDACTED: &str = "[redacted]";

/// Every secret of this process, as it may stand in a text.
static KNOWN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A text that cannot be formatted.
///
/// It can be serialised, because the refresh token and the code verifier are stored on disk; the
/// only serialised forms are `data/config.json` and `data/state.json`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        let secret = Self(text.into());
        secret.register();
        secret
    }

    fn register(&self) {
        // Not while fuzzing, where each of millions of inputs would add its own.
        if self.0.len() < LENGTH_MIN || cfg!(fuzzing) {
            return;
        }
        let encoded: String = url::form_urlencoded::byte_serialize(self.0.as_bytes()).collect();
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let quoted = serde_json::json!(self.0).to_string();
        let in_json = quoted[1..quoted.len() - 1].to_owned();
        for form in [self.0.clone(), encoded, in_json] {
            if !known.contains(&form) {
                known.push(form);
            }
        }
    }

    /// What tells the word from others, whatever the case of its letters, without telling the word.
    pub fn fingerprint(&self) -> String {
        let word = self.0.to_ascii_lowercase();
        BASE64.encode(digest::digest(&digest::SHA256, word.as_bytes()))
    }

    /// The text itself, for the one place that sends or stores it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// `text` without the secrets that this process knows.
pub fn redact(text: &str) -> Cow<'_, str> {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = Cow::Borrowed(text);
    for secret in known.iter() {
        if text.contains(secret) {
            text = Cow::Owned(text.replace(secret, REDACTED));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_texts_lose_the_secrets_that_are_known() {
        let _secret = Secret::new("fake/secret of a test");
        let _short = Secret::new("abc");
        let text = "before fake/secret of a test, fake%2Fsecret+of+a+test after abc";
        assert_eq!(redact(text), "before [redacted], [redacted] after abc");
        let quoted = Secret::new("fake \"quoted\" secret");
        let json = serde_json::json!([quoted.expose()]).to_string();
        assert_eq!(redact(&json), "[\"[redacted]\"]");
    }

    #[test]
    fn a_fingerprint_tells_words_apart_and_does_not_tell_them() {
        let word = Secret::new("fakeword");
        assert_eq!(word.fingerprint(), Secret::new("FakeWord").fingerprint());
        assert_ne!(word.fingerprint(), Secret::new("fakewort").fingerprint());
        assert!(!word.fingerprint().contains("fakeword"));
    }

    #[test]
    fn debug_output_hides_the_text() {
        assert_eq!(format!("{:?}", Secret::new("fake-secret")), "[redacted]");
        assert_eq!(
            format!("{:?}", Some(Secret::new("fake-secret"))),
            "Some([redacted])"
        );
    }
}
