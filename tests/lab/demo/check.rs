//! What must have arrived: every line, metric value and span of every invocation, with the right request and parent, and
//! nothing twice. Pure.

use std::collections::HashMap;

use crate::lab::intake::{Log, Received, Span};

use super::{Outcome, Run};

/// Everything that is missing, wrong or twice, a sentence each.
pub fn missing(outcome: &Outcome, received: &Received) -> Vec<String> {
    let mut wrong = received.problems();
    wrong.extend(received.requests.iter().filter(|r| r.status >= 300).map(|r| format!("{}: {}", r.path, r.status)));
    for run in &outcome.runs {
        let before = wrong.len();
        check_status(run, &mut wrong);
        check_lines(run, received, &mut wrong);
        check_metrics(run, received, &mut wrong);
        check_spans(run, received, &mut wrong);
        for sentence in &mut wrong[before..] {
            *sentence = format!("{}: {sentence}", run.step.kind);
        }
    }
    let init_lines = received.logs.iter().filter(|log| log.message().contains("loading the price list")).count();
    if init_lines != 1 {
        wrong.push(format!("the line printed during init arrived {init_lines} times"));
    }
    check_twice(received, &mut wrong);
    match outcome.shutdown {
        Some(s) if s.told && !s.killed && s.exit.is_some_and(|e| e.code == Some(0)) => {}
        other => wrong.push(format!("thimble did not end with exit code 0 after SHUTDOWN: {other:?}")),
    }
    wrong
}

fn check_status(run: &Run, wrong: &mut Vec<String>) {
    if run.result.status != run.step.status() {
        wrong.push(format!("the invocation ended as {:?}: {}", run.result.status, run.result.response));
    }
}

/// The lines of `run`, in their order.
pub fn lines<'a>(run: &Run, received: &'a Received) -> Vec<&'a Log> {
    let id = Some(run.result.request_id.as_str());
    let mut logs: Vec<&Log> = received.logs.iter().filter(|log| log.request_id() == id).collect();
    logs.sort_by_key(|log| log.timestamp());
    logs
}

fn check_lines(run: &Run, received: &Received, wrong: &mut Vec<String>) {
    let (id, order) = (&run.result.request_id, run.step.order);
    let mut expected = vec![
        format!("START RequestId: {id}"),
        format!("order {order} received ({})", run.step.kind),
        "stock is low".to_owned(),
        format!("END RequestId: {id}"),
        format!("REPORT RequestId: {id}"),
    ];
    expected.push(match run.step.kind {
        "failing" => "[ERROR] ValueError".to_owned(),
        _ => format!("order {order} done"),
    });
    let logs = lines(run, received);
    for text in expected {
        let count = logs.iter().filter(|log| log.message().contains(&text)).count();
        if count != 1 {
            wrong.push(format!("the line {text:?} arrived {count} times"));
        }
    }
}

/// Count, sum, smallest and largest value of the distribution `metric` of one kind of invocation.
pub fn distribution(received: &Received, metric: &str, kind: &str) -> (i64, f64, f64, f64) {
    let tag = format!("kind:{kind}");
    let own = received.sketches.iter().filter(|s| s.metric == metric && s.tags.contains(&tag));
    own.flat_map(|s| &s.points).fold((0, 0.0, f64::INFINITY, f64::NEG_INFINITY), |(cnt, sum, min, max), point| {
        (cnt + point.cnt, sum + point.sum, min.min(point.min), max.max(point.max))
    })
}

fn check_metrics(run: &Run, received: &Received, wrong: &mut Vec<String>) {
    let amounts = run.step.amounts;
    let expected = [("demo.orders", 1, 1.0), ("demo.amount", amounts.len() as i64, amounts.iter().sum())];
    for (metric, count, sum) in expected {
        let (got_count, got_sum, ..) = distribution(received, metric, run.step.kind);
        if got_count != count || (got_sum - sum).abs() > 1e-9 {
            wrong.push(format!("{metric} has {got_count} values of sum {got_sum}, not {count} of {sum}"));
        }
    }
    let own_tags = ["env:demo", "service:demo-service", "team:lab", "functionname:demo-function"];
    for sketch in received.sketches.iter().filter(|s| s.metric == "demo.orders") {
        for tag in own_tags.iter().filter(|tag| !sketch.tags.iter().any(|t| t == *tag)) {
            wrong.push(format!("{} lacks the tag {tag}", sketch.metric));
        }
    }
}

/// The spans of the trace of `run`, its root first.
pub fn spans<'a>(run: &Run, received: &'a Received) -> Vec<&'a Span> {
    let id = &run.result.request_id;
    let root = received.spans().find(|s| s.name == "aws.lambda" && s.meta.get("request_id") == Some(id));
    let Some(root) = root else { return Vec::new() };
    let rest = received.spans().filter(|s| s.trace_id == root.trace_id && s.span_id != root.span_id);
    std::iter::once(root).chain(rest).collect()
}

fn check_spans(run: &Run, received: &Received, wrong: &mut Vec<String>) {
    let spans = spans(run, received);
    let mut expected = vec![("demo.checkout", "aws.lambda"), ("demo.validate", "demo.checkout")];
    if run.step.kind != "failing" {
        expected.push(("demo.prices", "demo.checkout"));
    }
    if spans.is_empty() {
        wrong.push("there is no span aws.lambda with its request id".into());
        return;
    }
    let find = |name: &str| spans.iter().find(|s| s.name == name);
    for (name, parent) in expected {
        match (find(name), find(parent)) {
            (None, _) => wrong.push(format!("the span {name} is missing")),
            (Some(span), Some(parent_span)) if span.parent_id != parent_span.span_id => {
                wrong.push(format!("the parent of the span {name} is not {parent}"));
            }
            _ => {}
        }
    }
    let failed = spans[0].error == 1;
    if failed != (run.step.kind == "failing") {
        wrong.push(format!("the error flag of aws.lambda is {failed}"));
    }
    let took = find("demo.prices").map_or(f64::INFINITY, |s| s.duration as f64 / 1e9);
    if took < run.step.seconds {
        wrong.push(format!("demo.prices took {took} s, not {}", run.step.seconds));
    }
}

/// Spans with the same id, and equal logs.
fn check_twice(received: &Received, wrong: &mut Vec<String>) {
    let mut seen: HashMap<(u64, u64), u32> = HashMap::new();
    for span in received.spans() {
        *seen.entry((span.trace_id, span.span_id)).or_default() += 1;
    }
    wrong.extend(seen.iter().filter(|(_, n)| **n > 1).map(|(id, n)| format!("span {:x} arrived {n} times", id.1)));
    let mut seen: HashMap<String, u32> = HashMap::new();
    for log in &received.logs {
        *seen.entry(log.json.to_string()).or_default() += 1;
    }
    wrong.extend(seen.iter().filter(|(_, n)| **n > 1).map(|(log, n)| format!("a log arrived {n} times: {log}")));
}
