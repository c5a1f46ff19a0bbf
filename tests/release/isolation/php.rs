//! The unpacked ZIP beside PHP, started as the host does.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use sandbox::host::{extract_like_php, find_php};

use super::prison::{Hosts, Prison, isolated, program};

/// Copies a program and the libraries that it names into the folder, at their places.
fn put_with_libraries(prison: &Prison, binary: &Path) {
    let libraries = Command::new("ldd").arg(binary).output().unwrap().stdout;
    let libraries = String::from_utf8(libraries).unwrap();
    let libraries = libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    for file in libraries.chain(binary.to_str()) {
        prison.put(
            file.trim_start_matches('/'),
            &fs::read(file).unwrap(),
            0o755,
        );
    }
}

#[test]
fn the_package_needs_php_and_nothing_else() {
    isolated(|zip| {
        if program(zip, std::env::consts::ARCH).is_none() {
            return;
        }
        let php = fs::canonicalize(find_php().unwrap()).unwrap();
        let prison = Prison::new(Hosts::NUMBERS);
        put_with_libraries(&prison, &php);
        extract_like_php(zip, &prison.path("plugin")).unwrap();
        let program = prison.path(&format!(
            "plugin/bin/{}/backup-sync-dropbox",
            std::env::consts::ARCH
        ));
        let is_executable = || program.metadata().unwrap().permissions().mode() & 0o111 != 0;
        assert!(!is_executable(), "the host's unpacking loses the bit");
        let php = php.to_str().unwrap();
        prison.set_up_and_mirror(&[php, "-n", "/plugin/main.php"]);
        assert!(is_executable());
    });
}
