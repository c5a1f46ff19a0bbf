//! Makes the installable ZIP: the same inputs give the same bytes, whatever the machine or folder.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Files of the checkout that are packed where they exist.
const OPTIONAL: [&str; 2] = ["README.md", "CHANGELOG.md"];
/// Files without which there is no plugin, or no right to hand it on.
const REQUIRED: [&str; 7] = [
    "manifest.json",
    "main.php",
    "launcher.php",
    "public.php",
    "hook_configure.php",
    "LICENSE",
    "THIRD-PARTY.md",
];

/// What goes into one ZIP.
#[derive(Clone, Debug)]
pub struct Package {
    /// The folder that holds `manifest.json`.
    pub checkout: PathBuf,
    /// The commit that it was built from.
    pub commit: String,
    /// The time of that commit, in seconds since 1970: the only time in the archive.
    pub commit_time: i64,
    /// The programs, one an architecture.
    pub programs: Vec<Program>,
}

/// The program for one architecture.
#[derive(Clone, Debug)]
pub enum Program {
    /// Goes to `bin/<architecture>/`.
    Built {
        /// As the launcher calls it.
        architecture: String,
        /// How it was built, for BUILD-INFO.
        how: String,
        /// The built file.
        path: PathBuf,
    },
    /// Could not be built here.
    Skipped {
        /// As the launcher calls it.
        architecture: String,
        /// Why, for BUILD-INFO.
        reason: String,
    },
}

impl Package {
    /// Writes the ZIP to `target`.
    ///
    /// # Errors
    /// A required file is missing, or the archive cannot be written.
    pub fn write(&self, target: &Path) -> Result<()> {
        let mut entries = self.entries()?;
        entries.sort_by(|left, right| left.name.cmp(&right.name));

        let time = zip_time(self.commit_time)?;
        let mut zip = ZipWriter::new(
            File::create(target).with_context(|| format!("creating {}", target.display()))?,
        );
        for entry in entries {
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Deflated)
                .compression_level(Some(9))
                .last_modified_time(time)
                .unix_permissions(if entry.is_program { 0o755 } else { 0o644 });
            zip.start_file(entry.name, options)?;
            zip.write_all(&entry.content)?;
        }
        zip.finish()?;
        Ok(())
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let optional = OPTIONAL
            .iter()
            .filter(|name| self.checkout.join(name).is_file());
        let mut names: Vec<PathBuf> = REQUIRED.iter().chain(optional).map(PathBuf::from).collect();
        files_below(&self.checkout, Path::new("public"), &mut names)?;

        let mut entries = Vec::new();
        for name in names {
            let path = self.checkout.join(&name);
            let content = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            let name = name
                .to_str()
                .context("a file name that is not UTF-8")?
                .to_owned();
            entries.push(Entry {
                name,
                content,
                is_program: false,
            });
        }
        for program in &self.programs {
            if let Program::Built {
                architecture, path, ..
            } = program
            {
                let content =
                    fs::read(path).with_context(|| format!("reading {}", path.display()))?;
                let name = format!("bin/{architecture}/backup-sync-dropbox");
                entries.push(Entry {
                    name,
                    content,
                    is_program: true,
                });
            }
        }
        let content = self.build_info()?.into_bytes();
        entries.push(Entry {
            name: "BUILD-INFO".to_owned(),
            content,
            is_program: false,
        });
        Ok(entries)
    }

    fn build_info(&self) -> Result<String> {
        let manifest = super::Manifest::parse(&fs::read(self.checkout.join("manifest.json"))?)?;
        let time = commit_time(self.commit_time)?.format("%Y-%m-%dT%H:%M:%SZ");
        let mut text = format!(
            "{} {}\ncommit: {} of {time}\n",
            manifest.name, manifest.version, self.commit
        );
        for program in &self.programs {
            text += &match program {
                Program::Built {
                    architecture, how, ..
                } => format!("{architecture}: built, {how}\n"),
                Program::Skipped {
                    architecture,
                    reason,
                } => format!("{architecture}: skipped, {reason}\n"),
            };
        }
        Ok(text)
    }
}

/// One entry of a finished ZIP, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Its path in the archive.
    pub name: String,
    /// The Unix mode, file type included.
    pub mode: Option<u32>,
    /// The stored time, as text.
    pub modified: Option<String>,
    /// What it unpacks to.
    pub content: Vec<u8>,
}

/// Reads a finished ZIP, in the archive's order.
///
/// # Errors
/// It is not a readable ZIP.
pub fn read(zip: &Path) -> Result<Vec<Packed>> {
    let mut archive =
        ZipArchive::new(File::open(zip).with_context(|| format!("opening {}", zip.display()))?)?;
    let mut files = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.push(Packed {
            name: entry.name()?.into_owned(),
            mode: entry.unix_mode(),
            modified: entry.last_modified().map(|time| time.to_string()),
            content,
        });
    }
    Ok(files)
}

struct Entry {
    name: String,
    content: Vec<u8>,
    is_program: bool,
}

/// Adds the files below `folder`, as paths from `checkout`.
pub(super) fn files_below(checkout: &Path, folder: &Path, names: &mut Vec<PathBuf>) -> Result<()> {
    if !checkout.join(folder).is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(checkout.join(folder))? {
        let entry = entry?;
        let name = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            files_below(checkout, &name, names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

fn commit_time(seconds: i64) -> Result<DateTime<Utc>> {
    DateTime::from_timestamp(seconds, 0).context("a commit time out of range")
}

/// ZIP keeps local time without a zone, in steps of two seconds; it starts in 1980.
fn zip_time(seconds: i64) -> Result<zip::DateTime> {
    let time = commit_time(seconds)?;
    let number = |value: u32| u8::try_from(value).context("a number out of range");
    let year = u16::try_from(time.year()).context("a year out of range")?;
    Ok(zip::DateTime::from_date_and_time(
        year,
        number(time.month())?,
        number(time.day())?,
        number(time.hour())?,
        number(time.minute())?,
        number(time.second() & !1)?,
    )?)
}
