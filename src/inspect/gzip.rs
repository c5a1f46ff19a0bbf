//! Gzip: one member or several, each with its checksum and length (RFC 1952).

use crc32fast::Hasher;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::{Flaw, Plain, Verdict, number};

/// What is unpacked stays in reach for what comes after it: 32 KiB are needed, a power of two.
const WINDOW_BYTES: usize = 64 * 1024;
/// What unpacks to more than so many times its length, and to more than a little, is not looked at any further:
/// dumps shrink to a tenth or a fiftieth, but a gigabyte can be made that unpacks to a terabyte of zeros.
const EXPANSION_MAX: u64 = 100;
const EXPANSION_FREE: u64 = 64 * 1024 * 1024;

/// Its mark, and the only way of packing that there is.
const MAGIC: [u8; 3] = [0x1F, 0x8B, 8];
const FIXED_BYTES: usize = 10;
const TRAILER_BYTES: usize = 8;
const HAS_HEADER_SUM: u8 = 2;
const HAS_EXTRA: u8 = 4;
const HAS_NAME: u8 = 8;
const HAS_COMMENT: u8 = 16;
const RESERVED: u8 = 0xE0;

/// Whether something begins as gzip does.
pub fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&MAGIC)
}

/// A gzip file being looked at.
#[derive(Debug)]
pub struct Gzip {
    step: Step,
    /// Bytes of a part of fixed length, as far as they have come.
    part: Vec<u8>,
    /// Parts of the header that are still to come.
    flags: u8,
    /// Bytes of a part that does not matter.
    skipped: u64,
    unpacker: Unpacker,
    packed_bytes: u64,
    inside: Plain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Fixed,
    ExtraLength,
    Extra,
    Name,
    Comment,
    HeaderSum,
    Body,
    Trailer,
    /// Behind a member: another one or the end.
    Between,
    /// Behind the last one, zeros that fill up a block.
    Padding,
    Settled(Verdict),
}

struct Unpacker {
    state: Box<DecompressorOxide>,
    window: Vec<u8>,
    at: usize,
    crc: Hasher,
    /// Bytes of this member.
    length: u64,
    /// Bytes of all members.
    total: u64,
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

impl Default for Gzip {
    fn default() -> Self {
        Self {
            step: Step::Fixed,
            part: Vec::with_capacity(FIXED_BYTES),
            flags: 0,
            skipped: 0,
            unpacker: Unpacker {
                state: Box::default(),
                window: vec![0; WINDOW_BYTES],
                at: 0,
                crc: Hasher::new(),
                length: 0,
                total: 0,
            },
            packed_bytes: 0,
            inside: Plain::default(),
        }
    }
}

impl Gzip {
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.packed_bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            bytes = match self.step {
                Step::Settled(_) => return,
                Step::Fixed => self.collect(bytes, FIXED_BYTES, Self::begin_member),
                Step::ExtraLength => self.collect(bytes, 2, |gzip, part| {
                    gzip.skipped = number::<2>(part, 0).unwrap_or_default();
                    Step::Extra
                }),
                Step::Extra => self.skip(bytes),
                Step::Name | Step::Comment => self.skip_text(bytes),
                Step::HeaderSum => self.collect(bytes, 2, |gzip, _| gzip.next_of_header()),
                Step::Body => self.unpack(bytes),
                Step::Trailer => self.collect(bytes, TRAILER_BYTES, Self::end_member),
                Step::Between if bytes[0] == MAGIC[0] => {
                    self.step = Step::Fixed;
                    bytes
                }
                Step::Between | Step::Padding => {
                    self.step = match bytes.iter().all(|&byte| byte == 0) {
                        true => Step::Padding,
                        false => damaged(),
                    };
                    return;
                }
            };
        }
    }

    pub fn is_settled(&self) -> bool {
        matches!(self.step, Step::Settled(_))
    }

    pub fn finish(self) -> Verdict {
        match self.step {
            Step::Settled(verdict) => verdict,
            // What is neither tar nor dump has no other proof than gzip's own.
            Step::Between | Step::Padding => self.inside.finish().unwrap_or(Verdict::Complete),
            _ => Verdict::Suspect(Flaw::CutGzip),
        }
    }

    /// Collects a part of so many bytes; when it is there, `then` says what comes next. Returns the rest.
    fn collect<'a>(
        &mut self,
        bytes: &'a [u8],
        length: usize,
        then: impl FnOnce(&mut Self, &[u8]) -> Step,
    ) -> &'a [u8] {
        let lacking = length.saturating_sub(self.part.len());
        let (taken, rest) = bytes.split_at(bytes.len().min(lacking));
        self.part.extend_from_slice(taken);
        if self.part.len() >= length {
            let part = std::mem::take(&mut self.part);
            self.step = then(self, &part);
        }
        rest
    }

    fn begin_member(&mut self, fixed: &[u8]) -> Step {
        self.flags = fixed.get(3).copied().unwrap_or_default();
        match is_gzip(fixed) && self.flags & RESERVED == 0 {
            true => self.next_of_header(),
            false => damaged(),
        }
    }

    /// The next part of the header that the flags announce, or the body.
    fn next_of_header(&mut self) -> Step {
        let parts = [
            (HAS_EXTRA, Step::ExtraLength),
            (HAS_NAME, Step::Name),
            (HAS_COMMENT, Step::Comment),
            (HAS_HEADER_SUM, Step::HeaderSum),
        ];
        for (flag, step) in parts {
            if self.flags & flag != 0 {
                self.flags &= !flag;
                return step;
            }
        }
        self.unpacker.begin();
        Step::Body
    }

    fn skip<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let count = usize::try_from(self.skipped).map_or(bytes.len(), |left| left.min(bytes.len()));
        self.skipped -= count as u64;
        if self.skipped == 0 {
            self.step = self.next_of_header();
        }
        &bytes[count..]
    }

    fn skip_text<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match bytes.iter().position(|&byte| byte == 0) {
            Some(end) => {
                self.step = self.next_of_header();
                &bytes[end + 1..]
            }
            None => &[],
        }
    }

    /// Unpacks some of `bytes`; returns the rest.
    fn unpack<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let unpacker = &mut self.unpacker;
        let (status, read, written) = decompress(
            &mut unpacker.state,
            bytes,
            &mut unpacker.window,
            unpacker.at,
            TINFL_FLAG_HAS_MORE_INPUT,
        );
        let unpacked = &unpacker.window[unpacker.at..unpacker.at + written];
        unpacker.crc.update(unpacked);
        self.inside.push(unpacked);
        unpacker.at = (unpacker.at + written) % WINDOW_BYTES;
        unpacker.length += written as u64;
        unpacker.total += written as u64;
        let total_max = EXPANSION_FREE + EXPANSION_MAX * self.packed_bytes;
        match status {
            TINFLStatus::Done => self.step = Step::Trailer,
            _ if unpacker.total > total_max => self.step = Step::Settled(Verdict::NotChecked),
            TINFLStatus::NeedsMoreInput | TINFLStatus::HasMoreOutput => {}
            _ => self.step = damaged(),
        }
        &bytes[read..]
    }

    fn end_member(&mut self, trailer: &[u8]) -> Step {
        let unpacker = &self.unpacker;
        let crc = u64::from(unpacker.crc.clone().finalize());
        // The length counts modulo 2^32.
        let length = unpacker.length & u64::from(u32::MAX);
        let is_right =
            number::<4>(trailer, 0) == Some(crc) && number::<4>(trailer, 4) == Some(length);
        match is_right {
            true => Step::Between,
            false => damaged(),
        }
    }
}

impl Unpacker {
    fn begin(&mut self) {
        self.state.init();
        self.crc.reset();
        self.length = 0;
        self.at = 0;
    }
}

fn damaged() -> Step {
    Step::Settled(Verdict::Suspect(Flaw::DamagedGzip))
}
