//! The steps of the setup, worded once: the log shows them in a frame, the page as a list, `status` in a line. Pure.

use crate::findings::labels::{APP_CONSOLE, FIELD_ACCESS_CODE, FIELD_APP_KEY, PERMISSIONS};

use super::stage::Stage;

/// All steps, in the order in which an admin meets them.
pub const TITLES: [&str; 3] = [
    "Choose the Dropbox app",
    "Allow access",
    "Copy the first backups",
];

/// What is written on the way to the code.
const ALLOW_ACCESS: &str = "Open Dropbox and allow access";
/// Columns of the log's frame.
const COLUMNS: usize = 80;

/// The step that an admin is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which one of [`TITLES`], from 1 on.
    pub number: usize,
    /// What it is about, behind "step 1 of 3: ".
    pub summary: &'static str,
    /// What to open for it.
    pub link: Option<Link>,
    /// What to do, one thing after another.
    pub instructions: Vec<String>,
}

/// An address and what is written on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The address.
    pub url: String,
    /// What it is for.
    pub label: &'static str,
}

impl Link {
    /// To the authorization page.
    pub fn allow_access(url: String) -> Self {
        let label = ALLOW_ACCESS;
        Self { url, label }
    }

    /// Whether a code is to be had behind it.
    pub fn gives_code(&self) -> bool {
        self.label == ALLOW_ACCESS
    }
}

/// The step at which nothing is mirrored without the admin; none once the plugin is authorized.
/// `url` is the authorization URL, if there is one yet.
pub fn step(stage: &Stage, url: Option<&str>) -> Option<Step> {
    let url = url.map(str::to_owned);
    Some(match stage {
        Stage::NeedsAppKey => choose_app(),
        Stage::NeedsCode { legacy: None, .. } => url.map_or_else(ask_for_address, allow_access),
        Stage::HasCode { fallback: None, .. } => use_code(),
        _ => return None,
    })
}

fn choose_app() -> Step {
    Step {
        number: 1,
        summary: "tell the plugin which Dropbox app to use",
        link: Some(Link {
            url: APP_CONSOLE.into(),
            label: "Open Dropbox's App Console",
        }),
        instructions: vec![
            "Click \"Create app\", choose \"Scoped access\" and \"App folder\", and give the app a name.".into(),
            permissions(),
            format!("Copy the App key from its Settings tab into the field \"{FIELD_APP_KEY}\" of the plugin's configuration and save. The next step then appears here at once; if it does not, click \"Execute manually\"."),
        ],
    }
}

/// What the app has to be allowed to do.
fn permissions() -> String {
    let all: Vec<String> = PERMISSIONS
        .iter()
        .map(|(name, purpose)| format!("{name} ({purpose})"))
        .collect();
    format!(
        "On its Permissions tab tick {}, then submit.",
        all.join(", ")
    )
}

/// Opening `url` in a browser and pasting the code.
pub fn allow_access(url: String) -> Step {
    Step {
        number: 2,
        summary: "allow the plugin to use its folder in your Dropbox",
        link: Some(Link::allow_access(url)),
        instructions: vec![
            "Click \"Allow\" on Dropbox's page.".into(),
            format!("Copy the access code that Dropbox shows to the plugin's page in UISP and click \"Connect\"; or into the field \"{FIELD_ACCESS_CODE}\" of the plugin's configuration and save. Be quick: it expires after a few minutes."),
            "The plugin uses the code at once and keeps the authorization from then on. If nothing happens, click \"Execute manually\".".into(),
        ],
    }
}

fn ask_for_address() -> Step {
    Step {
        link: None,
        instructions: vec![
            "Save the plugin's configuration once more, or click \"Execute manually\" on the plugin's page. The link then appears here and in the log.".into(),
        ],
        ..allow_access(String::new())
    }
}

fn use_code() -> Step {
    Step {
        number: 2,
        summary: "the access code is about to be used",
        link: None,
        instructions: vec![format!(
            "The code in the field \"{FIELD_ACCESS_CODE}\" is used by the next run. Click \"Execute manually\" on the plugin's page: the code expires after a few minutes."
        )],
    }
}

/// Waiting for the first run, once the plugin is authorized.
pub fn first_run() -> Step {
    Step {
        number: 3,
        summary: "the first run is about to begin",
        link: None,
        instructions: vec![
            "Dropbox accepted the code, and UISP was asked to start the plugin, which takes about a minute. If nothing happens, see that the plugin is enabled and click \"Execute manually\" on its page. Set its execution period to 24 hours.".into(),
        ],
    }
}

impl Step {
    /// In a line, without a final full stop: `step 1 of 3: tell the plugin which Dropbox app to use`.
    pub fn line(&self) -> String {
        format!("step {} of {}: {}", self.number, TITLES.len(), self.summary)
    }

    /// As the log shows it: framed, with the address in a line of its own.
    pub fn framed(&self) -> String {
        let frame = "=".repeat(COLUMNS);
        let mut text = format!("{frame}\nSetup, {}.\n\n", self.line());
        let link = self.link.as_ref();
        if let Some(link) = link {
            text += &format!("  1. Open this address in a browser:\n\n{}\n\n", link.url);
        }
        for (instruction, number) in self
            .instructions
            .iter()
            .zip(1 + usize::from(link.is_some())..)
        {
            text += &wrapped(&format!("  {number}. "), instruction);
        }
        text + &frame
    }
}

/// Lines of at most [`COLUMNS`] characters; all but the first are indented as far as `start` reaches.
fn wrapped(start: &str, text: &str) -> String {
    let indent = " ".repeat(start.len());
    let mut lines = String::new();
    let mut line = start.to_owned();
    for word in text.split(' ') {
        let is_first = line.ends_with(' ');
        if !is_first && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines += &line;
            lines.push('\n');
            line.clone_from(&indent);
        } else if !is_first {
            line.push(' ');
        }
        line += word;
    }
    lines + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_holds_every_word_and_the_address_stands_alone() {
        let url = format!("https://dropbox.invalid/{}", "x".repeat(200));
        let step = allow_access(url.clone());
        let text = step.framed();
        assert!(text.lines().any(|line| line == url), "{text}");
        let fits = |line: &str| line == url || line.chars().count() <= COLUMNS;
        assert!(text.lines().all(fits), "{text}");
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let shown = words(&text).join(" ");
        for instruction in &step.instructions {
            assert!(shown.contains(instruction.as_str()), "{text}");
        }
    }
}
