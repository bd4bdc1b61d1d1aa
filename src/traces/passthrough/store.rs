//! The requests that go out with the trace agent's next flush, within a byte budget. Pure; owned by the thread
//! `trace-agent`.

use crate::forwarder::Payload;

/// Most bytes that wait, and the part of the function's memory that they may take instead
/// ([`crate::config::LambdaEnv::share`]).
pub const BUDGET: (usize, usize) = (8 << 20, 32);

/// What a request takes beside its body and its headers.
const OVERHEAD: usize = 512;

/// Requests in the order they came.
#[derive(Debug)]
pub struct Store {
    budget: usize,
    bytes: usize,
    payloads: Vec<Payload>,
}

impl Store {
    /// An empty store of at most `budget` bytes.
    #[must_use]
    pub const fn new(budget: usize) -> Self {
        Self { budget, bytes: 0, payloads: Vec::new() }
    }

    /// Takes over a request.
    ///
    /// # Errors
    /// Gives it back if there is no room.
    pub fn put(&mut self, payload: Payload) -> Result<(), Payload> {
        let cost = cost(&payload);
        if self.bytes + cost > self.budget {
            return Err(payload);
        }
        self.bytes += cost;
        self.payloads.push(payload);
        Ok(())
    }

    /// Everything, oldest first.
    #[must_use]
    pub fn take(&mut self) -> Vec<Payload> {
        self.bytes = 0;
        std::mem::take(&mut self.payloads)
    }

    /// Takes back what could not be handed on, in front of what came since. What there is no room for is dropped, the
    /// oldest first. How many that are.
    pub fn put_back(&mut self, mut payloads: Vec<Payload>) -> u64 {
        payloads.append(&mut self.payloads);
        self.bytes = 0;
        let fits = payloads.iter().rev().take_while(|payload| {
            self.bytes += cost(payload);
            self.bytes <= self.budget
        });
        let dropped = payloads.len() - fits.count();
        payloads.drain(..dropped);
        self.bytes = payloads.iter().map(cost).sum();
        self.payloads = payloads;
        dropped as u64
    }
}

fn cost(payload: &Payload) -> usize {
    let headers = payload.request.iter().flat_map(|request| &request.headers);
    OVERHEAD + payload.body.capacity() + headers.map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forwarder::{Encoding, Intake, Route};

    fn payload(byte: u8, size: usize) -> Payload {
        Payload {
            route: Route::Proxied(Intake::Profiles),
            encoding: Encoding::Identity,
            body: vec![byte; size],
            items: 1,
            headers: Vec::new(),
            request: None,
        }
    }

    fn names(payloads: &[Payload]) -> Vec<u8> {
        payloads.iter().map(|payload| payload.body[0]).collect()
    }

    #[test]
    fn what_waits_is_bounded_and_keeps_its_order() {
        let mut store = Store::new(3 * (OVERHEAD + 100));
        for byte in *b"abc" {
            store.put(payload(byte, 100)).unwrap();
        }
        assert_eq!(store.put(payload(b'd', 1)).unwrap_err().body, b"d");
        let taken = store.take();
        assert_eq!(names(&taken), b"abc");
        // What came meanwhile is younger, and the oldest has to go.
        store.put(payload(b'd', 100)).unwrap();
        assert_eq!(store.put_back(taken), 1);
        assert!(store.put(payload(b'e', 1)).is_err());
        assert_eq!(names(&store.take()), b"bcd");
        assert_eq!(store.put_back(vec![payload(b'x', 10_000)]), 1);
        store.put(payload(b'f', 100)).unwrap();
        assert_eq!(names(&store.take()), b"f");
        assert!(store.take().is_empty());
    }
}
