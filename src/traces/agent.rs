//! The thread `trace-agent`: takes requests from the receiver's connections one after the other, encodes them, answers,
//! and compresses. Owns all span memory of the process; blocks on nothing but its inbox. A panic costs the message it
//! happened in, and the open payload if that was being written.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use super::batch::{BUDGET, Batch};
use super::passthrough::store::{self, Store};
use super::pipeline::{Pipeline, Request, Tally};
use super::stages::Stages;
use super::tagging::Tagging;
use super::{DecodeError, Format, Message, Rates, TracerHeaders};
use crate::config::{Config, Signal};
use crate::diag::counters::{self, Counter};
use crate::forwarder::{FlushTicket, Lane, Payload, Route};
use crate::lambda::{Event, Tags};
use crate::net::Body;
use crate::sys::{clock, random};

/// What the thread starts with.
pub struct Agent {
    /// The settings.
    pub config: Arc<Config>,
    /// The function's tags as far as they are known.
    pub tags: Arc<Tags>,
    /// Requests, tags and orders to flush.
    pub inbox: Receiver<Message>,
    /// The coordinator's inbox.
    pub events: Sender<Event>,
    /// The way to the intake.
    pub lane: Lane,
}

/// Runs until nobody can send to the inbox any more.
pub fn run(agent: Agent) {
    let Agent { config, tags, inbox, events, lane } = agent;
    let state = State::new(&config, &tags, random::seed(), events, lane);
    serve(state, inbox, State::handle);
}

fn serve(mut state: State, inbox: Receiver<Message>, handle: impl Fn(&mut State, Message)) {
    let mut told = false;
    for message in inbox {
        let ticket = if let Message::Flush(ticket) = &message { Some(*ticket) } else { None };
        // A tracer that waits learns of a panic by the end of its reply channel.
        if catch_unwind(AssertUnwindSafe(|| handle(&mut state, message))).is_ok() {
            continue;
        }
        counters::count(Counter::Panics);
        if !std::mem::replace(&mut told, true) {
            log::warn!("the trace agent lost a message to a defect of its own; please report this");
        }
        state.recover();
        // The flush is owed an answer. If this fails too, its deadline is the answer.
        if let Some(ticket) = ticket
            && catch_unwind(AssertUnwindSafe(|| state.flush(ticket))).is_err()
        {
            counters::count(Counter::Panics);
            state.recover();
        }
    }
}

struct State {
    tagging: Tagging,
    stages: Stages,
    pipeline: Pipeline,
    batch: Batch,
    store: Store,
    events: Sender<Event>,
    lane: Lane,
    /// Whether the coordinator was told since the last flush that there is much to send.
    pressed: bool,
}

impl State {
    fn new(config: &Config, tags: &Tags, seed: u64, events: Sender<Event>, lane: Lane) -> Self {
        let (stages, tagging) = Stages::new(config, tags, seed);
        Self {
            tagging,
            stages,
            pipeline: Pipeline::default(),
            batch: Batch::new(config.apm_compression_level, config.lambda.share(BUDGET.0, BUDGET.1))
                .telling(&config.apm.sampling),
            store: Store::new(config.lambda.share(store::BUDGET.0, store::BUDGET.1)),
            events,
            lane,
            pressed: false,
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Payload { body, format, headers, reply } => self.payload(body, format, &headers, &reply),
            Message::Stats { body, headers, reply } => self.stats(&body, &headers, &reply),
            Message::Proxied { payload, reply } => self.proxied(payload, &reply),
            Message::Tags(tags) => {
                self.tagging = self.stages.rename(&tags);
            }
            Message::Flush(ticket) => self.flush(ticket),
        }
    }

    /// Forgets what a panic may have left half done.
    fn recover(&mut self) {
        self.pipeline = Pipeline::default();
        self.stages.recover();
        self.batch.recover();
        self.account();
    }

    fn payload(
        &mut self,
        body: Body,
        format: Format,
        headers: &TracerHeaders,
        reply: &Sender<Result<Arc<Rates>, DecodeError>>,
    ) {
        let mut tally = Tally::default();
        let Self { batch, pipeline, tagging, stages, .. } = self;
        let full = &mut |piece: super::pipeline::Piece<'_>| batch.add(piece, headers);
        let request = Request { headers, tagging, stages, now: clock::wall_ns(), full };
        let outcome = pipeline.run(&body, format, request, &mut tally);
        // The tracer waits for no compression, and the next request not for this one's memory.
        drop(body);
        if outcome.is_err() {
            counters::count(Counter::TracesMalformed);
        }
        count(&tally);
        // The connection may have given up waiting; the spans are sent all the same.
        let rates = self.stages.rates();
        let _ = reply.try_send(outcome.map(|()| rates));
        self.batch.request(headers);
        if let Some(piece) = self.pipeline.piece() {
            self.batch.add(piece, headers);
        }
        self.account();
        if self.batch.is_pressed() && !self.pressed {
            self.pressed = self.events.try_send(Event::Pressure(Signal::Traces)).is_ok();
            if !self.pressed {
                counters::count(Counter::InboxFull);
            }
        }
    }

    fn stats(&mut self, body: &[u8], headers: &TracerHeaders, reply: &Sender<Result<(), DecodeError>>) {
        let outcome = self.stages.take_stats(body, headers, &self.tagging.env, clock::wall_ns());
        if outcome.is_err() {
            counters::count(Counter::StatsMalformed);
        }
        // The connection may have given up waiting; the stats are sent all the same.
        let _ = reply.try_send(outcome);
    }

    /// Keeps a request until the next flush, if there is room for it.
    fn proxied(&mut self, payload: Payload, reply: &Sender<Result<(), Payload>>) {
        let outcome = self.store.put(payload);
        let taken = outcome.is_ok();
        let told = reply.try_send(outcome).is_ok();
        if taken {
            counters::count(Counter::ProxyStored);
        } else if !told {
            // Nobody waits any more who could take it back.
            counters::count(Counter::PayloadsOverflow);
        }
    }

    fn flush(&mut self, ticket: FlushTicket) {
        let mut payloads = self.batch.take();
        payloads.append(&mut self.stages.stats(clock::wall_ns(), ticket.last));
        payloads.append(&mut self.store.take());
        if let Err(payloads) = self.lane.flush(ticket, payloads) {
            let (traces, others) = payloads.into_iter().partition(|payload| payload.route == Route::Traces);
            self.batch.put_back(traces);
            counters::add(Counter::PayloadsOverflow, self.store.put_back(others));
        }
        self.account();
        self.pressed = false;
        self.pipeline.rest();
        self.stages.rest();
    }

    /// Counts what the batch dropped.
    fn account(&mut self) {
        let dropped = self.batch.dropped();
        if dropped.overflow > 0 {
            log::warn!("traces: {} spans lost: too many wait to be sent", dropped.overflow);
        }
        counters::add(Counter::SpansOverflow, dropped.overflow);
        counters::add(Counter::SpansCompression, dropped.compression);
    }
}

fn count(tally: &Tally) {
    for (counter, spans) in [
        (Counter::SpansAccepted, tally.accepted),
        (Counter::SpansTraceIdZero, tally.trace_id_zero),
        (Counter::SpansSpanIdZero, tally.span_id_zero),
        (Counter::SpansForeign, tally.foreign),
        (Counter::SpansTooLarge, tally.too_large),
        (Counter::SpansDuplicate, tally.duplicates),
        (Counter::SpansPlumbing, tally.plumbing),
        (Counter::TracesMiscounted, tally.miscounted),
    ] {
        if spans > 0 {
            counters::add(counter, spans);
        }
    }
    let dropped =
        tally.duplicates + tally.plumbing + tally.trace_id_zero + tally.span_id_zero + tally.foreign + tally.too_large;
    if dropped > 0 {
        crate::diag::debug!("traces: of a request {} spans taken, {dropped} dropped: {tally:?}", tally.accepted);
    }
}

#[cfg(test)]
mod tests;
