//! Bodies that a service reads as they come: bounded, strictly framed, and every client answered.

use std::io::Read;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use thimble::net::{Admission, Body, Head, Limits, Response, Rest, Service, bind, serve};

use super::{Client, MIB, answer_to, limits};

/// Answers with how much came before the rest, how much was declared then, and [`answer_to`] all of it.
struct Reader;

impl Service for Reader {
    fn admit(&self, head: &Head) -> Result<Admission, Response> {
        match head.path.as_str() {
            "/" => Ok(Admission::Whole(MIB)),
            path => Ok(Admission::Stream(path[1..].parse().unwrap_or(8))),
        }
    }

    fn respond(&self, _: &Head, body: Body) -> Response {
        Response::text(200, answer_to(&body))
    }

    fn relay(&self, head: &Head, mut start: Body, rest: Option<&mut Rest<'_>>) -> Response {
        let (first, declared) = (start.len(), rest.as_ref().map(|rest| rest.declared()));
        let mut all = start.take();
        match head.path.as_str() {
            "/panic" => panic!("asked for, in relay"),
            "/ignore" => {}
            // An error is the connection's to answer.
            _ => drop(rest.map(|rest| rest.read_to_end(&mut all))),
        }
        Response::text(200, format!("{first} {declared:?} {}", answer_to(&all)))
    }
}

fn start(limits: Limits) -> SocketAddr {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || serve(&listener, "reader", &limits, &(Arc::new(Reader) as Arc<dyn Service>)));
    addr
}

fn chunks(body: &[u8], size: usize) -> Vec<u8> {
    let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
    [body.chunks(size).flat_map(chunk).collect(), b"0\r\n\r\n".to_vec()].concat()
}

/// Answers to a body of `body`, with a length and in chunks, and what follows on the connection.
fn check(path: &str, body: &[u8], with_length: &str, in_chunks: &str, goes_on: bool) {
    let addr = start(limits());
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n");
    for (wire, expected) in [
        ([format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat(), with_length),
        ([format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes(), &chunks(body, 5000)].concat(), in_chunks),
    ] {
        let mut client = Client::new(addr);
        client.send(wire);
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_str()), (200, expected), "{path}");
        if goes_on {
            assert_eq!(client.post("/", b"next").body, answer_to(b"next"), "{path}");
        } else {
            assert!(client.is_closed(), "{path}");
        }
    }
}

#[test]
fn what_is_left_comes_as_a_stream() {
    let body: Vec<u8> = (0..200_000_u32).map(|i| i as u8).collect();
    let all = answer_to(&body);
    check("/8", b"", "0 None 0 0", "0 None 0 0", true);
    check(
        "/8",
        b"12345678",
        &format!("8 None {}", answer_to(b"12345678")),
        &format!("8 None {}", answer_to(b"12345678")),
        true,
    );
    let nine = answer_to(b"123456789");
    check("/8", b"123456789", &format!("8 Some(Some(1)) {nine}"), &format!("8 Some(None) {nine}"), true);
    check("/0", &body, &format!("0 Some(Some(200000)) {all}"), &format!("0 Some(None) {all}"), true);
    check("/100000", &body, &format!("100000 Some(Some(100000)) {all}"), &format!("100000 Some(None) {all}"), true);
    check("/200000", &body, &format!("200000 None {all}"), &format!("200000 None {all}"), true);
}

#[test]
fn what_the_service_leaves_is_discarded() {
    let small = vec![b'x'; 20_000];
    let first = answer_to(&small[..8]);
    check("/ignore", &small, &format!("8 Some(Some(19992)) {first}"), &format!("8 Some(None) {first}"), true);
    let large = vec![b'x'; 200_000];
    check("/ignore", &large, &format!("8 Some(Some(199992)) {first}"), &format!("8 Some(None) {first}"), false);
}

#[test]
fn a_body_that_fails_is_told_to_the_client() {
    let addr = start(Limits { read_timeout: Duration::from_millis(100), ..limits() });
    let post = |headers: &str, rest: &str| format!("POST /4 HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{rest}");
    for (wire, ends, status) in [
        (post("Content-Length: 9", "12345678"), true, 400),
        (post("Content-Length: 9", "123"), true, 400),
        (post("Content-Length: 9", "12345678"), false, 408),
        (post("Transfer-Encoding: chunked", "5\r\n12345\r\n"), true, 400),
        (post("Transfer-Encoding: chunked", "5\r\n12345\r\n5\r\n"), false, 408),
        (post("Transfer-Encoding: chunked", "5\r\n12345\r\nx\r\n"), false, 400),
        (post("Transfer-Encoding: chunked", "5\r\n123456\r\n"), false, 400),
    ] {
        let mut client = Client::new(addr);
        client.send(&wire);
        if ends {
            client.stream.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(client.answer().status, status, "{wire:?}");
        assert!(client.is_closed(), "{wire:?}");
    }
}

#[test]
fn a_panic_in_the_middle_is_answered() {
    let mut client = Client::new(start(limits()));
    assert_eq!(client.post("/panic", &vec![b'x'; 100_000]).status, 500);
    assert!(client.is_closed());
}

#[test]
fn without_room_everything_is_streamed() {
    let addr = start(Limits { body_budget: 64 * 1024, ..limits() });
    let mut blocked = Client::new(addr);
    // Holds all there is.
    blocked.send(format!("POST /{MIB} HTTP/1.1\r\nHost: a\r\nContent-Length: {MIB}\r\n\r\n"));
    blocked.send(vec![b'x'; 64 * 1024 + 1]);
    let body = vec![b'x'; 50_000];
    let expected = format!("0 Some(Some(50000)) {}", answer_to(&body));
    // The other connection takes its share when it gets to it.
    while Client::new(addr).post("/50000", &body).body != expected {
        thread::yield_now();
    }
    blocked.send(vec![b'x'; MIB - 64 * 1024 - 1]);
    assert!(blocked.answer().body.starts_with("65536 Some(Some(983040)) 1048576 "));
}

#[test]
fn continue_comes_before_the_stream() {
    let mut client = Client::new(start(limits()));
    client.send("POST /0 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc");
    assert_eq!(client.answer().body, format!("0 Some(Some(3)) {}", answer_to(b"abc")));
    assert_eq!(client.post("/", b"next").status, 200);
}
