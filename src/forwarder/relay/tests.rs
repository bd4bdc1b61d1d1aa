//! The way through, over TLS and without: what an intake gets, what comes back, and every way to fail.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};
use ureq::tls::RootCerts;

use super::super::client::tests::{listen, tls_config};
use super::*;
use crate::config::{Endpoint, Secret};

/// What an intake got: the head in lower case, and the body without its framing.
type Seen = (String, Vec<u8>);

/// Reads one request and answers it.
fn serve(stream: impl Read + Write, answer: &[u8]) -> Seen {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap() > 0 {}
    let head = head.to_lowercase();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).map(|v| v.parse().unwrap());
    let mut body = Vec::new();
    if head.contains("transfer-encoding: chunked") {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).unwrap();
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else {
        body.resize(length.unwrap_or(0), 0);
        stream.read_exact(&mut body).unwrap();
    }
    stream.get_mut().write_all(answer).unwrap();
    stream.get_mut().flush().unwrap();
    (head, body)
}

fn relay(url: &str, roots: RootCerts, change: impl FnOnce(&mut Config)) -> Relay {
    let mut config = Config::load(&[], None).0;
    config.api_key = Some(Secret::new("abc123".to_owned()));
    config.apm.proxy.profiling_url = Some(url.to_owned());
    change(&mut config);
    Relay::new(Client::with_roots(roots), Arc::new(config))
}

fn request(target: &str) -> Request {
    let headers = vec![("x-a".to_owned(), b"1".to_vec()), ("x-a".to_owned(), b"2".to_vec())];
    Request { intake: Intake::Profiles, subdomain: String::new(), target: target.to_owned(), headers }
}

fn spawn(listener: TcpListener, answer: &'static [u8]) -> thread::JoinHandle<Seen> {
    thread::spawn(move || serve(listener.accept().unwrap().0, answer))
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

/// What arrives of `upload`, and what comes back for `answer`.
fn check(method: &str, upload: Upload<'_>, framing: &str, body: &[u8]) {
    let (listener, port) = listen();
    let intake = spawn(listener, OK);
    let relay = relay(&format!("http://127.0.0.1:{port}/api"), RootCerts::WebPki, |_| {});
    let answer = relay.send(&request("?q=1"), method, upload).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"{}"[..]));
    let (head, arrived) = intake.join().unwrap();
    assert!(head.starts_with(&format!("{} /api?q=1 http/1.1\r\n", method.to_lowercase())), "{head}");
    assert!(head.contains("\r\nx-a: 1\r\nx-a: 2\r\n") && head.contains("\r\ndd-api-key: abc123\r\n"), "{head}");
    let framed = head.contains("content-length") || head.contains("transfer-encoding");
    assert!(if framing.is_empty() { !framed } else { head.contains(framing) }, "{head}");
    assert!(arrived == body, "{} bytes of {}", arrived.len(), body.len());
}

#[test]
fn bodies_keep_their_framing() {
    let long: Vec<u8> = (0..300_000_u32).map(|i| (i * 7) as u8).collect();
    check("POST", Upload::Whole(b"abc"), "content-length: 3\r\n", b"abc");
    check("POST", Upload::Whole(&long), "content-length: 300000\r\n", &long);
    check("POST", Upload::Whole(b""), "content-length: 0\r\n", b"");
    check("PUT", Upload::Whole(b"x"), "content-length: 1\r\n", b"x");
    check("PATCH", Upload::Whole(b"x"), "content-length: 1\r\n", b"x");
    check("GET", Upload::Whole(b""), "", b"");
    check("GET", Upload::Whole(b"x"), "content-length: 1\r\n", b"x");
    check("DELETE", Upload::Whole(b""), "", b"");
    for length in [None, Some(300_000)] {
        let framing = if length.is_some() { "content-length: 300000\r\n" } else { "transfer-encoding: chunked\r\n" };
        for start in [0, 1, 100_000] {
            let (start, mut rest) = long.split_at(start);
            check("POST", Upload::Stream { start, rest: &mut rest, length }, framing, &long);
        }
    }
}

#[test]
fn answers_come_back() {
    let exchange = |answer: &'static [u8]| {
        let (listener, port) = listen();
        let intake = spawn(listener, answer);
        let relay = relay(&format!("http://127.0.0.1:{port}"), RootCerts::WebPki, |_| {});
        let outcome = relay.send(&request(""), "POST", Upload::Whole(b"x"));
        intake.join().unwrap();
        outcome.map(|a| (a.status, a.headers, String::from_utf8(a.body).unwrap()))
    };
    let none = Vec::new;
    assert_eq!(exchange(b"HTTP/1.1 204 N\r\n\r\n"), Ok((204, none(), String::new())));
    assert_eq!(
        exchange(b"HTTP/1.1 403 F\r\ncontent-length: 2\r\nset-cookie: a=b\r\n\r\nno"),
        Ok((403, none(), "no".to_owned()))
    );
    assert_eq!(
        exchange(b"HTTP/1.1 302 F\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n"),
        Ok((302, vec![("Location", "/x".to_owned())], String::new()))
    );
    let headers = vec![
        ("Content-Type", "a/b".to_owned()),
        ("Content-Encoding", "gzip".to_owned()),
        ("Retry-After", "7".to_owned()),
    ];
    let answer = b"HTTP/1.1 429 T\r\nretry-after: 7\r\ncontent-type: a/b\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(exchange(answer), Ok((429, headers, "abc".to_owned())));
    for broken in [
        &b""[..],
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n",
    ] {
        assert!(matches!(exchange(broken), Err(RelayError::Unreachable(_))), "{}", String::from_utf8_lossy(broken));
    }
}

#[test]
fn an_answer_that_is_too_long_is_not_passed_back() {
    for (size, fits) in [(ANSWER_MAX, true), (ANSWER_MAX + 1, false)] {
        let (listener, port) = listen();
        let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + size, b'x');
        let intake = thread::spawn(move || {
            let mut socket = listener.accept().unwrap().0;
            // The client may have had enough before the end.
            assert!(socket.read(&mut [0; 1024]).unwrap() > 0);
            let _ = socket.write_all(&answer);
        });
        let relay = relay(&format!("http://127.0.0.1:{port}"), RootCerts::WebPki, |_| {});
        assert_eq!(relay.send(&request(""), "GET", Upload::Whole(b"")).is_ok(), fits);
        intake.join().unwrap();
    }
}

#[test]
fn every_way_to_fail_has_a_name() {
    let (listener, port) = listen();
    let url = format!("http://127.0.0.1:{port}");
    let slow = relay(&url, RootCerts::WebPki, |config| config.flush_timeout = Duration::from_millis(50));
    let error = slow.send(&request(""), "POST", Upload::Whole(b"x")).unwrap_err();
    assert!(matches!(error, RelayError::TooSlow(_)) && error.to_string().contains("127.0.0.1"), "{error}");

    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
    let patient = relay(&url, RootCerts::WebPki, |_| {});
    for length in [None, Some(10)] {
        let upload = Upload::Stream { start: b"abc", rest: &mut Broken, length };
        assert_eq!(patient.send(&request(""), "POST", upload), Err(RelayError::Client));
    }
    drop(listener);
    let error = patient.send(&request(""), "POST", Upload::Whole(b"x")).unwrap_err();
    assert!(matches!(error, RelayError::Unreachable(_)), "{error}");
    assert!(!error.to_string().contains("abc123"));
    let error = patient.send(&request("?a=\u{1}"), "POST", Upload::Whole(b"x")).unwrap_err();
    assert!(matches!(error, RelayError::Unreachable(_)), "{error}");
    let keyless = relay(&url, RootCerts::WebPki, |config| config.api_key = None);
    assert!(matches!(keyless.send(&request(""), "POST", Upload::Whole(b"x")), Err(RelayError::Unreachable(_))));
}

#[test]
fn an_intake_may_answer_before_the_body_ends() {
    let (listener, port) = listen();
    let intake = thread::spawn(move || {
        let mut socket = listener.accept().unwrap().0;
        assert!(socket.read(&mut [0; 1024]).unwrap() > 0);
        socket.write_all(b"HTTP/1.1 413 T\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno").unwrap();
    });
    let relay = relay(&format!("http://127.0.0.1:{port}"), RootCerts::WebPki, |_| {});
    let mut rest = io::repeat(0).take(30 << 20);
    let answer = relay.send(&request(""), "POST", Upload::Stream { start: b"", rest: &mut rest, length: None });
    assert_eq!(answer.map(|a| (a.status, a.body)), Ok((413, b"no".to_vec())));
    intake.join().unwrap();
}

#[test]
fn additional_endpoints_get_what_is_whole() {
    let upload = |whole: bool, answer: &'static [u8], expected: u64| {
        let ((first, first_port), (second, second_port)) = (listen(), listen());
        let intake = spawn(first, OK);
        let other = whole.then(|| spawn(second, answer));
        let relay = relay(&format!("http://127.0.0.1:{first_port}"), RootCerts::WebPki, |config| {
            let api_key = Secret::new("other".to_owned());
            let url = format!("http://127.0.0.1:{second_port}");
            config.apm.proxy.profiling_endpoints = vec![Endpoint { url, api_key }];
        });
        assert!(relay.is_multiple(Intake::Profiles) && !relay.is_multiple(Intake::Symbols));
        let before = crate::diag::counters::get(Counter::ProxyAdditional);
        let mut rest = &b"ab"[..];
        let upload =
            if whole { Upload::Whole(b"ab") } else { Upload::Stream { start: b"", rest: &mut rest, length: None } };
        assert_eq!(relay.send(&request(""), "POST", upload).unwrap().status, 200);
        assert_eq!(intake.join().unwrap().1, b"ab");
        if let Some(other) = other {
            let (head, body) = other.join().unwrap();
            assert!(head.contains("dd-api-key: other\r\n"), "{head}");
            assert_eq!(body, b"ab");
        }
        assert!(crate::diag::counters::get(Counter::ProxyAdditional) >= before + expected);
    };
    upload(true, OK, 0);
    upload(true, b"HTTP/1.1 500 O\r\ncontent-length: 0\r\n\r\n", 1);
    upload(true, b"", 1);
    upload(false, OK, 1);
}

/// On the stack that a connection's thread has.
#[test]
fn a_handshake_fits_on_a_connections_stack() {
    let (listener, port) = listen();
    let (config, roots) = tls_config();
    let intake = thread::spawn(move || {
        let socket = listener.accept().unwrap().0;
        serve(StreamOwned::new(ServerConnection::new(config).unwrap(), socket), OK)
    });
    let relay = relay(&format!("https://localhost:{port}"), roots, |_| {});
    let client = thread::Builder::new().stack_size(crate::net::STACK).spawn(move || {
        let mut rest = io::repeat(b'x').take(1 << 20);
        let sent = relay.send(&request(""), "POST", Upload::Stream { start: b"", rest: &mut rest, length: None });
        sent.map(|answer| answer.status)
    });
    assert_eq!(client.unwrap().join().unwrap(), Ok(200));
    assert_eq!(intake.join().unwrap().1.len(), 1 << 20);
}
