//! `download`: what comes back is what was mirrored, whatever happens on the way.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sandbox::dropbox::faults;
use sandbox::http::{Action, Gate, On};
use sandbox::uisp::Backup;
use serde_json::json;

use super::{MIB, Told, generous, tell, tell_well};
use crate::support::{PATIENCE, World};

const DOWNLOAD: &str = "files/download";
/// Several pieces, and not a whole number of blocks.
const SIZE: u64 = 9 * MIB + 12345;

/// A world with three mirrored backups, and a folder to download to.
struct Scene {
    world: World,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let world = generous();
        world.add_backups(1, 3, SIZE);
        world.run_well();
        Self {
            world,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command();
        command
            .arg("download")
            .args(arguments)
            .current_dir(self.folder.path());
        command
    }

    fn download(&self, arguments: &[&str]) -> Told {
        Told::of(self.command(arguments).output().unwrap())
    }

    /// What is in the folder, by name.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The part of a download of this target.
    fn part(&self) -> PathBuf {
        let names = self.names();
        let part = names.iter().find(|name| name.ends_with(".part"));
        self.path(part.unwrap_or_else(|| panic!("no part in {names:?}")))
    }
}

fn bytes_of(number: u32) -> Vec<u8> {
    Backup::numbered(number, SIZE).bytes()
}

#[track_caller]
fn assert_content(path: &Path, number: u32) {
    assert!(
        fs::read(path).unwrap() == bytes_of(number),
        "{} is wrong",
        path.display()
    );
}

#[test]
fn latest_is_the_newest() {
    let scene = Scene::new();
    let told = scene.download(&["latest"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    told.assert_line(&[
        "Downloaded \"unms-backup-20260104-0012_",
        "its content hash is right",
    ]);
    let names = scene.names();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].contains("000000000003.unms"));
    assert_content(&scene.path(&names[0]), 3);
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(scene.path(&names[0])).unwrap());
    assert_eq!(mode & 0o777, 0o600, "a backup holds passwords");
}

#[test]
fn a_name_a_part_or_an_id_is_enough() {
    let scene = Scene::new();
    let name = scene.world.dropbox.paths()[1][1..].to_owned();
    for wanted in [
        name.as_str(),
        &Backup::numbered(2, 0).id,
        "20260103-0012",
        "000000000002.UNMS",
    ] {
        let told = scene.download(&[wanted, "here"]);
        assert_eq!(told.code, Some(0), "{wanted} {told:?}");
        assert_content(&scene.path("here"), 2);
        fs::remove_file(scene.path("here")).unwrap();
    }
    let told = scene.download(&["unms-backup"]);
    assert_eq!(told.code, Some(1));
    assert!(
        told.err.contains("Several backups") && told.err.contains("Give more of the name"),
        "{told:?}"
    );
    let told = scene.download(&["nothing-like-it"]);
    assert_eq!(told.code, Some(1));
    assert!(
        told.err.contains("no backup \"nothing-like-it\""),
        "{told:?}"
    );
    assert!(scene.names().is_empty());
}

#[test]
fn standard_output_gets_nothing_but_the_content() {
    let scene = Scene::new();
    scene
        .world
        .dropbox
        .inject(On::next(DOWNLOAD), Action::ResetMidResponse(3 * MIB + 17));
    let output = scene.command(&["latest", "-"]).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.stdout == bytes_of(3));
    assert!(scene.names().is_empty());
}

#[test]
fn a_wrong_content_on_standard_output_is_an_error() {
    let scene = Scene::new();
    let file = &scene.world.dropbox.files()[2];
    let bytes = vec![7; SIZE as usize];
    scene
        .world
        .dropbox
        .inject(On::every(DOWNLOAD), answer(&file.rev, bytes));
    let output = scene.command(&["latest", "-"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Do not use it"));
}

/// A download that succeeds, with this content under this revision.
fn answer(rev: &str, body: Vec<u8>) -> Action {
    Action::Status {
        code: 200,
        headers: vec![("Dropbox-API-Result".into(), json!({"rev": rev}).to_string())],
        body,
    }
}

#[test]
fn interruptions_do_not_start_it_over() {
    let scene = Scene::new();
    let dropbox = &scene.world.dropbox;
    dropbox.inject(On::next(DOWNLOAD), Action::TruncateResponse(2 * MIB + 5));
    dropbox.inject(
        On::next(DOWNLOAD),
        Action::json(500, &json!({"error": "no"})),
    );
    dropbox.inject(On::next(DOWNLOAD), faults::too_many_requests(Some(2)));
    dropbox.inject(On::next(DOWNLOAD), Action::ResetMidResponse(MIB));
    dropbox.expire_access_tokens();
    let told = scene.download(&["latest", "here"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_content(&scene.path("here"), 3);
    let sent: u64 = dropbox
        .requests()
        .iter()
        .filter(|r| r.route == DOWNLOAD)
        .map(|r| r.response_bytes)
        .sum();
    assert!(sent < SIZE + 2 * MIB, "{sent} bytes for {SIZE}");
    assert!(
        dropbox
            .requests()
            .iter()
            .any(|request| request.header("range").is_some())
    );
}

/// The program is killed in the middle; the same command goes on from what has arrived.
#[test]
fn a_killed_download_goes_on() {
    let scene = Scene::new();
    let gate = Gate::new();
    // The body breaks off in its middle, and the next try is held: that is when it is killed.
    scene
        .world
        .dropbox
        .inject(On::next(DOWNLOAD), Action::TruncateResponse(5 * MIB));
    scene
        .world
        .dropbox
        .inject(On::nth(DOWNLOAD, 2), Action::Hold(gate.clone()));
    let mut command = scene.command(&["latest", "here"]);
    let mut child = command
        .env_remove("BACKUP_SYNC_CLOCK_SPEED")
        .spawn()
        .unwrap();
    assert!(gate.wait_reached(PATIENCE));
    child.kill().unwrap();
    child.wait().unwrap();
    gate.open();
    assert!(!scene.path("here").exists());
    let held = fs::metadata(scene.part()).unwrap().len();
    assert!(held > 4 * MIB && held <= 5 * MIB, "{held}");
    let told = scene.download(&["latest", "here"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_content(&scene.path("here"), 3);
    assert_eq!(scene.names(), ["here"]);
    let requests = scene.world.dropbox.requests();
    let last = requests
        .iter()
        .rfind(|request| request.route == DOWNLOAD)
        .unwrap();
    assert_eq!(
        last.header("range"),
        Some(format!("bytes={held}-").as_str())
    );
}

/// What has arrived is hashed before it is gone on with; what is wrong is thrown away.
#[test]
fn a_damaged_part_is_not_trusted() {
    let scene = Scene::new();
    scene
        .world
        .dropbox
        .inject(On::next(DOWNLOAD), Action::TruncateResponse(5 * MIB));
    scene
        .world
        .dropbox
        .inject(On::nth(DOWNLOAD, 2), Action::html(403, "no"));
    let told = scene.download(&["latest", "here"]);
    assert_eq!(told.code, Some(1));
    assert!(
        told.err.contains("the same command goes on from there"),
        "{told:?}"
    );
    let part = scene.part();
    let mut bytes = fs::read(&part).unwrap();
    bytes[1234] ^= 1;
    fs::write(&part, &bytes).unwrap();
    let told = scene.download(&["latest", "here"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_content(&scene.path("here"), 3);
    // One that is too long is begun anew as well.
    fs::remove_file(scene.path("here")).unwrap();
    fs::write(&part, vec![0; SIZE as usize + 1]).unwrap();
    assert_eq!(scene.download(&["latest", "here"]).code, Some(0));
    assert_content(&scene.path("here"), 3);
}

/// The file changes while it is downloaded: the new version is taken, nothing is mixed.
#[test]
fn a_file_that_changes_meanwhile_is_taken_whole() {
    let scene = Scene::new();
    let path = scene.world.dropbox.paths()[2].clone();
    scene
        .world
        .dropbox
        .inject(On::next(DOWNLOAD), Action::TruncateResponse(5 * MIB));
    let gate = Gate::new();
    scene
        .world
        .dropbox
        .inject(On::nth(DOWNLOAD, 2), Action::Hold(gate.clone()));
    let mut command = scene.command(&["latest", "here"]);
    let child = command
        .env_remove("BACKUP_SYNC_CLOCK_SPEED")
        .spawn()
        .unwrap();
    assert!(gate.wait_reached(PATIENCE));
    let other = bytes_of(1);
    scene.world.dropbox.put(&path, &other);
    gate.open();
    let told = Told::of(child.wait_with_output().unwrap());
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(fs::read(scene.path("here")).unwrap() == other);
}

#[test]
fn a_wrong_content_never_gets_the_name() {
    let scene = Scene::new();
    let file = &scene.world.dropbox.files()[2];
    scene.world.dropbox.inject(
        On::every(DOWNLOAD),
        answer(&file.rev, vec![7; SIZE as usize]),
    );
    let told = scene.download(&["latest", "here"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(
        told.err.contains("its hash differs. It was thrown away"),
        "{told:?}"
    );
    assert!(scene.names().is_empty());
    assert_eq!(scene.world.count(DOWNLOAD), 3, "it was tried again");
}

#[test]
fn nothing_is_replaced_unasked() {
    let scene = Scene::new();
    fs::write(scene.path("here"), "mine").unwrap();
    let told = scene.download(&["latest", "here"]);
    assert_eq!(told.code, Some(1));
    assert!(
        told.err.contains("is there already and differs") && told.err.contains("--force"),
        "{told:?}"
    );
    assert_eq!(fs::read(scene.path("here")).unwrap(), b"mine");
    assert_eq!(scene.world.count(DOWNLOAD), 0);
    assert_eq!(scene.download(&["latest", "here", "--force"]).code, Some(0));
    assert_content(&scene.path("here"), 3);
    // What is equal is done without asking for a byte.
    let before = scene.world.count(DOWNLOAD);
    let told = scene.download(&["latest", "here"]);
    assert_eq!(told.code, Some(0));
    told.assert_line(&["is there already and has the right content"]);
    assert_eq!(scene.world.count(DOWNLOAD), before);
    for target in ["/dev/null", "/nowhere/at/all/x"] {
        assert_eq!(
            scene.download(&["latest", target]).code,
            Some(1),
            "{target}"
        );
    }
}

#[test]
fn two_downloads_to_one_place_do_not_mix() {
    let scene = Scene::new();
    let gate = Gate::new();
    scene
        .world
        .dropbox
        .inject(On::next(DOWNLOAD), Action::Hold(gate.clone()));
    let mut command = scene.command(&["latest", "here"]);
    let child = command
        .env_remove("BACKUP_SYNC_CLOCK_SPEED")
        .spawn()
        .unwrap();
    assert!(gate.wait_reached(PATIENCE));
    let told = scene.download(&["latest", "here"]);
    assert_eq!(told.code, Some(1));
    assert!(
        told.err.contains("Another download to here is going on"),
        "{told:?}"
    );
    gate.open();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    assert_content(&scene.path("here"), 3);
}

/// On the worst day: no UISP, no plugin folder but a configuration with key and token.
#[test]
fn it_works_without_uisp() {
    let scene = Scene::new();
    let app = scene.world.dropbox.app();
    let config = json!({
        "dropboxAppKey": app.key,
        "dropboxAppSecret": app.secret,
        "dropboxRefreshToken": scene.world.dropbox.issue_refresh_token(),
    });
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir(elsewhere.path().join("data")).unwrap();
    fs::write(
        elsewhere.path().join("data/config.json"),
        config.to_string(),
    )
    .unwrap();
    let root = elsewhere.path().to_str().unwrap();
    let told = scene.download(&["latest", "here", "--root", root]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_content(&scene.path("here"), 3);
    // Neither the source nor what runs have recorded is here, so nothing is proved.
    let told = tell(&scene.world, &["verify", "--root", root]);
    assert_eq!(told.code, Some(1), "{told:?}");
    told.assert_line(&["No source of backups is configured here"]);
}

#[test]
fn the_mirror_folder_of_the_configuration_counts() {
    let world = generous();
    world.configure(json!({"dropboxFolder": "/servers/one"}));
    world.add_backups(1, 1, 1000);
    world.run_well();
    let told = tell_well(
        &world,
        &["download", "latest", world.data("back").to_str().unwrap()],
    );
    told.assert_line(&["Downloaded"]);
    assert!(fs::read(world.data("back")).unwrap() == Backup::numbered(1, 1000).bytes());
}

#[test]
fn the_permission_that_is_missing_is_named() {
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    world.run_well();
    let told = tell(&world, &["download", "latest", "-"]);
    assert_eq!(told.code, Some(1));
    assert!(
        told.err
            .contains("tick files.content.read on its Permissions tab"),
        "{told:?}"
    );
}

/// Nothing is asked for where there is nothing to read.
#[test]
fn an_empty_file_arrives() {
    let world = generous();
    world
        .dropbox
        .put("/unms-backup-20260101-0000_empty.unms", b"");
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().to_str().unwrap();
    tell_well(&world, &["download", "empty", target]);
    assert_eq!(
        fs::read(folder.path().join("unms-backup-20260101-0000_empty.unms")).unwrap(),
        b""
    );
}

/// On a terminal a bar is drawn, and taken away again before the last line.
#[test]
fn a_terminal_sees_a_bar() {
    let scene = Scene::new();
    let plain = scene.command(&["latest", "here"]);
    let mut words = vec![plain.get_program().to_str().unwrap()];
    words.extend(plain.get_args().map(|argument| argument.to_str().unwrap()));
    let mut command = Command::new("script");
    command
        .args(["-qec", &words.join(" "), "/dev/null"])
        .current_dir(scene.folder.path())
        .envs(
            plain
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .env("TERM", "xterm");
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        output => output.unwrap(),
    };
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(
        shown.contains(" of 9.4 MB, ") && shown.contains(" left"),
        "{shown:?}"
    );
    assert!(
        shown.trim_end().ends_with("its content hash is right."),
        "{shown:?}"
    );
    assert_content(&scene.path("here"), 3);
}

/// The place may be one where others write, and root the one who downloads.
#[test]
fn what_others_have_put_under_the_name_of_the_part_is_not_written_into() {
    let scene = Scene::new();
    let rev = scene.world.dropbox.files().pop().unwrap().rev;
    let own = scene.path("own");
    fs::write(&own, "somebody's own").unwrap();
    type Put = fn(&Path, &Path);
    let puts: [Put; 3] = [
        |own, part| std::os::unix::fs::symlink(own, part).unwrap(),
        |own, part| fs::hard_link(own, part).unwrap(),
        |_, part| assert!(Command::new("mkfifo").arg(part).status().unwrap().success()),
    ];
    for put in puts {
        let part = scene.path(&format!("copy.{rev}.part"));
        put(&own, &part);
        let told = scene.download(&["latest", "copy"]);
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(told.err.contains("Choose another place"), "{told:?}");
        assert_eq!(fs::read_to_string(&own).unwrap(), "somebody's own");
        fs::remove_file(&part).unwrap();
    }
    assert_eq!(scene.download(&["latest", "copy"]).code, Some(0));
}
