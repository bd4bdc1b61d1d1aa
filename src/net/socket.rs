//! System calls of a connection: receive, send, and waits that cost no timer unless one is needed.
//!
//! Every transfer is tried without waiting first and polls only if it has to, so that a request that is there already
//! costs one call, and no socket option has to be set and reset for a timeout. Runs on connection threads.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::input::{Fault, Patience, Source, TOO_SLOW};

/// A connection's socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Socket<'a>(pub &'a TcpStream);

impl Source for Socket<'_> {
    fn receive(&mut self, into: &mut Vec<u8>, mut patience: Option<&mut Patience>) -> Result<usize, Fault> {
        let flags = if patience.is_some() { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
        loop {
            match recv(self.0, spare_capacity(into), flags) {
                Ok((received, _)) => return Ok(received),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => match &mut patience {
                    Some(patience) => self.wait(PollFlags::IN, patience)?,
                    // A blocking receive without a timeout has no reason to say this.
                    None => return Err(Fault::Lost),
                },
                Err(_) => return Err(Fault::Lost),
            }
        }
    }
}

impl Socket<'_> {
    /// Sends everything.
    pub fn send_all(&self, mut bytes: &[u8], patience: &mut Patience) -> Result<(), Fault> {
        while !bytes.is_empty() {
            match send(self.0, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, patience)?,
                Err(_) => return Err(Fault::Lost),
            }
        }
        Ok(())
    }

    /// Whether a receive would not block: there are bytes, the end of the stream, or an error.
    pub fn is_readable(&self) -> bool {
        self.poll(PollFlags::IN, Duration::ZERO).unwrap_or(true)
    }

    fn wait(&self, flags: PollFlags, patience: &mut Patience) -> Result<(), Fault> {
        loop {
            let allowance = patience.allowance().ok_or(TOO_SLOW)?;
            let started = Instant::now();
            let ready = match self.poll(flags, allowance) {
                Ok(ready) => ready,
                Err(Errno::INTR) => false,
                Err(_) => return Err(Fault::Lost),
            };
            let waited = started.elapsed();
            patience.spend(allowance, waited);
            if ready {
                return Ok(());
            }
            // Twice the time allowed means that the sandbox was frozen meanwhile, the peer with it: it gets another turn.
            if (allowance..allowance * 2).contains(&waited) {
                return Err(TOO_SLOW);
            }
        }
    }

    fn poll(&self, flags: PollFlags, timeout: Duration) -> Result<bool, Errno> {
        let timeout = Timespec::try_from(timeout).map_err(|_| Errno::INVAL)?;
        Ok(poll(&mut [PollFd::new(self.0, flags)], Some(&timeout))? > 0)
    }
}
