//! Whether a backup is a whole archive: gzip, tar, zip or an SQL dump, also a tar or a dump inside gzip. Pure: bytes in
//! pieces of any length go in, a verdict comes out.
//!
//! What it is follows from its first bytes, never from its name. Memory is bounded, and so is the work: what
//! unpacks to far more than archives do is not checked. Where a whole archive could look the same, nothing is suspect.

mod dump;
mod gzip;
mod tar;
mod zip;

use serde::{Deserialize, Serialize, Serializer};

use dump::Dump;
use gzip::Gzip;
use tar::Tar;
use zip::Zip;

/// So many bytes at its beginning tell what something is.
const HEAD_BYTES: usize = 1024;

/// What was found. In files it is one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum Verdict {
    /// Nobody has looked, or it cannot be told.
    #[default]
    NotChecked,
    /// A complete archive, by all that its format tells.
    Complete,
    /// Something is missing or damaged.
    Suspect(Flaw),
}

/// What is wrong with an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The end of the gzip data is missing.
    CutGzip,
    /// Gzip's own checks fail.
    DamagedGzip,
    /// The end of the tar archive is missing.
    CutTar,
    /// The sum of a member's header is wrong.
    DamagedTar,
    /// The directory at the end of a zip archive is missing.
    CutZip,
    /// That directory contradicts itself.
    DamagedZip,
    /// An SQL dump has no closing line.
    CutDump,
}

impl Verdict {
    /// The word for it, in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotChecked => "not_checked",
            Self::Complete => "complete",
            Self::Suspect(_) => "suspect",
        }
    }

    /// What is wrong, if something is.
    pub fn flaw(self) -> Option<Flaw> {
        match self {
            Self::Suspect(flaw) => Some(flaw),
            Self::NotChecked | Self::Complete => None,
        }
    }

    /// Whether there is nothing to say.
    pub fn is_not_checked(&self) -> bool {
        *self == Self::NotChecked
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.flaw().map_or_else(|| self.word(), Flaw::word))
    }
}

impl From<String> for Verdict {
    fn from(word: String) -> Self {
        let flaw = FLAWS.into_iter().find(|flaw| flaw.word() == word);
        match flaw {
            Some(flaw) => Self::Suspect(flaw),
            None if word == Self::Complete.word() => Self::Complete,
            None => Self::NotChecked,
        }
    }
}

const FLAWS: [Flaw; 7] = [
    Flaw::CutGzip,
    Flaw::DamagedGzip,
    Flaw::CutTar,
    Flaw::DamagedTar,
    Flaw::CutZip,
    Flaw::DamagedZip,
    Flaw::CutDump,
];

impl Flaw {
    fn word(self) -> &'static str {
        match self {
            Self::CutGzip => "cut_gzip",
            Self::DamagedGzip => "damaged_gzip",
            Self::CutTar => "cut_tar",
            Self::DamagedTar => "damaged_tar",
            Self::CutZip => "cut_zip",
            Self::DamagedZip => "damaged_zip",
            Self::CutDump => "cut_dump",
        }
    }

    /// For people, without a full stop.
    pub fn text(self) -> &'static str {
        match self {
            Self::CutGzip => "its gzip data end too early",
            Self::DamagedGzip => "its gzip data are damaged",
            Self::CutTar => "the end of its tar archive is missing",
            Self::DamagedTar => "a header in its tar archive is damaged",
            Self::CutZip => "the directory at the end of its zip archive is missing",
            Self::DamagedZip => "the directory at the end of its zip archive contradicts itself",
            Self::CutDump => "the closing line of its SQL dump is missing",
        }
    }
}

/// Looks at a backup that streams by.
#[derive(Debug)]
pub struct Inspector {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The beginning, until it tells what it is.
    Unknown(Vec<u8>),
    Gzip(Gzip),
    Zip(Zip),
    Plain(Plain),
}

impl Default for Inspector {
    fn default() -> Self {
        let kind = Kind::Unknown(Vec::new());
        Self { kind }
    }
}

impl Inspector {
    /// Looks at the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        match &mut self.kind {
            Kind::Unknown(head) => {
                let rest = fill(head, bytes);
                if head.len() == HEAD_BYTES {
                    self.recognise();
                    self.push(rest);
                }
            }
            Kind::Gzip(gzip) => gzip.push(bytes),
            Kind::Zip(zip) => zip.push(bytes),
            Kind::Plain(plain) => plain.push(bytes),
        }
    }

    /// Whether no more bytes can change the verdict.
    pub fn is_settled(&self) -> bool {
        match &self.kind {
            Kind::Unknown(_) | Kind::Zip(_) => false,
            Kind::Gzip(gzip) => gzip.is_settled(),
            Kind::Plain(plain) => plain.is_settled(),
        }
    }

    /// The verdict, once everything was pushed.
    pub fn finish(mut self) -> Verdict {
        if matches!(self.kind, Kind::Unknown(_)) {
            self.recognise();
        }
        match self.kind {
            Kind::Unknown(_) => Verdict::NotChecked,
            Kind::Gzip(gzip) => gzip.finish(),
            Kind::Zip(zip) => zip.finish(),
            Kind::Plain(plain) => plain.finish().unwrap_or_default(),
        }
    }

    fn recognise(&mut self) {
        let Kind::Unknown(head) = &mut self.kind else {
            return;
        };
        let head = std::mem::take(head);
        self.kind = if gzip::is_gzip(&head) {
            Kind::Gzip(Gzip::default())
        } else if zip::is_zip(&head) {
            Kind::Zip(Zip::default())
        } else {
            Kind::Plain(Plain::default())
        };
        self.push(&head);
    }
}

/// What can also be inside gzip.
#[derive(Debug)]
enum Plain {
    /// The beginning, until it tells what it is.
    Unknown(Vec<u8>),
    Tar(Box<Tar>),
    Dump(Dump),
    /// Nothing that has an end which could be looked for.
    Other,
}

impl Default for Plain {
    fn default() -> Self {
        Self::Unknown(Vec::new())
    }
}

impl Plain {
    fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Unknown(head) => {
                let rest = fill(head, bytes);
                if head.len() == HEAD_BYTES {
                    self.recognise();
                    self.push(rest);
                }
            }
            Self::Tar(tar) => tar.push(bytes),
            Self::Dump(dump) => dump.push(bytes),
            Self::Other => {}
        }
    }

    fn recognise(&mut self) {
        let Self::Unknown(head) = self else {
            return;
        };
        let head = std::mem::take(head);
        *self = if tar::is_tar(&head) {
            Self::Tar(Box::default())
        } else if let Some(dump) = Dump::beginning_with(&head) {
            Self::Dump(dump)
        } else {
            Self::Other
        };
        self.push(&head);
    }

    fn is_settled(&self) -> bool {
        match self {
            Self::Unknown(_) | Self::Dump(_) => false,
            Self::Tar(tar) => tar.is_settled(),
            Self::Other => true,
        }
    }

    /// The verdict; none about what is neither.
    fn finish(mut self) -> Option<Verdict> {
        self.recognise();
        match self {
            Self::Unknown(_) | Self::Other => None,
            Self::Tar(tar) => Some(tar.finish()),
            Self::Dump(dump) => Some(dump.finish()),
        }
    }
}

/// Adds to `head` what it still lacks; returns the rest.
fn fill<'a>(head: &mut Vec<u8>, bytes: &'a [u8]) -> &'a [u8] {
    let (lacking, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES - head.len()));
    head.extend_from_slice(lacking);
    rest
}

/// A number in little-endian order at an offset.
fn number<const BYTES: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(BYTES)?)?;
    let digits = bytes.iter().rev();
    Some(digits.fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_read_as_it_was_written() {
        let others = [Verdict::NotChecked, Verdict::Complete];
        let suspect = FLAWS.map(Verdict::Suspect);
        for verdict in others.into_iter().chain(suspect) {
            let written = serde_json::to_string(&verdict).unwrap();
            assert_eq!(serde_json::from_str::<Verdict>(&written).unwrap(), verdict);
        }
    }
}
