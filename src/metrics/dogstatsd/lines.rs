//! DogStatsD lines that came by HTTP (`/dogstatsd/v2/proxy`), on their way to the aggregator without a socket between.
//!
//! Runs on connection threads: parses in place and hands over, waiting no longer than it is told.

use std::time::Instant;

use crossbeam_channel::Sender;

use super::batch::{Batch, CAPACITY};
use crate::diag::counters::{self, Counter};
use crate::metrics::Message;

/// Hands the lines of `body` to the aggregator, until `deadline`. `now` is the time in seconds since the epoch. Returns
/// whether all of them got there; lines that cannot be read are counted, as in a datagram.
#[must_use]
pub fn hand_over(body: &[u8], now: u64, out: &Sender<Message>, deadline: Instant) -> bool {
    let mut rest = body;
    while !rest.is_empty() {
        let (part, after) = split(rest);
        // A line that is longer than a batch is dropped as one that the kernel cut off.
        let cut = part.len() + after.len() < rest.len();
        rest = after;
        let mut batch = Batch::default();
        let mut malformed = 0;
        // No part is longer than a batch.
        let Some(room) = batch.spare(part.len()) else { return false };
        room.copy_from_slice(part);
        batch.commit(part.len(), cut, now, |_| malformed += 1);
        counters::add(Counter::MetricsMalformed, malformed);
        if !batch.is_empty() && out.send_deadline(Message::Samples(batch), deadline).is_err() {
            return false;
        }
    }
    true
}

/// The whole lines that fit into one batch, and what follows them. Of a line that does not fit, its start, and what
/// follows its end.
fn split(rest: &[u8]) -> (&[u8], &[u8]) {
    if rest.len() <= CAPACITY {
        return (rest, &[]);
    }
    let fits = &rest[..CAPACITY];
    match memchr::memrchr(b'\n', fits) {
        Some(end) => rest.split_at(end + 1),
        None => (fits, memchr::memchr(b'\n', rest).map_or(&[], |end| &rest[end + 1..])),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// How many batches and samples become of `body`, and whether all got there.
    fn check(body: &[u8], room: usize, expected: (usize, usize, bool)) {
        let (out, inbox) = crossbeam_channel::bounded(room);
        let complete = hand_over(body, 7, &out, Instant::now() + Duration::from_millis(1));
        let batches: Vec<_> = inbox.try_iter().collect();
        let samples = batches.iter().map(|message| match message {
            Message::Samples(batch) => batch.samples().filter(|sample| sample.received == 7).count(),
            _ => 0,
        });
        assert_eq!((batches.len(), samples.sum(), complete), expected);
    }

    #[test]
    fn lines_become_batches() {
        check(b"", 4, (0, 0, true));
        check(b"\n", 4, (0, 0, true));
        check(b"a:1|c", 4, (1, 1, true));
        check(b"a:1|c\nb:2|g\nno\n", 4, (1, 2, true));
        let many = b"a:1|c\n".repeat(30_000);
        check(&many, 4, (3, 30_000, true));
        check(&many, 1, (1, 10_922, false));
        let long = [&vec![b'x'; 100_000][..], b":1|c\nb:2|g\n"].concat();
        check(&long, 4, (1, 1, true));
    }

    #[test]
    fn an_aggregator_that_is_gone_takes_nothing() {
        let (out, inbox) = crossbeam_channel::bounded(1);
        drop(inbox);
        assert!(!hand_over(b"a:1|c", 7, &out, Instant::now() + Duration::from_secs(60)));
    }
}
