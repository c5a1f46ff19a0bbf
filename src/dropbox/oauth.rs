//! Dropbox's OAuth 2 code flow without redirect: authorization URL, code exchange, refresh.
//!
//! Source of the parameters: <https://www.dropbox.com/developers/documentation/http/documentation>,
//! RFC 6749 and, for PKCE, RFC 7636.

use std::time::Duration;

use oauth2::basic::BasicClient;
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet,
    EndpointSet, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RefreshToken,
    RequestTokenError, TokenResponse, TokenUrl,
};
use serde_json::{Map, Value};
use ureq::http as wire;

use super::Hosts;
use super::error::says_disabled;
use crate::clock::StopReason;
use crate::http::retry::{Retry, Retryable};
use crate::http::{self, Body, Patience};
use crate::secret::Secret;
use crate::text;

/// Path of the token endpoint, for messages.
pub const TOKEN_ROUTE: &str = "oauth2/token";
/// Largest answer of the token endpoint that is read.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;
/// `state` protects a redirect; this flow has none, and Dropbox drops it. A fixed value keeps the
/// URL the same from run to run.
const STATE: &str = "backup-sync-dropbox";

/// The Dropbox app that the admin registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// App key, `client_id`.
    pub key: String,
    /// App secret; without it the code is protected by PKCE.
    pub secret: Option<Secret>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `invalid_grant`: the code is wrong, used or expired, or the refresh token was revoked.
    #[error("invalid_grant: {0}")]
    InvalidGrant(String),
    /// `invalid_client`: app key and app secret do not belong together, or to no app.
    #[error("invalid_client: {0}")]
    InvalidClient(String),
    /// Another OAuth error, which a correct request does not get.
    #[error("{0}")]
    Refused(String),
    /// A wish for patience; says nothing about code or token.
    #[error("Dropbox asks to slow down ({TOKEN_ROUTE})")]
    Busy {
        /// The wait that Dropbox asks for.
        retry_after: Option<Duration>,
    },
    /// The app is switched off; says nothing about code or token.
    #[error("Dropbox says that the app is disabled ({TOKEN_ROUTE}: {0})")]
    AppDisabled(String),
    /// No usable answer; says nothing about code or token, either.
    #[error("{0}")]
    Unavailable(#[from] http::Error),
    /// The run had to stop before there was an answer.
    #[error("the run was stopped")]
    Stopped(StopReason),
}

impl Retryable for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Unavailable(http::Error::Network(_)) => Retry::Backoff,
            Self::Busy { retry_after } => Retry::After(*retry_after),
            _ => Retry::Never,
        }
    }

    fn stopped(reason: StopReason) -> Self {
        Self::Stopped(reason)
    }
}

/// What a code is exchanged for.
#[derive(Debug)]
pub struct Grant {
    /// Good for four hours.
    pub access_token: Secret,
    /// Good until revoked.
    pub refresh_token: Secret,
    /// The permissions that come with them, where Dropbox says so.
    pub scopes: Option<Vec<String>>,
}

/// A new random code verifier (RFC 7636: 43 to 128 characters, S256).
pub fn new_code_verifier() -> Secret {
    let (_, verifier) = PkceCodeChallenge::new_random_sha256();
    Secret::new(verifier.into_secret())
}

/// Whether a stored text can be a code verifier (RFC 7636); a damaged one makes no challenge.
pub fn is_code_verifier(text: &Secret) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&text.expose().len()) && text.expose().bytes().all(is_unreserved)
}

/// The page on which the admin allows access; with `verifier`, the code it shows is worth nothing
/// without it.
///
/// # Errors
/// [`Error::Refused`] if the configured host makes no URL.
pub fn authorization_url(
    hosts: &Hosts,
    app: &App,
    verifier: Option<&Secret>,
) -> Result<String, Error> {
    let client = client(hosts, app)?;
    let mut request = client
        .authorize_url(|| CsrfToken::new(STATE.to_owned()))
        // Without it Dropbox gives no refresh token.
        .add_extra_param("token_access_type", "offline");
    if let Some(verifier) = verifier {
        let verifier = PkceCodeVerifier::new(verifier.expose().to_owned());
        request =
            request.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
    }
    let (url, _) = request.url();
    Ok(url.into())
}

/// What a text is, if it is plainly something else than a code: people copy what stands beside it.
pub fn not_a_code(code: &Secret) -> Option<&'static str> {
    let text = code.expose();
    if text.contains("://") || text.starts_with("www.") {
        Some("a link")
    } else if text.starts_with("sl.") {
        Some("an access token")
    } else if text.contains(char::is_whitespace) {
        Some("more than one word")
    } else {
        None
    }
}

/// Exchanges an authorization code. A code can be used only once, even if the exchange fails.
///
/// # Errors
/// [`Error`].
pub fn exchange_code(
    http: &http::Client,
    hosts: &Hosts,
    app: &App,
    code: &Secret,
    verifier: Option<&Secret>,
) -> Result<Grant, Error> {
    let client = client(hosts, app)?;
    let code = AuthorizationCode::new(code.expose().to_owned());
    let mut request = client.exchange_code(code);
    if let Some(verifier) = verifier {
        request = request.set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().to_owned()));
    }
    let token = request
        .request(&|request| post(http, request))
        .map_err(classify)?;
    let refresh_token = token.refresh_token().ok_or_else(|| {
        Error::Refused("Dropbox gave no refresh token although offline access was asked for".into())
    })?;
    Ok(Grant {
        access_token: Secret::new(token.access_token().secret()),
        refresh_token: Secret::new(refresh_token.secret()),
        scopes: token
            .scopes()
            .map(|scopes| scopes.iter().map(|scope| scope.to_string()).collect()),
    })
}

/// Gets a short-lived access token. The refresh token stays valid.
///
/// # Errors
/// [`Error`]; only [`Error::InvalidGrant`] means that the refresh token is now worthless.
pub fn refresh(
    http: &http::Client,
    hosts: &Hosts,
    app: &App,
    refresh_token: &Secret,
) -> Result<Secret, Error> {
    let client = client(hosts, app)?;
    let refresh_token = RefreshToken::new(refresh_token.expose().to_owned());
    let token = client
        .exchange_refresh_token(&refresh_token)
        .request(&|request| post(http, request))
        .map_err(classify)?;
    Ok(Secret::new(token.access_token().secret()))
}

type ReadyClient =
    BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

fn client(hosts: &Hosts, app: &App) -> Result<ReadyClient, Error> {
    let url = |base: &url::Url, path| {
        let joined = base.join(path);
        joined.map_err(|error| Error::Refused(format!("{base} makes no URL: {error}")))
    };
    let mut client = BasicClient::new(ClientId::new(app.key.clone()))
        // Key and secret in the form, not in a header, as 1.2.2 sent them.
        .set_auth_type(AuthType::RequestBody);
    if let Some(secret) = &app.secret {
        client = client.set_client_secret(ClientSecret::new(secret.expose().to_owned()));
    }
    Ok(client
        .set_auth_uri(AuthUrl::from_url(url(&hosts.web, "oauth2/authorize")?))
        .set_token_uri(TokenUrl::from_url(url(&hosts.api, TOKEN_ROUTE)?)))
}

/// Carries a request of the oauth2 crate. Only an answer that OAuth itself can give reaches the
/// crate: a success, or the 400 and 401 of RFC 6749. Anything else is a fault on the way.
fn post(http: &http::Client, request: HttpRequest) -> Result<HttpResponse, Error> {
    let (head, body) = request.into_parts();
    let mut headers = Vec::new();
    for (name, value) in [
        ("Content-Type", wire::header::CONTENT_TYPE),
        ("Accept", wire::header::ACCEPT),
    ] {
        if let Some(value) = head
            .headers
            .get(value)
            .and_then(|value| value.to_str().ok())
        {
            headers.push((name, value));
        }
    }
    let url = head.uri.to_string();
    let response = http.send(
        Patience::Call,
        head.method,
        &url,
        &headers,
        Body::Bytes(&body),
    )?;
    let status = response.status;
    if response.asks_for_patience() {
        let retry_after = response.retry_after();
        return Err(Error::Busy { retry_after });
    }
    if !matches!(status, 200 | 400 | 401) {
        let body = response.error_body()?;
        let excerpt = http::excerpt(&body, 200);
        if matches!(status, 403) && says_disabled(&body) {
            return Err(Error::AppDisabled(excerpt));
        }
        return Err(http::Error::Network(format!("status {status}, {excerpt}")).into());
    }
    let body = response.bytes(TOKEN_BYTES_MAX)?;
    if status != 200 && says_disabled(&body) {
        return Err(Error::AppDisabled(http::excerpt(&body, 200)));
    }
    let body = only_what_counts(body);
    wire::Response::builder()
        .status(status)
        .body(body)
        .map_err(|error| http::Error::Protocol(error.to_string()).into())
}

/// An answer without the fields that nobody here needs: the crate is strict about them, and what is not needed
/// must not break the rest. Anything but a JSON object stays as it is.
fn only_what_counts(body: Vec<u8>) -> Vec<u8> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(&body) else {
        return body;
    };
    let needed = [
        "access_token",
        "refresh_token",
        "scope",
        "error",
        "error_description",
    ];
    let texts = fields
        .into_iter()
        .filter(|(name, value)| needed.contains(&name.as_str()) && value.is_string());
    let mut fields: Map<String, Value> = texts.collect();
    fields.insert("token_type".into(), "bearer".into());
    Value::Object(fields).to_string().into_bytes()
}

fn classify(error: RequestTokenError<Error, oauth2::basic::BasicErrorResponse>) -> Error {
    match error {
        RequestTokenError::Request(error) => error,
        RequestTokenError::ServerResponse(response) => {
            let code = response.error().as_ref();
            let description = response
                .error_description()
                .map_or(code, |description| description.as_str());
            let text = http::excerpt(description.as_bytes(), 200);
            // Dropbox has put code and description into one string: match the beginning.
            if code.starts_with("invalid_grant") {
                Error::InvalidGrant(text)
            } else if code.starts_with("invalid_client") {
                Error::InvalidClient(text)
            } else {
                Error::Refused(format!("{}: {text}", http::excerpt(code.as_bytes(), 60)))
            }
        }
        // The body is not quoted: it may hold a token that nobody has seen yet.
        RequestTokenError::Parse(error, body) => Error::Unavailable(http::Error::Network(format!(
            "the answer of {} bytes is not an OAuth answer: {}",
            body.len(),
            text::json_fault(error.inner())
        ))),
        RequestTokenError::Other(cause) => Error::Unavailable(http::Error::Network(cause)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn parameters(secret: Option<&str>, verifier: Option<&str>) -> HashMap<String, String> {
        let hosts = Hosts {
            api: "https://api.example/".parse().unwrap(),
            content: "https://content.example/".parse().unwrap(),
            web: "https://www.example".parse().unwrap(),
        };
        let app = App {
            key: "fake-key".into(),
            secret: secret.map(Secret::new),
        };
        let verifier = verifier.map(Secret::new);
        let url = authorization_url(&hosts, &app, verifier.as_ref()).unwrap();
        assert!(
            url.starts_with("https://www.example/oauth2/authorize?"),
            "{url}"
        );
        let url: url::Url = url.parse().unwrap();
        url.query_pairs().into_owned().collect()
    }

    #[test]
    fn the_url_asks_for_offline_access_and_names_no_secret() {
        let parameters = parameters(Some("fake-secret"), None);
        assert_eq!(parameters["token_access_type"], "offline");
        assert_eq!(parameters["client_id"], "fake-key");
        assert_eq!(parameters["response_type"], "code");
        assert!(!parameters.contains_key("code_challenge"));
        assert!(
            !parameters
                .values()
                .any(|value| value.contains("fake-secret"))
        );
    }

    #[test]
    fn pkce_follows_the_example_of_rfc_7636() {
        let parameters = parameters(None, Some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        assert_eq!(
            parameters["code_challenge"],
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
        assert_eq!(parameters["code_challenge_method"], "S256");
    }
}
