//! The man page.

use backup_sync_dropbox::{cli, commands};

use super::help::{self, Block, Item};

/// The name of its file.
pub const FILE: &str = "backup-sync-dropbox.1";

/// The page, as of a date such as `2026-11-21`.
pub fn page(date: &str) -> String {
    let mut page = format!(
        ".TH BACKUP\\-SYNC\\-DROPBOX 1 \"{date}\" \"backup\\-sync\\-dropbox {}\"\n",
        env!("CARGO_PKG_VERSION")
    );
    // What the program is, how it is called; then the rest of the overview, around the commands.
    let mut overview = help::blocks(cli::HELP).into_iter();
    if let Some(Block::Text { words, .. }) = overview.next() {
        let words = words.trim_end_matches('.');
        let (first, rest) = words.split_at(1);
        let line = escaped(&(first.to_lowercase() + rest));
        page += &format!(".SH NAME\nbackup\\-sync\\-dropbox \\- {line}\n");
    }
    if let Some(usage @ Block::Usage(_)) = overview.next() {
        page += &format!(".SH SYNOPSIS\n{}", rendered(&usage));
    }
    page += &format!(".SH DESCRIPTION\n{}", section(overview));
    page += ".SH COMMANDS\n";
    for command in commands::ALL {
        let blocks = help::blocks(command.help).into_iter();
        page += &format!(".SS {}\n{}", escaped(command.name), section(blocks));
    }
    page
}

/// Blocks one below the other. A list begins a paragraph by itself.
fn section(blocks: impl Iterator<Item = Block>) -> String {
    let mut section = String::new();
    for block in blocks {
        let text = rendered(&block);
        if !section.is_empty() && !text.starts_with(".TP") {
            section += ".PP\n";
        }
        section += &text;
    }
    section
}

fn rendered(block: &Block) -> String {
    match block {
        Block::Usage(lines) => {
            let lines: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
            format!(".nf\n{}\n.fi\n", lines.join("\n"))
        }
        Block::Example(line) => format!("Example:\n.PP\n.RS 4\n.nf\n{}\n.fi\n.RE\n", escaped(line)),
        Block::Text { words, items } => {
            let mut text = String::new();
            if !words.is_empty() {
                text += &format!("{}\n", escaped(words));
            }
            for Item { term, text: what } in items {
                text += &format!(".TP 12\n.B {}\n{}\n", escaped(term), escaped(what));
            }
            text
        }
    }
}

/// A line that means what it says: a hyphen that can be copied, and no request at its beginning.
fn escaped(line: &str) -> String {
    let line = line
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('"', "\\(dq");
    match line.chars().next() {
        Some('.' | '\'') => format!("\\&{line}"),
        _ => line,
    }
}
