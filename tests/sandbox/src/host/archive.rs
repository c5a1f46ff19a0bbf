//! Unpacks a ZIP as PHP's `ZipArchive::extractTo` does: contents only, no stored modes, no links.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use zip::ZipArchive;

/// Files that the host itself writes into a plugin's folder.
const RESERVED: [&str; 3] = [
    "ucrm.json",
    super::run::RUNNING_MARKER,
    super::run::EXECUTION_REQUEST,
];

/// Reads `manifest.json` out of an archive, after the checks that the host makes before unpacking.
pub(super) fn read_manifest(zip: &Path) -> Result<Vec<u8>> {
    let mut archive = open(zip)?;
    for name in RESERVED {
        ensure!(
            archive.index_for_name(name).is_none(),
            "The archive contains the reserved file {name}."
        );
    }
    let mut bytes = Vec::new();
    match archive.by_name("manifest.json") {
        Ok(mut entry) => entry.read_to_end(&mut bytes)?,
        // A folder around everything, as some packers make it, ends here too.
        Err(_) => bail!("Plugin manifest could not be found in the ZIP archive."),
    };
    ensure!(
        archive.index_for_name("main.php").is_some(),
        "The archive has no main.php at its root."
    );
    Ok(bytes)
}

/// Unpacks everything into `target`.
///
/// Measured with PHP 8.2 and libzip 1.7: new files get mode 0666 and new folders 0777, less the
/// umask, whatever the archive says; an existing file keeps its mode; a link becomes a file that
/// holds the link's text; `..` and leading slashes are taken out of names.
///
/// # Errors
/// The archive cannot be read or the target cannot be written.
pub fn extract_like_php(zip: &Path, target: &Path) -> Result<()> {
    extract(zip, target, |_| true)
}

/// As [`extract_like_php`], but only entries whose cleaned name `wanted` accepts.
pub(super) fn extract(zip: &Path, target: &Path, wanted: impl Fn(&Path) -> bool) -> Result<()> {
    let mut archive = open(zip)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let stored_name = entry.name()?.into_owned();
        let name = clean(&stored_name);
        if name.as_os_str().is_empty() || !wanted(&name) {
            continue;
        }
        let path = target.join(&name);
        if stored_name.ends_with('/') {
            fs::create_dir_all(&path)?;
        } else {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut file =
                File::create(&path).with_context(|| format!("creating {}", path.display()))?;
            io::copy(&mut entry, &mut file)?;
        }
    }
    Ok(())
}

fn open(zip: &Path) -> Result<ZipArchive<File>> {
    let file = File::open(zip).with_context(|| format!("opening {}", zip.display()))?;
    ZipArchive::new(file).with_context(|| format!("{} is not a ZIP archive", zip.display()))
}

/// Resolves `.` and `..` as text, never above the root.
fn clean(name: &str) -> PathBuf {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.iter().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn write_zip(path: &Path) {
        let mut zip = ZipWriter::new(File::create(path).unwrap());
        let options = SimpleFileOptions::default();
        for (name, mode) in [
            ("manifest.json", 0o644),
            ("bin/x86_64/program", 0o755),
            ("private", 0o600),
            ("setuid", 0o4755),
            ("there-already", 0o644),
            ("../above", 0o644),
            ("/absolute", 0o644),
            ("a/../b/./c", 0o644),
        ] {
            zip.start_file(name, options.unix_permissions(mode))
                .unwrap();
            zip.write_all(format!("content of {name}").as_bytes())
                .unwrap();
        }
        zip.add_directory("empty-folder", options.unix_permissions(0o700))
            .unwrap();
        zip.add_symlink("link", "manifest.json", options).unwrap();
        zip.finish().unwrap();
    }

    /// Every path below a folder with its mode and, for files, its content.
    fn tree(folder: &Path) -> BTreeMap<PathBuf, (u32, Option<Vec<u8>>)> {
        let mut found = BTreeMap::new();
        let mut open = vec![folder.to_owned()];
        while let Some(next) = open.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                let metadata = path.symlink_metadata().unwrap();
                let content = metadata.is_file().then(|| fs::read(&path).unwrap());
                if metadata.is_dir() {
                    open.push(path.clone());
                }
                let name = path.strip_prefix(folder).unwrap().to_owned();
                found.insert(name, (metadata.permissions().mode(), content));
            }
        }
        found
    }

    #[test]
    fn unpacks_as_php_does() {
        let php = super::super::find_php()
            .expect("this test needs php with its zip extension: ./build.sh test installs it");
        let folder = tempfile::tempdir().unwrap();
        let zip = folder.path().join("plugin.zip");
        write_zip(&zip);

        let [ours, theirs] = ["ours", "theirs"].map(|name| folder.path().join(name));
        for target in [&ours, &theirs] {
            fs::create_dir(target).unwrap();
            fs::write(target.join("there-already"), "old").unwrap();
            fs::set_permissions(
                target.join("there-already"),
                fs::Permissions::from_mode(0o755),
            )
            .unwrap();
        }
        extract_like_php(&zip, &ours).unwrap();
        let script = "$z = new ZipArchive; exit($z->open($argv[1]) === true && $z->extractTo($argv[2]) ? 0 : 1);";
        let status = Command::new(php)
            .args(["-r", script, "--"])
            .arg(&zip)
            .arg(&theirs)
            .status()
            .unwrap();
        assert!(status.success());

        let ours = tree(&ours);
        assert_eq!(ours, tree(&theirs));
        let mode = |name: &str| ours[Path::new(name)].0 & 0o7777;
        assert_eq!(
            mode("bin/x86_64/program") & 0o111,
            0,
            "the executable bit is lost"
        );
        assert_eq!(mode("there-already"), 0o755);
    }
}
