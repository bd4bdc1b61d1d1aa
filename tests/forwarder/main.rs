//! The forwarder over real sockets: what goes out on the wire, and what each kind of bad intake costs.
//!
//! `tiny_http` stands for a well-behaved intake that is not ours.

mod intake;
mod proxied;
mod worker;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use intake::{Act, Intake, intake, reply};
use thimble::config::{Config, Endpoint, Secret, Signal};
use thimble::forwarder::{Encoding, FlushTicket, Job, Payload, Route};
use worker::{KEY, PATIENCE, config, lines, logs, logs_to, payload, start};

/// What a flush of one payload comes to when each request meets `act`: requests, connections, sent, kept; and whether
/// the next flush, which the intake takes, delivers it.
fn check(name: &str, act: Act, expected: (usize, usize, u32, u32)) {
    let budgeted = expected.0;
    let intake = intake({
        let total = Arc::new(Mutex::new(0));
        move |_, _| {
            let mut total = total.lock().unwrap();
            *total += 1;
            if *total <= budgeted { act.clone() } else { reply(202, "{}") }
        }
    });
    let mut worker = logs_to(&intake.url);
    let (sent, kept) = worker.flush(logs(&["[]"]));
    let seen = intake.bodies();
    let connections = seen.iter().map(|(connection, _)| connection).max().map_or(0, |n| n + 1);
    assert_eq!((seen.len(), connections, sent, kept), expected, "{name}");
    assert_eq!(worker.flush(Vec::new()), (kept, 0), "{name}");
    assert_eq!(intake.bodies().len(), kept as usize, "{name}");
}

fn raw(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

#[test]
fn answers() {
    check("200", reply(200, ""), (1, 1, 1, 0));
    check("202", reply(202, "{\"status\":\"ok\"}"), (1, 1, 1, 0));
    check("204", Act::Reply(raw("HTTP/1.1 204 No Content\r\n\r\n")), (1, 1, 1, 0));
    check("302", Act::Reply(raw("HTTP/1.1 302 F\r\nlocation: /\r\ncontent-length: 0\r\n\r\n")), (3, 1, 0, 1));
    check("400", reply(400, "no"), (1, 1, 0, 0));
    check("403", reply(403, "no"), (1, 1, 0, 0));
    check("404", reply(404, "no"), (1, 1, 0, 0));
    check("408", reply(408, "slow"), (3, 1, 0, 1));
    check("413", reply(413, "large"), (1, 1, 0, 0));
    check("429", reply(429, "later"), (3, 1, 0, 1));
    check("500", reply(500, "oops"), (3, 1, 0, 1));
    check("503", reply(503, ""), (3, 1, 0, 1));
}

#[test]
fn shapes_of_answers() {
    let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    check("1xx", Act::Reply(raw(&format!("{early}HTTP/1.1 202 A\r\ncontent-length: 0\r\n\r\n"))), (1, 1, 1, 0));
    let chunked = "HTTP/1.1 500 O\r\ntransfer-encoding: chunked\r\n\r\n4\r\noops\r\n0\r\n\r\n";
    check("chunked", Act::Reply(raw(chunked)), (3, 1, 0, 1));
    check("no length", Act::ReplyAndClose(raw("HTTP/1.1 202 A\r\n\r\n{}")), (1, 1, 1, 0));
    check("connection: close", Act::ReplyAndClose(raw("HTTP/1.1 500 A\r\nconnection: close\r\n\r\n")), (3, 3, 0, 1));
    // The status decides, the body does not matter.
    check("half a body", Act::ReplyAndClose(raw("HTTP/1.1 202 A\r\ncontent-length: 9\r\n\r\n{}")), (1, 1, 1, 0));
    check("large body", reply(202, &"x".repeat(1 << 20)), (1, 1, 1, 0));
    check("large error body", reply(500, &"x".repeat(1 << 20)), (3, 3, 0, 1));
}

#[test]
fn broken_connections() {
    check("closed", Act::ReplyAndClose(Vec::new()), (3, 3, 0, 1));
    check("reset", Act::Reset, (3, 3, 0, 1));
    check("half an answer", Act::ReplyAndClose(raw("HTTP/1.1 202 Acc")), (3, 3, 0, 1));
    check("no HTTP", Act::ReplyAndClose(raw("SSH-2.0-OpenSSH\r\n\r\n")), (3, 3, 0, 1));
    check(
        "endless head",
        Act::ReplyAndClose(raw(&format!("HTTP/1.1 200 A\r\na: {}", "x".repeat(99_999)))),
        (3, 3, 0, 1),
    );
}

#[test]
fn connections_are_used_again() {
    let intake = intake(|_, number| if number % 2 == 0 { reply(202, "{}") } else { reply(400, "bad") });
    let mut worker = logs_to(&intake.url);
    for _ in 0..5 {
        worker.flush(logs(&["[1]", "[2]"]));
    }
    let connections: Vec<_> = intake.bodies().into_iter().map(|(connection, _)| connection).collect();
    assert_eq!(connections, [0; 10]);
}

#[test]
fn a_stale_connection_costs_nothing() {
    for stale in [Act::ReplyAndClose(Vec::new()), Act::Reset, Act::ReplyAndClose(raw("HTTP/1.1 2"))] {
        // Each connection answers once and dies of the second request, as after a freeze.
        let intake = intake(move |_, number| if number == 0 { reply(202, "") } else { stale.clone() });
        let mut worker = logs_to(&intake.url);
        assert_eq!(worker.flush(logs(&["[1]"])), (1, 0));
        assert_eq!(worker.flush(logs(&["[2]", "[3]", "[4]", "[5]", "[6]"])), (5, 0));
        let expected: Vec<_> = [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (2, 4), (3, 4), (3, 5), (4, 5), (4, 6), (5, 6)]
            .map(|(connection, body)| (connection, format!("[{body}]")))
            .into();
        assert_eq!(intake.bodies(), expected);
        assert_eq!(lines(&intake.host), []);
    }
}

#[test]
fn a_connection_closed_while_idle_is_not_used() {
    let intake = intake(|_, _| Act::ReplyAndClose(raw("HTTP/1.1 202 A\r\ncontent-length: 0\r\n\r\n")));
    let mut worker = logs_to(&intake.url);
    for _ in 0..3 {
        assert_eq!(worker.flush(logs(&["[]"])), (1, 0));
    }
    // Whether the close was seen before the request or after it: each payload arrives once.
    assert_eq!(intake.count(), 3);
}

#[test]
fn what_was_kept_goes_first_and_newest_first_at_the_end() {
    let up = Arc::new(Mutex::new(false));
    let intake = intake({
        let up = Arc::clone(&up);
        move |_, _| if *up.lock().unwrap() { reply(202, "") } else { reply(503, "") }
    });
    let bodies = |intake: &Intake| intake.bodies().into_iter().map(|(_, body)| body).collect::<Vec<_>>();
    let mut worker = logs_to(&intake.url);
    assert_eq!(worker.flush(logs(&["1", "2"])), (0, 2));
    assert_eq!(bodies(&intake), ["1", "2", "1"]);
    assert_eq!(worker.flush(logs(&["3"])), (0, 3));
    assert_eq!(bodies(&intake), ["1", "3"]);
    *up.lock().unwrap() = true;
    assert_eq!(worker.flush(logs(&["4"])), (4, 0));
    assert_eq!(bodies(&intake), ["1", "2", "3", "4"]);
    *up.lock().unwrap() = false;
    assert_eq!(worker.flush(logs(&["5", "6"])), (0, 2));
    assert_eq!(bodies(&intake), ["5", "6", "5"]);
    *up.lock().unwrap() = true;
    assert_eq!(worker.flush_until(Instant::now() + PATIENCE, true, logs(&["7"])), (3, 0));
    assert_eq!(bodies(&intake), ["7", "6", "5"]);
    let levels: Vec<_> = lines(&intake.host).into_iter().map(|(level, _)| level).collect();
    assert_eq!(levels, [log::Level::Warn, log::Level::Info, log::Level::Warn, log::Level::Info]);
}

#[test]
fn a_flush_ends_at_its_deadline() {
    let intake = intake(|_, _| Act::Stall);
    let mut worker = logs_to(&intake.url);
    let soon = || Instant::now() + Duration::from_millis(200);
    assert_eq!(worker.flush_until(soon(), false, logs(&["1", "2", "3"])), (0, 3));
    assert_eq!(intake.count(), 1);
    // A deadline that has passed: nothing is tried, the answer comes all the same if anybody reads it.
    worker
        .jobs
        .send(Job {
            ticket: FlushTicket { id: 9, deadline: Instant::now(), ending: false, last: false },
            payloads: logs(&["4"]),
        })
        .unwrap();
    assert_eq!(worker.done.recv_timeout(PATIENCE).map(|done| (done.id, done.kept)), Ok((9, 4)));
    assert_eq!(intake.count(), 0);
}

#[test]
fn a_request_ends_at_its_limit() {
    let intake = intake(|connection, _| if connection == 0 { Act::Stall } else { reply(202, "") });
    let mut worker = start(
        Signal::Logs,
        Config { logs_url: intake.url.clone(), flush_timeout: Duration::from_millis(200), ..config() },
    );
    assert_eq!(worker.flush(logs(&["1"])), (1, 0));
    assert_eq!(intake.count(), 2);
}

#[test]
fn endpoints_are_independent() {
    let primary = intake(|_, _| reply(202, ""));
    let failing = intake(|_, _| reply(500, ""));
    let second = intake(|_, _| reply(202, ""));
    let refusing = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let endpoint = |url: &str, key: &str| Endpoint { url: url.to_owned(), api_key: Secret::new(key.to_owned()) };
    let mut worker = start(
        Signal::Logs,
        Config {
            logs_url: primary.url.clone(),
            logs_endpoints: vec![
                endpoint(&failing.url, "k1"),
                endpoint(&format!("http://{refusing}"), "k2"),
                endpoint("not a url", "k3"),
                endpoint(&format!("{}/", second.url), "k4"),
            ],
            ..config()
        },
    );
    assert_eq!(worker.flush(logs(&["1"])), (2, 2));
    assert_eq!(worker.flush(logs(&["2"])), (2, 4));
    assert_eq!((primary.count(), failing.count()), (2, 5));
    let keys: Vec<_> = second.requests.try_iter().map(|r| (r.target, r.headers["dd-api-key"].clone())).collect();
    assert_eq!(keys, [("/api/v2/logs".to_owned(), "k4".to_owned()), ("/api/v2/logs".to_owned(), "k4".to_owned())]);
    assert_eq!(lines(&primary.host), []);
    assert_eq!(lines(&refusing.to_string()).len(), 1);
}

#[test]
fn without_a_key_only_the_additional_endpoints_get_data() {
    let primary = intake(|_, _| reply(202, ""));
    let second = intake(|_, _| reply(202, ""));
    let endpoint = Endpoint { url: second.url.clone(), api_key: Secret::new("k".to_owned()) };
    let config = Config { api_key: None, apm_url: primary.url.clone(), apm_endpoints: vec![endpoint], ..config() };
    let mut worker = start(Signal::Traces, config);
    assert_eq!(worker.flush(vec![payload(Route::Traces, "x")]), (1, 0));
    assert_eq!((primary.count(), second.count()), (0, 1));
}

#[test]
fn a_bad_key_is_said_once() {
    let intake = intake(|_, _| reply(403, &format!("{{\"errors\":[\"Forbidden: {KEY}\"]}}")));
    let mut worker = logs_to(&intake.url);
    assert_eq!(worker.flush(logs(&["1", "2", "3", "4", "5"])), (0, 0));
    assert_eq!(intake.count(), 3);
    for _ in 0..3 {
        assert_eq!(worker.flush(logs(&["6", "7"])), (0, 0));
        assert_eq!(intake.count(), 1);
    }
    let said = lines(&intake.host);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].0, log::Level::Error);
    assert!(said[0].1.contains("DD_API_KEY") && said[0].1.contains("DD_SITE") && said[0].1.contains("403"), "{said:?}");
}

#[test]
fn refusals_and_outages_are_said_once() {
    let refusing = intake(|_, _| reply(413, "too large"));
    let failing = intake(|_, _| reply(500, "oops"));
    for (intake, part) in [(&refusing, "status 413"), (&failing, "status 500")] {
        let mut worker = logs_to(&intake.url);
        for _ in 0..4 {
            worker.flush(logs(&["1", "2"]));
        }
        let said = lines(&intake.host);
        assert_eq!(said.len(), 1, "{said:?}");
        assert_eq!(said[0].0, log::Level::Warn);
        assert!(said[0].1.contains(part), "{said:?}");
    }
}

#[test]
fn a_pipelines_worker_is_the_primary_only() {
    let pipeline = intake(|_, _| reply(200, ""));
    let second = intake(|_, _| reply(202, ""));
    let endpoint = Endpoint { url: second.url.clone(), api_key: Secret::new("k".to_owned()) };
    let logs_url = format!("{}/in/", pipeline.url);
    let config = Config { logs_url, logs_opw: true, logs_endpoints: vec![endpoint], ..config() };
    assert_eq!(start(Signal::Logs, config).flush(logs(&["[]"])), (2, 0));
    let to_pipeline = pipeline.requests.recv().unwrap();
    assert_eq!(to_pipeline.target, "/in/");
    assert_eq!(to_pipeline.headers.get("dd-protocol"), None);
    assert_eq!(to_pipeline.headers["dd-api-key"], KEY);
    let to_second = second.requests.recv().unwrap();
    assert_eq!(to_second.target, "/api/v2/logs");
    assert_eq!(to_second.headers["dd-protocol"], "agent-json");
    for request in [to_pipeline, to_second] {
        assert_eq!(request.headers.get("content-encoding"), None);
        assert_eq!(request.headers["content-type"], "application/json");
    }
}

type Header = (&'static str, &'static str);

#[test]
fn requests_as_they_are_on_the_wire() {
    let intake = intake(|_, _| reply(202, ""));
    let version = env!("CARGO_PKG_VERSION");
    let url = || intake.url.clone();
    let with_urls = || Config { logs_url: url(), metrics_url: url(), apm_url: url(), ..config() };
    let logs = [("dd-protocol", "agent-json"), ("dd-evp-origin", "agent"), ("dd-evp-origin-version", version)];
    let metrics = [("dd-agent-payload", "5.0"), ("dd-agent-version", version)];
    let traces = [("datadog-send-real-http-status", "1")];
    let (json, protobuf) = ("application/json", "application/x-protobuf");
    let rows: [(Signal, Route, &str, &str, &[Header]); 6] = [
        (Signal::Logs, Route::Logs, "/api/v2/logs", json, &logs),
        (Signal::Metrics, Route::Series, "/api/v2/series", json, &metrics),
        (Signal::Metrics, Route::Sketches, "/api/beta/sketches", protobuf, &metrics),
        (Signal::Metrics, Route::Events, "/intake/", json, &metrics),
        (Signal::Metrics, Route::ServiceChecks, "/api/v1/check_run", json, &metrics),
        (Signal::Traces, Route::Traces, "/api/v0.2/traces", protobuf, &traces),
    ];
    for (signal, route, path, content_type, own) in rows {
        let payload = Payload { encoding: Encoding::Zstd, ..payload(route, "zstd bytes") };
        assert_eq!(start(signal, with_urls()).flush(vec![payload]), (1, 0));
        let request = intake.requests.recv().unwrap();
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", path));
        assert_eq!(request.body, b"zstd bytes");
        let agent = format!("datadog-agent/{version}");
        let common = [
            ("host", intake.host.as_str()),
            ("accept", "*/*"),
            ("user-agent", &agent),
            ("content-type", content_type),
            ("content-encoding", "zstd"),
            ("content-length", "10"),
            ("dd-api-key", KEY),
        ];
        let expected: HashMap<_, _> =
            common.iter().chain(own).map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(request.headers, expected, "{route:?}");
    }
}

#[test]
fn large_bodies_reach_another_server() {
    let server = tiny_http::Server::http("127.0.0.1:0").unwrap();
    let address: SocketAddr = server.server_addr().to_ip().unwrap();
    let (seen, bodies) = crossbeam_channel::bounded(16);
    thread::spawn(move || {
        for mut request in server.incoming_requests() {
            let mut body = Vec::new();
            request.as_reader().read_to_end(&mut body).unwrap();
            seen.send(body).unwrap();
            request.respond(tiny_http::Response::from_string("{}").with_status_code(202)).unwrap();
        }
    });
    let mut worker = start(Signal::Traces, Config { apm_url: format!("http://{address}"), ..config() });
    for size in [0, 1, 16 * 1024, 16 * 1024 + 1, 20 << 20] {
        let body = "x".repeat(size);
        assert_eq!(worker.flush(vec![payload(Route::Traces, &body)]), (1, 0), "{size}");
        assert!(bodies.recv_timeout(PATIENCE).unwrap() == body.into_bytes(), "{size}");
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let up = Arc::new(Mutex::new(false));
    let intake = intake({
        let up = Arc::clone(&up);
        move |_, _| if *up.lock().unwrap() { reply(202, "") } else { reply(503, "") }
    });
    let mut worker = start(Signal::Metrics, Config { metrics_url: intake.url.clone(), ..config() });
    let megabyte = "x".repeat(1_000_000);
    for kept in [1, 2, 3, 4, 4, 4] {
        assert_eq!(worker.flush(vec![payload(Route::Series, &megabyte)]), (0, kept));
    }
    *up.lock().unwrap() = true;
    assert_eq!(worker.flush(Vec::new()), (4, 0));
    let said = lines(&intake.host);
    assert_eq!(said.iter().filter(|(_, line)| line.contains("4096 KiB")).count(), 1, "{said:?}");
}
