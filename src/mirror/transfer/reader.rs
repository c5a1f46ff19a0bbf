//! Reads one backup block by block, hashes it on the way, and goes on after an interruption.

use std::io::{self, Read};

use crate::clock::{Stop, Stopwatch};
use crate::dropbox::content_hash::{BLOCK_BYTES, BlockHash, ContentHash, Digested, block_hash};
use crate::http::retry::with_retry;
use crate::source::Backup;
use crate::source::{BLOCK_PATIENCE, Download, Error, Source};

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
    /// The source's last error; [`Error::Changed`] if the blocks differ.
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
        with_retry(stop, "the download", || reader.ensure_open())?;
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

    /// The next block: 4 MiB, or what is left; `None` at the end.
    ///
    /// # Errors
    /// The source's last error, once going on has been tried often enough.
    pub fn next_block(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let stop = self.stop;
        let block = with_retry(stop, "the download", || {
            self.ensure_open()?;
            let block = self.read_block();
            if block.is_err() {
                self.stream = None;
            }
            block
        })?;
        if block.is_empty() {
            return Ok(None);
        }
        self.hashes.push(block_hash(&block));
        self.bytes += block.len() as u64;
        Ok(Some(block))
    }

    /// Length and hash of everything read.
    pub fn digested(&self) -> Digested {
        Digested {
            bytes: self.bytes,
            content_hash: ContentHash::of_blocks(&self.hashes),
        }
    }

    fn read_block(&mut self) -> Result<Vec<u8>, Error> {
        let read = self.bytes;
        let Some(stream) = &mut self.stream else {
            return Ok(Vec::new());
        };
        let announced = self.length;
        let left = announced.map_or(u64::MAX, |length| length.saturating_sub(read));
        let expected = usize::try_from(left)
            .unwrap_or(BLOCK_BYTES)
            .min(BLOCK_BYTES);
        // One byte more than announced is asked for, so that a longer content is noticed.
        let limit = BLOCK_BYTES.min(expected.saturating_add(1));
        let mut block = vec![0; limit];
        let mut filled = 0;
        let mut outcome = Ok(());
        let reading = Stopwatch::start();
        while filled < limit {
            match stream.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
            if reading.elapsed() > BLOCK_PATIENCE {
                return Err(Error::TooSlow { read });
            }
        }
        block.truncate(filled);
        let read = read + block.len() as u64;
        let truncated = |cause: String| Error::Truncated {
            read,
            announced,
            cause,
        };
        match (outcome, announced) {
            (Err(error), _) => Err(truncated(error.to_string())),
            (Ok(_), Some(length)) if block.len() < BLOCK_BYTES && read != length => {
                Err(truncated("the length is not the announced one".into()))
            }
            (Ok(_), _) => Ok(block),
        }
    }

    /// Opens the stream where the last whole block ended. A source that begins at the start is
    /// read up to there, and must send the same blocks as before.
    fn ensure_open(&mut self) -> Result<(), Error> {
        if self.stream.is_some() {
            return Ok(());
        }
        let id = &self.backup.id;
        let Download {
            reader,
            offset,
            length,
        } = match self.source.open(id, self.bytes) {
            // Nothing lies beyond the end; the whole must be looked at to know that it is the end.
            Err(Error::Status { status: 416, .. }) if self.bytes > 0 => self.source.open(id, 0)?,
            opened => opened?,
        };
        if length.is_some() && self.length.is_some() && length != self.length {
            return Err(Error::Changed);
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
        let mut compare = || {
            for hash in &expected {
                let block = self.read_block()?;
                if block_hash(&block) != *hash {
                    return Err(Error::Changed);
                }
                self.bytes += block.len() as u64;
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
    while reader.next_block()?.is_some() {}
    Ok(reader.digested())
}
