//! A stand-in for the part of the host that plugins ask who is logged in, and the page as a visitor gets it.

use std::io::{self, Write as _};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use sandbox::http::{Handler, Head, Request, Response, Server, ServerOptions};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::support::World;

/// The only path that is asked for.
pub const CURRENT_USER: &str = "/crm/current-user";

/// Sessions by the value of their cookie.
const SESSIONS: [(&str, &str); 6] = [
    ("test-admin-who-views", "view"),
    ("test-admin-who-edits", "edit"),
    ("test-another-who-edits", "edit"),
    ("test-admin-without", "denied"),
    ("test-client", "client"),
    ("test-strange-answer", "strange"),
];

/// Knows sessions, and refuses cookies that are none of a plugin's business.
struct Crm;

impl Handler for Crm {
    fn route(&self, head: &Head) -> String {
        head.path().to_owned()
    }

    fn handle(&self, request: &mut Request<'_>) -> io::Result<Response> {
        let head = request.head;
        if head.method != "GET" || head.path() != CURRENT_USER {
            return Ok(Response::text(404, "no such page"));
        }
        let cookies: Vec<(&str, &str)> = head
            .header("cookie")
            .unwrap_or_default()
            .split("; ")
            .filter_map(|cookie| cookie.split_once('='))
            .collect();
        let is_known =
            |name| ["PHPSESSID", "nms-crm-php-session-id", "nms-session"].contains(&name);
        if head.header_count("cookie") != 1 || !cookies.iter().all(|(name, _)| is_known(*name)) {
            return Ok(Response::text(
                400,
                "these cookies are none of your business",
            ));
        }
        let of = |value| SESSIONS.iter().find(|(session, _)| *session == value);
        let answer = cookies.iter().find_map(|(_, value)| of(*value));
        Ok(answer.map_or_else(
            || Response::json(403, &json!({"code": 403, "message": "Forbidden"})),
            |(session, kind)| current_user(session, kind),
        ))
    }
}

fn current_user(session: &str, kind: &str) -> Response {
    let user = |is_client, permissions: Value| {
        Response::json(
            200,
            &json!({
                "userId": 1, "username": session, "isClient": is_client, "clientId": null,
                "userGroup": null, "permissions": permissions, "specialPermissions": [],
            }),
        )
    };
    match kind {
        "client" => user(true, json!([])),
        "strange" => Response::html(200, "<!DOCTYPE html><title>Log in</title>"),
        kind => user(false, json!({"system/plugins": kind, "network": "edit"})),
    }
}

/// A world whose host tells who is logged in.
pub struct Site {
    /// The plugin and its surroundings.
    pub world: World,
    /// The host.
    pub crm: Server,
}

/// What a visitor got.
pub struct Page {
    /// `200 OK`
    pub status: String,
    /// All other headers.
    pub headers: Vec<(String, String)>,
    /// The page.
    pub body: String,
}

impl Site {
    /// A host around `world`.
    pub fn around(world: World) -> Self {
        let crm = Server::start(ServerOptions::default(), Arc::new(Crm)).unwrap();
        let site = Self { world, crm };
        let url = site.crm.url() + "/crm/";
        site.set_crm_url(json!(url), json!("http://192.0.2.1/crm/"));
        site
    }

    /// Writes the host's addresses anew.
    pub fn set_crm_url(&self, local: Value, public: Value) {
        set_addresses(&self.world, local, public);
    }

    /// The program as a web server's CGI would start it.
    pub fn command(&self, method: &str, query: &str, cookies: &str) -> Command {
        command(&self.world, method, query, cookies)
    }

    /// Asks for a page with these cookies.
    pub fn ask(&self, method: &str, query: &str, cookies: &str) -> Page {
        page(&mut self.command(method, query, cookies))
    }

    /// The page as an admin sees it.
    pub fn page(&self) -> Page {
        let page = self.ask("GET", "", ADMIN);
        assert_eq!(page.status, "200 OK", "{}", page.body);
        page
    }

    /// The page as somebody sees it who may edit plugins.
    pub fn editors_page(&self) -> Page {
        let page = self.ask("GET", "", EDITOR);
        assert_eq!(page.status, "200 OK", "{}", page.body);
        page
    }

    /// Sends a form from the page itself.
    pub fn send(&self, cookies: &str, fields: &[(String, String)]) -> Page {
        self.send_from(cookies, &[("HTTP_SEC_FETCH_SITE", "same-origin")], fields)
    }

    /// Sends a form with what the browser says of the page that it is on.
    pub fn send_from(
        &self,
        cookies: &str,
        headers: &[(&str, &str)],
        fields: &[(String, String)],
    ) -> Page {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.send_body(cookies, headers, &body)
    }

    /// Sends whatever a browser could.
    pub fn send_body(&self, cookies: &str, headers: &[(&str, &str)], body: &str) -> Page {
        let mut command = self.command("POST", "", cookies);
        command.envs(headers.iter().copied()).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It need not read what is too long to its end.
        let _ = child.stdin.take().unwrap().write_all(body.as_bytes());
        read_page(&child.wait_with_output().unwrap())
    }

    /// How often the host was asked who is logged in.
    pub fn questions(&self) -> usize {
        self.crm.traffic().count(CURRENT_USER)
    }
}

/// The cookie of somebody who may use its forms.
pub const EDITOR: &str = "PHPSESSID=test-admin-who-edits";
/// The cookie of somebody who may see the page.
const ADMIN: &str = "PHPSESSID=test-admin-who-views";

fn set_addresses(world: &World, local: Value, public: Value) {
    let ucrm = json!({
        "ucrmLocalUrl": local,
        "ucrmPublicUrl": public,
        "unmsLocalUrl": world.uisp.local_url(),
    });
    std::fs::write(world.root().join("ucrm.json"), ucrm.to_string()).unwrap();
}

fn command(world: &World, method: &str, query: &str, cookies: &str) -> Command {
    let mut command = world.command();
    command
        .arg("page")
        // Time limits are those of people who wait.
        .env_remove("BACKUP_SYNC_CLOCK_SPEED")
        .env("REQUEST_METHOD", method)
        .env("QUERY_STRING", query)
        .env("HTTP_COOKIE", cookies);
    command
}

/// The page of a world as an admin sees it.
pub fn page_around(world: &World) -> Page {
    let crm = Server::start(ServerOptions::default(), Arc::new(Crm)).unwrap();
    let url = crm.url() + "/crm/";
    set_addresses(world, json!(url), json!("http://192.0.2.1/crm/"));
    let page = page(&mut command(world, "GET", "", ADMIN));
    assert_eq!(page.status, "200 OK", "{}", page.body);
    page
}

/// What the program answers; it says nothing else.
pub fn page(command: &mut Command) -> Page {
    read_page(&command.output().unwrap())
}

fn read_page(output: &Output) -> Page {
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut headers = head.split("\r\n").map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_owned(), value.to_owned())
    });
    let (name, status) = headers.next().unwrap();
    assert_eq!(name, "Status");
    Page {
        status,
        headers: headers.collect(),
        body: body.to_owned(),
    }
}

impl Page {
    /// A header's value.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(given, _)| given == name);
        found.map_or("", |(_, value)| value)
    }

    /// The hidden fields of the form that does this; none if there is no such form.
    pub fn form(&self, does: &str) -> Option<Vec<(String, String)>> {
        let forms = self.body.split("<form").skip(1);
        let mut forms = forms.map(|form| form.split("</form>").next().unwrap());
        let form = forms.find(|form| form.contains(&format!("name=\"do\" value=\"{does}\"")))?;
        let value = |input: &str, name: &str| {
            let (_, rest) = input.split_once(&format!("{name}=\"")).unwrap();
            rest.split('"').next().unwrap().to_owned()
        };
        let hidden = form.split("<input type=\"hidden\"").skip(1);
        Some(
            hidden
                .map(|input| (value(input, "name"), value(input, "value")))
                .collect(),
        )
    }

    /// The fields of that form, filled in.
    pub fn filled(&self, does: &str, inputs: &[(&str, &str)]) -> Vec<(String, String)> {
        let form = self.form(does);
        let mut fields = form.unwrap_or_else(|| panic!("no form {does} in:\n{}", self.body));
        fields.extend(
            inputs
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into())),
        );
        fields
    }

    /// Asserts that the page holds these texts.
    pub fn assert_says(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.body.contains(text), "no {text:?} in:\n{}", self.body);
        }
    }
}
