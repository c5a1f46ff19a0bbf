//! What was found, link by link.

use serde_json::{Value, json};

use super::super::{End, Failure, say, say_json};
use crate::dropbox;
use crate::findings::{Finding, table};

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

    /// The link is broken.
    pub(super) fn problem(&mut self, link: &str, finding: &Finding) -> Result<(), Failure> {
        self.is_broken = true;
        self.tell("problem", link, finding)
    }

    fn tell(&mut self, result: &str, link: &str, finding: &Finding) -> Result<(), Failure> {
        let mut message = finding.happened.clone();
        if !finding.cause.is_empty() {
            message += &format!(" ({})", finding.cause);
        }
        let fix = Some(finding.explanation()).filter(|fix| !fix.is_empty());
        self.add(result, link, &message, fix.as_deref())
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
                let finding = table::permission_unknown().explained(error, error);
                self.problem(link, &finding)?;
                return Ok(false);
            }
        };
        let finding = table::permission_missing(purpose).advised(error);
        if is_needed {
            self.problem(link, &finding)?;
        } else {
            self.tell("skipped", link, &finding)?;
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
