//! Progress bars for somebody who watches at a terminal; elsewhere they are silent.
//!
//! They live on standard error. What else goes there while a bar may be shown is written by
//! [`above_bars`], so that neither tears the other.

use std::fmt::Write;
use std::sync::LazyLock;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::text;

/// Two lines, because the name of a backup fills most of one.
const KNOWN_LENGTH: &str =
    "{msg}\n[{wide_bar}] {percent} %, {held} of {length}, {rate}, {left} left";
const UNKNOWN_LENGTH: &str = "{msg}\n{held} so far, {rate}";

/// All bars of this process, one below the other. Without a terminal they draw nothing.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// How far a transfer has come: percent, bytes, rate, time left. Dropping it takes it off the terminal.
#[derive(Debug)]
pub struct ProgressBar(indicatif::ProgressBar);

impl ProgressBar {
    /// Shows a bar for a transfer of `length` bytes that goes on behind the byte `begins_at`.
    pub fn new(name: &str, begins_at: u64, length: Option<u64>) -> Self {
        // Joins the others before it is drawn.
        let bar = indicatif::ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        bar.set_position(begins_at);
        bar.set_message(name.to_owned());
        bar.set_style(style(begins_at, length));
        let bar = BARS.add(bar);
        bar.tick();
        Self(bar)
    }

    /// The transfer has come to this byte.
    pub fn advance_to(&self, byte: u64) {
        self.0.set_position(byte);
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
        BARS.remove(&self.0);
    }
}

/// Takes the bars off the terminal while `write` writes to it.
pub fn above_bars<T>(write: impl FnOnce() -> T) -> T {
    BARS.suspend(write)
}

fn style(begins_at: u64, length: Option<u64>) -> ProgressStyle {
    // What an earlier run has moved says nothing about the rate of this one.
    let rate = move |state: &ProgressState| {
        state.pos().saturating_sub(begins_at) as f64 / state.elapsed().as_secs_f64().max(1.0)
    };
    let left = move |state: &ProgressState| {
        let bytes = state.len().unwrap_or(0).saturating_sub(state.pos());
        Duration::from_secs_f64((bytes as f64 / rate(state).max(1.0)).min(1e9))
    };
    let template = length.map_or(UNKNOWN_LENGTH, |_| KNOWN_LENGTH);
    // The templates are right as they stand; what cannot be drawn is left out.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .with_key("held", |state: &ProgressState, to: &mut dyn Write| {
            let _ = to.write_str(&text::bytes(state.pos()));
        })
        .with_key("length", |state: &ProgressState, to: &mut dyn Write| {
            let _ = to.write_str(&text::bytes(state.len().unwrap_or(0)));
        })
        .with_key("rate", move |state: &ProgressState, to: &mut dyn Write| {
            let _ = write!(to, "{}/s", text::bytes(rate(state) as u64));
        })
        .with_key("left", move |state: &ProgressState, to: &mut dyn Write| {
            let _ = to.write_str(&text::duration(left(state)));
        })
}
