//! Requests of tracers on their way through the worker of traces: each to its own intakes, none at the cost of spans.

use std::time::Instant;

use thimble::config::{Config, Endpoint, Secret, Signal};
use thimble::diag::counters::{Counter, get};
use thimble::forwarder::{Encoding, Intake, Payload, Request, Route};

use super::intake::{self, Act, intake, reply};
use super::worker::{KEY, PATIENCE, config, lines, payload, start};

fn proxied(intake: Intake, target: &str, body: &str) -> Payload {
    let headers = [("content-type", "multipart/form-data; boundary=b"), ("x-datadog-additional-tags", "a;b")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
    let request = Request { intake, subdomain: String::new(), target: target.to_owned(), headers };
    Payload {
        route: Route::Proxied(intake),
        encoding: Encoding::Identity,
        body: body.as_bytes().to_vec(),
        items: 1,
        headers: Vec::new(),
        request: Some(Box::new(request)),
    }
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint { url: url.to_owned(), api_key: Secret::new("other".to_owned()) }
}

fn bodies(intake: &intake::Intake) -> Vec<String> {
    intake.bodies().into_iter().map(|(_, body)| body).collect()
}

#[test]
fn a_request_arrives_as_it_is() {
    let intake = intake(|_, _| reply(202, "{}"));
    let mut config = config();
    config.apm.proxy.profiling_url = Some(format!("{}/api/v2/profile", intake.url));
    let mut worker = start(Signal::Traces, config);
    assert_eq!(worker.flush(vec![proxied(Intake::Profiles, "?a=b", "x")]), (1, 0));
    let request = intake.requests.recv().unwrap();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/api/v2/profile?a=b"));
    assert_eq!(request.body, b"x");
    let expected = [
        ("content-type", "multipart/form-data; boundary=b"),
        ("x-datadog-additional-tags", "a;b"),
        ("dd-api-key", KEY),
        ("content-length", "1"),
    ];
    for (name, value) in expected {
        assert_eq!(request.headers[name], value, "{name}");
    }
    assert_eq!(request.headers.get("content-encoding"), None);
}

#[test]
fn a_failing_additional_endpoint_costs_the_others_nothing() {
    let primary = intake(|_, _| reply(202, ""));
    // Fails until its seventh request.
    let failing = intake({
        let total = std::sync::atomic::AtomicUsize::new(0);
        move |_, _| reply(if total.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 6 { 500 } else { 202 }, "")
    });
    let with = |primary: &str, other: &str| {
        let mut config = Config { apm_url: primary.to_owned(), apm_endpoints: vec![endpoint(other)], ..config() };
        config.apm.proxy.profiling_url = Some(format!("{primary}/p"));
        config.apm.proxy.profiling_endpoints = vec![endpoint(&format!("{other}/p"))];
        config
    };
    let mut worker = start(Signal::Traces, with(&primary.url, &failing.url));
    let retried = get(Counter::PayloadsRetried);
    // Each of the two endpoints of `failing` has three attempts.
    assert_eq!(worker.flush(vec![payload(Route::Traces, "t1"), proxied(Intake::Profiles, "", "p1")]), (2, 2));
    assert_eq!(bodies(&primary), ["t1", "p1"]);
    assert_eq!(bodies(&failing), ["t1", "t1", "t1", "p1", "p1", "p1"]);
    assert!(get(Counter::PayloadsRetried) >= retried + 4);
    assert_eq!(worker.flush(vec![payload(Route::Traces, "t2"), proxied(Intake::Profiles, "", "p2")]), (6, 0));
    assert_eq!(bodies(&primary), ["t2", "p2"], "nothing twice");
    assert_eq!(bodies(&failing), ["t1", "t2", "p1", "p2"]);
    assert_eq!(lines(&primary.host), []);
}

#[test]
fn a_dead_intake_delays_no_spans() {
    let traces = intake(|_, _| reply(202, ""));
    let dead = intake(|_, _| Act::Stall);
    let mut config = Config { apm_url: traces.url.clone(), ..config() };
    config.apm.proxy.profiling_url = Some(dead.url.clone());
    let mut worker = start(Signal::Traces, config);
    let soon = || Instant::now() + PATIENCE / 100;
    for _ in 0..2 {
        let payloads = vec![proxied(Intake::Profiles, "", "p"), payload(Route::Traces, "t")];
        let (sent, _) = worker.flush_until(soon(), false, payloads);
        assert_eq!((sent, bodies(&traces)), (1, vec!["t".to_owned()]));
    }
    let (sent, kept) = worker.flush_until(soon(), true, vec![payload(Route::Traces, "t")]);
    assert_eq!((sent, kept, bodies(&traces)), (1, 2, vec!["t".to_owned()]));
}

#[test]
fn a_refused_key_of_an_intake_is_its_own_affair() {
    let traces = intake(|_, _| reply(202, ""));
    let refusing = intake(|_, _| reply(403, "no"));
    let mut config = Config { apm_url: traces.url.clone(), ..config() };
    config.apm.proxy.profiling_url = Some(refusing.url.clone());
    let mut worker = start(Signal::Traces, config);
    assert_eq!(worker.flush(vec![proxied(Intake::Profiles, "", "p"), payload(Route::Traces, "t")]), (1, 0));
    assert_eq!(worker.flush(vec![payload(Route::Traces, "t")]), (1, 0));
    assert_eq!((refusing.count(), traces.count()), (1, 2));
}
