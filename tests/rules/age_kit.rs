//! The test kit of the age format (C2SP/CCTV), which the crate `age` has in its package: a small reader of payloads, which
//! knows nothing of how we write them, reads the kit as it must be read, and what we write as well.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use age::x25519::Identity;
use backup_sync_dropbox::age::{CHUNK_BYTES, Recipients, Seal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use flate2::read::ZlibDecoder;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, Salt};
use serde_json::Value;

const NONCE_BYTES: usize = 16;
const TAG_BYTES: usize = 16;

/// The content of a file in the age format, by its file key: the STREAM of ChaCha20-Poly1305 behind the header, whose end is
/// the line with its MAC. `None` if it is not just that.
fn opened(file: &[u8], file_key: &[u8]) -> Option<Vec<u8>> {
    let mac = file.windows(5).position(|window| window == b"\n--- ")? + 1;
    let header = mac + file[mac..].iter().position(|&byte| byte == b'\n')? + 1;
    let (nonce, payload) = file[header..].split_at_checked(NONCE_BYTES)?;
    let mut key = [0; 32];
    let derived = Salt::new(HKDF_SHA256, nonce).extract(file_key);
    let derived = derived.expand(&[b"payload"], HKDF_SHA256).unwrap();
    derived.fill(&mut key).unwrap();
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).unwrap());
    let mut content = Vec::new();
    let count = payload.len().div_ceil(CHUNK_BYTES + TAG_BYTES).max(1);
    for number in 0..count {
        let rest = &payload[number * (CHUNK_BYTES + TAG_BYTES)..];
        let is_last = number + 1 == count;
        let mut chunk = rest[..rest.len().min(CHUNK_BYTES + TAG_BYTES)].to_vec();
        let mut nonce = [0; NONCE_LEN];
        nonce[3..11].copy_from_slice(&(number as u64).to_be_bytes());
        nonce[11] = u8::from(is_last);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = key.open_in_place(nonce, Aad::empty(), &mut chunk).ok()?;
        if plain.is_empty() && number > 0 {
            return None;
        }
        content.extend_from_slice(plain);
    }
    Some(content)
}

/// A file of the kit.
struct Vector {
    name: String,
    is_good: bool,
    /// SHA-256 of the content, or of what comes before the fault.
    hash: String,
    file_key: Vec<u8>,
    file: Vec<u8>,
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

/// A vector that is good, or whose payload is bad, for an X25519 identity, not armored, and with its file key.
fn vector(path: &Path) -> Option<Vector> {
    let whole = fs::read(path).unwrap();
    let end = whole
        .windows(2)
        .position(|window| window == b"\n\n")
        .unwrap();
    let fields = std::str::from_utf8(&whole[..end]).unwrap();
    let field = |wanted: &str| {
        let mut fields = fields.lines().filter_map(|line| line.split_once(": "));
        fields
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value)
    };
    let is_good = match field("expect").unwrap() {
        "success" => true,
        "payload failure" => false,
        _ => return None,
    };
    if field("armored").is_some() || !field("identity")?.starts_with("AGE-SECRET-KEY-1") {
        return None;
    }
    let mut file = whole[end + 2..].to_vec();
    if let Some(compression) = field("compressed") {
        assert_eq!(compression, "zlib");
        let mut plain = Vec::new();
        ZlibDecoder::new(&file[..]).read_to_end(&mut plain).unwrap();
        file = plain;
    }
    Some(Vector {
        name: path.file_name().unwrap().to_str().unwrap().to_owned(),
        is_good,
        hash: field("payload").unwrap().to_owned(),
        file_key: bytes(field("file key")?),
        file,
    })
}

/// The kit. Where this was compiled the package is on the disk, also without a network; if it has gone since, the test fails.
fn kit() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Packages that only other systems need may not be there.
    let here = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--offline", "--format-version=1"])
        .args(["--filter-platform", &here])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let package = packages.find(|package| package["name"] == "age").unwrap();
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    manifest.with_file_name("tests/testdata/testkit")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_kit_is_read_as_it_must_be() {
    let kit = kit();
    let entries = fs::read_dir(&kit);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", kit.display()));
    let vectors = entries.filter_map(|entry| vector(&entry.unwrap().path()));
    let (good, bad): (Vec<Vector>, Vec<Vector>) = vectors.partition(|vector| vector.is_good);
    for vector in &good {
        let content = opened(&vector.file, &vector.file_key);
        let content = content.unwrap_or_else(|| panic!("{} cannot be read", vector.name));
        assert_eq!(
            hex(digest(&SHA256, &content).as_ref()),
            vector.hash,
            "{}",
            vector.name
        );
    }
    for vector in &bad {
        let content = opened(&vector.file, &vector.file_key);
        assert!(content.is_none(), "{} is read", vector.name);
    }
    // Version 0.12 has so many; more may come, none may be missing.
    assert!(
        good.len() >= 14 && bad.len() >= 18,
        "{} {}",
        good.len(),
        bad.len()
    );
}

#[test]
fn the_same_reader_reads_what_we_write() {
    let recipient = Identity::generate().to_public().to_string();
    let recipients = Recipients::parse(&recipient).unwrap().unwrap();
    for length in [
        0,
        1,
        CHUNK_BYTES - 1,
        CHUNK_BYTES,
        CHUNK_BYTES + 1,
        2 * CHUNK_BYTES,
        300_000,
    ] {
        let content: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let seal = Seal::new(&recipients).unwrap();
        let mut sealed = Vec::new();
        let mut stream = seal.sealer().unwrap().over(&content[..]);
        stream.read_to_end(&mut sealed).unwrap();
        let stored = serde_json::to_value(&seal).unwrap();
        let file_key = stored["file_key"].as_str().unwrap();
        let file_key = STANDARD_NO_PAD.decode(file_key).unwrap();
        assert!(
            opened(&sealed, &file_key).as_ref() == Some(&content),
            "{length}"
        );
        sealed.pop();
        assert_eq!(opened(&sealed, &file_key), None);
    }
}
