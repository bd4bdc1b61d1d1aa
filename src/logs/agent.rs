//! The thread `logs-agent`: deliveries in, payloads and platform events out.
//!
//! Owns the mapping, the rules and the batches. Blocks on its inbox alone, without a timer. All lines of a delivery are
//! in a batch before any of its platform events is passed on, so a flush that one of them orders has every line. A panic
//! costs the message it happened in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use super::Message;
use super::batch::Batches;
use super::entry::{Entry, Text};
use super::mapper::Mapper;
use super::rules::Rules;
use crate::codec::sort::sort_by;
use crate::config::{Config, Signal};
use crate::diag::counters::{self, Counter};
use crate::diag::repeat::Repeat;
use crate::forwarder::{FlushTicket, Lane};
use crate::lambda::telemetry::{Element, Elements, Kind, Malformed, PlatformEvent, PlatformKind, text_of};
use crate::lambda::{Event, Tags};
use crate::sys::clock;

/// What the thread is given.
pub struct Agent {
    /// The settings.
    pub config: Arc<Config>,
    /// The function's tags as far as they are known.
    pub tags: Arc<Tags>,
    /// The invocation that a previous process of this sandbox saw last, from the execution context.
    pub last_request_id: Option<String>,
    /// Deliveries, tags, orders to flush. The thread ends when all senders are gone.
    pub inbox: Receiver<Message>,
    /// The coordinator's inbox.
    pub events: Sender<Event>,
    /// The way to the intake.
    pub lane: Lane,
}

/// Runs until nobody can send a message any more.
pub fn run(agent: Agent) {
    let Agent { config, tags, last_request_id, inbox, events, mut lane } = agent;
    let mut pipeline = Pipeline::new(&config, &tags, last_request_id);
    let mut said = Said::default();
    for message in &inbox {
        match message {
            Message::Telemetry(delivery) => deliver(&delivery, config.logs_enabled, &mut pipeline, &events, &mut said),
            Message::Tags(tags) => pipeline.batches.set_tags(&tags),
            Message::Flush(ticket) => {
                said.guard(|| pipeline.flush(ticket, &mut lane));
            }
        }
        if pipeline.batches.take_pressure() && !notify(&events, Event::Pressure(Signal::Logs)) {
            pipeline.batches.press_again();
        }
    }
}

/// Takes a delivery in, then tells the coordinator what happened in it.
fn deliver(delivery: &[u8], enabled: bool, pipeline: &mut Pipeline, events: &Sender<Event>, said: &mut Said) {
    let text = text_of(delivery);
    let Some((elements, malformed)) = said.guard(|| read(&text, clock::wall_ms())) else { return };
    said.count_malformed(malformed);
    if enabled {
        said.guard(|| pipeline.take_in(&elements));
    }
    for Element { time_ms, kind } in elements {
        if let Kind::Platform(kind) = kind {
            if let PlatformKind::LogsDropped { records, .. } = *kind {
                said.count_dropped(records);
            }
            notify(events, Event::Platform(PlatformEvent { time_ms, kind }));
        }
    }
}

/// The elements of a delivery that somebody needs, in the order of their times, and how many were not readable.
fn read(text: &str, now_ms: u64) -> (Vec<Element<'_>>, u64) {
    let mut elements = Vec::new();
    let (mut last_ms, mut malformed) = (None, 0);
    for parts in Elements::new(text) {
        // An event without a readable time happened when its neighbour did.
        match parts.and_then(|parts| Element::read(parts, last_ms.unwrap_or(now_ms))) {
            Ok(Element { kind: Kind::Ignored, .. }) => {}
            Ok(element) => {
                last_ms = Some(element.time_ms);
                elements.push(element);
            }
            Err(Malformed) => malformed += 1,
        }
    }
    if !elements.is_sorted_by_key(|element| element.time_ms) {
        // Those of one time stay in their order.
        let mut numbered: Vec<_> = elements.into_iter().enumerate().collect();
        sort_by(&mut numbered, |(i, a), (j, b)| (a.time_ms, i) < (b.time_ms, j));
        elements = numbered.into_iter().map(|(_, element)| element).collect();
    }
    (elements, malformed)
}

/// Whether the coordinator will hear of it.
fn notify(events: &Sender<Event>, event: Event) -> bool {
    let sent = events.try_send(event).is_ok();
    if !sent {
        counters::count(Counter::InboxFull);
    }
    sent
}

/// What the user was told of.
#[derive(Default)]
struct Said {
    malformed: Repeat,
    dropped: Repeat,
    panicked: bool,
}

impl Said {
    /// Runs `work`; a panic in it is counted and goes no further.
    fn guard<T>(&mut self, work: impl FnOnce() -> T) -> Option<T> {
        // Nothing in the pipeline is unsafe to use half-changed: at worst a line of the message is missing.
        let outcome = catch_unwind(AssertUnwindSafe(work)).ok();
        if outcome.is_none() {
            counters::count(Counter::Panics);
            if !std::mem::replace(&mut self.panicked, true) {
                log::warn!("the logs agent lost a message to a defect of its own; please report this");
            }
        }
        outcome
    }

    fn count_malformed(&mut self, elements: u64) {
        counters::add(Counter::LogsMalformed, elements);
        if let Some(elements) = self.malformed.add(elements) {
            log::warn!("{elements} telemetry elements are not readable and were skipped, so far");
        }
    }

    fn count_dropped(&mut self, records: u64) {
        counters::add(Counter::LogsDroppedByPlatform, records);
        if let Some(records) = self.dropped.add(records) {
            log::warn!("Lambda dropped {records} log records so far before delivery");
        }
    }
}

/// From elements to batches.
struct Pipeline {
    mapper: Mapper,
    rules: Rules,
    batches: Batches,
    /// A message as rules see it.
    decoded: String,
}

impl Pipeline {
    fn new(config: &Config, tags: &Tags, last_request_id: Option<String>) -> Self {
        let (rules, bad) = Rules::compile(&config.logs_rules);
        for rule in bad {
            log::error!("{rule}");
        }
        let mapper = Mapper::new(config, last_request_id);
        Self { mapper, rules, batches: Batches::new(config, tags), decoded: String::new() }
    }

    fn take_in(&mut self, elements: &[Element<'_>]) {
        let Self { mapper, rules, batches, decoded } = self;
        let mut tally = Tally::default();
        for element in elements {
            mapper.map(element, |entry| tally.add(filter(entry, rules, decoded, batches)));
        }
    }

    fn flush(&mut self, ticket: FlushTicket, lane: &mut Lane) {
        let Self { mapper, rules, batches, decoded } = self;
        if ticket.last {
            let mut tally = Tally::default();
            mapper.finish(|entry| tally.add(filter(entry, rules, decoded, batches)));
        }
        mapper.trim();
        *decoded = String::new();
        if let Err(payloads) = lane.flush(ticket, batches.take()) {
            batches.restore(payloads);
        }
    }
}

/// Applies the rules to `entry` and puts what is left of it into a batch. Returns whether something was.
fn filter(entry: &Entry<'_>, rules: &Rules, decoded: &mut String, batches: &mut Batches) -> bool {
    if rules.is_empty() {
        batches.push(entry);
        return true;
    }
    match rules.apply(entry.text.decode(decoded)) {
        None => return false,
        Some(std::borrow::Cow::Borrowed(_)) => batches.push(entry),
        Some(std::borrow::Cow::Owned(masked)) => batches.push(&Entry { text: Text::Plain(&masked), ..*entry }),
    }
    true
}

/// Counts in one go what was done line by line.
#[derive(Default)]
struct Tally {
    accepted: u64,
    excluded: u64,
}

impl Tally {
    fn add(&mut self, accepted: bool) {
        if accepted {
            self.accepted += 1;
        } else {
            self.excluded += 1;
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        counters::add(Counter::LogsAccepted, self.accepted);
        counters::add(Counter::LogsExcluded, self.excluded);
    }
}

#[cfg(test)]
mod tests;
