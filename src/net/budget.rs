//! The byte budget of a server's bodies in flight: a bounded channel whose free places are the room that is left.
//!
//! Whoever grows a body first takes places, waiting in turn if there are none; a [`Lease`] gives them back when it is
//! dropped, on whatever thread. Holds no bytes itself.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::input::Patience;

/// Bytes that one place stands for. A smaller body takes one place, an empty one none. The channel costs 8 bytes a place,
/// written to when it is made.
pub(super) const GRAIN: usize = 64 * 1024;

/// Nothing was free for as long as patience lasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

/// A budget, shared by all connections of a server.
#[derive(Debug)]
pub(super) struct Budget {
    take: Sender<()>,
    give: Receiver<()>,
}

impl Budget {
    pub fn new(bytes: usize) -> Arc<Self> {
        let (take, give) = bounded(bytes.div_ceil(GRAIN).max(1));
        Arc::new(Self { take, give })
    }

    /// The longest body that can ever fit, in bytes.
    pub fn capacity(&self) -> usize {
        self.take.capacity().unwrap_or(1).saturating_mul(GRAIN)
    }

    /// Bytes in use, in whole grains.
    #[cfg(test)]
    pub fn in_use(&self) -> usize {
        self.take.len() * GRAIN
    }
}

/// A part of a [`Budget`], given back on drop.
#[derive(Debug)]
pub(super) struct Lease {
    places: usize,
    home: Option<Arc<Budget>>,
}

impl Lease {
    /// A lease of nothing from `home`.
    pub fn new(home: &Arc<Budget>) -> Self {
        Self { places: 0, home: Some(Arc::clone(home)) }
    }

    /// A lease that no budget knows of.
    pub const fn detached() -> Self {
        Self { places: 0, home: None }
    }

    /// Takes what is missing to cover `bytes`, waiting as long as `patience` allows.
    pub fn cover(&mut self, bytes: usize, patience: &mut Patience) -> Result<(), Exhausted> {
        let Some(home) = &self.home else { return Ok(()) };
        while self.places < bytes.div_ceil(GRAIN) {
            if home.take.try_send(()).is_err() {
                let allowance = patience.allowance().ok_or(Exhausted)?;
                let started = Instant::now();
                let taken = home.take.send_timeout((), allowance);
                patience.spend(allowance, started.elapsed());
                taken.map_err(|_| Exhausted)?;
            }
            self.places += 1;
        }
        Ok(())
    }

    /// Gives back what is not needed to cover `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let Some(home) = &self.home else { return };
        while self.places > bytes.div_ceil(GRAIN) {
            // There is always something to receive: this lease put it there.
            let _ = home.give.try_recv();
            self.places -= 1;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Budget, Exhausted, GRAIN, Lease, Patience};

    #[test]
    fn leases_take_grow_shrink_and_give_back() {
        let budget = Budget::new(3 * GRAIN);
        let none = &mut Patience::once(Duration::ZERO);
        let mut first = Lease::new(&budget);
        for (bytes, in_use) in [(0, 0), (1, 1), (GRAIN, 1), (GRAIN + 1, 2), (1, 2)] {
            first.cover(bytes, none).unwrap();
            assert_eq!(budget.in_use(), in_use * GRAIN, "{bytes}");
        }
        let mut second = Lease::new(&budget);
        assert_eq!(second.cover(2 * GRAIN, none), Err(Exhausted));
        first.shrink(GRAIN);
        second.cover(2 * GRAIN, none).unwrap();
        assert_eq!(budget.in_use(), 3 * GRAIN);
        drop(first);
        drop(second);
        assert_eq!(budget.in_use(), 0);
    }

    #[test]
    fn a_waiting_lease_gets_what_another_gives_back() {
        let budget = Budget::new(GRAIN);
        let mut first = Lease::new(&budget);
        first.cover(1, &mut Patience::once(Duration::ZERO)).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| Lease::new(&budget).cover(1, &mut Patience::once(Duration::from_secs(60))));
            drop(first);
            assert_eq!(waiter.join().unwrap(), Ok(()));
        });
        assert_eq!(budget.in_use(), 0);
    }

    #[test]
    fn a_detached_lease_is_free() {
        Lease::detached().cover(usize::MAX, &mut Patience::once(Duration::ZERO)).unwrap();
    }
}
