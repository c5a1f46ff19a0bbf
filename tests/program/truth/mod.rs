//! What the program may say and do: "all well" is a proof, doubt protects, replacing is deleting, nothing is lost
//! by a hold that is too small, and what was begun is finished. Each test is a case that somebody met.

mod folder;
mod history;
mod hold;
mod machines;
mod pace;
mod replacing;
mod uisp;

use std::process::Output;

use chrono::{SecondsFormat, TimeDelta, Utc};
use sandbox::uisp::Backup;
use serde_json::{Value, json};

use crate::page::crm;
use crate::support::{Ended, World};
use crate::switches::healthcheck::Monitor;

const START: &str = "files/upload_session/start";

/// Everybody who asks how things stand: the page, the monitoring service, `verify`, `status`.
struct Watch(Monitor);

impl Watch {
    /// A monitoring service that is told of this world's runs.
    fn over(world: &World) -> Self {
        let monitor = Monitor::start();
        world.configure(json!({"healthcheckUrl": monitor.address()}));
        Self(monitor)
    }

    /// What the monitoring service was told last; the start of a run is nothing.
    fn ping(&self) -> Option<&'static str> {
        let calls = self.0.take();
        let told = calls.iter().filter(|(_, rest)| rest != "/start");
        told.map(|(_, rest)| if rest.is_empty() { "good" } else { "bad" })
            .next_back()
    }

    /// Asserts that nobody is told that all is well after a run that ended like this.
    #[track_caller]
    fn assert_not_well(&self, world: &World, ended: &Ended) {
        assert_ne!(self.ping(), Some("good"), "{}", ended.log);
        let page = crm::page_around(world).body;
        assert!(!page.contains("All well"), "{page}\n{}", ended.log);
        let (code, told) = verify(world);
        assert_eq!(code, Some(1), "{told}\n{}", ended.log);
        assert_eq!(
            status(world)["last_run"]["well"],
            json!(false),
            "{}",
            ended.log
        );
    }

    /// Asserts that everybody is told that all is well; the page has a word for backups that are old, too.
    #[track_caller]
    fn assert_well(&self, world: &World, ended: &Ended) {
        assert_eq!(self.ping(), Some("good"), "{}", ended.log);
        if !world.uisp.backups().is_empty() {
            let page = crm::page_around(world).body;
            assert!(page.contains("All well"), "{page}\n{}", ended.log);
        }
        let (code, told) = verify(world);
        assert_eq!(code, Some(0), "{told}\n{}", ended.log);
        assert_eq!(
            status(world)["last_run"]["well"],
            json!(true),
            "{}",
            ended.log
        );
    }

    /// Does one run, after which nobody may be told that all is well.
    #[track_caller]
    fn run_not_well(&self, world: &World) -> Ended {
        let ended = world.run();
        self.assert_not_well(world, &ended);
        ended
    }

    /// Does one run that finds a gap: nobody is told that all is well, and the monitoring service hears of it at once.
    #[track_caller]
    fn run_with_gap(&self, world: &World) -> Ended {
        let ended = world.run();
        assert_eq!(self.ping(), Some("bad"), "{}", ended.log);
        self.assert_not_well(world, &ended);
        ended
    }

    /// Does one run, after which all is well.
    #[track_caller]
    fn run_well(&self, world: &World) -> Ended {
        let ended = world.run_well();
        self.assert_well(world, &ended);
        ended
    }
}

/// Starts a run, holds its first upload, does `change`, lets it go on.
fn changed_meanwhile(world: &World, change: impl FnOnce()) -> String {
    let (run, gate) = world.start_held(START);
    change();
    gate.open();
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    world.log()
}

/// The nth backup of a row that is not old, each a minute younger than the one before.
fn fresh(number: u32, size: u64) -> Backup {
    let created_at = Utc::now() - TimeDelta::minutes(1000 - i64::from(number));
    Backup {
        created_at: created_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        ..Backup::numbered(number, size)
    }
}

/// Adds such backups, number `from` to `to`.
fn add_fresh(world: &World, from: u32, to: u32) {
    (from..=to).for_each(|number| world.uisp.add(fresh(number, 1000)));
}

fn tell(world: &World, arguments: &[&str]) -> Output {
    world.command().args(arguments).output().unwrap()
}

/// How `verify` ends, and what it says.
fn verify(world: &World) -> (Option<i32>, String) {
    let output = tell(world, &["verify"]);
    let told = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(told).unwrap())
}

fn status(world: &World) -> Value {
    serde_json::from_slice(&tell(world, &["status", "--json"]).stdout).unwrap()
}

/// What a run would do, by the names of the actions.
fn dry_run(world: &World) -> Vec<(String, String)> {
    let output = tell(world, &["run", "--dry-run", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let actions = document["actions"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    actions
        .map(|action| (text(&action["action"]), text(&action["name"])))
        .collect()
}

/// Paths in Dropbox with their contents as text.
fn contents(world: &World) -> Vec<(String, String)> {
    let read = |path: &String| String::from_utf8(world.dropbox.read(path).unwrap()).unwrap();
    let paths = world.dropbox.paths().into_iter();
    paths.map(|path| (path.clone(), read(&path))).collect()
}

/// Asserts that a file with this content is somewhere in Dropbox.
#[track_caller]
fn assert_holds(world: &World, content: &str) {
    let contents = contents(world);
    assert!(
        contents.iter().any(|(_, there)| there == content),
        "no {content:?} in {contents:?}\n{}",
        world.log()
    );
}
