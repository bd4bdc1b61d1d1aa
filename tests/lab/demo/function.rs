//! The built-in function: what `tests/functions/python/handler.py` does with Datadog's libraries, done by hand. Runs on
//! the lab's runtime thread.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::lab::platform::{Invocation, Outcome};
use crate::lab::time::epoch_ms;

/// One span in the shape of v0.4.
struct Span<'a> {
    name: &'a str,
    parent: u64,
    start_ms: u64,
    took: Duration,
}

/// Handles one order.
pub fn handler(invocation: &Invocation) -> Outcome {
    let event = &invocation.payload;
    let (kind, order) = (event["kind"].as_str().unwrap_or_default(), event["order"].as_u64().unwrap_or_default());
    let failing = kind == "failing";
    if invocation.cold {
        invocation.print("loading the price list");
    }
    invocation.print(&format!("order {order} received ({kind})"));
    invocation.print(&json!({"level": "WARN", "message": "stock is low", "order": order}).to_string());
    invocation.statsd(&format!("demo.orders:1|d|#kind:{kind}"));
    for amount in event["amounts"].as_array().into_iter().flatten() {
        invocation.statsd(&format!("demo.amount:{amount}|d|#kind:{kind}"));
    }
    let start_ms = epoch_ms(SystemTime::now());
    let took = Duration::from_secs_f64(event["seconds"].as_f64().unwrap_or_default());
    invocation.busy(took);
    let mut spans = vec![
        span(invocation, order, 1, &Span { name: "aws.lambda", parent: 0, start_ms, took }),
        span(invocation, order, 2, &Span { name: "demo.checkout", parent: 1, start_ms, took }),
        span(invocation, order, 3, &Span { name: "demo.validate", parent: 2, start_ms, took: Duration::ZERO }),
    ];
    if failing {
        spans.iter_mut().for_each(|span| span["error"] = json!(1));
    } else {
        spans.push(span(invocation, order, 4, &Span { name: "demo.prices", parent: 2, start_ms, took }));
    }
    invocation.traces(&json!([spans]));
    if failing {
        return Outcome::Error("ValueError", format!("order {order} is empty"));
    }
    invocation.print(&format!("order {order} done"));
    Outcome::Done(json!({"order": order}))
}

fn span(invocation: &Invocation, order: u64, id: u64, span: &Span<'_>) -> Value {
    let mut value = json!({
        "service": "demo",
        "name": span.name,
        "resource": span.name,
        "trace_id": order << 32,
        "span_id": (order << 32) + id,
        "start": span.start_ms * 1_000_000,
        "duration": span.took.as_nanos() as u64,
        "error": 0,
        "meta": {"request_id": invocation.request_id},
        "metrics": {"_sampling_priority_v1": 1.0},
        "type": if span.parent == 0 { "serverless" } else { "" },
    });
    if span.parent != 0 {
        value["parent_id"] = json!((order << 32) + span.parent);
    }
    value
}
