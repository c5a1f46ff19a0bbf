//! Situations that an admin may find the plugin in, each brought about by real runs of the program.
//!
//! Days pass by ageing the plugin's memory between two runs, and by setting the clock of Dropbox.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::Value;

use super::world::{APP_KEY, World, authorization_link};
use crate::host::Plugin;
use crate::http::Link;
use crate::uisp::{Backup, RawAnswer};

/// A scene's name, what it shows, and how it comes about.
type Described = (
    &'static str,
    &'static str,
    fn(&World, &mut Plugin) -> Result<()>,
);

/// All scenes.
pub const SCENES: [Described; 11] = [
    ("newcomer", "The plugin has just been installed.", newcomer),
    (
        "no-key",
        "UISP's token is filled in, nothing of Dropbox.",
        no_key,
    ),
    (
        "needs-code",
        "The authorization link waits to be opened.",
        needs_code,
    ),
    ("well", "All has been well for days.", well),
    ("running", "A large backup is on its way.", running),
    ("failed", "UISP's token was deleted.", failed),
    (
        "unauthorized",
        "The app's access was removed in Dropbox.",
        unauthorized,
    ),
    ("on-hold", "Most backups have vanished at UISP.", on_hold),
    (
        "legacy",
        "A long-lived token of old is still in use.",
        legacy,
    ),
    ("overdue", "The schedule has stopped a week ago.", overdue),
    ("hostile", "UISP answers with scripts.", hostile),
];

/// What a script would be that got into a page.
const SCRIPT: &str = "<script>document.title='script has run'</script>";

const MIB: u64 = 1024 * 1024;

/// Numbers for ids, across all scenes.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// A finished backup that was made so many days ago.
pub(super) fn backup(days_ago: u64, more_bytes: u64) -> Backup {
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    let time = Utc::now() - day_length(days_ago) - Duration::from_secs(12 * 60);
    Backup::finished(
        &format!("5f0c1b7e-3d52-4c8a-9e61-{number:012x}"),
        &time.to_rfc3339_opts(SecondsFormat::Millis, true),
        MIB + MIB / 3 + number * 12_345 + more_bytes,
    )
}

fn newcomer(world: &World, _: &mut Plugin) -> Result<()> {
    for days_ago in [2, 1, 0] {
        world.uisp.add(backup(days_ago, 0));
    }
    Ok(())
}

fn no_key(world: &World, plugin: &mut Plugin) -> Result<()> {
    newcomer(world, plugin)?;
    plugin.save_form(&[("unmsApiToken", &world.uisp.token())])?;
    plugin.enable()?;
    execute(plugin)
}

fn needs_code(world: &World, plugin: &mut Plugin) -> Result<()> {
    no_key(world, plugin)?;
    plugin.save_form(&[("dropboxAppKey", APP_KEY)])?;
    execute(plugin)
}

/// How many days in a row were mirrored, and how many backups there are in the end.
const DAYS: u64 = 7;
const BACKUPS: u64 = 30;

/// Authorized, and mirrored daily until so many days ago; nothing has happened since.
fn mirrored_until(days_ago: u64, world: &World, plugin: &mut Plugin) -> Result<()> {
    let first = days_ago + DAYS;
    for day in (first..days_ago + BACKUPS).rev() {
        world.uisp.add(backup(day, 0));
    }
    world.dropbox.set_clock_back(day_length(first));
    plugin.save_form(&[
        ("unmsApiToken", &world.uisp.token()),
        ("dropboxAppKey", APP_KEY),
    ])?;
    plugin.enable()?;
    execute(plugin)?;
    let log = plugin.log();
    let link = authorization_link(&log).context("there is no link in the log")?;
    let code = world.dropbox.allow(link).map_err(anyhow::Error::msg)?;
    plugin.save_form(&[("dropboxAccessCode", &code)])?;
    execute(plugin)?;
    for day in (days_ago..first).rev() {
        age(plugin, 1)?;
        world.dropbox.set_clock_back(day_length(day));
        // One day brings a larger one, so that the chart has something to show.
        let more_bytes = if day == days_ago + 3 { 3 * MIB } else { 0 };
        world.uisp.add(backup(day, more_bytes));
        execute(plugin)?;
    }
    age(plugin, days_ago)?;
    world.dropbox.set_clock_back(Duration::ZERO);
    Ok(())
}

fn well(world: &World, plugin: &mut Plugin) -> Result<()> {
    mirrored_until(0, world, plugin)
}

fn running(world: &World, plugin: &mut Plugin) -> Result<()> {
    mirrored_until(1, world, plugin)?;
    world.uisp.add(backup(0, 2048 * MIB));
    world.dropbox.set_link(Link {
        bytes_per_second_total: Some(12_000_000),
        ..Link::default()
    });
    // The host's schedule starts it.
    plugin.request_execution()
}

fn failed(world: &World, plugin: &mut Plugin) -> Result<()> {
    mirrored_until(1, world, plugin)?;
    world.uisp.add(backup(0, 0));
    world
        .uisp
        .configure(|options| "another-test-token".clone_into(&mut options.token));
    execute(plugin)
}

fn unauthorized(world: &World, plugin: &mut Plugin) -> Result<()> {
    mirrored_until(1, world, plugin)?;
    world.uisp.add(backup(0, 0));
    world.dropbox.revoke_all_tokens();
    execute(plugin)
}

fn on_hold(world: &World, plugin: &mut Plugin) -> Result<()> {
    mirrored_until(1, world, plugin)?;
    for backup in world.uisp.backups().iter().skip(4) {
        world.uisp.remove(&backup.id);
    }
    world.uisp.add(backup(0, 0));
    execute(plugin)
}

fn legacy(world: &World, plugin: &mut Plugin) -> Result<()> {
    newcomer(world, plugin)?;
    plugin.save_form(&[
        ("unmsApiToken", &world.uisp.token()),
        ("dropboxAccessToken", &world.dropbox.issue_legacy_token()),
    ])?;
    plugin.enable()?;
    execute(plugin)
}

fn overdue(world: &World, plugin: &mut Plugin) -> Result<()> {
    mirrored_until(7, world, plugin)
}

fn hostile(world: &World, plugin: &mut Plugin) -> Result<()> {
    well(world, plugin)?;
    // First as names and states in the list, then as an answer that ends in the run's error.
    world.uisp.add(Backup::finished(SCRIPT, SCRIPT, MIB));
    world.uisp.add(backup(0, 0).in_state(SCRIPT));
    execute(plugin)?;
    let page = RawAnswer::html(200, &format!("<html>{SCRIPT}</html>"));
    world.uisp.answer_list(Some(page));
    execute(plugin)
}

/// One run, by the button, and further ones if the plugin asks for them.
fn execute(plugin: &Plugin) -> Result<()> {
    plugin.request_execution()?;
    while let Some(run) = plugin.start_requested()? {
        run.wait()?;
    }
    Ok(())
}

/// Lets days pass for the plugin: the times in its memory and record move into the past.
fn age(plugin: &Plugin, days: u64) -> Result<()> {
    for name in ["state.json", "record.json"] {
        let path = plugin.root().join("data").join(name);
        let mut noted: Value = serde_json::from_slice(&fs::read(&path)?)?;
        shift(&mut noted, TimeDelta::from_std(day_length(days))?);
        // Days pass for this machine, too, whose clock cannot be set back with Dropbox's.
        for run in noted["runs"].as_array_mut().into_iter().flatten() {
            if let Some(findings) = run["findings"].as_array_mut() {
                findings.retain(|finding| finding["code"] != "wrong_clock_here");
            }
        }
        fs::write(&path, serde_json::to_vec_pretty(&noted)?)?;
    }
    Ok(())
}

fn shift(value: &mut Value, by: TimeDelta) {
    match value {
        Value::String(text) => {
            if let Ok(time) = DateTime::parse_from_rfc3339(text) {
                let time = time.to_utc() - by;
                *text = time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| shift(value, by)),
        Value::Object(values) => {
            for (key, value) in values {
                // UISP's and Dropbox's word.
                if !["created_at", "server_modified"].contains(&key.as_str()) {
                    shift(value, by);
                }
            }
        }
        _ => {}
    }
}

fn day_length(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 3600)
}
