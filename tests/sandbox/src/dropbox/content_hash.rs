//! Dropbox's content hash: SHA-256 over the concatenated SHA-256 digests of 4 MiB blocks.

use sha2::{Digest, Sha256};

/// The hash's unit, and the grid of concurrent upload sessions.
pub const BLOCK_BYTES: u64 = 4 * 1024 * 1024;

/// Hashes a stream of any length in constant memory (32 bytes for each 4 MiB).
#[derive(Debug, Clone, Default)]
pub struct ContentHasher {
    digests: Vec<[u8; 32]>,
    block: Sha256,
    size: u64,
}

impl ContentHasher {
    /// Takes the next bytes in.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BLOCK_BYTES - self.size % BLOCK_BYTES;
            let (now, later) = bytes.split_at(bytes.len().min(room as usize));
            self.block.update(now);
            self.size += now.len() as u64;
            if self.is_aligned() {
                self.digests.push(self.block.finalize_reset().into());
            }
            bytes = later;
        }
    }

    /// Bytes taken in so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether the stream stands at the border of a block.
    pub fn is_aligned(&self) -> bool {
        self.size.is_multiple_of(BLOCK_BYTES)
    }

    /// Continues with what another hasher took in; only at the border of a block.
    pub(super) fn append(&mut self, next: &Self) {
        assert!(self.is_aligned(), "blocks are joined at their borders only");
        self.digests.extend_from_slice(&next.digests);
        self.block = next.block.clone();
        self.size += next.size;
    }

    /// The hash of everything so far, in lower-case hex.
    pub fn finish(&self) -> String {
        let mut whole = Sha256::new();
        for digest in &self.digests {
            whole.update(digest);
        }
        if !self.is_aligned() {
            whole.update(self.block.clone().finalize());
        }
        whole
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// The content hash of bytes in memory.
pub fn content_hash(bytes: &[u8]) -> String {
    let mut hasher = ContentHasher::default();
    hasher.update(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = BLOCK_BYTES as usize;

    #[test]
    fn equals_the_published_vectors() {
        let pattern: Vec<u8> = (0..10 * 1024 * 1024).map(|i| (i % 251) as u8).collect();
        for (bytes, hash) in [
            (
                vec![],
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                b"a".to_vec(),
                "bf5d3affb73efd2ec6c36ad3112dd933efed63c4e1cbffcfa88e2759c144f2d8",
            ),
            (
                vec![0; BLOCK - 1],
                "839e2d868a885f260431d186466f0f3c189ee0eee5cc444b54e717740ad7f1c3",
            ),
            (
                vec![0; BLOCK],
                "c7e946d101855255d919ef0c70718633adf77d3dfb3adeeecf5d0cb4e951be58",
            ),
            (
                vec![0; BLOCK + 1],
                "14a4d47f23a30177885d9820122f17d2d3a55fe63f7f5c27b95f689e0b2accd6",
            ),
            (
                vec![0; 2 * BLOCK],
                "03ae066c707c588592d9e27aa2444ca98423e0999024f1ceaa11a153790b37de",
            ),
            (
                pattern,
                "9b168152f37a1b2c33d9b26ca4a679d5f99f84f8c070fd3a4491d52cbfe96af4",
            ),
        ] {
            assert_eq!(content_hash(&bytes), hash, "{} bytes", bytes.len());
        }
    }

    #[test]
    fn joining_at_a_border_equals_hashing_in_one_go() {
        let bytes: Vec<u8> = (0..2 * BLOCK + 77).map(|i| (i % 253) as u8).collect();
        let mut joined = ContentHasher::default();
        for part in [&bytes[..BLOCK], &bytes[BLOCK..]] {
            let mut hasher = ContentHasher::default();
            for piece in part.chunks(100_003) {
                hasher.update(piece);
            }
            joined.append(&hasher);
        }
        assert_eq!(joined.finish(), content_hash(&bytes));
        assert_eq!(joined.size(), bytes.len() as u64);
    }
}
