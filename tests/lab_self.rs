//! Tests of the lab itself: isolation, the platform against a scripted extension, and the intake against payloads made
//! by Datadog's own definitions. The scripted extension is this test binary, started again by the platform.

#[path = "support/agentpayload.rs"]
mod agentpayload;
#[path = "lab_self/extension.rs"]
mod extension;
#[path = "lab_self/intake.rs"]
mod intake;
#[path = "lab/mod.rs"]
mod lab;
#[path = "lab_self/platform.rs"]
mod platform;

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::isolation::{self, Sandbox, isolated_in};

/// A file system whose extension is this test binary.
fn sandbox() -> Sandbox {
    Sandbox { extension: std::env::current_exe().expect("this program has a path"), task: None }
}

/// Whether namespaces are allowed here; without them a test runs where others may have the ports.
fn namespaces() -> bool {
    Path::new(isolation::EXTENSION).exists() && std::env::var_os("LAB_INSIDE").is_some()
}

#[test]
fn the_file_system_is_lambdas() {
    isolated_in(&sandbox(), "the_file_system_is_lambdas", || {
        if !namespaces() {
            return;
        }
        let extension = std::fs::metadata(isolation::EXTENSION).unwrap();
        assert!(extension.len() > 0 && !extension.permissions().readonly());
        assert_eq!(std::fs::read_dir(isolation::TASK_ROOT).unwrap().count(), 0);
        std::fs::write("/tmp/private", "x").unwrap();
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml").exists(), "the checkout stays visible");
        assert!(std::env::current_exe().unwrap().exists(), "this program stays visible");
    });
    // Outside nothing of it is there.
    if std::env::var_os("LAB_INSIDE").is_none() {
        assert!(!Path::new("/tmp/private").exists());
    }
}

/// Two instances at the same time, on the same ports: each keeps them until it has seen that the other has them too.
#[test]
fn two_instances_side_by_side() {
    let program = std::env::current_exe().unwrap();
    let start = |name| {
        let _ = std::fs::remove_file(mark(name));
        let mut command = Command::new(&program);
        command.args(["--exact", name, "--include-ignored", "--nocapture"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for child in [FIRST, SECOND].map(start) {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

const FIRST: &str = "first_of_two_instances";
const SECOND: &str = "second_of_two_instances";

/// The file by which an instance says that it has the ports.
fn mark(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
#[ignore = "started by two_instances_side_by_side"]
fn first_of_two_instances() {
    isolated_in(&sandbox(), FIRST, || hold_the_ports(FIRST, SECOND));
}

#[test]
#[ignore = "started by two_instances_side_by_side"]
fn second_of_two_instances() {
    isolated_in(&sandbox(), SECOND, || hold_the_ports(SECOND, FIRST));
}

fn hold_the_ports(own: &str, other: &str) {
    let _tcp = [8124, 8126].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    let udp = UdpSocket::bind("127.0.0.1:8125").unwrap();
    udp.send_to(b"own", "127.0.0.1:8125").unwrap();
    std::fs::write(mark(own), "").unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while namespaces() && !mark(other).exists() {
        assert!(Instant::now() < deadline, "{other} did not get the ports");
        std::thread::yield_now();
    }
    let mut datagram = [0; 8];
    assert_eq!(udp.recv(&mut datagram).unwrap(), 3, "and only its own datagrams");
}

/// A test name that does not exist must not pass for a test that ran.
#[test]
fn a_wrong_name_is_noticed() {
    if std::env::var_os("LAB_INSIDE").is_some() {
        return;
    }
    let outcome = std::panic::catch_unwind(|| isolated_in(&sandbox(), "no_such_test", || panic!("in place")));
    assert!(outcome.is_err());
}
