//! Metrics from a real UDP socket to decoded payloads: what goes in is what the intake would read.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use proptest::prelude::*;
use prost::Message as _;
use thimble::diag::counters::{self, Counter};
use thimble::forwarder::{FlushTicket, Payload, Route};
use thimble::lambda::Tags;
use thimble::metrics::aggregate::{Aggregator, Outcome, Point};
use thimble::metrics::dogstatsd::{self, Handle, Socket};
use thimble::metrics::histogram::Statistic;
use thimble::metrics::payload::{Series, Sketches};
use thimble::metrics::settings::{Base, Settings};
use thimble::metrics::{Batch, Message};

#[path = "support/agentpayload.rs"]
mod agentpayload;

use agentpayload::{Dogsketch, Metadata, Origin, Sketch, SketchPayload};

/// The pure half of the metrics agent.
struct Pipeline {
    settings: Settings,
    base: Base,
    aggregator: Aggregator,
    accepted: usize,
}

/// What the intake decoded.
#[derive(Debug, Default)]
struct Arrived {
    sketches: Vec<Sketch>,
    series: Vec<serde_json::Value>,
}

impl Pipeline {
    fn new() -> Self {
        let pairs = [("function_arn", "arn:aws:lambda:x"), ("env", "dev")];
        let tags = Tags { pairs: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into(), ..Tags::default() };
        let settings = Settings {
            compression_level: 1,
            exclude_tags: vec!["function_arn".to_owned()],
            dogstatsd_tags: vec!["team:x".to_owned()],
            statistics: vec![Statistic::Count],
            ..Settings::default()
        };
        let base = Base::new(&settings, &tags);
        Self { settings, base, aggregator: Aggregator::new(8 << 20), accepted: 0 }
    }

    fn take(&mut self, batch: &Batch) {
        for sample in batch.samples() {
            assert_eq!(self.aggregator.add(&sample, &self.settings, &self.base), Outcome::Accepted);
            self.accepted += sample.values.len().max(1);
        }
    }

    fn lines(&mut self, lines: &str, received: u64) {
        let mut batch = Batch::default();
        for line in lines.lines() {
            if batch.spare(line.len()).is_none() {
                self.take(&std::mem::take(&mut batch));
            }
            batch.spare(line.len()).unwrap().copy_from_slice(line.as_bytes());
            batch.commit(line.len(), false, received, |reason| panic!("{line}: {reason}"));
        }
        self.take(&batch);
    }

    fn flush(&mut self, now: u64) -> Arrived {
        let mut series = Series::new(&self.settings, &self.base);
        let mut sketches = Sketches::new(&self.settings, &self.base);
        self.aggregator.flush(now, true, &self.settings, &self.base, &mut |context, point| match point {
            Point::Series(point) => series.push(context, point),
            Point::Sketch { timestamp, sketch } => sketches.push(context, timestamp, sketch),
        });
        let mut arrived = Arrived::default();
        for payload in sketches.finish().into_iter().chain(series.finish()) {
            arrived.read(&payload);
        }
        arrived
    }
}

impl Arrived {
    fn read(&mut self, payload: &Payload) {
        assert!(payload.body.len() < 3_200_000);
        let body = zstd::decode_all(payload.body.as_slice()).unwrap();
        let entries = match payload.route {
            Route::Sketches => {
                let decoded = SketchPayload::decode(body.as_slice()).unwrap();
                let entries = decoded.sketches.len();
                self.sketches.extend(decoded.sketches);
                entries
            }
            Route::Series => {
                assert!(body.len() < 5 << 20);
                let mut decoded: serde_json::Value = serde_json::from_slice(&body).unwrap();
                let serde_json::Value::Array(list) = decoded["series"].take() else { panic!("no series") };
                let entries = list.len();
                self.series.extend(list);
                entries
            }
            other => panic!("{other:?}"),
        };
        assert!(entries <= 1000);
        assert_eq!(entries, payload.items as usize);
    }

    /// The sum of each metric's points.
    fn sums(&self) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for sketch in &self.sketches {
            for point in &sketch.dogsketches {
                *sums.entry(sketch.metric.clone()).or_default() += point.sum;
            }
        }
        for series in &self.series {
            for point in series["points"].as_array().unwrap() {
                *sums.entry(series["metric"].as_str().unwrap().to_owned()).or_default() +=
                    point["value"].as_f64().unwrap();
            }
        }
        sums
    }
}

#[test]
fn a_sketch_as_the_intake_decodes_it() {
    let mut pipeline = Pipeline::new();
    pipeline.lines("my.metric:1:2|d|#b,a\nmy.metric:-3|d|@0.5|#a,b\nmy.metric:0|d|#b,a", 105);
    let arrived = pipeline.flush(120);
    assert_eq!(
        arrived.sketches,
        [Sketch {
            metric: "my.metric".into(),
            host: String::new(),
            tags: ["env:dev", "team:x", "a", "b"].map(Into::into).into(),
            dogsketches: vec![Dogsketch {
                ts: 100,
                cnt: 5,
                min: -3.0,
                max: 2.0,
                avg: -0.6,
                sum: -3.0,
                k: vec![-1409, 0, 1338, 1383],
                n: vec![2, 1, 1, 1],
            }],
            metadata: Some(Metadata {
                origin: Some(Origin { origin_product: 1, origin_category: 38, origin_service: 472 })
            }),
        }]
    );
}

#[test]
fn large_flushes_are_cut_to_the_limits_and_lose_nothing() {
    let mut pipeline = Pipeline::new();
    pipeline.aggregator = Aggregator::new(64 << 20);
    let tag = "t".repeat(900);
    for i in 0..2500 {
        pipeline.lines(&format!("s{i}:1|d|#{tag}{i}\nc{i}:1|c|#{tag}{i}"), 105);
    }
    let arrived = pipeline.flush(120);
    assert_eq!((arrived.sketches.len(), arrived.series.len()), (2500, 2500));
}

struct Reader {
    sender: UdpSocket,
    handle: Handle,
    inbox: Receiver<Message>,
    thread: std::thread::JoinHandle<()>,
}

impl Reader {
    fn start() -> Self {
        let socket = Socket::bind(0, None).unwrap();
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sender.connect((Ipv4Addr::LOCALHOST, socket.port().unwrap())).unwrap();
        let (handle, requests) = dogstatsd::requests().unwrap();
        let (out, inbox) = bounded(8);
        let thread = std::thread::spawn(move || dogstatsd::run(socket, 8192, requests, out));
        Self { sender, handle, inbox, thread }
    }

    fn flush(&self, id: u64, pipeline: &mut Pipeline) {
        let ticket = FlushTicket { id, deadline: Instant::now() + Duration::from_secs(20), ending: false, last: false };
        assert!(self.handle.flush(ticket));
        loop {
            match self.inbox.recv_timeout(Duration::from_secs(60)).unwrap() {
                Message::Samples(batch) => pipeline.take(&batch),
                Message::Flush(ticket) => {
                    assert_eq!(ticket.id, id);
                    return;
                }
                Message::Tags(_) => unreachable!(),
            }
        }
    }

    fn stop(self) {
        drop(self.handle);
        self.thread.join().unwrap();
    }
}

#[test]
fn fifty_thousand_samples_in_bursts_of_five_hundred_all_arrive() {
    let reader = Reader::start();
    let mut pipeline = Pipeline::new();
    let dropped = counters::get(Counter::MetricsKernelDrops);
    for burst in 0..100 {
        for i in 0..500 {
            let line = match i % 5 {
                0 => format!("count:1|c|#burst:{}", burst % 10),
                1 => "rated:1|c|@0.5".to_owned(),
                2 => "dist:2:2|d|#a:b,c:d".to_owned(),
                3 => format!("many:1|c|#i:{i}"),
                _ => "timing:3|ms".to_owned(),
            };
            reader.sender.send(line.as_bytes()).unwrap();
        }
        // A flush is behind everything sent before it: the next burst finds an empty socket, as after a pause.
        reader.flush(burst + 1, &mut pipeline);
        assert_eq!(pipeline.accepted as u64, (burst + 1) * 600, "burst {burst}");
    }
    reader.stop();
    assert_eq!(counters::get(Counter::MetricsKernelDrops), dropped);
    let now = thimble::sys::clock::wall_ms() / 1000;
    let sums = pipeline.flush(now).sums();
    let expected =
        [("count", 10_000.0), ("dist", 40_000.0), ("many", 10_000.0), ("rated", 20_000.0), ("timing.count", 10_000.0)];
    assert_eq!(sums, expected.map(|(name, sum)| (name.to_owned(), sum)).into());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sums_survive_the_whole_way(
        samples in proptest::collection::vec((0..6_usize, "[cd]", 1..1000_u32, 0..4_usize, proptest::bool::ANY), 1..300)
    ) {
        let tags = ["", "|#a:1,b:2", "|#b:2,a:1", "|#a:1"];
        let mut pipeline = Pipeline::new();
        let mut expected: BTreeMap<String, f64> = BTreeMap::new();
        let mut lines = String::new();
        for (name, kind, value, tag, half) in samples {
            let rate = if half { "|@0.5" } else { "" };
            lines.push_str(&format!("{kind}{name}:{value}|{kind}{rate}{}\n", tags[tag]));
            *expected.entry(format!("{kind}{name}")).or_default() += f64::from(value) * if half { 2.0 } else { 1.0 };
        }
        pipeline.lines(&lines, 1_000_005);
        let arrived = pipeline.flush(1_000_006);
        for (name, sum) in arrived.sums() {
            prop_assert!((expected[&name] - sum).abs() < 1e-6, "{} {}", name, sum);
        }
        prop_assert_eq!(arrived.sums().len(), expected.len());
        let mut contexts: Vec<_> = arrived.series.iter().map(|s| format!("{}{}", s["metric"], s["tags"]))
            .chain(arrived.sketches.iter().map(|s| format!("{}{:?}", s.metric, s.tags))).collect();
        let all = contexts.len();
        contexts.sort();
        contexts.dedup();
        prop_assert_eq!(contexts.len(), all, "each context once");
    }
}
