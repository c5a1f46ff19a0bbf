//! The configuration: any file is read without a panic, what is accepted is safe to use, what is not is never quoted,
//! and a change touches its own keys only.

use backup_sync_dropbox::plugin::config::{self, Change};
use backup_sync_dropbox::secret::Secret;
use serde_json::Value;

/// The keys that the plugin changes.
const OWN: [&str; 5] = [
    "dropboxAccessCode",
    "dropboxAppKey",
    "dropboxRefreshToken",
    "confirmCleanup",
    "encryptionProof",
];

/// All that is ever said of a value that cannot be used: it may be a secret in the wrong field.
const FOUND: [&str; 4] = [
    "a list",
    "an object",
    "a line break or control character",
    "something else",
];

/// Panics if what is made of the input is not as it should be.
pub fn check(content: &[u8]) {
    let Ok(values) = config::parse(content) else {
        return;
    };
    let (settings, problems) = config::settings(values.clone());

    let folder = &settings.mirror_folder;
    if !folder.is_empty() {
        let names = folder.strip_prefix('/').expect("it begins with a slash");
        for name in names.split('/') {
            assert!(!["", ".", ".."].contains(&name), "{folder:?}");
            assert!(!name.chars().any(char::is_control), "{folder:?}");
        }
    }
    assert!(settings.keep_deleted_days <= 3650);
    assert_ne!(settings.upload_bytes_per_second, Some(0));
    if let Some(path) = &settings.backup_directory {
        assert!(path.is_absolute());
    }
    if let Some(url) = &settings.healthcheck_url {
        assert!(url.expose().to_lowercase().starts_with("http"));
    }

    for problem in &problems {
        assert!(FOUND.contains(&problem.found.as_str()), "{problem:?}");
    }

    let code = settings.access_code.unwrap_or_else(|| Secret::new("-"));
    let token = Secret::new("new");
    for change in [
        Change::Authorized {
            refresh_token: &token,
            spent_code: &code,
        },
        Change::ForgetCode { spent_code: &code },
        Change::Code(&code),
        Change::AppKey("key"),
        Change::CleanupDone,
        Change::ProofGiven,
    ] {
        let mut changed = values.clone();
        change.apply(&mut changed);
        let others = |(key, _): &(&String, &Value)| !OWN.contains(&key.as_str());
        assert!(
            values
                .iter()
                .filter(others)
                .eq(changed.iter().filter(others)),
            "{change:?}"
        );
        let (settings, _) = config::settings(changed);
        match change {
            Change::Authorized { .. } => assert_eq!(settings.refresh_token.as_ref(), Some(&token)),
            Change::ForgetCode { .. } => {}
            Change::Code(code) => assert_eq!(settings.access_code.as_ref(), Some(code)),
            Change::AppKey(key) => assert_eq!(settings.app_key.as_deref(), Some(key)),
            Change::CleanupDone => assert!(!settings.confirm_cleanup),
            Change::ProofGiven => assert!(settings.encryption_proof.is_none()),
            Change::IdentityRemoved => {}
        }
    }
}
