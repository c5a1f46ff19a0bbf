//! Writes the man page and the completions for bash, zsh and fish, made from the texts of `--help`:
//! `cargo run --example manual FOLDER [DATE]`. Prints the names of the files.

mod completions;
mod help;
mod man;

use std::path::Path;
use std::{env, error, fs};

fn main() -> Result<(), Box<dyn error::Error>> {
    let mut arguments = env::args().skip(1);
    let folder = arguments
        .next()
        .ok_or("the folder to write to is missing")?;
    let date = arguments.next().unwrap_or_default();
    fs::create_dir_all(&folder)?;
    for (name, content) in [
        (man::FILE, man::page(&date)),
        (completions::BASH_FILE, completions::bash()),
        (completions::ZSH_FILE, completions::zsh()),
        (completions::FISH_FILE, completions::fish()),
    ] {
        fs::write(Path::new(&folder).join(name), content)?;
        println!("{name}");
    }
    Ok(())
}
