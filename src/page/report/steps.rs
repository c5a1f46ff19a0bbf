//! The steps of the setup, and what to do in the current one. Pure.

use super::Facts;
use crate::record::Record;
use crate::setup::guide::{self, Link};
use crate::setup::stage::{Stage, stage};

/// One step of the setup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is about.
    pub title: &'static str,
    /// Where the admin stands.
    pub progress: StepProgress,
    /// What to do; for the current step only.
    pub texts: Vec<String>,
    /// What to open for it.
    pub link: Option<Link>,
}

/// Where the admin stands with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepProgress {
    /// Behind.
    Done,
    /// To be done now.
    Current,
    /// To come.
    Ahead,
}

/// The steps of the setup; none once the plugin has run with an authorization.
pub(super) fn steps(facts: &Facts, record: &Record) -> Vec<Step> {
    let Some(stage) = facts.settings.as_ref().ok().map(stage) else {
        return Vec::new();
    };
    let waits = matches!(stage, Stage::HasRefreshToken { .. })
        && record.runs.is_empty()
        && facts.url(record).is_none()
        && facts.record.is_ok();
    let url = facts.url(record);
    let current = guide::step(&stage, url.as_deref()).or_else(|| waits.then(guide::first_run));
    let Some(current) = current else {
        return Vec::new();
    };
    let steps = guide::TITLES.into_iter().zip(1..);
    steps
        .map(|(title, number)| match number.cmp(&current.number) {
            std::cmp::Ordering::Less => Step::other(title, StepProgress::Done),
            std::cmp::Ordering::Greater => Step::other(title, StepProgress::Ahead),
            std::cmp::Ordering::Equal => Step {
                title,
                progress: StepProgress::Current,
                texts: current.instructions.clone(),
                link: current.link.clone(),
            },
        })
        .collect()
}

impl Step {
    fn other(title: &'static str, progress: StepProgress) -> Self {
        Self {
            title,
            progress,
            texts: Vec::new(),
            link: None,
        }
    }
}
