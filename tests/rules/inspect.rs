//! What the inspector says of archives: whole ones by the programs that make them, the same cut and damaged, and some made
//! to keep it busy.

use std::io::{Cursor, Read, Write};
use std::process::{Command, Stdio};
use std::{fs, iter};

use backup_sync_dropbox::inspect::{Flaw, Inspector, Verdict};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use proptest::prelude::*;

/// The verdict on a content that comes in pieces of these lengths, over and over.
fn verdict_in(content: &[u8], lengths: &[usize]) -> Verdict {
    let mut inspector = Inspector::default();
    let mut rest = content;
    for &length in lengths.iter().cycle() {
        let (piece, behind) = rest.split_at(length.clamp(1, 1 << 20).min(rest.len()));
        inspector.push(piece);
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    inspector.finish()
}

fn verdict(content: &[u8]) -> Verdict {
    verdict_in(content, &[256 * 1024])
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// What a program writes to standard output.
fn output(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}");
    output.stdout
}

/// Bytes that hardly shrink.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// A folder with files of several lengths, among them one with a long name and one with holes.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("below")).unwrap();
    for (name, length) in [
        ("a", 0),
        ("b", 1),
        ("c", 511),
        ("d", 512),
        ("below/e", 3000),
    ] {
        fs::write(path(name), noise(length, length as u64)).unwrap();
    }
    fs::write(path(&"long".repeat(40)), "x").unwrap();
    std::os::unix::fs::symlink("b", path("link")).unwrap();
    fs::hard_link(path("d"), path("same")).unwrap();
    let mut holes = fs::File::create(path("holes")).unwrap();
    for hole in 0..12 {
        use std::io::Seek;
        holes
            .seek(std::io::SeekFrom::Start(hole * 1024 * 1024))
            .unwrap();
        holes.write_all(b"content").unwrap();
    }
    folder
}

fn tar(options: &[&str]) -> Vec<u8> {
    let folder = folder();
    let place = folder.path().to_str().unwrap();
    output(
        "tar",
        &[&["-C", place, "-cf", "-"], options, &["."]].concat(),
        &[],
    )
}

const POSTGRES: &str = "--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 15.8\n\n\
    SET statement_timeout = 0;\nCOPY public.a (id) FROM stdin;\n1\n2\n\\.\n\n\n\
    --\n-- PostgreSQL database dump complete\n--\n\n";
const RESTRICTED: &str = "--\n-- PostgreSQL database dump\n--\n\n\\restrict 4bAc\n\nSELECT 1;\n\n\
    --\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict 4bAc\n\n";
const CLUSTER: &str = "--\n-- PostgreSQL database cluster dump\n--\n\n\\restrict k\n\nCREATE ROLE a;\n\n\
    \\unrestrict k\n\n\\connect a\n\n--\n-- PostgreSQL database dump\n--\n\n\\restrict l\n\n\
    --\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict l\n\n\
    --\n-- PostgreSQL database cluster dump complete\n--\n\n";
const MYSQL: &str = "-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n--\n-- Host: localhost\n\
    /*!40101 SET NAMES utf8 */;\nINSERT INTO a VALUES (1);\n-- Dump completed on 2026-11-27  2:00:01\n";
const MARIADB: &str = "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19-11.4.3-MariaDB\n--\n\
    INSERT INTO a VALUES (1);\n-- Dump completed on 2026-11-27  2:00:01\n";
const DUMPS: [&str; 5] = [POSTGRES, RESTRICTED, CLUSTER, MYSQL, MARIADB];

/// A zip archive of some files and a folder.
fn zipped(comment: &str, is_large: bool) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().large_file(is_large);
    writer.add_directory("below", options).unwrap();
    for (name, length) in [("a", 0), ("b", 1), ("below/c", 5000)] {
        writer.start_file(name, options).unwrap();
        writer.write_all(&noise(length, 1)).unwrap();
    }
    writer.set_comment(comment).unwrap();
    writer.finish().unwrap().into_inner()
}

/// Whole archives of every kind, small enough to be cut at each byte.
fn whole() -> Vec<(String, Vec<u8>)> {
    let plain = noise(3000, 7);
    let mut whole = vec![
        ("gzip of nothing".to_owned(), gzip(b"")),
        ("gzip".into(), gzip(&plain)),
        ("stored gzip".into(), {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
            encoder.write_all(&plain).unwrap();
            encoder.finish().unwrap()
        }),
        ("gzip of a tar".into(), gzip(&small_tar())),
        ("tar".into(), small_tar()),
        ("zip".into(), zipped("", false)),
        ("zip with a comment".into(), zipped("a comment", false)),
        ("large zip".into(), zipped("", true)),
    ];
    for dump in DUMPS {
        whole.push((format!("dump {dump:.60}"), dump.into()));
        whole.push((
            format!("gzip of the dump {dump:.60}"),
            gzip(dump.as_bytes()),
        ));
    }
    whole
}

/// A tar archive with nothing behind its two blocks of zeros.
fn small_tar() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), noise(700, 3)).unwrap();
    fs::write(folder.path().join("b"), "").unwrap();
    let place = folder.path().to_str().unwrap();
    output("tar", &["-b1", "-C", place, "-cf", "-", "a", "b"], &[])
}

#[test]
fn whole_archives_are_complete() {
    for (name, content) in whole() {
        assert_eq!(verdict(&content), Verdict::Complete, "{name}");
    }
}

#[test]
fn what_the_programs_make_is_complete() {
    for options in [
        &["--format=ustar", "--exclude=long*"][..],
        &["--format=gnu"],
        &["--format=gnu", "--sparse"],
        &["--format=posix", "--sparse"],
        &["--format=posix", "--sparse-version=0.0", "--sparse"],
        &["--format=posix", "-b1"],
    ] {
        let content = tar(options);
        assert_eq!(verdict(&content), Verdict::Complete, "{options:?}");
        let packed = output("gzip", &["-c"], &content);
        assert_eq!(verdict(&packed), Verdict::Complete, "{options:?}, gzip");
        let cut = &content[..content.len() / 2];
        assert_eq!(verdict(cut), Verdict::Suspect(Flaw::CutTar), "{options:?}");
    }
    for level in ["-1", "-9"] {
        let packed = output("gzip", &[level, "-c"], &noise(300_000, 2).repeat(3));
        assert_eq!(verdict(&packed), Verdict::Complete);
        let members = [&packed[..], &gzip(POSTGRES.as_bytes()), &[0; 700]].concat();
        assert_eq!(verdict(&members), Verdict::Complete);
    }
    let folder = folder();
    let packed = Command::new("zip")
        .args(["-q", "-r", "-", "."])
        .current_dir(folder.path())
        .output();
    match packed {
        Ok(packed) => assert_eq!(verdict(&packed.stdout), Verdict::Complete),
        Err(error) => eprintln!("SKIPPED: zip ({error})"),
    }
}

#[test]
fn cut_at_any_byte_nothing_is_complete() {
    for (name, content) in whole() {
        for end in 0..content.len() {
            // Of the closing comment of a dump nothing is lost by some dashes and line breaks.
            let is_rest = content[end..].iter().all(|byte| b"-\n".contains(byte));
            let is_whole = verdict(&content[..end]) == Verdict::Complete;
            assert!(
                !is_whole || name.starts_with("dump") && is_rest,
                "{name}, cut at {end}"
            );
        }
        let half = verdict(&content[..content.len() * 2 / 3]);
        assert!(half.flaw().is_some(), "{name}: {half:?}");
    }
}

#[test]
fn each_flaw_is_told() {
    let tar = small_tar();
    let mut damaged_tar = tar.clone();
    damaged_tar[3] ^= 1;
    let mut damaged_zip = zipped("", false);
    let end = damaged_zip.len();
    damaged_zip[end - 12] += 1;
    damaged_zip[end - 14] += 1;
    let mut damaged_gzip = gzip(&tar);
    let end = damaged_gzip.len();
    damaged_gzip[end - 8] ^= 1;
    let cut = |content: &[u8], by: usize| content[..content.len() - by].to_vec();
    for (content, flaw) in [
        (cut(&gzip(&tar), 1), Flaw::CutGzip),
        (damaged_gzip, Flaw::DamagedGzip),
        (
            [gzip(&tar), b"rubbish".to_vec()].concat(),
            Flaw::DamagedGzip,
        ),
        (cut(&tar, 1024), Flaw::CutTar),
        (gzip(&cut(&tar, 1025)), Flaw::CutTar),
        (gzip(&damaged_tar), Flaw::DamagedTar),
        (damaged_tar, Flaw::DamagedTar),
        (cut(&zipped("", false), 1), Flaw::CutZip),
        (damaged_zip, Flaw::DamagedZip),
        (cut(POSTGRES.as_bytes(), 45), Flaw::CutDump),
        (gzip(&cut(MYSQL.as_bytes(), 45)), Flaw::CutDump),
    ] {
        let found = verdict(&content);
        assert_eq!(found.flaw().map(Flaw::text), Some(flaw.text()));
    }
}

#[test]
fn what_may_be_whole_is_not_suspect() {
    let tar = small_tar();
    let lone_block = &tar[..tar.len() - 512];
    let appended = format!("{POSTGRES}{}", "GRANT SELECT ON a TO b;\n".repeat(100));
    let stripped = POSTGRES.trim_end_matches(['\n', '-']);
    let contents = [
        &b""[..],
        b"text",
        b"SELECT 1;\n",
        b"INSERT INTO a VALUES (1);\n-- MySQL dump\n",
        &noise(100_000, 1),
        b"PK\x07\x08 the first of several volumes",
        lone_block,
        appended.as_bytes(),
        stripped.as_bytes(),
        &[&tar[..], &tar[..]].concat(),
        &[&zipped("", false)[..], b"behind it"].concat(),
    ];
    for (number, content) in contents.into_iter().enumerate() {
        assert_eq!(verdict(content), Verdict::NotChecked, "number {number}");
    }
}

#[test]
fn what_is_made_to_keep_it_busy_is_not_checked() {
    // A gigabyte of zeros; unpacked whole it would take a hundred times as long as what is allowed.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    (0..1024).for_each(|_| encoder.write_all(&zeros).unwrap());
    let bomb = encoder.finish().unwrap();
    let mut inspector = Inspector::default();
    let mut read = 0;
    for piece in bomb.chunks(4096) {
        inspector.push(piece);
        read += piece.len();
        if inspector.is_settled() {
            break;
        }
    }
    assert!(read < bomb.len() / 5, "{read} of {}", bomb.len());
    assert_eq!(inspector.finish(), Verdict::NotChecked);
    // Unpacked twice it would be much; once it is little.
    assert_eq!(verdict(&gzip(&bomb)), Verdict::Complete);

    // Headers without end: nothing of them is kept.
    let header = &small_tar()[1536..2048];
    let mut inspector = Inspector::default();
    let many = header.repeat(1000);
    (0..50).for_each(|_| inspector.push(&many));
    assert_eq!(inspector.finish(), Verdict::Suspect(Flaw::CutTar));

    // An extended header that is as long as an archive.
    let mut huge = small_tar();
    huge[156] = b'x';
    huge[124..136].copy_from_slice(b"00077777777\0");
    let sum: u32 = (0..512)
        .map(|at| match at {
            148..156 => u32::from(b' '),
            at => u32::from(huge[at]),
        })
        .sum();
    huge[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(verdict(&huge), Verdict::NotChecked);

    // A zip archive with more entries than it keeps in mind.
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for number in 0..20_000 {
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file(format!("{number:060}"), options).unwrap();
    }
    let many = writer.finish().unwrap().into_inner();
    assert_eq!(verdict(&many), Verdict::NotChecked);
    assert_eq!(
        verdict(&many[..many.len() - 1]),
        Verdict::Suspect(Flaw::CutZip)
    );
}

/// What can be read of a gzip file by another program.
fn unpacked(content: &[u8]) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    let read = MultiGzDecoder::new(content).read_to_end(&mut unpacked);
    read.ok().map(|_| unpacked)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_pieces_do_not_matter(
        lengths in prop::collection::vec(1_usize..2000, 1..6),
        cut in prop::option::of(0.0..1.0),
    ) {
        for (name, mut content) in whole() {
            if let Some(cut) = cut {
                content.truncate((content.len() as f64 * cut) as usize);
            }
            prop_assert_eq!(verdict_in(&content, &lengths), verdict(&content), "{}", name);
        }
    }

    #[test]
    fn a_byte_that_flipped_in_gzip_is_found(
        content in prop::collection::vec(0..20_u8, 1..5000),
        at in 0.0..1.0,
        flip in 1..=255_u8,
    ) {
        let mut packed = gzip(&content);
        // The header has bytes that mean nothing.
        let at = 10 + ((packed.len() - 10) as f64 * at) as usize;
        packed[at] ^= flip;
        let is_found = verdict(&packed).flaw().is_some();
        // Some bits between the blocks are not used.
        prop_assert!(is_found || unpacked(&packed) == Some(content));
    }

    #[test]
    fn anything_is_survived(
        start in prop::sample::select(whole()),
        changes in prop::collection::vec((0.0..1.0, any::<u8>()), 0..20),
        rest in prop::collection::vec(any::<u8>(), 0..2000),
        lengths in prop::collection::vec(1_usize..2000, 1..4),
    ) {
        let (_, mut content) = start;
        for (at, byte) in changes {
            let at = (content.len() as f64 * at) as usize;
            content[at] = byte;
        }
        content.extend(rest);
        prop_assert_eq!(verdict_in(&content, &lengths), verdict(&content));
    }

    #[test]
    fn tar_and_dumps_in_gzip_are_as_they_are_outside(cut in 0.0..1.0) {
        for content in DUMPS.map(|dump| dump.as_bytes().to_vec()).into_iter().chain([small_tar()]) {
            let cut = &content[..(content.len() as f64 * cut) as usize];
            let outside = verdict(cut);
            let inside = verdict(&gzip(cut));
            // What is not recognised has gzip's proof alone.
            let is_same = inside == outside || outside == Verdict::NotChecked && inside == Verdict::Complete;
            prop_assert!(is_same, "{outside:?} {inside:?}");
        }
    }
}
