//! The accept loop: gives each connection a thread, within a bounded number, and makes room when all are taken.
//!
//! Runs on the thread of the component that serves. Never reads a request; while no client waits it blocks in `accept`
//! without a timer.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::budget::Budget;
use super::connection::{Connection, Server, run};
use super::input::{Patience, Refusal};
use super::response::{Persistence, encode};
use super::socket::Socket;
use super::{Limits, Service};
use crate::diag::counters::{Counter, count};

/// A connection thread's stack. Handlers run on it: JSON nested as deep as serde_json allows takes up to 48 KiB in a
/// release build and over 192 KiB in a debug build, a TLS handshake less than 128 KiB in either. Only what is touched is
/// memory.
pub(crate) const STACK: usize = 256 * 1024;

/// The longest wait between two looks for room while a client waits.
const RECHECK: Duration = Duration::from_secs(1);

/// The first pause after the kernel had no descriptor or thread for us; it doubles up to [`RECHECK`].
const PAUSE: Duration = Duration::from_millis(5);

/// Attempts to get a thread for a connection before it is sent away.
const SPAWN_ATTEMPTS: u32 = 5;

/// Serves connections of `listener` on threads of their own, named after `name` (at most 10 bytes show in `ps`).
///
/// Blocks for ever. Errors of single connections, and a lack of descriptors or threads, are counted and outlived.
/// Returns only when the listener itself is of no more use, with the reason.
pub fn serve(listener: &TcpListener, name: &'static str, limits: &Limits, service: &Arc<dyn Service>) -> io::Error {
    let (wake, ended) = bounded(1);
    let server = Server {
        name,
        limits: limits.clone(),
        service: Arc::clone(service),
        budget: Budget::new(limits.body_budget),
        crowded: AtomicBool::new(false),
        started: Instant::now(),
    };
    let mut slots = Slots { server: Arc::new(server), connections: Vec::new(), wake, ended };
    let mut pause = PAUSE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                pause = PAUSE;
                slots.make_room();
                slots.start(stream);
            }
            Err(error) => {
                count(Counter::NetAcceptErrors);
                match Errno::from_io_error(&error) {
                    Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK) => return error,
                    // The connection was gone before it was accepted.
                    Some(Errno::CONNABORTED) => {}
                    // Most likely no descriptor is free, which `accept` says even when nobody connects.
                    _ => {
                        slots.pause(&mut pause);
                        // Then without a timer until somebody does. An error here shows at the next accept.
                        let _ = poll(&mut [PollFd::new(listener, PollFlags::IN)], None);
                    }
                }
            }
        }
    }
}

/// The connections that there are. A slot is free once its thread let go of the connection.
struct Slots {
    server: Arc<Server>,
    connections: Vec<Weak<Connection>>,
    /// Holds a token when a connection ended since the last look.
    wake: Sender<()>,
    ended: Receiver<()>,
}

impl Slots {
    fn is_full(&mut self) -> bool {
        let max = self.server.limits.connections.max(1);
        if self.connections.len() >= max {
            self.connections.retain(|connection| connection.strong_count() > 0);
        }
        self.connections.len() >= max
    }

    /// Waits until a slot is free, if need be by closing the connection that has been idle for longest.
    fn make_room(&mut self) {
        if !self.is_full() {
            return;
        }
        self.server.crowded.store(true, Ordering::SeqCst);
        while self.is_full() {
            let wait = self.evict();
            // Both outcomes lead to another look.
            let _ = self.ended.recv_timeout(wait);
        }
        self.server.crowded.store(false, Ordering::SeqCst);
    }

    /// Closes the connection that has been idle for longest and has no request waiting. How long to wait before looking
    /// again, unless one ends.
    fn evict(&self) -> Duration {
        let now = self.server.now();
        let mut idle: Vec<(u64, Arc<Connection>)> =
            self.connections.iter().filter_map(Weak::upgrade).map(|c| (c.idle_since(), c)).collect();
        while let Some(longest) = (0..idle.len()).min_by_key(|i| idle[*i].0) {
            let (since, connection) = idle.swap_remove(longest);
            if since > now {
                return Duration::from_nanos(since - now).min(RECHECK);
            }
            if !Socket(&connection.stream).is_readable() && connection.evict(since) {
                count(Counter::NetEvicted);
                break;
            }
        }
        RECHECK
    }

    /// Gives `stream` a thread.
    fn start(&mut self, stream: TcpStream) {
        let server = &self.server;
        let grace = u64::try_from(server.limits.read_timeout.as_nanos()).unwrap_or(u64::MAX);
        let connection = Arc::new(Connection::new(stream, server.now().saturating_add(grace)));
        let mut pause = PAUSE;
        for _ in 0..SPAWN_ATTEMPTS {
            if self.spawn(&connection).is_ok() {
                self.connections.push(Arc::downgrade(&connection));
                return;
            }
            count(Counter::NetAcceptErrors);
            self.pause(&mut pause);
        }
        let mut answer = Vec::new();
        let refusal = Refusal::new(503, "no thread for this connection; try again");
        encode(&mut answer, &refusal.into(), false, Persistence::Close);
        // It fits into the socket's buffer, or nobody is there.
        let _ = Socket(&connection.stream).send_all(&answer, &mut Patience::once(Duration::ZERO));
    }

    fn spawn(&self, connection: &Arc<Connection>) -> io::Result<()> {
        let (server, connection, wake) = (Arc::clone(&self.server), Arc::clone(connection), self.wake.clone());
        let thread = thread::Builder::new().name(format!("{}-conn", server.name)).stack_size(STACK);
        thread.spawn(move || {
            // Handlers' panics are caught where they can be answered; this is for our own.
            if catch_unwind(AssertUnwindSafe(|| run(&server, &connection))).is_err() {
                count(Counter::NetPanics);
            }
            drop(connection);
            // Full means that the accept loop will look anyway.
            let _ = wake.try_send(());
        })?;
        Ok(())
    }

    /// Waits for a connection to end, or for a time that doubles with each pause in a row.
    fn pause(&self, pause: &mut Duration) {
        let _ = self.ended.recv_timeout(*pause);
        *pause = (*pause * 2).min(RECHECK);
    }
}
