//! `check`: for each way in which a set-up can be broken, the right link and the right fix.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;
use std::time::Duration;

use sandbox::dropbox::DropboxOptions;
use sandbox::http::{Action, Gate, On};
use sandbox::uisp::{Backup, RawAnswer};
use serde_json::{Value, json};

use super::{MIB, Told, generous, generous_app, tell_well};
use crate::support::{PATIENCE, World};

/// A check on a clock of its own: the limits are long enough for a busy machine, and no wait is.
fn command(world: &World) -> Command {
    let mut command = world.command();
    command.arg("check").env("BACKUP_SYNC_CLOCK_SPEED", "10");
    command
}

fn check_as(command: &mut Command) -> Told {
    Told::of(command.output().unwrap())
}

fn check(world: &World) -> Told {
    check_as(&mut command(world))
}

/// The checks of one link, as JSON.
fn link<'a>(told: &'a Value, link: &str) -> Vec<&'a Value> {
    let checks = told["checks"].as_array().unwrap().iter();
    checks.filter(|check| check["link"] == link).collect()
}

/// Asserts that the link is a problem, with these parts in what is wrong and in the fix.
#[track_caller]
fn assert_problem(
    world: &World,
    command: &mut Command,
    name: &str,
    wrong: &str,
    fix: &str,
) -> Value {
    let told = check_as(command.arg("--json"));
    assert_eq!(told.code, Some(1), "{told:?}");
    let told = told.json();
    assert_eq!(told["ok"], false);
    let found = link(&told, name).into_iter().any(|check| {
        let has =
            |field: &str, part: &str| check[field].as_str().unwrap_or_default().contains(part);
        check["result"] == "problem" && has("message", wrong) && has("fix", fix)
    });
    assert!(
        found,
        "no problem of {name:?} with {wrong:?} and {fix:?} in {told:#}"
    );
    assert_no_probe(world);
    told
}

#[track_caller]
fn assert_no_probe(world: &World) {
    assert!(
        !world
            .dropbox
            .paths()
            .iter()
            .any(|path| path.contains("check")),
        "{:?}",
        world.dropbox.paths()
    );
}

/// How many links are ok: a problem in one must not hide the others.
fn count_ok(told: &Value) -> usize {
    let checks = told["checks"].as_array().unwrap().iter();
    checks.filter(|check| check["result"] == "ok").count()
}

fn healthy() -> World {
    let world = generous();
    world.add_backups(1, 3, 1000);
    world
}

#[test]
fn a_healthy_world_is_called_healthy() {
    let world = healthy();
    world.run_well();
    let files = world.dropbox.files();
    let told = check(&world);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(
        told.out
            .lines()
            .all(|line| !line.starts_with("problem") && !line.starts_with("skipped")),
        "{}",
        told.out
    );
    told.assert_line(&["ok ", "list of backups: 3 backups, 3 of them finished"]);
    told.assert_line(&["ok ", "mirror folder, reading: 3 backups and 0 other files"]);
    told.assert_line(&["ok ", "free space: 2.2 TB of 2.2 TB are free"]);
    told.assert_line(&["ok ", "timezone: America/Caracas"]);
    assert_eq!(told.out.lines().last(), Some("Every link holds."));
    assert_eq!(world.dropbox.files(), files);
}

/// The two permissions that the setup asks for are enough.
#[test]
fn optional_permissions_are_no_problem() {
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    let told = check(&world);
    assert_eq!(told.code, Some(0), "{told:?}");
    told.assert_line(&[
        "skipped",
        "files.content.read: missing",
        "\"download\" and \"verify --deep\" need it",
    ]);
    told.assert_line(&["-> ", "tick files.content.read on its Permissions tab"]);
    told.assert_line(&["skipped", "account_info.read: missing", "free space"]);
}

#[test]
fn the_folder() {
    let world = healthy();
    fs::remove_dir_all(world.data("")).unwrap();
    let told = assert_problem(
        &world,
        &mut command(&world),
        "plugin folder",
        "cannot be found",
        "with --root",
    );
    assert!(!told["checks"][0]["message"].is_null());

    let world = healthy();
    world.run_well();
    fs::write(world.data("state.json"), "{").unwrap();
    let told = assert_problem(
        &world,
        &mut command(&world),
        "plugin memory",
        "is damaged",
        "Execute the plugin",
    );
    assert!(count_ok(&told) >= 12, "{told:#}");
}

#[test]
fn a_file_of_another_owner() {
    let world = healthy();
    let owner = fs::metadata(world.data("")).unwrap().uid();
    if owner != 0 {
        return;
    }
    chown(world.data("config.json"), Some(12345), None).unwrap();
    assert_problem(
        &world,
        &mut command(&world),
        "plugin folder",
        "does not belong to the owner",
        "chown 0",
    );
}

#[test]
fn a_full_disk() {
    let world = healthy();
    let mut command = world.command_with_full_disk(0);
    command.arg("check").env("BACKUP_SYNC_CLOCK_SPEED", "10");
    // Nothing is written but the probe in the data folder; that of Dropbox is sent.
    let told = check_as(&mut command);
    assert_eq!(told.code, Some(0), "an empty file fits: {told:?}");
}

#[test]
fn the_configuration() {
    let world = healthy();
    world.configure(json!({"keepDeletedDays": "soon", "uploadLimitMbps": [1]}));
    let told = assert_problem(
        &world,
        &mut command(&world),
        "configuration",
        "keepDeletedDays",
        "Correct it in the plugin's configuration form",
    );
    assert_eq!(link(&told, "configuration").len(), 2);
    assert!(
        count_ok(&told) >= 12,
        "the rest is checked all the same: {told:#}"
    );
    fs::write(world.data("config.json"), "{\"unmsApiToken\":").unwrap();
    assert_problem(
        &world,
        &mut command(&world),
        "configuration",
        "is damaged",
        "Save the plugin's configuration form once",
    );
}

#[test]
fn the_way_to_uisp() {
    let world = healthy();
    world.configure(json!({"unmsApiToken": " "}));
    fs::remove_file(world.root().join("ucrm.json")).unwrap();
    let told = assert_problem(
        &world,
        &mut command(&world),
        "UISP token",
        "is empty",
        "Make a token in UISP under Network",
    );
    assert_eq!(link(&told, "UISP address")[0]["result"], "problem");
    assert_eq!(link(&told, "mirror folder, writing")[0]["result"], "ok");

    let world = healthy();
    // A port that was just free: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let ucrm = json!({"unmsLocalUrl": format!("http://127.0.0.1:{port}/nms/")});
    fs::write(world.root().join("ucrm.json"), ucrm.to_string()).unwrap();
    let told = assert_problem(
        &world,
        &mut command(&world),
        "UISP",
        "UISP could not be reached at http://127.0.0.1",
        "check that UISP is running",
    );
    assert_eq!(link(&told, "UISP token")[0]["result"], "skipped");

    let world = healthy();
    world.configure(json!({"unmsApiToken": "fake-and-wrong"}));
    let told = assert_problem(
        &world,
        &mut command(&world),
        "UISP token",
        "does not accept the API token",
        "Make a new token in UISP under Network, Settings, Users, API tokens",
    );
    assert_eq!(link(&told, "UISP")[0]["result"], "ok");
}

#[test]
fn a_uisp_that_hangs() {
    let world = healthy();
    world.uisp.inject(On::every("nms/*"), Action::StallResponse);
    let mut command = command(&world);
    command.env("BACKUP_SYNC_CLOCK_SPEED", "20");
    let told = assert_problem(
        &world,
        &mut command,
        "UISP",
        "no complete answer in time",
        "Check that UISP is running",
    );
    assert_eq!(link(&told, "authorization")[0]["result"], "ok");
}

#[test]
fn the_list_of_backups() {
    let world = healthy();
    for (answer, wrong, fix) in [
        (
            RawAnswer::html(200, "<html>log in"),
            "is not a list of backups",
            "A login page or a proxy may have answered",
        ),
        (
            RawAnswer::html(404, "nothing here"),
            "status 404",
            "its version is 2.1 or newer",
        ),
        (
            RawAnswer::json(200, "[{\"id\":\"a\"}]"),
            "An entry cannot be used",
            "Nothing is deleted while it is there",
        ),
        (
            RawAnswer::json(200, "[]"),
            "There is no finished backup",
            "Settings, Backups",
        ),
    ] {
        world.uisp.answer_list(Some(answer));
        assert_problem(&world, &mut command(&world), "list of backups", wrong, fix);
    }
    world.uisp.answer_list(None);
    world.uisp.configure(|options| options.timezone = None);
    assert_problem(
        &world,
        &mut command(&world),
        "timezone",
        "not known",
        "set the timezone in UISP's settings",
    );
}

#[test]
fn the_way_to_dropbox() {
    let world = healthy();
    let mut wrong = command(&world);
    wrong.env("DROPBOX_API_URL", "http://192.0.2.1/");
    let told = assert_problem(
        &world,
        &mut wrong,
        "Dropbox address",
        "DROPBOX_API_URL",
        "Set it to an https URL",
    );
    assert_eq!(link(&told, "list of backups")[0]["result"], "ok");

    let mut wrong = command(&world);
    wrong.env("SSL_CERT_FILE", world.data("config.json"));
    assert_problem(
        &world,
        &mut wrong,
        "Dropbox address",
        "HTTP client could not be set up",
        "environment variable",
    );

    let mut wrong = command(&world);
    wrong.env_remove("SSL_CERT_FILE");
    let told = assert_problem(
        &world,
        &mut wrong,
        "Dropbox",
        "could not be reached",
        "SSL_CERT_FILE",
    );
    assert_eq!(link(&told, "authorization")[0]["result"], "skipped");

    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut wrong = command(&world);
    wrong.env("HTTPS_PROXY", format!("http://127.0.0.1:{port}"));
    assert_problem(
        &world,
        &mut wrong,
        "Dropbox",
        "could not be reached",
        "proxy settings",
    );
}

#[test]
fn the_clock() {
    let world = healthy();
    // Four minutes are borne, two hours are not.
    world.dropbox.advance_clock(Duration::from_secs(240));
    assert_eq!(check(&world).code, Some(0));
    world.dropbox.advance_clock(Duration::from_secs(2 * 3600));
    assert_problem(
        &world,
        &mut command(&world),
        "clock",
        " behind Dropbox's",
        "let NTP keep it right",
    );
}

#[test]
fn the_authorization() {
    let world = World::fresh();
    assert_problem(
        &world,
        &mut command(&world),
        "authorization",
        "No Dropbox app is set up yet",
        "Dropbox app key",
    );
    let world = World::with_app(false);
    assert_problem(
        &world,
        &mut command(&world),
        "authorization",
        "Nobody has allowed access",
        "its log then shows an address",
    );
    world.configure(json!({"dropboxAccessCode": "fake-code-of-a-test"}));
    assert_problem(
        &world,
        &mut command(&world),
        "authorization",
        "has not been exchanged yet",
        "Execute the plugin soon",
    );
    assert_eq!(world.count("oauth2/token"), 0, "the code was not spent");

    let world = healthy();
    world.dropbox.set_app_secret("another-test-secret");
    assert_problem(
        &world,
        &mut command(&world),
        "authorization",
        "Dropbox does not know the app",
        "do not belong to one app",
    );
    world.dropbox.set_app_secret("test-app-secret");
    world.dropbox.revoke_all_tokens();
    let told = assert_problem(
        &world,
        &mut command(&world),
        "authorization",
        "no longer accepts",
        "until you authorize again",
    );
    assert_eq!(
        link(&told, "mirror folder, reading")[0]["result"],
        "skipped"
    );
}

#[test]
fn a_legacy_token() {
    let world = healthy();
    let token = world.dropbox.issue_legacy_token();
    world.configure(json!({"dropboxRefreshToken": null, "dropboxAppKey": null, "dropboxAppSecret": null, "dropboxAccessToken": token}));
    let told = check(&world);
    assert_eq!(told.code, Some(0), "{told:?}");
    told.assert_line(&["ok ", "authorization: a legacy token"]);
    world.configure(json!({"dropboxAccessToken": "fake-revoked-token"}));
    assert_problem(
        &world,
        &mut command(&world),
        "permission files.metadata.read",
        "missing",
        "is revoked, lacks a permission",
    );
}

#[test]
fn the_permissions() {
    for (scopes, link_name, others) in [
        (
            &["files.content.write"][..],
            "permission files.metadata.read",
            "mirror folder, reading",
        ),
        (
            &["files.metadata.read"],
            "permission files.content.write",
            "mirror folder, writing",
        ),
    ] {
        let mut app = generous_app();
        app.scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let world = World::authorized_with(DropboxOptions {
            app,
            ..DropboxOptions::default()
        });
        world.add_backups(1, 1, 1000);
        let told = assert_problem(
            &world,
            &mut command(&world),
            link_name,
            "missing; needed",
            "on its Permissions tab and submit",
        );
        assert_eq!(link(&told, others)[0]["result"], "skipped");
        // Ticked afterwards, it still is not in the token.
        world
            .dropbox
            .set_app_scopes(&["files.metadata.read", "files.content.write"]);
        assert_problem(
            &world,
            &mut command(&world),
            link_name,
            "missing",
            "only for authorizations made after it was ticked",
        );
    }
}

#[test]
fn the_mirror_folder() {
    let world = healthy();
    world
        .dropbox
        .put("/taken", b"a file where the folder should be");
    world.configure(json!({"dropboxFolder": "/taken"}));
    assert_problem(
        &world,
        &mut command(&world),
        "mirror folder, reading",
        "not_folder",
        "",
    );
    // One that the first run will make is not made for the probe.
    world.configure(json!({"dropboxFolder": "/later"}));
    let told = check(&world);
    assert_eq!(told.code, Some(0), "{told:?}");
    told.assert_line(&["mirror folder, writing", "which the first run makes"]);
    assert_eq!(world.dropbox.paths(), ["/taken"]);

    let world = healthy();
    world
        .dropbox
        .refuse_commits(None, json!({".tag": "no_write_permission"}), 1);
    assert_problem(
        &world,
        &mut command(&world),
        "mirror folder, writing",
        "no_write_permission",
        "Check its sharing and team settings",
    );
}

#[test]
fn free_space() {
    let world = healthy();
    world.uisp.add(Backup::numbered(4, 5 * MIB));
    world.run_well();
    world
        .dropbox
        .set_quota(1 << 30, (1 << 30) - 2 * MIB - 5 * MIB);
    assert_problem(
        &world,
        &mut command(&world),
        "free space",
        "less than one backup",
        "Free some space in Dropbox",
    );
    world.dropbox.set_quota(1 << 30, 1 << 30);
    assert_problem(
        &world,
        &mut command(&world),
        "mirror folder, writing",
        "insufficient_space",
        "Free some space there or get more",
    );
}

/// The probe is removed also where the answer to its commit is lost, or the check is interrupted.
#[test]
fn the_probe_never_stays() {
    let world = healthy();
    world.dropbox.inject(
        On::next("files/upload_session/finish_batch_v2"),
        Action::AnswerLost,
    );
    let told = check(&world);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_no_probe(&world);

    let world = healthy();
    world.dropbox.inject(
        On::every("files/upload_session/finish_batch_v2"),
        Action::AnswerLost,
    );
    assert_eq!(
        check(&world).code,
        Some(0),
        "it was stored, as a look shows"
    );
    assert_no_probe(&world);

    let world = healthy();
    let gate = Gate::new();
    world.dropbox.inject(
        On::from_nth("files/upload_session/finish_batch_v2", 1),
        Action::HoldAnswer(gate.clone()),
    );
    let mut command = world.command();
    let child = command
        .arg("check")
        .env_remove("BACKUP_SYNC_CLOCK_SPEED")
        .spawn()
        .unwrap();
    assert!(gate.wait_reached(PATIENCE));
    assert!(
        world
            .dropbox
            .paths()
            .iter()
            .any(|path| path.contains("check"))
    );
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-s", "INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let told = Told::of(child.wait_with_output().unwrap());
    assert_eq!(told.code, Some(1), "{told:?}");
    assert_no_probe(&world);
}

#[test]
fn a_probe_that_cannot_be_removed_is_named() {
    let world = healthy();
    world
        .dropbox
        .inject(On::every("files/delete_batch"), Action::html(403, "no"));
    let told = check(&world);
    assert_eq!(told.code, Some(1));
    told.assert_line(&[
        "problem",
        "The probe file /backup-sync-dropbox-check-",
        "may still be in Dropbox",
    ]);
    told.assert_line(&["-> Remove it there"]);
}

/// A folder as the source has no UISP, and needs none.
#[test]
fn a_folder_of_files() {
    let world = generous();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("archive")).unwrap();
    fs::write(folder.path().join("archive/old.sql"), "a dump").unwrap();
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    let file = fs::File::options()
        .write(true)
        .open(folder.path().join("archive/old.sql"))
        .unwrap();
    file.set_modified(old).unwrap();
    fs::remove_file(world.root().join("ucrm.json")).unwrap();
    world.configure(json!({"unmsApiToken": null, "backupDirectory": folder.path()}));
    let told = check(&world);
    assert_eq!(told.code, Some(0), "{told:?}");
    told.assert_line(&["ok ", "list of backups: 1 backup, 1 of them finished"]);
    assert!(!told.out.contains("UISP"), "{told:?}");
    // The other commands know it as well.
    tell_well(&world, &["run"]);
    let told = tell_well(&world, &["verify"]);
    told.assert_line(&["ok ", "archive/old.sql", "compared with record, source"]);
    let target = folder.path().join("back");
    tell_well(&world, &["download", "old.sql", target.to_str().unwrap()]);
    assert_eq!(fs::read(target).unwrap(), b"a dump");

    fs::remove_dir_all(folder.path()).unwrap();
    let mut command = command(&world);
    assert_problem(
        &world,
        &mut command,
        "list of backups",
        "cannot be read",
        "",
    );
}
