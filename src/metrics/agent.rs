//! The thread `metrics-agent`: takes batches in, and at a flush turns what it holds into payloads for its lane.
//!
//! It blocks on its inbox alone and ends when that is closed. It opens no connection and reads no socket. A panic while
//! it handles a message costs what was aggregated, not the thread.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use super::aggregate::{Aggregator, Outcome, Point};
use super::dogstatsd::batch::{Batch, Line};
use super::dogstatsd::event::{self, Event, ServiceCheck};
use super::dogstatsd::parser::Malformed;
use super::payload;
use super::settings::{Base, Settings};
use super::{Kind, Message};
use crate::config::{Config, Signal};
use crate::diag::counters::{self, Counter};
use crate::diag::repeat::Repeat;
use crate::forwarder::{FlushTicket, Lane, Payload};
use crate::lambda::{self, Tags};
use crate::sys;

/// Bytes of aggregates, events and service checks, some 60,000 contexts of usual size, and the part of the function's
/// memory that is the limit if it is less.
const BUDGET: (usize, usize) = (20 << 20, 16);
/// The same for compressed payloads that wait for a flush or that the lane gave back.
const KEPT: (usize, usize) = (4 << 20, 64);
/// What an event or a service check costs beside its texts.
const LINE: usize = 256;

/// What the thread starts with.
pub struct Agent {
    /// The settings.
    pub config: Arc<Config>,
    /// The function's tags as known so far.
    pub tags: Arc<Tags>,
    /// Where batches, tags and flushes come from.
    pub inbox: Receiver<Message>,
    /// The coordinator's inbox.
    pub events: Sender<lambda::Event>,
    /// The way to the forwarder.
    pub lane: Lane,
}

/// Runs until the inbox is closed.
pub fn run(agent: Agent) {
    let Agent { config, tags, inbox, events, lane } = agent;
    let settings = Settings::new(&config);
    let share = |(limit, part)| config.lambda.share(limit, part);
    let state = State::new(Base::new(&settings, &tags), settings, share(BUDGET));
    serve(state, Outlet::new(lane, share(KEPT)), inbox, &events);
}

fn serve(mut state: State, mut outlet: Outlet, inbox: Receiver<Message>, events: &Sender<lambda::Event>) {
    let mut told = false;
    // Blocks without a deadline: this is the idle state of the component.
    for message in inbox {
        let ticket = if let Message::Flush(ticket) = &message { Some(*ticket) } else { None };
        let handled = catch_unwind(AssertUnwindSafe(|| state.handle(message)));
        let payloads = handled.unwrap_or_else(|_| {
            counters::count(Counter::Panics);
            if !std::mem::replace(&mut told, true) {
                log::warn!("metrics: a message made the aggregation fail; what was not sent yet is lost");
            }
            state.reset();
            Vec::new()
        });
        match ticket {
            Some(ticket) => outlet.flush(ticket, payloads),
            None => outlet.hold(payloads),
        }
        if state.presses() && events.try_send(lambda::Event::Pressure(Signal::Metrics)).is_err() {
            counters::count(Counter::InboxFull);
            // Asked again with the next message.
            state.pressed = false;
        }
    }
}

/// Everything that was received and not handed over yet. Pure but for the clock that a flush reads.
struct State {
    settings: Settings,
    base: Base,
    budget: usize,
    aggregator: Aggregator,
    events: Vec<(Event, u64)>,
    checks: Vec<(ServiceCheck, u64)>,
    /// Bytes of `events` and `checks`.
    bytes: usize,
    /// Whether the coordinator was told since the last flush that there is much to send.
    pressed: bool,
    /// Samples lost for want of room since the last flush.
    lost: u64,
    /// Events and service checks that could not be read since the last flush.
    malformed: u64,
    /// What the user was told of.
    told_lost: Repeat,
    told_malformed: Repeat,
    /// Whether emptying the aggregates before the next flush was tried and did not make room.
    stuck: bool,
}

impl State {
    fn new(base: Base, settings: Settings, budget: usize) -> Self {
        Self {
            settings,
            base,
            budget,
            aggregator: Aggregator::new(budget),
            events: Vec::new(),
            checks: Vec::new(),
            bytes: 0,
            pressed: false,
            lost: 0,
            malformed: 0,
            told_lost: Repeat::default(),
            told_malformed: Repeat::default(),
            stuck: false,
        }
    }

    /// Forgets what a panic may have left half done.
    fn reset(&mut self) {
        *self = Self::new(std::mem::take(&mut self.base), std::mem::take(&mut self.settings), self.budget);
    }

    fn handle(&mut self, message: Message) -> Vec<Payload> {
        match message {
            Message::Samples(batch) => {
                self.take(&batch);
                return self.relieve(sys::clock::wall_ms() / 1000);
            }
            Message::Tags(tags) => {
                self.base = Base::new(&self.settings, &tags);
                self.aggregator.rebuild(&self.base);
            }
            Message::Flush(ticket) => {
                (self.pressed, self.stuck) = (false, false);
                self.report();
                return self.payloads(sys::clock::wall_ms() / 1000, ticket.last);
            }
        }
        Vec::new()
    }

    fn take(&mut self, batch: &Batch) {
        let (mut accepted, mut blocked, mut lost) = (0_u64, 0_u64, 0_u64);
        for sample in batch.samples() {
            let n = if sample.metric.kind == Kind::Set { 1 } else { sample.values.len() as u64 };
            match self.aggregator.add(&sample, &self.settings, &self.base) {
                Outcome::Accepted => accepted += n,
                Outcome::Blocked => blocked += n,
                Outcome::Overflow => lost += n,
            }
        }
        for (line, received) in batch.lines() {
            lost += u64::from(!self.line(line, received));
        }
        counters::add(Counter::MetricsAccepted, accepted);
        counters::add(Counter::MetricsBlocked, blocked);
        counters::add(Counter::MetricsOverflow, lost);
        self.lost += lost;
    }

    /// Takes an event or a service check; `false` if there is no room.
    fn line(&mut self, line: Line<'_>, received: u64) -> bool {
        let (Line::Event(text) | Line::ServiceCheck(text)) = line;
        let cost = 2 * text.len() + LINE;
        if self.held() + cost > self.budget {
            return false;
        }
        let outcome = match line {
            Line::Event(text) => event::event(text).map(|event| {
                counters::count(Counter::EventsAccepted);
                self.events.push((event, received));
            }),
            Line::ServiceCheck(text) => event::service_check(text).map(|check| {
                counters::count(Counter::ServiceChecksAccepted);
                self.checks.push((check, received));
            }),
        };
        match outcome {
            Ok(()) => self.bytes += cost,
            Err(_) => {
                counters::count(Counter::MetricsMalformed);
                self.malformed += 1;
            }
        }
        true
    }

    /// Whether the coordinator should be told, once, that there is much to send.
    fn presses(&mut self) -> bool {
        let press = !self.pressed && self.held() > self.budget / 2;
        self.pressed |= press;
        press
    }

    /// Makes room when the budget is nearly used up although a flush was asked for: that comes behind the datagrams
    /// which lie in the socket, and they may bring more contexts than fit. Payloads are a tenth of what they are made of.
    fn relieve(&mut self, now: u64) -> Vec<Payload> {
        if self.stuck || self.held() < self.budget / 4 * 3 {
            return Vec::new();
        }
        let payloads = self.payloads(now, false);
        // Series whose bucket has no second left stay; to try again with each batch would only cost time.
        self.stuck = self.held() > self.budget / 2;
        payloads
    }

    fn held(&self) -> usize {
        self.bytes + self.aggregator.bytes()
    }

    /// Everything that can be sent at `now` (seconds since the epoch).
    fn payloads(&mut self, now: u64, last: bool) -> Vec<Payload> {
        let Self { settings, base, aggregator, .. } = self;
        let mut series = payload::Series::new(settings, base);
        let mut sketches = payload::Sketches::new(settings, base);
        aggregator.flush(now, last, settings, base, &mut |context, point| match point {
            Point::Series(point) => series.push(context, point),
            Point::Sketch { timestamp, sketch } => sketches.push(context, timestamp, sketch),
        });
        let mut payloads = sketches.finish();
        payloads.extend(series.finish());
        payloads.extend(payload::events(&self.events, settings, base));
        payloads.extend(payload::service_checks(&self.checks, settings, base));
        self.events = Vec::new();
        self.checks = Vec::new();
        self.bytes = 0;
        payloads
    }

    /// Tells, at times, what was lost.
    fn report(&mut self) {
        if let Some(lost) = self.told_lost.add(std::mem::take(&mut self.lost)) {
            log::warn!(
                "DogStatsD: {lost} samples so far were lost because too many different metrics and tags wait to be \
                 sent; use fewer tag values or flush more often (DD_SERVERLESS_FLUSH_STRATEGY)"
            );
        }
        if let Some(malformed) = self.told_malformed.add(std::mem::take(&mut self.malformed)) {
            let reason = Malformed::Header;
            log::warn!("DogStatsD: {malformed} lines so far could not be read and are lost: {reason}");
        }
    }
}

/// The lane, and what waits for the next flush or could not be taken by the last.
struct Outlet {
    lane: Lane,
    /// Oldest first.
    kept: VecDeque<Payload>,
    /// Bytes that `kept` may take.
    budget: usize,
    told: Repeat,
}

impl Outlet {
    fn new(lane: Lane, budget: usize) -> Self {
        Self { lane, kept: VecDeque::new(), budget, told: Repeat::default() }
    }

    fn hold(&mut self, payloads: Vec<Payload>) {
        if !payloads.is_empty() {
            self.kept.extend(payloads);
            self.trim();
        }
    }

    fn flush(&mut self, ticket: FlushTicket, payloads: Vec<Payload>) {
        self.kept.extend(payloads);
        let all = std::mem::take(&mut self.kept).into();
        if let Err(back) = self.lane.flush(ticket, all) {
            self.kept = back.into();
            self.trim();
        }
    }

    /// Drops the oldest until the rest is within the budget.
    fn trim(&mut self) {
        let mut bytes: usize = self.kept.iter().map(|payload| payload.body.len()).sum();
        let mut dropped = 0_u64;
        while bytes > self.budget
            && let Some(oldest) = self.kept.pop_front()
        {
            bytes -= oldest.body.len();
            dropped += 1;
        }
        counters::add(Counter::PayloadsOverflow, dropped);
        if let Some(dropped) = self.told.add(dropped) {
            log::warn!("metrics: {dropped} payloads so far were dropped unsent to make room for newer ones");
        }
    }
}

#[cfg(test)]
mod tests;
