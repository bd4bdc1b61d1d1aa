//! The agent: payloads of every route, pressure, and the lane that gives payloads back.

use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, unbounded};

use super::*;
use crate::forwarder::{FlushDone, Job, Route};
use crate::metrics::payload::tests::plain;

fn batch(lines: &str) -> Batch {
    let mut batch = Batch::default();
    batch.spare(lines.len()).unwrap().copy_from_slice(lines.as_bytes());
    batch.commit(lines.len(), false, 105, |reason| panic!("{reason}"));
    batch
}

fn state(budget: usize) -> State {
    let tags = [("env", "dev"), ("function_arn", "arn:x")];
    let tags = Tags { pairs: tags.map(|(k, v)| (k.to_owned(), v.to_owned())).into(), ..Tags::default() };
    let settings = Settings { compression_level: 1, exclude_tags: vec!["function_arn".into()], ..Settings::default() };
    State::new(Base::new(&settings, &tags), settings, budget)
}

fn ticket(id: u64) -> FlushTicket {
    FlushTicket { id, deadline: Instant::now() + Duration::from_secs(5), ending: false, last: false }
}

fn json(payload: &Payload) -> serde_json::Value {
    serde_json::from_slice(&plain(payload)).unwrap()
}

#[test]
fn every_kind_of_payload() {
    let mut state = state(1 << 20);
    state.take(&batch(
        "a:1|c|#x,dd.internal.resource:db1:database\ng:2|g\nd:3|d\n_e{1,4}:t|a\\nb|d:77|s:jenkins|t:error|#env:dev,y\n_e{1,1}:u|v|p:low|k:k|h:h\n_sc|up|2|m:down|h:h|#z\ndatadog.x:1|c",
    ));
    let payloads = state.payloads(106, false);
    let routes: Vec<_> = payloads.iter().map(|p| (p.route, p.items)).collect();
    assert_eq!(routes, [(Route::Sketches, 1), (Route::Series, 3), (Route::Events, 2), (Route::ServiceChecks, 1)]);
    let mut series = json(&payloads[1])["series"].as_array().unwrap().clone();
    series.sort_by_key(|entry| entry["metric"].to_string());
    let origin =
        serde_json::json!({"origin": {"origin_product": 1, "origin_sub_product": 38, "origin_product_detail": 472}});
    assert_eq!(
        series,
        [
            serde_json::json!({
                "metric": "a", "points": [{"timestamp": 100, "value": 1.0}], "type": 1, "interval": 10,
                "resources": [{"name": "db1", "type": "database"}],
                "tags": ["env:dev", "dd.internal.resource:db1:database", "x"], "metadata": origin,
            }),
            serde_json::json!({
                "metric": "datadog.x", "points": [{"timestamp": 100, "value": 1.0}], "type": 1, "interval": 10,
                "resources": [], "tags": ["env:dev"], "metadata": null,
            }),
            serde_json::json!({
                "metric": "g", "points": [{"timestamp": 100, "value": 2.0}], "type": 3,
                "resources": [], "tags": ["env:dev"], "metadata": origin,
            }),
        ]
    );
    assert_eq!(
        json(&payloads[2]),
        serde_json::json!({"apiKey": "", "internalHostname": "", "events": {"api": [{
            "msg_title": "u", "msg_text": "v", "timestamp": 105, "priority": "low", "host": "h",
            "tags": ["env:dev", "function_arn:arn:x"], "alert_type": "info", "aggregation_key": "k",
            "source_type_name": "",
        }], "jenkins": [{
            "msg_title": "t", "msg_text": "a\nb", "timestamp": 77, "priority": "normal", "host": "",
            "tags": ["env:dev", "function_arn:arn:x", "y"], "alert_type": "error", "aggregation_key": "",
            "source_type_name": "jenkins",
        }]}})
    );
    assert_eq!(
        json(&payloads[3]),
        serde_json::json!([{
            "check": "up", "host_name": "h", "timestamp": 105, "status": 2, "message": "down",
            "tags": ["env:dev", "function_arn:arn:x", "z"],
        }])
    );
    assert!(state.payloads(106, true).is_empty());
}

#[test]
fn pressure_is_told_once_until_the_next_flush() {
    let before = counters::get(Counter::MetricsOverflow);
    let mut state = state(40_000);
    assert!(!state.presses());
    let many: String = (0..400).map(|i| format!("a:1|c|#x:{i}\n")).collect();
    state.take(&batch(&many));
    assert!(state.presses());
    assert!(!state.presses());
    state.handle(Message::Flush(ticket(1)));
    assert!(!state.presses());
    state.take(&batch(&many));
    assert!(state.presses());
    let events = "_e{1,1}:a|b\n".repeat(200);
    state.take(&batch(&events));
    assert!(state.lost > 0);
    assert!(counters::get(Counter::MetricsOverflow) >= before + state.lost);
}

#[test]
fn more_contexts_than_fit_become_payloads_before_the_flush() {
    let mut state = state(64 * 1024);
    let (mut sent, mut early) = (0, 0);
    for i in 0..100 {
        let lines: String = (0..20).map(|n| format!("a:1|d|#user:{i}-{n}\n")).collect();
        state.take(&batch(&lines));
        let payloads = state.relieve(106);
        early += payloads.len();
        sent += payloads.iter().map(|p| p.items).sum::<u32>();
    }
    sent += state.payloads(106, true).iter().map(|p| p.items).sum::<u32>();
    assert_eq!((sent, state.lost), (2000, 0));
    assert!(early > 3, "{early}");
}

#[test]
fn relief_is_not_tried_again_when_no_second_is_left() {
    let mut state = state(64 * 1024);
    let mut relieved = 0;
    for i in 0..200 {
        let lines: String = (0..20).map(|n| format!("a:1|c|#user:{i}-{n}\n")).collect();
        state.take(&batch(&lines));
        relieved += usize::from(!state.relieve(106).is_empty());
    }
    assert_eq!(relieved, 9, "the seconds of a bucket that is open");
    assert!(state.stuck && state.lost > 0);
    assert!(!state.handle(Message::Flush(ticket(1))).is_empty(), "the bucket has ended");
    assert!(!state.stuck);
}

#[test]
fn tags_that_come_later_are_on_what_came_earlier() {
    let mut state = state(1 << 20);
    state.handle(Message::Samples(batch("a:1|g")));
    let tags = Tags { pairs: vec![("region".into(), "here".into())], ..Tags::default() };
    state.handle(Message::Tags(Arc::new(tags)));
    let payloads = state.payloads(106, false);
    assert_eq!(json(&payloads[0])["series"][0]["tags"], serde_json::json!(["region:here"]));
}

/// The thread with a worker that the test plays.
#[test]
fn flushes_reach_the_lane_and_what_it_gives_back_is_kept() {
    let (done, answers) = unbounded::<FlushDone>();
    let (hand, jobs) = unbounded();
    let start = Box::new(move |receiver: Receiver<Job>| hand.send(receiver).is_ok());
    let lane = Lane::new(Signal::Metrics, done, start);
    let (tx, rx) = bounded(16);
    let (events, _inbox) = bounded(1);
    let thread = std::thread::spawn(move || {
        serve(state(1 << 20), Outlet::new(lane, KEPT.0), rx, &events);
    });
    // Nothing to send: answered by the lane, and no worker is started.
    tx.send(Message::Flush(ticket(1))).unwrap();
    assert_eq!(answers.recv().unwrap(), FlushDone { signal: Signal::Metrics, id: 1, sent: 0, kept: 0 });
    assert!(jobs.try_recv().is_err());
    // Two flushes fit into the worker's queue, the third is given back and goes with the fourth.
    for id in 2..=4 {
        tx.send(Message::Samples(batch("d:1|d"))).unwrap();
        tx.send(Message::Flush(ticket(id))).unwrap();
    }
    assert_eq!(answers.recv().unwrap(), FlushDone { signal: Signal::Metrics, id: 4, sent: 0, kept: 1 });
    let jobs = jobs.recv().unwrap();
    for id in [2, 3] {
        let job = jobs.recv().unwrap();
        assert_eq!((job.ticket.id, job.payloads.len()), (id, 1));
    }
    tx.send(Message::Samples(batch("d:1|d"))).unwrap();
    tx.send(Message::Flush(ticket(5))).unwrap();
    let job = jobs.recv().unwrap();
    assert_eq!((job.ticket.id, job.payloads.len()), (5, 2));
    drop(tx);
    thread.join().unwrap();
}

#[test]
fn kept_payloads_are_bounded_by_dropping_the_oldest() {
    let (done, _answers) = unbounded();
    let lane = Lane::new(Signal::Metrics, done, Box::new(|_| false));
    let mut outlet = Outlet::new(lane, KEPT.0);
    for i in 0..10_u32 {
        let body = vec![0; KEPT.0 / 4];
        let encoding = crate::forwarder::Encoding::Zstd;
        outlet.flush(
            ticket(1),
            vec![Payload { route: Route::Series, encoding, body, items: i, headers: Vec::new(), request: None }],
        );
    }
    assert_eq!(outlet.kept.iter().map(|p| p.items).collect::<Vec<_>>(), [6, 7, 8, 9]);
}
