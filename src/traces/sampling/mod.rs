//! Which traces are kept where the agent decides, and the rates that tracers are told (spec: traces 4.6).
//!
//! Tracers decide first and write a priority on the root: 2 and -1 are the user's word, 1 and 0 their own, by the rates
//! that the answers tell them ([`services`]). In Lambda every trace goes to the backend, which decides what it keeps; only
//! if the extension computes stats are the traces that are sampled out dropped here, after they were counted:
//!
//! | priority | |
//! | --- | --- |
//! | none (also -128) | kept |
//! | 1 and more | kept |
//! | 0 | dropped unless the rare sampler or an error sampler rescues it |
//! | below 0 | dropped |
//!
//! The probabilistic sampler, if it is on, takes the tracers' place: it makes 0 or 1 of every priority but the user's,
//! and the rescuers what it sampled out 1 again. Of a trace that is dropped, the spans stay that a rule of the tracer
//! chose one by one. Pure; time is an argument.

pub mod errors;
pub mod pace;
pub mod probabilistic;
pub mod rare;
pub mod services;
pub mod signature;

use std::sync::Arc;

use self::errors::Errors;
use self::probabilistic::Hashed;
use self::rare::Rare;
use self::services::Services;
use super::span::{Span, Store};
use super::{Chunk, Rates};
use crate::config::apm;
use crate::diag::counters::Counter;

/// Priorities by which a user decides, or the backend a kept span.
const USER_KEEP: i32 = 2;
const AUTO_KEEP: i32 = 1;
const AUTO_DROP: i32 = 0;
const USER_DROP: i32 = -1;

/// How tracers write that there is no priority.
const NO_PRIORITY: i32 = -128;

/// The rate at which the error sampler kept the trace, on its root.
const ERROR_RATE: &[u8] = b"_dd.errors_sr";

/// The rate at which a trace was sampled before it got a priority, on its root.
const GLOBAL_RATE: &[u8] = b"_sample_rate";

/// The rate at which a trace passed an agent that had no time for all, on its root.
const PRESAMPLER_RATE: &[u8] = b"_dd1.sr.rapre";

/// The rate at which the tracer kept a trace, on its root: by the agent's rates, by a rule of its own, and as old tracers
/// and agents say it.
const TOLD_RATES: [&[u8]; 3] = [b"_dd.agent_psr", b"_dd.rule_psr", b"_sampling_priority_rate_v1"];

/// Most traces as which one counts: what a tracer claims must not spoil the sums.
const MAX_WEIGHT: f64 = 1e9;

/// What becomes of a trace, and who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes out; nobody would have dropped it.
    Keep,
    /// It goes out because of a rare span.
    Rare,
    /// It goes out because of an error.
    Error,
    /// Of it only the spans go out that [`is_single`] tells.
    SingleSpans,
    /// It is dropped because its priority is below 0.
    DropByUser,
    /// It is dropped because its priority is 0.
    DropByPriority,
    /// It is dropped by the probabilistic sampler.
    DropByHash,
}

impl Verdict {
    /// Whether no span goes out.
    #[must_use]
    pub fn is_drop(self) -> bool {
        matches!(self, Self::DropByUser | Self::DropByPriority | Self::DropByHash)
    }

    /// What counts the spans to which this happened; `None` if nothing did. With [`Verdict::SingleSpans`] these are the
    /// spans that go out; the others count as [`Counter::SampledOutByPriority`].
    #[must_use]
    pub fn counter(self) -> Option<Counter> {
        Some(match self {
            Self::Keep => return None,
            Self::Rare => Counter::RescuedRare,
            Self::Error => Counter::RescuedErrors,
            Self::SingleSpans => Counter::RescuedSpans,
            Self::DropByUser => Counter::SampledOutByUser,
            Self::DropByPriority => Counter::SampledOutByPriority,
            Self::DropByHash => Counter::SampledOutByHash,
        })
    }
}

/// What becomes of a part of a trace about which `verdict` was given: of one that is dropped the spans stay that a rule of
/// the tracer chose.
pub fn rescue_singles(chunk: &mut Chunk<'_>, verdict: Verdict) -> Verdict {
    let has_singles = || chunk.spans.iter().any(|span| is_single(span, chunk.body, chunk.store));
    if verdict == Verdict::SingleSpans || verdict.is_drop() && has_singles() {
        chunk.priority = Some(USER_KEEP);
        return Verdict::SingleSpans;
    }
    verdict
}

/// Whether a rule of the tracer chose this span: it is kept though its trace is not.
#[must_use]
pub fn is_single(span: &Span, body: &[u8], store: &Store) -> bool {
    store.metric(span, b"_dd.span_sampling.mechanism", body).is_some()
}

/// All samplers.
#[derive(Debug)]
pub struct Samplers {
    drops: bool,
    services: Services,
    errors: Errors,
    rare: Option<Rare>,
    hashed: Option<Hashed>,
}

impl Samplers {
    /// As `settings` say. `drops` is whether sampled out traces are dropped here: only where the extension computes
    /// stats, else the backend expects all. `seed` makes the versions of the rates this process's own.
    #[must_use]
    pub fn new(settings: &apm::Sampling, drops: bool, seed: u64) -> Self {
        Self {
            drops,
            services: Services::new(settings.target_tps, seed),
            errors: Errors::new(settings),
            rare: settings.rare_sampler.then(Rare::new),
            hashed: Hashed::new(&settings.probabilistic),
        }
    }

    /// Decides about a trace, and marks its root with what the decision was made by. `client_dropped` are the traces that
    /// the tracer dropped itself for each trace of this payload (`Datadog-Client-Dropped-P0-Traces` divided by their
    /// number); `now` is in nanoseconds since the epoch.
    pub fn decide(&mut self, chunk: &mut Chunk<'_>, client_dropped: f64, now: u64) -> Verdict {
        let priority = chunk.priority.filter(|priority| *priority != NO_PRIORITY);
        let is_users = priority.is_some_and(|priority| !(AUTO_DROP..=AUTO_KEEP).contains(&priority));
        if let Some(hashed) = self.hashed.filter(|_| !is_users) {
            return self.by_hash(hashed, chunk, now);
        }
        if let Some(AUTO_DROP | AUTO_KEEP) = priority {
            self.tell(chunk, priority == Some(AUTO_KEEP), client_dropped, now);
        }
        self.by_priority(chunk, priority, now)
    }

    /// The answer for tracers: the same `Arc` until a rate changes.
    pub fn rates(&mut self) -> &Arc<Rates> {
        self.services.rates()
    }

    /// Gives back the memory that only long traces need.
    pub fn rest(&mut self) {
        self.errors.rest();
    }

    /// The tracer decided, or nobody.
    fn by_priority(&mut self, chunk: &mut Chunk<'_>, priority: Option<i32>, now: u64) -> Verdict {
        if !self.drops {
            return Verdict::Keep;
        }
        match priority {
            Some(AUTO_DROP) => self.rescue(chunk, now).unwrap_or(Verdict::DropByPriority),
            Some(..=USER_DROP) => Verdict::DropByUser,
            _ => {
                if let Some(rare) = &mut self.rare {
                    rare.note(chunk, now);
                }
                Verdict::Keep
            }
        }
    }

    /// The probabilistic sampler decides, in the Go agent's order. Where nothing is dropped here, the priority tells the
    /// backend.
    fn by_hash(&mut self, hashed: Hashed, chunk: &mut Chunk<'_>, now: u64) -> Verdict {
        let rare = self.rare.as_mut().is_some_and(|rare| rare.rescues(chunk, now));
        let verdict = if rare {
            Verdict::Rare
        } else if hashed.keeps(chunk) {
            Verdict::Keep
        } else if self.is_error_kept(chunk, now) {
            Verdict::Error
        } else {
            Verdict::DropByHash
        };
        chunk.priority = Some(if verdict.is_drop() { AUTO_DROP } else { AUTO_KEEP });
        if self.drops { verdict } else { Verdict::Keep }
    }

    /// Who keeps a trace that the tracer sampled out.
    fn rescue(&mut self, chunk: &mut Chunk<'_>, now: u64) -> Option<Verdict> {
        if self.rare.as_mut().is_some_and(|rare| rare.rescues(chunk, now)) {
            return Some(Verdict::Rare);
        }
        self.is_error_kept(chunk, now).then_some(Verdict::Error)
    }

    /// Whether the error sampler keeps the trace; the root then says at which rate.
    fn is_error_kept(&mut self, chunk: &mut Chunk<'_>, now: u64) -> bool {
        let Some(rate) = self.errors.keeps(chunk, now) else { return false };
        if let Some(root) = chunk.spans.get_mut(chunk.root) {
            chunk.store.set_metric(root, ERROR_RATE, rate, chunk.body);
        }
        true
    }

    /// Counts a trace that its tracer decided about, for the rates. The root of one that was kept says at which rate, in
    /// case that its tracer does not; that all are kept needs no words.
    fn tell(&mut self, chunk: &mut Chunk<'_>, kept: bool, client_dropped: f64, now: u64) {
        let Some(root) = chunk.spans.get_mut(chunk.root) else { return };
        let (body, store) = (chunk.body, &mut *chunk.store);
        let weight = if self.services.has_target() { weight(root, client_dropped, body, store) } else { 1.0 };
        let service = root.service.of(body, &store.pool);
        let rate = self.services.count(service, chunk.env, root.known.env.is_none(), weight, now);
        let is_told = |store: &Store| TOLD_RATES.iter().any(|key| store.metric(root, key, body).is_some());
        if kept && rate < 1.0 && root.parent_id == 0 && !is_told(store) {
            store.set_metric(root, TOLD_RATES[2], rate, body);
        }
    }
}

/// As how many traces the one with this `root` counts: itself, those that were sampled out before it by the rates it
/// names, and `client_dropped`.
fn weight(root: &Span, client_dropped: f64, body: &[u8], store: &Store) -> f32 {
    let dropped = if client_dropped.is_finite() { client_dropped.clamp(0.0, MAX_WEIGHT) } else { 0.0 };
    let rates = rate(root, GLOBAL_RATE, body, store) * rate(root, PRESAMPLER_RATE, body, store);
    (1.0 / rates + dropped).min(MAX_WEIGHT) as f32
}

/// As how many spans one counts of a trace with this `root`, that was sampled before it got a priority.
#[must_use]
pub fn global_weight(root: &Span, body: &[u8], store: &Store) -> f64 {
    (1.0 / rate(root, GLOBAL_RATE, body, store)).min(MAX_WEIGHT)
}

/// A rate that a span names; 1 if it names none, or nonsense.
fn rate(span: &Span, key: &[u8], body: &[u8], store: &Store) -> f64 {
    store.metric(span, key, body).filter(|rate| *rate > 0.0 && *rate <= 1.0).unwrap_or(1.0)
}

#[cfg(test)]
mod tests;
