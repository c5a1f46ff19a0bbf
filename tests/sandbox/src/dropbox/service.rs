//! From a request to a route: hosts, methods, content types, authorization, argument; then the route itself.

use super::answer::{Answer, Refusal};
use super::arguments::Fields;
use super::world::World;
use super::{DropboxOptions, consent, oauth, routes};
use crate::http::{Handler, Head, Request, RequestBody, Response};
use serde_json::Value;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Arguments in a body are small; a batch of a thousand commits stays well below this.
const ARGUMENT_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What all listeners of one stand-in share.
pub(super) struct Shared {
    pub(super) options: DropboxOptions,
    world: Mutex<World>,
    serial: AtomicU64,
}

impl Shared {
    pub(super) fn new(options: DropboxOptions) -> Self {
        let mut world = World::default();
        world.allocated_bytes = 2 << 40;
        world.register(options.app.clone());
        Self {
            options,
            world: Mutex::new(world),
            serial: AtomicU64::new(1),
        }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a listener stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Api,
    Content,
    Web,
}

impl Role {
    fn host(self) -> &'static str {
        match self {
            Self::Api => "api.dropboxapi.com",
            Self::Content => "content.dropboxapi.com",
            Self::Web => "www.dropbox.com",
        }
    }
}

/// How a route takes its argument and its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// JSON in, JSON out, on the API host.
    Rpc,
    /// Argument in a header, bytes in the body, on the content host.
    Upload,
    /// Argument in a header, bytes in the answer, on the content host.
    Download,
}

/// One route of the API.
pub(super) struct Route {
    pub(super) name: &'static str,
    pub(super) style: Style,
    pub(super) scope: &'static str,
    pub(super) run: fn(Call<'_, '_>) -> Result<Answer, Refusal>,
}

/// One authorized call of a route.
pub(super) struct Call<'a, 'b> {
    pub(super) shared: &'a Shared,
    /// The app key of the caller.
    pub(super) app: String,
    /// The access token of the caller.
    pub(super) token: String,
    pub(super) argument: Value,
    pub(super) head: &'a Head,
    pub(super) body: &'a mut RequestBody<'b>,
}

impl Call<'_, '_> {
    /// The argument's fields.
    pub(super) fn fields(&mut self) -> Result<Fields, Refusal> {
        Ok(Fields::of(self.argument.take())?)
    }

    /// Refuses anything but the argument of a route that takes none.
    pub(super) fn no_argument(&self) -> Result<(), Refusal> {
        if self.argument.is_null() {
            Ok(())
        } else {
            Err(Refusal::BadArgument("expected null".into()))
        }
    }
}

/// The handler of one listener.
pub(super) struct Service {
    pub(super) role: Role,
    pub(super) shared: Arc<Shared>,
}

impl Handler for Service {
    fn route(&self, head: &Head) -> String {
        let path = head.path();
        let label = path.strip_prefix("/2/").or(path.strip_prefix('/'));
        label.unwrap_or(path).to_owned()
    }

    fn handle(&self, request: &mut Request<'_>) -> io::Result<Response> {
        let serial = self.shared.serial.fetch_add(1, Ordering::Relaxed);
        let response = match (self.role_of(request.head), request.head.path()) {
            (Role::Web, "/oauth2/authorize") => self.consent_page(request)?,
            (Role::Api, "/oauth2/token") => self.token_endpoint(request)?,
            (role @ (Role::Api | Role::Content), path) => match path.strip_prefix("/2/") {
                Some(function) => self.call(role, function, request, serial)?,
                None => Response::html(404, "<html><h1>404 Not Found</h1></html>"),
            },
            _ => Response::html(404, "<html><h1>404 Not Found</h1></html>"),
        };
        let now = self.shared.world().now();
        Ok(response
            .with_header("Date", now.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
            .with_header("X-Dropbox-Request-Id", format!("{serial:032x}")))
    }
}

impl Service {
    /// Under one of Dropbox's real names the name decides; under a loopback address the listener does.
    fn role_of(&self, head: &Head) -> Role {
        let name = head.host().split(':').next().unwrap_or_default();
        match name {
            // The second name is an alias that version 1.2.2 still uses for the token endpoint.
            "api.dropboxapi.com" | "api.dropbox.com" => Role::Api,
            "content.dropboxapi.com" => Role::Content,
            "www.dropbox.com" => Role::Web,
            _ => self.role,
        }
    }

    fn consent_page(&self, request: &mut Request<'_>) -> io::Result<Response> {
        let is_answer = request.head.method == "POST";
        let query = if is_answer {
            let form = read_form(request)?;
            let query = form.into_iter().find(|(name, _)| name == "query");
            query.map(|(_, value)| value).unwrap_or_default()
        } else {
            let target = &request.head.target;
            let query = target.split_once('?').map(|(_, query)| query);
            query.unwrap_or_default().to_owned()
        };
        let parameters: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let mut world = self.shared.world();
        Ok(match oauth::check_authorization(&world, &parameters) {
            Err(why) => Response::html(400, consent::refusal(&why)),
            Ok(consent) if is_answer => Response::html(200, consent::code(&world.allow(consent))),
            Ok(consent) => {
                let page = consent::question(&query, &consent.app, &consent.scopes);
                Response::html(200, page)
            }
        })
    }

    fn token_endpoint(&self, request: &mut Request<'_>) -> io::Result<Response> {
        let refuse = |text: &str| {
            let error = serde_json::json!({
                "error": "invalid_request",
                "error_description": text,
            });
            Ok(Response::json(400, &error))
        };
        if request.head.method != "POST" {
            return refuse("POST only");
        }
        if !request.head.query().is_empty() {
            return refuse("parameters belong into the body");
        }
        let content_type = request.head.header("content-type").unwrap_or_default();
        if content_type != "application/x-www-form-urlencoded" {
            return refuse("expecting application/x-www-form-urlencoded");
        }
        let form = read_form(request)?;
        let authorization = request.head.header("authorization");
        let (status, answer) = self.shared.world().token(&form, authorization);
        Ok(Response::json(status, &answer))
    }

    fn call(
        &self,
        role: Role,
        function: &str,
        request: &mut Request<'_>,
        serial: u64,
    ) -> io::Result<Response> {
        let Some(route) = routes::ALL.iter().find(|route| route.name == function) else {
            let text = format!("Unknown API function: \"{function}\"");
            return Ok(Response::text(400, text));
        };
        let place = match route.style {
            Style::Rpc => "request body",
            Style::Upload | Style::Download => "HTTP header \"Dropbox-API-Arg\"",
        };
        match self.try_call(role, route, request) {
            Ok(answer) => Ok(answer.into_response()),
            Err(refusal) => refusal.into_response(function, place, serial),
        }
    }

    fn try_call(
        &self,
        role: Role,
        route: &Route,
        request: &mut Request<'_>,
    ) -> Result<Answer, Refusal> {
        let head = request.head;
        let expected = match route.style {
            Style::Rpc => Role::Api,
            Style::Upload | Style::Download => Role::Content,
        };
        // Assumption: the texts of the next two refusals are not published; that they are 400 is.
        if role != expected {
            return Err(Refusal::BadInput(format!(
                "Unexpected host name. Expected {}, got {}.",
                expected.host(),
                role.host()
            )));
        }
        let is_get = head.method == "GET" && route.style == Style::Download;
        if head.method != "POST" && !is_get {
            let text = format!("Unexpected HTTP method \"{}\".", head.method);
            return Err(Refusal::BadInput(text));
        }
        if head.header("dropbox-api-path-root").is_some() {
            let text = "Path root is not supported for sandbox app.";
            return Err(Refusal::BadInput(text.into()));
        }
        let authorization = head.header("authorization");
        let app = self.shared.world().authorize(authorization, route.scope)?;
        check_content_type(head, route.style)?;
        let argument = if route.style == Style::Rpc {
            self.read_argument(request)?
        } else {
            header_argument(head, is_get)?
        };
        let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
        (route.run)(Call {
            shared: &self.shared,
            app,
            token: token.unwrap_or_default().to_owned(),
            argument,
            head,
            body: &mut request.body,
        })
    }

    fn read_argument(&self, request: &mut Request<'_>) -> Result<Value, Refusal> {
        // Stricter than need be: an argument in both places is a client's mistake.
        if request.head.header("dropbox-api-arg").is_some() {
            let text = "Must not provide HTTP header \"Dropbox-API-Arg\".";
            return Err(Refusal::BadInput(text.into()));
        }
        let mut bytes = Vec::new();
        (&mut request.body)
            .take(ARGUMENT_BYTES_MAX)
            .read_to_end(&mut bytes)?;
        serde_json::from_slice(&bytes)
            .map_err(|_| Refusal::BadArgument("could not decode input as JSON".into()))
    }
}

fn read_form(request: &mut Request<'_>) -> io::Result<Vec<(String, String)>> {
    let mut bytes = Vec::new();
    (&mut request.body)
        .take(ARGUMENT_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(url::form_urlencoded::parse(&bytes).into_owned().collect())
}

/// Uploads need exactly this type, also with an empty body; a charset suffix is refused.
fn check_content_type(head: &Head, style: Style) -> Result<(), Refusal> {
    let given = head.header("content-type");
    let is_accepted = match style {
        Style::Rpc => given == Some("application/json"),
        Style::Upload => given == Some("application/octet-stream"),
        Style::Download => given.is_none(),
    };
    if is_accepted {
        return Ok(());
    }
    let expected = match style {
        Style::Rpc => "Expecting \"application/json\".",
        Style::Upload => "Expecting \"application/octet-stream\".",
        Style::Download => "Expecting none.",
    };
    Err(Refusal::BadInput(format!(
        "Bad HTTP \"Content-Type\" header: {:?}. {expected}",
        given.unwrap_or_default()
    )))
}

fn header_argument(head: &Head, is_get: bool) -> Result<Value, Refusal> {
    let in_query = head.query().into_iter().find(|(name, _)| name == "arg");
    let text = match (head.header("dropbox-api-arg"), in_query) {
        (Some(header), None) => header.to_owned(),
        (None, Some((_, argument))) if is_get => argument,
        _ => {
            let text = "Must provide HTTP header \"Dropbox-API-Arg\" or URL parameter \"arg\".";
            return Err(Refusal::BadInput(text.into()));
        }
    };
    // The live server was once seen to take raw UTF-8; its documentation asks for escapes, DEL included.
    let is_safe = is_get || text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    match serde_json::from_str(&text) {
        Ok(argument) if is_safe => Ok(argument),
        _ => Err(Refusal::BadArgument(
            "could not decode input as JSON".into(),
        )),
    }
}
