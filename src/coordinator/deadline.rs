//! Every literal duration of the lifecycle, each with its reason, and the arithmetic on deadlines. Pure.

use std::time::{Duration, Instant};

/// The longest that a flush after an invocation may hold back `next`: what the Go agent waits (spec: flush 7.3). A
/// flush that takes longer goes on in its worker, but the function's caller no longer pays for it.
pub const HOLD: Duration = Duration::from_secs(5);

/// The same while an intake is in trouble, so that an outage costs each invocation little (pain: row 21).
pub const HOLD_IN_TROUBLE: Duration = Duration::from_secs(1);

/// What must be left before a function's deadline when its flush is given up on: the Go agent's safety buffer.
pub const DEADLINE_MARGIN: Duration = Duration::from_millis(20);

/// How long before a function's deadline its data is flushed at the latest, and at the earliest.
pub const GUARD: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How long SHUTDOWN waits for the report of the last invocation: what Bottlecap waits for a telemetry event.
pub const REPORT_WAIT: Duration = Duration::from_millis(300);

/// How long SHUTDOWN waits for telemetry when nothing is known to be missing: twice what Lambda buffers it for (the
/// subscription's 25 ms), because the runtime's last lines are written just before.
pub const BUFFERED: Duration = Duration::from_millis(50);

/// What is left of the shutdown phase for saving the context and exiting when the last flush is given up on.
pub const EXIT_MARGIN: Duration = Duration::from_millis(150);

/// The same when nobody's answer to it is awaited any more: who has something unsent knows that when the flush is given up
/// on, and counts it then.
pub const ANSWER_MARGIN: Duration = Duration::from_millis(60);

/// The shutdown phase when nobody names a deadline (SIGTERM): what Lambda grants (spec: lambda-apis 1.3).
pub const SHUTDOWN_PHASE: Duration = Duration::from_secs(2);

/// The instant of the wall-clock time `at_ms` (milliseconds since the epoch), given that `now` is `wall_ms`. A time in
/// the past is `now`.
#[must_use]
pub fn instant(at_ms: u64, now: Instant, wall_ms: u64) -> Instant {
    // Two days: no deadline of Lambda's is further away, and an Instant must not overflow.
    now + Duration::from_millis(at_ms.saturating_sub(wall_ms).min(172_800_000))
}

/// `at` moved towards the past by `by`, but not before `floor`.
#[must_use]
pub fn before(at: Instant, by: Duration, floor: Instant) -> Instant {
    at.checked_sub(by).map_or(floor, |t| t.max(floor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_never_lie_in_the_past() {
        let now = Instant::now();
        assert_eq!(instant(5_000, now, 4_000), now + Duration::from_secs(1));
        assert_eq!(instant(3_000, now, 4_000), now);
        assert_eq!(instant(u64::MAX, now, 0), now + Duration::from_secs(172_800));
        assert_eq!(before(now + HOLD, Duration::from_secs(1), now), now + Duration::from_secs(4));
        assert_eq!(before(now, HOLD, now), now);
    }
}
