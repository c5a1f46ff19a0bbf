//! What the stand-ins' web pages have in common.

/// Text as it may stand in HTML, in attributes too.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A whole document, plain and legible, light or dark as the browser prefers.
pub fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><link rel=\"icon\" href=\"data:,\">\
         <title>{}</title><style>{STYLE}</style></head><body>{body}</body></html>\n",
        escape(title)
    )
}

const STYLE: &str = "
:root{color-scheme:light dark;--text:#1f2329;--soft:#5b6470;--line:#d5d9de;--back:#f4f5f7;--card:#fff;--accent:#0056b8}
@media(prefers-color-scheme:dark){:root{--text:#e6e8eb;--soft:#a2abb6;--line:#3a4049;--back:#16191d;--card:#20242a;--accent:#6cb2ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:15px/1.45 system-ui,sans-serif}
a{color:var(--accent)}
nav{display:flex;flex-wrap:wrap;gap:.3em 1.4em;align-items:center;padding:.6em 1.2em;background:var(--card);border-bottom:1px solid var(--line)}
nav form{margin-left:auto}
main{max-width:900px;margin:0 auto;padding:1em 1.2em 3em}
main:has(iframe.page){max-width:none}
h1{font-size:1.4em}h2{font-size:1.1em;margin:0 0 .8em}
.card{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:1.1em 1.3em;margin:0 0 1.2em}
.field{margin:0 0 .9em}.field label{font-weight:600}
.hint{display:block;color:var(--soft);font-size:.87em}
input[type=text]{width:100%;padding:.4em .5em;margin:.2em 0;font:inherit;border:1px solid var(--line);border-radius:4px;background:transparent;color:inherit}
button{font:inherit;padding:.35em .9em;border:1px solid var(--line);border-radius:4px;background:var(--back);color:inherit;cursor:pointer;white-space:nowrap}
button.main{background:#0056b8;border-color:#0056b8;color:#fff}
.buttons form,form.inline{display:inline-block;margin:0 .4em .4em 0}
.message{border-left:4px solid var(--accent);padding:.2em .8em;overflow-wrap:anywhere}
iframe{display:block;width:100%;border:1px solid var(--line);border-radius:6px;background:var(--card)}
table{border-collapse:collapse}td,th{padding:.15em 1em .15em 0;text-align:left;vertical-align:top;overflow-wrap:anywhere}
pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font-size:.85em}
";
