//! A body of `/v0.4/traces` as a tracer writes it.

/// Spans in a body, in traces of [`TRACE`].
pub const SPANS: u64 = 2_000;
const TRACE: u64 = 20;
/// Tags of a span: texts, beside two metrics.
const TAGS: u64 = 25;

fn text(out: &mut Vec<u8>, value: &str) {
    match u8::try_from(value.len()) {
        Ok(short @ 0..32) => out.push(0xa0 | short),
        Ok(length) => out.extend([0xd9, length]),
        Err(_) => panic!("a longer text than these bodies have: {value}"),
    }
    out.extend_from_slice(value.as_bytes());
}

fn map(out: &mut Vec<u8>, entries: u16) {
    out.push(0xde);
    out.extend(entries.to_be_bytes());
}

fn array(out: &mut Vec<u8>, items: u64) {
    out.push(0xdd);
    out.extend((items as u32).to_be_bytes());
}

fn integer(out: &mut Vec<u8>, key: &str, value: u64) {
    text(out, key);
    out.push(0xcf);
    out.extend(value.to_be_bytes());
}

fn float(out: &mut Vec<u8>, key: &str, value: f64) {
    text(out, key);
    out.push(0xcb);
    out.extend(value.to_be_bytes());
}

/// The body number `number`; no two bodies share an id.
pub fn body(number: u64) -> Vec<u8> {
    traces(1 + number * SPANS / TRACE, SPANS / TRACE, TRACE, false)
}

/// The same, with a statement in every third span.
pub fn statements(number: u64) -> Vec<u8> {
    traces(1 + number * SPANS / TRACE, SPANS / TRACE, TRACE, true)
}

/// A body with two spans: what a short invocation leaves behind.
pub fn small(number: u64) -> Vec<u8> {
    traces(1 + number, 1, 2, false)
}

fn traces(first: u64, count: u64, spans: u64, statements: bool) -> Vec<u8> {
    let mut out = Vec::new();
    array(&mut out, count);
    for trace in first..first + count {
        array(&mut out, spans);
        for number in 0..spans {
            span(&mut out, trace, number, statements && number % 3 == 1);
        }
    }
    out
}

fn span(out: &mut Vec<u8>, trace: u64, span: u64, statement: bool) {
    // Spread over 64 bits, as random ids are.
    let trace_id = trace.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let id = |n: u64| trace_id ^ ((n + 1) << 32);
    map(out, 12);
    let kind = if statement { "sql" } else { "http" };
    for (key, value) in [("service", "orders"), ("name", "aws.dynamodb"), ("type", kind)] {
        text(out, key);
        text(out, value);
    }
    let number = trace % 97;
    text(out, "resource");
    text(
        out,
        &match statement {
            true => format!("SELECT o.* FROM orders_{number} AS o WHERE o.id = {trace} AND o.name IN ('a', 'b{span}')"),
            false => format!("GET /orders/{number}"),
        },
    );
    integer(out, "trace_id", trace_id);
    integer(out, "span_id", id(span));
    integer(out, "parent_id", if span == 0 { 0 } else { id(0) });
    integer(out, "start", 1_795_408_606_107_000_000 + trace * 1_000_000 + span * 10_000);
    integer(out, "duration", 1_000_000 + span * 37);
    integer(out, "error", 0);
    text(out, "meta");
    map(out, TAGS as u16);
    for tag in 0..TAGS {
        text(out, &format!("component.tag_{tag:02}"));
        // Some tags tell spans apart, most do not.
        let varies = if tag < 3 { trace * TRACE + span } else { tag };
        text(out, &format!("value-{varies:010}"));
    }
    text(out, "metrics");
    map(out, 2);
    float(out, "_sampling_priority_v1", 1.0);
    float(out, "_dd.measured", 1.0);
}
