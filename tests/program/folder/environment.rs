//! Everything that the first setup needs, by the environment, as a container gets it.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::world::FolderWorld;
use crate::support::Ended;

/// A program without a configuration, and a file to mirror.
fn unconfigured() -> FolderWorld {
    let world = FolderWorld::not_authorized();
    fs::remove_file(world.data("config.json")).unwrap();
    world.write("dump.sql", "content");
    world
}

/// What a compose file says: the app and the folder.
fn basics(world: &FolderWorld) -> Vec<(&'static str, String)> {
    vec![
        ("DROPBOX_APP_KEY", world.dropbox.app().key),
        ("BACKUP_DIRECTORY", world.folder().display().to_string()),
    ]
}

fn command(world: &FolderWorld, variables: &[(&str, String)]) -> Command {
    let mut command = world.command();
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command
}

fn run(world: &FolderWorld, variables: &[(&str, String)]) -> Ended {
    world.run_as(&mut command(world, variables))
}

#[test]
fn a_container_is_set_up_by_its_environment_alone() {
    let world = unconfigured();
    let mut variables = basics(&world);
    let first = run(&world, &variables);
    assert_eq!(first.code, Some(0), "{}", first.log);
    let code = world.dropbox.allow(first.url()).unwrap();
    variables.push(("DROPBOX_ACCESS_CODE", format!(" {code}\n")));
    let second = run(&world, &variables);
    assert_eq!(second.code, Some(0), "{}", second.log);
    second.assert_line(&["Authorized"]);
    world.assert_stored(&["dump.sql"]);
    // What rotates is in the file, and nothing else of the environment.
    let config = world.config();
    let keys: Vec<&String> = config.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["dropboxRefreshToken", "spentAccessCode"]);
    assert!(!config.to_string().contains(&code));
    // The code is still there, as in a compose file that nobody edits again; it is not used again.
    let third = run(&world, &variables);
    assert_eq!(
        (third.code, third.log.contains("code")),
        (Some(0), false),
        "{}",
        third.log
    );
    third.assert_line(&["Finished: 0 uploaded", "1 unchanged"]);
    assert!(!world.log().contains(&code), "{}", world.log());
}

#[test]
fn a_refused_code_of_the_environment_is_not_tried_again_and_another_one_is() {
    let world = unconfigured();
    let mut variables = basics(&world);
    let url = run(&world, &variables).url().to_owned();
    variables.push(("DROPBOX_ACCESS_CODE", "fake-code-with-a-typo".into()));
    let refused = run(&world, &variables);
    assert_eq!(refused.code, Some(1), "{}", refused.log);
    let tried = world.count("oauth2/token");
    let again = run(&world, &variables);
    assert_eq!(
        (again.code, again.url()),
        (Some(0), url.as_str()),
        "{}",
        again.log
    );
    assert_eq!(world.count("oauth2/token"), tried);
    // Beside it, one in the file counts, since the other is spent.
    let code = world.dropbox.allow(&url).unwrap();
    world.configure(json!({"dropboxAccessCode": code}));
    run(&world, &variables).assert_line(&["Authorized"]);
    // Somebody authorizes anew, by the environment.
    world.configure(json!({"dropboxRefreshToken": null}));
    let anew = run(&world, &variables);
    let code = world.dropbox.allow(anew.url()).unwrap();
    *variables.last_mut().unwrap() = ("DROPBOX_ACCESS_CODE", code);
    run(&world, &variables).assert_line(&["Authorized"]);
    run(&world, &variables).assert_line(&["Finished: 0 uploaded"]);
}

#[test]
fn every_variable_can_be_a_file() {
    let world = unconfigured();
    let key = age::x25519::Identity::generate().to_public().to_string();
    let url = "https://127.0.0.1:1/fake-check";
    let app = world.dropbox.app();
    let folder = world.folder().display().to_string();
    let values = [
        ("DROPBOX_APP_KEY", app.key.as_str()),
        ("DROPBOX_APP_SECRET", &app.secret),
        ("DROPBOX_FOLDER", "Servers/Vienna"),
        ("BACKUP_DIRECTORY", &folder),
        ("KEEP_DELETED_DAYS", "30"),
        ("KEEP_OLDER", "7 daily, 4 weekly"),
        ("INSPECT", "true"),
        ("AGE_RECIPIENTS", &key),
        ("HEALTHCHECK_URL", url),
        ("UPLOAD_LIMIT_MBPS", "100"),
    ];
    let secrets = tempfile::tempdir().unwrap();
    let variables = values.map(|(name, value)| {
        let file = secrets.path().join(name);
        fs::write(&file, format!("\n {value}\n\n")).unwrap();
        (format!("{name}_FILE"), file.display().to_string())
    });
    let named: Vec<(&str, String)> = variables
        .iter()
        .map(|(name, file)| (name.as_str(), file.clone()))
        .collect();
    let code = world.dropbox.allow(run(&world, &named).url()).unwrap();
    fs::write(secrets.path().join("code"), code).unwrap();
    let mut with_code = named.clone();
    let code_file = secrets.path().join("code").display().to_string();
    with_code.push(("DROPBOX_ACCESS_CODE_FILE", code_file));
    run(&world, &with_code).assert_line(&["Authorized"]);
    assert_eq!(world.dropbox.paths(), ["/Servers/Vienna/dump.sql.age"]);
    let status = command(&world, &named)
        .args(["status", "--json"])
        .output()
        .unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["encryption"]["keys"], json!(1));
    // All of them are named where their users look for them.
    let guide = include_str!("../../../docs/folder.md");
    for (name, _) in backup_sync_dropbox::plugin::environment::VARIABLES {
        assert!(
            guide.contains(&format!("`{name}`")),
            "docs/folder.md does not name {name}"
        );
        let is_tested = with_code
            .iter()
            .any(|(tested, _)| *tested == format!("{name}_FILE"));
        // Lines of their own, in `exclude.rs`.
        assert!(is_tested || *name == "EXCLUDE", "{name}");
    }
}

#[test]
fn what_cannot_be_used_is_told_by_its_variable_and_never_quoted() {
    let world = unconfigured();
    let secret = world.root().join("secret");
    fs::write(&secret, [0xff, 0xfe]).unwrap();
    for (wrong, parts) in [
        (
            vec![("DROPBOX_APP_SECRET_FILE", "/nowhere/secret".to_owned())],
            &[
                "DROPBOX_APP_SECRET_FILE must be the path of a file that can be read",
                "/nowhere/secret",
            ][..],
        ),
        (
            vec![("DROPBOX_APP_SECRET_FILE", secret.display().to_string())],
            &["DROPBOX_APP_SECRET_FILE must be text"],
        ),
        (
            vec![
                ("DROPBOX_APP_SECRET_FILE", secret.display().to_string()),
                ("DROPBOX_APP_SECRET", "fake-value".into()),
            ],
            &["DROPBOX_APP_SECRET must be the only one of the two"],
        ),
        (
            vec![("KEEP_DELETED_DAYS", "fake-value".into())],
            &["environment variable KEEP_DELETED_DAYS must be a whole number"],
        ),
        (
            vec![("AGE_RECIPIENTS", "AGE-SECRET-KEY-1FAKE-VALUE".into())],
            &["AGE_RECIPIENTS", "a secret key of age"],
        ),
    ] {
        let mut variables = basics(&world);
        variables.extend(wrong);
        let ended = run(&world, &variables);
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        let parts = [&["ERROR: "][..], parts].concat();
        ended.assert_line(&parts);
        assert!(
            !ended.log.to_lowercase().contains("fake-value"),
            "{}",
            ended.log
        );
    }
}

#[test]
fn a_contradiction_is_told_once_and_the_environment_counts() {
    let world = FolderWorld::new();
    world.write("dump.sql", "content");
    world.configure(json!({"dropboxFolder": "Old", "keepDeletedDays": 3}));
    let variables = [
        ("DROPBOX_FOLDER", "New".to_owned()),
        ("KEEP_DELETED_DAYS", "3".into()),
    ];
    let told =
        "WARNING: The environment says something else than data/config.json: DROPBOX_FOLDER.";
    run(&world, &variables).assert_line(&[told]);
    assert_eq!(world.dropbox.paths(), ["/New/dump.sql"]);
    assert!(
        !run(&world, &variables).log.contains("WARNING"),
        "{}",
        world.log()
    );
    world.configure(json!({"keepDeletedDays": 4}));
    run(&world, &variables).assert_line(&["config.json: DROPBOX_FOLDER, KEEP_DELETED_DAYS."]);
}

/// The environment of a UISP server is somebody else's.
#[test]
fn beside_uisp_no_variable_counts() {
    let world = crate::support::World::authorized();
    world.add_backups(1, 1, 1000);
    let mut command = world.command();
    command.envs([
        ("DROPBOX_FOLDER", "Elsewhere"),
        ("BACKUP_DIRECTORY", "/tmp"),
    ]);
    let ended = world.run_as(&mut command);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    world.assert_mirrored();
    assert!(!world.dropbox.paths()[0].contains("Elsewhere"));
}
