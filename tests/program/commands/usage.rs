//! The command line itself: help, wrong usage, and that nothing is changed or given away.

use std::process::{Command, Stdio};

use serde_json::json;

use super::{Everything, Told, generous, tell, tell_well};
use crate::support::World;

const COMMANDS: [&str; 9] = [
    "run",
    "watch",
    "check",
    "status",
    "list",
    "verify",
    "download",
    "versions",
    "authorize",
];

/// The program without a world.
fn program(arguments: &[&str]) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backup-sync-dropbox"));
    Told::of(
        command
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap(),
    )
}

#[test]
fn every_command_has_a_help_worth_reading() {
    let overview = program(&["--help"]).out;
    for command in COMMANDS {
        assert!(overview.contains(&format!("\n  {command} ")), "{overview}");
        let help = program(&[command, "--help"]);
        assert_eq!(help.code, Some(0), "{help:?}");
        for part in [
            "Usage: backup-sync-dropbox ",
            "--root DIR",
            "Exit codes:\n  0  ",
            "Example:\n",
        ] {
            assert!(help.out.contains(part), "{command} --help lacks {part:?}");
        }
        let widest = help.out.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{command} --help is {widest:?} wide");
        assert_eq!(program(&[command, "-h"]).out, help.out);
    }
}

/// The manual has the very texts that the program prints.
#[test]
fn the_manual_holds_every_help() {
    let manual = include_str!("../../../docs/commands.md");
    let mut helps = vec![program(&["--help"]).out];
    helps.extend(COMMANDS.map(|command| program(&[command, "--help"]).out));
    for help in helps {
        assert!(
            manual.contains(&format!("```text\n{help}```")),
            "docs/commands.md lacks:\n{help}"
        );
    }
}

#[test]
fn wrong_usage_ends_with_two_and_a_hint() {
    for (arguments, hint) in [
        (
            &["chekc"][..],
            "there is no command \"chekc\", only run, watch, check, status, list, verify, download, versions, authorize",
        ),
        (&["check", "--deep"], "--deep"),
        (&["check", "x"], "x"),
        (&["download"], "operand"),
        (&["download", "a", "b", "c"], "c"),
        (&["status", "--root"], "--root"),
        (&["--root", "/nowhere/at/all", "status"], "not a folder"),
    ] {
        let told = program(arguments);
        assert_eq!(told.code, Some(2), "{arguments:?} {told:?}");
        assert!(told.err.contains(hint), "{arguments:?} {told:?}");
        assert_eq!(told.out, "", "{arguments:?}");
    }
}

#[test]
fn run_without_dry_run_is_a_run() {
    let world = World::authorized();
    world.add_backups(1, 2, 1000);
    tell_well(&world, &["run"]);
    world.assert_mirrored();
    assert!(world.log().contains("Finished: 2 uploaded"));
}

#[test]
fn the_root_can_stand_on_either_side_of_the_command() {
    let world = World::authorized();
    let root = world.root().to_str().unwrap();
    for arguments in [["--root", root, "status"], ["status", "--root", root]] {
        let told = program(&arguments);
        assert_eq!(told.code, Some(0), "{told:?}");
        told.assert_line(&["Setup", "authorized"]);
    }
}

/// Differences of all kinds, so that a command that would act has something to act on.
fn eventful() -> World {
    let world = generous();
    world.add_backups(1, 6, 1000);
    world.run_well();
    world.remove_backup(2);
    world.add_backups(7, 7, 1000);
    let unverified = world.dropbox.files()[2].path.clone();
    world.dropbox.put(&unverified, b"tampered with");
    world.configure(json!({"dropboxAccessCode": "fake-code-that-waits", "confirmCleanup": true}));
    world
}

#[test]
fn asking_changes_nothing() {
    let world = eventful();
    let before = Everything::of(&world);
    let tokens = world.count("oauth2/token");
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["list"],
        &["list", "--json"],
        &["run", "--dry-run"],
        &["run", "--dry-run", "--json"],
        &["verify"],
        &["verify", "--deep", "--json"],
        &["check"],
        &["download", "latest", "-"],
    ] {
        let mut command = world.command();
        command
            .args(arguments)
            .current_dir("/")
            .env_remove("BACKUP_SYNC_CLOCK_SPEED");
        command.output().unwrap();
        assert_eq!(Everything::of(&world), before, "{arguments:?}");
    }
    // The code that waits was not spent: only refresh tokens were shown.
    for request in world
        .dropbox
        .requests()
        .iter()
        .filter(|request| request.route == "oauth2/token")
        .skip(tokens)
    {
        assert_eq!(request.status, Some(200));
    }
}

#[test]
fn no_secret_is_printed() {
    let world = eventful();
    let config = world.config();
    let secrets: Vec<String> = [
        "unmsApiToken",
        "dropboxAppSecret",
        "dropboxRefreshToken",
        "dropboxAccessCode",
    ]
    .iter()
    .map(|field| config[*field].as_str().unwrap().to_owned())
    .collect();
    // A server that throws back what it was sent.
    let echo = sandbox::http::Action::text(400, &secrets.join(" "));
    for is_hostile in [false, true] {
        if is_hostile {
            world
                .dropbox
                .inject(sandbox::http::On::every("files/*"), echo.clone());
        }
        for arguments in [
            &["check"][..],
            &["check", "--json"],
            &["status"],
            &["list"],
            &["verify", "--deep"],
            &["download", "latest", "-"],
        ] {
            let mut command = world.command();
            command
                .args(arguments)
                .env("RUST_LOG", "trace")
                .current_dir("/");
            let output = command.output().unwrap();
            let shown = [output.stdout, output.stderr].concat();
            let shown = String::from_utf8_lossy(&shown);
            for secret in &secrets {
                assert!(
                    !shown.contains(secret.as_str()),
                    "{arguments:?} prints {secret}"
                );
            }
        }
    }
}

#[test]
fn a_reader_that_has_enough_is_no_bug() {
    let world = generous();
    world.add_backups(1, 300, 10);
    world.run_well();
    let mut child = world.command().arg("list").spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let told = Told::of(child.wait_with_output().unwrap());
    assert!(
        told.err.contains("could not be written") && !told.err.contains("bug"),
        "{told:?}"
    );
    let _ = tell(&world, &["status"]);
}
