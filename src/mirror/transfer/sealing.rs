//! Seals a source's content on its way, if it is to be sealed, and has it looked at before.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use super::inspecting::Inspection;
use crate::age::{CannotSeal, Seal, Sealer};
use crate::backup_id::BackupId;
use crate::dropbox::content_hash::{ContentHasher, Digested};
use crate::source::{Error, Kind, Listing, Source, Stream};
use crate::state::Inside;
use crate::zone::Zone;

/// A source whose content arrives sealed, in the coordinates of what is sealed. Each opening begins at the start: only so
/// every block is made again, and can be compared with what was sent under its key before; and only so the hash of
/// what is inside is known at the end.
pub struct Sealing<'a> {
    source: &'a dyn Source,
    inspection: Option<Inspection>,
    sealed: Option<(Seal, Sealer)>,
    /// Length and hash of what was read to its end.
    inside: Arc<Mutex<Option<Digested>>>,
}

impl<'a> Sealing<'a> {
    /// `source`, sealed with `seal`; as it is without one.
    ///
    /// # Errors
    /// [`CannotSeal`].
    pub fn new(
        source: &'a dyn Source,
        seal: Option<Seal>,
        inspection: Option<Inspection>,
    ) -> Result<Self, CannotSeal> {
        let with_sealer = |seal: Seal| seal.sealer().map(|sealer| (seal, sealer));
        Ok(Self {
            source,
            inspection,
            sealed: seal.map(with_sealer).transpose()?,
            inside: Arc::default(),
        })
    }

    /// What it is sealed with.
    pub fn seal(&self) -> Option<&Seal> {
        self.sealed.as_ref().map(|(seal, _)| seal)
    }

    /// The source was read to its end.
    pub fn end_inspection(&self) {
        self.inspection.iter().for_each(Inspection::end);
    }

    /// What is inside, once it was read to its end; none if it is not sealed.
    pub fn inside(&self) -> Option<Inside> {
        let digested = *self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let (
            Digested {
                bytes,
                content_hash,
            },
            seal,
        ) = (digested?, self.seal()?);
        Some(Inside {
            content_hash,
            bytes,
            recipients: seal.recipients.clone(),
        })
    }
}

impl Source for Sealing<'_> {
    fn kind(&self) -> Kind {
        self.source.kind()
    }

    fn list(&self) -> Result<Listing, Error> {
        self.source.list()
    }

    fn timezone(&self) -> Result<Zone, String> {
        self.source.timezone()
    }

    fn open(&self, id: &BackupId, offset: u64) -> Result<Stream, Error> {
        let offset = if self.sealed.is_some() { 0 } else { offset };
        let Stream {
            reader,
            length,
            offset,
        } = self.source.open(id, offset)?;
        let reader = match &self.inspection {
            Some(inspection) => Box::new(inspection.of(reader, offset)),
            None => reader,
        };
        let Some((_, sealer)) = &self.sealed else {
            return Ok(Stream {
                reader,
                length,
                offset,
            });
        };
        let hashed = Hashed {
            content: reader,
            hasher: Some(ContentHasher::default()),
            result: Arc::clone(&self.inside),
        };
        Ok(Stream {
            reader: Box::new(sealer.over(hashed)),
            offset: 0,
            length: length.map(|length| sealer.sealed_length(length)),
        })
    }
}

/// A content that is hashed while it is read.
struct Hashed {
    content: Box<dyn Read + Send>,
    hasher: Option<ContentHasher>,
    /// Gets length and hash at the end.
    result: Arc<Mutex<Option<Digested>>>,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        if count > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..count]);
            }
        } else if !buffer.is_empty()
            && let Some(hasher) = self.hasher.take()
        {
            let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
            *result = Some(hasher.finish());
        }
        Ok(count)
    }
}
