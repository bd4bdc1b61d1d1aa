//! The trace agent without its thread: messages in, payloads out.

use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, unbounded};
use libdd_trace_protobuf::pb as oracle;
use prost::Message as _;

use super::*;
use crate::config;
use crate::forwarder::{FlushDone, Job};

/// A running agent, and the ends of its channels.
struct Running {
    inbox: Sender<Message>,
    events: Receiver<Event>,
    jobs: Receiver<Receiver<Job>>,
    done: Receiver<FlushDone>,
    thread: std::thread::JoinHandle<()>,
}

fn start(tags: Tags) -> Running {
    start_with(tags, State::handle)
}

fn start_with(tags: Tags, handle: impl Fn(&mut State, Message) + Send + 'static) -> Running {
    let (inbox, messages) = unbounded();
    let (events_in, events) = unbounded();
    let (done_in, done) = unbounded();
    let (jobs_in, jobs) = unbounded();
    let lane = Lane::new(Signal::Traces, done_in, Box::new(move |rx| jobs_in.send(rx).is_ok()));
    let thread = std::thread::spawn(move || {
        let mut config = Config::load(&[], None).0;
        config.apm_compression_level = 1;
        serve(State::new(&config, &tags, 7, events_in, lane), messages, handle);
    });
    Running { inbox, events, jobs, done, thread }
}

impl Running {
    fn send(&self, body: &[u8], headers: TracerHeaders) -> Result<(), DecodeError> {
        let (reply, outcome) = bounded(1);
        let body = Body::detached(body.to_vec());
        self.inbox.send(Message::Payload { body, format: Format::V04, headers: Box::new(headers), reply }).unwrap();
        outcome.recv().unwrap().map(|_| ())
    }

    fn flush(&self, id: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        self.inbox.send(Message::Flush(FlushTicket { id, deadline, ending: false, last: false })).unwrap();
    }
}

/// Spans of other resources are other spans; one of the same ids would be the same span sent again.
fn span_id(resource: &str) -> u64 {
    resource.bytes().fold(8, |id: u64, byte| id.wrapping_mul(31).wrapping_add(byte.into()))
}

/// A body of one trace with one span, whose resource is `resource`.
fn body(resource: &str) -> Vec<u8> {
    let mut out = vec![0x91, 0x91, 0x83];
    for (key, id) in [("trace_id", 7), ("span_id", span_id(resource))] {
        rmp::encode::write_str(&mut out, key).unwrap();
        rmp::encode::write_uint(&mut out, id).unwrap();
    }
    rmp::encode::write_str(&mut out, "resource").unwrap();
    rmp::encode::write_str(&mut out, resource).unwrap();
    out
}

/// The same with a tag of this value, which nothing shortens.
fn tagged(value: &str) -> Vec<u8> {
    let mut out = body(&value[..16]);
    out[2] += 1;
    rmp::encode::write_str(&mut out, "meta").unwrap();
    out.push(0x81);
    rmp::encode::write_str(&mut out, "noise").unwrap();
    rmp::encode::write_str(&mut out, value).unwrap();
    out
}

fn spans(job: &Job) -> Vec<oracle::Span> {
    let decode = |body: &[u8]| oracle::AgentPayload::decode(zstd::decode_all(body).unwrap().as_slice()).unwrap();
    let payloads = job.payloads.iter().flat_map(|p| decode(&p.body).tracer_payloads);
    payloads.flat_map(|p| p.chunks).flat_map(|c| c.spans).collect()
}

#[test]
fn spans_go_out_with_the_flush_that_follows_them() {
    let agent = start(Tags::default());
    agent.flush(1);
    assert_eq!(agent.done.recv().unwrap().id, 1, "nothing to send: no worker is started");
    assert_eq!(agent.send(&body("one"), TracerHeaders::default()), Ok(()));
    let pairs = vec![("env".to_owned(), "prod".to_owned())];
    agent.inbox.send(Message::Tags(Arc::new(Tags { pairs, ..Tags::default() }))).unwrap();
    assert_eq!(agent.send(&body("two"), TracerHeaders::default()), Ok(()));
    assert!(agent.send(&[0x91, 0x91, 0x7f], TracerHeaders::default()).is_err());
    agent.flush(2);
    assert_eq!(agent.send(&body("three"), TracerHeaders::default()), Ok(()));
    let worker = agent.jobs.recv().unwrap();
    let job = worker.recv().unwrap();
    assert_eq!(job.ticket.id, 2);
    let sent = spans(&job);
    assert_eq!(sent.iter().map(|s| s.resource.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!((sent[0].meta.get("env"), sent[1].meta.get("env")), (None, Some(&"prod".to_owned())));
    assert!(sent[0].start > 0 && sent[0].metrics["_top_level"] == 1.0);
    drop(agent.inbox);
    agent.thread.join().unwrap();
}

#[test]
fn what_the_lane_gives_back_is_sent_later() {
    let agent = start(Tags::default());
    // The worker holds two jobs and does not work: the third flush finds no room.
    for id in 1..=3 {
        agent.send(&body(&id.to_string()), TracerHeaders::default()).unwrap();
        agent.flush(id);
    }
    assert_eq!(agent.done.recv().unwrap(), FlushDone { signal: Signal::Traces, id: 3, sent: 0, kept: 1 });
    let worker = agent.jobs.recv().unwrap();
    let received: Vec<_> = (0..2).flat_map(|_| spans(&worker.recv().unwrap())).map(|s| s.resource).collect();
    assert_eq!(received, ["1", "2"]);
    agent.send(&body("4"), TracerHeaders::default()).unwrap();
    agent.flush(4);
    let job = worker.recv().unwrap();
    assert_eq!(spans(&job).into_iter().map(|s| s.resource).collect::<Vec<_>>(), ["3", "4"]);
    drop(agent.inbox);
    agent.thread.join().unwrap();
}

#[test]
fn pressure_is_told_once_between_flushes() {
    let agent = start(Tags::default());
    // Half of the budget, in text that zstd cannot make much shorter than three quarters.
    let mut x = 1_u64;
    let mut noise = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (x >> 58) as u8)
    };
    for round in 1..=2 {
        for _ in 0..4 {
            let value: String = (0..4_000_000).map(|_| noise()).collect();
            agent.send(&tagged(&value), TracerHeaders::default()).unwrap();
        }
        agent.flush(round);
        agent.send(&body("after the flush"), TracerHeaders::default()).unwrap();
        let told: Vec<_> = agent.events.try_iter().collect();
        assert!(matches!(told.as_slice(), [Event::Pressure(config::Signal::Traces)]), "{told:?}");
    }
    drop(agent.inbox);
    agent.thread.join().unwrap();
}

#[test]
fn a_panic_costs_the_message_it_happens_in() {
    let before = counters::get(Counter::Panics);
    let agent = start_with(Tags::default(), |state, message| {
        let poisoned = match &message {
            Message::Payload { body, .. } => body.ends_with(b"poison"),
            Message::Flush(ticket) => ticket.id == 1,
            Message::Tags(_) | Message::Stats { .. } | Message::Proxied { .. } => true,
        };
        assert!(!poisoned, "on purpose");
        state.handle(message);
    });
    agent.send(&body("before"), TracerHeaders::default()).unwrap();
    let (reply, outcome) = bounded(1);
    let poison = Body::detached(body("poison"));
    agent.inbox.send(Message::Payload { body: poison, format: Format::V04, headers: Box::default(), reply }).unwrap();
    assert!(outcome.recv().is_err(), "the tracer learns at once that there is no answer");
    agent.inbox.send(Message::Tags(Arc::new(Tags::default()))).unwrap();
    agent.send(&body("after"), TracerHeaders::default()).unwrap();
    // The flush fails at its first attempt; it is answered, and nothing else was lost.
    agent.flush(1);
    let job = agent.jobs.recv().unwrap().recv().unwrap();
    assert_eq!(job.ticket.id, 1);
    assert_eq!(spans(&job).into_iter().map(|s| s.resource).collect::<Vec<_>>(), ["before", "after"]);
    drop(agent.inbox);
    agent.thread.join().unwrap();
    assert!(counters::get(Counter::Panics) >= before + 3);
}

#[test]
fn what_a_panic_lost_may_come_again() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let agent = start_with(Tags::default(), move |state, message| {
        if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            // As far as the first stage: the span is known, and gone.
            let span = super::super::span::Span { trace_id: 7, span_id: span_id("again"), ..Default::default() };
            assert!(!state.stages.is_new(&span), "on purpose");
        }
        state.handle(message);
    });
    let (reply, outcome) = bounded(1);
    let lost = Body::detached(body("again"));
    agent.inbox.send(Message::Payload { body: lost, format: Format::V04, headers: Box::default(), reply }).unwrap();
    assert!(outcome.recv().is_err());
    agent.send(&body("again"), TracerHeaders::default()).unwrap();
    agent.flush(1);
    let job = agent.jobs.recv().unwrap().recv().unwrap();
    assert_eq!(spans(&job).into_iter().map(|s| s.resource).collect::<Vec<_>>(), ["again"]);
    drop(agent.inbox);
    agent.thread.join().unwrap();
}

/// A request to be passed on, of `size` bytes; whether the agent keeps it.
fn proxied(agent: &Running, byte: u8, size: usize) -> Result<(), Payload> {
    use crate::forwarder::{Encoding, Intake, Request, Route};
    let request =
        Request { intake: Intake::Profiles, subdomain: String::new(), target: String::new(), headers: Vec::new() };
    let payload = Payload {
        route: Route::Proxied(Intake::Profiles),
        encoding: Encoding::Identity,
        body: vec![byte; size],
        items: 1,
        headers: Vec::new(),
        request: Some(Box::new(request)),
    };
    let (reply, outcome) = bounded(1);
    agent.inbox.send(Message::Proxied { payload, reply }).unwrap();
    outcome.recv().unwrap()
}

/// More than a third of the room there is for them.
const THIRD: usize = 3 << 20;

#[test]
fn requests_to_be_passed_on_go_out_behind_the_spans() {
    let agent = start(Tags::default());
    assert!(proxied(&agent, b'a', THIRD).is_ok());
    agent.send(&body("span"), TracerHeaders::default()).unwrap();
    assert!(proxied(&agent, b'b', THIRD).is_ok());
    let back = proxied(&agent, b'c', THIRD).unwrap_err();
    assert_eq!((back.body.len(), back.body[0]), (THIRD, b'c'), "what finds no room comes back");
    let sent = |job: Job| job.payloads.iter().map(|p| p.request.is_some().then_some(p.body[0])).collect::<Vec<_>>();
    // The worker holds two jobs and does not work: the third flush finds no room.
    for id in 1..=3 {
        agent.flush(id);
        proxied(&agent, b'0' + u8::try_from(id).unwrap(), THIRD).unwrap();
    }
    let worker = agent.jobs.recv().unwrap();
    assert_eq!(sent(worker.recv().unwrap()), [None, Some(b'a'), Some(b'b')]);
    assert_eq!(sent(worker.recv().unwrap()), [Some(b'1')]);
    agent.flush(4);
    assert_eq!(sent(worker.recv().unwrap()), [Some(b'2'), Some(b'3')]);
    drop(agent.inbox);
    agent.thread.join().unwrap();
}
