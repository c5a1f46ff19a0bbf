//! Zip: the directory at the end, its count of entries and its bounds, also in the form for large archives (ZIP64).

use super::{Flaw, Verdict, number};

/// The end that is kept. A directory that does not fit into it, of some ten thousand files, is not checked.
const TAIL_BYTES: usize = 1024 * 1024;
const END_BYTES: usize = 22;
/// Longest comment behind the directory.
const COMMENT_BYTES_MAX: usize = 65_535;
const LOCATOR_BYTES: usize = 20;
const ENTRY_BYTES: usize = 46;
const LOCAL_BYTES: u64 = 30;

/// Whether something begins as a zip archive does; the second form is that of an empty one.
pub fn is_zip(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
}

/// A zip archive being looked at.
#[derive(Debug, Default)]
pub struct Zip {
    tail: Vec<u8>,
    total: u64,
}

/// What the end says of the directory.
struct Directory {
    entries: u64,
    bytes: u64,
    /// From the beginning of the archive.
    at: u64,
    /// Where it should end, from the beginning of the archive.
    end: u64,
    is_large: bool,
}

impl Directory {
    fn is_in_place(&self) -> bool {
        self.at.checked_add(self.bytes) == Some(self.end)
    }
}

impl Zip {
    pub fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let bytes = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        self.tail.extend_from_slice(bytes);
        if self.tail.len() > 2 * TAIL_BYTES {
            self.tail.drain(..self.tail.len() - TAIL_BYTES);
        }
    }

    pub fn finish(mut self) -> Verdict {
        // The same for any pieces.
        self.tail
            .drain(..self.tail.len().saturating_sub(TAIL_BYTES));
        let first = self
            .tail
            .len()
            .saturating_sub(END_BYTES + COMMENT_BYTES_MAX);
        let ends = (first..self.tail.len()).rev();
        let mut ends = ends.filter(|&at| self.tail[at..].starts_with(b"PK\x05\x06"));
        // Where the comment behind it ends; the whole of it is there.
        let end = |at: usize| {
            let comment = usize::try_from(number::<2>(&self.tail, at + 20)?).ok()?;
            Some(at + END_BYTES + comment).filter(|&end| end <= self.tail.len())
        };
        let closing = ends.clone().find(|&at| end(at) == Some(self.tail.len()));
        if let Some(at) = closing {
            return self.judge(at);
        }
        // Something may have been put behind a whole archive.
        let is_in_place = |at| self.directory(at).is_some_and(|found| found.is_in_place());
        match ends.any(|at| end(at).is_some() && is_in_place(at)) {
            true => Verdict::NotChecked,
            false => Verdict::Suspect(Flaw::CutZip),
        }
    }

    /// The verdict, by what closes the archive.
    fn judge(&self, at: usize) -> Verdict {
        let Some(directory) = self.directory(at) else {
            return Verdict::NotChecked;
        };
        // Otherwise it may be the end of an archive within this one, or something stands before it all.
        if !directory.is_in_place() {
            return Verdict::NotChecked;
        }
        let offset = self.total - self.tail.len() as u64;
        let begin = directory.at.checked_sub(offset);
        let begin = begin.and_then(|begin| usize::try_from(begin).ok());
        let end = usize::try_from(directory.end - offset).ok();
        let found = begin.zip(end).map(|(begin, end)| self.tail.get(begin..end));
        match found {
            None => Verdict::NotChecked,
            Some(Some(entries)) if fits(entries, &directory) => Verdict::Complete,
            Some(_) => Verdict::Suspect(Flaw::DamagedZip),
        }
    }

    /// What the end says of the directory; none of one of several volumes, or if it cannot be read.
    fn directory(&self, at: usize) -> Option<Directory> {
        let tail = &self.tail;
        let offset = self.total - tail.len() as u64;
        matches!(number::<4>(tail, at + 4)?, 0 | 0xFFFF_FFFF).then_some(())?;
        let locator = at.checked_sub(LOCATOR_BYTES);
        let locator = locator.filter(|&at| tail[at..].starts_with(b"PK\x06\x07"));
        let Some(locator) = locator else {
            return Some(Directory {
                entries: number::<2>(tail, at + 10)?,
                bytes: number::<4>(tail, at + 12)?,
                at: number::<4>(tail, at + 16)?,
                end: offset + at as u64,
                is_large: false,
            });
        };
        let end = number::<8>(tail, locator + 8)?;
        let at = usize::try_from(end.checked_sub(offset)?).ok()?;
        tail.get(at..)?.starts_with(b"PK\x06\x06").then_some(())?;
        (number::<8>(tail, at + 16)? == 0).then_some(())?;
        Some(Directory {
            entries: number::<8>(tail, at + 32)?,
            bytes: number::<8>(tail, at + 40)?,
            at: number::<8>(tail, at + 48)?,
            end,
            is_large: true,
        })
    }
}

/// Whether the entries are as many as announced, fill the directory, and lie before it.
fn fits(mut entries: &[u8], directory: &Directory) -> bool {
    let mut count = 0_u64;
    while !entries.is_empty() {
        let Some(rest) = next_entry(entries, directory) else {
            return false;
        };
        entries = rest;
        count += 1;
    }
    // Old programs count modulo 65,536.
    let counted = if directory.is_large {
        count
    } else {
        count & 0xFFFF
    };
    counted == directory.entries
}

/// What is behind an entry that lies before the directory.
fn next_entry<'a>(entry: &'a [u8], directory: &Directory) -> Option<&'a [u8]> {
    entry.starts_with(b"PK\x01\x02").then_some(())?;
    let (packed, local) = (number::<4>(entry, 20)?, number::<4>(entry, 42)?);
    let variable = number::<2>(entry, 28)? + number::<2>(entry, 30)? + number::<2>(entry, 32)?;
    // What is larger stands in another field.
    let is_here = packed != u64::from(u32::MAX) && local != u64::from(u32::MAX);
    let end = local + LOCAL_BYTES + packed;
    (!is_here || end <= directory.at).then_some(())?;
    entry.get(ENTRY_BYTES + usize::try_from(variable).ok()?..)
}
