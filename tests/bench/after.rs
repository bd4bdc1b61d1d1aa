//! What thimble adds after the handler: from the delivery of `platform.runtimeDone` to the next `/next`, less what the
//! slowest request spent at the intake.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::start::median;
use crate::support::budgets;
use crate::support::http::Client;
use crate::support::platform::{runtime_done, telemetry};
use crate::table::Row;
use crate::{Subject, msgpack};

/// A round trip to an intake in the same region.
const ROUND_TRIP: Duration = Duration::from_millis(20);
const INVOCATIONS: u64 = 60;
/// Invocations that open the connections.
const WARM_UP: u64 = 3;

pub fn rows(subject: &Subject) -> Vec<Row> {
    let mut session = subject.session(ROUND_TRIP);
    let mut tracer = Client::connect(("127.0.0.1", 8126)).expect("the trace receiver listens");
    let statsd = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let mut added = Vec::new();
    for number in 0..INVOCATIONS {
        let id = format!("8f5e1d2c-0c5e-4d8e-9d6a-{number:012}");
        session.platform.invoke(&id);
        let start = telemetry("platform.start", &json!({ "requestId": id, "version": "$LATEST" }));
        let line = telemetry("function", &json!("order accepted\n"));
        session.platform.deliver(json!([start, line]).to_string().as_bytes());
        statsd.send_to(b"orders.total:12.5|d|#team:checkout", ("127.0.0.1", 8125)).expect("the loopback");
        let headers = [("Content-Type", "application/msgpack")];
        let body = msgpack::small(number);
        assert_eq!(tracer.send("PUT", "/v0.4/traces", &headers, &body).expect("an answer"), 200);

        let done = json!([runtime_done(&id)]).to_string();
        let ended = Instant::now();
        session.platform.deliver(done.as_bytes());
        let after = session.platform.next() - ended;
        let arrivals = session.intake.take();
        let longest = arrivals.iter().map(|a| a.answered - a.request.received).max().unwrap_or_default();
        if number >= WARM_UP {
            added.push((after.saturating_sub(longest)).as_secs_f64() * 1e3);
        }
        assert!(arrivals.len() >= 3, "logs, metrics and traces are flushed at the end: {}", arrivals.len());
    }
    let slowest = added.iter().copied().fold(0.0, f64::max);
    vec![
        Row::at_most("runtimeDone to /next beyond the intake, median", median(added), "ms", budgets::AFTER_MS),
        Row::plain("  slowest", slowest, "ms"),
    ]
}
