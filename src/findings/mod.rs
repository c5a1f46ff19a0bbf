//! What is found out, as values: what happened, what it means, what to do. Worded once, in [`table`],
//! and shown in many places: log, page, `check`, the monitoring service, the record of a run.
//!
//! Whoever meets something adds a [`Finding`] to the run's [`Findings`]; how many failed, whether a run was
//! good and what its record says are folds of them.

pub mod advice;
pub mod from;
pub mod labels;
pub mod table;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::secret;
use crate::text;
use advice::Advice;

/// Findings of one run that are kept; the log has them all.
const KEPT_MAX: usize = 100;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For the record.
    Info,
    /// Something deserves attention, although the work went on.
    Warning,
    /// The source may have something that the mirror lacks, through no failure of the run. A WARNING for
    /// people; the mirror is not well.
    Gap,
    /// Something was not done.
    Error,
}

impl Level {
    /// What stands in front of a line.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Info => "",
            Self::Warning | Self::Gap => "WARNING: ",
            Self::Error => "ERROR: ",
        }
    }
}

/// Something that was found out. No part ends with a full stop; a part may have several sentences or be empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Names the entry of the table that it was made from.
    pub code: Cow<'static, str>,
    /// How much it matters.
    pub level: Level,
    /// What happened.
    pub happened: String,
    /// What it means.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub meaning: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// What the other side said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// The backup or file that it is about, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
}

impl Finding {
    /// With what an error means and what to do about it, and with the error as the cause.
    pub fn explained(self, error: &dyn fmt::Display, advice: impl Into<Advice>) -> Self {
        self.advised(advice).because(error)
    }

    /// With what it means and what to do, behind what the table says of it.
    pub fn advised(mut self, advice: impl Into<Advice>) -> Self {
        let Advice { meaning, remedy } = advice.into();
        append(&mut self.meaning, &meaning);
        append(&mut self.remedy, &remedy);
        self
    }

    /// As a consequence of other findings: with what they say as the meaning, and with their remedies.
    pub fn after(mut self, others: &[Finding]) -> Self {
        for other in others {
            append(&mut self.meaning, &other.happened);
            append(&mut self.meaning, &other.meaning);
            append(&mut self.remedy, &other.remedy);
            self.cause.clone_from(&other.cause);
        }
        self
    }

    /// With what the other side said.
    pub fn because(mut self, cause: &dyn fmt::Display) -> Self {
        self.cause = cause.to_string();
        self
    }

    /// About this backup or file.
    pub fn about(mut self, name: &str) -> Self {
        self.row = Some(name.to_owned());
        self
    }

    /// Whether something was not done.
    pub fn is_error(&self) -> bool {
        self.level == Level::Error
    }

    /// What it means and what to do.
    pub fn explanation(&self) -> String {
        sentences([&self.meaning, &self.remedy])
    }

    /// Everything as one line.
    pub fn line(&self) -> String {
        let mut line = sentences([&self.happened, &self.meaning, &self.remedy]);
        if !self.cause.is_empty() {
            line.push_str(&format!(" Cause: {}.", self.cause));
        }
        line
    }

    /// The same without any secret and in one line, for a file or a page.
    fn fit_to_keep(&self) -> Self {
        let clean = |part: &str| text::one_line(&secret::redact(part));
        Self {
            happened: clean(&self.happened),
            meaning: clean(&self.meaning),
            remedy: clean(&self.remedy),
            cause: clean(&self.cause),
            row: self.row.as_deref().map(clean),
            ..self.clone()
        }
    }

    /// Writes it into the log.
    pub fn log(&self) {
        let level = match self.level {
            Level::Info => log::Level::Info,
            Level::Warning | Level::Gap => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::log!(level, "{}", self.line());
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line())
    }
}

fn append(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push_str(". ");
    }
    text.push_str(more);
}

/// The parts that are not empty, each with its full stop.
fn sentences<const N: usize>(parts: [&String; N]) -> String {
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    let ended = parts.map(|part| {
        let stop = if part.ends_with(['.', ':', '?']) {
            ""
        } else {
            "."
        };
        format!("{part}{stop}")
    });
    ended.collect::<Vec<_>>().join(" ")
}

/// What a run has found so far; everything goes into the log at once.
#[derive(Debug, Default)]
pub struct Findings(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    findings: Vec<Finding>,
    errors: usize,
    gaps: usize,
}

impl Findings {
    /// Adds a finding, and writes it into the log.
    pub fn add(&self, finding: Finding) {
        finding.log();
        if finding.level == Level::Info {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.errors += usize::from(finding.level == Level::Error);
        kept.gaps += usize::from(finding.level == Level::Gap);
        if kept.findings.len() < KEPT_MAX {
            kept.findings.push(finding.fit_to_keep());
        }
    }

    /// Adds several.
    pub fn extend(&self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }

    /// The value, or `None` with a finding for each thing that is wrong.
    pub fn accept<T>(&self, result: Result<T, Vec<Finding>>) -> Option<T> {
        result.map_err(|findings| self.extend(findings)).ok()
    }

    /// How many things failed.
    pub fn errors(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).errors
    }

    /// How much was found that the mirror may lack.
    pub fn gaps(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).gaps
    }

    /// The warnings and errors so far.
    pub fn kept(&self) -> Vec<Finding> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.findings.clone()
    }
}
