//! Heads: one row for every rule, and the same outcome however the bytes are cut.

use std::time::Duration;

use proptest::prelude::*;

use super::{Fault, Framing, HEADERS_MAX, Input, Patience, Refusal, Request, read_head};
use crate::net::input::script::Script;

const LIMIT: usize = 4096;

/// Method, path, query, framing, keep-alive, expects 100 and the headers of a head, or its refusal.
fn summary(bytes: &[u8], sizes: &[usize]) -> Result<Option<String>, Refusal> {
    let mut input = Input::new(Script::new(bytes, sizes), LIMIT);
    match read_head(&mut input, &mut Patience::new(Duration::ZERO)) {
        Ok(request) => Ok(request.map(|r| describe(&r))),
        Err(Fault::Refused(refusal)) => Err(refusal),
        Err(Fault::Lost) => panic!("a script is never lost"),
    }
}

fn describe(request: &Request) -> String {
    let head = &request.head;
    let framing = match request.framing {
        Framing::Length(length) => length.to_string(),
        Framing::Chunked => "chunked".to_owned(),
    };
    let keep = if request.keep_alive { "keep" } else { "close" };
    let expects = if request.expects_continue { " 100" } else { "" };
    format!("{} {} {} {framing} {keep}{expects}", head.method, head.path, head.query)
}

fn status(bytes: &[u8]) -> u16 {
    summary(bytes, &[]).map_or_else(|refusal| refusal.status, |_| 200)
}

#[test]
fn accepted() {
    for (lines, expected) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /  0 keep"),
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /  0 keep"),
        ("GET /a/b?c=d?e HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a/b c=d?e 0 keep"),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET /  0 keep"),
        ("BREW /pot HTTP/1.1\r\nhost: a\r\n\r\n", "BREW /pot  0 keep"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS *  0 keep"),
        ("GET http://localhost:8126/info?x=1 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /info x=1 0 keep"),
        ("GET HTTPS://localhost HTTP/1.1\r\nHost: a\r\n\r\n", "GET /  0 keep"),
        ("GET http://localhost?x HTTP/1.1\r\nHost: a\r\n\r\n", "GET / x 0 keep"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n", "POST /  7 keep"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t5 \r\n\r\n", "POST /  5 keep"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n",
            "POST /  18446744073709551615 keep",
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "POST /  chunked keep"),
        ("POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n", "POST /  chunked keep"),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /  0 close"),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: TE, Close\r\n\r\n", "GET /  0 close"),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nConnection: close\r\n\r\n", "GET /  0 close"),
        ("GET / HTTP/1.0\r\n\r\n", "GET /  0 close"),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET /  0 keep"),
        ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "GET /  0 close"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\n", "POST /  1 keep 100"),
        ("POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", "POST /  1 close"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX-Ob\u{e4}: no\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX-Text: caf\u{e9}\r\n\r\n", "GET /  0 keep"),
    ] {
        let found = match summary(lines.as_bytes(), &[]) {
            Ok(request) => request.unwrap(),
            Err(refusal) => refusal.status.to_string(),
        };
        assert_eq!(found, expected, "{lines:?}");
    }
}

#[test]
fn refused() {
    let host = "Host: a\r\n";
    for (status_expected, lines) in [
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (400, format!("GET / HTTP/1.1\r\n{host}{host}\r\n")),
        // Lengths.
        (400, format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 5\r\n\r\n")),
        (400, format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 6\r\n\r\n")),
        (400, format!("POST / HTTP/1.1\r\n{host}Content-Length: 5, 5\r\n\r\n")),
        (400, format!("POST / HTTP/1.1\r\n{host}Content-Length: +5\r\n\r\n")),
        (400, format!("POST / HTTP/1.1\r\n{host}Content-Length: -5\r\n\r\n")),
        (400, format!("POST / HTTP/1.1\r\n{host}Content-Length: 5x\r\n\r\n")),
        (400, format!("POST / HTTP/1.1\r\n{host}Content-Length: 0x5\r\n\r\n")),
        (400, format!("POST / HTTP/1.1\r\n{host}Content-Length:\r\n\r\n")),
        (400, format!("POST / HTTP/1.1\r\n{host}Content-Length: 18446744073709551616\r\n\r\n")),
        (400, format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")),
        // Codings.
        (400, format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n")),
        (400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()),
        (501, format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: identity\r\n\r\n")),
        (501, format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n")),
        (501, format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n")),
        (501, format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked, chunked\r\n\r\n")),
        (501, format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding:\r\n\r\n")),
        // Lines.
        (400, format!("GET / HTTP/1.1\r\n{host}X-A: b\r\n folded\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host} X-A: b\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}X-A : b\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}X A: b\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}: b\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}no colon\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}X-A: b\rc\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}X-A: b\0c\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}X-A: b\x7fc\r\n\r\n")),
        (400, "GET / HTTP/1.1\nHost: a\n\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\n\r\n".to_owned()),
        (400, format!("\nGET / HTTP/1.1\r\n{host}\r\n")),
        // Request lines.
        (400, format!("GET /caf\u{e9} HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET  / HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /a b HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /\0 HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET info HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET * HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET ftp://a/ HTTP/1.1\r\n{host}\r\n")),
        (400, "GET /\r\n\r\n".to_owned()),
        (400, "\x16\x03\x01\x02\0\x01\0".to_owned()),
        (501, format!("CONNECT a:80 HTTP/1.1\r\n{host}\r\n")),
        (505, format!("GET / HTTP/2.0\r\n{host}\r\n")),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        (417, format!("POST / HTTP/1.1\r\n{host}Expect: a-miracle\r\n\r\n")),
        // Sizes.
        (431, format!("GET / HTTP/1.1\r\n{host}X-A: {}\r\n\r\n", "b".repeat(LIMIT))),
        (431, format!("GET /{} HTTP/1.1\r\n{host}\r\n", "b".repeat(LIMIT))),
        (431, "\r\n".repeat(LIMIT)),
        (431, format!("GET / HTTP/1.1\r\n{host}{}\r\n", "a: b\r\n".repeat(HEADERS_MAX))),
        // Ends.
        (400, "G".to_owned()),
        (400, format!("GET / HTTP/1.1\r\n{host}\r")),
        (200, String::new()),
        (200, "\r\n\r\n".to_owned()),
        (200, format!("GET / HTTP/1.1\r\n{host}{}\r\n", "a: b\r\n".repeat(HEADERS_MAX - 1))),
    ] {
        assert_eq!(status(lines.as_bytes()), status_expected, "{:?}", lines.get(..200).unwrap_or(&lines));
    }
}

#[test]
fn a_head_of_exactly_the_limit_is_accepted() {
    let empty = "GET / HTTP/1.1\r\nHost: a\r\nX-A: \r\n\r\n";
    for (extra, expected) in [(0, 200), (1, 431)] {
        let value = "b".repeat(LIMIT - empty.len() + extra);
        let lines = empty.replace("X-A: ", &format!("X-A: {value}"));
        assert_eq!(status(lines.as_bytes()), expected);
    }
}

#[test]
fn headers_are_lower_case_trimmed_and_in_order() {
    let lines = b"GET / HTTP/1.1\r\nHOST: a\r\nX-B: \t two words\t \r\nX-A:1\r\nX-B: \xff\r\n\r\n";
    let mut input = Input::new(Script::new(lines, &[]), LIMIT);
    let request = read_head(&mut input, &mut Patience::new(Duration::ZERO)).unwrap().unwrap();
    let expected: [(&str, &[u8]); 4] = [("host", b"a"), ("x-b", b"two words"), ("x-a", b"1"), ("x-b", b"\xff")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_vec()));
    assert_eq!(request.head.headers, expected);
    assert_eq!(request.head.header("x-b"), Some("two words"));
    assert_eq!(request.head.header("x-c"), None);
}

/// Heads that are nearly right.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "GET",
        " ",
        "/",
        "?",
        "*",
        "http://a/b",
        "HTTP/1.1",
        "HTTP/1.0",
        "HTTP/2",
        "\r\n",
        "\n",
        "\r",
        ":",
        "Host: a",
        "Content-Length: 5",
        "Content-Length: ",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
        "Connection: close",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "\r\n\r\n",
        "\0",
        "\u{e9}",
        "\t",
        "5",
        "x",
    ]);
    let words = prop::collection::vec(word.prop_map(|w| w.as_bytes().to_vec()), 0..20).prop_map(|w| w.concat());
    prop_oneof![4 => words, 1 => prop::collection::vec(any::<u8>(), 0..300)]
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_outcome(bytes in nearly(), sizes in prop::collection::vec(1_usize..40, 1..10)) {
        prop_assert_eq!(summary(&bytes, &[]), summary(&bytes, &sizes));
        prop_assert_eq!(summary(&bytes, &[]), summary(&bytes, &[1]));
    }

    #[test]
    fn any_target_and_value_come_through(
        path in "/[!-~&&[^?]]{0,40}",
        query in "[!-~]{0,40}",
        value in "[!-~]([ -~]{0,40}[!-~])?",
    ) {
        let lines = format!("PUT {path}?{query} HTTP/1.1\r\nHost: a\r\nX-V: {value}\r\n\r\n");
        let mut input = Input::new(Script::new(lines.as_bytes(), &[7]), LIMIT);
        let head = read_head(&mut input, &mut Patience::new(Duration::ZERO)).unwrap().unwrap().head;
        prop_assert_eq!(&head.path, &path);
        prop_assert_eq!(&head.query, &query);
        prop_assert_eq!(head.header("x-v"), Some(value.as_str()));
    }
}
