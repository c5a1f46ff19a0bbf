//! Whether names can be looked up here: a program that is linked statically with glibc loads the system's own modules
//! for that, and with them another copy of glibc, which ends it on the spot. Programs for musl and dynamic ones are safe.

use std::path::Path;

/// What the library has built in.
const BUILT_IN: [&str; 2] = ["files", "dns"];
/// Where systems keep the modules.
const FOLDERS: [&str; 8] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
];

/// The module that would end this program at its first lookup; `None` if there is none, or the build is a safe one.
pub fn fatal_module() -> Option<String> {
    if !cfg!(all(target_env = "gnu", target_feature = "crt-static")) {
        return None;
    }
    let settings = std::fs::read_to_string("/etc/nsswitch.conf").ok()?;
    loaded(&settings, |file| {
        FOLDERS
            .iter()
            .any(|folder| Path::new(folder).join(file).exists())
    })
}

/// The first module for host names that these settings name, that is not built in, and that exists.
fn loaded(settings: &str, exists: impl Fn(&str) -> bool) -> Option<String> {
    let line = settings
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("hosts:"))?;
    let line = line.split('#').next().unwrap_or_default();
    line.split_whitespace()
        .filter(|word| !word.starts_with('[') && !BUILT_IN.contains(word))
        .find(|module| exists(&format!("libnss_{module}.so.2")))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_module_that_exists_is_fatal() {
        let all = |_: &str| true;
        let desktop =
            "passwd: files systemd\nhosts: files mdns4_minimal [NOTFOUND=return] dns myhostname\n";
        assert_eq!(loaded(desktop, all).as_deref(), Some("mdns4_minimal"));
        let one = |file: &str| file == "libnss_myhostname.so.2";
        assert_eq!(loaded(desktop, one).as_deref(), Some("myhostname"));
        assert_eq!(loaded(desktop, |_| false), None);
        for harmless in ["", "passwd: sss\n", "hosts: files dns # myhostname\n"] {
            assert_eq!(loaded(harmless, all), None, "{harmless}");
        }
    }

    #[test]
    fn this_build_is_a_safe_one() {
        assert_eq!(fatal_module(), None);
    }
}
