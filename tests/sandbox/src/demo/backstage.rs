//! The demo's own page: what lies at UISP and in Dropbox, things to happen there, and the scenes.

use std::time::Duration;

use anyhow::{Result, bail};

use super::world::{APP_KEY, megabytes};
use super::{SCENES, Scene, scenes};
use crate::html::{document, escape};

/// Lets something happen to UISP or Dropbox.
pub(super) fn act(scene: &Scene, path: &str, id: &str) -> Result<()> {
    let world = &scene.world;
    match path {
        "/demo/backup" => world.uisp.add(scenes::backup(0, 0)),
        "/demo/delete" => {
            world.uisp.remove(id);
        }
        "/demo/hour" => world.dropbox.advance_clock(Duration::from_secs(3600)),
        "/demo/revoke" => world.dropbox.revoke_all_tokens(),
        _ => bail!("There is no such button."),
    }
    Ok(())
}

pub(super) fn page(scene: &Scene) -> String {
    let world = &scene.world;
    let mut backups = String::new();
    for backup in world.uisp.backups() {
        let state = match world.mirrored(&backup) {
            Some(file) if file.content_hash == backup.content_hash() => "mirrored",
            Some(_) => "in Dropbox with other content",
            None => "not mirrored",
        };
        let id = format!(
            "<input type=\"hidden\" name=\"id\" value=\"{}\">",
            escape(&backup.id)
        );
        backups += &format!(
            "<tr><td>{}<td>{}<td>{}<td>{state}<td>{}",
            escape(&backup.id),
            escape(&backup.created_at),
            megabytes(backup.size),
            button("/demo/delete", "Delete", &id)
        );
    }
    let mut files = String::new();
    for file in world.dropbox.files() {
        files += &format!("<tr><td>{}<td>{}", escape(&file.path), megabytes(file.size));
    }
    let scenes: String = SCENES
        .iter()
        .map(|(name, description, _)| {
            let input = format!("<input type=\"hidden\" name=\"scene\" value=\"{name}\">");
            let begin = button("/demo/begin", name, &input);
            format!("<tr><td>{begin}<td>{description}")
        })
        .collect();
    document(
        "Behind the scenes",
        &format!(
            "<nav><b>Behind the scenes</b><a href=\"/crm/\">Back to UISP</a></nav><main>\
             <section class=\"card\"><h2>What the form asks for</h2><p>UISP API token: <code id=\"token\">{token}</code><br>\
             Dropbox app key: <code id=\"app-key\">{APP_KEY}</code></p></section>\
             <section class=\"card\"><h2>Begin another scene</h2><p>Now: {now}. Everything starts anew.</p>\
             <table>{scenes}</table></section>\
             <section class=\"card\"><h2>UISP's backups</h2>{backup}<table>{backups}</table></section>\
             <section class=\"card\"><h2>The folder in Dropbox</h2>{hour}{revoke}<table>{files}</table></section></main>",
            token = escape(&world.uisp.token()),
            backup = button("/demo/backup", "Make a backup", ""),
            hour = button("/demo/hour", "Let an hour pass", ""),
            revoke = button("/demo/revoke", "Withdraw all authorizations", ""),
            now = scene.name,
        ),
    )
}

fn button(path: &str, label: &str, inputs: &str) -> String {
    format!(
        "<form class=\"inline\" method=\"post\" action=\"{path}\">{inputs}<button>{label}</button></form>"
    )
}
