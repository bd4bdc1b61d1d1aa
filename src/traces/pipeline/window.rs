//! The spans of a window on their way through the stages, and what is left of them encoded. Pure.

use super::{Pipeline, Request, Tally};
use crate::diag::counters::{self, Counter};
use crate::traces::chunk::UPPER_ID;
use crate::traces::sampling::{self, Verdict};
use crate::traces::span::Text;
use crate::traces::stages::Fate;
use crate::traces::{Chunk, chunk, encode};

impl Pipeline {
    /// The stages, in their order, over the spans of a window. `fate` is what an earlier window of the same trace decided;
    /// `last` is whether there is no later one.
    pub(super) fn window(
        &mut self,
        body: &[u8],
        request: &mut Request<'_>,
        fate: &mut Option<Fate>,
        last: bool,
        tally: &mut Tally,
    ) {
        let Self { spans, store, writer, .. } = self;
        let Request { headers, tagging, stages, now, full } = request;
        let service = tagging.service.as_bytes();
        stages.clean(spans, body, store, *now, &mut |span, store| {
            tally.plumbing += 1;
            writer.carry(store.meta(span, UPPER_ID, body));
        });
        if spans.is_empty() {
            return;
        }
        let root = stages.root(spans);
        if fate.is_none() {
            *fate = stages.rejects(&spans[root], body, store).map(Fate::Unwanted);
        }
        if let Some(Fate::Unwanted(reason)) = *fate {
            return counters::add(reason.counter(), spans.len() as u64);
        }
        stages.refine(spans, body, store, service, headers);
        let facts = chunk::facts(spans, root);
        writer.facts(facts.priority, store.value(facts.origin).map(|origin| origin.of(body, &store.pool)));
        writer.learn(spans, root, body, store);

        let origin = Some(writer.origin()).filter(|origin| !origin.is_empty());
        let origin = origin.map(|origin| Text::pooled(&mut store.pool, origin));
        let mut chunk = Chunk {
            body,
            store,
            spans,
            root,
            env: std::str::from_utf8(writer.env(tagging)).unwrap_or_default(),
            priority: writer.priority(),
            origin,
        };
        let verdict = stages.decide(&mut chunk, headers, *now, *fate);
        *fate = Some(Fate::Sampled(verdict));
        let priority = chunk.priority;
        writer.decided(priority);
        if verdict == Verdict::SingleSpans {
            writer.carry(chunk::upper_id(spans, body, store));
        }
        if let Some(counter) = verdict.counter().filter(|_| verdict != Verdict::SingleSpans) {
            counters::add(counter, spans.len() as u64);
        }
        if verdict.is_drop() {
            return;
        }

        let overlay = tagging.overlay(headers.client_computed_stats);
        let cx = encode::Context { body, store, overlay };
        for span in &*spans {
            if verdict == Verdict::SingleSpans {
                let kept = sampling::is_single(span, body, store);
                counters::count(if kept { Counter::RescuedSpans } else { Counter::SampledOutByPriority });
                if !kept {
                    continue;
                }
            }
            let taken = writer.span(headers, |out, carried| {
                if !carried.is_empty() && store.find(span, UPPER_ID, body).is_none() {
                    out.encoded(carried);
                }
                encode::span(span, &cx, out)
            });
            *(if taken { &mut tally.accepted } else { &mut tally.too_large }) += 1;
            if !taken || writer.is_full() {
                writer.carry(chunk::upper_id(spans, body, store));
            }
            if writer.is_full() {
                writer.flush(tagging, *full);
            }
        }
        if !last {
            writer.carry(chunk::upper_id(spans, body, store));
        }
        writer.end_chunk();
    }
}
