//! The plugin's contract with its host and with the system.

mod config;
mod data;
mod ending;
mod host;
mod tls;

use std::fs;

use serde_json::json;

use crate::support::{Ended, World};

/// Writes `ucrm.json` as the host does, with another address of UISP.
fn set_uisp_url(world: &World, url: &str) {
    let ucrm = json!({"ucrmPublicUrl": null, "unmsLocalUrl": url, "pluginId": 1});
    fs::write(world.root().join("ucrm.json"), ucrm.to_string()).unwrap();
}

fn errors(ended: &Ended) -> Vec<&str> {
    let lines = ended.log.lines();
    lines
        .filter(|line| line.starts_with("ERROR: ") && !line.starts_with("ERROR: Finished"))
        .collect()
}
