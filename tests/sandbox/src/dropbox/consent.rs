//! The web pages that an admin sees: the question, the code to copy, and the refusal.

use crate::html::{document, escape};

/// The page that asks; its form repeats the query, so that nothing is kept between the two requests.
pub(super) fn question(query: &str, app: &str, scopes: &[String]) -> String {
    let scopes: String = scopes
        .iter()
        .map(|scope| format!("<li><code>{}</code></li>", escape(scope)))
        .collect();
    page(&format!(
        "<p>The app <b>{}</b> would like to use its folder in your Dropbox, with these permissions:</p>\
         <ul>{scopes}</ul>\
         <form method=\"post\" action=\"/oauth2/authorize\">\
         <input type=\"hidden\" name=\"query\" value=\"{}\">\
         <button class=\"main\">Allow</button></form>",
        escape(app),
        escape(query),
    ))
}

/// The page that shows the code.
pub(super) fn code(code: &str) -> String {
    page(&format!(
        "<p>Copy this access code into the app:</p>\
         <p><input type=\"text\" id=\"auth-code\" aria-label=\"Access code\" readonly value=\"{}\"></p>",
        escape(code)
    ))
}

/// The page that says what is wrong with the link.
pub(super) fn refusal(why: &str) -> String {
    page(&format!(
        "<p>This app's request is not valid:</p><p><code>{}</code></p>",
        escape(why)
    ))
}

fn page(content: &str) -> String {
    document(
        "Dropbox stand-in",
        &format!(
            "<main><h1>Dropbox stand-in</h1><section class=\"card\">{content}</section></main>"
        ),
    )
}
