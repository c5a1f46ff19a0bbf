//! Reads one backup block by block, hashes it on the way, and goes on after an interruption.

use std::io::{self, Read};
use std::time::Duration;

use crate::clock::{self, Stop, Stopwatch};
use crate::dropbox::content_hash::{
    BLOCK_BYTES, BlockHash, BlockHasher, ContentHash, Digested, block_hash,
};
use crate::http::retry::{Tries, with_tries};
use crate::source::Backup;
use crate::source::{BLOCK_PATIENCE, Error, Source, Stream};

/// A block is read and hashed in pieces of this size, which fit into a processor's cache.
const PIECE_BYTES: usize = 256 * 1024;

/// How long one backup may ask for patience again and again, while the others wait for their turn.
const OTHERS_PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Repeats `read` as its errors ask for, while the other backups can wait.
fn retried<T>(stop: &Stop, read: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    with_tries(
        Tries::for_about(OTHERS_PATIENCE),
        stop,
        "the download",
        read,
    )
}

/// A backup being read.
pub struct BackupReader<'a> {
    source: &'a dyn Source,
    backup: &'a Backup,
    stop: &'a Stop,
    stream: Option<Box<dyn Read + Send>>,
    /// The whole length, as the source announced it first.
    length: Option<u64>,
    /// Hashes of the blocks read so far; the last one may be of a shorter block.
    hashes: Vec<BlockHash>,
    bytes: u64,
}

impl<'a> BackupReader<'a> {
    /// Opens `backup`, again where a passing fault asks for it.
    ///
    /// # Errors
    /// The source's last error.
    pub fn open(source: &'a dyn Source, backup: &'a Backup, stop: &'a Stop) -> Result<Self, Error> {
        Self::resume(source, backup, stop, Vec::new())
    }

    /// Opens `backup` behind the blocks that an earlier run has read. A source that cannot begin
    /// there is read from its start and must send the same blocks again.
    ///
    /// # Errors
    /// The source's last error; [`Error::OtherContent`] if the blocks differ.
    pub fn resume(
        source: &'a dyn Source,
        backup: &'a Backup,
        stop: &'a Stop,
        hashes: Vec<BlockHash>,
    ) -> Result<Self, Error> {
        let mut reader = Self {
            source,
            backup,
            stop,
            stream: None,
            length: None,
            bytes: (hashes.len() * BLOCK_BYTES) as u64,
            hashes,
        };
        retried(stop, || reader.ensure_open())?;
        Ok(reader)
    }

    /// The whole length in bytes, where the source announced it.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Bytes read so far, by earlier runs too.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Hashes of the blocks read so far.
    pub fn hashes(&self) -> &[BlockHash] {
        &self.hashes
    }

    /// Reads the next block into `buffer`: 4 MiB, or what is left. Returns its length, 0 at the end.
    ///
    /// # Errors
    /// The source's last error, once going on has been tried often enough.
    pub fn next_block(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let stop = self.stop;
        let (filled, hash) = retried(stop, || {
            self.ensure_open()?;
            let read = self.read_block(buffer);
            let read = read.and_then(|(filled, hash)| {
                if filled < BLOCK_BYTES && self.length.is_none() {
                    self.prove_end(filled, hash)?;
                }
                Ok((filled, hash))
            });
            if read.is_err() {
                self.stream = None;
            }
            read
        })?;
        if filled > 0 {
            self.hashes.push(hash);
            self.bytes += filled as u64;
        }
        Ok(filled)
    }

    /// Length and hash of everything read.
    pub fn digested(&self) -> Digested {
        Digested {
            bytes: self.bytes,
            content_hash: ContentHash::of_blocks(&self.hashes),
        }
    }

    /// Fills `buffer`, or less at the end of the content. Returns the length and the hash of that.
    fn read_block(&mut self, buffer: &mut [u8]) -> Result<(usize, BlockHash), Error> {
        let Some(stream) = &mut self.stream else {
            return Ok((0, block_hash(&[])));
        };
        clock::hang_for_a_test();
        let reading = Stopwatch::start();
        let too_slow = || reading.elapsed() > BLOCK_PATIENCE;
        let (filled, outcome, hash) = fill_and_hash(stream, buffer, &too_slow);
        let read = self.bytes + filled as u64;
        let announced = self.length;
        let truncated = |cause: String| Error::Truncated {
            read,
            announced,
            cause,
        };
        match (outcome, announced) {
            (Err(_), _) if too_slow() => Err(Error::TooSlow { read: self.bytes }),
            // The source's own word about it, if the error holds one.
            (Err(error), _) => Err(error
                .downcast()
                .unwrap_or_else(|error| truncated(error.to_string()))),
            (Ok(()), Some(length)) if filled < BLOCK_BYTES && read != length => {
                Err(truncated("the length is not the announced one".into()))
            }
            (Ok(()), _) => Ok((filled, hash)),
        }
    }

    /// An end that nobody has announced may be that of a connection which a proxy has lost. It is proved by the
    /// source, which has nothing behind it, or else by reading the same once more: `filled` bytes with this hash
    /// as the last block. From then on the length is known.
    fn prove_end(&mut self, filled: usize, hash: BlockHash) -> Result<(), Error> {
        let end = self.bytes + filled as u64;
        let early = |announced: Option<u64>| Error::Truncated {
            read: end,
            announced,
            cause: "there is more behind an end that was not announced".into(),
        };
        let again = match self.source.open(&self.backup.id, end) {
            Err(Error::Status { status: 416, .. }) => None,
            opened => Some(opened?),
        };
        match again {
            None => {}
            Some(Stream {
                length: Some(length),
                ..
            }) if length == end => {}
            Some(Stream { length, offset, .. }) if length.is_some() || offset > 0 => {
                return Err(early(length));
            }
            Some(Stream { reader, .. }) => {
                let mut again = Self {
                    stream: Some(reader),
                    hashes: Vec::new(),
                    bytes: 0,
                    ..*self
                };
                let mut buffer = vec![0; BLOCK_BYTES];
                let whole = self.hashes.iter().map(|&hash| (BLOCK_BYTES, hash));
                let last = (filled > 0).then_some((filled, hash));
                for expected in whole.chain(last) {
                    let found = again.read_block(&mut buffer)?;
                    if found.0 != expected.0 {
                        return Err(early(None));
                    }
                    if found.1 != expected.1 {
                        return Err(Error::OtherContent);
                    }
                    again.bytes += found.0 as u64;
                }
                if again.read_block(&mut buffer)?.0 > 0 {
                    return Err(early(None));
                }
            }
        }
        self.length = Some(end);
        Ok(())
    }

    /// Opens the stream where the last whole block ended. A source that begins at the start is
    /// read up to there, and must send the same blocks as before.
    fn ensure_open(&mut self) -> Result<(), Error> {
        if self.stream.is_some() {
            return Ok(());
        }
        let id = &self.backup.id;
        let Stream {
            reader,
            offset,
            length,
        } = match self.source.open(id, self.bytes) {
            // There is nothing at this offset; only reading the whole shows whether that is its end.
            Err(Error::Status { status: 416, .. }) if self.bytes > 0 => self.source.open(id, 0)?,
            opened => opened?,
        };
        if length.is_some() && self.length.is_some() && length != self.length {
            return Err(Error::OtherContent);
        }
        self.length = self.length.or(length);
        self.stream = Some(reader);
        if offset == self.bytes {
            return Ok(());
        }
        let skipped = self.skip_known_blocks();
        if skipped.is_err() {
            self.stream = None;
        }
        skipped
    }

    fn skip_known_blocks(&mut self) -> Result<(), Error> {
        let expected = std::mem::take(&mut self.hashes);
        let bytes = std::mem::take(&mut self.bytes);
        let mut buffer = vec![0; BLOCK_BYTES];
        let mut compare = || {
            for hash in &expected {
                let (filled, found) = self.read_block(&mut buffer)?;
                if found != *hash {
                    return Err(Error::OtherContent);
                }
                self.bytes += filled as u64;
                self.stop
                    .requested()
                    .map_or(Ok(()), |reason| Err(Error::Stopped(reason)))?;
            }
            Ok(())
        };
        let outcome = compare();
        self.hashes = expected;
        self.bytes = bytes;
        outcome
    }
}

/// Reads a whole backup for its length and hash only.
///
/// # Errors
/// The source's last error.
pub fn digest(source: &dyn Source, backup: &Backup, stop: &Stop) -> Result<Digested, Error> {
    let mut reader = BackupReader::open(source, backup, stop)?;
    let mut buffer = vec![0; BLOCK_BYTES];
    while reader.next_block(&mut buffer)? > 0 {}
    Ok(reader.digested())
}

/// Reads until `buffer` is full, the content ends, or it is `too_slow`. Returns the length and the hash
/// of what was read. Each piece is hashed while it is still in the processor's cache; the kernel takes
/// in the next one meanwhile.
fn fill_and_hash(
    stream: &mut dyn Read,
    buffer: &mut [u8],
    too_slow: &dyn Fn() -> bool,
) -> (usize, io::Result<()>, BlockHash) {
    let mut hasher = BlockHasher::default();
    let mut filled = 0;
    let mut outcome = Ok(());
    for piece in buffer.chunks_mut(PIECE_BYTES) {
        let mut count = 0;
        outcome = fill(stream, piece, &mut count, too_slow);
        filled += count;
        hasher.update(&piece[..count]);
        if count < piece.len() || outcome.is_err() {
            break;
        }
    }
    (filled, outcome, hasher.finish())
}

/// Reads until `buffer` is full, the content ends, or it is `too_slow`; counts the bytes in `filled`.
fn fill(
    stream: &mut dyn Read,
    buffer: &mut [u8],
    filled: &mut usize,
    too_slow: &dyn Fn() -> bool,
) -> io::Result<()> {
    while *filled < buffer.len() {
        match stream.read(&mut buffer[*filled..]) {
            Ok(0) => break,
            Ok(count) => *filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if too_slow() {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup_id::BackupId;
    use crate::source::{Kind, Listing};
    use crate::zone::Zone;

    /// A content that breaks off.
    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }

    #[test]
    fn a_block_of_any_length_has_the_hash_of_what_was_read() {
        let content: Vec<u8> = (0..2 * PIECE_BYTES + 1).map(|n| (n % 251) as u8).collect();
        let room = 2 * PIECE_BYTES;
        for length in [
            0,
            1,
            PIECE_BYTES - 1,
            PIECE_BYTES,
            PIECE_BYTES + 1,
            room,
            room + 1,
        ] {
            let mut buffer = vec![0; room];
            let stream = &mut &content[..length];
            let (filled, outcome, hash) = fill_and_hash(stream, &mut buffer, &|| false);
            assert!(outcome.is_ok());
            assert_eq!(filled, length.min(room));
            assert_eq!(hash, block_hash(&content[..filled]), "{length} bytes");
            assert_eq!(buffer[..filled], content[..filled]);
        }
    }

    #[test]
    fn what_breaks_off_or_crawls_is_no_block() {
        let content = vec![1; PIECE_BYTES];
        for length in [0, 1, PIECE_BYTES] {
            let mut buffer = vec![0; 2 * PIECE_BYTES];
            let mut stream = content[..length].chain(Broken);
            let (filled, outcome, _) = fill_and_hash(&mut stream, &mut buffer, &|| false);
            assert!(outcome.is_err() && filled == length, "{filled} of {length}");
        }
        let mut buffer = vec![0; 2 * PIECE_BYTES];
        let (filled, outcome, _) = fill_and_hash(&mut &content[..], &mut buffer, &|| true);
        assert!(outcome.is_err() && filled == PIECE_BYTES);
    }

    /// A source whose one backup lies on a disk that fails.
    struct Failing;

    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other(Error::Unreadable {
                path: "a".into(),
                cause: io::ErrorKind::Other.into(),
            }))
        }
    }

    impl Source for Failing {
        fn kind(&self) -> Kind {
            Kind::Folder
        }
        fn list(&self) -> Result<Listing, Error> {
            Ok(Listing::default())
        }
        fn timezone(&self) -> Result<Zone, String> {
            Ok(Zone::UTC)
        }
        fn open(&self, _: &BackupId, offset: u64) -> Result<Stream, Error> {
            Ok(Stream {
                reader: Box::new(Failing),
                offset,
                length: Some(1),
            })
        }
    }

    #[test]
    fn what_the_source_says_of_a_failure_is_told_in_its_own_words() {
        let backup = Backup {
            id: BackupId::of_path("a").unwrap(),
            finished: true,
            created_at: clock::now(),
            version: None,
            is_from_the_future: false,
            has_failed: false,
        };
        let stop = Stop::new(std::sync::Arc::default());
        let error = digest(&Failing, &backup, &stop).unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }), "{error}");
    }
}
