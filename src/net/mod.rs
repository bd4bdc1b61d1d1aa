//! A small HTTP/1.1 server on `httparse`: strict framing, every answer given, memory and threads bounded.
//!
//! One accept loop per listener on its component's thread, one short-stacked thread per connection, at most
//! [`Limits::connections`]. It knows nothing of what it serves.
//!
//! `accept` hands sockets to `connection`, which reads with `head` and `body` from an `input` and writes with `response`.
//! `body::BodyReader` is the framing of bodies; `body::collect` makes them whole within a `budget`, `rest` hands to a
//! service what was not collected. All but `accept`, `connection`, `socket` and `listen` work on bytes alone. Nothing is shared but atomics and
//! channels.

mod accept;
mod body;
mod budget;
mod chunked;
mod connection;
mod head;
mod input;
mod listen;
mod response;
mod rest;
mod socket;

use std::time::Duration;

#[cfg(test)]
pub(crate) use accept::STACK;
pub use accept::serve;
use budget::Lease;
pub use listen::bind;
pub use rest::Rest;

/// What a server allows.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once; when all are taken the one idle for longest is closed.
    pub connections: usize,
    /// Bytes of request line and headers; more is a 431.
    pub head: usize,
    /// How long one read or write may take inside a request; all reads of a request together may wait six times as
    /// long. Between requests a connection waits without a timer.
    pub read_timeout: Duration,
    /// Bytes of bodies in memory at once, over all connections, in grains of 64 KiB. A body that finds no room waits as
    /// long as a read may, then gets a 503; one that could never fit gets a 413.
    pub body_budget: usize,
}

/// A request's method, target and headers.
#[derive(Debug)]
pub struct Head {
    /// `GET`, `POST`, as sent.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query without its question mark, or empty.
    pub query: String,
    /// Names in lower case, values without surrounding blanks, in the order they came.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// The first value of the header `name` (lower case), if it is UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).and_then(|(_, v)| std::str::from_utf8(v).ok())
    }
}

/// A body read whole. It holds its part of the server's byte budget until it is dropped.
#[derive(Debug)]
pub struct Body {
    bytes: Vec<u8>,
    _lease: Lease,
}

impl Body {
    /// A body outside any budget, for tests and for data that did not come through a server.
    #[must_use]
    pub fn detached(bytes: Vec<u8>) -> Self {
        Self { bytes, _lease: Lease::detached() }
    }

    /// Takes the bytes out. Their part of the budget stays taken until the body is dropped: whoever takes them must have
    /// found another place for them by then.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

impl std::ops::Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What is answered.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// `Content-Type`; empty for none.
    pub content_type: &'static str,
    /// Further headers. Values with control characters are not sent.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A JSON answer.
    #[must_use]
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type: "application/json", headers: Vec::new(), body: body.into() }
    }

    /// A plain text answer.
    #[must_use]
    pub fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", headers: Vec::new(), body: body.into() }
    }
}

/// How the body of a request is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Whole, then [`Service::respond`] is called. A body of more bytes is a 413.
    Whole(usize),
    /// At most this many bytes, less if there is no room, then [`Service::relay`] is called, which reads the rest.
    Stream(usize),
}

/// What a server serves. Called on connection threads, several at once.
pub trait Service: Send + Sync + 'static {
    /// Decides on the head alone, before the body is read: how that is done, or the answer to a request that is not
    /// wanted (404, 405).
    ///
    /// # Errors
    /// The answer, if the request is refused.
    fn admit(&self, head: &Head) -> Result<Admission, Response>;

    /// Answers a request whose body was read whole. Must return within a bounded time.
    fn respond(&self, head: &Head, body: Body) -> Response;

    /// Answers a request whose body was read in part: `rest` is what follows `start`, `None` if nothing does. What is
    /// left unread is discarded; if reading fails the client is told so, and this answer is not sent. Must return within
    /// a bounded time beside that for which it waits in `rest`.
    ///
    /// Only called for requests that were admitted as [`Admission::Stream`].
    fn relay(&self, head: &Head, start: Body, rest: Option<&mut Rest<'_>>) -> Response {
        let _ = (head, start, rest);
        Response::text(500, "this service reads no bodies in part\n")
    }
}
