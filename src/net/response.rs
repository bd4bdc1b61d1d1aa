//! Answers as bytes: status line, headers and body in one buffer, so that they leave in one write.
//!
//! Framing headers are written here and nowhere else; a service's own cannot replace or break them. Pure.

use std::io::Write as _;

use super::Response;
use super::chunked::{is_text, is_token};
use super::input::Refusal;

/// Headers that belong to the connection, not to a service.
const FRAMING: [&str; 4] = ["content-length", "transfer-encoding", "connection", "trailer"];

/// What the header `Connection` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// The default of HTTP/1.1: nothing.
    Keep,
    /// An HTTP/1.0 client asked for it.
    KeepAlive,
    Close,
}

/// Appends `response` to `out`; for a `HEAD` request without its body.
pub(super) fn encode(out: &mut Vec<u8>, response: &Response, is_head: bool, persistence: Persistence) {
    let Response { status, content_type, headers, body } = response;
    // Writing to a Vec does not fail.
    let _ = write!(out, "HTTP/1.1 {status} {}\r\n", reason(*status));
    if !content_type.is_empty() {
        header(out, "Content-Type", content_type);
    }
    for (name, value) in headers {
        if !FRAMING.iter().any(|framing| framing.eq_ignore_ascii_case(name)) {
            header(out, name, value);
        }
    }
    // A 204 must not have a length (RFC 9110, 8.6), and a 304's would be that of the body it stands for.
    let has_body = !matches!(status, 204 | 304);
    if has_body {
        let _ = write!(out, "Content-Length: {}\r\n", body.len());
    }
    match persistence {
        Persistence::Keep => {}
        Persistence::KeepAlive => header(out, "Connection", "keep-alive"),
        Persistence::Close => header(out, "Connection", "close"),
    }
    out.extend_from_slice(b"\r\n");
    if has_body && !is_head {
        out.extend_from_slice(body);
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        Self::text(refusal.status, format!("{}\n", refusal.reason))
    }
}

/// Writes a header, unless it would not be read as one header.
fn header(out: &mut Vec<u8>, name: &str, value: &str) {
    if !name.is_empty() && name.bytes().all(is_token) && value.bytes().all(is_text) {
        for part in [name, ": ", value, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        // The phrase may be empty, and nobody reads it (RFC 9112, 4).
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::{Persistence, Response, encode};

    fn check(response: &Response, is_head: bool, persistence: Persistence, expected: &str) {
        let mut out = Vec::new();
        encode(&mut out, response, is_head, persistence);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    fn with_header(name: &'static str, value: &str) -> Response {
        Response { headers: vec![(name, value.to_owned())], ..Response::json(200, "{}") }
    }

    #[test]
    fn framing_follows_status_and_method() {
        use Persistence::{Close, Keep, KeepAlive};
        let json = "Content-Type: application/json\r\n";
        let ok = format!("HTTP/1.1 200 OK\r\n{json}Content-Length: 2\r\n");
        for (status, is_head, persistence, expected) in [
            (200, false, Keep, format!("{ok}\r\n{{}}")),
            (200, false, KeepAlive, format!("{ok}Connection: keep-alive\r\n\r\n{{}}")),
            (200, false, Close, format!("{ok}Connection: close\r\n\r\n{{}}")),
            (200, true, Keep, format!("{ok}\r\n")),
            (204, false, Keep, format!("HTTP/1.1 204 No Content\r\n{json}\r\n")),
            (304, false, Keep, format!("HTTP/1.1 304 Not Modified\r\n{json}\r\n")),
            (299, false, Keep, format!("HTTP/1.1 299 \r\n{json}Content-Length: 2\r\n\r\n{{}}")),
        ] {
            check(&Response::json(status, "{}"), is_head, persistence, &expected);
        }
        let bare = Response { status: 200, content_type: "", headers: Vec::new(), body: Vec::new() };
        check(&bare, false, Keep, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn a_header_cannot_break_the_head() {
        for (name, value, expected) in [
            ("X-A", "plain", "X-A: plain\r\n"),
            ("X-A", "ü", "X-A: ü\r\n"),
            ("X-A", "", "X-A: \r\n"),
            ("X-A", "a\r\nX-B: b", ""),
            ("X-A", "a\nb", ""),
            ("X-A", "a\0", ""),
            ("X-A", "a\u{7f}", ""),
            ("X A", "a", ""),
            ("X-A:", "a", ""),
            ("", "a", ""),
            ("content-length", "7", ""),
            ("Transfer-Encoding", "chunked", ""),
            ("Connection", "close", ""),
        ] {
            check(
                &with_header(name, value),
                false,
                Persistence::Keep,
                &format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{expected}Content-Length: 2\r\n\r\n{{}}"
                ),
            );
        }
    }
}
