//! DogStatsD's socket and the thread `dogstatsd` that reads it.
//!
//! The thread reads until the socket is empty, parses in place, and keeps what it read as one [`Batch`] until that is
//! full or a flush asks for it: nothing needs a sample earlier, and one wake-up of the aggregator for each flush costs
//! the function less than one for each datagram. Between datagrams it sleeps in `poll` without a timer. It knows no
//! settings of metrics, aggregates nothing, and never waits for quiet: a flush takes what lay in the socket when it was
//! asked for (invariant 4), bounded by what the buffer can hold.

pub mod batch;
pub mod event;
pub mod lines;
pub mod number;
pub mod parser;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::net::RecvFlags;

use self::batch::{Batch, Buffers, CAPACITY};
use self::parser::Malformed;
use super::Message;
use crate::diag::counters::{self, Counter};
use crate::diag::repeat::Repeat;
use crate::forwarder::FlushTicket;
use crate::sys;

/// What is asked of the kernel as receive buffer; it gives at most twice `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 4 << 20;
/// The least that the kernel charges a socket for a datagram, payload and its own structures (measured: 832).
const LEAST_CHARGE: usize = 512;
/// Datagrams read before a waiting flush is looked for.
const ROUND: usize = 1024;
/// Flushes that may wait for the thread.
const REQUESTS: usize = 16;
/// Batches in flight whose buffers are kept for the next ones.
const SPARES: usize = 2;

/// The bound socket; from here on the kernel queues what the function sends.
#[derive(Debug)]
pub struct Socket {
    socket: UdpSocket,
}

impl Socket {
    /// Binds 127.0.0.1:`port` (0: any) and asks for a receive buffer of `so_rcvbuf` bytes, 4 MiB if not set. The kernel
    /// may give less. Three system calls.
    ///
    /// # Errors
    /// The system's, for instance if another agent has the port.
    pub fn bind(port: u16, so_rcvbuf: Option<usize>) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
        // A refusal leaves the default: fewer datagrams fit, and those that do not are counted by the kernel.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, so_rcvbuf.unwrap_or(RECEIVE_BUFFER));
        Ok(Self { socket })
    }

    /// The port it is bound to.
    ///
    /// # Errors
    /// The system's.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }
}

/// The coordinator's end: asks the thread for a flush. When it is dropped the thread ends.
#[derive(Debug)]
pub struct Handle {
    // `None` only while it is dropped.
    tickets: Option<Sender<FlushTicket>>,
    wake: Arc<OwnedFd>,
}

/// The thread's end of a [`Handle`].
#[derive(Debug)]
pub struct Requests {
    tickets: Receiver<FlushTicket>,
    wake: Arc<OwnedFd>,
}

/// A handle and what [`run`] needs to hear it.
///
/// # Errors
/// The system's, if it has no event descriptor left.
pub fn requests() -> io::Result<(Handle, Requests)> {
    let wake = Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (tx, rx) = bounded(REQUESTS);
    Ok((Handle { tickets: Some(tx), wake: wake.clone() }, Requests { tickets: rx, wake }))
}

impl Handle {
    /// Asks for a flush: everything in the socket now, then [`Message::Flush`] with `ticket`, reaches the aggregator.
    /// Never blocks. `false` if the thread has ended or does not keep up; nobody will answer the ticket then.
    #[must_use]
    pub fn flush(&self, ticket: FlushTicket) -> bool {
        let sent = self.tickets.as_ref().is_some_and(|tickets| tickets.try_send(ticket).is_ok());
        self.wake();
        sent
    }

    fn wake(&self) {
        // Fails only if the counter is full, and then the thread is woken anyway.
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.tickets = None;
        self.wake();
    }
}

/// The thread's other end is gone: time to end.
struct Closed;

/// Reads `socket` until the [`Handle`] or the receiver of `out` is gone. `buffer_size` is the longest datagram in bytes.
pub fn run(socket: Socket, buffer_size: usize, requests: Requests, out: Sender<Message>) {
    let mut reader = Reader::new(socket, buffer_size, out);
    while let Ok(woken) = wait(&reader.socket, &requests.wake) {
        let served = if woken { serve(&mut reader, &requests) } else { reader.drain(ROUND) };
        if served.is_err() {
            return;
        }
    }
}

/// Blocks until a datagram or a request is there; `true` for a request.
fn wait(socket: &UdpSocket, wake: &OwnedFd) -> io::Result<bool> {
    loop {
        let mut fds = [PollFd::new(socket, PollFlags::IN), PollFd::new(wake, PollFlags::IN)];
        match rustix::event::poll(&mut fds, None) {
            Ok(_) => return Ok(!fds[1].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Answers every flush that waits.
fn serve(reader: &mut Reader, requests: &Requests) -> Result<(), Closed> {
    let _ = rustix::io::read(&*requests.wake, &mut [0; 8]);
    loop {
        match requests.tickets.try_recv() {
            Ok(ticket) => reader.flush(ticket)?,
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => return Err(Closed),
        }
    }
}

struct Reader {
    socket: UdpSocket,
    local: Option<SocketAddrV4>,
    size: usize,
    /// Datagrams that the socket buffer can hold at most.
    backlog: usize,
    out: Sender<Message>,
    home: Sender<Buffers>,
    spares: Receiver<Buffers>,
    batch: Batch,
    /// What happened since the last flush.
    received: u64,
    malformed: u64,
    reason: Option<Malformed>,
    /// The kernel's count when it was last read.
    drops: u64,
    /// What the user was told of.
    unread: Repeat,
    dropped: Repeat,
    /// Whether a panic was logged.
    told: bool,
}

impl Reader {
    fn new(socket: Socket, buffer_size: usize, out: Sender<Message>) -> Self {
        let socket = socket.socket;
        let (home, spares) = bounded(SPARES);
        let held = rustix::net::sockopt::socket_recv_buffer_size(&socket).unwrap_or(2 * RECEIVE_BUFFER);
        let local = match socket.local_addr() {
            Ok(SocketAddr::V4(local)) => Some(local),
            _ => None,
        };
        Self {
            socket,
            local,
            size: buffer_size.clamp(1, CAPACITY),
            backlog: held / LEAST_CHARGE + 1,
            out,
            batch: Batch::new(Buffers::default(), Some(home.clone())),
            home,
            spares,
            received: 0,
            malformed: 0,
            reason: None,
            drops: 0,
            unread: Repeat::default(),
            dropped: Repeat::default(),
            told: false,
        }
    }

    /// Reads until the socket is empty, at most `limit` datagrams.
    fn drain(&mut self, limit: usize) -> Result<(), Closed> {
        match catch_unwind(AssertUnwindSafe(|| self.read(limit))) {
            Ok(outcome) => outcome,
            Err(_) => {
                counters::count(Counter::Panics);
                if !std::mem::replace(&mut self.told, true) {
                    log::warn!("DogStatsD: a datagram made the parser fail; samples read with it are lost");
                }
                self.batch = self.fresh();
                Ok(())
            }
        }
    }

    fn read(&mut self, limit: usize) -> Result<(), Closed> {
        let now = sys::clock::wall_ms() / 1000;
        for _ in 0..limit {
            if self.batch.spare(self.size).is_none() {
                self.hand_over()?;
            }
            // A fresh batch has room for the longest datagram.
            let Some(room) = self.batch.spare(self.size) else { return Ok(()) };
            let room_len = room.len();
            match rustix::net::recv(&self.socket, room, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
                Ok((length, sent)) => {
                    self.received += 1;
                    let (malformed, reason) = (&mut self.malformed, &mut self.reason);
                    self.batch.commit(length, sent > room_len, now, |why| {
                        *malformed += 1;
                        *reason = Some(why);
                    });
                }
                Err(rustix::io::Errno::INTR) => {}
                // Empty. Any other error is consumed by reading it, and `poll` says whether there is more.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Sends the batch and starts another. Blocks while the aggregator is busy; the kernel queues meanwhile.
    fn hand_over(&mut self) -> Result<(), Closed> {
        if self.batch.is_empty() {
            self.batch = self.fresh();
            return Ok(());
        }
        let next = self.fresh();
        let full = std::mem::replace(&mut self.batch, next);
        self.out.send(Message::Samples(full)).map_err(|_| Closed)
    }

    fn fresh(&self) -> Batch {
        Batch::new(self.spares.try_recv().unwrap_or_default(), Some(self.home.clone()))
    }

    /// Everything in the socket at this moment, then the ticket.
    fn flush(&mut self, ticket: FlushTicket) -> Result<(), Closed> {
        self.drain(self.backlog)?;
        if !self.batch.is_empty() {
            self.hand_over()?;
        }
        if self.received > 0 {
            self.report();
        }
        self.out.send(Message::Flush(ticket)).map_err(|_| Closed)
    }

    /// Counts what was lost since the last flush, and tells it at times.
    fn report(&mut self) {
        self.received = 0;
        if let Some(reason) = self.reason.take() {
            let lines = std::mem::take(&mut self.malformed);
            counters::add(Counter::MetricsMalformed, lines);
            if let Some(lines) = self.unread.add(lines) {
                log::warn!("DogStatsD: {lines} lines so far could not be read in full; the last one: {reason}");
            }
        }
        let drops = self.local.and_then(sys::udp::drops).unwrap_or(self.drops);
        let new = drops.saturating_sub(self.drops);
        self.drops = drops;
        counters::add(Counter::MetricsKernelDrops, new);
        if let Some(drops) = self.dropped.add(new) {
            log::warn!(
                "DogStatsD: the kernel dropped {drops} datagrams so far because the socket buffer was full; send less \
                 at once, pack several samples into a datagram, or give the function more memory and with it more CPU"
            );
        }
    }
}

#[cfg(test)]
mod tests;
