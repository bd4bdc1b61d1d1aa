//! Reading with patience: a connection's one input buffer, how long a sender may take, and what can go wrong.
//!
//! Knows neither heads nor bodies. Generic over [`Source`], so that framing is tested without sockets. Runs on connection
//! threads.

use std::time::Duration;

/// A request that is answered with an error, after which the connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The status code, 4xx or 5xx.
    pub status: u16,
    /// What is wrong, for whoever wrote the client.
    pub reason: &'static str,
}

impl Refusal {
    pub const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }

    pub const fn bad(reason: &'static str) -> Self {
        Self::new(400, reason)
    }
}

/// Why reading a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is somebody to tell.
    Refused(Refusal),
    /// The connection is gone: there is nobody to answer.
    Lost,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The sender was silent for too long, or too slow altogether.
pub(super) const TOO_SLOW: Fault = Fault::Refused(Refusal::new(408, "the request took too long to arrive"));

/// How long a peer may keep a connection thread waiting.
///
/// Counts only time spent waiting, and no wait for more than it was allowed, so that neither our own work nor a freeze
/// of the sandbox in the middle of a request is held against the peer.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    step: Duration,
    left: Duration,
}

impl Patience {
    /// All waits of a request together may take this many times the longest single one: a sender of one byte a second
    /// loses its slot.
    const STEPS: u32 = 6;

    /// For a request: each wait up to `step`, and a bound on their sum.
    pub fn new(step: Duration) -> Self {
        Self { step, left: step.saturating_mul(Self::STEPS) }
    }

    /// For a chore: `total` at most, however many waits.
    pub const fn once(total: Duration) -> Self {
        Self { step: total, left: total }
    }

    /// How long the next wait may be; `None` when there is no patience left.
    pub fn allowance(&self) -> Option<Duration> {
        let allowance = self.step.min(self.left);
        (!allowance.is_zero()).then_some(allowance)
    }

    /// Accounts for a wait of `waited` that was allowed `allowance`.
    pub fn spend(&mut self, allowance: Duration, waited: Duration) {
        self.left = self.left.saturating_sub(waited.min(allowance));
    }
}

/// Where a connection's bytes come from.
pub(super) trait Source {
    /// Appends what there is, at least one byte, to the spare capacity of `into`, which must not be empty. 0 is the end
    /// of the stream. Without `patience` it waits for ever and sets no timer.
    fn receive(&mut self, into: &mut Vec<u8>, patience: Option<&mut Patience>) -> Result<usize, Fault>;
}

/// The bytes received and not yet used. Its capacity is the longest head that is accepted, and never grows.
#[derive(Debug)]
pub(super) struct Input<S> {
    source: S,
    buffer: Vec<u8>,
    used: usize,
}

impl<S: Source> Input<S> {
    pub fn new(source: S, capacity: usize) -> Self {
        Self { source, buffer: Vec::with_capacity(capacity.max(1)), used: 0 }
    }

    /// What has been received and not been used.
    pub fn pending(&self) -> &[u8] {
        &self.buffer[self.used..]
    }

    /// Marks the first `n` pending bytes as used.
    pub fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.pending().len(), "used more than was received");
        self.used = (self.used + n).min(self.buffer.len());
        if self.used == self.buffer.len() {
            self.buffer.clear();
            self.used = 0;
        }
    }

    /// Whether all capacity is pending, so that [`Input::fill`] has no room.
    pub fn is_full(&self) -> bool {
        self.pending().len() == self.buffer.capacity()
    }

    /// Receives more behind what is pending; 0 is the end of the stream. Must not be called when full.
    pub fn fill(&mut self, patience: Option<&mut Patience>) -> Result<usize, Fault> {
        self.buffer.drain(..std::mem::take(&mut self.used));
        self.source.receive(&mut self.buffer, patience)
    }

    /// Moves at most `limit` bytes into the spare capacity of `out`; 0 is the end of the stream.
    ///
    /// What is pending is copied; if nothing is and `limit` covers the spare capacity, they are received in place.
    pub fn read(&mut self, out: &mut Vec<u8>, limit: usize, patience: &mut Patience) -> Result<usize, Fault> {
        let spare = out.capacity() - out.len();
        if self.pending().is_empty() && spare <= limit {
            return self.source.receive(out, Some(patience));
        }
        if self.pending().is_empty() && self.fill(Some(patience))? == 0 {
            return Ok(0);
        }
        let n = self.pending().len().min(limit).min(spare);
        out.extend_from_slice(&self.pending()[..n]);
        self.consume(n);
        Ok(n)
    }
}

#[cfg(test)]
pub(super) mod script {
    //! A source that plays bytes in pieces of given sizes.

    use super::{Fault, Patience, Source};

    pub(in crate::net) struct Script {
        bytes: Vec<u8>,
        at: usize,
        sizes: Vec<usize>,
        turn: usize,
    }

    impl Script {
        /// Hands out `bytes` in pieces of `sizes`, over and over; without sizes as much as fits.
        pub fn new(bytes: &[u8], sizes: &[usize]) -> Self {
            Self { bytes: bytes.to_vec(), at: 0, sizes: sizes.to_vec(), turn: 0 }
        }
    }

    impl Source for Script {
        fn receive(&mut self, into: &mut Vec<u8>, _: Option<&mut Patience>) -> Result<usize, Fault> {
            let spare = into.capacity() - into.len();
            assert!(spare > 0, "receive without room");
            let size = self.sizes.get(self.turn % self.sizes.len().max(1)).map_or(usize::MAX, |s| (*s).max(1));
            self.turn += 1;
            let n = spare.min(size).min(self.bytes.len() - self.at);
            into.extend_from_slice(&self.bytes[self.at..self.at + n]);
            self.at += n;
            Ok(n)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Patience};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn patience_ends_however_the_waits_are_cut() {
        // (waits in ms, what the next one is allowed in ms)
        for (waits, expected) in [
            (vec![], Some(1000)),
            (vec![999], Some(1000)),
            (vec![999; 6], Some(6)),
            (vec![10; 599], Some(10)),
            (vec![10; 600], None),
            // A freeze: the wait took ten minutes and was allowed a second.
            (vec![600_000], Some(1000)),
            (vec![600_000; 6], None),
        ] {
            let mut patience = Patience::new(SECOND);
            for ms in &waits {
                let allowance = patience.allowance().unwrap();
                patience.spend(allowance, Duration::from_millis(*ms));
            }
            assert_eq!(patience.allowance(), expected.map(Duration::from_millis), "{} waits", waits.len());
        }
    }

    #[test]
    fn no_patience_at_all() {
        assert_eq!(Patience::once(Duration::ZERO).allowance(), None);
    }
}
