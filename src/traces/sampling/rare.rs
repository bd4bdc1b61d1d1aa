//! The rare sampler: of each kind of entry or measured span, one in five minutes is kept although its trace is sampled
//! out, so that nothing a service does is never seen (spec: traces 4.6). A kind is environment, service, name, resource,
//! status code and type of the error. Pure; time is an argument.

use std::time::Duration;

use super::signature;
use crate::traces::Chunk;

/// How long a kind that was kept is not rare.
const COOLDOWN: Duration = Duration::from_secs(300);

/// Traces kept per second, and at once after a pause.
const PER_SECOND: f64 = 5.0;
const BURST: f64 = 50.0;

/// Kinds of one service that are told apart; further ones share as many.
const KINDS: usize = 200;

/// Most kinds that are remembered, 16 bytes each.
const MAX_SEEN: usize = 4_096;

/// Set on the span that is rare.
const RARE: &[u8] = b"_dd.rare";

/// A kind of span that was kept.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The service in its environment in the upper half, the span in the lower.
    kind: u64,
    /// Until when it is not rare, in nanoseconds since the epoch.
    until: u64,
}

/// The rare sampler.
#[derive(Debug)]
pub struct Rare {
    /// Sorted by kind.
    seen: Vec<Seen>,
    /// No kind can be forgotten before.
    full_until: u64,
    /// Traces that may be kept now, and when that was counted.
    tokens: f64,
    counted: u64,
}

impl Rare {
    /// Has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { seen: Vec::new(), full_until: 0, tokens: BURST, counted: 0 }
    }

    /// Whether the sampled out trace of `chunk` is to be kept because of a rare span, which is then marked. `now` is in
    /// nanoseconds since the epoch.
    pub fn rescues(&mut self, chunk: &mut Chunk<'_>, now: u64) -> bool {
        for i in 0..chunk.spans.len() {
            let Some(kind) = self.kind(chunk, i) else { continue };
            let found = self.seen.binary_search_by_key(&kind, |seen| seen.kind);
            let is_rare = found.ok().and_then(|at| self.seen.get(at)).is_none_or(|seen| seen.until < now);
            if is_rare && self.has_place(found.is_ok(), now) && self.may(now) {
                if let Some(span) = chunk.spans.get_mut(i) {
                    chunk.store.set_metric(span, RARE, 1.0, chunk.body);
                }
                self.note(chunk, now);
                return true;
            }
        }
        false
    }

    /// Remembers the kinds of the spans of a trace that is kept anyway.
    pub fn note(&mut self, chunk: &Chunk<'_>, now: u64) {
        let until = now.saturating_add(COOLDOWN.as_nanos() as u64);
        for i in 0..chunk.spans.len() {
            let Some(kind) = self.kind(chunk, i) else { continue };
            let mut found = self.seen.binary_search_by_key(&kind, |seen| seen.kind);
            if found.is_err() && self.seen.len() >= MAX_SEEN {
                self.forget(now);
                found = self.seen.binary_search_by_key(&kind, |seen| seen.kind);
            }
            match found {
                Ok(at) => self.seen.get_mut(at).into_iter().for_each(|seen| seen.until = until),
                Err(at) if self.seen.len() < MAX_SEEN => self.seen.insert(at, Seen { kind, until }),
                Err(_) => {}
            }
        }
    }

    /// The kind of the span, if it is one that counts.
    fn kind(&self, chunk: &Chunk<'_>, index: usize) -> Option<u64> {
        let span = chunk.spans.get(index)?;
        let is_measured = || chunk.store.metric(span, b"_dd.measured", chunk.body) == Some(1.0);
        if !span.top_level && !is_measured() {
            return None;
        }
        let service = signature::service(span.service.of(chunk.body, &chunk.store.pool), chunk.env.as_bytes());
        let hash = signature::span(chunk, span, "", true);
        let of_service = u64::from(service) << 32;
        let kind = of_service | u64::from(hash);
        if self.seen.binary_search_by_key(&kind, |seen| seen.kind).is_ok() {
            return Some(kind);
        }
        let first = self.seen.partition_point(|seen| seen.kind < of_service);
        let is_full = self.seen.get(first + KINDS - 1).is_some_and(|seen| seen.kind >> 32 == u64::from(service));
        Some(if is_full { of_service | u64::from(hash % KINDS as u32) } else { kind })
    }

    /// Whether a kind is known or there is a place for it.
    fn has_place(&mut self, known: bool, now: u64) -> bool {
        if !known && self.seen.len() >= MAX_SEEN {
            self.forget(now);
        }
        known || self.seen.len() < MAX_SEEN
    }

    /// Forgets the kinds that are rare again, looking at all of them only when one can be.
    fn forget(&mut self, now: u64) {
        if now <= self.full_until {
            return;
        }
        self.seen.retain(|seen| seen.until >= now);
        self.full_until = self.seen.iter().map(|seen| seen.until).min().unwrap_or(0);
    }

    /// Takes a token, if there is one.
    fn may(&mut self, now: u64) -> bool {
        let passed = Duration::from_nanos(now.saturating_sub(self.counted));
        self.counted = now;
        self.tokens = (self.tokens + passed.as_secs_f64() * PER_SECOND).min(BURST);
        let may = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(may));
        may
    }
}

impl Default for Rare {
    fn default() -> Self {
        Self::new()
    }
}
