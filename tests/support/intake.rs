//! Datadog's side: takes every payload after a delay, keeps it, and counts what is inside.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use super::http::{Request, Response, serve};

/// A payload.
#[derive(Debug)]
pub struct Arrival {
    pub request: Request,
    /// When the answer was about to be sent.
    pub answered: Instant,
}

/// A running intake.
#[derive(Debug)]
pub struct Intake {
    pub address: SocketAddr,
    arrivals: Receiver<Arrival>,
}

/// What is inside payloads.
#[derive(Debug, Default, PartialEq)]
pub struct Content {
    pub lines: u64,
    pub spans: u64,
    /// The sum of the points of all series.
    pub counted: f64,
    /// Spans that stats were computed of.
    pub hits: u64,
}

impl Intake {
    /// Answers 202 once `delay` has passed.
    pub fn start(delay: Duration) -> Self {
        let (sender, arrivals) = channel();
        let sender = Mutex::new(sender);
        let address = serve(move |request| {
            // The delay is what this intake is asked for: a network's round trip.
            thread::sleep(delay);
            let arrival = Arrival { request, answered: Instant::now() };
            if let Ok(sender) = sender.lock() {
                // Nobody may be interested.
                let _ = sender.send(arrival);
            }
            Response::new(202, "{}")
        });
        Self { address, arrivals }
    }

    /// The variables that make an extension send everything here.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let url = format!("http://{}", self.address);
        ["DD_DD_URL", "DD_APM_DD_URL", "DD_LOGS_CONFIG_LOGS_DD_URL"].map(|name| (name, url.clone())).to_vec()
    }

    /// What arrived and was answered since the last call.
    pub fn take(&self) -> Vec<Arrival> {
        self.arrivals.try_iter().collect()
    }
}

/// Counts what is inside `arrivals`.
pub fn content(arrivals: &[Arrival]) -> Content {
    let mut content = Content::default();
    for Arrival { request, .. } in arrivals {
        let body = match request.header("content-encoding") {
            Some("zstd") => zstd::decode_all(request.body.as_slice()).expect("zstd"),
            Some("gzip") => {
                let mut body = Vec::new();
                MultiGzDecoder::new(request.body.as_slice()).read_to_end(&mut body).expect("gzip");
                body
            }
            _ => request.body.clone(),
        };
        match request.path.as_str() {
            "/api/v2/logs" => {
                let lines: Vec<Value> = serde_json::from_slice(&body).expect("a JSON array");
                content.lines += lines.len() as u64;
            }
            "/api/v0.2/traces" => content.spans += spans(&body),
            "/api/v0.2/stats" => content.hits += hits(&body),
            "/api/v2/series" => content.counted += points(&serde_json::from_slice(&body).expect("JSON")),
            _ => {}
        }
    }
    content
}

fn points(payload: &Value) -> f64 {
    let series = payload["series"].as_array().expect("series");
    let points = series.iter().flat_map(|s| s["points"].as_array().expect("points"));
    points.filter_map(|p| p["value"].as_f64()).sum()
}

/// The sum of the values of all keys `Hits`: msgpack of strings before numbers, in which no other text is that one.
fn hits(payload: &[u8]) -> u64 {
    let mut rest = payload;
    let mut sum = 0;
    while let Some(at) = rest.windows(5).position(|window| window == b"\xa4Hits") {
        rest = &rest[at + 5..];
        let number = |bytes: usize| rest[1..=bytes].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        sum += match rest[0] {
            small @ 0..0x80 => u64::from(small),
            kind @ 0xcc..=0xcf => number(1 << (kind - 0xcc)),
            kind => panic!("hits of kind {kind:#x}"),
        };
    }
    sum
}

/// Counts `AgentPayload.tracerPayloads.chunks.spans`: the fields 5, 6 and 3.
fn spans(payload: &[u8]) -> u64 {
    let tracers = fields(payload).filter(|f| f.0 == 5);
    let chunks = tracers.flat_map(|tracer| fields(tracer.1).filter(|f| f.0 == 6));
    chunks.map(|chunk| fields(chunk.1).filter(|f| f.0 == 3).count() as u64).sum()
}

/// The fields of a protobuf message: number and, if it is length-delimited, content.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let key = varint(&mut rest);
        let length = match key & 7 {
            0 => {
                varint(&mut rest);
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut rest)).expect("a length"),
            5 => 4,
            kind => panic!("wire type {kind}"),
        };
        let (content, after) = rest.split_at(length);
        rest = after;
        Some((key >> 3, content))
    })
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().expect("a whole number");
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}
