//! Tar, in the forms of POSIX and GNU: the sums of the headers, the lengths of the members, two blocks of zeros at the end.

use super::{Flaw, Verdict};

const BLOCK_BYTES: usize = 512;
/// Largest extended header that is read; it says the length of a member that is too long for its field.
const EXTENDED_BYTES_MAX: u64 = 64 * 1024;

/// Whether something begins as a tar archive does. The oldest kind bears no mark and is not recognised.
pub fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

/// A tar archive being looked at.
#[derive(Debug)]
pub struct Tar {
    step: Step,
    block: [u8; BLOCK_BYTES],
    filled: usize,
    /// Bytes of the member that are still to come, with what fills up its last block.
    left: u64,
    extended: Vec<u8>,
    /// The length of the next member, where an extended header says it.
    length: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Header,
    /// A map of holes goes on.
    Holes,
    Extended,
    Content,
    /// Behind one block of zeros.
    Zeros,
    /// Behind two.
    End,
    Settled(Verdict),
}

impl Default for Tar {
    fn default() -> Self {
        Self {
            step: Step::Header,
            block: [0; BLOCK_BYTES],
            filled: 0,
            left: 0,
            extended: Vec::new(),
            length: None,
        }
    }
}

impl Tar {
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.is_settled() {
            if self.step == Step::Content {
                let left = usize::try_from(self.left).unwrap_or(usize::MAX);
                let count = left.min(bytes.len());
                self.left -= count as u64;
                bytes = &bytes[count..];
                self.expect_content();
                continue;
            }
            let count = bytes.len().min(BLOCK_BYTES - self.filled);
            let (taken, rest) = bytes.split_at(count);
            self.block[self.filled..self.filled + count].copy_from_slice(taken);
            self.filled += count;
            bytes = rest;
            if self.filled == BLOCK_BYTES {
                self.filled = 0;
                self.read_block();
            }
        }
    }

    pub fn is_settled(&self) -> bool {
        matches!(self.step, Step::Settled(_))
    }

    pub fn finish(self) -> Verdict {
        match self.step {
            Step::Settled(verdict) => verdict,
            Step::End if self.filled == 0 => Verdict::Complete,
            // Some programs write only one block of zeros; nothing of the content is missing.
            Step::End | Step::Zeros => Verdict::NotChecked,
            _ => Verdict::Suspect(Flaw::CutTar),
        }
    }

    fn read_block(&mut self) {
        let is_empty = self.block.iter().all(|&byte| byte == 0);
        match self.step {
            Step::Header if is_empty => self.step = Step::Zeros,
            Step::Header => self.read_header(),
            Step::Holes if self.block[504] == 0 => self.expect_content(),
            Step::Zeros if is_empty => self.step = Step::End,
            // What stands behind an end may be another archive, which few programs read.
            Step::Zeros | Step::End if !is_empty => self.step = Step::Settled(Verdict::NotChecked),
            Step::Extended => {
                self.extended.extend_from_slice(&self.block);
                self.left = self.left.saturating_sub(BLOCK_BYTES as u64);
                if self.left == 0 {
                    self.length = length_in(&std::mem::take(&mut self.extended)).or(self.length);
                    self.step = Step::Header;
                }
            }
            Step::Holes | Step::Zeros | Step::End | Step::Content | Step::Settled(_) => {}
        }
    }

    fn read_header(&mut self) {
        if !is_sum_right(&self.block) {
            self.step = Step::Settled(Verdict::Suspect(Flaw::DamagedTar));
            return;
        }
        let kind = self.block[156];
        let own = number(&self.block[124..136]);
        let is_about_the_next = matches!(kind, b'x' | b'X' | b'g' | b'L' | b'K');
        let length = match is_about_the_next {
            true => own,
            false => self.length.take().or(own),
        };
        let in_blocks = |length: u64| length.checked_next_multiple_of(BLOCK_BYTES as u64);
        let (Some(length), Some(left)) = (length, length.and_then(in_blocks)) else {
            self.step = Step::Settled(Verdict::NotChecked);
            return;
        };
        self.left = left;
        match kind {
            b'x' | b'X' if length > EXTENDED_BYTES_MAX => {
                self.step = Step::Settled(Verdict::NotChecked);
            }
            b'x' | b'X' if length > 0 => self.step = Step::Extended,
            b'S' if self.block[482] != 0 => self.step = Step::Holes,
            // Programs disagree whether links and folders with a length have content; and of an archive in several
            // volumes this is one.
            b'1'..=b'6' if length > 0 => self.step = Step::Settled(Verdict::NotChecked),
            b'M' => self.step = Step::Settled(Verdict::NotChecked),
            _ => self.expect_content(),
        }
    }

    fn expect_content(&mut self) {
        self.step = match self.left {
            0 => Step::Header,
            _ => Step::Content,
        };
    }
}

/// The sum of all bytes, its own field counting as spaces; some old programs added them with signs.
fn is_sum_right(block: &[u8; BLOCK_BYTES]) -> bool {
    let bytes = block.iter().enumerate();
    let bytes = bytes.map(|(at, &byte)| if (148..156).contains(&at) { b' ' } else { byte });
    let (mut plain, mut signed) = (0_i64, 0_i64);
    for byte in bytes {
        plain += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    let sum = number(&block[148..156]).and_then(|sum| i64::try_from(sum).ok());
    sum == Some(plain) || sum == Some(signed)
}

/// A field with a number: octal digits, or GNU's binary form for large ones.
fn number(field: &[u8]) -> Option<u64> {
    let (&first, rest) = field.split_first()?;
    if first == 0x80 {
        let (above, number) = rest.split_at_checked(rest.len().checked_sub(8)?)?;
        let is_small = above.iter().all(|&byte| byte == 0);
        let number = number
            .iter()
            .fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        return is_small.then_some(number);
    }
    let text = std::str::from_utf8(field).ok()?;
    let text = text.trim_matches([' ', '\0']);
    match text.is_empty() {
        true => Some(0),
        false => u64::from_str_radix(text, 8).ok(),
    }
}

/// The length that an extended header gives: records of the form `LENGTH size=NUMBER`, each a line.
fn length_in(extended: &[u8]) -> Option<u64> {
    let mut rest = extended;
    let mut found = None;
    while let Some(space) = rest.iter().position(|&byte| byte == b' ') {
        let length = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
        let (record, behind) = rest.split_at_checked(length)?;
        let record = record.get(space + 1..)?;
        if let Some(size) = record.strip_prefix(b"size=") {
            let size = std::str::from_utf8(size).ok()?.trim_end_matches('\n');
            found = Some(size.parse().ok()?);
        }
        rest = behind;
    }
    found
}
