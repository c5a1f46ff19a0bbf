//! Upload sessions, sequential and concurrent.

use super::answer::{flattened, tag};
use super::content_hash::{BLOCK_BYTES, ContentHasher};
use super::folder::{Content, Pieces};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sessions live seven days from their creation.
pub(super) const SESSION_LIFE: TimeDelta = TimeDelta::days(7);

/// The largest file: 2^41 - 2^22 bytes.
const FILE_BYTES_MAX: u64 = (1 << 41) - (1 << 22);

/// The bytes of one request, hashed as they came in.
#[derive(Debug, Clone, Default)]
pub(super) struct Received {
    /// The hash of these bytes alone.
    pub(super) own: ContentHasher,
    /// The hash of the session's file so far, continued with these bytes; needed only where the session
    /// does not stand at the border of a block.
    pub(super) continued: Option<ContentHasher>,
    /// The bytes, where content is kept.
    pub(super) bytes: Option<Arc<Vec<u8>>>,
}

impl Received {
    pub(super) fn size(&self) -> u64 {
        self.own.size()
    }
}

/// The two kinds of sessions.
#[derive(Debug)]
pub(super) enum Data {
    Sequential {
        hasher: ContentHasher,
        pieces: Pieces,
    },
    /// By offset.
    Concurrent(BTreeMap<u64, Received>),
}

/// A session and what it holds.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) app: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) is_closed: bool,
    pub(super) data: Data,
}

impl Session {
    pub(super) fn new(app: &str, is_concurrent: bool, keep: bool, now: DateTime<Utc>) -> Self {
        let data = if is_concurrent {
            Data::Concurrent(BTreeMap::new())
        } else {
            Data::Sequential {
                hasher: ContentHasher::default(),
                pieces: keep.then(Vec::new),
            }
        };
        Self {
            app: app.into(),
            created_at: now,
            is_closed: false,
            data,
        }
    }

    pub(super) fn is_concurrent(&self) -> bool {
        matches!(self.data, Data::Concurrent(_))
    }

    /// Bytes held.
    pub(super) fn received_bytes(&self) -> u64 {
        match &self.data {
            Data::Sequential { hasher, .. } => hasher.size(),
            Data::Concurrent(pieces) => pieces.values().map(Received::size).sum(),
        }
    }

    /// The hash state to continue while the next bytes come in, where their own hash cannot be joined.
    pub(super) fn continuation(&self) -> Option<ContentHasher> {
        match &self.data {
            Data::Sequential { hasher, .. } if !hasher.is_aligned() => Some(hasher.clone()),
            _ => None,
        }
    }

    /// Takes bytes in; an error is an UploadSessionAppendError.
    pub(super) fn append(
        &mut self,
        offset: u64,
        received: Received,
        close: bool,
    ) -> Result<(), Value> {
        if self.is_closed {
            // Assumption: a closing append that is sent again is answered like any other append.
            return Err(tag("closed"));
        }
        let size = received.size();
        if offset.saturating_add(size) > FILE_BYTES_MAX {
            return Err(tag("too_large"));
        }
        match &mut self.data {
            Data::Sequential { hasher, pieces } => {
                if offset != hasher.size() {
                    return Err(incorrect_offset(hasher.size()));
                }
                match received.continued {
                    Some(continued) => *hasher = continued,
                    None => hasher.append(&received.own),
                }
                if let (Some(pieces), Some(bytes)) = (pieces, received.bytes) {
                    pieces.push(bytes);
                }
            }
            Data::Concurrent(pieces) => {
                if !offset.is_multiple_of(BLOCK_BYTES) {
                    return Err(tag("concurrent_session_invalid_offset"));
                }
                if !close && !size.is_multiple_of(BLOCK_BYTES) {
                    return Err(tag("concurrent_session_invalid_data_size"));
                }
                let is_same = |at: u64, held: &Received| at == offset && held.size() == size;
                let overlaps = pieces
                    .range(..offset + size.max(1))
                    .next_back()
                    .is_some_and(|(at, held)| !is_same(*at, held) && at + held.size() > offset);
                // Assumption: the same range may be sent again (its answer was lost); ranges that
                // overlap in any other way are refused.
                if overlaps {
                    return Err(tag("concurrent_session_invalid_offset"));
                }
                if size > 0 {
                    pieces.insert(offset, received);
                }
            }
        }
        self.is_closed = close;
        Ok(())
    }

    /// What the file will be; an error is an UploadSessionFinishError.
    pub(super) fn content(&self, offset: u64) -> Result<Content, Value> {
        let (content, size) = match &self.data {
            Data::Sequential { hasher, pieces } => {
                (Content::new(hasher, pieces.clone()), hasher.size())
            }
            Data::Concurrent(pieces) => {
                if !self.is_closed {
                    return Err(tag("concurrent_session_not_closed"));
                }
                let mut hasher = ContentHasher::default();
                let mut bytes: Pieces = Some(Vec::new());
                for (at, piece) in pieces {
                    if *at != hasher.size() {
                        return Err(tag("concurrent_session_missing_data"));
                    }
                    hasher.append(&piece.own);
                    match (&mut bytes, &piece.bytes) {
                        (Some(bytes), Some(piece)) => bytes.push(Arc::clone(piece)),
                        _ => bytes = None,
                    }
                }
                // The cursor says how long the client believes the file to be.
                if offset > hasher.size() {
                    return Err(tag("concurrent_session_missing_data"));
                }
                (Content::new(&hasher, bytes), hasher.size())
            }
        };
        if offset == size {
            Ok(content)
        } else {
            Err(super::answer::nested(
                "lookup_failed",
                incorrect_offset(size),
            ))
        }
    }
}

fn incorrect_offset(correct: u64) -> Value {
    flattened("incorrect_offset", json!({ "correct_offset": correct }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(bytes: &[u8]) -> Received {
        let mut own = ContentHasher::default();
        own.update(bytes);
        Received {
            own,
            continued: None,
            bytes: Some(Arc::new(bytes.to_vec())),
        }
    }

    fn blocks(count: u64) -> Received {
        received(&vec![7; (count * BLOCK_BYTES) as usize])
    }

    fn session(is_concurrent: bool) -> Session {
        Session::new("test-app-key", is_concurrent, true, Utc::now())
    }

    #[test]
    fn a_sequential_session_names_the_right_offset() {
        let mut session = session(false);
        session.append(0, received(b"hello"), false).unwrap();
        let refused = session.append(0, received(b"hello"), false).unwrap_err();
        assert_eq!(refused, incorrect_offset(5));
    }

    #[test]
    fn a_concurrent_session_takes_blocks_in_any_order() {
        let mut session = session(true);
        session.append(2 * BLOCK_BYTES, blocks(1), false).unwrap();
        session.append(0, blocks(2), false).unwrap();
        session.append(0, blocks(2), false).unwrap();
        let open = session.content(3 * BLOCK_BYTES).unwrap_err();
        assert_eq!(open, tag("concurrent_session_not_closed"));
        let end = 3 * BLOCK_BYTES;
        session.append(end, received(b"tail"), true).unwrap();
        assert_eq!(
            session.append(end, received(b"tail"), true),
            Err(tag("closed"))
        );
        assert_eq!(session.content(end + 4).unwrap().size, end + 4);
        assert!(session.content(end).is_err());
    }

    #[test]
    fn a_concurrent_session_keeps_to_the_grid() {
        let mut session = session(true);
        assert_eq!(
            session.append(5, blocks(1), false),
            Err(tag("concurrent_session_invalid_offset"))
        );
        assert_eq!(
            session.append(0, received(b"x"), false),
            Err(tag("concurrent_session_invalid_data_size"))
        );
        session.append(BLOCK_BYTES, blocks(2), false).unwrap();
        assert_eq!(
            session.append(2 * BLOCK_BYTES, blocks(1), false),
            Err(tag("concurrent_session_invalid_offset"))
        );
        session
            .append(3 * BLOCK_BYTES, received(b"tail"), true)
            .unwrap();
        assert_eq!(
            session.content(3 * BLOCK_BYTES + 4).unwrap_err(),
            tag("concurrent_session_missing_data")
        );
    }
}
