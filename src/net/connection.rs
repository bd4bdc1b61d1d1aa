//! One connection: request after request until either side has had enough.
//!
//! Every request that can be answered is answered, also the malformed, the too long and the too slow; only a connection
//! that is gone ends without a word. Runs on a thread of its own, which nothing here can end early or keep for ever.

use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::body::{BodyReader, Stop, collect, collect_start};
use super::budget::Budget;
use super::head::{Request, read_head};
use super::input::{Fault, Input, Patience, Refusal};
use super::response::{Persistence, encode};
use super::socket::Socket;
use super::{Admission, Body, Head, Limits, Response, Rest, Service};
use crate::diag::counters::{Counter, count, get};

/// The longest body of a refused request that is read so that the connection can go on.
const DISCARD_TO_KEEP: u64 = 64 * 1024;

/// The most that is read behind a final answer, so that the client gets the answer and not a reset.
const DISCARD_TO_CLOSE: u64 = 64 * 1024 * 1024;

/// How long a client may be silent, and take to close, after a final answer that came before the end of its request.
const LINGER: Duration = Duration::from_secs(1);

/// An answer's memory that a connection keeps for the next one, in bytes.
const ANSWER_KEPT: usize = 16 * 1024;

/// What the connections of a server share.
pub(super) struct Server {
    pub name: &'static str,
    pub limits: Limits,
    pub service: Arc<dyn Service>,
    pub budget: Arc<Budget>,
    /// Set while a client waits for a slot: connections end instead of becoming idle.
    pub crowded: AtomicBool,
    /// The zero of [`Connection::idle_since`].
    pub started: Instant,
}

impl Server {
    /// Nanoseconds since the server started.
    pub fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(BUSY - 1)
    }

    fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::SeqCst)
    }
}

/// [`Connection::idle_since`] within a request.
pub(super) const BUSY: u64 = u64::MAX - 1;
/// [`Connection::idle_since`] of a connection that was closed to make room.
pub(super) const EVICTED: u64 = u64::MAX;

/// What the accept loop sees of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub stream: TcpStream,
    /// Since when the connection may be closed to make room, by [`Server::now`], or [`BUSY`] or [`EVICTED`].
    idle_since: AtomicU64,
}

impl Connection {
    /// A connection that counts as idle only from `idle_since`: its first request may be on its way.
    pub const fn new(stream: TcpStream, idle_since: u64) -> Self {
        Self { stream, idle_since: AtomicU64::new(idle_since) }
    }

    pub fn idle_since(&self) -> u64 {
        self.idle_since.load(Ordering::SeqCst)
    }

    /// Closes the connection unless a request began after `idle_since` was read. Whether it did.
    pub fn evict(&self, idle_since: u64) -> bool {
        let evicted = self.idle_since.compare_exchange(idle_since, EVICTED, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if evicted {
            // An error means that it ended by itself.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        evicted
    }

    /// A request begins. `false` if the connection was evicted.
    fn begin(&self) -> bool {
        self.idle_since.swap(BUSY, Ordering::SeqCst) != EVICTED
    }

    fn rest(&self, now: u64) {
        self.idle_since.store(now, Ordering::SeqCst);
    }
}

/// Serves `connection` until it ends.
pub(super) fn run(server: &Server, connection: &Connection) {
    let socket = Socket(&connection.stream);
    let input = Input::new(socket, server.limits.head);
    let mut session = Session { server, connection, socket, input, answer: Vec::new() };
    while matches!(session.exchange(), Ok(Then::Next)) {
        if !session.rest() {
            break;
        }
    }
}

/// What follows an answer.
enum Then {
    /// The next request.
    Next,
    /// The end. What should be read before that has been read.
    End,
}

/// What the client may still be sending when its connection is closed.
enum Unread<'a> {
    /// The request was read to its end.
    Nothing,
    /// The rest of a body.
    Body(&'a mut BodyReader),
    /// Nobody can tell.
    Unclear,
}

/// A client whose connection is gone.
struct Gone;

struct Session<'a> {
    server: &'a Server,
    connection: &'a Connection,
    socket: Socket<'a>,
    input: Input<Socket<'a>>,
    answer: Vec<u8>,
}

impl Session<'_> {
    /// One request and its answer.
    fn exchange(&mut self) -> Result<Then, Gone> {
        if self.input.pending().is_empty() {
            let received = self.input.fill(None).map_err(|_| Gone)?;
            if received == 0 || !self.connection.begin() {
                return Err(Gone);
            }
        }
        let mut patience = Patience::new(self.server.limits.read_timeout);
        let mut request = match read_head(&mut self.input, &mut patience) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(Then::End),
            Err(fault) => return self.fail(fault),
        };
        let mut reader = BodyReader::new(request.framing);
        let admission = match call(self.server, &request.head, |service| service.admit(&request.head)) {
            Some(Ok(admission)) => admission,
            Some(Err(answer)) => return self.turn_away(&request, &answer, &mut reader, &mut patience),
            None => return self.broken(&request, Some(&mut reader)),
        };
        if let Admission::Whole(limit) = admission
            && reader.declared().is_some_and(|n| n > limit.min(self.server.budget.capacity()) as u64)
        {
            return self.stop(&request, Stop::TooLarge, &mut reader);
        }
        if self.awaits_continue(&request, &reader) {
            self.socket.send_all(b"HTTP/1.1 100 Continue\r\n\r\n", &mut patience).map_err(|_| Gone)?;
            request.expects_continue = false;
        }
        match admission {
            Admission::Whole(limit) => {
                match collect(&mut reader, &mut self.input, limit, &self.server.budget, &mut patience) {
                    Ok(body) => self.respond(&request, body),
                    Err(stop) => self.stop(&request, stop, &mut reader),
                }
            }
            Admission::Stream(limit) => self.relay(&request, limit, &mut reader, &mut patience),
        }
    }

    /// Hands the start of a body to the service, and the rest as it comes.
    fn relay(
        &mut self,
        request: &Request,
        limit: usize,
        reader: &mut BodyReader,
        patience: &mut Patience,
    ) -> Result<Then, Gone> {
        let head = &request.head;
        let budget = &self.server.budget;
        let (start, whole) = match collect_start(reader, &mut self.input, limit, budget, patience) {
            Ok(collected) => collected,
            Err(fault) => return self.fail(fault),
        };
        let declared = reader.declared();
        let input = &mut self.input;
        let mut pull = |out: &mut [u8]| reader.copy(input, out, patience);
        let mut rest = Rest::new(&mut pull, declared);
        let answer = call(self.server, head, |service| service.relay(head, start, (!whole).then_some(&mut rest)));
        match (rest.fault(), answer) {
            (Some(fault), _) => self.fail(fault),
            (None, Some(answer)) => self.turn_away(request, &answer, reader, patience),
            (None, None) => self.broken(request, Some(reader)),
        }
    }

    fn respond(&mut self, request: &Request, body: Body) -> Result<Then, Gone> {
        let head = &request.head;
        let Some(answer) = call(self.server, head, |service| service.respond(head, body)) else {
            return self.broken(request, None);
        };
        let keep = self.may_keep(request);
        self.send(&answer, Some(request), keep)?;
        if keep { Ok(Then::Next) } else { self.close(Unread::Nothing) }
    }

    /// Answers a request of which the service wants no more than it has read.
    fn turn_away(
        &mut self,
        request: &Request,
        answer: &Response,
        reader: &mut BodyReader,
        patience: &mut Patience,
    ) -> Result<Then, Gone> {
        // Whoever awaits a 100 may or may not send the body after another answer: what follows cannot be told apart.
        let unclear = self.awaits_continue(request, reader);
        let small = reader.declared().is_none_or(|n| n <= DISCARD_TO_KEEP);
        let keep = !unclear && small && self.may_keep(request);
        self.send(answer, Some(request), keep)?;
        if keep && matches!(reader.discard(&mut self.input, DISCARD_TO_KEEP, patience), Ok(true)) {
            return Ok(Then::Next);
        }
        self.close(if unclear { Unread::Unclear } else { Unread::Body(reader) })
    }

    /// Answers a request whose body was not collected.
    fn stop(&mut self, request: &Request, stop: Stop, reader: &mut BodyReader) -> Result<Then, Gone> {
        let (counter, refusal) = match stop {
            Stop::Fault(fault) => return self.fail(fault),
            Stop::TooLarge => (Counter::NetTooLarge, Refusal::new(413, "the body is longer than is accepted here")),
            Stop::Busy => (Counter::NetBusy, Refusal::new(503, "no room for the body now; try again")),
        };
        count(counter);
        let unclear = self.awaits_continue(request, reader);
        self.send(&refusal.into(), Some(request), false)?;
        self.close(if unclear { Unread::Unclear } else { Unread::Body(reader) })
    }

    /// Answers a request that could not be read.
    fn fail(&mut self, fault: Fault) -> Result<Then, Gone> {
        let Fault::Refused(refusal) = fault else { return Err(Gone) };
        count(Counter::NetMalformed);
        self.send(&refusal.into(), None, false)?;
        self.close(Unread::Unclear)
    }

    /// Answers a request whose handler panicked.
    fn broken(&mut self, request: &Request, reader: Option<&mut BodyReader>) -> Result<Then, Gone> {
        self.send(&Response::text(500, "the handler of this request failed\n"), Some(request), false)?;
        self.close(reader.map_or(Unread::Nothing, Unread::Body))
    }

    /// Whether the client holds the body back until it is told to go on.
    fn awaits_continue(&self, request: &Request, reader: &BodyReader) -> bool {
        request.expects_continue && self.input.pending().is_empty() && reader.declared() != Some(0)
    }

    fn may_keep(&self, request: &Request) -> bool {
        // Requests that are here already are answered before others get the slot.
        request.keep_alive && !(self.server.is_crowded() && self.input.pending().is_empty())
    }

    fn send(&mut self, response: &Response, request: Option<&Request>, keep: bool) -> Result<(), Gone> {
        let persistence = match request {
            Some(request) if keep && !request.is_11 => Persistence::KeepAlive,
            _ if keep => Persistence::Keep,
            _ => Persistence::Close,
        };
        let is_head = request.is_some_and(|request| request.head.method == "HEAD");
        encode(&mut self.answer, response, is_head, persistence);
        let mut patience = Patience::new(self.server.limits.read_timeout);
        let sent = self.socket.send_all(&self.answer, &mut patience);
        self.answer.clear();
        self.answer.shrink_to(ANSWER_KEPT);
        sent.map_err(|_| Gone)
    }

    /// Marks the connection idle until its next request comes, if that is not here yet. `false` if its slot is wanted.
    fn rest(&mut self) -> bool {
        if !self.input.pending().is_empty() {
            return true;
        }
        self.connection.rest(self.server.now());
        // Looked at after the mark is set: either the accept loop sees the mark, or this sees that it waits.
        let wanted = self.server.is_crowded();
        if wanted {
            count(Counter::NetEvicted);
        }
        !wanted
    }

    /// Closes the sending side, then reads what the client is still sending: closing with unread bytes would make the
    /// kernel send a reset, which can overtake the answer.
    fn close(&mut self, unread: Unread<'_>) -> Result<Then, Gone> {
        self.connection.rest(self.server.now());
        self.connection.stream.shutdown(Shutdown::Write).map_err(|_| Gone)?;
        let linger = match unread {
            Unread::Nothing => Duration::ZERO,
            Unread::Unclear => LINGER,
            Unread::Body(reader) => {
                match reader.discard(&mut self.input, DISCARD_TO_CLOSE, &mut Patience::new(LINGER)) {
                    Ok(true) => Duration::ZERO,
                    _ => LINGER,
                }
            }
        };
        let mut patience = Patience::once(linger);
        let mut left = DISCARD_TO_CLOSE;
        loop {
            self.input.consume(self.input.pending().len());
            let received = self.input.fill(Some(&mut patience)).map_err(|_| Gone)?;
            left = left.saturating_sub(received as u64);
            if received == 0 || left == 0 {
                return Ok(Then::End);
            }
        }
    }
}

/// Calls the service; `None` if it panicked.
fn call<T>(server: &Server, head: &Head, f: impl FnOnce(&dyn Service) -> T) -> Option<T> {
    let service = &*server.service;
    // What the service shares behind its `&self` is its own to keep consistent; what it reads is not used after a panic.
    let result = catch_unwind(AssertUnwindSafe(|| f(service)));
    if result.is_err() {
        count(Counter::NetPanics);
    }
    // The 1st, 2nd, 4th, 8th ... panic is worth a line.
    if result.is_err() && get(Counter::NetPanics).is_power_of_two() {
        log::warn!("{}: the handler of {} {} panicked; the request is lost", server.name, head.method, head.path);
    }
    result.ok()
}
