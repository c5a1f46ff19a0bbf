//! The long-lived token of old.

use super::*;

#[test]
fn a_legacy_token_works_and_is_warned_about_once_a_run() {
    let world = World::fresh();
    world.add_backups(1, 2, 1000);
    let token = world.dropbox.issue_legacy_token();
    world.configure(json!({"dropboxAccessToken": token}));
    for _ in 0..2 {
        let ended = world.run_well();
        assert_eq!(ended.log.matches("WARNING: ").count(), 1, "{}", ended.log);
        ended.assert_line(&["WARNING: ", "\"Dropbox access token (legacy)\"", "retires"]);
        world.assert_mirrored();
    }
    assert_eq!(world.count(TOKEN), 0);
}

#[test]
fn a_legacy_token_mirrors_while_the_new_authorization_is_on_its_way() {
    for has_secret in WITH_AND_WITHOUT_SECRET {
        let world = World::with_app(has_secret);
        world.add_backups(1, 2, 1000);
        let token = world.dropbox.issue_legacy_token();
        world.configure(json!({"dropboxAccessToken": token}));
        let ended = world.run_well();
        ended.assert_line(&["WARNING: ", "\"Dropbox access token (legacy)\""]);
        ended.assert_line(&["Finished: 2 uploaded"]);
        world.assert_mirrored();

        world.allow_and_paste(&ended);
        world.add_backups(3, 3, 1000);
        let ended = world.run_well();
        assert!(!ended.log.contains("legacy"), "{}", ended.log);
        world.assert_mirrored();
        assert_authorized(&world);
        assert_eq!(world.config()["dropboxAccessToken"], json!(token));
    }
}

#[test]
fn a_token_of_four_hours_in_the_legacy_field_is_explained() {
    let world = World::fresh();
    world.add_backups(1, 1, 1000);
    let token = world.dropbox.issue_access_token();
    world.configure(json!({"dropboxAccessToken": token}));
    world.run_well();
    world.dropbox.expire_access_tokens();
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", "four hours", "\"Dropbox access token (legacy)\""]);
    assert_eq!(world.config()["dropboxAccessToken"], json!(token));
}

#[test]
fn a_revoked_legacy_token_is_explained() {
    let world = World::fresh();
    world.configure(json!({"dropboxAccessToken": world.dropbox.issue_legacy_token()}));
    world.dropbox.revoke_all_tokens();
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", "\"Dropbox access token (legacy)\"", "revoked"]);
}
