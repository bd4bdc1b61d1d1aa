//! CPU and memory for what a function hands over: spans, DogStatsD samples, log lines. End to end: from the socket to
//! the compressed payload at the intake, the kernel's part included.

use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::msgpack::{SPANS, body};
use crate::start::{count, median, micros};
use crate::support::budgets;
use crate::support::http::Client;
use crate::support::intake::{Content, content};
use crate::support::platform::{PATIENCE, runtime_done, telemetry};
use crate::support::process::{self, Extension};
use crate::table::Row;
use crate::{Session, Subject};

const DOGSTATSD: u16 = 8125;
const FLOOR_PORT: u16 = 8135;

/// Bodies in each invocation of the CPU measurement, and in the one whose memory is measured.
const BODIES: u64 = 10;
const BURST: u64 = 60;
const INVOCATIONS: u64 = 12;

/// Datagrams of a round, in bursts that the default socket buffer holds. Rounds of thimble and of the bare reader
/// alternate.
const SAMPLES: u64 = 50_000;
const SAMPLE_BURST: u64 = 100;
const ROUNDS: usize = 9;

/// Lines of a delivery, deliveries of an invocation.
const LINES: u64 = 1_000;
const DELIVERIES: u64 = 10;

/// Runs invocation `number` of `session`: `work` is what the function does.
fn invocation(session: &mut Session, number: u64, work: impl FnOnce(&mut Session)) {
    let id = format!("8f5e1d2c-0c5e-4d8e-9d6a-{number:012}");
    session.platform.invoke(&id);
    let start = telemetry("platform.start", &json!({ "requestId": id, "version": "$LATEST" }));
    session.platform.deliver(json!([start]).to_string().as_bytes());
    work(session);
    session.platform.deliver(json!([runtime_done(&id)]).to_string().as_bytes());
    session.platform.next();
}

/// What arrived, once thimble has ended: what it kept for later is in it, or lost.
fn arrived(session: Session) -> Content {
    session.platform.shutdown();
    session.extension.exit();
    content(&session.intake.take())
}

fn send_bodies(client: &mut Client, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let headers = [("Content-Type", "application/msgpack"), ("Datadog-Meta-Lang", "python")];
        assert_eq!(client.send("PUT", "/v0.4/traces", &headers, &body(number)).expect("an answer"), 200);
    }
}

pub fn spans(subject: &Subject) -> Vec<Row> {
    let tracer = || Client::connect(("127.0.0.1", 8126)).expect("the trace receiver listens");

    let mut session = subject.session(Duration::ZERO);
    let mut client = tracer();
    let mut spent = Vec::new();
    for number in 0..INVOCATIONS {
        let before = session.extension.cpu();
        invocation(&mut session, number, |_| send_bodies(&mut client, number * BODIES..(number + 1) * BODIES));
        spent.push(micros(session.extension.cpu() - before) / count(BODIES * SPANS));
    }
    let sent = INVOCATIONS * BODIES * SPANS;
    let lost = count(sent) - count(arrived(session).spans);

    let mut session = subject.session(Duration::ZERO);
    let mut client = tracer();
    invocation(&mut session, 0, |_| send_bodies(&mut client, 0..BURST));
    let peak = session.extension.memory_kb("VmHWM");
    let burst_lost = count(BURST * SPANS) - count(arrived(session).spans);

    vec![
        Row::at_most("a span with 25 tags, bodies of 2,000: CPU", median(spent), "µs", budgets::SPAN_US),
        Row::exactly("  lost", lost, "", 0.0),
        Row::at_most("120,000 of them in one invocation: peak", count(peak), "kB", count(budgets::SPANS_PEAK_KB)),
        Row::exactly("  lost", burst_lost, "", 0.0),
    ]
}

/// What waits in the buffer of the UDP socket bound to `port`, and what the kernel dropped there.
fn udp_queue(port: u16) -> (u64, u64) {
    let suffix = format!(":{port:04X}");
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    for line in tables.iter().flat_map(|table| table.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.get(1).is_some_and(|local| local.ends_with(&suffix)) {
            let queued = words[4].split_once(':').and_then(|(_, rx)| u64::from_str_radix(rx, 16).ok());
            return (queued.expect("a number"), words[words.len() - 1].parse().expect("a number"));
        }
    }
    panic!("nobody reads udp port {port}");
}

/// Sends the samples of a round to `port`, half of them counters, and waits for each burst to be read. Hands back the drops.
fn send_samples(port: u16) -> u64 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.connect(("127.0.0.1", port)).expect("the loopback");
    let tags = "env:prod,service:orders,team:checkout,dd_lambda_layer:datadog-python311_8.130.0";
    let samples: Vec<String> = (0..SAMPLE_BURST)
        .map(|i| format!("orders.metric_{}:1|{}|#{tags}", i / 2 % 10, if i % 2 == 0 { "c" } else { "d" }))
        .collect();
    for _ in 0..SAMPLES / SAMPLE_BURST {
        for sample in &samples {
            socket.send(sample.as_bytes()).expect("somebody reads");
        }
        drained(port);
    }
    udp_queue(port).1
}

fn drained(port: u16) {
    let deadline = Instant::now() + PATIENCE;
    while udp_queue(port).0 > 0 {
        assert!(Instant::now() < deadline, "datagrams to {port} are not read");
        // The readers run meanwhile: a yield would give nothing to a lower priority.
        thread::park_timeout(Duration::from_micros(50));
    }
}

/// Sender and readers share a processor, and the readers run when the sender waits: each burst is read in one go.
/// Elsewhere a reader would be woken for each datagram, which costs more than all else and hides it.
pub fn samples(subject: &Subject) -> Vec<Row> {
    thread::scope(|scope| {
        let measured = scope.spawn(|| {
            process::stay_on_the_first_processor();
            sample_rows(subject)
        });
        measured.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn sample_rows(subject: &Subject) -> Vec<Row> {
    let mut command = Command::new(&subject.floor);
    command.args(["udp", &FLOOR_PORT.to_string()]);
    let reader = Extension::start(process::aside(&command));
    let deadline = Instant::now() + PATIENCE;
    while !reader.listens("udp", FLOOR_PORT) {
        assert!(Instant::now() < deadline, "the bare reader does not start");
        thread::yield_now();
    }
    let mut session = subject.session_of(Duration::ZERO, |command| process::aside(&command));
    let (mut ours, mut floor, mut dropped) = (Vec::new(), Vec::new(), 0);
    let cost = |process: &Extension, port| {
        let before = process.cpu();
        let drops = send_samples(port);
        (micros(process.cpu() - before) / count(SAMPLES), drops)
    };
    invocation(&mut session, 0, |session| {
        for _ in 0..ROUNDS {
            floor.push(cost(&reader, FLOOR_PORT).0);
            let (spent, drops) = cost(&session.extension, DOGSTATSD);
            ours.push(spent);
            dropped = drops; // since the socket was bound
        }
    });
    let lost = count(SAMPLES / 2) * ROUNDS as f64 - arrived(session).counted;
    let (ours, floor) = (median(ours), median(floor));
    vec![
        Row::plain("a DogStatsD sample in a datagram of its own: CPU", ours, "µs"),
        Row::plain("  reading such a datagram", floor, "µs"),
        Row::at_most("  beyond that", ours - floor, "µs", budgets::SAMPLE_US),
        Row::exactly("  lost", lost + count(dropped), "", 0.0),
    ]
}

pub fn lines(subject: &Subject) -> Vec<Row> {
    let line = |i: u64| {
        let text = format!(
            "[INFO]\t2026-01-05T10:00:00.000Z\t8f5e1d2c-0c5e-4d8e-9d6a-2f6a0c3b1d11\torder {i} of customer {} accepted, \
             {} items\n",
            i % 113,
            i % 7
        );
        telemetry("function", &Value::String(text))
    };
    let delivery = Value::Array((0..LINES).map(line).collect()).to_string();
    let mut session = subject.session(Duration::ZERO);
    let mut spent = Vec::new();
    for number in 0..INVOCATIONS {
        let before = session.extension.cpu();
        invocation(&mut session, number, |session| {
            for _ in 0..DELIVERIES {
                session.platform.deliver(delivery.as_bytes());
            }
        });
        spent.push(micros(session.extension.cpu() - before) / count(DELIVERIES * LINES));
    }
    let sent = INVOCATIONS * DELIVERIES * LINES;
    // START and END of each invocation become logs too.
    let lost = count(sent + 2 * INVOCATIONS) - count(arrived(session).lines);
    vec![Row::at_most("a log line: CPU", median(spent), "µs", budgets::LINE_US), Row::exactly("  lost", lost, "", 0.0)]
}
