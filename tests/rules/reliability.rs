//! The promises in `docs/reliability.md` name tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Everything in backquotes that begins with `tests/`.
fn named(document: &str) -> BTreeSet<&str> {
    document
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| text.starts_with("tests/"))
        .collect()
}

#[test]
fn every_test_that_a_promise_names_exists() {
    let document = read("docs/reliability.md");
    let named = named(&document);
    assert!(named.len() > 50, "the list was not understood");
    for name in named {
        let Some((file, function)) = name.split_once("::") else {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            assert!(root.join(name).exists(), "{name} does not exist");
            continue;
        };
        let code = read(file);
        let at = code.find(&format!("fn {function}("));
        assert!(at.is_some(), "{name} does not exist");
        let before = code[..at.unwrap()].trim_end();
        let is_test = before.ends_with("#[test]") || before.ends_with("]");
        assert!(is_test, "{name} is no test");
    }
}

#[test]
fn every_promise_is_attacked() {
    let document = read("docs/reliability.md");
    let promises = document
        .split("\n## ")
        .filter(|text| text.starts_with(|c: char| c.is_ascii_digit()));
    let mut count = 0;
    for promise in promises {
        count += 1;
        let title = promise.lines().next().unwrap();
        assert!(named(promise).len() >= 3, "hardly attacked: {title}");
        assert!(
            title.starts_with(&format!("{count}. ")),
            "the numbers have a gap at {title}"
        );
    }
    assert!(count >= 9);
}
