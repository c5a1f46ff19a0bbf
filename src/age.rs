//! Seals content in the age format, version 1, to X25519 recipients: <https://c2sp.org/age@v1.0.0>. Pure, but for
//! the random numbers.
//!
//! Only the owner's identity opens what is sealed, and it never is on this machine. The crate `age` draws its keys itself, so
//! that it cannot write the same bytes twice, which going on with an upload needs; hence this writer.
//! It stands on the primitives of ring, which TLS uses anyway.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, ErrorKind, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use bech32::Bech32;
use bech32::primitives::decode::CheckedHrpstring;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};

/// The ending of a sealed file's name.
pub const ENDING: &str = ".age";

/// Plaintext in a chunk; the last one may have less.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// What authentication adds to a chunk.
const TAG_BYTES: usize = 16;
const VERSION_LINE: &str = "age-encryption.org/v1\n";
const X25519_LABEL: &[u8] = b"age-encryption.org/v1/X25519";
const KEY_BYTES: usize = 32;
const FILE_KEY_BYTES: usize = 16;
const NONCE_BYTES: usize = 16;
/// More recipients than this are a mistake.
const RECIPIENTS_MAX: usize = 20;

/// Those who can open what is sealed: the X25519 public keys `age1...`. At least one, none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipients(BTreeSet<[u8; KEY_BYTES]>);

/// Why a text names no recipients that can be used. Nothing of it is quoted: it may be a secret key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// `AGE-SECRET-KEY-1...`, which must not be on this machine.
    #[error(
        "it holds a secret key (AGE-SECRET-KEY-1...), which opens everything and must never be on this machine"
    )]
    Identity,
    /// `age1pq1...`.
    #[error("entry {0} is a post-quantum key, which this version cannot use")]
    PostQuantum(usize),
    /// `ssh-ed25519 ...` and the like.
    #[error("entry {0} is an SSH key, which this version cannot use")]
    Ssh(usize),
    /// `age1yubikey1...` and the like.
    #[error("entry {0} is a key of an age plugin, which this version cannot use")]
    Plugin(usize),
    /// Anything else.
    #[error("entry {0} cannot be read; a letter may be wrong or missing")]
    Unreadable(usize),
    /// Nothing but comments.
    #[error("it names no key at all")]
    Nobody,
    /// More than anybody has.
    #[error("it names more than {RECIPIENTS_MAX} keys")]
    TooMany,
}

/// The system has no random numbers, or a recipient's key is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the content could not be sealed to all of the recipients")]
pub struct CannotSeal;

impl From<ring::error::Unspecified> for CannotSeal {
    fn from(_: ring::error::Unspecified) -> Self {
        Self
    }
}

/// The entries of a text area, each with its place in it, from 1: separated by white space or commas; `#` begins a comment.
fn entries(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(line));
    let words = lines.flat_map(|line| {
        // An SSH key is several words.
        let is_ssh = line.trim_start().starts_with("ssh-");
        let is_end = move |c: char| !is_ssh && (c == ',' || c.is_whitespace());
        line.split(is_end)
    });
    let entries = words.map(str::trim).filter(|word| !word.is_empty());
    entries.enumerate().map(|(index, word)| (index + 1, word))
}

const IDENTITY_START: &str = "AGE-SECRET-KEY-";

/// The text with a comment in the place of each secret key, or `None` if it has none.
pub fn without_identities(text: &str) -> Option<String> {
    let mut cleaned = text.to_owned();
    let mut has_any = false;
    // Also in a comment, or within another word, it would be a secret in a form.
    while let Some(start) = cleaned.to_ascii_uppercase().find(IDENTITY_START) {
        has_any = true;
        let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
        let length = cleaned[start..].find(is_end);
        let end = length.map_or(cleaned.len(), |length| start + length);
        cleaned.replace_range(start..end, "\n# A secret key was removed here.\n");
    }
    has_any.then(|| cleaned.trim().to_owned())
}

impl Recipients {
    /// Reads recipients out of a text; `None` if it is blank.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Option<Self>, Vec<Unusable>> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        if without_identities(text).is_some() {
            return Err(vec![Unusable::Identity]);
        }
        let (mut keys, mut problems) = (BTreeSet::new(), Vec::new());
        for (place, entry) in entries(text) {
            match key(place, entry) {
                Ok(key) => {
                    keys.insert(key);
                }
                Err(problem) => problems.push(problem),
            }
        }
        match keys.len() {
            _ if !problems.is_empty() => Err(problems),
            0 => Err(vec![Unusable::Nobody]),
            1..=RECIPIENTS_MAX => Ok(Some(Self(keys))),
            _ => Err(vec![Unusable::TooMany]),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// A short text that other recipients do not have, whatever the order in which they are named.
    pub fn fingerprint(&self) -> String {
        let mut all = digest::Context::new(&digest::SHA256);
        self.0.iter().for_each(|key| all.update(key));
        BASE64.encode(&all.finish().as_ref()[..12])
    }
}

/// The public key in an entry.
fn key(place: usize, entry: &str) -> Result<[u8; KEY_BYTES], Unusable> {
    if entry.starts_with("ssh-") {
        return Err(Unusable::Ssh(place));
    }
    // The last 1 ends the kind of the key.
    match entry.rsplit_once('1') {
        Some(("age", _)) => {}
        Some((kind, _)) if kind.starts_with("age1pq") => return Err(Unusable::PostQuantum(place)),
        Some((kind, _)) if kind.starts_with("age1") => return Err(Unusable::Plugin(place)),
        _ => return Err(Unusable::Unreadable(place)),
    }
    let decoded = CheckedHrpstring::new::<Bech32>(entry);
    let decoded = decoded.map_err(|_| Unusable::Unreadable(place))?;
    let bytes: Vec<u8> = decoded.byte_iter().collect();
    bytes.try_into().map_err(|_| Unusable::Unreadable(place))
}

/// What the content of one file is sealed with. With the same one the same content becomes the same bytes; **two
/// contents must never be sealed with the same one**, because both could be read then.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The recipients' fingerprint.
    pub recipients: String,
    /// The file's beginning, which gives the key to the recipients.
    header: String,
    #[serde(with = "as_base64")]
    nonce: [u8; NONCE_BYTES],
    #[serde(with = "as_base64")]
    file_key: [u8; FILE_KEY_BYTES],
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal")
            .field("recipients", &self.recipients)
            .finish_non_exhaustive()
    }
}

impl Seal {
    /// A new one, with a new key.
    ///
    /// # Errors
    /// [`CannotSeal`].
    pub fn new(recipients: &Recipients) -> Result<Self, CannotSeal> {
        let random = SystemRandom::new();
        let (mut file_key, mut nonce) = ([0; FILE_KEY_BYTES], [0; NONCE_BYTES]);
        random.fill(&mut file_key)?;
        random.fill(&mut nonce)?;
        let mut header = String::from(VERSION_LINE);
        for recipient in &recipients.0 {
            header.push_str(&stanza(recipient, &file_key, &random)?);
        }
        header.push_str("---");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &derived(&file_key, &[], b"header")?);
        let mac = hmac::sign(&key, header.as_bytes());
        header.push_str(&format!(" {}\n", BASE64.encode(mac)));
        Ok(Self {
            recipients: recipients.fingerprint(),
            header,
            nonce,
            file_key,
        })
    }

    /// What seals with it.
    ///
    /// # Errors
    /// [`CannotSeal`].
    pub fn sealer(&self) -> Result<Sealer, CannotSeal> {
        let key = derived(&self.file_key, &self.nonce, b"payload")?;
        let mut preamble = self.header.clone().into_bytes();
        preamble.extend(self.nonce);
        Ok(Sealer {
            preamble,
            key: LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key)?),
        })
    }
}

/// Seals a content, as often as it is read.
#[derive(Clone, Debug)]
pub struct Sealer {
    /// Header and nonce, with which the sealed content begins.
    preamble: Vec<u8>,
    key: LessSafeKey,
}

impl Sealer {
    /// `content`, sealed while it is read.
    pub fn over<R: Read>(&self, content: R) -> Sealed<R> {
        Sealed {
            content: Some(content),
            key: self.key.clone(),
            chunk: 0,
            ahead: None,
            ready: self.preamble.clone(),
            given: 0,
            is_at_its_end: false,
        }
    }

    /// How many bytes `length` bytes become.
    pub fn sealed_length(&self, length: u64) -> u64 {
        let chunks = length.div_ceil(CHUNK_BYTES as u64).max(1);
        self.preamble.len() as u64 + length + chunks * TAG_BYTES as u64
    }
}

/// What gives the file key to one recipient.
fn stanza(
    recipient: &[u8; KEY_BYTES],
    file_key: &[u8],
    random: &SystemRandom,
) -> Result<String, CannotSeal> {
    let own = EphemeralPrivateKey::generate(&X25519, random)?;
    let share = own.compute_public_key()?;
    let recipient = UnparsedPublicKey::new(&X25519, recipient);
    let salt = [share.as_ref(), &recipient.bytes()[..]].concat();
    let wrapping = agree_ephemeral(own, &recipient, |secret| {
        derived(secret, &salt, X25519_LABEL)
    })??;
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &wrapping)?);
    let mut body = file_key.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut body)?;
    Ok(format!(
        "-> X25519 {}\n{}\n",
        BASE64.encode(share),
        BASE64.encode(body)
    ))
}

fn derived(secret: &[u8], salt: &[u8], label: &[u8]) -> Result<[u8; KEY_BYTES], CannotSeal> {
    let mut key = [0; KEY_BYTES];
    let pseudorandom = Salt::new(HKDF_SHA256, salt).extract(secret);
    pseudorandom.expand(&[label], HKDF_SHA256)?.fill(&mut key)?;
    Ok(key)
}

/// A content that is sealed while it is read.
pub struct Sealed<R> {
    /// None any more once reading or sealing has failed: what was read of a chunk is lost.
    content: Option<R>,
    key: LessSafeKey,
    /// Number of the next chunk.
    chunk: u64,
    /// The first byte of the next chunk: whether there is one tells whether a chunk is the last.
    ahead: Option<u8>,
    /// Sealed bytes that found no room, of which so many were given away since.
    ready: Vec<u8>,
    given: usize,
    is_at_its_end: bool,
}

impl<R: Read> Sealed<R> {
    /// Seals the next chunk into `room`, which is large enough for any; returns its length.
    fn seal_next(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let gone = || io::Error::from(ErrorKind::BrokenPipe);
        let mut content = self.content.take().ok_or_else(gone)?;
        let mut filled = 0;
        if let Some(first) = self.ahead.take() {
            room[0] = first;
            filled = 1;
        }
        filled += fill(&mut content, &mut room[filled..CHUNK_BYTES])?;
        let mut next = [0];
        if filled == CHUNK_BYTES && fill(&mut content, &mut next)? == 1 {
            self.ahead = Some(next[0]);
        }
        self.is_at_its_end = self.ahead.is_none();
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.chunk.to_be_bytes());
        nonce[11] = u8::from(self.is_at_its_end);
        self.chunk += 1;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = &mut room[..filled];
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), plain);
        let tag = tag.map_err(|_| io::Error::new(ErrorKind::InvalidData, CannotSeal))?;
        room[filled..filled + TAG_BYTES].copy_from_slice(tag.as_ref());
        self.content = Some(content);
        Ok(filled + TAG_BYTES)
    }
}

impl<R: Read> Read for Sealed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.ready.len() && !self.is_at_its_end {
            if buffer.len() >= CHUNK_BYTES + TAG_BYTES {
                return self.seal_next(buffer);
            }
            let mut ready = std::mem::take(&mut self.ready);
            self.given = 0;
            ready.resize(CHUNK_BYTES + TAG_BYTES, 0);
            let length = self.seal_next(&mut ready)?;
            ready.truncate(length);
            self.ready = ready;
        }
        let ready = &self.ready[self.given..];
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.given += count;
        Ok(count)
    }
}

/// Reads until `buffer` is full or the content ends; returns the length of what was read.
fn fill(content: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match content.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A short content, sealed, as text without line breaks.
///
/// # Errors
/// [`CannotSeal`].
pub fn sealed_text(text: &str, recipients: &Recipients) -> Result<String, CannotSeal> {
    let mut sealed = Vec::new();
    let sealer = Seal::new(recipients)?.sealer()?;
    let mut content = sealer.over(text.as_bytes());
    content.read_to_end(&mut sealed).map_err(|_| CannotSeal)?;
    Ok(base64::engine::general_purpose::STANDARD.encode(sealed))
}

mod as_base64 {
    //! Bytes as text.

    use base64::Engine as _;
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::BASE64;

    pub fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64.decode(text).map_err(de::Error::custom)?;
        let wrong = |_| de::Error::custom("the number of bytes is wrong");
        bytes.try_into().map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use age::x25519::Identity;
    use proptest::prelude::*;

    use super::*;

    fn recipients(identities: &[Identity]) -> Recipients {
        let keys = identities
            .iter()
            .map(|identity| identity.to_public().to_string());
        let text = keys.collect::<Vec<_>>().join(", ");
        Recipients::parse(&text).unwrap().unwrap()
    }

    fn seal(content: &[u8], recipients: &Recipients) -> (Vec<u8>, Sealer) {
        let sealer = Seal::new(recipients).unwrap().sealer().unwrap();
        let mut sealed = Vec::new();
        sealer.over(content).read_to_end(&mut sealed).unwrap();
        (sealed, sealer)
    }

    #[test]
    fn each_recipient_opens_what_is_sealed_and_its_length_is_known_before() {
        const MIB: usize = 1024 * 1024;
        for count in [1, 3] {
            let identities: Vec<Identity> = (0..count).map(|_| Identity::generate()).collect();
            let recipients = recipients(&identities);
            assert_eq!(recipients.count(), count);
            for length in [
                0,
                1,
                CHUNK_BYTES - 1,
                CHUNK_BYTES,
                CHUNK_BYTES + 1,
                2 * CHUNK_BYTES,
                300_000,
                4 * MIB - 1,
                4 * MIB,
                4 * MIB + 1,
            ] {
                let content: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
                let (sealed, sealer) = seal(&content, &recipients);
                let chunks = length.div_ceil(CHUNK_BYTES).max(1);
                let expected = 168 + 98 * (count - 1) + 16 + length + 16 * chunks;
                assert_eq!(sealed.len(), expected, "{length} bytes, {count} recipients");
                assert_eq!(sealer.sealed_length(length as u64), expected as u64);
                for identity in &identities {
                    assert!(
                        age::decrypt(identity, &sealed).unwrap() == content,
                        "{length} bytes"
                    );
                }
                assert!(age::decrypt(&Identity::generate(), &sealed).is_err());
            }
        }
    }

    #[test]
    fn a_seal_gives_the_same_bytes_again_also_from_the_disk_and_another_gives_others() {
        let recipients = recipients(&[Identity::generate()]);
        let first = Seal::new(&recipients).unwrap();
        let stored: Seal = serde_json::from_str(&serde_json::to_string(&first).unwrap()).unwrap();
        let sealed = |seal: &Seal| {
            let mut sealed = Vec::new();
            let content = &[7; 200_000][..];
            seal.sealer()
                .unwrap()
                .over(content)
                .read_to_end(&mut sealed)
                .unwrap();
            sealed
        };
        assert!(sealed(&first) == sealed(&stored));
        assert!(sealed(&first) != sealed(&Seal::new(&recipients).unwrap()));
        let shown = format!("{first:?}");
        assert!(
            !shown.contains("key") && shown.contains(&first.recipients),
            "{shown}"
        );
    }

    #[test]
    fn a_short_text_is_sealed_in_one_line() {
        let identity = Identity::generate();
        let sealed = sealed_text("word\n", &recipients(std::slice::from_ref(&identity))).unwrap();
        assert!(!sealed.contains('\n'));
        let sealed = base64::engine::general_purpose::STANDARD
            .decode(sealed)
            .unwrap();
        assert_eq!(age::decrypt(&identity, &sealed).unwrap(), b"word\n");
    }

    #[test]
    fn recipients_are_read_in_every_form_and_told_apart_whatever_their_order() {
        let keys: Vec<String> = (0..2)
            .map(|_| Identity::generate().to_public().to_string())
            .collect();
        let (one, other) = (&keys[0], &keys[1]);
        let both = Recipients::parse(&format!("{one} {other}"))
            .unwrap()
            .unwrap();
        for text in [
            format!("{other}\r\n{one}\r\n"),
            format!("{one},{other},{one}"),
            format!("# the office\n{one} # and the safe:\n  {other}\n"),
            format!("{one}\t,  {other}"),
        ] {
            let read = Recipients::parse(&text).unwrap().unwrap();
            assert_eq!(read, both);
            assert_eq!(read.fingerprint(), both.fingerprint());
        }
        let single = Recipients::parse(one).unwrap().unwrap();
        assert_ne!(single.fingerprint(), both.fingerprint());
        assert_eq!(Recipients::parse(" \n"), Ok(None));
    }

    #[test]
    fn what_is_no_recipient_is_named_by_its_place_and_never_quoted() {
        let good = Identity::generate().to_public().to_string();
        let mut wrong = good.clone();
        let last = wrong.pop().unwrap();
        wrong.push(if last == 'q' { 'p' } else { 'q' });
        for (text, expected) in [
            (format!("{good} {wrong}"), vec![Unusable::Unreadable(2)]),
            (good.to_ascii_uppercase(), vec![Unusable::Unreadable(1)]),
            (
                format!("nonsense\n{good}, x"),
                vec![Unusable::Unreadable(1), Unusable::Unreadable(3)],
            ),
            (
                format!("{good}\nssh-ed25519 AAAA me@box"),
                vec![Unusable::Ssh(2)],
            ),
            ("age1pq1qqqq".into(), vec![Unusable::PostQuantum(1)]),
            ("age1yubikey1qqqq".into(), vec![Unusable::Plugin(1)]),
            ("# nothing yet".into(), vec![Unusable::Nobody]),
            (good[..40].into(), vec![Unusable::Unreadable(1)]),
        ] {
            let problems = Recipients::parse(&text).unwrap_err();
            assert_eq!(problems, expected, "{text}");
            for problem in problems {
                assert!(!problem.to_string().contains(&good[5..20]), "{problem}");
            }
        }
        let many: Vec<String> = (0..21)
            .map(|_| Identity::generate().to_public().to_string())
            .collect();
        assert_eq!(
            Recipients::parse(&many.join(" ")),
            Err(vec![Unusable::TooMany])
        );
    }

    #[test]
    fn a_secret_key_is_recognised_wherever_it_stands_and_taken_out() {
        let good = Identity::generate().to_public().to_string();
        let secret = "AGE-SECRET-KEY-1FAKEFAKEFAKE";
        for text in [
            secret.to_owned(),
            secret.to_ascii_lowercase(),
            format!("{good}\n{secret}"),
            format!("# {secret}\n{good}"),
            format!("key={secret},{good}"),
        ] {
            assert_eq!(
                Recipients::parse(&text),
                Err(vec![Unusable::Identity]),
                "{text}"
            );
            let cleaned = without_identities(&text).unwrap();
            assert!(!cleaned.to_ascii_uppercase().contains("FAKE"), "{cleaned}");
            assert_eq!(cleaned.contains(&good), text.contains(&good), "{cleaned}");
            assert_eq!(without_identities(&cleaned), None);
            assert_ne!(
                Recipients::parse(&cleaned),
                Ok(None),
                "nothing is sent unsealed because of it"
            );
        }
        assert_eq!(without_identities(&good), None);
    }

    /// Gives its bytes in pieces of any size.
    struct Pieces<'a>(&'a [u8], Vec<usize>);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.1.pop().unwrap_or(usize::MAX).max(1);
            let count = most.min(buffer.len()).min(self.0.len());
            let (piece, rest) = self.0.split_at(count);
            buffer[..count].copy_from_slice(piece);
            self.0 = rest;
            Ok(count)
        }
    }

    /// Breaks off in the middle of a chunk, and would go on.
    struct Broken(bool);

    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let is_first = !std::mem::replace(&mut self.0, true);
            let count = buffer.len().min(1000);
            buffer[..count].fill(7);
            is_first
                .then_some(count)
                .ok_or(ErrorKind::ConnectionReset.into())
        }
    }

    #[test]
    fn what_breaks_off_is_given_to_nobody_unsealed() {
        let recipients = recipients(&[Identity::generate()]);
        let sealer = Seal::new(&recipients).unwrap().sealer().unwrap();
        // By way of a small buffer, and straight into a large one.
        for room in [1, 1000, 200_000] {
            let mut sealed = sealer.over(Broken(false));
            let mut buffer = vec![0; room];
            let mut given = 0;
            for failures in 0..3 {
                while let Ok(count) = sealed.read(&mut buffer) {
                    assert!(failures == 0 && count > 0, "{room}: the end is not told");
                    given += count;
                }
            }
            assert_eq!(given, sealer.preamble.len(), "{room}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn pieces_make_no_difference(
            length in 0..3 * CHUNK_BYTES,
            pieces in prop::collection::vec(1..100_000usize, 0..20),
            reads in prop::collection::vec(1..100_000usize, 1..20),
        ) {
            let recipients = recipients(&[Identity::generate()]);
            let content = vec![1; length];
            let (whole, sealer) = seal(&content, &recipients);
            let mut sealed: Vec<u8> = Vec::new();
            let mut stream = sealer.over(Pieces(&content, pieces));
            for size in reads.iter().cycle() {
                let mut buffer = vec![0; *size];
                let count = stream.read(&mut buffer).unwrap();
                if count == 0 {
                    break;
                }
                sealed.extend(&buffer[..count]);
            }
            prop_assert!(sealed == whole);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = Recipients::parse(&text);
            if let Some(cleaned) = without_identities(&text) {
                prop_assert!(without_identities(&cleaned).is_none());
            }
        }
    }
}
