//! Dumps of PostgreSQL, MySQL and MariaDB as SQL text: those that announce themselves have a closing line.

use super::{Flaw, Verdict};

/// As much of a line as tells what it is.
const LINE_BYTES: usize = 64;
/// Behind the closing line so much may follow; newer programs write more than a line break there.
const BEHIND_BYTES_MAX: u64 = 1024;

/// The first line that tells who has made a dump, and the one that closes it.
const PROGRAMS: [(&[u8], &[u8]); 4] = [
    (
        b"-- PostgreSQL database cluster dump",
        b"-- PostgreSQL database cluster dump complete",
    ),
    (
        b"-- PostgreSQL database dump",
        b"-- PostgreSQL database dump complete",
    ),
    (b"-- MySQL dump", b"-- Dump completed"),
    (b"-- MariaDB dump", b"-- Dump completed"),
];

/// A dump being looked at.
#[derive(Debug)]
pub struct Dump {
    opening: &'static [u8],
    closing: &'static [u8],
    /// The beginning of the line that is being read.
    line: Vec<u8>,
    total: u64,
    /// Where the closing line ended; another dump may begin behind it.
    closed_at: Option<u64>,
    /// `\restrict` was read last, so `\unrestrict` is still to come.
    is_restricted: bool,
}

impl Dump {
    /// A dump, if something begins as one that has a closing line: those made without comments have neither.
    pub fn beginning_with(head: &[u8]) -> Option<Self> {
        for line in head.split(|&byte| byte == b'\n') {
            let line = line.trim_ascii();
            let program = PROGRAMS
                .into_iter()
                .find(|(opening, _)| line.starts_with(opening));
            if let Some((opening, closing)) = program {
                return Some(Self {
                    opening,
                    closing,
                    line: Vec::with_capacity(LINE_BYTES),
                    total: 0,
                    closed_at: None,
                    is_restricted: false,
                });
            }
            let is_comment = line.is_empty() || line.starts_with(b"--") || line.starts_with(b"/*");
            if !is_comment {
                return None;
            }
        }
        None
    }

    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            self.total += line.len() as u64;
            let lacking = LINE_BYTES - self.line.len();
            self.line
                .extend_from_slice(&line[..line.len().min(lacking)]);
            if end.is_some() {
                self.read_line();
                self.line.clear();
            }
            bytes = rest;
        }
    }

    fn read_line(&mut self) {
        let line = &self.line;
        if line.starts_with(self.closing) {
            self.closed_at = Some(self.total);
        } else if line.starts_with(self.opening) {
            self.closed_at = None;
        } else if line.starts_with(b"\\restrict ") {
            self.is_restricted = true;
        } else if line.starts_with(b"\\unrestrict ") {
            self.is_restricted = false;
        }
    }

    pub fn finish(self) -> Verdict {
        // The last line may lack its break: an editor took it, or more is missing.
        let is_last_closing = self.line.starts_with(self.closing);
        match self.closed_at {
            None if is_last_closing => Verdict::NotChecked,
            None => Verdict::Suspect(Flaw::CutDump),
            Some(at) if self.total - at > BEHIND_BYTES_MAX => Verdict::NotChecked,
            Some(_) if self.is_restricted => Verdict::NotChecked,
            Some(_) => Verdict::Complete,
        }
    }
}
