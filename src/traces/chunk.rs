//! What only the spans of a trace together tell: whether they belong together, the root, the sampling priority, the
//! origin, and which spans are top level (spec: traces 4.3). Pure.

use super::span::{Span, Store, Text};

/// The upper half of the trace's id, 16 hexadecimal digits. Tracers write it on one span of a chunk, for all of them.
pub const UPPER_ID: &[u8] = b"_dd.p.tid";

/// Why a trace is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// A span without a trace id.
    TraceIdZero,
    /// A span without an id.
    SpanIdZero,
    /// Spans of different traces.
    ForeignSpan,
}

/// Whether `span` may stand in the trace that began with a span of `trace_id`.
///
/// # Errors
/// Why not.
pub fn admit(span: &Span, trace_id: u64) -> Result<(), Reject> {
    if span.trace_id == 0 {
        Err(Reject::TraceIdZero)
    } else if span.trace_id != trace_id {
        Err(Reject::ForeignSpan)
    } else if span.span_id == 0 {
        Err(Reject::SpanIdZero)
    } else {
        Ok(())
    }
}

/// Where a span is, by its id: built when first needed, because most tracers make it unnecessary.
#[derive(Debug, Default)]
pub struct Index {
    entries: Vec<(u64, u32)>,
    built: bool,
}

impl Index {
    /// Forgets the spans.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.built = false;
    }

    /// Gives memory back, down to `spans` entries.
    pub fn shrink(&mut self, spans: usize) {
        self.entries.shrink_to(spans);
    }

    /// The index of the span with `id`.
    fn find(&mut self, spans: &[Span], id: u64) -> Option<usize> {
        if !self.built {
            self.entries.clear();
            self.entries.extend((0..).zip(spans).map(|(i, span)| (span.span_id, i)));
            // Sorted, not hashed: ids are the tracer's, and no choice of them makes this slow.
            self.entries.sort_unstable();
            self.built = true;
        }
        let found = self.entries.binary_search_by_key(&id, |&(span_id, _)| span_id).ok()?;
        self.entries.get(found).map(|&(_, i)| i as usize)
    }
}

/// The index of the root: from the end, the first span without a parent; else the last whose parent is not among
/// `spans`; else the last. `spans` is not empty.
#[must_use]
pub fn root(spans: &[Span], index: &mut Index) -> usize {
    spans
        .iter()
        .rposition(|span| span.parent_id == 0)
        .or_else(|| spans.iter().rposition(|span| index.find(spans, span.parent_id).is_none()))
        .unwrap_or(spans.len().saturating_sub(1))
}

/// Priority and origin of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The sampling priority, if somebody decided.
    pub priority: Option<i32>,
    /// The pair that says where the trace began, if its tracer does.
    pub origin: Option<u32>,
}

/// Reads the facts of a chunk: the root's priority, else that of the first span that has one; the root's origin.
#[must_use]
pub fn facts(spans: &[Span], root: usize) -> Facts {
    let root = spans.get(root);
    let priority = root.and_then(|span| span.priority).or_else(|| spans.iter().find_map(|span| span.priority));
    Facts { priority, origin: root.and_then(|span| span.known.origin) }
}

/// The upper half of the trace's id, if one of `spans` says it. Looks at all tags: for the few chunks that lose a span.
#[must_use]
pub fn upper_id<'a>(spans: &[Span], body: &'a [u8], store: &'a Store) -> Option<&'a [u8]> {
    spans.iter().find_map(|span| store.meta(span, UPPER_ID, body))
}

/// Marks the top-level spans: those the tracer marked if it says that it did (`by_tracer`), else those without a parent
/// among `spans` and those of another service than their parent.
pub fn mark_top_level(spans: &mut [Span], index: &mut Index, by_tracer: bool, same: impl Fn(Text, Text) -> bool) {
    if by_tracer {
        for span in spans {
            span.top_level = span.tracer_top_level;
        }
        return;
    }
    // Siblings follow one another: remember the last parent.
    let mut last = (0, None);
    for i in 0..spans.len() {
        let parent_id = spans[i].parent_id;
        if parent_id != last.0 {
            last = (parent_id, index.find(spans, parent_id));
        }
        let parent = last.1.filter(|_| parent_id != 0).map(|p| spans[p].service);
        spans[i].top_level =
            parent.is_none_or(|service| service != spans[i].service && !same(service, spans[i].service));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(span_id: u64, parent_id: u64) -> Span {
        Span { trace_id: 9, span_id, parent_id, ..Span::default() }
    }

    fn chunk(ids: &[(u64, u64)]) -> Vec<Span> {
        ids.iter().map(|&(id, parent)| span(id, parent)).collect()
    }

    #[test]
    fn what_belongs_to_a_trace() {
        for (trace_id, span_id, first, expected) in [
            (9, 1, 9, Ok(())),
            (0, 1, 0, Err(Reject::TraceIdZero)),
            (9, 0, 9, Err(Reject::SpanIdZero)),
            (9, 1, 8, Err(Reject::ForeignSpan)),
        ] {
            assert_eq!(admit(&Span { trace_id, span_id, ..Span::default() }, first), expected);
        }
    }

    #[test]
    fn roots() {
        for (ids, expected) in [
            (&[(1, 0)][..], 0),
            (&[(1, 0), (2, 1)], 0),
            (&[(2, 1), (1, 0)], 1),
            // Two without a parent: the last.
            (&[(1, 0), (2, 0), (3, 2)], 1),
            // None without a parent: the last whose parent is elsewhere.
            (&[(1, 7), (2, 8), (3, 2)], 1),
            // A circle: the last.
            (&[(1, 2), (2, 1)], 1),
            (&[(1, 1)], 0),
        ] {
            assert_eq!(root(&chunk(ids), &mut Index::default()), expected, "{ids:?}");
        }
    }

    #[test]
    fn priorities_and_origins() {
        let pairs = [None, Some(1), Some(2)];
        for (spans, root, priority, origin) in [
            (&[(None, 0), (None, 0)][..], 0, None, 0),
            (&[(Some(1), 1), (Some(2), 2)], 1, Some(2), 2),
            (&[(Some(1), 1), (None, 0)], 1, Some(1), 0),
            (&[(None, 1), (Some(-1), 2), (Some(2), 2)], 0, Some(-1), 1),
            (&[(Some(0), 0)], 0, Some(0), 0),
        ] {
            let spans: Vec<Span> = spans
                .iter()
                .map(|&(priority, origin): &(_, usize)| {
                    let mut span = Span { priority, ..Span::default() };
                    span.known.origin = pairs[origin];
                    span
                })
                .collect();
            assert_eq!(facts(&spans, root), Facts { priority, origin: pairs[origin] }, "{spans:?}");
        }
    }

    #[test]
    fn top_level_spans() {
        // Id, parent, service, whether the tracer marked it; then by agent and by tracer.
        let rows = [
            (1, 0, 0, true, true),
            (2, 1, 0, false, false),
            (3, 1, 1, false, true),
            (4, 3, 1, true, false),
            (5, 99, 0, false, true),
            (6, 6, 0, false, false),
            (7, 0, 0, false, true),
        ];
        let body = b"ab";
        let same = |a: Text, b: Text| a.of(body, &[]) == b.of(body, &[]);
        for by_tracer in [false, true] {
            let mut spans: Vec<Span> = rows
                .iter()
                .map(|&(id, parent, service, marked, _)| Span {
                    service: Text::in_body(service, 1),
                    tracer_top_level: marked,
                    ..span(id, parent)
                })
                .collect();
            mark_top_level(&mut spans, &mut Index::default(), by_tracer, same);
            for (span, row) in spans.iter().zip(rows) {
                assert_eq!(span.top_level, if by_tracer { row.3 } else { row.4 }, "{row:?} by tracer: {by_tracer}");
            }
        }
    }
}
