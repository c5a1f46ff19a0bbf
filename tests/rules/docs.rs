//! The documentation keeps step with the code: every error message has its entry, and every command,
//! link, field and file that the documents name exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Stands in a normalised message where the program puts a value.
const VALUE: char = '…';
/// Fewer words than this find no entry.
const WORDS_MIN: usize = 3;

/// Messages that the code puts together from parts: the file, how the literal begins, and how the
/// lines begin. Each beginning must stand in a literal of the code, too.
const COMPOSED: [(&str, &str, &[&str]); 5] = [
    (
        "src/run/mod.rs",
        "…",
        &[
            "The configuration … cannot be read",
            "The configuration … is damaged",
            "The configuration field",
            "The environment variable … holds no usable address",
            "The field \"…\" of the plugin's configuration is empty",
            "The address of UISP is not known",
            "The folder …, which data/config.json names",
            "The HTTP client could not be set up",
        ],
    ),
    ("src/mirror/mod.rs", "…", &["\"…\" could not be uploaded"]),
    (
        "src/setup/mod.rs",
        "…. ….",
        &[
            "Dropbox no longer accepts the stored authorization",
            "Dropbox does not know the app",
            "Dropbox refused to renew the access",
            "Dropbox could not be asked for access",
        ],
    ),
    (
        "src/setup/mod.rs",
        "…. The stored authorization is used",
        &["Dropbox refused the access code"],
    ),
    (
        "src/setup/mod.rs",
        "…. Open the address below",
        &["Dropbox refused the access code"],
    ),
];

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

/// One message of the log.
#[derive(Debug)]
struct Message {
    file: String,
    level: &'static str,
    text: String,
}

impl Message {
    /// Whether the text has to be looked up in [`COMPOSED`].
    fn is_composed(&self) -> bool {
        self.text.starts_with("….") || words(&self.text) < WORDS_MIN
    }
}

/// Number of words of a normalised text.
fn words(text: &str) -> usize {
    text.split(|c: char| c.is_whitespace() || c == VALUE)
        .filter(|word| word.chars().any(char::is_alphabetic))
        .count()
}

/// A Rust file's code without comments and unit tests, cut into string literals and what is between
/// them: code, literal, code, literal, ..., code.
fn pieces(path: &str) -> Vec<String> {
    let code = read(path);
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    // The quotation mark as a character is no beginning of a literal.
    let code = lines.collect::<Vec<_>>().join("\n").replace("'\"'", "");
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut in_literal = false;
    let mut characters = code.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                pieces.push(std::mem::take(&mut piece));
                in_literal = !in_literal;
            }
            '\\' if in_literal => piece.extend(characters.next()),
            other => piece.push(other),
        }
    }
    pieces.push(piece);
    pieces
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
fn program_messages() -> Vec<Message> {
    let mut messages = Vec::new();
    for file in source_files() {
        for pair in pieces(&file).chunks(2) {
            let [code, literal] = pair else { continue };
            let code = code.trim_end();
            let to_stderr = literal.starts_with("ERROR: ") && words(literal) > WORDS_MIN;
            let level = if code.ends_with("log::error!(") || to_stderr {
                "ERROR"
            } else if code.ends_with("log::warn!(") {
                "WARNING"
            } else {
                assert!(
                    !code.contains("log::error!") && !code.contains("log::warn!"),
                    "{file} has a message without a literal before {literal:?}"
                );
                continue;
            };
            let text = normalised(literal);
            messages.push(Message {
                file: file.clone(),
                level,
                text: text.strip_prefix("ERROR: ").unwrap_or(&text).to_owned(),
            });
        }
    }
    messages
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
            file: "launcher.php".to_owned(),
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

/// All beginnings of ERROR and WARNING lines that the code can write.
fn beginnings() -> Vec<(&'static str, String)> {
    let mut beginnings = Vec::new();
    for message in program_messages().into_iter().chain(launcher_messages()) {
        if !message.is_composed() {
            beginnings.push((message.level, message.text));
            continue;
        }
        let (_, _, texts) = COMPOSED
            .iter()
            .find(|(file, text, _)| *file == message.file && message.text.starts_with(text))
            .unwrap_or_else(|| panic!("COMPOSED does not know how this begins: {message:?}"));
        beginnings.extend(texts.iter().map(|text| (message.level, (*text).to_owned())));
    }
    beginnings
}

#[test]
fn every_error_and_warning_has_its_entry() {
    let entries = entries();
    for (level, text) in beginnings() {
        let found = entries.iter().any(|(known, entry)| {
            known == level && text.starts_with(entry.as_str()) && words(entry) >= WORDS_MIN
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
                .any(|(known, text)| *known == level && text.starts_with(&entry)),
            "no message begins like the heading \"### {level}: {entry}\""
        );
    }
}

#[test]
fn composed_beginnings_stand_in_the_code() {
    let literals: Vec<String> = source_files()
        .iter()
        .flat_map(|file| pieces(file).into_iter().skip(1).step_by(2))
        .map(|literal| normalised(&literal))
        .collect();
    for (_, _, texts) in COMPOSED {
        for text in texts {
            assert!(
                literals.iter().any(|literal| literal.starts_with(text)),
                "no literal of the code begins with: {text}"
            );
        }
    }
}

/// What stands behind "Cause:" are the texts of the error types.
#[test]
fn every_cause_is_explained() {
    let document = read("docs/troubleshooting.md");
    for file in source_files() {
        for pair in pieces(&file).chunks(2) {
            let [code, literal] = pair else { continue };
            if !code.trim_end().ends_with("#[error(") {
                continue;
            }
            let text = normalised(literal);
            let has_entry = entries()
                .iter()
                .any(|(_, entry)| text.starts_with(entry.as_str()));
            if has_entry {
                continue;
            }
            let cause = text
                .split([VALUE, '(', ')', ':', '.'])
                .map(str::trim)
                .find(|part| words(part) >= WORDS_MIN);
            if let Some(cause) = cause {
                assert!(
                    document.contains(cause),
                    "docs/troubleshooting.md does not explain the cause: {cause} ({file})"
                );
            }
        }
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

#[test]
fn the_architecture_names_every_source_file_and_no_other() {
    let text = read("docs/architecture.md");
    let named: BTreeSet<&str> = text
        .split('`')
        .filter(|span| span.ends_with(".rs") && !span.contains(char::is_whitespace))
        .collect();
    for file in source_files() {
        assert!(
            named.contains(file.strip_prefix("src/").unwrap()),
            "docs/architecture.md does not name {file}"
        );
    }
    for name in named {
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
