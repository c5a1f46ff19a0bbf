//! Labels of the form's fields, as they stand in `manifest.json`, and the addresses that messages name.

/// The code that Dropbox shows.
pub const FIELD_ACCESS_CODE: &str = "Dropbox access code";
/// The refresh token.
pub const FIELD_REFRESH_TOKEN: &str = "Dropbox refresh token";
/// The long-lived token that Dropbox no longer issues.
pub const FIELD_LEGACY_TOKEN: &str = "Dropbox access token (legacy)";
/// The app key.
pub const FIELD_APP_KEY: &str = "Dropbox app key";
/// The app secret.
pub const FIELD_APP_SECRET: &str = "Dropbox app secret";
/// The monitoring service.
pub const FIELD_HEALTHCHECK: &str = "Healthcheck URL";
/// The box for a fresh backup in each run.
pub const FIELD_CREATE_BACKUP: &str = "Create a fresh backup first";
/// UISP's token.
pub const FIELD_UISP_TOKEN: &str = "UISP API token";
/// The box that agrees to deletions on hold.
pub const FIELD_CONFIRM_CLEANUP: &str = "Confirm clean-up";
/// The public keys that everything is sealed to.
pub const FIELD_ENCRYPT_TO: &str = "Encrypt to";
/// The word that shows that the secret key is at hand.
pub const FIELD_ENCRYPTION_PROOF: &str = "Encryption proof";
/// The label of a field of the form; its key where there is none.
pub fn of(key: &str) -> &str {
    match key {
        "unmsApiToken" => FIELD_UISP_TOKEN,
        "dropboxAppKey" => FIELD_APP_KEY,
        "dropboxAppSecret" => FIELD_APP_SECRET,
        "dropboxAccessCode" => FIELD_ACCESS_CODE,
        "dropboxRefreshToken" => FIELD_REFRESH_TOKEN,
        "dropboxAccessToken" => FIELD_LEGACY_TOKEN,
        "dropboxFolder" => "Dropbox folder",
        "createBackup" => FIELD_CREATE_BACKUP,
        "keepDeletedDays" => "Keep deleted backups (days)",
        "keepOlder" => "Keep older backups",
        "inspect" => "Look into backups",
        "uploadLimitMbps" => "Upload limit (Mbit/s)",
        "healthcheckUrl" => FIELD_HEALTHCHECK,
        "encryptTo" => FIELD_ENCRYPT_TO,
        "encryptionProof" => FIELD_ENCRYPTION_PROOF,
        "confirmCleanup" => FIELD_CONFIRM_CLEANUP,
        other => other,
    }
}

/// What an app has to be allowed to do, and what for; the first two are needed for mirroring itself.
pub const PERMISSIONS: [(&str, &str); 4] = [
    ("files.metadata.read", "to see what is in the folder"),
    ("files.content.write", "to upload and to delete"),
    (
        "files.content.read",
        "to get backups back with the plugin's own commands",
    ),
    ("account_info.read", "to warn you before Dropbox is full"),
];
/// Where the admin registered the app.
pub const APP_CONSOLE: &str = "https://www.dropbox.com/developers/apps";
