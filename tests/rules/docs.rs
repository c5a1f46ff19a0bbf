//! The documentation keeps step with the code: every error message has its entry, and every command,
//! link, field and file that the documents name exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use backup_sync_dropbox::dropbox::{self, RouteFailure};
use backup_sync_dropbox::findings::{Level, table};
use backup_sync_dropbox::{clock, http, source};
use serde_json::Value;

/// Stands in a normalised message where the program puts a value.
const VALUE: char = '…';
/// Fewer words than this find no entry.
const WORDS_MIN: usize = 3;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All Rust files of `src/`, as paths from the root.
fn source_files() -> Vec<String> {
    let mut folders = vec![PathBuf::from("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

/// How a line of the log begins.
#[derive(Debug)]
struct Message {
    level: &'static str,
    text: String,
}

/// Number of words of a normalised text.
fn words(text: &str) -> usize {
    text.split(|c: char| c.is_whitespace() || c == VALUE)
        .filter(|word| word.chars().any(char::is_alphabetic))
        .count()
}

/// A format string with [`VALUE`] for each placeholder.
fn normalised(format: &str) -> String {
    let mut text = String::new();
    let mut depth = 0;
    for character in format.chars() {
        match character {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                text.push(VALUE);
            }
            other if depth == 0 => text.push(other),
            _ => {}
        }
    }
    text
}

/// Every ERROR and WARNING of the program.
fn program_messages() -> impl Iterator<Item = Message> {
    table::LOG.iter().filter_map(|entry| {
        let level = match entry.level {
            Level::Info => return None,
            Level::Warning | Level::Gap => "WARNING",
            Level::Error => "ERROR",
        };
        let text = normalised(entry.happened);
        Some(Message { level, text })
    })
}

/// Every ERROR of the launcher: the literals of an expression, with [`VALUE`] for what is between.
fn launcher_messages() -> Vec<Message> {
    let code = read("launcher.php");
    ["new LaunchError(", "log_error($root, '"]
        .iter()
        .flat_map(|start| {
            code.match_indices(start)
                .map(|(at, _)| &code[at + start.find('(').unwrap() + 1..])
        })
        .map(|rest| Message {
            level: "ERROR",
            text: php_text(rest.split(");\n").next().unwrap()),
        })
        .collect()
}

fn php_text(expression: &str) -> String {
    let expression = expression.strip_prefix("$root, ").unwrap_or(expression);
    let mut text = String::new();
    let mut quote = None;
    let mut in_variable = false;
    let mut characters = expression.chars();
    while let Some(character) = characters.next() {
        in_variable &= character.is_ascii_alphanumeric();
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            (None, '.') => {}
            (None, other) if other.is_whitespace() => {}
            (None, _) => text.push(VALUE),
            (Some(_), '\\') => text.extend(characters.next()),
            (Some(open), character) if character == open => quote = None,
            (Some('"'), '$') => {
                in_variable = true;
                text.push(VALUE);
            }
            (Some(_), _) if in_variable => {}
            (Some(_), character) => text.push(character),
        }
    }
    let mut previous = None;
    text.retain(|character| {
        let repeated = character == VALUE && previous == Some(VALUE);
        previous = Some(character);
        !repeated
    });
    text
}

/// The entries of `docs/troubleshooting.md`: level, and how the line begins.
fn entries() -> Vec<(String, String)> {
    read("docs/troubleshooting.md")
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter_map(|heading| heading.split_once(": "))
        .filter(|(level, _)| ["ERROR", "WARNING"].contains(level))
        .map(|(level, text)| (level.to_owned(), text.to_owned()))
        .collect()
}

/// How the ERROR and WARNING lines begin that the code can write.
fn beginnings() -> Vec<Message> {
    program_messages().chain(launcher_messages()).collect()
}

#[test]
fn every_error_and_warning_has_its_entry() {
    let entries = entries();
    for Message { level, text } in beginnings() {
        let found = entries.iter().any(|(known, entry)| {
            known == level
                && text.starts_with(entry.as_str())
                && words(entry) >= WORDS_MIN.min(words(&text))
        });
        assert!(
            found,
            "docs/troubleshooting.md has no heading \"### {level}: \" with the beginning of: {text}"
        );
    }
}

#[test]
fn every_entry_is_about_a_line_that_can_be_written() {
    let beginnings = beginnings();
    for (level, entry) in entries() {
        assert!(
            beginnings
                .iter()
                .any(|message| message.level == level && message.text.starts_with(&entry)),
            "no message begins like the heading \"### {level}: {entry}\""
        );
    }
}

/// What can stand behind "Cause:": one error of each kind, with [`VALUE`] for what comes from outside.
fn causes() -> Vec<String> {
    let route = "…";
    let value = || VALUE.to_string();
    let cause = || http::Error::Network(value());
    let io = || std::io::Error::other(value());
    let reason = clock::StopReason::Signal;
    let sources = [
        source::Error::Network {
            url: value(),
            cause: cause(),
        },
        source::Error::Unauthorized { status: 401 },
        source::Error::Busy {
            status: 503,
            retry_after: None,
        },
        source::Error::Status {
            status: 500,
            excerpt: value(),
        },
        source::Error::Unexpected {
            expected: "…",
            found: value(),
        },
        source::Error::Truncated {
            read: 0,
            announced: None,
            cause: value(),
        },
        source::Error::TooSlow { read: 0 },
        source::Error::CreationFailed,
        source::Error::CreationTooSlow,
        source::Error::OtherContent,
        source::Error::Unreadable {
            path: value(),
            cause: io(),
        },
        source::Error::InUse,
        source::Error::Stopped(reason),
    ];
    let answers = [
        dropbox::Error::Network {
            route,
            cause: cause(),
        },
        dropbox::Error::Server {
            route,
            status: 500,
            excerpt: value(),
        },
        dropbox::Error::Busy {
            route,
            retry_after: None,
        },
        dropbox::Error::ExpiredAccessToken { route },
        dropbox::Error::LegacyTokenRefused { reason: value() },
        dropbox::Error::MissingScope {
            route,
            scope: value(),
        },
        dropbox::Error::AccessRefused {
            route,
            reason: value(),
        },
        dropbox::Error::AppDisabled {
            route,
            reason: value(),
        },
        dropbox::Error::Forbidden {
            route,
            reason: value(),
        },
        dropbox::Error::Route {
            route,
            failure: RouteFailure::default(),
        },
        dropbox::Error::Rejected {
            route,
            status: 400,
            excerpt: value(),
        },
        dropbox::Error::Malformed {
            route,
            cause: value(),
        },
        dropbox::Error::OtherVersion,
        dropbox::Error::Unfinished { route },
        dropbox::Error::Stopped(reason),
    ];
    for error in &sources {
        is_listed_source(error);
    }
    for error in &answers {
        is_listed_answer(error);
    }
    let sources = sources.iter().map(ToString::to_string);
    sources
        .chain(answers.iter().map(ToString::to_string))
        .collect()
}

/// Does not compile when there is a new kind of error: it belongs into [`causes`].
fn is_listed_source(error: &source::Error) {
    use source::Error::*;
    match error {
        Network { .. }
        | Unauthorized { .. }
        | Busy { .. }
        | Status { .. }
        | Unexpected { .. }
        | Truncated { .. }
        | TooSlow { .. }
        | CreationFailed
        | CreationTooSlow
        | OtherContent
        | Unreadable { .. }
        | InUse
        | Stopped(_) => {}
    }
}

/// As [`is_listed_source`].
fn is_listed_answer(error: &dropbox::Error) {
    use dropbox::Error::*;
    match error {
        Network { .. }
        | Server { .. }
        | Busy { .. }
        | ExpiredAccessToken { .. }
        | LegacyTokenRefused { .. }
        | MissingScope { .. }
        | AccessRefused { .. }
        | AppDisabled { .. }
        | Forbidden { .. }
        | Route { .. }
        | Rejected { .. }
        | Malformed { .. }
        | OtherVersion
        | Unfinished { .. }
        | Stopped(_) => {}
    }
}

#[test]
fn every_cause_is_explained() {
    let document = read("docs/troubleshooting.md");
    for text in causes() {
        let is_value = |c: char| c == VALUE || "(:.".contains(c) || c.is_ascii_digit();
        let beginning = text
            .split(is_value)
            .map(str::trim)
            .find(|part| words(part) > 1);
        let beginning = beginning.unwrap_or_else(|| panic!("{text}"));
        assert!(
            document.contains(beginning),
            "docs/troubleshooting.md does not explain the cause: {beginning}"
        );
    }
}

/// The documents, as paths from the root.
fn documents() -> Vec<String> {
    let mut documents = Vec::new();
    for folder in ["", "docs/", "docs/decisions/"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            // Made of other people's texts.
            if name.ends_with(".md") && name != "THIRD-PARTY.md" {
                documents.push(format!("{folder}{name}"));
            }
        }
    }
    documents
}

/// What stands between `open` and `close` in a text.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    text.split(open)
        .skip(1)
        .filter_map(|rest| rest.split_once(close))
        .map(|(inner, _)| inner)
        .collect()
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(document: &str) -> BTreeSet<String> {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|heading| {
            heading
                .replace(' ', "-")
                .chars()
                .filter(|&c| c.is_alphanumeric() || c == '-' || c == '_')
                .collect()
        })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    for document in documents() {
        let text = read(&document);
        for link in between(&text, "](", ")") {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => root().join(&document),
                path => root().join(&document).parent().unwrap().join(path),
            };
            assert!(target.exists(), "{document} links to {link}");
            let target = fs::read_to_string(target).unwrap_or_default();
            assert!(
                anchor.is_empty() || anchors(&target).contains(anchor),
                "{document} links to {link}, which has no such heading"
            );
        }
    }
}

/// The largest picture that a document may show.
const PICTURE_BYTES_MAX: u64 = 60_000;

#[test]
fn pictures_are_described_small_and_all_in_use() {
    let mut shown = BTreeSet::new();
    for document in documents() {
        for picture in read(&document).split("![").skip(1) {
            let (text, rest) = picture.split_once("](").unwrap();
            assert!(words(text) >= WORDS_MIN, "{document}: ![{text}]");
            let path = rest.split_once(')').unwrap().0;
            shown.insert(path.rsplit('/').next().unwrap().to_owned());
        }
    }
    for entry in fs::read_dir(root().join("docs/pictures")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(shown.contains(&name), "no document shows {name}");
        let bytes = entry.metadata().unwrap().len();
        assert!(bytes <= PICTURE_BYTES_MAX, "{name} has {bytes} bytes");
    }
}

#[test]
fn the_commands_exist() {
    let script = read("build.sh");
    for document in documents() {
        let text = read(&document);
        for rest in text.split("./build.sh ").skip(1) {
            let is_word = |c: &char| c.is_ascii_lowercase() || *c == '-';
            let command: String = rest.chars().take_while(is_word).collect();
            assert!(
                script.contains(&format!("\n    {command})"))
                    || script.contains(&format!("\n    {command} |")),
                "{document} names ./build.sh {command}"
            );
        }
    }
}

/// In guide and README, bold text names a field of the form and nothing else.
#[test]
fn fields_are_named_as_the_form_does() {
    let manifest: Value = serde_json::from_str(&read("manifest.json")).unwrap();
    let fields = manifest["configuration"].as_array().unwrap();
    let labels: BTreeSet<&str> = fields
        .iter()
        .map(|field| field["label"].as_str().unwrap())
        .collect();
    let guide = read("docs/setup.md");
    let readme = read("README.md");
    let bold = |document: &'static str, text: &str| -> BTreeSet<String> {
        let names = text.split("**").skip(1).step_by(2).map(str::to_owned);
        let names: BTreeSet<String> = names.collect();
        for name in &names {
            let known = labels.contains(name.as_str());
            assert!(known, "{document}: the form has no field {name:?}");
        }
        names
    };
    bold("README.md", &readme);
    let explained = bold("docs/setup.md", &guide);
    for label in &labels {
        assert!(
            explained.contains(*label),
            "docs/setup.md does not explain {label:?}"
        );
    }
}

/// The map of the code is its files' first lines.
#[test]
fn every_source_file_says_what_it_is_for() {
    for file in source_files() {
        let text = read(&file);
        assert!(text.starts_with("//! ") || file == "src/main.rs", "{file}");
    }
    let text = read("docs/architecture.md");
    for name in text.split('`').filter(|span| span.ends_with(".rs")) {
        assert!(
            root().join("src").join(name).is_file() || root().join(name).is_file(),
            "docs/architecture.md names {name}"
        );
    }
}

#[test]
fn the_changelog_tells_of_this_version() {
    let heading = format!("## {}", env!("CARGO_PKG_VERSION"));
    assert!(
        read("CHANGELOG.md")
            .lines()
            .any(|line| line.starts_with(&heading)),
        "{heading}"
    );
}

#[test]
fn fields_are_named_as_in_the_form() {
    let manifest: Value = serde_json::from_str(&read("manifest.json")).unwrap();
    for field in manifest["configuration"].as_array().unwrap() {
        let (key, label) = (
            field["key"].as_str().unwrap(),
            field["label"].as_str().unwrap(),
        );
        assert_eq!(backup_sync_dropbox::findings::labels::of(key), label);
    }
}
