//! Names are found in the ways that a container may have, and in those of ordinary systems.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use sandbox::network::NameServer;
use sandbox::uisp::Backup;

use super::prison::{API, CONTENT, Hosts, Prison, isolated, program};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// Where Docker's name server answers.
const DOCKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// What desktops write, with modules of glibc, which make no difference to the program.
const DESKTOP: &str = "passwd: files systemd\nhosts: files mymachines mdns4_minimal [NOTFOUND=return] resolve dns myhostname\n";

/// One run in a folder with these files below `etc`.
fn run_with(zip: &Path, hosts: Hosts, etc: &[(&str, &str)]) -> Option<Prison> {
    let program = program(zip, std::env::consts::ARCH)?;
    let prison = Prison::new(hosts);
    prison.put("program", &program, 0o755);
    for (name, content) in etc {
        prison.put(&format!("etc/{name}"), content.as_bytes(), 0o644);
    }
    prison.authorize();
    for number in 0..3 {
        prison.uisp.add(Backup::numbered(number, 100_000));
    }
    Some(prison)
}

/// The names must be found, with each of these files below `etc`.
fn is_mirrored(zip: &Path, hosts: Hosts, etc: &[(&str, &str)]) {
    if let Some(prison) = run_with(zip, hosts, etc) {
        prison.run_well(&[], &["/program", "--root", "/plugin"]);
        prison.assert_mirrored();
    }
}

const fn hosts(address: IpAddr, uisp: &'static str) -> Hosts {
    Hosts {
        address,
        has_names: true,
        uisp,
    }
}

#[test]
fn in_the_hosts_file() {
    let content = "127.0.0.1 localhost\n# a comment\n127.0.0.1 unms uisp\n127.0.0.1\tapi.dropboxapi.com content.dropboxapi.com\n";
    isolated(|zip| {
        is_mirrored(zip, hosts(V4, "unms"), &[("hosts", content)]);
        is_mirrored(
            zip,
            hosts(V4, "uisp"),
            &[("hosts", content), ("nsswitch.conf", DESKTOP)],
        );
    });
}

#[test]
fn by_a_name_server() {
    isolated(|zip| {
        let names: [(&str, &[IpAddr]); 3] =
            [("unms.corp.test", &[V4]), (API, &[V4]), (CONTENT, &[V4])];
        for address in [Ipv4Addr::LOCALHOST, DOCKER] {
            NameServer::start(address, &names).unwrap();
        }
        // The short name is completed by the second search domain.
        let search = "search nowhere.test corp.test\nnameserver 127.0.0.1\n";
        let options =
            format!("{search}options ndots:1 edns0 trust-ad rotate timeout:1 attempts:2\n");
        let second = format!("# nobody answers at the first\nnameserver 127.0.0.53\n{search}");
        let docker = "nameserver 127.0.0.11\noptions ndots:0\n";
        let desktop = ("nsswitch.conf", DESKTOP);
        let plain = ("nsswitch.conf", "hosts: files dns\n");
        is_mirrored(zip, hosts(V4, "unms"), &[("resolv.conf", search)]);
        is_mirrored(zip, hosts(V4, "unms"), &[("resolv.conf", &options), plain]);
        is_mirrored(
            zip,
            hosts(V4, "unms"),
            &[("resolv.conf", &options), desktop],
        );
        is_mirrored(zip, hosts(V4, "unms"), &[("resolv.conf", &second)]);
        is_mirrored(zip, hosts(V4, "unms.corp.test"), &[("resolv.conf", docker)]);
    });
}

#[test]
fn with_addresses_of_both_kinds() {
    isolated(|zip| {
        let names: [(&str, &[IpAddr]); 3] =
            [("unms", &[V4, V6]), (API, &[V6]), (CONTENT, &[V4, V6])];
        NameServer::start(Ipv4Addr::LOCALHOST, &names).unwrap();
        // The stand-ins listen on the newer kind only.
        let etc = ("resolv.conf", "nameserver 127.0.0.1\n");
        is_mirrored(zip, hosts(V6, "unms"), &[etc]);
        is_mirrored(zip, hosts(V6, "[::1]"), &[etc, ("nsswitch.conf", DESKTOP)]);
    });
}

#[test]
fn a_name_with_more_addresses_than_a_datagram_holds() {
    isolated(|zip| {
        let many: Vec<IpAddr> = (1..=60)
            .map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 9, last)))
            .collect();
        let many = [&[V4][..], &many].concat();
        let names: [(&str, &[IpAddr]); 3] = [("unms", &[V4]), (API, &many), (CONTENT, &[V4])];
        NameServer::start(Ipv4Addr::LOCALHOST, &names).unwrap();
        is_mirrored(
            zip,
            hosts(V4, "unms"),
            &[("resolv.conf", "nameserver 127.0.0.1\n")],
        );
    });
}

#[test]
fn a_name_that_does_not_exist_is_said_so() {
    isolated(|zip| {
        NameServer::start(Ipv4Addr::LOCALHOST, &[(API, &[V4]), (CONTENT, &[V4])]).unwrap();
        for etc in [&[("resolv.conf", "nameserver 127.0.0.1\n")][..], &[]] {
            let Some(prison) = run_with(zip, hosts(V4, "unms"), etc) else {
                return;
            };
            let output = prison.run(&[], &["/program", "--root", "/plugin"]);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let log = prison.log();
            let error = log
                .lines()
                .find(|line| line.starts_with("ERROR: "))
                .unwrap();
            assert!(error.contains("http://unms:"), "{error}");
            assert!(
                error.contains("lookup") || error.contains("resolved"),
                "{error}"
            );
        }
    });
}
