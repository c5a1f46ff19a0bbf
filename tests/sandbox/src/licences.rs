//! Whose code the shipped program contains, under which licences: read from Cargo's own account of the build.

mod expression;

pub use expression::allows;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// The targets of the package; what is linked for one of them counts.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"];
/// Beginnings of the names of files with licences and notices, in capitals.
const LICENCE_FILES: [&str; 6] = [
    "LICENSE",
    "LICENCE",
    "COPYING",
    "UNLICENSE",
    "NOTICE",
    "COPYRIGHT",
];
/// What the toolchain links into every program; no crate of ours, so Cargo does not name it.
const RUNTIME: &str = include_str!("licences/runtime.md");

/// Texts of crates whose packages lack them, from their repositories.
const LACKING: [(&str, &str); 1] = [("fast-glob", include_str!("licences/fast-glob.txt"))];

/// A crate that the build of the program, its macros or its tests needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crate {
    /// Its name in the registry.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence as an SPDX expression; empty if it names none.
    pub licence: String,
    /// Where Cargo got it from; `None` for the members of this workspace.
    pub source: Option<String>,
    /// Whether its code is in the shipped program.
    pub is_linked: bool,
    folder: PathBuf,
    repository: String,
    dependencies: Vec<String>,
}

impl Crate {
    /// `name version`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// The texts that have to go with a copy. Where MIT is among the choices, that is the choice.
    fn texts(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = fs::read_dir(&self.folder)?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| {
                LICENCE_FILES
                    .iter()
                    .any(|start| name.to_uppercase().starts_with(start))
            })
            .collect();
        names.sort();
        let is_mit = |name: &String| name.to_uppercase().contains("MIT");
        if allows(&self.licence, &|id| id == "MIT")? && names.iter().any(is_mit) {
            names.retain(|name| is_mit(name) || name.to_uppercase().starts_with("NOTICE"));
        }
        let lacking = LACKING.iter().find(|(name, _)| *name == self.name);
        if let (true, Some((_, text))) = (names.is_empty(), lacking) {
            return Ok(vec![plain(text)]);
        }
        ensure!(!names.is_empty(), "{} brings no licence text", self.label());
        names
            .iter()
            .map(|name| Ok(plain(&fs::read_to_string(self.folder.join(name))?)))
            .collect()
    }
}

/// Every crate that is needed on the package's targets, tests included, sorted.
///
/// # Errors
/// Cargo fails, or answers in an unknown form.
pub fn crates(checkout: &Path) -> Result<Vec<Crate>> {
    let mut crates = BTreeMap::new();
    for target in TARGETS {
        let linked = linked(checkout, target)?;
        let metadata = cargo(
            checkout,
            &[
                "metadata",
                "--locked",
                "--format-version=1",
                "--filter-platform",
                target,
            ],
        )?;
        let metadata: Value = serde_json::from_str(&metadata)?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let labels: BTreeMap<String, String> = list(&metadata["packages"])
            .iter()
            .map(|package| {
                let label = format!("{} {}", text(&package["name"]), text(&package["version"]));
                (text(&package["id"]), label)
            })
            .collect();
        let mut dependencies: BTreeMap<String, Vec<String>> = list(&metadata["resolve"]["nodes"])
            .iter()
            .map(|node| {
                let ids = list(&node["dependencies"]);
                let names = ids
                    .iter()
                    .filter_map(|id| labels.get(id.as_str()?).cloned());
                (text(&node["id"]), names.collect())
            })
            .collect();
        for package in list(&metadata["packages"]) {
            // Only what is resolved for this target.
            let Some(dependencies) = dependencies.remove(&text(&package["id"])) else {
                continue;
            };
            let manifest = PathBuf::from(text(&package["manifest_path"]));
            let label = labels[&text(&package["id"])].clone();
            let is_linked = linked.contains(&label);
            let known = crates.entry(label).or_insert_with(|| Crate {
                name: text(&package["name"]),
                version: text(&package["version"]),
                licence: text(&package["license"]),
                source: package["source"].as_str().map(str::to_owned),
                is_linked,
                folder: manifest.parent().unwrap_or(Path::new("")).to_owned(),
                repository: text(&package["repository"]),
                dependencies,
            });
            known.is_linked |= is_linked;
        }
    }
    Ok(crates.into_values().collect())
}

/// What is linked into the program: Cargo's tree with the features of the shipped build.
fn linked(checkout: &Path, target: &str) -> Result<BTreeSet<String>> {
    let tree = cargo(
        checkout,
        &[
            "tree",
            "--locked",
            "--package",
            "backup-sync-dropbox",
            "--target",
            target,
            "--edges",
            "normal,no-proc-macro",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ],
    )?;
    tree.lines()
        .map(|line| {
            let (name, rest) = line
                .split_once(" v")
                .context("cargo tree has another form")?;
            let version = rest.split(' ').next().unwrap_or(rest);
            Ok(format!("{name} {version}"))
        })
        .collect()
}

fn cargo(checkout: &Path, arguments: &[&str]) -> Result<String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(arguments)
        .current_dir(checkout)
        .output()?;
    ensure!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Without the differences that make the same text look like two.
fn plain(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

fn foreign(crates: &[Crate]) -> impl Iterator<Item = &Crate> {
    crates
        .iter()
        .filter(|one| one.is_linked && one.source.is_some())
}

/// The document that goes with every copy of the program.
///
/// # Errors
/// A crate has no licence text.
pub fn third_party(crates: &[Crate]) -> Result<String> {
    let mut document = "# Third-party software\n\n\
        Made by `./build.sh licences` from the sources that are linked into the program; do not edit it.\n\n\
        | crate | version | licence |\n| --- | --- | --- |\n"
        .to_owned();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in foreign(crates) {
        let Crate {
            name,
            version,
            licence,
            repository,
            ..
        } = one;
        writeln!(
            document,
            "| [{name}]({repository}) | {version} | {licence} |"
        )?;
        for text in one.texts()? {
            texts.entry(text).or_default().push(one.label());
        }
    }
    write!(document, "\n{RUNTIME}\n## Licence texts of the crates\n")?;
    let mut texts: Vec<(String, Vec<String>)> = texts.into_iter().collect();
    texts.sort_by(|left, right| left.1.cmp(&right.1));
    for (text, labels) in texts {
        write!(
            document,
            "\n### {}\n\n````text\n{text}\n````\n",
            labels.join(", ")
        )?;
    }
    Ok(document)
}

/// The bill of materials of the program, CycloneDX 1.5, without anything that differs from build to build.
///
/// # Errors
/// `Cargo.lock` cannot be read, or the program is not among the crates.
pub fn bill_of_materials(checkout: &Path, crates: &[Crate]) -> Result<Value> {
    let checksums = checksums(&fs::read_to_string(checkout.join("Cargo.lock"))?);
    let purl = |label: &str| format!("pkg:cargo/{}", label.replacen(' ', "@", 1));
    let linked: BTreeSet<String> = crates
        .iter()
        .filter(|one| one.is_linked)
        .map(Crate::label)
        .collect();
    let component = |one: &Crate| {
        let mut component = json!({
            "type": if one.source.is_some() { "library" } else { "application" },
            "bom-ref": purl(&one.label()),
            "name": one.name,
            "version": one.version,
            "licenses": [{"expression": one.licence}],
            "purl": purl(&one.label()),
        });
        if let Some(checksum) = checksums.get(&one.label()) {
            component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
        }
        if !one.repository.is_empty() {
            component["externalReferences"] = json!([{"type": "vcs", "url": one.repository}]);
        }
        component
    };
    let program = crates
        .iter()
        .find(|one| one.is_linked && one.source.is_none())
        .context("the program is not among its crates")?;
    let dependencies: Vec<Value> = crates
        .iter()
        .filter(|one| one.is_linked)
        .map(|one| {
            let on = one
                .dependencies
                .iter()
                .filter(|label| linked.contains(*label));
            let on: BTreeSet<String> = on.map(|label| purl(label)).collect();
            json!({"ref": purl(&one.label()), "dependsOn": on})
        })
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(program)},
        "components": foreign(crates).map(component).collect::<Vec<_>>(),
        "dependencies": dependencies,
    }))
}

/// The registry's SHA-256 of every crate in a `Cargo.lock`.
fn checksums(lock: &str) -> BTreeMap<String, String> {
    let value = |block: &str, key: &str| {
        let start = format!("{key} = \"");
        let line = block.lines().find_map(|line| line.strip_prefix(&start))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    lock.split("[[package]]")
        .filter_map(|block| {
            let label = format!("{} {}", value(block, "name")?, value(block, "version")?);
            Some((label, value(block, "checksum")?))
        })
        .collect()
}
