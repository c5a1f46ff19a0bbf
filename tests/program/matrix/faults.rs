//! The faults that can meet any request.

use std::time::Duration;

use sandbox::dropbox::faults;
use sandbox::http::Action;
use serde_json::json;

use super::Place;
use super::expectation::{Attack, Cell, expected, speed};
use super::requests::{Kind, Service};

/// A fault, and what it is like.
#[derive(Debug)]
pub struct Fault {
    /// Its name in the table.
    pub name: &'static str,
    /// What it is like.
    pub nature: Nature,
    action: fn(Kind) -> Action,
}

/// What a fault is like, which decides how a client should treat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Nothing was carried out, and a repetition may succeed.
    Passing,
    /// The request was carried out, but its answer did not arrive whole.
    AnswerLost,
    /// The same, and the client learns it by waiting in vain.
    Silence,
    /// The same, but bytes keep trickling in.
    Trickle,
    /// The service asks for patience.
    Patience,
    /// It asks for more patience than a run has.
    LongPatience,
    /// Status 200, and not what was asked for.
    Garbage,
    /// The same, in valid JSON.
    GarbageJson,
    /// The access token has expired.
    Expired,
    /// The access token is not accepted.
    Unauthorized,
    /// A permission is missing.
    MissingScope,
    /// The account may not do this.
    Forbidden,
    /// Nothing is there.
    NotFound,
    /// A repetition will be refused as well.
    Refusal,
}

const PAGE: &str = "<!DOCTYPE html>\n<html><title>Log in</title><h1>Who are you?</h1></html>";

/// Where redirects point to; replaced by the address of a server that records who asks.
pub const ELSEWHERE: &str = "http://elsewhere.invalid/";

fn ok(content_type: &str, body: &str) -> Action {
    Action::Status {
        code: 200,
        headers: vec![("Content-Type".into(), content_type.into())],
        body: body.into(),
    }
}

/// All of them.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "reset before the body",
        nature: Nature::Passing,
        action: |_| Action::ResetBeforeBody,
    },
    Fault {
        name: "reset in the request's body",
        nature: Nature::Passing,
        action: |_| Action::ResetMidBody(10),
    },
    Fault {
        name: "reset in the answer's body",
        nature: Nature::AnswerLost,
        action: |_| Action::ResetMidResponse(2),
    },
    Fault {
        name: "carried out, answer lost",
        nature: Nature::AnswerLost,
        action: |_| Action::AnswerLost,
    },
    Fault {
        name: "truncated answer",
        nature: Nature::AnswerLost,
        action: |_| Action::TruncateResponse(2),
    },
    Fault {
        name: "answer stalls behind its head",
        nature: Nature::Silence,
        action: |_| Action::StallResponse,
    },
    Fault {
        name: "no answer at all",
        nature: Nature::Silence,
        action: |_| Action::NoAnswer,
    },
    Fault {
        name: "carried out, answer minutes later",
        nature: Nature::Silence,
        action: |_| Action::DelayAnswer(Duration::from_secs(4)),
    },
    Fault {
        name: "endless slow answer",
        nature: Nature::Trickle,
        action: |_| Action::SlowResponse {
            bytes: 1,
            every: Duration::from_millis(50),
        },
    },
    Fault {
        name: "10 MB error page",
        nature: Nature::Passing,
        action: |_| Action::html(500, &"<p>error</p>".repeat(10_000_000 / 12)),
    },
    Fault {
        name: "HTML, status 200",
        nature: Nature::Garbage,
        action: |_| ok("text/html", PAGE),
    },
    Fault {
        name: "nothing, status 200",
        nature: Nature::Garbage,
        action: |_| ok("application/octet-stream", ""),
    },
    Fault {
        name: "JSON of a wrong shape",
        nature: Nature::GarbageJson,
        action: |_| ok("application/json", r#"{"unexpected":[true]}"#),
    },
    Fault {
        name: "400",
        nature: Nature::Refusal,
        action: |_| {
            Action::text(
                400,
                "Error in call to API function: request body: bad input",
            )
        },
    },
    Fault {
        name: "401 expired in mid-run",
        nature: Nature::Expired,
        action: |_| faults::unauthorized("expired_access_token"),
    },
    Fault {
        name: "401 not accepted",
        nature: Nature::Unauthorized,
        action: |_| faults::unauthorized("invalid_access_token"),
    },
    Fault {
        name: "401 missing scope",
        nature: Nature::MissingScope,
        action: |_| {
            let error = json!({".tag": "missing_scope", "required_scope": "files.content.write"});
            Action::json(
                401,
                &json!({"error_summary": "missing_scope/..", "error": error}),
            )
        },
    },
    Fault {
        name: "403",
        nature: Nature::Forbidden,
        action: |_| Action::html(403, "<html>firewall</html>"),
    },
    Fault {
        name: "404",
        nature: Nature::NotFound,
        action: |_| Action::html(404, "<html>not here</html>"),
    },
    Fault {
        name: "409 of an unknown kind",
        nature: Nature::Refusal,
        action: |_| faults::route_error("a_new_kind/..", &json!({".tag": "a_new_kind"})),
    },
    Fault {
        name: "409 that is not Dropbox's",
        nature: Nature::Refusal,
        action: |_| Action::html(409, "<html>Conflict</html>"),
    },
    Fault {
        name: "429",
        nature: Nature::Patience,
        action: |_| faults::too_many_requests(None),
    },
    Fault {
        name: "429 as text",
        nature: Nature::Patience,
        action: |_| faults::too_many_requests_as_text(),
    },
    Fault {
        name: "429 for 3 s",
        nature: Nature::Patience,
        action: |_| faults::too_many_requests(Some(3)),
    },
    Fault {
        name: "429, too many writes",
        nature: Nature::Patience,
        action: |_| faults::too_many_write_operations(None),
    },
    Fault {
        name: "429, too many writes, for 1 s",
        nature: Nature::Patience,
        action: |_| faults::too_many_write_operations(Some(1)),
    },
    Fault {
        name: "503 for 3.0 s",
        nature: Nature::Patience,
        action: |_| Action::text(503, "").with_header("Retry-After", "3.0"),
    },
    Fault {
        name: "429 for a day",
        nature: Nature::LongPatience,
        action: |_| faults::too_many_requests(Some(86_400)),
    },
    Fault {
        name: "500",
        nature: Nature::Passing,
        action: |_| faults::server_error(),
    },
    Fault {
        name: "502",
        nature: Nature::Passing,
        action: |_| Action::html(502, "<html>Bad Gateway</html>"),
    },
    Fault {
        name: "503",
        nature: Nature::Passing,
        action: |_| Action::text(503, ""),
    },
    Fault {
        name: "504",
        nature: Nature::Passing,
        action: |_| faults::gateway_timeout(),
    },
    Fault {
        name: "redirect to another host",
        nature: Nature::Refusal,
        action: |_| Action::Redirect(ELSEWHERE.into()),
    },
];

impl Nature {
    /// Whether the request was carried out all the same.
    pub fn is_carried_out(self) -> bool {
        matches!(self, Self::AnswerLost | Self::Silence | Self::Trickle)
    }

    fn is_in_dropboxs_form(self) -> bool {
        matches!(
            self,
            Self::Expired | Self::Unauthorized | Self::MissingScope
        )
    }
}

/// The cells of this fault at this kind of request, or why it cannot meet it.
pub fn cells(fault: &'static Fault, kind: Kind) -> Place {
    if fault.name == "reset in the request's body" && !kind.has_body() {
        return Err("the request has no body");
    }
    if fault.nature == Nature::Trickle && kind.is_upload() {
        return Err(
            "the answer has a few bytes only; the row of the endless content host stands for it",
        );
    }
    let cell = |lasting| {
        let mut action = (fault.action)(kind);
        if kind.service() == Service::Uisp && fault.nature.is_in_dropboxs_form() {
            action = as_uisp(action);
        }
        Cell {
            name: format!("{} at {}", fault.name, kind.name()),
            kind,
            lasting,
            attack: Attack::Answer(action),
            expected: expected(fault.nature, kind, lasting),
            speed: speed(fault.nature, kind, lasting),
        }
    };
    Ok(vec![cell(false), cell(true)])
}

/// The same status with a body in UISP's form.
fn as_uisp(action: Action) -> Action {
    match action {
        Action::Status { code, .. } => {
            let body = json!({"statusCode": code, "error": "Unauthorized", "message": "no"});
            Action::json(code, &body)
        }
        other => other,
    }
}
