//! The three stages of the authorization, as the admin meets them: log, form, exit code.

mod endpoint;
mod legacy;
mod stages;
mod storage;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Ended, World};

const TOKEN: &str = "oauth2/token";
const MINUTE: Duration = Duration::from_secs(60);

/// Both kinds of app configuration: with secret, and without, which means PKCE.
const WITH_AND_WITHOUT_SECRET: [bool; 2] = [true, false];

/// A world with two backups and an app, where the log has just asked for a code.
fn asked_for_code(has_secret: bool) -> (World, Ended) {
    let world = World::with_app(has_secret);
    world.add_backups(1, 2, 1000);
    let ended = world.run_well();
    (world, ended)
}

/// A world with two backups and a pasted code that has not been used.
fn code_pasted(has_secret: bool) -> (World, String) {
    let (world, ended) = asked_for_code(has_secret);
    let code = world.allow_and_paste(&ended);
    world.dropbox.traffic().clear_log();
    (world, code)
}

fn assert_authorized(world: &World) {
    let config = world.config();
    assert_eq!(config["dropboxAccessCode"], Value::Null);
    let token = config["dropboxRefreshToken"].as_str().unwrap();
    assert!(token.starts_with("refresh-"), "{token}");
}
