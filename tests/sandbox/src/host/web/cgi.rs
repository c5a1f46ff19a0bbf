//! Runs a plugin's `public.php`, as the host's web server does: PHP over CGI, one process a request.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::host::run::{find_on_path, in_host_environment, program_command};
use crate::host::{Launch, Plugin};
use crate::http::{Head, Response};

/// The answer of `public.php`, which the web server knows as `script`.
///
/// On a machine without PHP's CGI program, and where the host starts programs directly, the plugin's
/// program is asked without `public.php` in between.
pub(super) fn public_php(
    plugin: &Plugin,
    script: &Path,
    head: &Head,
    body: &[u8],
) -> Result<Response> {
    let host = plugin.host();
    let mut command = match (&host.launch, find_on_path("php-cgi")) {
        (Launch::Php(_), Some(php)) => Command::new(php),
        _ => {
            let mut command = program_command(plugin.root())?;
            command.arg("page");
            command
        }
    };
    in_host_environment(host, &mut command)
        .envs(variables(script, head))
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("starting {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // It need not read to the end what is too long for it.
        let _ = stdin.write_all(body);
    }
    let output = child.wait_with_output()?;
    // What PHP complains about is for whoever runs the host, not for the visitor.
    std::io::stderr().write_all(&output.stderr)?;
    parse(&output.stdout)
}

fn variables(script: &Path, head: &Head) -> Vec<(String, String)> {
    let (path, query) = head.target.split_once('?').unwrap_or((&head.target, ""));
    let script = script.display().to_string();
    let (name, port) = head.host().rsplit_once(':').unwrap_or((head.host(), "80"));
    let mut variables: Vec<(String, String)> = [
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_NAME", name),
        ("SERVER_PORT", port),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("REQUEST_METHOD", &head.method),
        ("REQUEST_URI", &head.target),
        ("QUERY_STRING", query),
        ("SCRIPT_NAME", path),
        ("SCRIPT_FILENAME", &script),
        // Debian's php-cgi answers nothing without it.
        ("REDIRECT_STATUS", "200"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    if let Some(kind) = head.header("content-type") {
        variables.push(("CONTENT_TYPE".to_owned(), kind.to_owned()));
    }
    for (name, value) in &head.headers {
        let name = name.to_ascii_uppercase().replace('-', "_");
        // A header "Proxy" would become the variable that programs take for their proxy.
        if name != "PROXY" {
            variables.push((format!("HTTP_{name}"), value.clone()));
        }
    }
    variables
}

/// Splits a CGI answer into status, headers and body.
fn parse(output: &[u8]) -> Result<Response> {
    let crlf = output.windows(4).position(|window| window == b"\r\n\r\n");
    let lf = output.windows(2).position(|window| window == b"\n\n");
    let (end, gap) = match (crlf, lf) {
        (Some(crlf), Some(lf)) if lf < crlf => (lf, 2),
        (Some(crlf), _) => (crlf, 4),
        (None, Some(lf)) => (lf, 2),
        (None, None) => anyhow::bail!("public.php answered without a head"),
    };
    let mut response = Response::empty(200);
    for line in std::str::from_utf8(&output[..end])?.lines() {
        let (name, value) = line
            .split_once(':')
            .with_context(|| format!("no header of public.php: {line}"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            response.status = value.get(..3).unwrap_or_default().parse()?;
            ensure!(response.status >= 200, "no status: {value}");
        } else {
            response = response.with_header(name, value);
        }
    }
    response.body = crate::http::Body::Bytes(output[end + gap..].to_vec());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_split_where_its_head_ends() {
        let response = parse(b"Status: 403 Forbidden\r\nX-A: b\r\n\r\none\n\ntwo").unwrap();
        assert_eq!(response.status, 403);
        assert_eq!(response.headers, [("X-A".into(), "b".into())]);
        let crate::http::Body::Bytes(body) = response.body else {
            unreachable!()
        };
        assert_eq!(body, b"one\n\ntwo");
        assert!(parse(b"<p>no head").is_err());
    }
}
