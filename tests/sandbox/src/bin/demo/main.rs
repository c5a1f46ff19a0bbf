//! `demo ZIP`: the whole mission in the terminal, against stand-ins for everything around the plugin.
//! `demo ZIP --serve [SCENE]`: the same world in a browser. Called by `build.sh demo`.

mod walk;

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Result, bail};
use sandbox::demo::Demo;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [zip] => walk::walk(Path::new(zip)),
        [zip, "--serve"] => serve(Path::new(zip), "newcomer"),
        [zip, "--serve", scene] => serve(Path::new(zip), scene),
        _ => bail!("usage: demo ZIP [--serve [SCENE]]"),
    }
}

/// Serves until standard input is closed or somebody presses Ctrl-C.
fn serve(zip: &Path, scene: &str) -> Result<()> {
    let demo = Demo::start(zip, scene)?;
    println!("\nOpen {}/ in a browser. Ctrl-C ends it.", demo.url());

    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let (closed, input_ends) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        drop(closed);
    });
    while !interrupted.load(Ordering::Relaxed)
        && input_ends.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout)
    {
    }
    Ok(())
}
