//! The program alone.

use std::fs;

use sandbox::uisp::Backup;

use super::prison::{Hosts, Prison, isolated, program, skipped};

const RUN: [&str; 3] = ["/program", "--root", "/plugin"];

#[test]
fn needs_nothing_but_itself() {
    isolated(|zip| {
        let Some(program) = program(zip, std::env::consts::ARCH) else {
            return;
        };
        let prison = Prison::new(Hosts::NUMBERS);
        prison.put("program", &program, 0o755);
        let output = prison.run(&[], &["/program", "--version"]);
        assert!(
            output.status.success() && output.stdout.starts_with(b"backup-sync-dropbox "),
            "{output:?}"
        );
        prison.set_up_and_mirror(&RUN);
    });
}

#[test]
fn opens_no_library_and_nothing_of_the_system_but_its_settings() {
    isolated(|zip| {
        let Some(program) = program(zip, std::env::consts::ARCH) else {
            return;
        };
        let prison = Prison::new(Hosts::NUMBERS);
        prison.put("program", &program, 0o755);
        prison.authorize();
        prison.uisp.add(Backup::numbered(1, 5_000_000));
        let trace = prison.path("trace").to_str().unwrap().to_owned();
        prison.run_well(
            &[
                "strace",
                "-f",
                "-e",
                "trace=open,openat,execve",
                "-o",
                &trace,
            ],
            &RUN,
        );
        prison.assert_mirrored();

        let trace = fs::read_to_string(trace).unwrap();
        let (_, inside) = trace.split_once("execve(\"/program\"").unwrap();
        let opened: Vec<&str> = inside
            .lines()
            .filter(|line| line.contains("open"))
            // What is in a folder that is open already: one of those below.
            .filter(|line| {
                let path = line.split('"').nth(1).unwrap_or_default();
                line.contains("AT_FDCWD") || path.starts_with('/') || path.contains("..")
            })
            .filter_map(|line| line.split('"').nth(1))
            .collect();
        assert!(inside.contains("\"config.json\""), "{trace}");
        for path in opened {
            let is_known = path.starts_with("/plugin/")
                || path == "/ca.pem"
                || path == "/plugin"
                || path.starts_with("/proc/self/")
                || path.starts_with("/sys/fs/cgroup")
                || [
                    "/etc/resolv.conf",
                    "/etc/hosts",
                    "/dev/null",
                    "/dev/urandom",
                ]
                .contains(&path);
            assert!(is_known, "{path} was opened");
        }
        assert!(!inside.contains("execve("), "another program was started");
    });
}

#[test]
fn runs_on_the_other_processor_as_well() {
    const QEMU: &str = "/usr/bin/qemu-aarch64-static";
    isolated(|zip| {
        let Some(program) = program(zip, "aarch64") else {
            return;
        };
        let prison = Prison::new(Hosts::NUMBERS);
        prison.put("program", &program, 0o755);
        if std::env::consts::ARCH == "aarch64" {
            return prison.set_up_and_mirror(&RUN);
        }
        let Ok(emulator) = fs::read(QEMU) else {
            skipped(&format!("{QEMU} is not there"));
            return;
        };
        prison.put("qemu", &emulator, 0o755);
        let output = prison.run(&[], &["/qemu", "/program", "--version"]);
        assert!(
            output.status.success() && output.stdout.starts_with(b"backup-sync-dropbox "),
            "{output:?}"
        );
        prison.set_up_and_mirror(&[&["/qemu"][..], &RUN].concat());
    });
}
