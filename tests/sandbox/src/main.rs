//! The stand-ins as a program; `build.sh` calls it. Without arguments it says what it can do.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sandbox::demo::{Demo, walk};
use sandbox::dropbox::{App, Dropbox, DropboxOptions};
use sandbox::host::package::{Package, Program};
use sandbox::host::repository::{export, layout_problems};
use sandbox::http::TestCa;
use sandbox::python::virtual_environment;
use sandbox::uisp::{Backup, Uisp, UispOptions};
use sandbox::{bench, licences};
use serde_json::{Value, json};

/// The program's own allocator, or the benchmark's bare copy loop would be slower than it has to be.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

const USAGE: &str = "\
usage: sandbox COMMAND
  demo ZIP                   the whole mission in the terminal, against stand-ins for all around the plugin
  demo ZIP --serve [SCENE]   the same world in a browser
  pictures ZIP SCRIPTS ENVIRONMENT FOLDER
                             the documentation's pictures, made from the demo by the Python in SCRIPTS, whose
                             packages are installed into ENVIRONMENT
  pack OUT COMMIT COMMIT_TIME ARCHITECTURE=HOW=PATH|ARCHITECTURE=skipped=REASON ...
                             the installable ZIP of the checkout in the current folder
  export ZIP PLUGINS         the plugin, into the folder `plugins` of a checkout of the public plugin repository
  licences third-party|sbom  THIRD-PARTY.md, or the bill of materials, of the checkout in the current folder
  bench PROGRAM [OPTION...]  what runs of the program cost
  dropbox [--tls], uisp      one stand-in by hand: prints a line of JSON that says where it listens and what it
                             accepts, and runs until its input closes";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nsandbox: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    if let [first, rest @ ..] = arguments
        && first == "bench"
    {
        return bench::run(rest);
    }
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["demo", zip] => walk::walk(Path::new(zip)),
        ["demo", zip, "--serve"] => serve(Path::new(zip), "newcomer"),
        ["demo", zip, "--serve", scene] => serve(Path::new(zip), scene),
        ["pictures", zip, scripts, environment, folder] => {
            pictures(Path::new(zip), Path::new(scripts), environment, folder)
        }
        ["pack", out, commit, commit_time, ref programs @ ..] => {
            pack(Path::new(out), commit, commit_time, programs)
        }
        ["export", zip, plugins] => export_to(Path::new(zip), Path::new(plugins)),
        ["licences", what] => print_licences(what),
        ["dropbox"] => run_dropbox(None),
        ["dropbox", "--tls"] => run_dropbox(Some(TestCa::new()?)),
        ["uisp"] => run_uisp(),
        _ => bail!("{USAGE}"),
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

fn pictures(zip: &Path, scripts: &Path, environment: &str, folder: &str) -> Result<()> {
    let python = virtual_environment(Path::new(environment), &scripts.join("requirements.txt"))?;
    let demo = Demo::start(zip, "newcomer")?;
    let status = Command::new(python)
        .arg(scripts.join("pictures.py"))
        .arg(folder)
        .env("DEMO_URL", demo.url())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .status()?;
    ensure!(status.success(), "the pictures could not be made: {status}");
    Ok(())
}

fn pack(out: &Path, commit: &str, commit_time: &str, programs: &[&str]) -> Result<()> {
    let commit_time = commit_time
        .parse()
        .context("COMMIT_TIME is seconds since 1970")?;
    let programs = programs.iter().map(|text| program(text));
    let package = Package {
        checkout: std::env::current_dir()?,
        commit: commit.to_owned(),
        commit_time,
        programs: programs.collect::<Result<_>>()?,
    };
    package.write(out)
}

fn program(text: &str) -> Result<Program> {
    let parts: Vec<&str> = text.splitn(3, '=').collect();
    let [architecture, how, rest] = parts[..] else {
        bail!("{text} is not ARCHITECTURE=HOW=PATH");
    };
    let architecture = architecture.to_owned();
    Ok(match how {
        "skipped" => Program::Skipped {
            architecture,
            reason: rest.to_owned(),
        },
        _ => Program::Built {
            architecture,
            how: how.to_owned(),
            path: PathBuf::from(rest),
        },
    })
}

fn export_to(zip: &Path, plugins: &Path) -> Result<()> {
    let plugin = export(zip, plugins)?;
    let problems = layout_problems(&plugin);
    ensure!(
        problems.is_empty(),
        "the repository would refuse it: {problems:#?}"
    );
    println!("{}", plugin.display());
    Ok(())
}

fn print_licences(what: &str) -> Result<()> {
    let checkout = std::env::current_dir()?;
    let crates = licences::crates(&checkout)?;
    match what {
        "third-party" => print!("{}", licences::third_party(&crates)?),
        "sbom" => println!("{:#}", licences::bill_of_materials(&checkout, &crates)?),
        _ => bail!("{USAGE}"),
    }
    Ok(())
}

fn run_dropbox(ca: Option<TestCa>) -> Result<()> {
    let scopes = [
        "account_info.read",
        "files.metadata.read",
        "files.content.write",
        "files.content.read",
    ];
    let app = App::new("test-app-key", "test-app-secret", &scopes);
    let tls = ca.as_ref().map(|ca| ca.issue(&Dropbox::leaf()));
    let dropbox = Dropbox::start(DropboxOptions {
        app: app.clone(),
        tls: tls.transpose()?,
        ..DropboxOptions::default()
    })?;
    until_input_ends(&json!({
        "api_url": dropbox.api_url(),
        "content_url": dropbox.content_url(),
        "web_url": dropbox.web_url(),
        "app_key": app.key,
        "app_secret": app.secret,
        "ca_file": ca.as_ref().map(TestCa::pem_path),
    }))
}

fn run_uisp() -> Result<()> {
    let uisp = Uisp::start(UispOptions::default())?;
    for number in 0..5 {
        uisp.add(Backup::numbered(number, 5_000_000));
    }
    until_input_ends(&json!({ "local_url": uisp.local_url(), "token": uisp.token() }))
}

fn until_input_ends(description: &Value) -> Result<()> {
    println!("{description}");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
