//! Holds the floors of the house: dependencies point down, and time is read in one file.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The floors, top first. A module may use what is below it, not what is beside or above it.
const FLOORS: [&[&str]; 12] = [
    &["main"],
    &["cli"],
    &["page"],
    &["run", "commands"],
    &["open"],
    &["setup", "mirror", "healthcheck"],
    &["record"],
    &["findings", "row"],
    &["source", "dropbox", "state"],
    &["plugin", "http"],
    &["progress_bar"],
    &[
        "age",
        "secret",
        "clock",
        "backup_id",
        "retention",
        "text",
        "zone",
        "inspect",
    ],
];

/// What one module may use beside it on its own floor: the state stores content hashes, and which folder was listed.
const BESIDE: [(&str, &str); 2] = [("state", "dropbox"), ("state", "source")];

/// Source files with their code, without their test modules and comments.
fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
                let is_code = |line: &&str| !line.trim_start().starts_with("//");
                let code: Vec<&str> = code.lines().filter(is_code).collect();
                files.push((path, code.join("\n")));
            }
        }
    }
    assert!(files.len() > 20, "the sources were not found");
    files
}

/// The module of the crate that a file belongs to.
fn module(path: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let relative = path.strip_prefix(root).unwrap();
    let first = relative.components().next().unwrap();
    let name = first.as_os_str().to_str().unwrap();
    name.trim_end_matches(".rs").to_owned()
}

/// The modules that a code names behind `crate::`, also within braces.
fn used(code: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    code.split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(group) => {
                let group = group.split('}').next().unwrap();
                group
                    .split(',')
                    .map(|item| word(item.trim()))
                    .collect::<Vec<_>>()
            }
            None => vec![word(rest)],
        })
        .filter(|name| !name.is_empty())
        .collect()
}

fn floor(module: &str) -> usize {
    let found = FLOORS.iter().position(|floor| floor.contains(&module));
    found.unwrap_or_else(|| panic!("the module {module} stands on no floor"))
}

#[test]
fn dependencies_point_down() {
    for (path, code) in sources() {
        let own = module(&path);
        if own == "lib" {
            continue;
        }
        for other in used(&code) {
            let beside = BESIDE.contains(&(own.as_str(), other.as_str()));
            let allowed = own == other || beside || floor(&other) > floor(&own);
            assert!(
                allowed,
                "{} uses {other}, which is not below it",
                path.display()
            );
        }
    }
}

#[test]
fn time_is_read_and_slept_in_one_file() {
    for (path, code) in sources() {
        for word in [
            "SystemTime",
            "Instant::",
            "Utc::now",
            "Local::now",
            "thread::sleep",
        ] {
            let allowed = module(&path) == "clock";
            assert!(
                allowed || !code.contains(word),
                "{} uses {word}",
                path.display()
            );
        }
    }
}

#[test]
fn rows_names_plan_remarks_and_inspector_do_no_io() {
    for (path, code) in sources() {
        let file = path.file_name().unwrap().to_str().unwrap();
        let is_pure = match module(&path).as_str() {
            "mirror" => matches!(file, "names.rs" | "plan.rs" | "announce.rs"),
            module => matches!(module, "row" | "inspect" | "retention"),
        };
        if is_pure {
            for word in [
                "std::fs",
                "std::io",
                "std::env",
                "log::",
                "clock",
                "crate::http",
            ] {
                assert!(!code.contains(word), "{} uses {word}", path.display());
            }
        }
    }
}

#[test]
fn secrets_are_exposed_in_few_places() {
    let exposing: BTreeSet<String> = sources()
        .into_iter()
        .filter(|(_, code)| code.contains(".expose()"))
        .map(|(path, _)| module(&path))
        .collect();
    let expected = ["dropbox", "healthcheck", "page", "plugin", "source"].map(String::from);
    assert_eq!(exposing, BTreeSet::from(expected));
}
