//! The consent page's rules and the token endpoint.

use super::world::{
    ACCESS_TOKEN_SECONDS, AccessToken, AuthorizationCode, CODE_SECONDS, Grant, World,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// What the consent page asks the admin to agree to.
#[derive(Debug, Clone)]
pub(super) struct Consent {
    pub(super) app: String,
    pub(super) scopes: Vec<String>,
    challenge: Option<String>,
    is_offline: bool,
}

/// Parameters that the consent page knows.
const KNOWN: [&str; 14] = [
    "client_id",
    "response_type",
    "token_access_type",
    "code_challenge",
    "code_challenge_method",
    "scope",
    "include_granted_scopes",
    "state",
    "redirect_uri",
    "force_reapprove",
    "force_reauthentication",
    "disable_signup",
    "require_role",
    "locale",
];

/// Checks the parameters of an authorization URL; an error is the text of the page that refuses.
pub(super) fn check_authorization(
    world: &World,
    query: &[(String, String)],
) -> Result<Consent, String> {
    let mut parameters = HashMap::new();
    for (name, value) in query {
        if !KNOWN.contains(&name.as_str()) {
            // Stricter than OAuth asks, which lets servers ignore what they do not know.
            return Err(format!("\"{name}\": unknown parameter"));
        }
        if parameters.insert(name.as_str(), value.as_str()).is_some() {
            return Err(format!("\"{name}\": given more than once"));
        }
    }
    let get = |name: &str| parameters.get(name).copied();
    let app = match get("client_id").map(|key| world.apps.get(key)) {
        Some(Some(registered)) => &registered.app,
        Some(None) => return Err("Invalid client_id".into()),
        None => return Err("Missing client_id".into()),
    };
    match get("response_type") {
        Some("code") => {}
        Some("token") => return Err("\"response_type\": the implicit flow is not offered".into()),
        _ => return Err("\"response_type\": expected \"code\"".into()),
    }
    // Tokens without end are not issued any more, so "legacy" and nothing both mean a short-lived one.
    let is_offline = match get("token_access_type") {
        Some("offline") => true,
        Some("online" | "legacy") | None => false,
        Some(other) => return Err(format!("\"token_access_type\": {other:?}")),
    };
    let challenge = match (get("code_challenge"), get("code_challenge_method")) {
        (None, None) => None,
        (Some(challenge), Some("S256")) => {
            let is_digest = URL_SAFE_NO_PAD
                .decode(challenge)
                .is_ok_and(|bytes| bytes.len() == 32);
            if !is_digest {
                return Err("\"code_challenge\": no base64url of a SHA-256 digest".into());
            }
            Some(challenge.to_owned())
        }
        _ => return Err("\"code_challenge\": needs code_challenge_method S256".into()),
    };
    if get("redirect_uri").is_some() {
        return Err("\"redirect_uri\": not registered for this app".into());
    }
    if get("state").is_some_and(|state| state.len() > 500) {
        return Err("\"state\": longer than 500 bytes".into());
    }
    if get("include_granted_scopes").is_some() && get("scope").is_none() {
        return Err("\"include_granted_scopes\": only with scope".into());
    }
    let scopes = match get("scope") {
        // Version 1.2.2 sends an empty scope, which means all that the app has.
        None | Some("") => app.scopes.clone(),
        Some(list) => list.split(' ').map(str::to_owned).collect(),
    };
    if let Some(unknown) = scopes.iter().find(|scope| !app.scopes.contains(scope)) {
        return Err(format!("\"scope\": the app does not have {unknown:?}"));
    }
    Ok(Consent {
        app: app.key.clone(),
        scopes,
        challenge,
        is_offline,
    })
}

impl World {
    /// What happens when the admin clicks Allow: the code to copy.
    pub(super) fn allow(&mut self, consent: Consent) -> String {
        let grant = self.add_grant(Grant {
            app: consent.app,
            scopes: consent.scopes,
            challenge: consent.challenge,
            is_offline: consent.is_offline,
            is_revoked: false,
        });
        let code = self.opaque("code-", CODE_CHARS);
        let expires_at = self.now() + TimeDelta::seconds(CODE_SECONDS);
        self.codes.insert(
            code.clone(),
            AuthorizationCode {
                grant,
                expires_at,
                is_spent: false,
            },
        );
        code
    }

    pub(super) fn add_grant(&mut self, grant: Grant) -> usize {
        self.grants.push(grant);
        self.grants.len() - 1
    }

    /// A refresh token for a grant.
    pub(super) fn issue_refresh_token(&mut self, grant: usize) -> String {
        let token = self.opaque("refresh-", REFRESH_TOKEN_CHARS);
        self.refresh_tokens.insert(token.clone(), grant);
        token
    }

    /// An access token for a grant, limited to some of its scopes.
    pub(super) fn issue_access_token(&mut self, grant: usize, scopes: Vec<String>) -> String {
        let token = self.opaque("sl.sandbox-", ACCESS_TOKEN_CHARS);
        let expires_at = Some(self.now() + TimeDelta::seconds(ACCESS_TOKEN_SECONDS));
        self.access_tokens.insert(
            token.clone(),
            AccessToken {
                grant,
                scopes,
                expires_at,
            },
        );
        token
    }

    /// A token of the kind that Dropbox stopped issuing in 2021: without an end.
    pub(super) fn issue_legacy_token(&mut self, app: &str) -> String {
        let scopes = self.apps[app].app.scopes.clone();
        let grant = self.add_grant(Grant {
            app: app.into(),
            scopes: scopes.clone(),
            challenge: None,
            is_offline: false,
            is_revoked: false,
        });
        let token = self.opaque("legacy-", LEGACY_TOKEN_CHARS);
        self.access_tokens.insert(
            token.clone(),
            AccessToken {
                grant,
                scopes,
                expires_at: None,
            },
        );
        token
    }

    fn opaque(&mut self, prefix: &str, chars: usize) -> String {
        let serial = self.next_serial();
        let mut text = format!("{prefix}{serial:06}-");
        let filler: String = Sha256::digest(text.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        while text.len() < chars {
            text.push_str(&filler);
        }
        text.truncate(chars);
        text
    }

    /// The token endpoint: a form in, status and JSON out.
    pub(super) fn token(
        &mut self,
        form: &[(String, String)],
        authorization: Option<&str>,
    ) -> (u16, Value) {
        match self.try_token(form, authorization) {
            Ok(granted) => (200, granted),
            Err(refused) => (400, refused),
        }
    }

    fn try_token(
        &mut self,
        form: &[(String, String)],
        authorization: Option<&str>,
    ) -> Result<Value, Value> {
        let mut fields = HashMap::new();
        for (name, value) in form {
            if fields.insert(name.as_str(), value.as_str()).is_some() {
                return Err(error("invalid_request", &format!("duplicate {name}")));
            }
        }
        let client = self.client(&fields, authorization)?;
        match fields.get("grant_type").copied() {
            Some("authorization_code") => self.exchange(&client, &fields),
            Some("refresh_token") => self.refresh(&client, &fields),
            Some(_) => Err(error("unsupported_grant_type", "unsupported grant_type")),
            None => Err(error("invalid_request", "missing grant_type")),
        }
    }

    /// Who asks: by form fields or by HTTP Basic, not both.
    fn client(
        &self,
        fields: &HashMap<&str, &str>,
        authorization: Option<&str>,
    ) -> Result<Client, Value> {
        let in_form = |name: &str| fields.get(name).map(|value| (*value).to_owned());
        let (key, secret) = match authorization {
            None => (in_form("client_id"), in_form("client_secret")),
            Some(_) if in_form("client_secret").is_some() => {
                return Err(error(
                    "invalid_request",
                    "two ways of client authentication",
                ));
            }
            Some(header) => {
                let pair = header
                    .strip_prefix("Basic ")
                    .and_then(|pair| STANDARD.decode(pair).ok())
                    .and_then(|pair| String::from_utf8(pair).ok())
                    .ok_or_else(invalid_client)?;
                let (key, secret) = pair.split_once(':').ok_or_else(invalid_client)?;
                if in_form("client_id").is_some_and(|other| other != key) {
                    return Err(error("invalid_request", "two different client_ids"));
                }
                (Some(key.to_owned()), Some(secret.to_owned()))
            }
        };
        let Some(key) = key else {
            return Err(error("invalid_request", "missing client_id"));
        };
        let app = &self.apps.get(&key).ok_or_else(invalid_client)?.app;
        // A secret that is given must be right, also where none is needed.
        if secret.as_ref().is_some_and(|secret| *secret != app.secret) {
            return Err(invalid_client());
        }
        Ok(Client {
            key,
            has_secret: secret.is_some(),
        })
    }

    fn exchange(&mut self, client: &Client, fields: &HashMap<&str, &str>) -> Result<Value, Value> {
        let gone = || error("invalid_grant", "code doesn't exist or has expired");
        let Some(code) = fields.get("code") else {
            return Err(error("invalid_request", "missing code"));
        };
        let now = self.now();
        let found = self.codes.get_mut(*code).ok_or_else(gone)?;
        let grant = self.grants[found.grant].clone();
        if found.is_spent || found.expires_at <= now || grant.app != client.key {
            return Err(gone());
        }
        match &grant.challenge {
            None if !client.has_secret => return Err(invalid_client()),
            None if fields.contains_key("code_verifier") => {
                return Err(error(
                    "invalid_grant",
                    "code was issued without a challenge",
                ));
            }
            None => {}
            Some(_) if client.has_secret => {
                // Dropbox's own clients send a verifier or a secret, never both.
                return Err(error("invalid_request", "code_verifier and client_secret"));
            }
            Some(challenge) => {
                let verifier = fields.get("code_verifier").copied().unwrap_or_default();
                if !is_verifier(verifier) || challenge_of(verifier) != *challenge {
                    // Assumption: the text is not known; and a code that was shown with a wrong
                    // verifier is spent, as RFC 6749 asks for codes in wrong hands.
                    found.is_spent = true;
                    return Err(error("invalid_grant", "invalid code verifier"));
                }
            }
        }
        if fields.contains_key("redirect_uri") {
            return Err(error("invalid_grant", "redirect_uri mismatch"));
        }
        found.is_spent = true;
        let grant_number = found.grant;
        let mut granted = json!({
            "access_token": self.issue_access_token(grant_number, grant.scopes.clone()),
            "token_type": "bearer",
            "expires_in": ACCESS_TOKEN_SECONDS,
        });
        if grant.is_offline {
            granted["refresh_token"] = json!(self.issue_refresh_token(grant_number));
        }
        granted["scope"] = json!(grant.scopes.join(" "));
        granted["uid"] = json!("1000001");
        granted["account_id"] = json!("dbid:sandbox-account-00000000000000000");
        Ok(granted)
    }

    fn refresh(&mut self, client: &Client, fields: &HashMap<&str, &str>) -> Result<Value, Value> {
        let Some(token) = fields.get("refresh_token") else {
            return Err(error("invalid_request", "missing refresh_token"));
        };
        if token.len() != REFRESH_TOKEN_CHARS {
            // Seen live when an access code was pasted where a refresh token belongs.
            return Err(error("invalid_grant", "refresh token is malformed"));
        }
        let revoked = || error("invalid_grant", "refresh token is invalid or revoked");
        let number = *self.refresh_tokens.get(*token).ok_or_else(revoked)?;
        let grant = self.grants[number].clone();
        if grant.is_revoked || grant.app != client.key {
            return Err(revoked());
        }
        // A refresh token that was obtained with the secret needs the secret.
        // Assumption: one obtained with PKCE may be refreshed with the right secret too.
        if grant.challenge.is_none() && !client.has_secret {
            return Err(invalid_client());
        }
        let scopes: Vec<String> = match fields.get("scope") {
            None | Some(&"") => grant.scopes.clone(),
            Some(list) => list.split(' ').map(str::to_owned).collect(),
        };
        if scopes.iter().any(|scope| !grant.scopes.contains(scope)) {
            return Err(error("invalid_scope", "scope was not granted"));
        }
        Ok(json!({
            "access_token": self.issue_access_token(number, scopes),
            "token_type": "bearer",
            "expires_in": ACCESS_TOKEN_SECONDS,
        }))
    }
}

const CODE_CHARS: usize = 43;
const REFRESH_TOKEN_CHARS: usize = 64;
const LEGACY_TOKEN_CHARS: usize = 64;
/// Short-lived tokens are longer than many a database column: a client must not cut them.
const ACCESS_TOKEN_CHARS: usize = 1_300;

struct Client {
    key: String,
    has_secret: bool,
}

fn error(name: &str, description: &str) -> Value {
    json!({ "error": name, "error_description": description })
}

/// Code and text in one string, as the live endpoint answers.
fn invalid_client() -> Value {
    json!({ "error": "invalid_client: Invalid client_id or client_secret" })
}

/// RFC 7636: 43 to 128 unreserved characters.
fn is_verifier(verifier: &str) -> bool {
    (43..=128).contains(&verifier.len())
        && verifier
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_equals_the_vector_of_rfc_7636() {
        assert_eq!(
            challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn verifiers_have_a_length_and_an_alphabet() {
        assert!(is_verifier(&"a".repeat(43)));
        assert!(is_verifier(&"~".repeat(128)));
        assert!(!is_verifier(&"a".repeat(42)));
        assert!(!is_verifier(&"a".repeat(129)));
        assert!(!is_verifier(&"+".repeat(43)));
    }
}
