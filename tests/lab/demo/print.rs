//! The demo's output for people. Writes to standard output only.

use std::time::Duration;

use crate::lab::intake::{Received, Span};
use crate::lab::time::ms;

use super::{Outcome, Run, check};

/// Longest line of a log that is shown.
const WIDTH: usize = 116;

/// Spans that datadog-lambda makes of every module it imports at a cold start: too many to show.
const IMPORT: &str = "aws.lambda.import";

/// Everything that arrived, invocation by invocation, and what thimble cost.
pub fn report(outcome: &Outcome, received: &Received, python: bool) {
    let function =
        if python { "a Python function (awslambdaric, datadog-lambda, ddtrace)" } else { "a built-in function" };
    println!("\n{function} in a local Lambda, with thimble beside it\n");
    for run in &outcome.runs {
        invocation(run, received);
    }
    others(received);
    costs(outcome, received);
}

/// Whether all arrived; if not, what is missing, and what the extension said.
pub fn verdict(missing: &[String], received: &Received, said: &[String]) {
    let points: i64 = received.sketches.iter().flat_map(|s| &s.points).map(|p| p.cnt).sum();
    let spans = received.spans().count();
    if missing.is_empty() {
        println!("\nall arrived, nothing twice: {} lines, {points} values, {spans} spans", received.logs.len());
        return;
    }
    println!("\nNOT all arrived ({} lines, {points} values, {spans} spans did):", received.logs.len());
    for sentence in missing {
        println!("  - {sentence}");
    }
    if !said.is_empty() {
        println!("thimble said:");
        said.iter().for_each(|line| println!("  {line}"));
    }
}

fn invocation(run: &Run, received: &Received) {
    let result = &run.result;
    let status = format!("{:?}", result.status).to_lowercase();
    println!(
        "{} · request {} · {status} in {}",
        run.step.kind.to_uppercase(),
        result.request_id,
        duration(result.runtime)
    );
    println!("  logs");
    for log in check::lines(run, received) {
        let text = log.message().trim_end().replace(['\r', '\n', '\t'], " ");
        let cut: String = text.chars().take(WIDTH).collect();
        let more = if cut.len() < text.len() { "…" } else { "" };
        println!("    {:<5} {cut}{more}", log.status().unwrap_or("-"));
    }
    println!("  metrics");
    for metric in ["demo.orders", "demo.amount"] {
        let (count, sum, min, max) = check::distribution(received, metric, run.step.kind);
        if count > 0 {
            println!("    {metric:<12} {count} of sum {sum}, from {min} to {max}");
        }
    }
    println!("  spans");
    let spans = check::spans(run, received);
    match spans.first() {
        Some(root) => tree(root, &spans, "", ""),
        None => println!("    none"),
    }
    println!("  thimble");
    match (result.extension, result.flush) {
        (Some(next), Some(flush)) => println!(
            "    done {} after the handler; {} of that are its own, the rest is Lambda, which keeps the event for up to 25 ms",
            duration(next),
            duration(flush)
        ),
        (Some(next), None) => println!("    done {} after the handler", duration(next)),
        (None, _) => println!("    was not done in time"),
    }
    if let Some(memory) = run.memory {
        println!("    {:.2} MB resident, {:.2} MB at most so far", mb(memory.resident_kb), mb(memory.peak_kb));
    }
    println!();
}

/// Distributions that are not of one invocation: what the libraries send for themselves.
fn others(received: &Received) {
    let others: Vec<_> = received.sketches.iter().filter(|s| !s.metric.starts_with("demo.")).collect();
    if others.is_empty() {
        return;
    }
    println!("METRICS OF THE LIBRARIES");
    for sketch in others {
        let (count, sum) = sketch.points.iter().fold((0, 0.0), |(count, sum), p| (count + p.cnt, sum + p.sum));
        println!("    {:<28} {count} of sum {sum}", sketch.metric);
    }
    println!();
}

/// A span and those below it.
fn tree(span: &Span, all: &[&Span], lead: &str, branch: &str) {
    let name = format!("{lead}{branch}{}", span.name);
    let resource = if span.resource == span.name { "" } else { span.resource.as_str() };
    let error = if span.error == 0 { "" } else { "ERROR" };
    let took = duration(Duration::from_nanos(span.duration.unsigned_abs()));
    let line = format!("    {name:<34} {took:>11}  {error:<5}  {:<14} {resource}", span.service);
    println!("{}", line.trim_end());
    let below = match branch {
        "" => String::new(),
        "├─ " => format!("{lead}│  "),
        _ => format!("{lead}   "),
    };
    let mut children: Vec<&&Span> = all.iter().filter(|s| s.parent_id == span.span_id).collect();
    if children.iter().any(|s| s.name == IMPORT) {
        let imports = all.iter().filter(|s| s.name == IMPORT).count();
        println!("    {below}└─ {imports} spans {IMPORT} (not shown)");
        children.retain(|s| s.name != IMPORT);
    }
    children.sort_by_key(|s| s.start);
    for (index, child) in children.iter().enumerate() {
        tree(child, all, &below, if index + 1 < children.len() { "├─ " } else { "└─ " });
    }
}

fn costs(outcome: &Outcome, received: &Received) {
    let or_never = |took: Option<Duration>| took.map_or("never".to_owned(), duration);
    println!("THIMBLE");
    println!(
        "  init      registered after {}, next after {}",
        or_never(outcome.init.registered),
        or_never(outcome.init.extension)
    );
    if let Some(memory) = outcome.runs.last().and_then(|run| run.memory) {
        println!("  memory    {:.2} MB at most, {} threads", mb(memory.peak_kb), memory.threads);
    }
    if let Some(shutdown) = outcome.shutdown {
        let exit = match shutdown.exit {
            Some(exit) => {
                exit.code.map_or(format!("ended by signal {:?}", exit.signal), |code| format!("exit code {code}"))
            }
            None => "killed".to_owned(),
        };
        println!("  shutdown  {exit} after {}", duration(shutdown.took));
    }
    let bytes: usize = received.requests.iter().map(|r| r.raw.len()).sum();
    println!("  sent      {} requests, {:.1} kB", received.requests.len(), bytes as f64 / 1000.0);
}

fn duration(took: Duration) -> String {
    format!("{:.2} ms", ms(took))
}

fn mb(kb: u64) -> f64 {
    kb as f64 / 1024.0
}
