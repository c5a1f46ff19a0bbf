//! Commands for people with a shell. They ask and tell; runs do the work.
//!
//! No command but `authorize` writes the plugin's state or configuration, takes its lock or spends an
//! access code. What they say goes to standard output, what goes wrong to standard error, nothing into the plugin's log.
//! `watch` starts runs, and writes into the log as they do.

mod authorize;
mod check;
mod download;
mod dry_run;
mod list;
pub mod status;
mod verify;
mod versions;
mod view;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lexopt::prelude::*;
use serde_json::Value;

use crate::clock::Stop;
use crate::dropbox::Dropbox;
use crate::findings::{Finding, from, table};
use crate::open;
use crate::plugin::PluginFolder;
use crate::plugin::config::{self, Settings};
use crate::record::Record;
use crate::setup::stored;
use crate::state::{Fault, Memory};
use crate::{secret, text};

/// All commands, in the order in which `--help` names them.
pub const ALL: [&Command; 9] = [
    &dry_run::COMMAND,
    &watch::COMMAND,
    &check::COMMAND,
    &status::COMMAND,
    &list::COMMAND,
    &verify::COMMAND,
    &download::COMMAND,
    &versions::COMMAND,
    &authorize::COMMAND,
];

/// One command.
#[derive(Debug)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// What `--help` prints.
    pub help: &'static str,
    /// Options without a value, beside `--help`.
    pub options: &'static [&'static str],
    /// Options with a value, beside `--root`.
    pub settings: &'static [&'static str],
    /// So many operands, at least and at most.
    pub operands: (usize, usize),
    run: fn(&Call) -> Result<End, Failure>,
}

/// A command with the arguments that it was given.
#[derive(Debug)]
pub struct Call {
    /// The command.
    pub command: &'static Command,
    /// The plugin's folder.
    pub folder: PluginFolder,
    options: BTreeSet<&'static str>,
    settings: BTreeMap<&'static str, String>,
    operands: Vec<PathBuf>,
}

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All is well.
    Well,
    /// It has done its work, and that has shown something wrong.
    Wrong,
}

/// Why a command could not do its work; whole messages, each a line.
#[derive(Debug)]
pub struct Failure(Vec<String>);

impl Command {
    /// The command of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|command| command.name == name)
    }

    /// Reads the arguments behind the command's name; `None` asks for its help.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(
        &'static self,
        mut root: PathBuf,
        mut arguments: lexopt::Parser,
    ) -> Result<Option<Call>, lexopt::Error> {
        let mut options = BTreeSet::new();
        let mut settings = BTreeMap::new();
        let mut operands = Vec::new();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("root") => root = arguments.value()?.into(),
                Long("help") | Short('h') => return Ok(None),
                Value(operand) if operands.len() < self.operands.1 => operands.push(operand.into()),
                Long(name) => {
                    let is_named = |option: &&&str| **option == name;
                    let flag = self.options.iter().find(is_named);
                    let setting = self.settings.iter().find(is_named);
                    match (flag, setting) {
                        (Some(flag), _) => {
                            options.insert(*flag);
                        }
                        (None, Some(setting)) => {
                            settings.insert(*setting, arguments.value()?.string()?);
                        }
                        (None, None) => return Err(argument.unexpected()),
                    }
                }
                _ => return Err(argument.unexpected()),
            }
        }
        if operands.len() < self.operands.0 {
            return Err("an operand is missing".into());
        }
        Ok(Some(Call {
            command: self,
            folder: PluginFolder::new(root),
            options,
            settings,
            operands,
        }))
    }
}

impl Call {
    /// Whether the option was given.
    pub fn has(&self, option: &str) -> bool {
        self.options.contains(option)
    }

    /// Carries the command out.
    ///
    /// # Errors
    /// [`Failure`]
    pub fn run(&self) -> Result<End, Failure> {
        (self.command.run)(self)
    }

    /// The value of an option, if it was given.
    fn value(&self, option: &str) -> Option<&str> {
        self.settings.get(option).map(String::as_str)
    }

    fn settings(&self) -> Result<Settings, Failure> {
        Ok(config::load(&self.folder.config())?)
    }

    /// What runs remember; nothing, with a warning, if that is damaged.
    fn memory(&self) -> Result<Memory, Failure> {
        let file = self.folder.state();
        match Memory::read(&file) {
            Ok(memory) => Ok(memory.unwrap_or_default()),
            Err(fault @ Fault::Damaged(_)) => {
                from::memory(&file, &fault).log();
                Ok(Memory::default())
            }
            Err(fault @ Fault::Unreadable(_)) => Err(from::memory(&file, &fault).into()),
        }
    }

    /// What runs have recorded, as far as it can be read.
    fn record(&self) -> Record {
        Record::open(&self.folder.record())
    }

    /// A client for the account whose authorization is stored.
    fn connect(&self, settings: &Settings, stop: &Stop) -> Result<Dropbox, Failure> {
        let (http, hosts) = open::dropbox(settings, stop)?;
        Ok(stored::connect(&http, &hosts, stop, settings)?)
    }
}

/// Work without a time limit: somebody watches, and can end it.
fn unlimited() -> Stop {
    Stop::within(Duration::MAX, Arc::default())
}

/// A text in one line, without secrets and without characters that a terminal would obey, whatever
/// names from elsewhere are in it.
fn harmless(text: &str) -> String {
    text::one_line(&secret::redact(text))
}

/// Writes a line to standard output.
fn say(line: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{}", harmless(line)).map_err(Failure::output)
}

/// Writes a document to standard output.
fn say_json(document: &Value) -> Result<(), Failure> {
    let document = format!("{document:#}");
    let document = text::escaped_json(&secret::redact(&document));
    writeln!(io::stdout(), "{document}").map_err(Failure::output)
}

impl Failure {
    /// A failure with one message.
    fn new(line: impl Into<String>) -> Self {
        Self(vec![line.into()])
    }

    /// Standard output is gone: a pipe whose reader has enough, or a full disk.
    fn output(error: io::Error) -> Self {
        table::output_not_written().because(&error).into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(|line| harmless(line)).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl From<Finding> for Failure {
    fn from(finding: Finding) -> Self {
        Self::new(finding.line())
    }
}

impl From<Vec<Finding>> for Failure {
    fn from(findings: Vec<Finding>) -> Self {
        Self(findings.iter().map(Finding::line).collect())
    }
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        from::configuration(&error).into()
    }
}
