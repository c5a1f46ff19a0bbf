//! The corpus of the fuzz targets, tried with every change; `./build.sh fuzz` looks for more.

#[path = "../../fuzz/src/config.rs"]
mod config;
#[path = "../../fuzz/src/dropbox_error.rs"]
mod dropbox_error;
#[path = "../../fuzz/src/journal.rs"]
mod journal;
#[path = "../../fuzz/src/rows.rs"]
mod rows;

use std::fs;
use std::path::Path;

#[test]
fn the_corpus_passes() {
    for (name, check) in [
        ("config", config::check as fn(&[u8])),
        ("dropbox_error", dropbox_error::check),
        ("journal", journal::check),
        ("rows", rows::check),
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let inputs: Vec<_> = fs::read_dir(folder.join(name)).unwrap().collect();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            let input = input.unwrap().path();
            eprintln!("{}", input.display());
            check(&fs::read(&input).unwrap());
        }
    }
}
