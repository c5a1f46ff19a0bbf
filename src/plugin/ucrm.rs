//! `ucrm.json`, which the host writes into the plugin's root: its own addresses.

use std::fmt::Display;
use std::path::Path;

use serde_json::Value;
use url::Url;

use crate::secret::Secret;

/// Why the address of UISP's API is not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is missing or cannot be read.
    #[error("{file} cannot be read ({cause})")]
    Unreadable {
        /// The file's path.
        file: String,
        /// What the system said.
        cause: String,
    },
    /// The file is no JSON object, or its address is no usable URL.
    #[error("{file} is not usable: {cause}")]
    Unusable {
        /// The file's path.
        file: String,
        /// What is wrong, and where.
        cause: String,
    },
}

/// The base URL of UISP's API, ending in `/api/v2.1/`.
///
/// `unmsLocalUrl` has been seen with and without the path `/nms`; both lead to the same API.
///
/// # Errors
/// [`Error`] says what to look at.
pub fn uisp_api_url(path: &Path) -> Result<Url, Error> {
    url_below(path, &["unmsLocalUrl"], "api/v2.1/")
}

/// Where the CRM tells who is logged in: at its local address, else at its public one.
///
/// # Errors
/// [`Error`] says what to look at.
pub fn current_user_url(path: &Path) -> Result<Url, Error> {
    url_below(path, &["ucrmLocalUrl", "ucrmPublicUrl"], "current-user")
}

/// The number by which the host knows the plugin.
pub fn plugin_id(path: &Path) -> Option<u64> {
    let content = super::read(path, super::HOST_FILE_BYTES_MAX).ok()?;
    let json: Value = serde_json::from_slice(&content).ok()?;
    json.get("pluginId")?.as_u64()
}

/// `below` at the first of the addresses `keys` that the file names.
fn url_below(path: &Path, keys: &[&str], below: &str) -> Result<Url, Error> {
    let file = path.display().to_string();
    let content =
        super::read(path, super::HOST_FILE_BYTES_MAX).map_err(|error| Error::Unreadable {
            file: file.clone(),
            cause: error.to_string(),
        })?;
    let unusable = |cause: String| Error::Unusable {
        file: file.clone(),
        cause,
    };
    let json: Value =
        serde_json::from_slice(&content).map_err(|error| unusable(error.to_string()))?;
    let named = |key: &&str| {
        let text = json.get(*key)?.as_str()?.trim();
        (!text.is_empty()).then(|| (key.to_string(), text))
    };
    let (key, text) = keys
        .iter()
        .find_map(named)
        .ok_or_else(|| unusable(format!("it names no {}", keys.join(" and no "))))?;
    let no_url = |cause: &dyn Display| unusable(format!("{key} {text:?}: {cause}"));
    let host = Url::parse(text).map_err(|error| no_url(&error))?;
    if let Some(password) = host.password() {
        // Known as a secret from here on, it is removed from every message.
        let _ = Secret::new(password);
    }
    if !matches!(host.scheme(), "http" | "https") {
        return Err(no_url(&"it is no http or https address"));
    }
    let base = format!("{}/{below}", text.trim_end_matches('/'));
    Url::parse(&base).map_err(|error| no_url(&error))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn parse(content: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ucrm.json");
        fs::write(&path, content).unwrap();
        uisp_api_url(&path)
            .map(String::from)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_known_form_of_the_address_works() {
        for (text, api) in [
            ("http://unms:8081/nms/", "http://unms:8081/nms/api/v2.1/"),
            ("http://unms:8081/", "http://unms:8081/api/v2.1/"),
            ("https://localhost//", "https://localhost/api/v2.1/"),
        ] {
            let json = format!(r#"{{"unmsLocalUrl":"{text}","pluginId":1}}"#);
            assert_eq!(parse(&json).as_deref(), Ok(api));
        }
    }

    #[test]
    fn the_crm_is_asked_at_its_local_address_if_it_has_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ucrm.json");
        for (addresses, url) in [
            (
                r#"{"ucrmPublicUrl":"https://uisp.example/crm/","ucrmLocalUrl":"http://localhost/crm/"}"#,
                "http://localhost/crm/current-user",
            ),
            (
                r#"{"ucrmPublicUrl":"https://uisp.example/crm/","ucrmLocalUrl":null}"#,
                "https://uisp.example/crm/current-user",
            ),
        ] {
            fs::write(&path, addresses).unwrap();
            assert_eq!(current_user_url(&path).unwrap().as_str(), url);
        }
        fs::write(&path, "{}").unwrap();
        assert!(
            current_user_url(&path)
                .unwrap_err()
                .to_string()
                .contains("ucrmPublicUrl")
        );
    }

    #[test]
    fn an_unusable_file_is_described() {
        assert!(parse("{").unwrap_err().contains("line 1"));
        assert!(parse("[]").unwrap_err().contains("unmsLocalUrl"));
        assert!(
            parse(r#"{"unmsLocalUrl":null}"#)
                .unwrap_err()
                .contains("unmsLocalUrl")
        );
        assert!(
            parse(r#"{"unmsLocalUrl":"ftp://x/"}"#)
                .unwrap_err()
                .contains("http")
        );
    }
}
