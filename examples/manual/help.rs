//! The text of a `--help`, taken apart: what stands in it stands nowhere else.

use backup_sync_dropbox::commands::Command;

/// How a line of the usage begins, and how those that follow it do.
const USAGE: &str = "Usage: ";
const USAGE_NEXT: &str = "       ";
/// The heading of the options.
const OPTIONS: &str = "Options:";

/// A piece of a help text between empty lines.
pub enum Block {
    /// The ways to call the program.
    Usage(Vec<String>),
    /// Words, and under them a list, either of which may be missing.
    Text { words: String, items: Vec<Item> },
    /// Something to type.
    Example(String),
}

/// A line of a list: `  --root DIR  The folder.`
pub struct Item {
    /// What is explained.
    pub term: String,
    /// The explanation.
    pub text: String,
}

/// An option of a command.
pub struct Choice {
    /// Its name, without hyphens.
    pub name: String,
    /// The word for its value, if it takes one.
    pub value: Option<String>,
    /// What it does, in a few words.
    pub summary: String,
}

/// The pieces of a help text.
pub fn blocks(help: &str) -> Vec<Block> {
    help.split("\n\n").map(block).collect()
}

fn block(text: &str) -> Block {
    if let Some(usage) = text.strip_prefix(USAGE) {
        let line = |line: &str| line.strip_prefix(USAGE_NEXT).unwrap_or(line).to_owned();
        return Block::Usage(usage.lines().map(line).collect());
    }
    if let Some(example) = text.strip_prefix("Example:\n") {
        return Block::Example(example.trim().to_owned());
    }
    let (mut words, mut items) = (Vec::new(), Vec::<Item>::new());
    for line in text.lines() {
        let indented = line.strip_prefix("  ");
        match (indented, items.last_mut()) {
            (None, _) => words.push(line),
            // Further in: the explanation goes on.
            (Some(rest), Some(item)) if rest.starts_with(' ') => {
                item.text = format!("{} {}", item.text, rest.trim()).trim().to_owned();
            }
            (Some(rest), _) => {
                let (term, text) = rest.split_once("  ").unwrap_or((rest, ""));
                items.push(Item {
                    term: term.to_owned(),
                    text: text.trim().to_owned(),
                });
            }
        }
    }
    Block::Text {
        words: words.join(" "),
        items,
    }
}

/// The options that a help text names.
pub fn options(help: &str) -> Vec<Choice> {
    let is_options = |words: &str| words == OPTIONS;
    let lists = blocks(help).into_iter().filter_map(|block| match block {
        Block::Text { words, items } if is_options(&words) => Some(items),
        _ => None,
    });
    lists.flatten().map(|item| choice(&item)).collect()
}

fn choice(item: &Item) -> Choice {
    let (name, value) = match item.term.split_once(' ') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (item.term.as_str(), None),
    };
    Choice {
        name: name.trim_start_matches('-').to_owned(),
        value,
        summary: summary(&item.text),
    }
}

/// The first sentence, without what it only enumerates.
fn summary(text: &str) -> String {
    let sentence = text.split(". ").next().unwrap_or(text);
    let (head, _) = sentence.rsplit_once(": ").unwrap_or((sentence, ""));
    head.trim_end_matches('.').to_owned()
}

/// What a command does, as the overview says it.
pub fn summary_of(command: &Command, overview: &str) -> String {
    let items = blocks(overview).into_iter().flat_map(|block| match block {
        Block::Text { items, .. } => items,
        _ => Vec::new(),
    });
    let mut own = items.filter(|item| item.term == command.name);
    own.next()
        .map(|item| summary(&item.text))
        .unwrap_or_default()
}

/// Whether the command takes the name of a file, as the last of its operands.
pub fn takes_file(command: &Command) -> bool {
    command.operands.1 > 1
}
