//! What was found, link by link.

use std::fmt::Display;

use serde_json::{Value, json};

use super::super::{End, Failure, say, say_json};
use crate::advice;
use crate::dropbox;

/// What was found so far; said at once, or at the end as a document.
#[derive(Debug)]
pub(super) struct Report {
    is_json: bool,
    checks: Vec<Value>,
    is_broken: bool,
}

impl Report {
    pub(super) fn new(is_json: bool) -> Self {
        Self {
            is_json,
            checks: Vec::new(),
            is_broken: false,
        }
    }

    pub(super) fn ok(&mut self, link: &str, message: &str) -> Result<(), Failure> {
        self.add("ok", link, message, None)
    }

    /// `text` is a whole message: its first sentence says what is wrong, the rest what to do.
    pub(super) fn problem(&mut self, link: &str, text: &str) -> Result<(), Failure> {
        self.is_broken = true;
        let (message, fix) = text
            .split_once(". ")
            .map_or((text, None), |(message, fix)| (message, Some(fix)));
        self.add("problem", link, message, fix)
    }

    pub(super) fn skip_all(&mut self, links: &[&str], why: &str) -> Result<(), Failure> {
        links
            .iter()
            .try_for_each(|link| self.add("skipped", link, why, None))
    }

    /// Tells whether a permission is there, as a call that needs it has shown. Any answer of the route
    /// itself, a refusal too, comes behind the question of permission.
    pub(super) fn permission<T>(
        &mut self,
        link: &str,
        purpose: &str,
        is_needed: bool,
        outcome: &Result<T, dropbox::Error>,
    ) -> Result<bool, Failure> {
        use dropbox::Error;
        let error = match outcome {
            Ok(_) | Err(Error::Route { .. } | Error::Busy { .. }) => {
                self.ok(link, &format!("granted; {purpose}"))?;
                return Ok(true);
            }
            Err(error @ (Error::MissingScope { .. } | Error::LegacyTokenRefused { .. })) => error,
            Err(error) => {
                let text = format!(
                    "It could not be found out whether it is granted. {}. Cause: {error}.",
                    advice::dropbox(error)
                );
                self.problem(link, &text)?;
                return Ok(false);
            }
        };
        let (message, fix) = (format!("missing; {purpose}"), advice::dropbox(error));
        if is_needed {
            self.problem(link, &format!("{message}. {fix}."))?;
        } else {
            self.add("skipped", link, &message, Some(&fix))?;
        }
        Ok(false)
    }

    fn add(
        &mut self,
        result: &str,
        link: &str,
        message: &str,
        fix: Option<&str>,
    ) -> Result<(), Failure> {
        if self.is_json {
            self.checks
                .push(json!({"link": link, "result": result, "message": message, "fix": fix}));
            return Ok(());
        }
        say(&format!("{result:<7}  {link}: {message}"))?;
        match fix {
            Some(fix) => say(&format!("         -> {fix}")),
            None => Ok(()),
        }
    }

    pub(super) fn end(self) -> Result<End, Failure> {
        if self.is_json {
            say_json(&json!({"ok": !self.is_broken, "checks": self.checks}))?;
        } else if self.is_broken {
            say(
                "Something is broken: see the lines that begin with \"problem\", the first one first.",
            )?;
        } else {
            say("Every link holds.")?;
        }
        Ok(if self.is_broken {
            End::Wrong
        } else {
            End::Well
        })
    }
}

/// What happened, then what it means and what to do.
pub(super) fn explained(error: &dyn Display, meaning: &str) -> String {
    format!("{error}. {meaning}.")
}
