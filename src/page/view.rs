//! HTML of what [`super::report`] says, and the headers that go with every answer.
//!
//! The templates escape whatever is put into them. Style sheet, script and icon are files beside the page, in `public/`,
//! which the host serves to anybody. The Content-Security-Policy allows these, forms for this very site, and nothing else.

use askama::Template;

use super::forms::Tokens;
use super::report::{Bar, Ending, Notice, Report, StepProgress, Tone, Transfer};
use crate::findings::Finding;

/// Behind the addresses of files in `public/`, so that browsers do not take an older one.
const STYLE: u32 = fingerprint(include_bytes!("../../public/style.css"));
const SCRIPT: u32 = fingerprint(include_bytes!("../../public/page.js"));
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Notices that fit into the widget beside the first one.
const WIDGET_NOTICES_MAX: usize = 2;

/// What a browser may load and do for a page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'";

/// Tells one content of a file from another (FNV-1a).
const fn fingerprint(bytes: &[u8]) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    hash
}

/// The headers of every answer.
pub fn headers() -> Vec<(&'static str, String)> {
    [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", POLICY),
        ("X-Content-Type-Options", "nosniff"),
        // With less, browsers would not say which page sends a form.
        ("Referrer-Policy", "same-origin"),
        ("Cache-Control", "no-store"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    report: &'a Report,
    tokens: Option<&'a Tokens>,
    state: String,
    chart: Chart<'a>,
}

#[derive(Template)]
#[template(path = "widget.html")]
struct Widget<'a> {
    report: &'a Report,
    state: String,
    notices: &'a [Notice],
    transfers: &'a [Transfer],
    more: usize,
}

#[derive(Template)]
#[template(path = "plain.html")]
struct Plain {
    title: &'static str,
    text: String,
    leads_back: bool,
}

impl Plain {
    fn new(title: &'static str, text: &str) -> Self {
        Self {
            title,
            text: text.to_owned(),
            leads_back: false,
        }
    }

    /// For visitors who may see the page: with a link to it.
    fn back(self) -> Self {
        Self {
            leads_back: true,
            ..self
        }
    }
}

/// The status page, with forms for who has tokens for them.
///
/// # Errors
/// If the template fails, which nothing in it does.
pub fn page(report: &Report, tokens: Option<&Tokens>) -> askama::Result<String> {
    Page {
        report,
        tokens,
        state: state(report),
        chart: Chart::new(&report.bars),
    }
    .render()
}

/// The widget for the dashboard.
///
/// # Errors
/// As [`page`].
pub fn widget(report: &Report) -> askama::Result<String> {
    let shown = report.notices.len().min(WIDGET_NOTICES_MAX);
    let (notices, others) = report.notices.split_at(shown);
    Widget {
        report,
        state: state(report),
        notices,
        transfers: report.transfers.get(..1).unwrap_or_default(),
        more: others.len(),
    }
    .render()
}

/// What is worth a word to somebody who listens to the page: not how far a run has come.
fn state(report: &Report) -> String {
    let lead = &report.lead;
    match lead.tone {
        Tone::Busy => Tone::Busy.class().to_owned(),
        _ => lead.title.clone(),
    }
}

/// For clients and strangers. It tells nothing about the installation.
///
/// # Errors
/// As [`page`].
pub fn not_for_you() -> askama::Result<String> {
    Plain::new(
        "This page is not for you",
        "It is for administrators who may view plugins. Log in as one and open it from the menu.",
    )
    .render()
}

/// For visitors about whom the host could not be asked. It tells nothing about the installation.
///
/// # Errors
/// As [`page`].
pub fn nobody_to_ask() -> askama::Result<String> {
    Plain::new(
        "This page cannot be shown at the moment",
        "The server did not tell who you are. Try again in a minute.",
    )
    .render()
}

/// For requests that are none of the page's. It tells nothing about the installation.
///
/// # Errors
/// As [`page`].
pub fn not_understood() -> askama::Result<String> {
    Plain::new("This was not understood", "Nothing was done.").render()
}

/// For admins who may view plugins and send a form.
///
/// # Errors
/// As [`page`].
pub fn only_to_be_looked_at() -> askama::Result<String> {
    Plain::new(
        "You may look at this page, but change nothing",
        "That takes the permission to edit plugins. Nothing was done.",
    )
    .back()
    .render()
}

/// For forms of another site.
///
/// # Errors
/// As [`page`].
pub fn from_elsewhere() -> askama::Result<String> {
    Plain::new(
        "This did not come from the plugin's page",
        "Another site may have sent it in your name, so nothing was done. If it was you, open the page again from UISP's menu, at the same address as UISP itself.",
    )
    .back()
    .render()
}

/// For forms that do not count any more.
///
/// # Errors
/// As [`page`].
pub fn stale() -> askama::Result<String> {
    Plain::new(
        "This form does not count any more",
        "It was used already, here or in another window, or is older than an hour. Nothing was done. Look at the page as it is now.",
    )
    .back()
    .render()
}

/// For an agreement to other files than are on hold now.
///
/// # Errors
/// As [`page`].
pub fn changed() -> askama::Result<String> {
    Plain::new(
        "The list has changed",
        "Other files are on hold than you have seen, so nothing was agreed to. Look again.",
    )
    .back()
    .render()
}

/// While a run goes on.
///
/// # Errors
/// As [`page`].
pub fn busy() -> askama::Result<String> {
    Plain::new(
        "A run is going on",
        "Nothing was done. Try again when it has ended.",
    )
    .back()
    .render()
}

/// For what cannot be done.
///
/// # Errors
/// As [`page`].
pub fn impossible(finding: &Finding) -> askama::Result<String> {
    Plain::new("This could not be done", &finding.line())
        .back()
        .render()
}

/// The chart of the runs, in its own units.
struct Chart<'a> {
    width: usize,
    bars: Vec<Placed<'a>>,
}

/// A bar and where it stands.
struct Placed<'a> {
    bar: &'a Bar,
    x: usize,
    y: u64,
    height: u64,
    /// Middle of the mark below the bar.
    middle: usize,
}

impl Chart<'_> {
    /// From one bar to the next.
    const STEP: usize = 12;
    /// Height of the highest bar.
    const HIGHEST: u64 = 48;

    fn new(bars: &[Bar]) -> Chart<'_> {
        let placed = bars.iter().enumerate().map(|(index, bar)| {
            // What was uploaded shows, however little it was.
            let height = (bar.height * Self::HIGHEST / 1000).max(u64::from(bar.height > 0) * 2);
            Placed {
                bar,
                x: index * Self::STEP + 2,
                y: Self::HIGHEST - height,
                height,
                middle: index * Self::STEP + Self::STEP / 2,
            }
        });
        Chart {
            width: bars.len() * Self::STEP,
            bars: placed.collect(),
        }
    }
}
