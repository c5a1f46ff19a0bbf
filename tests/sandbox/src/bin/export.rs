//! `export ZIP PLUGINS` writes the plugin into the folder `plugins` of a checkout of the public plugin repository;
//! called by `build.sh export-plugin`.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use sandbox::host::repository::{export, layout_problems};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [zip, plugins] = arguments.as_slice() else {
        bail!("usage: export ZIP PLUGINS");
    };
    let plugin = export(Path::new(zip), Path::new(plugins))?;
    let problems = layout_problems(&plugin);
    ensure!(
        problems.is_empty(),
        "the repository would refuse it: {problems:#?}"
    );
    println!("{}", plugin.display());
    Ok(())
}
