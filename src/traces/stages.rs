//! The stages in the agent's order, and what they remember from trace to trace (spec: traces 4.2 to 4.8). Pure: time is an
//! argument.
//!
//! | | stage | over |
//! | --- | --- | --- |
//! | 1 | dedup | spans, as they are decoded |
//! | 2 | what Lambda's own plumbing causes goes | spans |
//! | 3 | normalise | spans |
//! | 4 | ignored resources, filters | the root |
//! | 5 | name the service, obfuscate, replace, cut | spans |
//! | 6 | mark top-level spans | the chunk |
//! | 7 | count stats | the chunk |
//! | 8 | sample | the chunk |
//!
//! What the first window of a trace decides in 4 and 8 holds for its later ones, but for spans that their tracer chose
//! one by one: they are kept in every window.

use std::sync::Arc;

use super::chunk::{self, Index};
use super::dedup::Dedup;
use super::filter::{Filter, Reason};
use super::normalize::normalize;
use super::obfuscate::Obfuscator;
use super::plumbing::Plumbing;
use super::replace::Replacer;
use super::sampling::{self, Samplers, Verdict};
use super::span::{Marks, Span, Store, Text};
use super::stats::Concentrator;
use super::stats::client::{ClientStats, Rules, Source};
use super::tagging::Tagging;
use super::{Chunk, DecodeError, Rates, TracerHeaders, names};
use crate::config::Config;
use crate::forwarder::Payload;
use crate::lambda::Tags;

/// The service that every Lambda span has if its tracer was not told another.
const DEFAULT_SERVICE: &[u8] = b"aws.lambda";

/// What a tracer's span of an invocation's cause gets: the service of the invocation itself.
const BASE_SERVICE: &[u8] = b"_dd.base_service";

/// Bytes of stats until they go out, and the part of the function's memory that is the limit if it is less.
const STATS_BUDGET: (usize, usize) = (4 << 20, 32);

/// What [`Stages::rest`] keeps of the memory.
const KEEP_SPANS: usize = 512;

/// What was decided about a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The user does not want it.
    Unwanted(Reason),
    /// What the samplers said.
    Sampled(Verdict),
}

/// The stages.
pub struct Stages {
    dedup: Dedup,
    plumbing: Plumbing,
    filter: Filter,
    obfuscator: Obfuscator,
    replacer: Replacer,
    samplers: Samplers,
    concentrator: Concentrator,
    /// Whether stats of spans are computed here.
    computes_stats: bool,
    index: Index,
    /// The service of the invocation, in the user's spelling: the function's name if the user names none.
    base_service: String,
}

impl Stages {
    /// The stages that `config` asks for, and what goes onto every span of a function with these `tags`. `seed` is
    /// random. Says what is wrong with the user's patterns.
    #[must_use]
    pub fn new<'a>(config: &'a Config, tags: &Tags, seed: u64) -> (Self, Tagging) {
        let (filter, bad_filters) = Filter::new(&config.apm);
        let (mut replacer, bad_rules) = Replacer::new(&config.apm.replace);
        for bad in bad_filters.iter().chain(&bad_rules) {
            log::error!("{bad}");
        }
        let given = |address: &'a str| Some(address).filter(|address| !address.is_empty());
        let computes_stats = config.apm.compute_stats;
        let tagging = Tagging::new(tags, computes_stats, &mut replacer);
        let budget = config.lambda.share(STATS_BUDGET.0, STATS_BUDGET.1);
        let mut stages = Self {
            dedup: Dedup::new(seed),
            plumbing: Plumbing::new(given(&config.lambda.runtime_api), given(&config.lambda.xray_daemon)),
            filter,
            obfuscator: Obfuscator::new(&config.apm.obfuscation),
            replacer,
            samplers: Samplers::new(&config.apm.sampling, computes_stats, seed),
            concentrator: Concentrator::new(&config.apm.stats, &tagging, budget, seed),
            computes_stats,
            index: Index::default(),
            base_service: config.service.clone().unwrap_or_default(),
        };
        stages.name(tags);
        (stages, tagging)
    }

    /// What goes onto every span, now that the function has these tags.
    pub fn rename(&mut self, tags: &Tags) -> Tagging {
        let tagging = Tagging::new(tags, self.computes_stats, &mut self.replacer);
        self.concentrator.rename(&tagging);
        self.name(tags);
        tagging
    }

    /// The function's name is known later than the user's settings.
    fn name(&mut self, tags: &Tags) {
        if self.base_service.is_empty() {
            self.base_service.clone_from(&tags.function_name);
        }
    }

    /// Forgets what a panic may have left half done. The spans that were lost with it may come again.
    pub fn recover(&mut self) {
        self.dedup.forget();
        self.index.clear();
    }

    /// The rates that tracers are told.
    pub fn rates(&mut self) -> Arc<Rates> {
        Arc::clone(self.samplers.rates())
    }

    /// Gives back the memory that only large requests need.
    pub fn rest(&mut self) {
        self.index.clear();
        self.index.shrink(KEEP_SPANS);
        self.replacer.rest();
        self.samplers.rest();
    }

    /// Takes stats that a tracer computed, until the next flush.
    ///
    /// # Errors
    /// Where `body` is not what it should be.
    pub fn take_stats(&mut self, body: &[u8], headers: &TracerHeaders, env: &str, now: u64) -> Result<(), DecodeError> {
        let Self { filter, obfuscator, replacer, concentrator, .. } = self;
        let mut rules = Wishes { filter, obfuscator, replacer };
        let stats = ClientStats::read(body, &mut Source { headers, env, now, rules: &mut rules })?;
        // What finds no room is counted.
        concentrator.hold(stats);
        Ok(())
    }

    /// The stats that are due; all of them in the `last` flush.
    pub fn stats(&mut self, now: u64, last: bool) -> Vec<Payload> {
        self.concentrator.flush(now, last)
    }

    /// Whether a span has not come before. One that is not finished comes again when it is, under the same ids.
    pub fn is_new(&mut self, span: &Span) -> bool {
        span.marks.any(Marks::PARTIAL) || self.dedup.is_new(span.trace_id, span.span_id)
    }

    /// Hands what Lambda's plumbing causes to `lost` and takes it out, and puts right what the intake demands.
    pub fn clean(
        &mut self,
        spans: &mut Vec<Span>,
        body: &[u8],
        store: &mut Store,
        now: u64,
        lost: &mut dyn FnMut(&Span, &Store),
    ) {
        spans.retain(|span| {
            let goes = self.plumbing.is_plumbing(span, body, store);
            if goes {
                lost(span, store);
            }
            !goes
        });
        for span in &mut *spans {
            normalize(span, body, store, now);
        }
    }

    /// The index of the root of the spans of a window, which are at least one.
    pub fn root(&mut self, spans: &[Span]) -> usize {
        self.index.clear();
        chunk::root(spans, &mut self.index)
    }

    /// Whether the user does not want the trace of this root.
    #[must_use]
    pub fn rejects(&self, root: &Span, body: &[u8], store: &Store) -> Option<Reason> {
        self.filter.rejects(root, body, store)
    }

    /// Obfuscates and replaces, and marks the top-level spans. A span of the service `aws.lambda` gets the name `service`,
    /// unless that is empty.
    pub fn refine(&mut self, spans: &mut [Span], body: &[u8], store: &mut Store, service: &[u8], from: &TracerHeaders) {
        let mut own = None;
        for span in &mut *spans {
            if span.service.len() == DEFAULT_SERVICE.len()
                && !service.is_empty()
                && span.service.of(body, &store.pool) == DEFAULT_SERVICE
            {
                span.service = *own.get_or_insert_with(|| Text::pooled(&mut store.pool, service));
            }
            if span.inferred {
                base_service(span, body, store, self.base_service.as_bytes());
            }
            self.obfuscator.span(span, body, store);
            self.replacer.span(span, body, store);
            if span.resource.len() > names::MAX_RESOURCE {
                let end = names::cut(span.resource.of(body, &store.pool), names::MAX_RESOURCE).len();
                span.resource = span.resource.cut(end);
            }
        }
        let same = |a: Text, b: Text| a.of(body, &store.pool) == b.of(body, &store.pool);
        chunk::mark_top_level(spans, &mut self.index, from.client_computed_top_level, same);
    }

    /// Counts stats, and decides what goes out. `earlier` is what was decided of an earlier window of the trace.
    pub fn decide(&mut self, chunk: &mut Chunk<'_>, from: &TracerHeaders, now: u64, earlier: Option<Fate>) -> Verdict {
        if self.computes_stats {
            self.concentrator.add(chunk, from, now);
        }
        let verdict = if let Some(Fate::Sampled(verdict)) = earlier {
            verdict
        } else {
            let sent = from.trace_count.unwrap_or(1).max(1);
            self.samplers.decide(chunk, from.dropped_p0_traces as f64 / sent as f64, now)
        };
        sampling::rescue_singles(chunk, verdict)
    }
}

/// What is done to the groups of stats that a tracer computed.
struct Wishes<'a> {
    filter: &'a Filter,
    obfuscator: &'a mut Obfuscator,
    replacer: &'a mut Replacer,
}

impl Rules for Wishes<'_> {
    fn allows(&mut self, resource: &[u8]) -> bool {
        !self.filter.ignores(resource)
    }

    fn obfuscate(&mut self, kind: &[u8], database: &[u8], resource: &[u8]) -> Option<Vec<u8>> {
        self.obfuscator.resource(kind, database, resource)
    }

    fn resource(&mut self, resource: &[u8]) -> Option<Vec<u8>> {
        self.replacer.resource(resource)
    }

    fn status(&mut self, status: u32) -> u32 {
        self.replacer.status_code(status)
    }
}

/// Says on a span that a tracer made of an invocation's cause whose service that caused, unless it says so itself.
fn base_service(span: &mut Span, body: &[u8], store: &mut Store, service: &[u8]) {
    if !service.is_empty() && store.find(span, BASE_SERVICE, body).is_none() {
        store.set(span, BASE_SERVICE, service, body);
    }
}
