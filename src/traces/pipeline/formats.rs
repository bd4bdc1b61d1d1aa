//! What is around the traces in each format, down to one trace after the other. Pure.

use super::{Pipeline, Request, Tally};
use crate::codec::sort::sort;
use crate::traces::decode::{self, Dialect, Indexed, Inline};
use crate::traces::msgpack::{Fault, Reader};
use crate::traces::payload::Given;
use crate::traces::span::Span;
use crate::traces::{DecodeError, Format, json, names, v07};

impl Pipeline {
    pub(super) fn payload(
        &mut self,
        body: &[u8],
        format: Format,
        request: &mut Request<'_>,
        tally: &mut Tally,
    ) -> Result<(), DecodeError> {
        if body.len() > i32::MAX as usize {
            return Err(Fault::TooLong.at(0));
        }
        if body.is_empty() {
            return Ok(());
        }
        let reader = &mut Reader::new(body, 0);
        let outcome = match format {
            Format::V04 => self.traces(&Inline, reader, request, tally),
            Format::V05 => self.indexed(reader, request, tally),
            Format::V07 => self.tracer_payload(reader, request, tally),
            Format::Json => return self.json(body, request, tally),
            Format::JsonSpans => return self.json_spans(body, request, tally),
        };
        let whole = outcome.and_then(|()| if reader.is_done() { Ok(()) } else { Err(Fault::Trailing) });
        whole.map_err(|fault| reader.fault(fault))
    }

    fn traces<D: Dialect>(
        &mut self,
        d: &D,
        reader: &mut Reader<'_>,
        request: &mut Request<'_>,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let table = self.store.pool.len();
        for _ in 0..reader.array()? {
            self.trace(d, reader, table, request, tally)?;
        }
        Ok(())
    }

    /// v0.5: the table, then the traces.
    fn indexed(&mut self, reader: &mut Reader<'_>, request: &mut Request<'_>, tally: &mut Tally) -> Result<(), Fault> {
        let mut strings = std::mem::take(&mut self.strings);
        strings.clear();
        let outcome = decode::table(reader, &mut self.store.pool, &mut strings)
            .and_then(|()| self.traces(&Indexed(&strings), reader, request, tally));
        self.strings = strings;
        outcome
    }

    /// v0.7: what the payload says, then its chunks.
    fn tracer_payload(
        &mut self,
        reader: &mut Reader<'_>,
        request: &mut Request<'_>,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let about = self.writer.about();
        let chunks = v07::payload(reader, about)?;
        let sent = std::mem::take(&mut about.env);
        names::tag(&String::from_utf8_lossy(&sent), &mut about.env);
        let Some(mut chunks) = chunks else { return Ok(()) };
        // On an error the position is the one inside the chunks.
        self.chunks(&mut chunks, request, tally).inspect_err(|_| *reader = chunks)
    }

    fn chunks(&mut self, reader: &mut Reader<'_>, request: &mut Request<'_>, tally: &mut Tally) -> Result<(), Fault> {
        for _ in 0..reader.array()? {
            let mut given = Given::default();
            let spans = v07::chunk(reader, &mut given)?;
            self.writer.give(given);
            if let Some(mut spans) = spans {
                let outcome = self.trace(&Inline, &mut spans, 0, request, tally);
                outcome.inspect_err(|_| *reader = spans)?;
            }
        }
        Ok(())
    }

    /// JSON: each trace becomes msgpack by itself, so that the memory needed is that of the longest.
    fn json(&mut self, body: &[u8], request: &mut Request<'_>, tally: &mut Tally) -> Result<(), DecodeError> {
        let mut buffer = std::mem::take(&mut self.transcoded);
        let outcome = json::elements(body, &mut buffer, &mut |trace| {
            let mut reader = Reader::new(trace, 0);
            self.trace(&Inline, &mut reader, 0, request, tally).map_err(|fault| reader.fault(fault))
        });
        self.transcoded = buffer;
        outcome
    }

    /// Spans in JSON: they are put together by trace, in the order they came.
    fn json_spans(&mut self, body: &[u8], request: &mut Request<'_>, tally: &mut Tally) -> Result<(), DecodeError> {
        let mut buffer = std::mem::take(&mut self.transcoded);
        let (mut gathered, mut places) = (Vec::new(), Vec::new());
        let outcome = json::elements(body, &mut buffer, &mut |bytes| {
            let (mut reader, mut span) = (Reader::new(bytes, 0), Span::default());
            let read = Inline.span(&mut reader, &mut self.store, &mut span);
            self.store.clear(0);
            if gathered.len() + bytes.len() > json::MAX_ELEMENT {
                return Err(Fault::TooLong.at(0));
            }
            if read.map_err(|fault| reader.fault(fault))? {
                places.push((span.trace_id, gathered.len(), bytes.len()));
                gathered.extend_from_slice(bytes);
            }
            Ok(())
        });
        sort(&mut places);
        for trace in places.chunk_by(|a, b| a.0 == b.0) {
            buffer.clear();
            buffer.push(0xdd);
            buffer.extend_from_slice(&(trace.len() as u32).to_be_bytes());
            for &(_, start, length) in trace {
                buffer.extend_from_slice(gathered.get(start..start + length).unwrap_or_default());
            }
            // They were read once: nothing is wrong with them.
            let _ = self.trace(&Inline, &mut Reader::new(&buffer, 0), 0, request, tally);
        }
        self.transcoded = buffer;
        outcome
    }
}
