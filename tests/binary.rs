//! The binary from outside: what it costs to start and to wait, which files it opens, in which order it calls Lambda.
//!
//! `make test` names the release binaries and the layers in the environment; a name without a file is a failure.
//! Without names, what makes sense runs on the binary of this build.

#[path = "bench/msgpack.rs"]
#[allow(dead_code, reason = "the benchmark uses the rest")]
mod msgpack;
mod support;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use support::budgets;
use support::http::Client;
use support::intake::{Intake, content};
use support::namespace;
use support::platform::{Call, Platform, runtime_done, telemetry};
use support::process::{self, Extension, Waiting};

/// The file that the environment variable `name` tells, if it is set.
fn named(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env::var_os(name)?);
    assert!(path.exists(), "{name} names {}, which is not there: `make build` makes it", path.display());
    Some(path)
}

/// The release binary if there is one, else that of this build.
fn binary() -> PathBuf {
    named("THIMBLE_BIN").unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_thimble")))
}

/// An extension that has polled `next` for the first time and has nothing more to do.
fn idle(platform: &Platform, intake: &Intake) -> (Extension, Vec<Waiting>) {
    let extension = Extension::start(process::command(&binary(), platform.address, &intake.environment()));
    platform.next();
    let waiting = extension.settled();
    (extension, waiting)
}

fn intake() -> Intake {
    Intake::start(std::time::Duration::ZERO)
}

#[test]
fn it_registers_under_its_file_name_and_subscribes_before_it_polls() {
    namespace::test("it_registers_under_its_file_name_and_subscribes_before_it_polls", || {
        let platform = Platform::start();
        let command = process::command(&binary(), platform.address, &intake().environment());
        let extension = Extension::start(command);
        match platform.call() {
            Call::Register { name, body, .. } => {
                assert_eq!(name, "datadog-agent");
                assert_eq!(body, json!({ "events": ["INVOKE", "SHUTDOWN"] }));
            }
            other => panic!("{other:?} comes before registration"),
        }
        match platform.call() {
            Call::Subscribe { body } => {
                assert_eq!(body["destination"]["URI"], "http://sandbox:8124/lambda/logs");
                assert_eq!(body["types"], json!(["platform", "function", "extension"]));
            }
            other => panic!("{other:?} comes before the subscription"),
        }
        platform.next();
        for (table, port) in [("tcp", 8124), ("udp", 8125), ("tcp", 8126)] {
            assert!(extension.listens(table, port), "{port}/{table} is not bound at the first poll");
        }
        platform.shutdown();
        assert!(extension.exit().success());
    });
}

#[test]
fn it_opens_nothing_but_its_settings_and_its_context_before_the_first_poll() {
    namespace::test("it_opens_nothing_but_its_settings_and_its_context_before_the_first_poll", || {
        if Command::new("strace").arg("--version").output().is_err() {
            assert!(env::var_os("THIMBLE_BIN").is_none(), "strace is not installed");
            return eprintln!("not checked: strace is not installed");
        }
        let Some(binary) = named("THIMBLE_BIN") else {
            return eprintln!("not checked: a dynamic binary opens its libraries");
        };
        let platform = Platform::start();
        let trace = env::temp_dir().join(format!("thimble-opens-{}", std::process::id()));
        let mut command = process::command(Path::new("strace"), platform.address, &intake().environment());
        command.args(["-f", "-qq", "-e", "trace=open,openat,openat2,execve", "-o"]).arg(&trace).arg(&binary);
        let extension = Extension::start(command);
        platform.next();
        let opens = fs::read_to_string(&trace).expect("what strace saw");
        platform.shutdown();
        extension.exit();
        fs::remove_file(&trace).expect("our own file");
        let allowed = ["execve(", "/var/task/datadog.yaml\"", "/tmp/dd-lambda-extension-cache.json\""];
        let others: Vec<&str> = opens.lines().filter(|line| !allowed.iter().any(|a| line.contains(a))).collect();
        assert!(others.is_empty(), "{others:#?}");
        assert_eq!(opens.lines().filter(|line| line.contains("execve(")).count(), 1, "{opens}");
    });
}

#[test]
fn idle_it_is_small() {
    namespace::test("idle_it_is_small", || {
        let intake = intake();
        let release = named("THIMBLE_BIN").is_some();
        // Two threads that fault on one page at a time count it twice, and a page that is being read or written back counts
        // by itself: the file is read before, and the least of several starts is what the program needs.
        fs::read(binary()).expect("the binary");
        let starts: Vec<[u64; 3]> = (0..if release { 7 } else { 1 })
            .map(|_| {
                let platform = Platform::start();
                let (extension, waiting) = idle(&platform, &intake);
                let threads: Vec<&str> = waiting.iter().map(|w| w.thread.as_str()).collect();
                assert!(threads.len() <= budgets::IDLE_THREADS, "{} threads: {threads:?}", threads.len());
                [extension.memory_kb("VmRSS"), extension.written_kb(), extension.minor_faults()]
            })
            .collect();
        if release {
            let budgets = [budgets::IDLE_RSS_KB, budgets::IDLE_WRITTEN_KB, budgets::START_FAULTS];
            for (at, what) in ["kB resident", "kB written to", "page faults"].into_iter().enumerate() {
                let all = starts.iter().map(|start| start[at]);
                let least = all.clone().min().unwrap_or(u64::MAX);
                assert!(least <= budgets[at], "{least} {what}, at most {}; {:?}", budgets[at], all.collect::<Vec<_>>());
            }
        }
    });
}

/// 120,000 spans in one invocation, counted in stats or not, with statements or without: compressed as they come, never
/// kept raw, and nothing lost.
#[test]
fn a_burst_of_spans_stays_small() {
    namespace::test("a_burst_of_spans_stays_small", || {
        const BODIES: u64 = 60;
        for (stats, body) in [("false", msgpack::body as fn(u64) -> Vec<u8>), ("true", msgpack::statements)] {
            let (mut platform, intake) = (Platform::start(), intake());
            let mut environment = intake.environment();
            environment.push(("DD_LAMBDA_EXTENSION_COMPUTE_STATS", stats.to_owned()));
            let extension = Extension::start(process::command(&binary(), platform.address, &environment));
            platform.next();
            let id = "8f5e1d2c-0c5e-4d8e-9d6a-000000000000";
            platform.invoke(id);
            let mut tracer = Client::connect(("127.0.0.1", 8126)).expect("the trace receiver listens");
            for number in 0..BODIES {
                let headers = [("Content-Type", "application/msgpack"), ("Datadog-Meta-Lang", "python")];
                let status = tracer.send("PUT", "/v0.4/traces", &headers, &body(number)).expect("an answer");
                assert_eq!(status, 200, "body {number}");
            }
            let peak = extension.memory_kb("VmHWM");
            assert!(peak <= budgets::SPANS_PEAK_KB, "{peak} kB at most, {} allowed, {stats}", budgets::SPANS_PEAK_KB);
            platform.deliver(json!([runtime_done(id)]).to_string().as_bytes());
            platform.next();
            platform.shutdown();
            extension.exit();
            let arrivals = intake.take();
            assert_eq!(content(&arrivals).spans, BODIES * msgpack::SPANS);
            let hits = if stats == "true" { BODIES * msgpack::SPANS } else { 0 };
            assert_eq!(content(&arrivals).hits, hits, "every span is measured");
        }
    });
}

/// The calls of x86_64 that wait, and which of their arguments is the timeout: `Pointer` waits for ever if it is null,
/// `Milliseconds` if it is negative, `Never` has none.
#[cfg(target_arch = "x86_64")]
const WAITS: &[(u64, &str, Timeout)] = &[
    (0, "read", Timeout::Never),
    (7, "poll", Timeout::Milliseconds(2)),
    (43, "accept", Timeout::Never),
    (45, "recvfrom", Timeout::Never),
    (47, "recvmsg", Timeout::Never),
    (202, "futex", Timeout::Pointer(3)),
    (232, "epoll_wait", Timeout::Milliseconds(3)),
    (271, "ppoll", Timeout::Pointer(2)),
    (281, "epoll_pwait", Timeout::Milliseconds(3)),
    (288, "accept4", Timeout::Never),
];

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
enum Timeout {
    Never,
    Pointer(usize),
    Milliseconds(usize),
}

/// A thread that waits with a timeout would wake up, however long that takes; so the calls themselves are looked at.
#[cfg(target_arch = "x86_64")]
#[test]
fn idle_nothing_wakes_up() {
    namespace::test("idle_nothing_wakes_up", || {
        let (platform, intake) = (Platform::start(), intake());
        let (extension, waiting) = idle(&platform, &intake);
        assert!(waiting.len() > 1, "{waiting:?}");
        for Waiting { thread, call } in &waiting {
            let known = WAITS.iter().find(|(number, ..)| *number == call[0]);
            let Some((_, name, timeout)) = known else { panic!("`{thread}` waits in system call {}", call[0]) };
            let forever = match *timeout {
                Timeout::Never => true,
                Timeout::Pointer(at) => call[1 + at] == 0,
                // The kernel takes the lower half as a signed number.
                Timeout::Milliseconds(at) => call[1 + at] & 0x8000_0000 != 0,
            };
            assert!(forever, "`{thread}` waits in `{name}` with a timeout");
        }
        let before = extension.switches();
        assert_eq!(extension.settled(), waiting);
        assert_eq!(extension.switches(), before);
    });
}

/// One invocation and the end, with as little as the platform can say.
fn live_and_end(extension: Extension, platform: &mut Platform, intake: &Intake) {
    platform.next();
    platform.invoke("8f5e1d2c-0c5e-4d8e-9d6a-2f6a0c3b1d11");
    let start = json!({ "requestId": "8f5e1d2c-0c5e-4d8e-9d6a-2f6a0c3b1d11", "version": "$LATEST" });
    let events = [
        telemetry("platform.start", &start),
        telemetry("function", &json!("a line\n")),
        runtime_done("8f5e1d2c-0c5e-4d8e-9d6a-2f6a0c3b1d11"),
    ];
    platform.deliver(json!(events).to_string().as_bytes());
    platform.next();
    platform.shutdown();
    assert!(extension.exit().success());
    let lines = support::intake::content(&intake.take()).lines;
    assert_eq!(lines, 3, "START, the line and END arrive");
}

#[test]
fn it_lives_through_an_invocation_and_ends() {
    namespace::test("it_lives_through_an_invocation_and_ends", || {
        let (mut platform, intake) = (Platform::start(), intake());
        let command = process::command(&binary(), platform.address, &intake.environment());
        live_and_end(Extension::start(command), &mut platform, &intake);
    });
}

#[test]
fn the_arm64_binary_lives_through_an_invocation_and_ends() {
    namespace::test("the_arm64_binary_lives_through_an_invocation_and_ends", || {
        let Some(binary) = named("THIMBLE_BIN_AARCH64") else {
            return eprintln!("not checked: THIMBLE_BIN_AARCH64 names no binary");
        };
        let (mut platform, intake) = (Platform::start(), intake());
        let command = if cfg!(target_arch = "aarch64") {
            process::command(&binary, platform.address, &intake.environment())
        } else {
            let mut emulated = process::command(Path::new("qemu-aarch64"), platform.address, &intake.environment());
            emulated.args(["-0", "/opt/extensions/datadog-agent"]).arg(binary);
            emulated
        };
        live_and_end(Extension::start(command), &mut platform, &intake);
    });
}

#[test]
fn the_release_binaries_are_small_and_static() {
    for name in ["THIMBLE_BIN", "THIMBLE_BIN_AARCH64"] {
        let Some(path) = named(name) else { continue };
        let content = fs::read(&path).expect("a file");
        let bytes = content.len() as u64;
        assert!(bytes <= budgets::BINARY_BYTES, "{name}: {bytes} bytes, at most {}", budgets::BINARY_BYTES);
        assert_eq!(interpreter(&content), None, "{name} is dynamic");
    }
}

/// The dynamic loader that a 64-bit little-endian ELF file asks for.
fn interpreter(elf: &[u8]) -> Option<&[u8]> {
    const INTERP: u64 = 3;
    let number = |at: usize, bytes: usize| elf[at..at + bytes].iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
    let size = |at: usize, bytes: usize| usize::try_from(number(at, bytes)).expect("an offset in this file");
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01");
    let (table, entry, entries) = (size(32, 8), size(54, 2), size(56, 2));
    let headers = (0..entries).map(|i| table + i * entry);
    let mut loaders = headers.filter(|&h| number(h, 4) == INTERP).map(|h| &elf[size(h + 8, 8)..][..size(h + 32, 8)]);
    loaders.next()
}

#[test]
fn the_layers_are_small_and_hold_an_executable_under_its_name() {
    let Some(folder) = named("THIMBLE_LAYERS") else { return eprintln!("not checked: THIMBLE_LAYERS is not set") };
    for arch in ["x86_64", "aarch64"] {
        let layer = fs::read(folder.join(format!("thimble-{arch}.zip"))).expect("`make layer` made it");
        let bytes = layer.len() as u64;
        assert!(bytes <= budgets::LAYER_BYTES, "{arch}: {bytes} bytes, at most {}", budgets::LAYER_BYTES);
        let members = [("extensions/".to_owned(), 0o040_755), ("extensions/datadog-agent".to_owned(), 0o100_755)];
        assert_eq!(members_of(&layer), members, "{arch}");
    }
}

/// Names and modes in the central directory of an archive.
fn members_of(archive: &[u8]) -> Vec<(String, u16)> {
    let number = |at: usize| u16::from_le_bytes([archive[at], archive[at + 1]]);
    let entry = b"PK\x01\x02";
    let end = archive.windows(4).rposition(|w| w == b"PK\x05\x06").expect("the end of the central directory");
    let mut at = usize::from(number(end + 16)) | usize::from(number(end + 18)) << 16;
    let mut members = Vec::new();
    while archive[at..].starts_with(entry) {
        let (name, extra, comment) = (number(at + 28), number(at + 30), number(at + 32));
        let text = &archive[at + 46..][..usize::from(name)];
        members.push((String::from_utf8(text.to_vec()).expect("UTF-8"), number(at + 40)));
        at += 46 + usize::from(name) + usize::from(extra) + usize::from(comment);
    }
    members
}
