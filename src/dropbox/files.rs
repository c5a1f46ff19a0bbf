//! The routes of the `files` namespace that a mirror needs.
//!
//! Source of names and rules: <https://github.com/dropbox/dropbox-api-spec/blob/main/files.stone>.

use std::collections::BTreeMap;
use std::iter;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::content_hash::ContentHash;
use super::error::Conflict;
use super::{Dropbox, Error};
use crate::clock::{self, StopReason};
use crate::http::retry::{Retry, Retryable, Tries, with_retry};

/// Most entries of one batch call.
pub const BATCH_ENTRIES_MAX: usize = 1000;
/// Versions of a file that are asked for: as many as one answer can have.
const REVISIONS_MAX: u32 = 100;
/// Pages of one listing, at most: two million entries. Ends a listing that never ends.
const PAGES_MAX: usize = 1000;
/// First wait between two questions about a background job; doubled up to [`POLL_MAX`].
const POLL_FIRST: Duration = Duration::from_millis(100);
/// Longest wait between two questions about a background job.
const POLL_MAX: Duration = Duration::from_secs(10);
/// A look for one file may take so long.
const LOOK_PATIENCE: Duration = Duration::from_secs(5 * 60);
/// Describes what is at a path.
const METADATA: &str = "files/get_metadata";
/// Commits closed sessions.
const FINISH: &str = "files/upload_session/finish_batch_v2";
/// Asks about a job of deletions.
const DELETE_CHECK: &str = "files/delete_batch/check";
/// Asks about a job of commits.
const FINISH_CHECK: &str = "files/upload_session/finish_batch/check";

/// One version of a file, as Dropbox describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMetadata {
    /// Names one version of the content.
    pub rev: String,
    /// Length in bytes.
    pub size: u64,
    /// Declared optional; every stored file has been seen to have one.
    pub content_hash: Option<ContentHash>,
    /// When Dropbox stored this version.
    #[serde(default, deserialize_with = "time_if_readable")]
    pub server_modified: Option<DateTime<Utc>>,
    /// When the content was made, as whoever stored it says.
    #[serde(
        default,
        deserialize_with = "time_if_readable",
        skip_serializing_if = "Option::is_none"
    )]
    pub client_modified: Option<DateTime<Utc>>,
}

/// The versions of one file that Dropbox still has.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Revisions {
    /// There is no file any more.
    pub is_deleted: bool,
    /// The versions, the newest first.
    #[serde(rename = "entries")]
    pub versions: Vec<FileMetadata>,
    /// There are older ones than these.
    #[serde(default)]
    pub has_more: bool,
}

/// A file of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Its path below the listed folder, in the letter case in which it was first written.
    pub name: String,
    /// What is stored there.
    pub metadata: FileMetadata,
}

/// What there is below a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The files.
    pub files: Vec<ListedFile>,
    /// The folders, by their paths below the listed one.
    pub folders: Vec<String>,
    /// When Dropbox began to answer, by its own clock.
    pub time: Option<DateTime<Utc>>,
    /// How far this machine's clock was ahead of it at that moment.
    pub clock_ahead: Option<TimeDelta>,
}

/// How a commit treats what is already at its path. Identical content is never a conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// Refuse to replace anything.
    Add,
    /// Replace exactly this version.
    Update(String),
}

/// Position in an upload session.
#[derive(Clone, Debug, Serialize)]
pub struct Cursor<'a> {
    /// The session.
    pub session_id: &'a str,
    /// Bytes before this request's.
    pub offset: u64,
}

/// Turns a finished upload session into a file.
#[derive(Clone, Debug)]
pub struct Commit<'a> {
    /// The session, which must be closed.
    pub session_id: &'a str,
    /// Length of the content in bytes.
    pub length: u64,
    /// Where the file goes.
    pub path: &'a str,
    /// What may be replaced.
    pub mode: &'a WriteMode,
    /// Shown by Dropbox as the file's time.
    pub client_modified: Option<DateTime<Utc>>,
}

/// A file to delete, and the version that may be deleted.
#[derive(Clone, Debug)]
pub struct Delete<'a> {
    /// Path of the file.
    pub path: &'a str,
    /// Only this version.
    pub rev: &'a str,
}

/// An entry as it arrives; other fields are ignored.
#[derive(Deserialize)]
struct WireEntry {
    #[serde(rename = ".tag")]
    tag: String,
    name: Option<String>,
    path_lower: Option<String>,
    path_display: Option<String>,
    rev: Option<String>,
    size: Option<u64>,
    content_hash: Option<ContentHash>,
    #[serde(default, deserialize_with = "time_if_readable")]
    server_modified: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "time_if_readable")]
    client_modified: Option<DateTime<Utc>>,
}

/// A time, if it is one: nothing depends on it that an odd one should keep from being done.
fn time_if_readable<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DateTime<Utc>>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value.as_str().and_then(|text| text.parse().ok()))
}

#[derive(Deserialize)]
struct WirePage {
    entries: Vec<WireEntry>,
    cursor: String,
    has_more: bool,
}

#[derive(Deserialize)]
struct SessionStarted {
    session_id: String,
}

#[derive(Deserialize)]
struct Relocated {
    metadata: WireEntry,
}

/// The entries of a batch call, or its results.
#[derive(Serialize, Deserialize)]
struct Batch {
    entries: Vec<Value>,
}

/// How far a listing reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What is directly in the folder.
    Folder,
    /// Everything below it.
    Subfolders,
}

impl Dropbox {
    /// What there is in `folder` (`""` is the root), page by page to the end. What a later page says of a path
    /// counts, not what an earlier one said: something may change while the pages are read.
    ///
    /// A folder that does not exist yet is empty, except for the root, which exists. A listing that broke off in the middle is an
    /// error, never a shorter listing.
    ///
    /// # Errors
    /// [`Error`].
    pub fn list_folder(&self, folder: &str, depth: Depth) -> Result<Listed, Error> {
        const LIST: &str = "files/list_folder";
        const CONTINUE: &str = "files/list_folder/continue";
        // `reset` and `path` errors of `continue` mean: start over, twice at most.
        let mut starts = 0;
        'start: loop {
            starts += 1;
            let recursive = depth == Depth::Subfolders;
            let argument = json!({"path": folder, "recursive": recursive, "limit": 2000});
            let (mut page, time): (WirePage, _) = match self.dated_rpc(LIST, &argument) {
                Ok(answer) => answer,
                // The root is always there; what says otherwise is a fault.
                Err(error) if error.is_not_found() && !folder.is_empty() => {
                    return Ok(Listed::default());
                }
                Err(error) => return Err(error),
            };
            // What is measured later has waited for all pages, and for the source.
            let clock_ahead = time.map(|time| clock::now() - time);
            let mut tree = Tree::new(folder, recursive);
            for _ in 0..PAGES_MAX {
                for entry in page.entries {
                    tree.take(entry)?;
                }
                if !page.has_more {
                    return Ok(Listed {
                        time,
                        clock_ahead,
                        ..tree.listed()
                    });
                }
                page = match self.rpc(CONTINUE, &json!({"cursor": page.cursor})) {
                    Ok(page) => page,
                    Err(Error::Route { failure, .. })
                        if starts < 3 && (failure.has("reset") || failure.has("path")) =>
                    {
                        continue 'start;
                    }
                    Err(error) => return Err(error),
                };
            }
            return Err(Error::Malformed {
                route: CONTINUE,
                cause: format!("the listing does not end after {PAGES_MAX} pages"),
            });
        }
    }

    /// The file at `path`, or `None` if no file is there.
    ///
    /// # Errors
    /// [`Error`].
    pub fn file_metadata(&self, path: &str) -> Result<Option<FileMetadata>, Error> {
        // Nobody is held up for long: there is a way on without the answer.
        let stop = self.stop.for_at_most(LOOK_PATIENCE);
        with_retry(&stop, METADATA, || self.look_at_file(path))
    }

    /// The newest versions of the file that is or was at `path`, a hundred at most.
    ///
    /// # Errors
    /// [`Error`]; also if there never was a file.
    pub fn revisions(&self, path: &str) -> Result<Revisions, Error> {
        const ROUTE: &str = "files/list_revisions";
        self.rpc(
            ROUTE,
            &json!({"path": path, "mode": "path", "limit": REVISIONS_MAX}),
        )
    }

    /// Has Dropbox copy the file at `from` to `to`, where nothing may be. A copy that is there already, because
    /// an earlier answer was lost, counts as made now.
    ///
    /// # Errors
    /// [`Error`]; nothing that was at `to` is changed.
    pub fn copy_file(&self, from: &str, to: &str) -> Result<FileMetadata, Error> {
        const ROUTE: &str = "files/copy_v2";
        let argument = json!({"from_path": from, "to_path": to, "autorename": false});
        let error = match self.rpc::<Relocated>(ROUTE, &argument) {
            Ok(copied) => {
                let file = copied.metadata.into_file(ROUTE)?;
                return file.ok_or_else(|| missing(ROUTE, "content: it is no file"));
            }
            Err(error) => error,
        };
        if error.conflict() == Some(Conflict::File) || error.leaves_doubt() {
            let (original, copy) = (self.file_metadata(from)?, self.file_metadata(to)?);
            if let (Some(original), Some(copy)) = (original, copy)
                && original.content_hash.is_some()
                && original.content_hash == copy.content_hash
            {
                return Ok(copy);
            }
        }
        Err(error)
    }

    /// Makes the version `rev` of the file at `path` the current one again.
    ///
    /// # Errors
    /// [`Error`].
    pub fn restore(&self, path: &str, rev: &str) -> Result<FileMetadata, Error> {
        self.rpc("files/restore", &json!({"path": path, "rev": rev}))
    }

    /// The file at `path` as [`Dropbox::file_metadata`] has it; one try.
    ///
    /// # Errors
    /// [`Error`].
    pub fn look_at_file(&self, path: &str) -> Result<Option<FileMetadata>, Error> {
        match self.rpc_once::<WireEntry>(METADATA, &json!({"path": path})) {
            Ok(entry) => entry.into_file(METADATA),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there is a folder at `path`; the root (`""`) is always there.
    ///
    /// # Errors
    /// [`Error`].
    pub fn is_folder(&self, path: &str) -> Result<bool, Error> {
        if path.is_empty() {
            return Ok(true);
        }
        match self.rpc::<WireEntry>(METADATA, &json!({"path": path})) {
            Ok(entry) => Ok(entry.tag == "folder"),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes the folder at `path` if there is no file in it or below it; returns whether it is gone.
    ///
    /// # Errors
    /// [`Error`].
    pub fn remove_empty_folder(&self, path: &str) -> Result<bool, Error> {
        const ROUTE: &str = "files/delete_batch";
        if !self.list_folder(path, Depth::Subfolders)?.files.is_empty() {
            return Ok(false);
        }
        let answer = self.rpc(ROUTE, &json!({"entries": [{"path": path}]}))?;
        let answer = self.wait_for_job(ROUTE, DELETE_CHECK, answer)?;
        let entry = &answer["entries"][0];
        match entry_tag(entry) {
            "success" => Ok(true),
            _ => match Error::from_failure(ROUTE, &entry["failure"]) {
                error if error.is_not_found() => Ok(true),
                error => Err(error),
            },
        }
    }

    /// Sends a whole small content into a session of its own, closed and ready to commit.
    ///
    /// # Errors
    /// [`Error`].
    pub fn start_closed_session(&self, content: &[&[u8]]) -> Result<String, Error> {
        let argument = json!({"close": true});
        self.start(&argument, content)
    }

    /// Opens a session whose pieces may arrive in any order.
    ///
    /// # Errors
    /// [`Error`].
    pub fn start_concurrent_session(&self) -> Result<String, Error> {
        let argument = json!({"close": false, "session_type": "concurrent"});
        self.start(&argument, &[])
    }

    fn start(&self, argument: &Value, content: &[&[u8]]) -> Result<String, Error> {
        let started: SessionStarted =
            self.upload("files/upload_session/start", argument, content)?;
        Ok(started.session_id)
    }

    /// Sends one piece of a concurrent session. Length and offset are multiples of 4 MiB, except
    /// that the piece that closes the session may have any length, zero included.
    ///
    /// # Errors
    /// [`Error`].
    pub fn append(&self, cursor: &Cursor<'_>, close: bool, content: &[&[u8]]) -> Result<(), Error> {
        let argument = json!({"cursor": cursor, "close": close});
        let _: Value = self.upload("files/upload_session/append_v2", &argument, content)?;
        Ok(())
    }

    /// Commits up to [`BATCH_ENTRIES_MAX`] closed sessions in one call; the results come in the
    /// same order. Files that meet another writer are tried again after a wait.
    pub fn finish_batch(&self, commits: &[Commit<'_>]) -> Vec<Result<FileMetadata, Error>> {
        self.finish_with(commits, |argument| self.dated_rpc(FINISH, argument))
    }

    /// The same, but comes back at once when it is not known whether the call was carried out
    /// ([`Error::leaves_doubt`]): whoever knows the files can look for them first.
    pub fn try_finish_batch(&self, commits: &[Commit<'_>]) -> Vec<Result<FileMetadata, Error>> {
        self.finish_with(commits, |argument| {
            let once = || self.rpc_once(FINISH, argument).map_err(Undoubted);
            let answer: Result<Value, Undoubted> = with_retry(&self.stop, FINISH, once);
            answer.map(|value| (value, None)).map_err(|error| error.0)
        })
    }

    fn finish_with(
        &self,
        commits: &[Commit<'_>],
        ask: impl Fn(&Batch) -> Result<(Value, Option<DateTime<Utc>>), Error>,
    ) -> Vec<Result<FileMetadata, Error>> {
        self.settle_batch(commits, |commits| {
            let entries = commits.iter().map(|commit| commit_argument(commit));
            let (answer, _) = ask(&Batch {
                entries: entries.collect(),
            })?;
            // Version 2 of the route answers with the results; a job, as version 1 does, is waited for.
            let answer = match answer.get("async_job_id") {
                Some(_) => self.wait_for_job(FINISH, FINISH_CHECK, answer)?,
                None => answer,
            };
            let batch: Batch = serde_json::from_value(answer).map_err(|error| {
                let cause = error.to_string();
                Error::Malformed {
                    route: FINISH,
                    cause,
                }
            })?;
            Ok(batch
                .entries
                .into_iter()
                .map(|entry| match entry_tag(&entry) {
                    "success" => parse_file(FINISH, entry),
                    "failure" => Err(Error::from_failure(FINISH, &entry["failure"])),
                    tag => Err(Error::from_failure(FINISH, &json!(tag))),
                })
                .collect())
        })
    }

    /// Deletes the named versions, at most [`BATCH_ENTRIES_MAX`], in one call and its polls; the
    /// results come in the same order. Files that
    /// meet another writer are tried again after a wait.
    pub fn delete_batch(&self, files: &[Delete<'_>]) -> Vec<Result<(), Error>> {
        const ROUTE: &str = "files/delete_batch";
        self.settle_batch(files, |files| {
            let entries = files
                .iter()
                .map(|file| json!({"path": file.path, "parent_rev": file.rev}));
            let answer = self.rpc(
                ROUTE,
                &Batch {
                    entries: entries.collect(),
                },
            )?;
            let answer = self.wait_for_job(ROUTE, DELETE_CHECK, answer)?;
            if entry_tag(&answer) == "failed" {
                let error = Error::from_failure(ROUTE, &answer["failed"]);
                return Ok(vec![Err(error); files.len()]);
            }
            let results = answer["entries"].as_array().map_or(&[][..], Vec::as_slice);
            Ok(results
                .iter()
                .map(|entry| match entry_tag(entry) {
                    "success" => Ok(()),
                    _ => Err(Error::from_failure(ROUTE, &entry["failure"])),
                })
                .collect())
        })
    }

    /// Deletes the version `rev` of the file at `path`; one that is gone already counts as deleted.
    ///
    /// # Errors
    /// [`Error`].
    pub fn delete_file(&self, path: &str, rev: &str) -> Result<(), Error> {
        match self.delete_batch(&[Delete { path, rev }]).pop() {
            Some(Err(error)) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Asks about a background job until it is over, or the run's time is; returns its last answer.
    fn wait_for_job(
        &self,
        route: &'static str,
        check: &'static str,
        mut answer: Value,
    ) -> Result<Value, Error> {
        let job = answer["async_job_id"].as_str().map(str::to_owned);
        let mut waits = poll_waits();
        loop {
            match (entry_tag(&answer), &job) {
                ("complete" | "failed", _) => return Ok(answer),
                ("async_job_id" | "in_progress", Some(job)) => {
                    let wait = waits.next().unwrap_or(POLL_MAX);
                    if self.stop.sleep(wait).is_err() {
                        return Err(Error::Unfinished { route });
                    }
                    answer = self.rpc(check, &json!({"async_job_id": job}))?;
                }
                (tag, _) => return Err(Error::from_failure(route, &json!(tag))),
            }
        }
    }

    /// Carries out a batch, then again those of its items whose own errors ask for patience. If a
    /// call fails as a whole, after its own retries, all of its items have failed with it.
    fn settle_batch<I, T: Clone>(
        &self,
        items: &[I],
        mut carry_out: impl FnMut(&[&I]) -> Result<Vec<Result<T, Error>>, Error>,
    ) -> Vec<Result<T, Error>> {
        let mut results: Vec<Option<Result<T, Error>>> = vec![None; items.len()];
        let mut tries = Tries::default();
        loop {
            let open: Vec<usize> = (0..items.len())
                .filter(|&index| match &results[index] {
                    None => true,
                    Some(Ok(_)) => false,
                    Some(Err(error)) => error.retry() != Retry::Never,
                })
                .collect();
            let batch: Vec<&I> = open.iter().map(|&index| &items[index]).collect();
            let outcome = carry_out(&batch);
            let is_over = outcome.is_err();
            let mut entries = outcome.unwrap_or_else(|error| vec![Err(error); open.len()]);
            // Assumption: results that are missing stand for items that were not looked at.
            let missing = || Error::Malformed {
                route: "a batch",
                cause: "it has fewer results than items".into(),
            };
            entries.resize_with(open.len(), || Err(missing()));
            let errors = entries.iter().filter_map(|entry| entry.as_ref().err());
            let retry = errors.map(Retryable::retry).max();
            let wait = tries.next_wait(retry.unwrap_or(Retry::Never), &self.stop);
            for (index, entry) in open.into_iter().zip(entries) {
                results[index] = Some(entry);
            }
            match wait {
                Some(wait) if !is_over && self.stop.sleep(wait).is_ok() => {}
                _ => break,
            }
        }
        results.into_iter().flatten().collect()
    }
}

/// An error after which nothing is tried again if the call may have been carried out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Undoubted(Error);

impl Retryable for Undoubted {
    fn retry(&self) -> Retry {
        match self.0.leaves_doubt() {
            true => Retry::Never,
            false => self.0.retry(),
        }
    }

    fn stopped(reason: StopReason) -> Self {
        Self(Error::Stopped(reason))
    }
}

fn commit_argument(commit: &Commit<'_>) -> Value {
    let mode = match commit.mode {
        WriteMode::Add => json!("add"),
        WriteMode::Update(rev) => json!({".tag": "update", "update": rev}),
    };
    let mut target = json!({
        "path": commit.path,
        "mode": mode,
        "autorename": false,
        // No notification on the admin's devices for every backup.
        "mute": true,
    });
    if let Some(time) = commit.client_modified {
        // Whole seconds, UTC, "Z": other forms are refused.
        target["client_modified"] = json!(time.to_rfc3339_opts(SecondsFormat::Secs, true));
    }
    json!({
        "cursor": Cursor { session_id: commit.session_id, offset: commit.length },
        "commit": target,
    })
}

fn entry_tag(entry: &Value) -> &str {
    entry
        .get(".tag")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn parse_file(route: &'static str, entry: Value) -> Result<FileMetadata, Error> {
    serde_json::from_value(entry).map_err(|error| Error::Malformed {
        route,
        cause: format!("a file's metadata: {error}"),
    })
}

/// A listing in the making.
struct Tree<'a> {
    folder: &'a str,
    recursive: bool,
    /// By paths whose letter case Dropbox has made one; `None` for a folder.
    entries: BTreeMap<String, (String, Option<FileMetadata>)>,
}

impl<'a> Tree<'a> {
    fn new(folder: &'a str, recursive: bool) -> Self {
        Self {
            folder,
            recursive,
            entries: BTreeMap::new(),
        }
    }

    /// Takes an entry in, in place of what an earlier one said of its path and, unless it is a folder, of
    /// everything below it.
    fn take(&mut self, entry: WireEntry) -> Result<(), Error> {
        const ROUTE: &str = "files/list_folder";
        let is_folder = match entry.tag.as_str() {
            "file" | "deleted" => false,
            "folder" => true,
            // Whatever Dropbox may list one day.
            _ => return Ok(()),
        };
        let name = self.name_of(&entry).ok_or_else(|| missing(ROUTE, "name"))?;
        let key = entry.path_lower.clone();
        let key = key.unwrap_or_else(|| name.to_lowercase());
        // A file that has become a folder need not be told by itself.
        for (end, _) in key.match_indices('/') {
            if matches!(self.entries.get(&key[..end]), Some((_, Some(_)))) {
                self.entries.remove(&key[..end]);
            }
        }
        if !is_folder {
            let below = format!("{key}/");
            // In the order of keys, what is below stands in a row.
            let gone = self.entries.range(below.clone()..).map(|(key, _)| key);
            let gone: Vec<String> = gone
                .take_while(|key| key.starts_with(&below))
                .cloned()
                .collect();
            gone.iter().for_each(|key| drop(self.entries.remove(key)));
        }
        if entry.tag == "deleted" {
            self.entries.remove(&key);
            return Ok(());
        }
        let file = entry.into_file(ROUTE)?;
        // The listed folder itself is among its entries.
        if !name.is_empty() {
            self.entries.insert(key, (name, file));
        }
        Ok(())
    }

    /// An entry's path below the listed folder; that of the folder itself is empty.
    fn name_of(&self, entry: &WireEntry) -> Option<String> {
        if !self.recursive && entry.name.is_some() {
            return entry.name.clone();
        }
        let path = entry.path_display.as_ref().or(entry.path_lower.as_ref())?;
        // Counted, not compared: the letter case of the folders in a displayed path is not certain.
        let above = self.folder.split('/').count();
        Some(path.split('/').skip(above).collect::<Vec<_>>().join("/"))
    }

    fn listed(self) -> Listed {
        let mut listed = Listed::default();
        for (name, file) in self.entries.into_values() {
            match file {
                Some(metadata) => listed.files.push(ListedFile { name, metadata }),
                None => listed.folders.push(name),
            }
        }
        listed
    }
}

impl WireEntry {
    /// The file that the entry describes; `None` if it is a folder, something deleted, or anything else
    /// that Dropbox may list one day.
    fn into_file(self, route: &'static str) -> Result<Option<FileMetadata>, Error> {
        if self.tag != "file" {
            return Ok(None);
        }
        Ok(Some(FileMetadata {
            rev: self.rev.ok_or_else(|| missing(route, "rev"))?,
            size: self.size.ok_or_else(|| missing(route, "size"))?,
            content_hash: self.content_hash,
            server_modified: self.server_modified,
            client_modified: self.client_modified,
        }))
    }
}

/// The waits before the questions about a background job. A small job is over by the time that the first question
/// arrives, so that one waits for nothing.
fn poll_waits() -> impl Iterator<Item = Duration> {
    let grow = |wait: &Duration| Some((*wait * 2).min(POLL_MAX));
    iter::once(Duration::ZERO).chain(iter::successors(Some(POLL_FIRST), grow))
}

fn missing(route: &'static str, field: &str) -> Error {
    Error::Malformed {
        route,
        cause: format!("a file has no {field}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a listing comes to; entries are a tag and a path.
    fn listed(folder: &str, entries: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let mut tree = Tree::new(folder, true);
        for (number, (tag, path)) in entries.iter().enumerate() {
            let entry = json!({
                ".tag": tag,
                "path_lower": path.to_lowercase(),
                "path_display": path,
                "rev": format!("{number:09}"),
                "size": 1,
            });
            tree.take(serde_json::from_value(entry).unwrap()).unwrap();
        }
        let Listed { files, folders, .. } = tree.listed();
        let with_rev = |file: ListedFile| {
            let rev = file.metadata.rev.trim_start_matches('0').to_owned();
            format!("{} {rev}", file.name)
        };
        (files.into_iter().map(with_rev).collect(), folders)
    }

    #[test]
    fn later_pages_correct_earlier_ones() {
        let files = |entries: &[_]| listed("", entries).0;
        let moved = [
            ("file", "/a"),
            ("file", "/b"),
            ("deleted", "/A"),
            ("file", "/c"),
        ];
        assert_eq!(files(&moved), ["b 1", "c 3"]);
        assert_eq!(files(&[("file", "/a"), ("file", "/A")]), ["A 1"]);
        let all_gone = [
            ("folder", "/d"),
            ("file", "/d/a"),
            ("file", "/d-1"),
            ("deleted", "/d"),
        ];
        assert_eq!(listed("", &all_gone), (vec!["d-1 2".into()], vec![]));
        let a_folder_now = [("file", "/d"), ("folder", "/d"), ("file", "/d/a")];
        assert_eq!(
            listed("", &a_folder_now),
            (vec!["d/a 2".into()], vec!["d".into()])
        );
        assert_eq!(files(&[("file", "/d"), ("file", "/d/e/a")]), ["d/e/a 1"]);
        let a_file_now = [("folder", "/d"), ("file", "/d/a"), ("file", "/d")];
        assert_eq!(listed("", &a_file_now), (vec!["d 2".into()], vec![]));
        let again = [
            ("file", "/a"),
            ("deleted", "/a"),
            ("file", "/a"),
            ("new", "/a"),
        ];
        assert_eq!(files(&again), ["a 2"]);
    }

    #[test]
    fn a_job_is_asked_about_at_once_then_more_and_more_seldom() {
        let waits: Vec<u64> = poll_waits()
            .take(10)
            .map(|w| w.as_millis() as u64)
            .collect();
        let expected = [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000];
        assert_eq!(waits, expected);
    }

    #[test]
    fn names_are_those_below_the_listed_folder() {
        let entries = [("folder", "/Top"), ("file", "/Top/x"), ("folder", "/top/s")];
        let expected = (vec!["x 1".to_owned()], vec!["s".to_owned()]);
        assert_eq!(listed("/top", &entries), expected);
    }
}
