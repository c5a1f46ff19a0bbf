//! The tree of files of one app folder: case-insensitive paths, commits by Dropbox's rules, and a journal
//! of changes for cursors.

use super::answer::{flattened, nested, tag};
use super::content_hash::ContentHasher;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

/// The bytes of a file as the pieces they came in; `None` where the stand-in keeps no content.
pub(super) type Pieces = Option<Vec<Arc<Vec<u8>>>>;

/// What a file contains.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) size: u64,
    pub(super) hash: String,
    pub(super) pieces: Pieces,
}

impl Content {
    pub(super) fn new(hasher: &ContentHasher, pieces: Pieces) -> Self {
        Self {
            size: hasher.size(),
            hash: hasher.finish(),
            pieces,
        }
    }

    /// A reader over a range of the bytes, where they were kept.
    pub(super) fn reader(&self, from: u64, length: u64) -> Option<Box<dyn Read + Send>> {
        let pieces = self.pieces.clone()?;
        let mut whole = PieceReader {
            pieces,
            piece: 0,
            at: 0,
        };
        whole.skip(from);
        Some(Box::new(whole.take(length)))
    }
}

struct PieceReader {
    pieces: Vec<Arc<Vec<u8>>>,
    piece: usize,
    at: usize,
}

impl PieceReader {
    fn skip(&mut self, mut bytes: u64) {
        while let Some(piece) = self.pieces.get(self.piece) {
            let length = piece.len() as u64;
            if bytes < length {
                self.at = bytes as usize;
                return;
            }
            bytes -= length;
            self.piece += 1;
        }
    }
}

impl Read for PieceReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while let Some(piece) = self.pieces.get(self.piece) {
            let mut rest = &piece[self.at..];
            let count = rest.read(out)?;
            if count > 0 || out.is_empty() {
                self.at += count;
                return Ok(count);
            }
            self.piece += 1;
            self.at = 0;
        }
        Ok(0)
    }
}

/// A file or folder.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: String,
    /// The whole path in the letter case of its creation.
    pub(super) path: String,
    pub(super) file: Option<File>,
}

/// What a file has beyond its place.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) rev: String,
    pub(super) client_modified: String,
    pub(super) server_modified: String,
    pub(super) content: Content,
}

/// How a commit meets what is already there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WriteMode {
    Add,
    Overwrite,
    Update(String),
}

/// What a client wants committed.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) path: String,
    pub(super) mode: WriteMode,
    pub(super) autorename: bool,
    pub(super) client_modified: Option<String>,
    pub(super) strict_conflict: bool,
}

/// What the world tells a commit.
pub(super) struct Circumstances {
    /// The time, in Dropbox's form.
    pub(super) now: String,
    /// Bytes that still fit into the account.
    pub(super) free_bytes: u64,
}

/// A tree with its history.
#[derive(Debug, Default)]
pub(super) struct Folder {
    /// By lower-cased path.
    entries: BTreeMap<String, Entry>,
    /// Lower-cased path and metadata of everything that changed, oldest first.
    journal: Vec<(String, Value)>,
    /// Every version of every file that was ever there: lower-cased path and rev.
    versions: BTreeMap<(String, String), File>,
    serial: u64,
}

/// The key of a path.
/// Assumption: Dropbox folds case as Unicode lower-casing does; its real rule is not published.
pub(super) fn key(path: &str) -> String {
    path.to_lowercase()
}

fn parent(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Names that Dropbox does not store, in any letter case.
const DISALLOWED_NAMES: [&str; 6] = [
    "desktop.ini",
    "thumbs.db",
    ".ds_store",
    "icon\r",
    ".dropbox",
    ".dropbox.attr",
];

/// Refuses what cannot be stored, with the WriteError for it.
fn check_writable(path: &str) -> Result<(), Value> {
    // Recorded from the live server: malformed_path carries null.
    let malformed = || nested("malformed_path", Value::Null);
    let Some(relative) = path.strip_prefix('/') else {
        return Err(malformed());
    };
    for component in relative.split('/') {
        let is_storable = !component.is_empty()
            && component != "."
            && component != ".."
            && component.chars().count() <= 255
            && !component.ends_with(' ')
            && !component.contains(['\\', '\u{7f}', '\0']);
        if !is_storable {
            return Err(malformed());
        }
        if DISALLOWED_NAMES.contains(&component.to_lowercase().as_str()) {
            return Err(tag("disallowed_name"));
        }
    }
    Ok(())
}

impl Entry {
    pub(super) fn metadata(&self) -> Value {
        let mut metadata = json!({
            "name": name(&self.path),
            "path_lower": key(&self.path),
            "path_display": self.path,
            "id": self.id,
        });
        if let (Some(file), Value::Object(fields)) = (&self.file, &mut metadata) {
            fields.insert("client_modified".into(), json!(file.client_modified));
            fields.insert("server_modified".into(), json!(file.server_modified));
            fields.insert("rev".into(), json!(file.rev));
            fields.insert("size".into(), json!(file.content.size));
            fields.insert("is_downloadable".into(), json!(true));
            fields.insert("content_hash".into(), json!(file.content.hash));
        }
        metadata
    }

    /// With the tag that stands where the type is not fixed by the route.
    pub(super) fn tagged_metadata(&self) -> Value {
        let kind = if self.file.is_some() {
            "file"
        } else {
            "folder"
        };
        flattened(kind, self.metadata())
    }
}

impl Folder {
    /// Every version of the file that is or was at a path, the newest first; an error is a ListRevisionsError.
    /// Assumption: those from before a deletion are among them.
    pub(super) fn revisions(&self, path: &str) -> Result<Vec<Entry>, Value> {
        let refused = |error| nested("path", error);
        let present = self.lookup(path);
        if present.as_ref().is_ok_and(|entry| entry.file.is_none()) {
            return Err(refused(tag("not_file")));
        }
        let (path, id) = match &present {
            Ok(entry) => (entry.path.clone(), entry.id.clone()),
            Err(_) => (path.to_owned(), "id:sandboxofsomethingdeleted".to_owned()),
        };
        let versions = self.versions.iter().rev();
        let versions = versions.filter(|((at, _), _)| *at == key(&path));
        let entries = versions.map(|(_, file)| Entry {
            id: id.clone(),
            path: path.clone(),
            file: Some(file.clone()),
        });
        let entries: Vec<Entry> = entries.collect();
        match (entries.is_empty(), present) {
            (true, Err(error)) => Err(refused(error)),
            _ => Ok(entries),
        }
    }

    /// Finds a file by path, id or rev, of which an earlier version has one, too; an error is a LookupError.
    pub(super) fn version(&self, path: &str) -> Result<Entry, Value> {
        let earlier = path.strip_prefix("rev:").and_then(|rev| {
            let mut versions = self.versions.iter();
            let ((at, _), file) = versions.find(|((_, known), _)| known == rev)?;
            Some(Entry {
                id: "id:sandboxofanearlierversion".into(),
                path: at.clone(),
                file: Some(file.clone()),
            })
        });
        match self.lookup(path) {
            Ok(entry) => Ok(entry.clone()),
            Err(error) => earlier.ok_or(error),
        }
    }

    /// Finds an item by path, id or rev; an error is a LookupError.
    pub(super) fn lookup(&self, path: &str) -> Result<&Entry, Value> {
        let not_found = || tag("not_found");
        if path.starts_with("id:") {
            return self
                .entries
                .values()
                .find(|entry| entry.id == path)
                .ok_or_else(not_found);
        }
        if let Some(rev) = path.strip_prefix("rev:") {
            return self
                .entries
                .values()
                .find(|entry| entry.file.as_ref().is_some_and(|file| file.rev == rev))
                .ok_or_else(not_found);
        }
        if path.ends_with('/') || path.contains("//") {
            return Err(nested("malformed_path", json!(path)));
        }
        // Namespaces other than the app folder are out of sight of an app-folder app.
        self.entries.get(&key(path)).ok_or_else(not_found)
    }

    /// Everything below a folder, by key; the root is the empty string.
    pub(super) fn below<'a>(
        &'a self,
        folder: &'a str,
        recursive: bool,
    ) -> impl Iterator<Item = (&'a String, &'a Entry)> {
        self.entries
            .iter()
            .filter(move |(key, _)| is_below(key, folder, recursive))
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.entries
            .values()
            .filter_map(|entry| entry.file.as_ref())
            .map(|file| file.content.size)
            .sum()
    }

    /// The position in the journal from which a cursor goes on.
    pub(super) fn journal_end(&self) -> usize {
        self.journal.len()
    }

    /// What changed below a folder since then, the newest state of each path only.
    pub(super) fn changes(&self, since: usize, folder: &str, recursive: bool) -> Vec<Value> {
        let mut newest = BTreeMap::new();
        for (key, metadata) in &self.journal[since..] {
            if is_below(key, folder, recursive) {
                newest.insert(key.clone(), metadata.clone());
            }
        }
        newest.into_values().collect()
    }

    /// Metadata of deleted items below a folder.
    pub(super) fn deleted(&self, folder: &str, recursive: bool) -> Vec<Value> {
        self.changes(0, folder, recursive)
            .into_iter()
            .filter(|metadata| metadata[".tag"] == "deleted")
            .collect()
    }

    /// Metadata of what was once at this path.
    pub(super) fn deleted_at(&self, path: &str) -> Option<Value> {
        let key = key(path);
        let newest = self.journal.iter().rev().find(|(at, _)| *at == key)?;
        (newest.1[".tag"] == "deleted").then(|| newest.1.clone())
    }

    fn next_id(&mut self) -> String {
        self.serial += 1;
        format!("id:sandbox{:015}", self.serial)
    }

    fn next_rev(&mut self) -> String {
        self.serial += 1;
        format!("{:x}", 0x0150_0000_0000_u64 + self.serial)
    }

    fn insert(&mut self, entry: Entry) {
        let key = key(&entry.path);
        self.journal.push((key.clone(), entry.tagged_metadata()));
        if let Some(file) = &entry.file {
            let version = (key.clone(), file.rev.clone());
            self.versions.insert(version, file.clone());
        }
        self.entries.insert(key, entry);
    }

    /// Commits content; an error is a WriteError.
    pub(super) fn commit(
        &mut self,
        commit: &Commit,
        content: Content,
        circumstances: &Circumstances,
    ) -> Result<Entry, Value> {
        // A commit may name an existing file by id.
        let wanted = if commit.path.starts_with("id:") {
            match self.lookup(&commit.path) {
                Ok(entry) => entry.path.clone(),
                Err(_) => return Err(tag("no_write_permission")),
            }
        } else {
            commit.path.clone()
        };
        check_writable(&wanted)?;
        let conflict = |with: &str| nested("conflict", tag(with));
        let mut path = self.with_known_parents(&wanted)?;
        let mut replaced_bytes = 0;
        let mut id = None;
        if let Some(existing) = self.entries.get(&key(&path)) {
            let suffix = match (&existing.file, &commit.mode) {
                (None, _) => Err(conflict("folder")),
                (Some(file), _) if file.content.hash == content.hash && !commit.strict_conflict => {
                    // Identical content is no conflict in any mode, and nothing is written.
                    return Ok(existing.clone());
                }
                (Some(file), WriteMode::Update(rev)) if *rev == file.rev => Ok(None),
                (Some(_), WriteMode::Overwrite) => Ok(None),
                (Some(_), WriteMode::Update(_)) if commit.autorename => {
                    Ok(Some(" (conflicted copy)"))
                }
                (Some(_), WriteMode::Add) if commit.autorename => Ok(Some("")),
                (Some(_), _) => Err(conflict("file")),
            }?;
            match suffix {
                Some(suffix) => path = self.renamed(&path, suffix),
                None => {
                    replaced_bytes = existing.file.as_ref().map_or(0, |file| file.content.size);
                    id = Some(existing.id.clone());
                    // Assumption: a file keeps the letter case that it was created with.
                    path.clone_from(&existing.path);
                }
            }
        } else if commit.strict_conflict
            && matches!(commit.mode, WriteMode::Update(_))
            && self.deleted_at(&path).is_some()
        {
            return Err(conflict("file"));
        }
        if content.size > circumstances.free_bytes + replaced_bytes {
            return Err(tag("insufficient_space"));
        }
        self.create_parents(&path);
        let id = id.unwrap_or_else(|| self.next_id());
        let entry = Entry {
            id,
            path,
            file: Some(File {
                rev: self.next_rev(),
                client_modified: commit
                    .client_modified
                    .clone()
                    .unwrap_or_else(|| circumstances.now.clone()),
                server_modified: circumstances.now.clone(),
                content,
            }),
        };
        self.insert(entry.clone());
        Ok(entry)
    }

    /// Copies a file; an error is a RelocationError.
    pub(super) fn copy(
        &mut self,
        from: &str,
        to: &str,
        autorename: bool,
        circumstances: &Circumstances,
    ) -> Result<Entry, Value> {
        let original = self
            .lookup(from)
            .map_err(|error| nested("from_lookup", error))?
            .clone();
        // The real service copies folders, too; nobody here asks for it.
        let Some(file) = original.file else {
            return Err(nested("from_lookup", tag("not_file")));
        };
        let refused = |error| nested("to", error);
        check_writable(to).map_err(refused)?;
        let mut path = self.with_known_parents(to).map_err(refused)?;
        if let Some(existing) = self.entries.get(&key(&path)) {
            if !autorename {
                let with = existing.file.as_ref().map_or("folder", |_| "file");
                // Assumption: a copy meets a conflict also where the content is the same.
                return Err(refused(nested("conflict", tag(with))));
            }
            path = self.renamed(&path, "");
        }
        if file.content.size > circumstances.free_bytes {
            return Err(tag("insufficient_quota"));
        }
        self.create_parents(&path);
        let copied = Entry {
            id: self.next_id(),
            path,
            file: Some(File {
                rev: self.next_rev(),
                server_modified: circumstances.now.clone(),
                ..file
            }),
        };
        self.insert(copied.clone());
        Ok(copied)
    }

    /// Makes an earlier version of a file the current one, as a version of its own; an error is a RestoreError.
    pub(super) fn restore(
        &mut self,
        path: &str,
        rev: &str,
        circumstances: &Circumstances,
    ) -> Result<Entry, Value> {
        check_writable(path).map_err(|error| nested("path_write", error))?;
        let known = |(at, _): &&(String, String)| *at == key(path);
        if !self.versions.keys().any(|version| known(&version)) {
            return Err(nested("path_lookup", tag("not_found")));
        }
        let version = (key(path), rev.to_owned());
        let Some(file) = self.versions.get(&version).cloned() else {
            return Err(tag("invalid_revision"));
        };
        let existing = self.entries.get(&key(path));
        if existing.is_some_and(|existing| existing.file.is_none()) {
            return Err(nested("path_write", nested("conflict", tag("folder"))));
        }
        let replaced = existing.and_then(|existing| existing.file.as_ref());
        let replaced_bytes = replaced.map_or(0, |file| file.content.size);
        if file.content.size > circumstances.free_bytes + replaced_bytes {
            return Err(nested("path_write", tag("insufficient_space")));
        }
        let id = existing.map(|existing| existing.id.clone());
        let spelled = existing.map_or(path, |existing| &existing.path).to_owned();
        self.create_parents(&spelled);
        let restored = Entry {
            id: id.unwrap_or_else(|| self.next_id()),
            path: spelled,
            file: Some(File {
                rev: self.next_rev(),
                server_modified: circumstances.now.clone(),
                ..file
            }),
        };
        self.insert(restored.clone());
        Ok(restored)
    }

    pub(super) fn create_folder(&mut self, path: &str, autorename: bool) -> Result<Entry, Value> {
        check_writable(path)?;
        let mut path = self.with_known_parents(path)?;
        if let Some(existing) = self.entries.get(&key(&path)) {
            if !autorename {
                let with = if existing.file.is_some() {
                    "file"
                } else {
                    "folder"
                };
                return Err(nested("conflict", tag(with)));
            }
            path = self.renamed(&path, "");
        }
        self.create_parents(&path);
        let entry = Entry {
            id: self.next_id(),
            path,
            file: None,
        };
        self.insert(entry.clone());
        Ok(entry)
    }

    /// Deletes an item with everything below it and returns it as it was; an error is a DeleteError.
    pub(super) fn delete(&mut self, path: &str, parent_rev: Option<&str>) -> Result<Entry, Value> {
        let entry = self
            .lookup(path)
            .map_err(|error| nested("path_lookup", error))?
            .clone();
        match (&entry.file, parent_rev) {
            // Assumption: a rev that is no longer current is a conflict with the newer file.
            (Some(file), Some(rev)) if file.rev != rev => {
                return Err(nested("path_write", nested("conflict", tag("file"))));
            }
            (None, Some(_)) => return Err(nested("path_lookup", tag("not_file"))),
            _ => {}
        }
        let own = key(&entry.path);
        // What is below has the path as its beginning; the whole tree would be long to search.
        let beginning = self.entries.range(own.clone()..).map(|(key, _)| key);
        let gone: Vec<String> = beginning
            .take_while(|key| key.starts_with(&own))
            .filter(|key| **key == own || is_below(key, &own, true))
            .cloned()
            .collect();
        for key in gone {
            if let Some(entry) = self.entries.remove(&key) {
                let metadata = json!({
                    ".tag": "deleted",
                    "name": name(&entry.path),
                    "path_lower": key,
                    "path_display": entry.path,
                });
                self.journal.push((key, metadata));
            }
        }
        Ok(entry)
    }

    /// The path with its existing ancestors spelled as they are; an error is a WriteError.
    fn with_known_parents(&self, path: &str) -> Result<String, Value> {
        let mut spelled = String::new();
        let mut components = path.split('/').skip(1).peekable();
        while let Some(component) = components.next() {
            spelled.push('/');
            spelled.push_str(component);
            if components.peek().is_some()
                && let Some(ancestor) = self.entries.get(&key(&spelled))
            {
                if ancestor.file.is_some() {
                    return Err(nested("conflict", tag("file_ancestor")));
                }
                spelled.clone_from(&ancestor.path);
            }
        }
        Ok(spelled)
    }

    /// Commits create the folders on their way.
    fn create_parents(&mut self, path: &str) {
        let above = parent(path).to_owned();
        if above.is_empty() || self.entries.contains_key(&key(&above)) {
            return;
        }
        self.create_parents(&above);
        let entry = Entry {
            id: self.next_id(),
            path: above,
            file: None,
        };
        self.insert(entry);
    }

    /// A free name beside a taken one: `x (2).txt`, or with another suffix in place of the number.
    fn renamed(&self, path: &str, suffix: &str) -> String {
        let (stem, extension) = match name(path).rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => (
                &path[..path.len() - extension.len() - 1],
                format!(".{extension}"),
            ),
            _ => (path, String::new()),
        };
        debug_assert!(path.starts_with(stem));
        let mut number = 2;
        loop {
            let candidate = match (suffix, number) {
                ("", _) => format!("{stem} ({number}){extension}"),
                (_, 2) => format!("{stem}{suffix}{extension}"),
                _ => format!("{stem}{suffix} {number}{extension}"),
            };
            if !self.entries.contains_key(&key(&candidate)) {
                return candidate;
            }
            number += 1;
        }
    }
}

fn is_below(key: &str, folder: &str, recursive: bool) -> bool {
    match key
        .strip_prefix(folder)
        .and_then(|rest| rest.strip_prefix('/'))
    {
        Some(rest) => recursive || !rest.contains('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(bytes: &[u8]) -> Content {
        let mut hasher = ContentHasher::default();
        hasher.update(bytes);
        Content::new(&hasher, Some(vec![Arc::new(bytes.to_vec())]))
    }

    fn put(folder: &mut Folder, path: &str, mode: WriteMode, bytes: &[u8]) -> Result<Entry, Value> {
        let commit = Commit {
            path: path.into(),
            mode,
            autorename: false,
            client_modified: None,
            strict_conflict: false,
        };
        let circumstances = Circumstances {
            now: "2026-11-21T04:12:09Z".into(),
            free_bytes: 100,
        };
        folder.commit(&commit, content(bytes), &circumstances)
    }

    fn rev(entry: &Entry) -> String {
        entry.file.as_ref().unwrap().rev.clone()
    }

    #[test]
    fn write_modes_follow_the_rules() {
        let mut folder = Folder::default();
        let first = put(&mut folder, "/A/b.txt", WriteMode::Add, b"one").unwrap();
        // The same path in another letter case, the same content: nothing is written.
        let same = put(&mut folder, "/a/B.TXT", WriteMode::Add, b"one").unwrap();
        assert_eq!(rev(&same), rev(&first));
        let conflict = put(&mut folder, "/a/b.txt", WriteMode::Add, b"two").unwrap_err();
        assert_eq!(conflict, nested("conflict", tag("file")));
        let second = put(&mut folder, "/a/b.txt", WriteMode::Overwrite, b"two").unwrap();
        assert_ne!(rev(&second), rev(&first));
        assert_eq!(second.id, first.id);
        let old = WriteMode::Update(rev(&first));
        assert!(put(&mut folder, "/a/b.txt", old, b"three").is_err());
        let current = WriteMode::Update(rev(&second));
        assert!(put(&mut folder, "/a/b.txt", current, b"three").is_ok());
        let folder_there = put(&mut folder, "/a", WriteMode::Overwrite, b"x").unwrap_err();
        assert_eq!(folder_there, nested("conflict", tag("folder")));
        let file_above = put(&mut folder, "/a/b.txt/c", WriteMode::Add, b"x").unwrap_err();
        assert_eq!(file_above, nested("conflict", tag("file_ancestor")));
    }

    #[test]
    fn a_taken_name_is_renamed_only_when_asked() {
        let mut folder = Folder::default();
        put(&mut folder, "/x.txt", WriteMode::Add, b"one").unwrap();
        assert_eq!(folder.renamed("/x.txt", ""), "/x (2).txt");
        assert_eq!(
            folder.renamed("/x.txt", " (conflicted copy)"),
            "/x (conflicted copy).txt"
        );
    }

    #[test]
    fn space_is_counted_without_what_is_replaced() {
        let mut folder = Folder::default();
        assert_eq!(
            put(&mut folder, "/big", WriteMode::Add, &[0; 101]).unwrap_err(),
            tag("insufficient_space")
        );
        put(&mut folder, "/big", WriteMode::Add, &[0; 100]).unwrap();
        assert_eq!(folder.used_bytes(), 100);
    }

    #[test]
    fn unstorable_names_are_refused() {
        let mut folder = Folder::default();
        let long = format!("/{}", "a".repeat(256));
        for (path, error) in [
            ("/a\\b", "malformed_path"),
            ("/a ", "malformed_path"),
            ("/a/", "malformed_path"),
            ("//a", "malformed_path"),
            ("/a/../b", "malformed_path"),
            ("/a\u{7f}", "malformed_path"),
            (long.as_str(), "malformed_path"),
            ("/Thumbs.DB", "disallowed_name"),
        ] {
            let refused = put(&mut folder, path, WriteMode::Add, b"x").unwrap_err();
            assert_eq!(refused[".tag"], error, "{path:?}");
        }
    }

    #[test]
    fn a_folder_goes_with_its_contents_and_leaves_a_trace() {
        let mut folder = Folder::default();
        put(&mut folder, "/a/b", WriteMode::Add, b"x").unwrap();
        put(&mut folder, "/ab", WriteMode::Add, b"x").unwrap();
        let since = folder.journal_end();
        folder.delete("/A", None).unwrap();
        assert_eq!(folder.entries().count(), 1);
        assert_eq!(folder.changes(since, "", true).len(), 2);
        assert!(folder.deleted_at("/a/b").is_some());
        let again = folder.delete("/a", None).unwrap_err();
        assert_eq!(again, nested("path_lookup", tag("not_found")));
    }

    #[test]
    fn a_range_is_read_across_pieces() {
        let mut hasher = ContentHasher::default();
        hasher.update(b"abcdef");
        let pieces = [&b"ab"[..], b"", b"cdef"].map(|piece| Arc::new(piece.to_vec()));
        let content = Content::new(&hasher, Some(pieces.to_vec()));
        let mut text = String::new();
        content
            .reader(1, 4)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "bcde");
    }
}
