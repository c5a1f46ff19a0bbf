//! Where and with what the figures were measured.

use std::fs;
use std::process::Command;

/// Name and value, one a line of the report.
pub fn describe(is_plain: bool) -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    // The bare copy loop is only fair if it has the program's C library.
    let library = if cfg!(target_env = "musl") {
        "musl"
    } else {
        "glibc"
    };
    let protocol = if is_plain { "HTTP" } else { "HTTPS" };
    vec![
        (
            "Date",
            chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string(),
        ),
        ("Commit", commit()),
        ("Compiler", output("rustc", &["--version"])),
        ("C library of the benchmark", library.to_owned()),
        (
            "Processor",
            format!("{}, {cores} cores", field("/proc/cpuinfo", "model name")),
        ),
        ("Memory", field("/proc/meminfo", "MemTotal")),
        ("Kernel", read("/proc/sys/kernel/osrelease")),
        // The benchmark alone raises it to about 1; more means that the machine was busy with other things.
        ("Load over 15 minutes, at the end", load()),
        ("To Dropbox", protocol.to_owned()),
    ]
}

fn commit() -> String {
    let commit = output("git", &["rev-parse", "--short", "HEAD"]);
    if commit.is_empty() {
        return "unknown".into();
    }
    let is_changed = !output("git", &["status", "--porcelain"]).is_empty();
    if is_changed {
        format!("{commit} with local changes")
    } else {
        commit
    }
}

fn load() -> String {
    let averages = read("/proc/loadavg");
    averages.split(' ').nth(2).unwrap_or("unknown").to_owned()
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "unknown".into(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".into(), |text| text.trim().to_owned())
}

/// The value of the first `name: value` line of a file of the kernel's.
fn field(path: &str, name: &str) -> String {
    let text = read(path);
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let line = lines.find(|(key, _)| key.trim() == name);
    line.map_or_else(|| "unknown".into(), |(_, value)| value.trim().to_owned())
}
