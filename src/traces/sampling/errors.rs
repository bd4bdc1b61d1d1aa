//! The error samplers: traces with a failed span that the tracer sampled out are kept all the same (spec: traces 4.6).
//! The Go agent's keeps so many per second, fairly among kinds of traces; its successor's, if asked for, keeps all. Says
//! at which rate; the rest is with the caller. Pure.

use super::pace::Pace;
use super::signature;
use crate::config::apm;
use crate::traces::Chunk;

/// As many kinds of traces have a rate of their own; further ones share as many.
const KINDS: usize = 100;

/// The error sampler.
#[derive(Debug)]
pub struct Errors {
    /// `None` if all or none are kept.
    pace: Option<Pace>,
    all: bool,
    /// Memory of the signature.
    hashes: Vec<u32>,
}

impl Errors {
    /// As `settings` say: `DD_SERVERLESS_ERROR_SAMPLER_ENABLED` keeps all, else `DD_APM_ERROR_TPS` so many per second.
    #[must_use]
    pub fn new(settings: &apm::Sampling) -> Self {
        let target = settings.error_tps.unwrap_or(apm::Sampling::ERROR_TPS);
        let pace = (!settings.error_sampler && target > 0.0).then(|| Pace::new(target));
        Self { pace, all: settings.error_sampler, hashes: Vec::new() }
    }

    /// The rate at which the trace of `chunk` is kept, if it is: if it has an error, and its id is among those of that
    /// rate. So of the parts of a trace that fail in several processes the same are kept everywhere. `now` is in
    /// nanoseconds since the epoch.
    pub fn keeps(&mut self, chunk: &Chunk<'_>, now: u64) -> Option<f64> {
        if !self.all && self.pace.is_none() || chunk.spans.iter().all(|span| span.error == 0) {
            return None;
        }
        let Some(pace) = &mut self.pace else { return Some(1.0) };
        let root = chunk.spans.get(chunk.root)?;
        let mut signature = signature::trace(chunk, &mut self.hashes);
        pace.advance(now);
        if pace.signatures() >= KINDS && !pace.has(signature) {
            signature %= KINDS as u32;
        }
        pace.count(signature, super::weight(root, 0.0, chunk.body, chunk.store));
        let rate = pace.rate(signature).unwrap_or_else(|| pace.default_rate());
        let before = super::rate(root, super::GLOBAL_RATE, chunk.body, chunk.store);
        is_among(root.trace_id, before * rate).then_some(rate)
    }

    /// Gives back the memory that only long traces need.
    pub fn rest(&mut self) {
        self.hashes.clear();
        self.hashes.shrink_to(KINDS);
    }
}

/// Whether a trace's id is among the share `rate` of all ids, as tracers and agents agree: by a multiplicative hash.
fn is_among(trace_id: u64, rate: f64) -> bool {
    const FACTOR: u64 = 1_111_111_111_111_111_111;
    rate >= 1.0 || trace_id.wrapping_mul(FACTOR) < (rate * u64::MAX as f64) as u64
}
