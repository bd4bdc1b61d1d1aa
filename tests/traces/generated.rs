//! Spans of any content arrive as they were sent, and damage to them never as something else: the strategies that make
//! them, and the properties of what becomes of them.

use proptest::prelude::*;

use super::*;

pub fn word() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z_.]{0,12}", 2 => "\\PC{0,8}", 1 => "[a-zé]{60,70}", 1 => "x{120,300}"]
}

fn attribute() -> impl Strategy<Value = pb::AttributeAnyValue> {
    let one = || (0..4_i32, word(), any::<bool>(), any::<i64>(), -1e9..1e9_f64);
    let scalar = one().prop_map(|(kind, string, bool, int, double)| pb::AttributeAnyValue {
        r#type: kind,
        string_value: if kind == 0 { string } else { String::new() },
        bool_value: kind == 1 && bool,
        int_value: if kind == 2 { int } else { 0 },
        double_value: if kind == 3 { double } else { 0.0 },
        array_value: None,
    });
    let array = prop::collection::vec(one(), 0..4).prop_map(|values| {
        let values = values.into_iter().map(|(kind, string, bool, int, double)| pb::AttributeArrayValue {
            r#type: kind,
            string_value: if kind == 0 { string } else { String::new() },
            bool_value: kind == 1 && bool,
            int_value: if kind == 2 { int } else { 0 },
            double_value: if kind == 3 { double } else { 0.0 },
        });
        let array_value = Some(pb::AttributeArray { values: values.collect() });
        pb::AttributeAnyValue { r#type: 4, array_value, ..Default::default() }
    });
    prop_oneof![3 => scalar, 1 => array]
}

prop_compose! {
    fn link()(
        trace_id: u64, trace_id_high: u64, span_id: u64, flags: u32, tracestate in word(),
        attributes in prop::collection::hash_map(word(), word(), 0..3),
    ) -> pb::SpanLink {
        pb::SpanLink { trace_id, trace_id_high, span_id, attributes, tracestate, flags }
    }
}

prop_compose! {
    fn event()(
        time_unix_nano: u64, name in word(), attributes in prop::collection::hash_map(word(), attribute(), 0..4),
    ) -> pb::SpanEvent {
        pb::SpanEvent { time_unix_nano, name, attributes }
    }
}

prop_compose! {
    /// A span that needs no normalisation, and of a type in which nothing is obfuscated.
    fn span()(
        service in "[a-z][a-z0-9]{0,20}", name in "[a-zA-Z][a-z0-9]{0,20}", resource in "\\PC{1,90}", kind in "(x[a-z]{0,9})?",
        span_id in 1_u64.., parent_id: u64, start in NOW - 1_000_000..NOW, duration in 0..1_000_000_i64, error: i32,
        meta in prop::collection::hash_map(word(), word(), 0..30),
        metrics in prop::collection::hash_map(word(), prop_oneof![-1e9..1e9_f64, Just(0.0)], 0..5),
        meta_struct in prop::collection::hash_map(word(), prop::collection::vec(any::<u8>(), 0..90), 0..3),
        span_links in prop::collection::vec(link(), 0..3),
        span_events in prop::collection::vec(event(), 0..3),
    ) -> pb::Span {
        pb::Span {
            service, name, resource, trace_id: 0, span_id, parent_id, start, duration, error, meta, metrics,
            r#type: kind, meta_struct, span_links, span_events,
        }
    }
}

pub fn traces() -> impl Strategy<Value = Vec<Vec<pb::Span>>> {
    let trace = (1_u64.., prop::collection::vec(span(), 1..4)).prop_map(|(trace_id, mut spans)| {
        spans.iter_mut().for_each(|span| span.trace_id = trace_id);
        spans
    });
    prop::collection::vec(trace, 0..4).prop_map(|mut traces| {
        distinct(&mut traces);
        traces
    })
}

/// Numbers traces and their spans in the last bits of their ids: what has the ids of another is the same span again.
pub fn distinct<'a>(traces: impl IntoIterator<Item = &'a mut Vec<pb::Span>>) {
    let number = |id: &mut u64, i: usize| *id = *id & !7 | (i + 1) as u64;
    for (i, trace) in traces.into_iter().enumerate() {
        for (j, span) in trace.iter_mut().enumerate() {
            number(&mut span.trace_id, i);
            number(&mut span.span_id, j);
            if span.parent_id == span.trace_id && span.span_id == span.trace_id {
                span.parent_id = 0;
            }
        }
    }
}

proptest! {
    #[test]
    fn v04_arrives_as_sent(traces in traces()) {
        let outcome = run_untouched(&v04(&traces), Format::V04, &quiet());
        prop_assert_eq!(outcome.result, Ok(()));
        let sent: Vec<pb::Span> = traces.into_iter().flatten().map(with_origin).collect();
        prop_assert_eq!(outcome.tally, Tally { accepted: sent.len() as u64, ..Tally::default() });
        prop_assert_eq!(outcome.spans(), sent.iter().collect::<Vec<_>>());
    }

    #[test]
    fn v05_arrives_as_sent(mut traces in traces()) {
        for span in traces.iter_mut().flatten() {
            // v0.5 has no room for these.
            span.meta_struct.clear();
            span.span_links.clear();
            span.span_events.clear();
        }
        let outcome = run_untouched(&v05(&traces), Format::V05, &quiet());
        prop_assert_eq!(outcome.result, Ok(()));
        let sent: Vec<pb::Span> = traces.into_iter().flatten().map(with_origin).collect();
        prop_assert_eq!(outcome.spans(), sent.iter().collect::<Vec<_>>());
    }

    #[test]
    fn damaged_payloads_are_refused_or_read(
        traces in traces(), format in prop_oneof![Just(Format::V04), Just(Format::V05), Just(Format::V07), Just(Format::Json)],
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5), cut: Option<prop::sample::Index>,
    ) {
        let mut body = match format {
            Format::V04 => v04(&traces),
            Format::V05 => v05(&traces),
            Format::V07 => tracer::v07(&v07::around(traces)),
            _ => tracer::json(&traces).into_bytes(),
        };
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        // `run` checks that what comes out is well formed.
        let outcome = run(&body, format, &TracerHeaders::default(), &tags(&[("env", "prod")]));
        if let Err(e) = outcome.result {
            prop_assert!(e.offset <= body.len());
        }
    }
}
