//! The host's own pages, as HTML.

use super::users::User;
use super::{Site, Visitor};
use crate::host::Plugin;
use crate::host::manifest::{Field, MenuItem, Widget};
use crate::html::{document, escape};

/// The choice of a login.
pub(super) fn login(site: &Site) -> String {
    let buttons: String = User::ALL
        .iter()
        .map(|user| {
            format!(
                "<p><button name=\"user\" value=\"{}\">{}</button> {}</p>",
                user.name(),
                user.name(),
                user.description()
            )
        })
        .collect();
    page(
        site,
        None,
        "Log in",
        &format!(
            "<form class=\"card\" method=\"post\" action=\"/crm/login\"><h2>Log in as</h2>{buttons}</form>"
        ),
    )
}

/// The dashboard with the plugin's widgets.
pub(super) fn dashboard(site: &Site, visitor: &Visitor) -> String {
    let widgets: String = visitor
        .widgets()
        .map(|widget| frame(visitor, widget))
        .collect();
    page(site, Some(visitor), "Dashboard", &widgets)
}

fn frame(visitor: &Visitor, widget: &Widget) -> String {
    format!(
        "<iframe class=\"widget\" title=\"{}\" src=\"{}?{}\" height=\"{}\"></iframe>",
        escape(&visitor.manifest.display_name),
        escape(&visitor.public_php()),
        escape(&widget.query),
        widget.height_px,
    )
}

/// A menu item's page: the plugin's page in a frame.
pub(super) fn menu_page(site: &Site, visitor: &Visitor, item: &MenuItem) -> String {
    let frame = format!(
        "<iframe class=\"page\" title=\"{}\" src=\"{}\" height=\"1400\"></iframe>",
        escape(&item.label),
        escape(&visitor.target(item)),
    );
    page(site, Some(visitor), &item.label, &frame)
}

/// The plugin's page: form, buttons, log.
pub(super) fn plugin_page(
    site: &Site,
    visitor: &Visitor,
    plugin: &Plugin,
    message: &str,
) -> String {
    let inputs = plugin.form().unwrap_or_default();
    let fields: String = plugin
        .manifest()
        .fields
        .iter()
        .map(|known| {
            let input = inputs.iter().find(|(key, _)| *key == known.key);
            field(known, input.map_or("", |(_, input)| input))
        })
        .collect();
    let path = visitor.plugin_path();
    let mut buttons = String::new();
    if !plugin.is_enabled() {
        buttons += &button(&format!("{path}/enable"), "Enable");
    }
    buttons += &button(&format!("{path}/execute"), "Execute manually");
    buttons += &button(&format!("{path}/update"), "Update with the same ZIP");
    let message = match message {
        "" => String::new(),
        message => format!(
            "<p class=\"message\" role=\"status\">{}</p>",
            escape(message)
        ),
    };
    let (name, version) = (
        escape(&plugin.manifest().display_name),
        escape(&plugin.manifest().version),
    );
    page(
        site,
        Some(visitor),
        &plugin.manifest().display_name,
        &format!(
            "<h1>{name} <small>{version}</small></h1>{message}<div class=\"buttons\">{buttons}</div>\
             <form class=\"card\" id=\"configuration\" method=\"post\" action=\"{path}/save\">\
             <h2>Configuration</h2>{fields}<button class=\"main\">Save</button></form>\
             <section class=\"card\" id=\"log\"><h2>Log</h2>\
             <iframe title=\"Log\" src=\"{path}/log\" height=\"420\"></iframe></section>"
        ),
    )
}

/// The log as plain text; it reloads itself, and shows its end.
pub(super) fn log(plugin: &Plugin) -> String {
    let reload = "<meta http-equiv=\"refresh\" content=\"2\"><style>body{display:flex;flex-direction:\
                  column-reverse;height:100vh;overflow:auto;padding:.6em;background:var(--card)}pre{margin-bottom:auto}</style>";
    document(
        "Log",
        &format!("{reload}<pre>{}</pre>", escape(&plugin.log())),
    )
}

/// A refusal of the host itself.
pub(super) fn refusal(site: &Site, visitor: &Visitor, text: &str) -> String {
    page(
        site,
        Some(visitor),
        text,
        &format!("<h1>{}</h1>", escape(text)),
    )
}

fn field(field: &Field, input: &str) -> String {
    let (key, label, hint) = (
        escape(&field.key),
        escape(&field.label),
        escape(&field.description),
    );
    let mark = if field.is_required { " *" } else { "" };
    let hint = format!("<span class=\"hint\" id=\"{key}-hint\">{hint}</span>");
    let common = format!("id=\"{key}\" name=\"{key}\" aria-describedby=\"{key}-hint\"");
    if field.is_checkbox {
        let checked = if input.is_empty() { "" } else { " checked" };
        return format!(
            "<div class=\"field\"><input type=\"checkbox\" value=\"1\" {common}{checked}> \
             <label for=\"{key}\">{label}</label>{hint}</div>"
        );
    }
    format!(
        "<div class=\"field\"><label for=\"{key}\">{label}{mark}</label>\
         <input type=\"text\" autocomplete=\"off\" spellcheck=\"false\" {common} value=\"{}\">{hint}</div>",
        escape(input)
    )
}

fn button(path: &str, label: &str) -> String {
    format!("<form method=\"post\" action=\"{path}\"><button>{label}</button></form>")
}

fn page(site: &Site, visitor: Option<&Visitor>, title: &str, content: &str) -> String {
    let mut nav = "<b>UISP stand-in</b>".to_owned();
    if let Some(visitor) = visitor {
        let mut link = |href: &str, label: &str| {
            nav += &format!("<a href=\"{}\">{}</a>", escape(href), escape(label));
        };
        link("/crm/", "Dashboard");
        if visitor.may_view_plugins() {
            link(&visitor.plugin_path(), "System: Plugins");
        }
        for (number, item) in visitor.menu() {
            let label = match &item.category {
                Some(category) => format!("{category}: {}", item.label),
                None => item.label.clone(),
            };
            if item.is_framed {
                link(&format!("/crm/menu/{number}"), &label);
            } else {
                link(&visitor.target(item), &label);
            }
        }
    }
    if let Some((label, href)) = &site.extra_link {
        nav += &format!("<a href=\"{}\">{}</a>", escape(href), escape(label));
    }
    if let Some(visitor) = visitor {
        nav += &format!(
            "<form method=\"post\" action=\"/crm/logout\"><button>Log out {}</button></form>",
            visitor.user.name()
        );
    }
    document(
        &format!("{title} - UISP stand-in"),
        &format!("<nav>{nav}</nav><main>{content}</main>"),
    )
}
