//! Finished pieces on their way to the intake: compressed as they come, never kept raw, within a budget in bytes.
//!
//! An `AgentPayload` is a concatenation of fields, so pieces are appended to one open zstd stream until the payload is as
//! long as the intake takes. Used by the thread `trace-agent`; no I/O.
//!
//! Payloads join the spans of many requests, so of the requests' headers only those go out that mean something for all of
//! them: the languages, joined (as the Go agent), and the sums of what the tracers dropped. Language, version and container
//! of each tracer are in its `TracerPayload`; what it computed itself is on the spans.

use std::collections::VecDeque;
use std::io;

use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation as _, OutBuffer};

use super::TracerHeaders;
use super::pipeline::Piece;
use crate::codec::protobuf as pb;
use crate::config::apm::Sampling;
use crate::forwarder::{Encoding, Payload, Route};

/// Longest payload before compression, in bytes: what the peer sends to this intake. Longer only if a single span is.
pub const MAX_PAYLOAD: usize = 12_000_000;

/// Compressed bytes that may wait for a flush, and the part of the function's memory that is the limit if it is less. At
/// half of it a flush is asked for; beyond it the oldest payloads go first.
pub const BUDGET: (usize, usize) = (16 << 20, 16);

/// How far back zstd looks, as a power of two. What repeats in spans repeats within a few of them: 256 KiB gives the same
/// length as the level's 512 KiB (11.37 and 11.36 MB for 120,000 spans) with a smaller window buffer; 128 KiB gives 8 % more.
const WINDOW_LOG: u32 = 18;

/// The table of level 1, as a power of two, and the shortest match it finds: 16 KiB stay in the fastest cache, where the
/// level's own 64 KiB do not. What repeats in spans is long: 12 % less time for 1 % fewer bytes; text that repeats less
/// takes 5 % more. Other levels keep theirs: who sets one asks for its ratio.
const LEVEL_1: (u32, u32) = (12, 6);

/// Room made for what the encoder puts out at a time.
const OUT: usize = 16 << 10;

/// Most languages a payload names, and the longest name.
const MAX_LANGUAGES: usize = 8;
const MAX_LANGUAGE: usize = 32;

/// How many spans were dropped, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Because the budget was used up.
    pub overflow: u64,
    /// Because compression failed.
    pub compression: u64,
}

/// The open payload and the finished ones.
pub struct Batch {
    level: i32,
    /// What each payload begins with.
    header: Vec<u8>,
    encoder: Option<Encoder<'static>>,
    open: Open,
    /// Whether the open payload is being written; still set only after a panic in that.
    writing: bool,
    sealed: VecDeque<Payload>,
    sealed_bytes: usize,
    budget: usize,
    dropped: Dropped,
}

#[derive(Default)]
struct Open {
    body: Vec<u8>,
    /// Bytes before compression.
    length: usize,
    spans: u32,
    languages: Vec<String>,
    dropped_p0_traces: u64,
    dropped_p0_spans: u64,
}

impl Batch {
    /// An empty batch that compresses at `level` and holds at most `budget` bytes.
    #[must_use]
    pub fn new(level: i32, budget: usize) -> Self {
        Self {
            level,
            header: header(&Sampling::default()),
            encoder: None,
            open: Open::default(),
            writing: false,
            sealed: VecDeque::new(),
            sealed_bytes: 0,
            budget,
            dropped: Dropped::default(),
        }
    }

    /// The same, whose payloads tell of the samplers what `settings` say.
    #[must_use]
    pub fn telling(self, settings: &Sampling) -> Self {
        Self { header: header(settings), ..self }
    }

    /// Notes what is sent of a request whether or not it has spans.
    pub fn request(&mut self, from: &TracerHeaders) {
        self.open.dropped_p0_traces = self.open.dropped_p0_traces.saturating_add(from.dropped_p0_traces);
        self.open.dropped_p0_spans = self.open.dropped_p0_spans.saturating_add(from.dropped_p0_spans);
    }

    /// Compresses a piece into the open payload, or into the next if it is long enough.
    pub fn add(&mut self, piece: Piece<'_>, from: &TracerHeaders) {
        if self.open.length > 0 && self.open.length + piece.bytes.len() > MAX_PAYLOAD {
            self.seal();
        }
        self.writing = true;
        self.open.spans += piece.spans;
        self.open.name(&from.lang);
        match self.write(piece.bytes) {
            Ok(()) => self.open.length += piece.bytes.len(),
            Err(e) => self.give_up(&e),
        }
        self.writing = false;
        self.trim();
    }

    /// Whether there is more than half of what there may be.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.held() > self.budget / 2
    }

    /// Finishes the open payload and takes everything, oldest first.
    #[must_use]
    pub fn take(&mut self) -> Vec<Payload> {
        if self.open.length > 0 {
            self.seal();
        }
        self.sealed_bytes = 0;
        self.sealed.drain(..).collect()
    }

    /// Takes back what could not be handed on.
    pub fn put_back(&mut self, payloads: Vec<Payload>) {
        for payload in payloads.into_iter().rev() {
            self.sealed_bytes += payload.body.len();
            self.sealed.push_front(payload);
        }
        self.trim();
    }

    /// Puts right what a panic may have left half done: a payload that was being written is lost, no other.
    pub fn recover(&mut self) {
        if std::mem::take(&mut self.writing) {
            self.give_up(&io::Error::other("a panic"));
        }
        self.sealed_bytes = self.sealed.iter().map(|payload| payload.body.len()).sum();
    }

    /// What was dropped since the last call.
    pub fn dropped(&mut self) -> Dropped {
        std::mem::take(&mut self.dropped)
    }

    fn held(&self) -> usize {
        self.sealed_bytes + self.open.body.len()
    }

    fn trim(&mut self) {
        while self.held() > self.budget
            && let Some(oldest) = self.sealed.pop_front()
        {
            self.sealed_bytes -= oldest.body.len();
            self.dropped.overflow += u64::from(oldest.items);
        }
    }

    /// Compresses `bytes` into the open payload, which they may begin.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(encoder(self.level)?),
        };
        let header = if self.open.length == 0 { &self.header[..] } else { &[] };
        for bytes in [header, bytes] {
            let mut input = InBuffer::around(bytes);
            while input.pos() < bytes.len() {
                encoder.run(&mut input, &mut room(&mut self.open.body))?;
            }
        }
        Ok(())
    }

    fn seal(&mut self) {
        self.writing = true;
        let finished = match &mut self.encoder {
            Some(encoder) => finish(encoder, &mut self.open.body),
            None => Ok(()),
        };
        match finished {
            Ok(()) => {
                let payload = std::mem::take(&mut self.open).into_payload();
                self.sealed_bytes += payload.body.len();
                self.sealed.push_back(payload);
            }
            Err(e) => self.give_up(&e),
        }
        self.writing = false;
    }

    /// Drops the open payload and the encoder: zstd fails only for want of memory, so the next may succeed.
    fn give_up(&mut self, error: &io::Error) {
        log::warn!("traces: {} spans lost: compression failed: {error}", self.open.spans);
        self.dropped.compression += u64::from(self.open.spans);
        self.open = Open::default();
        self.encoder = None;
    }
}

impl Open {
    fn name(&mut self, language: &str) {
        let fits = !language.is_empty() && language.len() <= MAX_LANGUAGE && self.languages.len() < MAX_LANGUAGES;
        if fits && !self.languages.iter().any(|l| l == language) {
            self.languages.push(language.to_owned());
        }
    }

    fn into_payload(mut self) -> Payload {
        self.body.shrink_to_fit();
        let mut headers = vec![("X-Datadog-Reported-Languages", self.languages.join("|"))];
        for (name, sum) in [
            ("Datadog-Client-Dropped-P0-Traces", self.dropped_p0_traces),
            ("Datadog-Client-Dropped-P0-Spans", self.dropped_p0_spans),
        ] {
            headers.push((name, if sum > 0 { sum.to_string() } else { String::new() }));
        }
        headers.retain(|(_, value)| !value.is_empty());
        Payload {
            route: Route::Traces,
            encoding: Encoding::Zstd,
            body: self.body,
            items: self.spans,
            headers,
            request: None,
        }
    }
}

/// The fields of `AgentPayload` besides its tracer payloads. Host, environment and agent version stay empty; where the user
/// sets no targets, they are those the peer sends.
fn header(settings: &Sampling) -> Vec<u8> {
    const TARGET_TPS: f64 = 60.0;
    let mut out = Vec::with_capacity(20);
    for (field, target) in [(8, settings.target_tps), (9, settings.error_tps)] {
        pb::double(&mut out, field, target.unwrap_or(TARGET_TPS));
    }
    pb::uint(&mut out, 10, u64::from(settings.rare_sampler));
    out
}

fn encoder(level: i32) -> io::Result<Encoder<'static>> {
    let mut encoder = Encoder::new(level)?;
    encoder.set_parameter(CParameter::ChecksumFlag(false))?;
    encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    if level == 1 {
        encoder.set_parameter(CParameter::HashLog(LEVEL_1.0))?;
        encoder.set_parameter(CParameter::MinMatch(LEVEL_1.1))?;
    }
    Ok(encoder)
}

fn finish(encoder: &mut Encoder<'static>, out: &mut Vec<u8>) -> io::Result<()> {
    while encoder.finish(&mut room(out), true)? > 0 {}
    encoder.reinit()
}

/// The end of `out`, with room behind it.
fn room(out: &mut Vec<u8>) -> OutBuffer<'_, Vec<u8>> {
    out.reserve(OUT);
    let end = out.len();
    OutBuffer::around_pos(out, end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libdd_trace_protobuf::pb as oracle;
    use prost::Message as _;

    fn from(lang: &str) -> TracerHeaders {
        TracerHeaders { lang: lang.to_owned(), ..TracerHeaders::default() }
    }

    fn piece(container: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mark = pb::open(&mut bytes, 5);
        pb::bytes(&mut bytes, 1, container.as_bytes());
        pb::close(&mut bytes, mark);
        bytes
    }

    fn decoded(payload: &Payload) -> oracle::AgentPayload {
        oracle::AgentPayload::decode(zstd::decode_all(payload.body.as_slice()).unwrap().as_slice()).unwrap()
    }

    /// Bytes that do not compress.
    fn noise(length: usize) -> String {
        let mut x = 1_u64;
        let mut next = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + (x >> 58) as u8)
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn pieces_become_one_payload() {
        let mut batch = Batch::new(1, BUDGET.0);
        assert!(batch.take().is_empty());
        let mut headers = from("python");
        headers.dropped_p0_spans = 2;
        for container in ["a", "b", "c"] {
            batch.request(&headers);
            batch.add(Piece { bytes: &piece(container), spans: 2 }, &headers);
        }
        batch.add(Piece { bytes: &piece("d"), spans: 1 }, &from("nodejs"));
        batch.add(Piece { bytes: &piece("e"), spans: 1 }, &from(""));
        let payloads = batch.take();
        assert_eq!(payloads.len(), 1);
        assert_eq!((payloads[0].route, payloads[0].encoding, payloads[0].items), (Route::Traces, Encoding::Zstd, 8));
        let expected = [("X-Datadog-Reported-Languages", "python|nodejs"), ("Datadog-Client-Dropped-P0-Spans", "6")]
            .map(|(n, v)| (n, v.to_owned()));
        assert_eq!(payloads[0].headers, expected);
        let payload = decoded(&payloads[0]);
        assert_eq!((payload.target_tps, payload.error_tps, payload.host_name.as_str()), (60.0, 60.0, ""));
        let containers: Vec<_> = payload.tracer_payloads.iter().map(|p| p.container_id.as_str()).collect();
        assert_eq!(containers, ["a", "b", "c", "d", "e"]);

        // The next payload starts anew.
        batch.add(Piece { bytes: &piece("f"), spans: 1 }, &from("go"));
        let payloads = batch.take();
        assert_eq!(decoded(&payloads[0]).tracer_payloads.len(), 1);
        assert_eq!(payloads[0].headers, [("X-Datadog-Reported-Languages", "go".to_owned())]);
    }

    #[test]
    fn payloads_tell_of_the_samplers() {
        let with = |target_tps, error_tps, rare_sampler| Sampling {
            target_tps,
            error_tps,
            rare_sampler,
            ..Sampling::default()
        };
        for (settings, expected) in [
            (with(None, None, false), (60.0, 60.0, false)),
            (with(Some(5.0), None, false), (5.0, 60.0, false)),
            (with(None, Some(10.0), true), (60.0, 10.0, true)),
            (with(Some(0.0), Some(0.0), false), (0.0, 0.0, false)),
        ] {
            let mut batch = Batch::new(1, BUDGET.0).telling(&settings);
            for number in [1, 2] {
                for _ in 0..2 {
                    batch.add(Piece { bytes: &piece("a"), spans: 1 }, &from(""));
                }
                let payload = decoded(&batch.take()[0]);
                let told = (payload.target_tps, payload.error_tps, payload.rare_sampler_enabled);
                assert_eq!(told, expected, "payload {number}");
                assert_eq!(payload.tracer_payloads.len(), 2);
            }
        }
    }

    #[test]
    fn a_panic_costs_only_what_was_being_written() {
        for (writing, lost, kept) in [(false, 0, &[2, 3][..]), (true, 3, &[2, 4][..])] {
            let mut batch = Batch::new(1, BUDGET.0);
            batch.add(Piece { bytes: &piece("a"), spans: 2 }, &from(""));
            batch.seal();
            batch.add(Piece { bytes: &piece("b"), spans: 3 }, &from(""));
            (batch.writing, batch.sealed_bytes) = (writing, usize::MAX / 2);
            batch.recover();
            assert_eq!(batch.dropped(), Dropped { overflow: 0, compression: lost });
            if writing {
                batch.add(Piece { bytes: &piece("c"), spans: 4 }, &from(""));
            }
            let payloads = batch.take();
            assert_eq!(payloads.iter().map(|p| p.items).collect::<Vec<_>>(), kept);
            for payload in &payloads {
                assert_eq!(decoded(payload).tracer_payloads.len(), 1);
            }
        }
    }

    #[test]
    fn payloads_end_at_the_limit() {
        let mut batch = Batch::new(1, BUDGET.0);
        let long = piece(&"x".repeat(5_000_000));
        for _ in 0..5 {
            batch.add(Piece { bytes: &long, spans: 1 }, &from(""));
        }
        assert_eq!(batch.take().iter().map(|p| p.items).collect::<Vec<_>>(), [2, 2, 1]);
        let longer = piece(&"x".repeat(13_000_000));
        batch.add(Piece { bytes: &longer, spans: 7 }, &from(""));
        batch.add(Piece { bytes: &piece("a"), spans: 1 }, &from(""));
        assert_eq!(batch.take().iter().map(|p| p.items).collect::<Vec<_>>(), [7, 1]);
    }

    #[test]
    fn the_budget_drops_the_oldest() {
        let mut batch = Batch::new(1, BUDGET.0);
        let long = piece(&noise(11_000_000));
        let mut spans = 1;
        while batch.dropped == Dropped::default() {
            assert!(batch.held() <= BUDGET.0);
            batch.add(Piece { bytes: &long, spans }, &from(""));
            spans += 1;
            assert!(spans < 10);
        }
        assert!(batch.is_pressed());
        assert_eq!(batch.dropped(), Dropped { overflow: 1, compression: 0 });
        assert_eq!(batch.dropped(), Dropped::default());
        let payloads = batch.take();
        assert!(!batch.is_pressed());
        assert_eq!(payloads[0].items, 2);

        // What comes back is older than what is there, and stays within the budget.
        batch.add(Piece { bytes: &piece("new"), spans: 9 }, &from(""));
        batch.put_back(payloads);
        assert!(batch.held() <= BUDGET.0);
        assert_eq!(batch.take().last().map(|p| p.items), Some(9));
    }
}
