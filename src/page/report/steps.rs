//! The steps of the setup, and what to do in the current one. Pure.

use super::Facts;
use super::notices::{Link, allow_access};
use crate::advice::{APP_CONSOLE, FIELD_ACCESS_CODE, FIELD_APP_KEY};
use crate::setup::stage::{Stage, stage};
use crate::state::Memory;

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
pub(super) fn steps(facts: &Facts, memory: &Memory) -> Vec<Step> {
    let Ok(settings) = &facts.settings else {
        return Vec::new();
    };
    let (current, texts, link) = match stage(settings) {
        Stage::NeedsAppKey => (0, app_key_texts(), Some(Link {
            url: APP_CONSOLE.into(),
            label: "Open Dropbox's App Console",
        })),
        Stage::NeedsCode { legacy: None, .. } => match facts.url.clone() {
            Some(url) => (1, code_texts(), Some(allow_access(url))),
            None => (1, vec![
                "Save the plugin's configuration once more, or click \"Execute manually\" on the plugin's page. The link then appears here and in the log.".into(),
            ], None),
        },
        Stage::HasCode { fallback: None, .. } => (1, vec![format!(
            "The code in the field \"{FIELD_ACCESS_CODE}\" is used by the next run. Click \"Execute manually\" on the plugin's page: the code expires after a few minutes."
        )], None),
        Stage::HasRefreshToken { .. } if memory.runs.is_empty() && facts.memory.is_ok() => (2, vec![
            "Dropbox accepted the code, and UISP was asked to start the plugin, which takes about a minute. If nothing happens, see that the plugin is enabled and click \"Execute manually\" on its page. Set its execution period to 24 hours.".into(),
        ], None),
        _ => return Vec::new(),
    };
    let mut guide = Some((texts, link));
    [
        "Choose the Dropbox app",
        "Allow access",
        "Copy the first backups",
    ]
    .into_iter()
    .enumerate()
    .map(|(number, title)| {
        let progress = match number.cmp(&current) {
            std::cmp::Ordering::Less => StepProgress::Done,
            std::cmp::Ordering::Equal => StepProgress::Current,
            std::cmp::Ordering::Greater => StepProgress::Ahead,
        };
        let is_current = progress == StepProgress::Current;
        let (texts, link) = guide.take_if(|_| is_current).unwrap_or_default();
        Step {
            title,
            progress,
            texts,
            link,
        }
    })
    .collect()
}

fn app_key_texts() -> Vec<String> {
    vec![
        "Create an app there with \"Scoped access\" and \"App folder\", and give it a name.".into(),
        "On its Permissions tab tick files.metadata.read and files.content.write, then submit."
            .into(),
        format!(
            "Copy the App key from its Settings tab into the field \"{FIELD_APP_KEY}\" of the plugin's configuration and save. This page then shows the next step."
        ),
    ]
}

fn code_texts() -> Vec<String> {
    vec![
        "Click \"Allow\" on Dropbox's page.".into(),
        format!(
            "Copy the access code that Dropbox shows into the field \"{FIELD_ACCESS_CODE}\" of the plugin's configuration and save soon: it expires after a few minutes."
        ),
    ]
}
