//! What the reader hands to the aggregator: whole datagrams in one buffer, and samples that point into it.
//!
//! Filled on the thread `dogstatsd`, read on `metrics-agent`; when it is dropped there, its buffers go home to be filled
//! again, so that reading allocates nothing once the buffers have grown.

use crossbeam_channel::Sender;

use super::parser::{self, Malformed, Metric};
use crate::metrics::Kind;

/// Bytes of datagrams in one batch.
pub const CAPACITY: usize = 64 * 1024;

/// A stretch of the batch's bytes.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// Where `part`, a slice of `whole`, lies in it.
    fn of(part: &[u8], whole: &[u8]) -> Self {
        // An empty literal lies anywhere.
        let start = if part.is_empty() { 0 } else { part.as_ptr() as usize - whole.as_ptr() as usize };
        // A batch is CAPACITY bytes long: both fit.
        Self { start: start as u32, len: part.len() as u32 }
    }

    fn within(self, whole: &[u8]) -> &[u8] {
        &whole[self.start as usize..self.start as usize + self.len as usize]
    }
}

#[derive(Clone, Copy, Debug)]
struct Record {
    name: Span,
    tags: Span,
    /// A set's member; for every other type its values: a range of `Buffers::values`.
    value: Span,
    kind: Kind,
    rate: f64,
    timestamp: u64,
    received: u64,
    partial: bool,
}

/// A line that is no sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Starts with `_e{`.
    Event(&'a [u8]),
    /// Starts with `_sc|`.
    ServiceCheck(&'a [u8]),
}

/// One sample line as the aggregator sees it.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// What the line says.
    pub metric: Metric<'a>,
    /// Its values; empty for a set.
    pub values: &'a [f64],
    /// When it was read, in seconds since the epoch.
    pub received: u64,
}

#[derive(Debug, Default)]
pub(super) struct Buffers {
    bytes: Vec<u8>,
    used: usize,
    records: Vec<Record>,
    values: Vec<f64>,
    lines: Vec<(Span, u64)>,
}

/// Samples, events and service checks in the order they came.
#[derive(Debug, Default)]
pub struct Batch {
    buffers: Buffers,
    home: Option<Sender<Buffers>>,
}

impl Batch {
    /// An empty batch on `buffers`, which go to `home` when it is dropped.
    pub(super) fn new(mut buffers: Buffers, home: Option<Sender<Buffers>>) -> Self {
        buffers.used = 0;
        buffers.records.clear();
        buffers.values.clear();
        buffers.lines.clear();
        Self { buffers, home }
    }

    /// Room for a datagram of `size` bytes, at most [`CAPACITY`]; `None` if the batch is full.
    pub fn spare(&mut self, size: usize) -> Option<&mut [u8]> {
        if self.buffers.bytes.is_empty() {
            self.buffers.bytes = vec![0; CAPACITY];
        }
        let used = self.buffers.used;
        self.buffers.bytes.get_mut(used..used + size)
    }

    /// Takes over the first `length` bytes of what [`Batch::spare`] gave: splits and parses them. `cut` says that the
    /// datagram was longer; its last line, half of which is missing, is dropped. `received` is the time in seconds.
    /// Every line that cannot be read, or only in part, is passed to `malformed`.
    pub fn commit(&mut self, length: usize, cut: bool, received: u64, mut malformed: impl FnMut(Malformed)) {
        let Buffers { bytes, used, records, values, lines } = &mut self.buffers;
        let mut start = *used;
        let mut end = (start + length).min(bytes.len());
        if cut {
            malformed(Malformed::CutOff);
            end = memchr::memrchr(b'\n', &bytes[start..end]).map_or(start, |at| start + at);
        }
        *used = end;
        while start < end {
            let stop = memchr::memchr(b'\n', &bytes[start..end]).map_or(end, |at| start + at);
            let line = &bytes[start..stop];
            start = stop + 1;
            if line.is_empty() {
                continue;
            }
            if line.starts_with(b"_e{") || line.starts_with(b"_sc|") {
                lines.push((Span::of(line, bytes), received));
                continue;
            }
            let first = values.len();
            match parser::parse(line, values) {
                Ok(metric) => {
                    if metric.partial {
                        malformed(Malformed::Value);
                    }
                    records.push(Record {
                        name: Span::of(metric.name, bytes),
                        tags: Span::of(metric.tags, bytes),
                        value: match metric.kind {
                            Kind::Set => Span::of(metric.member, bytes),
                            // Fewer values than bytes: both fit.
                            _ => Span { start: first as u32, len: (values.len() - first) as u32 },
                        },
                        kind: metric.kind,
                        rate: metric.rate,
                        timestamp: metric.timestamp,
                        received,
                        partial: metric.partial,
                    })
                }
                Err(reason) => malformed(reason),
            }
        }
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffers.records.is_empty() && self.buffers.lines.is_empty()
    }

    /// The samples.
    pub fn samples(&self) -> impl Iterator<Item = Sample<'_>> {
        let Buffers { bytes, records, values, .. } = &self.buffers;
        records.iter().map(move |record| {
            let (member, values) = match record.kind {
                Kind::Set => (record.value.within(bytes), &[][..]),
                _ => (&[][..], &values[record.value.start as usize..][..record.value.len as usize]),
            };
            Sample {
                metric: Metric {
                    name: record.name.within(bytes),
                    kind: record.kind,
                    member,
                    tags: record.tags.within(bytes),
                    rate: record.rate,
                    timestamp: record.timestamp,
                    partial: record.partial,
                },
                values,
                received: record.received,
            }
        })
    }

    /// Events and service checks, each with the second it was read.
    pub fn lines(&self) -> impl Iterator<Item = (Line<'_>, u64)> {
        self.buffers.lines.iter().map(|(span, received)| {
            let line = span.within(&self.buffers.bytes);
            (if line.starts_with(b"_e{") { Line::Event(line) } else { Line::ServiceCheck(line) }, *received)
        })
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            // A full or closed channel means that nobody needs them.
            let _ = home.try_send(std::mem::take(&mut self.buffers));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(datagrams: &[&[u8]], cut: bool) -> (Batch, Vec<Malformed>) {
        let mut batch = Batch::default();
        let mut bad = Vec::new();
        for datagram in datagrams {
            batch.spare(datagram.len()).unwrap().copy_from_slice(datagram);
            batch.commit(datagram.len(), cut, 5, |reason| bad.push(reason));
        }
        (batch, bad)
    }

    #[test]
    fn datagrams_become_samples_and_lines() {
        let (batch, bad) = read(&[b"a:1|c\n\nb:2:3|d|#x\n", b"_e{1,1}:a|b\nbad\n_sc|x|0", b"s:m|s"], false);
        let samples: Vec<_> =
            batch.samples().map(|s| (s.metric.name, s.metric.tags, s.values, s.metric.member)).collect();
        assert_eq!(
            samples,
            [(&b"a"[..], &b""[..], &[1.0][..], &b""[..]), (b"b", b"x", &[2.0, 3.0], b""), (b"s", b"", &[], b"m"),]
        );
        let lines: Vec<_> = batch.lines().collect();
        assert_eq!(lines, [(Line::Event(b"_e{1,1}:a|b"), 5), (Line::ServiceCheck(b"_sc|x|0"), 5)]);
        assert_eq!(bad, [Malformed::Shape]);
    }

    #[test]
    fn a_value_left_out_is_told_and_costs_no_other() {
        let (batch, bad) = read(&[b"a:1:nan:2|c\nb:inf|c\nc:1|c"], false);
        let samples: Vec<_> = batch.samples().map(|s| (s.metric.name, s.values)).collect();
        assert_eq!(samples, [(&b"a"[..], &[1.0, 2.0][..]), (b"c", &[1.0])]);
        assert_eq!(bad, [Malformed::Value, Malformed::Value]);
    }

    #[test]
    fn a_datagram_cut_by_the_kernel_loses_its_last_line_only() {
        let (batch, bad) = read(&[b"a:1|c\nb:12|c"], true);
        assert_eq!(batch.samples().map(|s| s.metric.name).collect::<Vec<_>>(), [b"a"]);
        assert_eq!(bad, [Malformed::CutOff]);
        let (batch, bad) = read(&[b"b:12|c"], true);
        assert!(batch.is_empty());
        assert_eq!(bad, [Malformed::CutOff]);
    }

    #[test]
    fn a_full_batch_has_no_room_and_buffers_come_home() {
        let (home, back) = crossbeam_channel::bounded(1);
        let mut batch = Batch::new(Buffers::default(), Some(home));
        let size = CAPACITY / 2;
        for _ in 0..2 {
            batch.spare(size).unwrap()[..6].copy_from_slice(b"a:1|c\n");
            batch.commit(size, false, 1, |_| {});
        }
        assert!(batch.spare(1).is_none());
        drop(batch);
        let again = Batch::new(back.try_recv().unwrap(), None);
        assert!(again.is_empty());
        assert_eq!(again.buffers.bytes.len(), CAPACITY);
    }

    proptest! {
        #[test]
        fn never_panics(datagram in proptest::collection::vec(any::<u8>(), 0..500), cut: bool) {
            let (batch, _) = read(&[&datagram], cut);
            for sample in batch.samples() {
                prop_assert!(!sample.metric.name.is_empty());
            }
        }
    }
}
