//! The space in Dropbox, known only where the app has `account_info.read`.

use serde_json::{Value, json};

use crate::support::World;

const SPACE: &str = "users/get_space_usage";

#[test]
fn the_space_is_remembered_where_it_may_be_known() {
    let world = World::fresh();
    world.dropbox.set_app_scopes(&[
        "files.metadata.read",
        "files.content.write",
        "account_info.read",
    ]);
    let app = world.dropbox.app();
    world.configure(json!({
        "dropboxAppKey": app.key,
        "dropboxAppSecret": app.secret,
        "dropboxRefreshToken": world.dropbox.issue_refresh_token(),
    }));
    world.dropbox.set_quota(5_000_000, 1_000_000);
    world.add_backups(1, 2, 1_000_000);
    world.run_well();
    world.run_well();
    let space = &world.record()["space"];
    assert_eq!(space["allocated"], 5_000_000);
    assert_eq!(space["used"], 3_000_000);
    assert_eq!(world.count(SPACE), 2);

    world.add_backups(3, 3, 4_000_000);
    let ended = world.run_badly();
    ended.assert_line(&["there is no room for 4.0 MB, 2.0 MB are free"]);
}

#[test]
fn without_the_permission_the_space_is_asked_for_once_and_nothing_else_suffers() {
    let world = World::authorized();
    world
        .dropbox
        .set_app_scopes(&["files.metadata.read", "files.content.write"]);
    world.configure(json!({"dropboxRefreshToken": world.dropbox.issue_refresh_token()}));
    world.add_backups(1, 1, 1000);
    for _ in 0..3 {
        let ended = world.run_well();
        assert!(!ended.log.contains("WARNING"), "{}", ended.log);
    }
    assert_eq!(world.count(SPACE), 1);
    assert_eq!(world.state()["space"], Value::Null);
}
