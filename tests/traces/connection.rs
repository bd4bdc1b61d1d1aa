//! Requests on one connection, through the server: what is wrong with one is no matter of the others.

use super::*;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, unbounded};
use thimble::config::Config;
use thimble::forwarder::Client;
use thimble::net::{Limits, Service, bind, serve};
use thimble::traces::passthrough::Passthrough;
use thimble::traces::receiver::Receiver;
use thimble::traces::{Message, Rates};

/// Decodes what comes, as the trace agent does, and tells of each request how many spans it took.
fn agent(inbox: &crossbeam_channel::Receiver<Message>, taken: &Sender<usize>) {
    let rates = Arc::new(Rates { body: "{\"rate_by_service\":{}}".into(), version: "1".into() });
    for message in inbox {
        match message {
            Message::Payload { body, format, headers, reply } => {
                let outcome = run(&body, format, &headers, &Tags::default());
                taken.send(outcome.spans().len()).unwrap();
                reply.send(outcome.result.map(|()| Arc::clone(&rates))).unwrap();
            }
            Message::Stats { reply, .. } => reply.send(Ok(())).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

fn request(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A receiver with nothing set, and nobody behind what it passes on.
fn receiver_to(to_agent: Sender<Message>) -> Receiver {
    let config = Arc::new(Config::load(&[], None).0);
    let proxy = Passthrough::new(&config, &Tags::default(), Client::new(&config), None);
    Receiver::new(to_agent, &config, proxy)
}

#[test]
fn one_bad_request_costs_nothing_but_itself() {
    let (to_agent, inbox) = bounded(4);
    let (took, taken) = unbounded();
    thread::spawn(move || agent(&inbox, &took));
    let service: Arc<dyn Service> = Arc::new(receiver_to(to_agent));
    let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits { connections: 2, head: 16 << 10, read_timeout: Duration::from_secs(60), body_budget: 4 << 20 };
    thread::spawn(move || serve(&listener, "traces", &limits, &service));

    let traces = [vec![plain(1, 1, 0), plain(1, 2, 1)]];
    let (mut broken, json) = (v04(&[traces[0].clone(), vec![plain(3, 1, 0)]]), tracer::json(&traces));
    let end = broken.len();
    broken.truncate(end - 3);
    let too_large = vec![0x90; 5 << 20];
    let rows: [(Vec<u8>, u16, &str); 10] = [
        (request("/v0.4/traces", "Content-Type: application/msgpack\r\n", &v04(&traces)), 200, "rate_by_service"),
        (
            request("/v0.4/traces", "Content-Type: application/msgpack\r\n", &broken),
            400,
            "the payload ends inside a value at byte",
        ),
        (request("/v0.4/traces", "Content-Type: application/json\r\n", json.as_bytes()), 200, "rate_by_service"),
        (request("/v0.9/traces", "", b"what?"), 404, "no such endpoint"),
        (request("/v0.5/traces", "", b"{}"), 400, "expected an array at byte 0"),
        (request("/v0.5/traces", "Datadog-Rates-Payload-Version: 1\r\n", &v05(&traces)), 200, "{}"),
        (request("/v0.3/services", "", b"{}"), 200, "OK"),
        (request("/v0.6/stats", "", &[0x80]), 202, ""),
        (request("/v0.7/traces", "", &tracer::v07(&v07::around(traces.to_vec()))), 200, "rate_by_service"),
        // The last one: the rest of such a body is not worth reading.
        (request("/v0.4/traces", "", &too_large), 413, ""),
    ];
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let all: Vec<u8> = rows.iter().flat_map(|(request, ..)| request.clone()).collect();
    let mut writer = stream.try_clone().unwrap();
    let sent = thread::spawn(move || {
        writer.write_all(&all).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    sent.join().unwrap();

    let answers: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).collect();
    assert_eq!(answers.len(), rows.len(), "{answers:#?}");
    for ((_, status, text), answer) in rows.iter().zip(&answers) {
        assert!(answer.starts_with(&status.to_string()) && answer.contains(text), "{status} {text}: {answer}");
        assert_eq!(answer.contains("Datadog-Agent-State: "), *status != 413, "{answer}");
    }
    // The last trace of the broken one is missing, and nothing else.
    assert_eq!(taken.try_iter().collect::<Vec<_>>(), [2, 2, 2, 0, 2, 2]);
}
