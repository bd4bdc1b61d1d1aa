//! The connection to the runtime API, under ureq: a bare socket that writes each request in one piece.
//!
//! ureq's own transport writes head and body one after the other, which the platform then reads one after the other,
//! and asks the kernel three things to learn whether a pooled connection is alive; both weigh in the start. No TLS, no
//! proxy. Runs on the thread `next`.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use rustix::net::{RecvFlags, recv};
use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

use super::event::Event;

/// What the coordinator is told once the next request is on its way: work for other threads that must not delay it.
#[derive(Clone, Debug)]
pub(super) struct Afterwards {
    /// Events that wait for the request.
    pub waiting: Receiver<Event>,
    /// The coordinator's inbox.
    pub events: Sender<Event>,
}

impl Afterwards {
    /// Tells what waits.
    pub fn tell(&self) {
        for event in self.waiting.try_iter() {
            // A coordinator that is gone wants to hear nothing.
            let _ = self.events.send(event);
        }
    }
}

/// Opens connections to the runtime API.
#[derive(Debug)]
pub(super) struct Dialer(pub Afterwards);

impl Connector for Dialer {
    type Out = Connection;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Connection>, Error> {
        let stream = TcpStream::connect(&details.addrs[..])?;
        stream.set_nodelay(true)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        let afterwards = self.0.clone();
        Ok(Some(Connection { stream, buffers, unsent: Vec::new(), timeout: None, afterwards }))
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffers: LazyBuffers,
    /// The request so far.
    unsent: Vec<u8>,
    /// The socket's timeout for reads.
    timeout: Option<Duration>,
    afterwards: Afterwards,
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    /// Keeps the bytes until the answer is wanted. A request is shorter than the kernel's buffer: writing never waits.
    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        self.unsent.extend_from_slice(&self.buffers.output()[..amount]);
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if !self.unsent.is_empty() {
            self.stream.write_all(&self.unsent)?;
            self.unsent.clear();
            self.afterwards.tell();
        }
        let limit = timeout.not_zero().map(|limit| *limit);
        if limit != self.timeout {
            self.stream.set_read_timeout(limit)?;
            self.timeout = limit;
        }
        loop {
            match self.stream.read(self.buffers.input_append_buf()) {
                Ok(amount) => {
                    self.buffers.input_appended(amount);
                    return Ok(amount > 0);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(Error::Timeout(timeout.reason));
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Open is a connection with nothing to read: no end, and no answer to what was not asked.
    fn is_open(&mut self) -> bool {
        let peeked = recv(&self.stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(peeked, Err(rustix::io::Errno::AGAIN))
    }
}
