//! `download`: the way back.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{Call, Command, End, Failure, harmless, say, unlimited, versions};
use crate::age::ENDING;
use crate::clock::Stopwatch;
use crate::dropbox::content_hash::{ContentHasher, Digested};
use crate::dropbox::download::Download;
use crate::dropbox::files::{FileMetadata, ListedFile};
use crate::dropbox::{self, Dropbox};
use crate::findings::table;
use crate::mirror::names::{self, Naming};
use crate::mirror::survey;
use crate::progress_bar::ProgressBar;
use crate::text;
use crate::zone::Zone;

const HELP: &str = "\
Gets a backup back from Dropbox.

Usage: backup-sync-dropbox download NAME [DEST] [--version REV] [--force]
                                    [--root DIR]

NAME is the word \"latest\", the name of a file in the mirror folder, or a part of
a name or id that only one backup has; \"list\" shows them. DEST is a file, a
folder, or \"-\" for standard output; without it the file goes into the current
folder under its own name.

The content is checked against Dropbox's content hash before the file gets its
name, and a file that has its name is complete. If the download is interrupted,
the same command goes on where it stopped, from a file that ends in \".part\". A
file that is there already and equal counts as done; one that differs is not
replaced without --force. What goes to standard output is checked, too, but only
when all of it is written: heed the exit code. On a terminal a bar shows how far
it has come.

A name that ends in .age is that of an encrypted file, and it arrives as it is:
\"age -d -i key.txt\" opens it with the secret key, or straight on its way with
\"download latest - | age -d -i key.txt > backup.unms\".

It needs the permission files.content.read, and of the plugin's folder only
data/config.json with the app key and the authorization. So it works on any
Linux machine, also when the UISP server is gone: see docs/restore.md.

Options:
  --version REV  Get an earlier version, see \"versions\". NAME is the whole name
                 then, also of a file that is deleted.
  --force        Replace a file that differs.
  --root DIR     The plugin's folder. Default: the current folder.
  --help         Print this text and exit.

Exit codes:
  0  The whole file is there, and its content is right.
  1  It is not; the message says why.
  2  The command line is wrong.

Example:
  backup-sync-dropbox download latest /tmp
";

/// The command.
pub const COMMAND: Command = Command {
    name: "download",
    help: HELP,
    options: &["force"],
    settings: &["version"],
    operands: (1, 2),
    run,
};

/// The word for the newest backup.
const LATEST: &str = "latest";
/// How much is downloaded at a time.
const PIECE_BYTES: usize = 256 * 1024;
/// How often it begins again with another version, or after a wrong content.
const ATTEMPTS_MAX: usize = 3;
/// Names quoted in a message.
const NAMES_IN_A_LINE: usize = 5;
/// A backup holds passwords: nobody else may read it.
const MODE: u32 = 0o600;

/// Why one attempt came to nothing.
enum Fault {
    /// Another version is in Dropbox now, or what came was not what was promised: begin again.
    Again(Failure),
    /// No use in trying again.
    Final(Failure),
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

fn run(call: &Call) -> Result<End, Failure> {
    let stop = unlimited();
    let settings = call.settings()?;
    let dropbox = call.connect(&settings, &stop)?;
    let wanted = call.operands[0].to_string_lossy();
    let destination = call.operands.get(1).map(PathBuf::as_path);
    // The timezone makes no difference for names that are there already.
    let naming = survey::naming(&settings, Zone::UTC);
    let mut attempt = 1;
    loop {
        let listed = survey::list(&dropbox, &settings)
            .map_err(|error| table::mirror_folder_not_listed().explained(&error, &error))?;
        let earlier = match call.value("version") {
            Some(rev) => Some(version(&dropbox, &settings.mirror_folder, &wanted, rev)?),
            None => None,
        };
        let file = match &earlier {
            Some(file) => file,
            None => choose(&listed.files, &wanted, naming)?,
        };
        let path = match &earlier {
            Some(file) => format!("rev:{}", file.metadata.rev),
            None => format!("{}/{}", settings.mirror_folder, file.name),
        };
        let content = Content {
            dropbox: &dropbox,
            path,
            file,
        };
        let done = match destination {
            Some(path) if path.as_os_str() == "-" => content.to_stdout(),
            path => content.to_file(&target(path, file)?, call.has("force")),
        };
        match done {
            Ok(()) => {
                tell_how_to_open(file, destination);
                return Ok(End::Well);
            }
            Err(Fault::Again(_)) if attempt < ATTEMPTS_MAX => attempt += 1,
            Err(Fault::Again(failure) | Fault::Final(failure)) => return Err(failure),
        }
    }
}

/// The version `rev` of the file `name`, which may be deleted.
fn version(dropbox: &Dropbox, folder: &str, name: &str, rev: &str) -> Result<ListedFile, Failure> {
    let revisions = versions::of(dropbox, folder, name)?;
    let mut versions = revisions.versions.into_iter();
    let metadata = versions.find(|version| version.rev == rev);
    let metadata = metadata.ok_or_else(|| {
        Failure::new(format!(
            "Dropbox has no version \"{rev}\" of \"{name}\". The command \"versions\" shows those that there are."
        ))
    })?;
    Ok(ListedFile {
        name: name.to_owned(),
        metadata,
    })
}

/// Says how a sealed file is opened; nothing here can do it.
fn tell_how_to_open(file: &ListedFile, destination: Option<&Path>) {
    if !file.name.ends_with(ENDING) {
        return;
    }
    let target = target(destination, file).unwrap_or_default();
    // Not among the bytes that may go to standard output.
    if destination.is_some_and(|path| path.as_os_str() == "-") {
        eprintln!(
            "The file is encrypted. With the secret key in key.txt: ... download NAME - | age -d -i key.txt > BACKUP"
        );
    } else {
        let sealed = target.display().to_string();
        let opened = sealed.strip_suffix(ENDING).unwrap_or("BACKUP");
        eprintln!(
            "The file is encrypted. With the secret key in key.txt: age -d -i key.txt -o \"{opened}\" \"{sealed}\""
        );
    }
}

/// The file that `wanted` means.
fn choose<'a>(
    files: &'a [ListedFile],
    wanted: &str,
    naming: Naming,
) -> Result<&'a ListedFile, Failure> {
    let backups = || {
        files.iter().filter(|file| {
            naming.recognise(&file.name).is_some() || naming.recognise_sealed(&file.name).is_some()
        })
    };
    if wanted == LATEST {
        // What was set aside is the last that anybody wants.
        let newest = backups().max_by_key(|file| {
            let is_aside = names::original(&file.name).is_some();
            (!is_aside, naming.made_at(&file.name, &file.metadata))
        });
        return newest.ok_or_else(|| Failure::new("There is no backup in the mirror folder in Dropbox. If \"dropboxFolder\" is set in the configuration, check that it names the right folder."));
    }
    if let Some(file) = files
        .iter()
        .find(|file| file.name.eq_ignore_ascii_case(wanted))
    {
        return Ok(file);
    }
    let part = wanted.to_ascii_lowercase();
    let found: Vec<&ListedFile> = backups()
        .filter(|file| file.name.to_ascii_lowercase().contains(&part))
        .collect();
    match found.as_slice() {
        [file] => Ok(file),
        [] => Err(Failure::new(format!(
            "Dropbox has no backup \"{wanted}\", and none with that in its name. The command \"list\" shows what there is."
        ))),
        several => Err(Failure::new(format!(
            "Several backups in Dropbox have \"{wanted}\" in their names: {}. Give more of the name.",
            text::list(
                several.iter().map(|file| file.name.as_str()),
                NAMES_IN_A_LINE
            )
        ))),
    }
}

/// Where a file goes.
fn target(destination: Option<&Path>, file: &ListedFile) -> Result<PathBuf, Failure> {
    // The name comes from outside: only its last component, which cannot lead elsewhere.
    let own = Path::new(&file.name).file_name();
    let own = own.ok_or_else(|| {
        Failure::new(format!(
            "\"{}\" is no name for a file. Give a file as DEST.",
            file.name
        ))
    })?;
    Ok(match destination {
        None => PathBuf::from(own),
        Some(folder) if folder.is_dir() => folder.join(own),
        Some(path) => path.to_owned(),
    })
}

/// One version of a file, on its way.
struct Content<'a> {
    dropbox: &'a Dropbox,
    path: String,
    file: &'a ListedFile,
}

impl Content<'_> {
    fn to_stdout(&self) -> Result<(), Fault> {
        let mut hasher = ContentHasher::default();
        self.fetch(0, &mut hasher, &mut io::stdout().lock())
            .map_err(|fault| match fault {
                // What is written cannot be taken back.
                Fault::Again(failure) => Fault::Final(failure),
                fault => fault,
            })?;
        if self.is_right(hasher.finish()) {
            return Ok(());
        }
        Err(Fault::Final(Failure::new(format!(
            "What was written to standard output is not the content of \"{}\": its hash differs. Do not use it; run the command again.",
            self.file.name
        ))))
    }

    fn to_file(&self, target: &Path, replaces: bool) -> Result<(), Fault> {
        if self.is_there(target, replaces)? {
            say(&format!(
                "{} is there already and has the right content.",
                target.display()
            ))?;
            return Ok(());
        }
        let took = Stopwatch::start();
        let mut part = Part::open(target, &self.file.metadata)?;
        let mut hasher = ContentHasher::default();
        let held = part.hash(&mut hasher)?;
        self.fetch(held, &mut hasher, &mut part.file)
            .map_err(|fault| part.explain(fault))?;
        if !self.is_right(hasher.finish()) {
            part.discard();
            return Err(Fault::Again(Failure::new(format!(
                "What was downloaded is not the content of \"{}\": its hash differs. It was thrown away. The connection or this machine's memory or disk may be faulty; run the command again.",
                self.file.name
            ))));
        }
        part.become_target(target, replaces)?;
        say(&format!(
            "Downloaded \"{}\" to {} ({} in {}); its content hash is right.",
            self.file.name,
            target.display(),
            text::bytes(self.file.metadata.size - held),
            text::duration(took.elapsed())
        ))?;
        Ok(())
    }

    /// Reads the content from the byte `begin` on.
    fn fetch(
        &self,
        begin: u64,
        hasher: &mut ContentHasher,
        sink: &mut impl Write,
    ) -> Result<(), Fault> {
        let mut download =
            Download::new(self.dropbox, self.path.clone(), &self.file.metadata, begin);
        let bar = ProgressBar::new(
            &harmless(&self.file.name),
            begin,
            Some(self.file.metadata.size),
        );
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            bar.advance_to(download.position());
            let count = match download.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(self.unfinished(&error)),
            };
            hasher.update(&buffer[..count]);
            sink.write_all(&buffer[..count]).map_err(unwritable)?;
        }
        sink.flush().map_err(unwritable)?;
        Ok(())
    }

    fn unfinished(&self, error: &dropbox::Error) -> Fault {
        let failure = table::not_downloaded(&self.file.name)
            .explained(error, error)
            .into();
        let changed = matches!(error, dropbox::Error::OtherVersion) || error.is_not_found();
        if changed {
            Fault::Again(failure)
        } else {
            Fault::Final(failure)
        }
    }

    fn is_right(&self, digested: Digested) -> bool {
        // Declared optional; every stored file has been seen to have one.
        let hash_is_right = self
            .file
            .metadata
            .content_hash
            .is_none_or(|hash| hash == digested.content_hash);
        digested.bytes == self.file.metadata.size && hash_is_right
    }

    /// Whether the target has the content already. One that differs is an error unless it is replaced.
    fn is_there(&self, target: &Path, replaces: bool) -> Result<bool, Failure> {
        let failed = |error: io::Error| {
            Failure::new(format!(
                "{} cannot be read. Choose another place. Cause: {error}.",
                target.display()
            ))
        };
        let mut options = OpenOptions::new();
        // A pipe is not waited for.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let mut file = match options.read(true).custom_flags(flags).open(target) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(Failure::new(format!(
                "{} is no regular file. Choose another place.",
                target.display()
            )));
        }
        if metadata.len() == self.file.metadata.size {
            let mut hasher = ContentHasher::default();
            hash(&mut file, &mut hasher).map_err(failed)?;
            if self.is_right(hasher.finish()) {
                return Ok(true);
            }
        }
        if replaces {
            Ok(false)
        } else {
            Err(occupied(target))
        }
    }
}

fn occupied(target: &Path) -> Failure {
    Failure::new(format!(
        "{} is there already and differs. Choose another place, or replace it with --force.",
        target.display()
    ))
}

fn unwritable(error: io::Error) -> Failure {
    Failure::new(format!(
        "The content could not be written. Free disk space or choose another place, then run the same command again. Cause: {error}."
    ))
}

fn hash(file: &mut File, hasher: &mut ContentHasher) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What has arrived so far: a file beside the target that has the version in its name, so that another
/// version never goes on with it.
struct Part {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Part {
    fn open(target: &Path, version: &FileMetadata) -> Result<Self, Failure> {
        let mut path = target.as_os_str().to_owned();
        path.push(format!(
            ".{}.part",
            version
                .rev
                .replace(|c: char| !c.is_ascii_alphanumeric(), "_")
        ));
        let path = PathBuf::from(path);
        let cannot = |error: io::Error| {
            Failure::new(format!(
                "{} cannot be written. Choose another place. Cause: {error}.",
                path.display()
            ))
        };
        let mut options = OpenOptions::new();
        // The place may be one where others write: what they have put there under this name is not followed.
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
        let file = file.open(&path).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        if !metadata.is_file() || metadata.nlink() > 1 {
            return Err(cannot(io::Error::other("something else has this name")));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(format!(
                    "Another download to {} is going on. Wait until it has ended, or choose another place.",
                    target.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        Ok(Self {
            path,
            file,
            size: version.size,
        })
    }

    /// Hashes what has arrived, and says how much that is; the file stands at its end then.
    fn hash(&mut self, hasher: &mut ContentHasher) -> Result<u64, Failure> {
        let mut read = || {
            if self.file.metadata()?.len() > self.size {
                self.file.set_len(0)?;
            }
            self.file.seek(SeekFrom::Start(0))?;
            hash(&mut self.file, hasher)?;
            self.file.stream_position()
        };
        read().map_err(|error| {
            Failure::new(format!(
                "{} cannot be read. Remove it. Cause: {error}.",
                self.path.display()
            ))
        })
    }

    /// Says that the same command goes on, where that is so.
    fn explain(&self, fault: Fault) -> Fault {
        match fault {
            Fault::Final(failure) => Fault::Final(Failure::new(format!(
                "{failure} What has arrived is in {}, and the same command goes on from there.",
                self.path.display()
            ))),
            fault => fault,
        }
    }

    fn discard(self) {
        // What stays is hashed, found wrong and discarded again.
        let _ = fs::remove_file(&self.path);
    }

    fn become_target(self, target: &Path, replaces: bool) -> Result<(), Failure> {
        if !replaces && target.symlink_metadata().is_ok() {
            return Err(occupied(target));
        }
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let renamed = self
            .file
            .sync_all()
            .and_then(|()| fs::rename(&self.path, target))
            .and_then(|()| File::open(folder)?.sync_all());
        renamed.map_err(|error| {
            Failure::new(format!(
                "The download is complete, but could not get its name {}. It is in {}. Cause: {error}.",
                target.display(),
                self.path.display()
            ))
        })
    }
}
