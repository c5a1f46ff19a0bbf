//! The public plugin repository: the layout in which it keeps a plugin, and what its check and its packer demand.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::find_php;
use super::manifest::repository_problems;
use super::package::{files_below, read};

/// Names that the host keeps for itself; the packer leaves them out, and so must we.
const RESERVED: [&str; 3] = [
    "ucrm.json",
    ".ucrm-plugin-running",
    ".ucrm-plugin-execution-requested",
];

/// Unpacks a finished ZIP into `plugins`, as the repository keeps it: `README.md`, `src/` with the rest, and the ZIP.
///
/// # Errors
/// The ZIP cannot be read, or `plugins` not be written.
pub fn export(zip: &Path, plugins: &Path) -> Result<PathBuf> {
    let name = zip.file_stem().context("a ZIP without a name")?;
    let plugin = plugins.join(name);
    for entry in read(zip)? {
        let path = match entry.name.as_str() {
            "README.md" => plugin.join("README.md"),
            other => plugin.join("src").join(other),
        };
        fs::create_dir_all(path.parent().context("a file without a folder")?)?;
        fs::write(&path, entry.content)?;
        let mode = entry.mode.unwrap_or(0o644) & 0o777;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    fs::copy(zip, plugin.join(name).with_extension("zip"))?;
    Ok(plugin)
}

/// What the repository's check and packer would object to in an exported plugin.
#[must_use]
pub fn layout_problems(plugin: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    let src = plugin.join("src");
    for needed in ["README.md", "src/main.php", "src/manifest.json"] {
        if !plugin.join(needed).is_file() {
            problems.push(format!("{needed} is missing"));
        }
    }
    if src.join("composer.json").exists() && !src.join("composer.lock").exists() {
        problems.push("composer.lock is missing".to_owned());
    }

    let manifest = fs::read(src.join("manifest.json")).unwrap_or_default();
    problems.extend(repository_problems(&manifest));
    let json: Value = serde_json::from_slice(&manifest).unwrap_or_default();
    let folder = plugin.file_name().unwrap_or_default();
    if json["information"]["name"].as_str() != folder.to_str() {
        problems.push("the folder is not named as the manifest says".to_owned());
    }

    let mut files = Vec::new();
    if let Err(error) = files_below(&src, Path::new(""), &mut files) {
        problems.push(format!("src/ cannot be read: {error:#}"));
    }
    problems.extend(files.iter().filter_map(|file| is_bad_php(&src.join(file))));
    problems.extend(zip_problems(plugin, &json, &files));
    problems
}

/// The archive must hold the README, all of `src/` and nothing else; for the packer would make it so.
fn zip_problems(plugin: &Path, manifest: &Value, src: &[PathBuf]) -> Vec<String> {
    let zip = plugin
        .join(plugin.file_name().unwrap_or_default())
        .with_extension("zip");
    let packed = match read(&zip) {
        Ok(packed) => packed,
        Err(error) => return vec![format!("{} cannot be read: {error:#}", zip.display())],
    };
    let mut problems = Vec::new();
    let content = |name: &str| packed.iter().find(|entry| entry.name == name);
    let in_zip =
        content("manifest.json").map(|entry| serde_json::from_slice::<Value>(&entry.content));
    if !matches!(in_zip, Some(Ok(json)) if json == *manifest) {
        problems.push("the ZIP's manifest is not that of src/".to_owned());
    }
    for file in src {
        let same = fs::read(plugin.join("src").join(file)).ok();
        let stored = file.to_str().and_then(content).map(|entry| &entry.content);
        if stored != same.as_ref() {
            problems.push(format!("the ZIP has not the {} of src/", file.display()));
        }
    }
    if packed.len() != src.len() + 1 || content("README.md").is_none() {
        problems.push("the ZIP holds more or less than README.md and src/".to_owned());
    }
    for entry in &packed {
        if RESERVED.contains(&entry.name.as_str()) || entry.name.starts_with("data/") {
            problems.push(format!("{} belongs to the host", entry.name));
        }
    }
    problems
}

fn is_bad_php(file: &Path) -> Option<String> {
    if file.extension().is_none_or(|extension| extension != "php") {
        return None;
    }
    let output = Command::new(find_php()?)
        .arg("-l")
        .arg(file)
        .output()
        .ok()?;
    (!output.status.success()).then(|| format!("php -l refuses {}", file.display()))
}
