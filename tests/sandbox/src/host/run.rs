//! Starting things for a plugin: runs under the running marker, hooks, signals.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::{Launch, PluginHost};

/// Present while a run that the host started has not ended.
pub(super) const RUNNING_MARKER: &str = ".ucrm-plugin-running";
/// Present when somebody pressed "Execute manually", or the plugin asked for another run.
pub(super) const EXECUTION_REQUEST: &str = ".ucrm-plugin-execution-requested";

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// None when a signal ended it.
    pub exit_code: Option<i32>,
    /// Everything on standard output.
    pub stdout: String,
    /// Everything on standard error.
    pub stderr: String,
}

/// A run under way; dropping it kills it.
#[derive(Debug)]
pub struct Run {
    job: Job,
    marker: PathBuf,
}

/// Signals that a host or a test may send.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// Asks to end.
    Term,
    /// Ends at once.
    Kill,
}

impl Run {
    /// Starts `php main.php`, or the program itself, in the plugin's folder `root`.
    pub(super) fn start(host: &PluginHost, root: &Path) -> Result<Self> {
        let marker = root.join(RUNNING_MARKER);
        // Creating it fails if it is there: a run is never started while another has not ended.
        File::create_new(&marker).context("The plugin is still running.")?;
        let command = match &host.launch {
            Launch::Php(php) => php_command(php, &root.join("main.php")),
            Launch::Program => program_command(root),
        };
        match command.and_then(|command| Job::start(host, command)) {
            Ok(job) => Ok(Self { job, marker }),
            Err(error) => {
                fs::remove_file(&marker)?;
                Err(error)
            }
        }
    }

    /// The process that the host started: PHP, or the program where there is no PHP.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.job.child.id()
    }

    /// The plugin's program: PHP's child once the launcher has started it, else the process itself.
    #[must_use]
    pub fn program_pid(&self) -> Option<u32> {
        let is_program = |pid: u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let arguments: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            // The launcher's probe with --version is a child of PHP too.
            arguments
                .iter()
                .any(|argument| argument.ends_with(b"/backup-sync-dropbox"))
                && arguments.contains(&b"--root".as_slice())
        };
        std::iter::once(self.pid())
            .chain(children_of(self.pid()))
            .find(|pid| is_program(*pid))
    }

    /// Whether the process that the host started has ended.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.job.child.try_wait()?.is_some())
    }

    /// Waits for the end of the run and removes the running marker.
    ///
    /// # Errors
    /// The system does not tell how it ended.
    pub fn wait(mut self) -> Result<Outcome> {
        self.job.wait()
    }

    /// Ends PHP as the host does after one hour.
    ///
    /// Assumption: SIGKILL to the process that the host started, not to its children.
    ///
    /// # Errors
    /// The process cannot be ended.
    pub fn kill(mut self) -> Result<Outcome> {
        self.job.child.kill()?;
        self.job.wait()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Ok(None) = self.job.child.try_wait() {
            if let Some(pid) = self.program_pid() {
                let _ = send_signal(pid, Signal::Kill);
            }
            let _ = self.job.child.kill();
            let _ = self.job.child.wait();
        }
        let _ = fs::remove_file(&self.marker);
    }
}

/// Runs one of the plugin's other PHP files to its end.
pub(super) fn run_hook(host: &PluginHost, script: &Path) -> Result<Option<Outcome>> {
    match &host.launch {
        Launch::Php(php) if script.is_file() => Job::start(host, php_command(php, script)?)?
            .wait()
            .map(Some),
        _ => Ok(None),
    }
}

/// A process whose output goes to files, so that a surviving grandchild blocks nobody.
#[derive(Debug)]
struct Job {
    child: Child,
    stdout: File,
    stderr: File,
}

impl Job {
    fn start(host: &PluginHost, mut command: Command) -> Result<Self> {
        let stdout = tempfile::tempfile()?;
        let stderr = tempfile::tempfile()?;
        let child = in_host_environment(host, &mut command)
            // Assumption: the working directory is not the plugin's folder.
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?)
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        Ok(Self {
            child,
            stdout,
            stderr,
        })
    }

    fn wait(&mut self) -> Result<Outcome> {
        let status: ExitStatus = self.child.wait()?;
        Ok(Outcome {
            exit_code: status.code(),
            stdout: text_of(&mut self.stdout)?,
            stderr: text_of(&mut self.stderr)?,
        })
    }
}

/// Gives a command the host's environment and nothing of ours.
pub(super) fn in_host_environment<'a>(
    host: &PluginHost,
    command: &'a mut Command,
) -> &'a mut Command {
    command
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .envs(host.environment.iter().map(|(name, value)| (name, value)))
}

fn php_command(php: &Path, script: &Path) -> Result<Command> {
    ensure!(script.is_file(), "The plugin has no {}.", script.display());
    let mut command = Command::new(php);
    command.arg(script);
    Ok(command)
}

/// What `main.php` would start, for machines without PHP; the bit is lost as with PHP's unpacking.
pub(super) fn program_command(root: &Path) -> Result<Command> {
    let program = root
        .join("bin")
        .join(std::env::consts::ARCH)
        .join("backup-sync-dropbox");
    ensure!(
        program.is_file(),
        "The plugin has no {}.",
        program.display()
    );
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, permissions)?;
    let mut command = Command::new(program);
    command.arg("--root").arg(root);
    Ok(command)
}

fn text_of(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The PHP of this machine.
#[must_use]
pub fn find_php() -> Option<PathBuf> {
    find_on_path("php")
}

pub(super) fn find_on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// Sends a signal to one process.
///
/// # Errors
/// There is no such process, or it is not ours.
pub fn send_signal(pid: u32, signal: Signal) -> Result<()> {
    let name = match signal {
        Signal::Term => "TERM",
        Signal::Kill => "KILL",
    };
    // The shell's own kill: the program of that name is missing on small systems.
    let output = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()])
        .output()?;
    if !output.status.success() {
        bail!(
            "kill -s {name} {pid}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

fn children_of(parent: u32) -> Vec<u32> {
    let parent_of = |pid: u32| -> Option<u32> {
        // "pid (name) state parent ...", where the name may contain anything.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(')')
            .next()?
            .split_whitespace()
            .nth(1)?
            .parse()
            .ok()
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| parent_of(*pid) == Some(parent))
        .collect()
}
