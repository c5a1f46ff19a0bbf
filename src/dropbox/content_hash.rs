//! Dropbox's content hash: SHA-256 over the SHA-256 digests of the content's 4 MiB blocks.
//!
//! Source: <https://www.dropbox.com/developers/reference/content-hash>.

use std::{fmt, io};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Length of a block in bytes; the last block of a content may be shorter.
pub const BLOCK_BYTES: usize = 4 * 1024 * 1024;

/// The SHA-256 of one block.
pub type BlockHash = [u8; 32];

/// The hash of a whole content, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentHash([u8; 32]);

/// The text is not a content hash.
#[derive(Debug, thiserror::Error)]
#[error("a content hash has 64 hexadecimal digits")]
pub struct InvalidHash;

impl ContentHash {
    /// Hashes a content that is in memory.
    pub fn of(content: &[u8]) -> Self {
        let mut hasher = ContentHasher::default();
        hasher.update(content);
        hasher.finish().content_hash
    }

    /// The digest as it is; also good for writing down a block's hash.
    pub fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest's bytes.
    pub fn into_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Joins the hashes of all blocks, in order.
    pub fn of_blocks<'a>(blocks: impl IntoIterator<Item = &'a BlockHash>) -> Self {
        let mut overall = Sha256::new();
        for block in blocks {
            overall.update(block);
        }
        Self(overall.finalize().into())
    }
}

/// The SHA-256 of a block.
pub fn block_hash(block: &[u8]) -> BlockHash {
    Sha256::digest(block).into()
}

/// Hashes a block that comes in pieces of any size.
#[derive(Default)]
pub struct BlockHasher(Sha256);

impl BlockHasher {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The SHA-256 of everything written.
    pub fn finish(self) -> BlockHash {
        self.0.finalize().into()
    }
}

impl io::Write for BlockHasher {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.update(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for ContentHash {
    type Error = InvalidHash;
    fn try_from(text: String) -> Result<Self, InvalidHash> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(InvalidHash);
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| InvalidHash)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| InvalidHash)?;
        }
        Ok(Self(hash))
    }
}

/// A content's length in bytes and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digested {
    /// Length in bytes.
    pub bytes: u64,
    /// Content hash.
    pub content_hash: ContentHash,
}

/// Hashes a content that arrives piece by piece, in pieces of any size.
#[derive(Clone, Default)]
pub struct ContentHasher {
    overall: Sha256,
    block: Sha256,
    block_filled: usize,
    bytes: u64,
}

impl ContentHasher {
    /// Takes the next piece.
    pub fn update(&mut self, mut piece: &[u8]) {
        self.bytes += piece.len() as u64;
        while !piece.is_empty() {
            let room = BLOCK_BYTES - self.block_filled;
            let (now, later) = piece.split_at(room.min(piece.len()));
            self.block.update(now);
            self.block_filled += now.len();
            if self.block_filled == BLOCK_BYTES {
                self.end_block();
            }
            piece = later;
        }
    }

    /// The length and hash of everything taken.
    pub fn finish(mut self) -> Digested {
        if self.block_filled > 0 {
            self.end_block();
        }
        Digested {
            bytes: self.bytes,
            content_hash: ContentHash(self.overall.finalize().into()),
        }
    }

    fn end_block(&mut self) {
        self.overall.update(self.block.finalize_reset());
        self.block_filled = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(content: &[u8]) -> String {
        ContentHash::of(content).to_string()
    }

    #[test]
    fn known_vectors() {
        assert_eq!(
            hash(b""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            hash(b"a"),
            "bf5d3affb73efd2ec6c36ad3112dd933efed63c4e1cbffcfa88e2759c144f2d8"
        );
        for (length, expected) in [
            (
                BLOCK_BYTES - 1,
                "839e2d868a885f260431d186466f0f3c189ee0eee5cc444b54e717740ad7f1c3",
            ),
            (
                BLOCK_BYTES,
                "c7e946d101855255d919ef0c70718633adf77d3dfb3adeeecf5d0cb4e951be58",
            ),
            (
                BLOCK_BYTES + 1,
                "14a4d47f23a30177885d9820122f17d2d3a55fe63f7f5c27b95f689e0b2accd6",
            ),
            (
                2 * BLOCK_BYTES,
                "03ae066c707c588592d9e27aa2444ca98423e0999024f1ceaa11a153790b37de",
            ),
        ] {
            assert_eq!(hash(&vec![0; length]), expected, "{length} zero bytes");
        }
        let ramp: Vec<u8> = (0..10 * 1024 * 1024).map(|i| (i % 251) as u8).collect();
        assert_eq!(
            hash(&ramp),
            "9b168152f37a1b2c33d9b26ca4a679d5f99f84f8c070fd3a4491d52cbfe96af4"
        );
    }

    #[test]
    fn the_official_sample_follows_from_its_block_hashes() {
        let blocks = [
            "2a846fa617c3361fc117e1c5c1e1838c336b6a5cef982c1a2d9bdf68f2f1992a",
            "c68469027410ea393eba6551b9fa1e26db775f00eae70a0c3c129a0011a39cf9",
            "7376192de020925ce6c5ef5a8a0405e931b0a9a8c75517aacd9ca24a8a56818b",
        ]
        .map(|text| ContentHash::try_from(text.to_owned()).unwrap().0);
        assert_eq!(
            ContentHash::of_blocks(&blocks).to_string(),
            "485291fa0ee50c016982abbfa943957bcd231aae0492ccbaa22c58e3997b35e0"
        );
    }

    #[test]
    fn only_64_hexadecimal_digits_are_a_hash() {
        for text in ["", "ab", &"g".repeat(64), &"+1".repeat(32), &"ü".repeat(32)] {
            // "+1" is a number to `from_str_radix`, but no pair of digits.
            assert!(ContentHash::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn the_size_of_the_pieces_does_not_matter(
            length in 0..9_000_000usize,
            piece in 1..5_000_000usize,
        ) {
            let content: Vec<u8> = (0..length).map(|i| (i % 253) as u8).collect();
            let mut hasher = ContentHasher::default();
            content.chunks(piece).for_each(|piece| hasher.update(piece));
            let naive: Vec<BlockHash> = content.chunks(BLOCK_BYTES).map(block_hash).collect();
            let digested = hasher.finish();
            prop_assert_eq!(digested.content_hash, ContentHash::of_blocks(&naive));
            prop_assert_eq!(digested.bytes, length as u64);
        }
    }
}
