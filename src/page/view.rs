//! HTML of what [`super::report`] says, and the headers that go with every answer.
//!
//! The templates escape whatever is put into them. Nothing is loaded from anywhere: the style sheet stands in the
//! page, and its hash in the Content-Security-Policy, which allows nothing else.

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::report::{Bar, Ending, Notice, Report, Row, StepProgress, Transfer};

const STYLE: &str = include_str!("templates/style.css");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Backups that are shown before somebody asks for more.
const ROWS_SHOWN: usize = 10;
/// Notices that fit into the widget beside the first one.
const WIDGET_NOTICES_MAX: usize = 2;

/// The headers of every answer.
pub fn headers() -> Vec<(&'static str, String)> {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    );
    [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", policy.as_str()),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-store"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    report: &'a Report,
    newest: &'a [Row],
    older: &'a [Row],
    chart: Chart<'a>,
}

#[derive(Template)]
#[template(path = "widget.html")]
struct Widget<'a> {
    report: &'a Report,
    notices: &'a [Notice],
    transfers: &'a [Transfer],
    more: usize,
}

#[derive(Template)]
#[template(path = "plain.html")]
struct Plain {
    title: &'static str,
    text: &'static str,
}

/// The status page.
///
/// # Errors
/// If the template fails, which nothing in it does.
pub fn page(report: &Report) -> askama::Result<String> {
    let shown = report.backups.len().min(ROWS_SHOWN);
    let (newest, older) = report.backups.split_at(shown);
    Page {
        report,
        newest,
        older,
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
        notices,
        transfers: report.transfers.get(..1).unwrap_or_default(),
        more: others.len(),
    }
    .render()
}

/// For clients and strangers. It tells nothing about the installation.
///
/// # Errors
/// As [`page`].
pub fn not_for_you() -> askama::Result<String> {
    Plain {
        title: "This page is not for you",
        text: "It is for administrators who may view plugins. Log in as one and open it from the menu.",
    }
    .render()
}

/// For visitors about whom the host could not be asked. It tells nothing about the installation.
///
/// # Errors
/// As [`page`].
pub fn nobody_to_ask() -> askama::Result<String> {
    Plain {
        title: "This page cannot be shown at the moment",
        text: "The server did not tell who you are. Try again in a minute.",
    }
    .render()
}

/// For requests that want more than to read.
///
/// # Errors
/// As [`page`].
pub fn only_to_be_read() -> askama::Result<String> {
    Plain {
        title: "This page can only be read",
        text: "It has nothing that could be changed.",
    }
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
