//! Whose code is used, and on which terms: licences, doubles and sources of all crates, tests included. Offline,
//! from what Cargo says of the build; `tests/sandbox/src/licences.rs` asks it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use sandbox::licences::{self, Crate, allows, bill_of_materials, third_party};

/// Licences that ask for no more than their text, and that it goes with every copy.
const ACCEPTED: [&str; 6] = [
    "MIT",
    "Apache-2.0",
    "ISC",
    "BSD-3-Clause",
    "Zlib",
    "Unicode-3.0",
];

/// Crates under another licence, with the reason why that is fine.
const EXCEPTIONS: [(&str, &str, &str); 1] = [(
    "webpki-root-certs",
    "CDLA-Permissive-2.0",
    "data: Mozilla's root certificates; asks for its text only",
)];

/// Crates that are linked in two versions, with the reason.
const LINKED_TWICE: [(&str, &str); 7] = [
    ("base64", "oauth2 5.0 wants 0.22, ureq 0.23"),
    ("block-buffer", "of the two sha2"),
    ("cpufeatures", "of the two sha2"),
    ("crypto-common", "of the two sha2"),
    ("digest", "of the two sha2"),
    (
        "sha2",
        "oauth2 5.0 wants 0.10, which does not use aarch64's instructions",
    ),
    ("thiserror", "oauth2 5.0 wants 1"),
];

/// The registry that every crate comes from, as Cargo.lock names it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

static CRATES: LazyLock<Vec<Crate>> = LazyLock::new(|| licences::crates(checkout()).unwrap());

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_licence_is_accepted() {
    let mut used = BTreeSet::new();
    for one in CRATES.iter() {
        if allows(&one.licence, &|id| ACCEPTED.contains(&id)).unwrap() {
            continue;
        }
        let exception = EXCEPTIONS.iter().find(|(name, _, _)| *name == one.name);
        let (name, licence, _) = exception.unwrap_or_else(|| unreachable!("{one:?}"));
        assert!(
            allows(&one.licence, &|id| id == *licence || ACCEPTED.contains(&id)).unwrap(),
            "{one:?}"
        );
        used.insert(*name);
    }
    assert_eq!(
        used.len(),
        EXCEPTIONS.len(),
        "an exception without its crate: {used:?}"
    );
}

/// cargo-deny, which also knows the advisories, is told the same.
#[test]
fn deny_toml_allows_the_same_licences() {
    let deny = include_str!("../../deny.toml");
    assert!(
        deny.contains(&format!("\nallow = {ACCEPTED:?}\n")),
        "{deny}"
    );
    for (name, licence, reason) in EXCEPTIONS {
        let exception = format!("{{ crate = {name:?}, allow = [{licence:?}] }},");
        assert!(deny.contains(&exception), "{reason}: no line {exception}");
    }
    let exceptions = deny.matches("allow = [").count() - 1;
    assert_eq!(exceptions, EXCEPTIONS.len());
}

#[test]
fn every_crate_comes_from_the_registry() {
    for one in CRATES.iter() {
        match &one.source {
            Some(source) => assert_eq!(source, REGISTRY, "{one:?}"),
            None => assert!(
                ["backup-sync-dropbox", "sandbox"].contains(&one.name.as_str()),
                "{one:?}"
            ),
        }
    }
}

#[test]
fn nothing_is_linked_twice_without_a_reason() {
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for one in CRATES.iter().filter(|one| one.is_linked) {
        *versions.entry(&one.name).or_default() += 1;
    }
    let twice: BTreeSet<&str> = versions
        .into_iter()
        .filter(|(_, count)| *count > 1)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(twice, LINKED_TWICE.iter().map(|(name, _)| *name).collect());
}

#[test]
fn the_licence_texts_are_those_of_the_linked_crates() {
    let written = fs::read_to_string(checkout().join("THIRD-PARTY.md")).unwrap();
    assert!(
        written == third_party(&CRATES).unwrap(),
        "THIRD-PARTY.md is out of date: ./build.sh licences makes it anew"
    );
    for one in CRATES
        .iter()
        .filter(|one| one.is_linked && one.source.is_some())
    {
        assert!(
            written.contains(&one.label()),
            "{} has no text",
            one.label()
        );
    }
}

#[test]
fn the_bill_of_materials_is_whole() {
    let bill = bill_of_materials(checkout(), &CRATES).unwrap();
    let components = bill["components"].as_array().unwrap();
    let linked = CRATES.iter().filter(|one| one.is_linked).count();
    assert_eq!(components.len() + 1, linked);
    let mut known: BTreeSet<&str> = components
        .iter()
        .map(|one| one["bom-ref"].as_str().unwrap())
        .collect();
    assert_eq!(known.len(), components.len(), "a reference is used twice");
    for component in components {
        assert_eq!(
            component["hashes"][0]["content"].as_str().unwrap().len(),
            64,
            "{component}"
        );
    }
    known.insert(bill["metadata"]["component"]["bom-ref"].as_str().unwrap());
    for dependency in bill["dependencies"].as_array().unwrap() {
        assert!(
            known.contains(dependency["ref"].as_str().unwrap()),
            "{dependency}"
        );
        for on in dependency["dependsOn"].as_array().unwrap() {
            assert!(known.contains(on.as_str().unwrap()), "{dependency}");
        }
    }
}
