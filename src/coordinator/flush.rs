//! When to flush (spec: flush 7.1 to 7.3): the strategies, and the adaptive choice among them. Pure: invocations come
//! in as times, decisions go out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::FlushStrategy;

/// How many invocations the adaptive strategy looks back on, the present one included.
const LOOKBACK: usize = 20;
/// A function invoked less often than this on average is flushed after each invocation.
const RARE: Duration = Duration::from_secs(120);
/// The interval of the strategies that the adaptive one chooses.
const ADAPTIVE_INTERVAL: Duration = Duration::from_secs(20);

/// No invocation is long before this: an interval of a millisecond, which asks for a flush with each invocation, is not
/// meant to wake the agent a thousand times a second in between.
const LONG: Duration = Duration::from_secs(1);

/// What to do about an invocation that has just begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Flush when it ends; `next` waits for that.
    AtEnd,
    /// Flush at once; `next` waits for that.
    AtStart,
    /// Flush at once; nothing waits.
    Beside,
    /// Leave it to a later invocation.
    Later,
}

/// The flush policy and the invocations it has seen.
#[derive(Debug)]
pub struct Policy {
    strategy: FlushStrategy,
    /// Below this span of [`LOOKBACK`] invocations the adaptive strategy flushes beside them.
    busy: Duration,
    invocations: VecDeque<Instant>,
    last_flush: Instant,
}

impl Policy {
    /// A policy that counts its first interval from `now`. `flush_timeout` is `DD_FLUSH_TIMEOUT`.
    #[must_use]
    pub fn new(strategy: FlushStrategy, flush_timeout: Duration, now: Instant) -> Self {
        Self { strategy, busy: flush_timeout, invocations: VecDeque::with_capacity(LOOKBACK), last_flush: now }
    }

    /// Takes note of an invocation and decides when its data, and that of earlier ones, is sent.
    pub fn on_invoke(&mut self, now: Instant) -> Decision {
        if self.invocations.len() == LOOKBACK {
            self.invocations.pop_front();
        }
        self.invocations.push_back(now);
        let (interval, decision) = match self.concrete(now) {
            FlushStrategy::End | FlushStrategy::Adaptive => return Decision::AtEnd,
            FlushStrategy::EndPeriodically(interval) => (interval, Decision::AtEnd),
            FlushStrategy::Periodically(interval) => (interval, Decision::AtStart),
            FlushStrategy::Continuously(interval) => (interval, Decision::Beside),
        };
        if now.duration_since(self.last_flush) < interval {
            return Decision::Later;
        }
        self.last_flush = now;
        decision
    }

    /// After how long a flush is due while one invocation goes on and on.
    #[must_use]
    pub fn long_invocation(&self) -> Duration {
        match self.strategy {
            FlushStrategy::Adaptive => Duration::from_secs(60),
            FlushStrategy::End => Duration::from_secs(900),
            FlushStrategy::EndPeriodically(i) | FlushStrategy::Periodically(i) | FlushStrategy::Continuously(i) => {
                i.max(LONG)
            }
        }
    }

    fn concrete(&self, now: Instant) -> FlushStrategy {
        match (self.strategy, self.invocations.front()) {
            (FlushStrategy::Adaptive, Some(&oldest)) if self.invocations.len() == LOOKBACK => {
                let span = now.duration_since(oldest);
                if span / (LOOKBACK as u32 - 1) >= RARE {
                    FlushStrategy::End
                } else if span < self.busy {
                    FlushStrategy::Continuously(ADAPTIVE_INTERVAL)
                } else {
                    FlushStrategy::Periodically(ADAPTIVE_INTERVAL)
                }
            }
            (FlushStrategy::Adaptive, _) => FlushStrategy::End,
            (strategy, _) => strategy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// The decisions for invocations that are `gap` milliseconds apart, the first one `gap` after the start.
    fn decisions(strategy: FlushStrategy, gap: u64, count: usize) -> Vec<Decision> {
        let start = Instant::now();
        let mut policy = Policy::new(strategy, TIMEOUT, start);
        (1..=count as u32).map(|n| policy.on_invoke(start + Duration::from_millis(gap) * n)).collect()
    }

    #[test]
    fn fixed_strategies() {
        use Decision::{AtEnd, AtStart, Beside, Later};
        let second = Duration::from_secs(1);
        for (strategy, expected) in [
            (FlushStrategy::End, [AtEnd, AtEnd, AtEnd, AtEnd]),
            (FlushStrategy::EndPeriodically(second), [Later, AtEnd, Later, AtEnd]),
            (FlushStrategy::Periodically(second), [Later, AtStart, Later, AtStart]),
            (FlushStrategy::Continuously(second), [Later, Beside, Later, Beside]),
        ] {
            assert_eq!(decisions(strategy, 500, 4), expected, "{strategy:?}");
        }
    }

    #[test]
    fn adaptive_starts_with_the_end_of_each_invocation() {
        assert!(decisions(FlushStrategy::Adaptive, 10, LOOKBACK - 1).iter().all(|d| *d == Decision::AtEnd));
    }

    #[test]
    fn adaptive_follows_the_rate() {
        for (gap_ms, expected) in [
            (150_000, Decision::AtEnd),
            (120_000, Decision::AtEnd),
            (119_000, Decision::AtStart),
            (30_000, Decision::AtStart),
            // 19 gaps of 1.5 s are 28.5 s, less than the flush timeout.
            (1_500, Decision::Beside),
            (1_600, Decision::AtStart),
            // The interval of 20 s has not passed yet.
            (100, Decision::Later),
        ] {
            assert_eq!(decisions(FlushStrategy::Adaptive, gap_ms, LOOKBACK).pop(), Some(expected), "{gap_ms}");
        }
    }

    #[test]
    fn a_slower_function_goes_back_to_the_end() {
        let start = Instant::now();
        let mut policy = Policy::new(FlushStrategy::Adaptive, TIMEOUT, start);
        let mut now = start;
        for _ in 0..30 {
            now += Duration::from_millis(100);
            policy.on_invoke(now);
        }
        let mut last = Decision::Later;
        for _ in 0..LOOKBACK {
            now += Duration::from_secs(200);
            last = policy.on_invoke(now);
        }
        assert_eq!(last, Decision::AtEnd);
    }

    #[test]
    fn long_invocations() {
        for (strategy, seconds) in [
            (FlushStrategy::Adaptive, 60),
            (FlushStrategy::End, 900),
            (FlushStrategy::EndPeriodically(Duration::from_secs(7)), 7),
            (FlushStrategy::Periodically(Duration::from_secs(8)), 8),
            (FlushStrategy::Continuously(Duration::from_secs(9)), 9),
            (FlushStrategy::EndPeriodically(Duration::from_millis(1)), 1),
            (FlushStrategy::Periodically(Duration::from_millis(1)), 1),
            (FlushStrategy::Continuously(Duration::from_millis(1)), 1),
        ] {
            let policy = Policy::new(strategy, TIMEOUT, Instant::now());
            assert_eq!(policy.long_invocation(), Duration::from_secs(seconds));
        }
    }
}
