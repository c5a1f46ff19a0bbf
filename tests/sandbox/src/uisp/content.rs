//! Backup content made up on the fly: any size, reproducible from a seed, as cheap as copying memory.

use crate::dropbox::ContentHasher;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

/// The content repeats one block of noise; each repetition begins with its number, so that no two are equal
/// and a block that is missing, doubled or out of order changes the hash.
const NOISE_BYTES: usize = 64 * 1024;

/// The content of one backup.
#[derive(Debug, Clone)]
pub(super) struct Content {
    noise: Arc<Vec<u8>>,
    seed: u64,
    size: u64,
    pub(super) altered_at: Option<u64>,
    /// The noise is the whole content, as it is.
    is_given: bool,
}

/// What tells contents apart.
type Key = (u64, u64, Option<u64>);

impl Content {
    pub(super) fn new(seed: u64, size: u64) -> Self {
        // Xorshift, seeded so that it is never zero; the noise only has to look incompressible.
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let needed = usize::try_from(size).map_or(NOISE_BYTES, |size| size.min(NOISE_BYTES));
        let mut noise = Vec::with_capacity(needed + size_of::<u64>());
        while noise.len() < needed {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.extend_from_slice(&state.to_le_bytes());
        }
        noise.truncate(needed);
        Self {
            noise: Arc::new(noise),
            seed,
            size,
            altered_at: None,
            is_given: false,
        }
    }

    pub(super) fn given(content: Vec<u8>) -> Self {
        Self {
            size: content.len() as u64,
            noise: Arc::new(content),
            seed: 0,
            altered_at: None,
            is_given: true,
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Reads from an offset to the end.
    pub(super) fn reader(&self, from: u64) -> ContentReader {
        ContentReader {
            content: self.clone(),
            at: from.min(self.size),
        }
    }

    /// Dropbox's hash of the whole. Tests ask for it again and again, so it is reckoned once.
    pub(super) fn hash(&self) -> String {
        static KNOWN: Mutex<BTreeMap<Key, String>> = Mutex::new(BTreeMap::new());
        let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (self.seed, self.size, self.altered_at);
        if let Some(hash) = known().get(&key).filter(|_| !self.is_given) {
            return hash.clone();
        }
        let mut hasher = ContentHasher::default();
        let mut reader = self.reader(0);
        let mut buffer = vec![0; NOISE_BYTES];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            hasher.update(&buffer[..count]);
        }
        let hash = hasher.finish();
        if !self.is_given {
            known().insert(key, hash.clone());
        }
        hash
    }
}

/// A position in a content.
pub(super) struct ContentReader {
    content: Content,
    at: u64,
}

impl Read for ContentReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let content = &self.content;
        let mut filled = 0;
        while filled < out.len() && self.at < content.size {
            let repetition = self.at / NOISE_BYTES as u64;
            let within = (self.at % NOISE_BYTES as u64) as usize;
            let head = (repetition ^ content.seed.rotate_left(32)).to_le_bytes();
            let source = if content.is_given {
                let at = usize::try_from(self.at).unwrap_or(usize::MAX);
                content.noise.get(at..).unwrap_or_default()
            } else if within < head.len() {
                &head[within..]
            } else {
                &content.noise[within..]
            };
            let left = usize::try_from(content.size - self.at).unwrap_or(usize::MAX);
            let count = source.len().min(out.len() - filled).min(left);
            out[filled..filled + count].copy_from_slice(&source[..count]);
            let altered = content.altered_at.and_then(|at| at.checked_sub(self.at));
            if let Some(altered) = altered.filter(|&altered| altered < count as u64) {
                out[filled + altered as usize] ^= 1;
            }
            filled += count;
            self.at += count as u64;
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(content: &Content, from: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        content.reader(from).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn any_part_equals_that_part_of_the_whole() {
        let content = Content::new(7, 200_003);
        let whole = bytes(&content, 0);
        assert_eq!(whole.len(), 200_003);
        for from in [1, 7, 8, 65_535, 65_536, 65_540, 200_002, 200_003] {
            assert_eq!(bytes(&content, from), whole[from as usize..], "from {from}");
        }
    }

    #[test]
    fn seeds_differ_and_so_do_repetitions() {
        let whole = bytes(&Content::new(1, 2 * NOISE_BYTES as u64), 0);
        assert_ne!(whole[..NOISE_BYTES], whole[NOISE_BYTES..]);
        assert_ne!(Content::new(1, 100).hash(), Content::new(2, 100).hash());
    }
}
