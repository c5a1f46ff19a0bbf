//! Values that must never be shown: tokens, secrets, access codes and code verifiers.
//!
//! A [`Secret`] has no `Display`, and `Debug` prints a placeholder, so a secret reaches text only
//! where the code says [`Secret::expose`], which can be searched for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text that cannot be formatted.
///
/// It can be serialised, because the refresh token and the code verifier are stored on disk; the
/// only serialised forms are `data/config.json` and `data/state.json`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends or stores it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_text() {
        assert_eq!(format!("{:?}", Secret::new("fake-secret")), "[redacted]");
        assert_eq!(
            format!("{:?}", Some(Secret::new("fake-secret"))),
            "Some([redacted])"
        );
    }
}
