//! From the start of the process to its first `/next`, beside the floor; and what it costs to be there.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::Subject;
use crate::support::budgets;
use crate::support::platform::Platform;
use crate::support::process::{self, Extension};
use crate::table::Row;

/// Starts of each program. They alternate, and so does who goes first: what else the machine does meets both alike.
const STARTS: usize = 300;
/// How long the idle process is watched.
const WATCH: Duration = Duration::from_secs(3);

/// Microseconds from before the start to the moment the platform has read the first `/next`.
fn first_next(binary: &Path) -> f64 {
    let platform = Platform::start();
    let extension = Extension::start(process::command(binary, platform.address, &[]));
    micros(platform.next() - extension.started)
}

/// What the fastest tenth of the starts stays under. Starts that something else held up say nothing about a program,
/// and would hide the difference: the wait is the same for both.
fn undisturbed(mut starts: Vec<f64>) -> f64 {
    starts.sort_by(f64::total_cmp);
    starts[starts.len() / 10]
}

pub fn start(subject: &Subject) -> Vec<Row> {
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    // The first start reads the files from the disk.
    first_next(&subject.thimble);
    first_next(&subject.floor);
    for round in 0..STARTS {
        if round % 2 == 0 {
            ours.push(first_next(&subject.thimble));
            floor.push(first_next(&subject.floor));
        } else {
            floor.push(first_next(&subject.floor));
            ours.push(first_next(&subject.thimble));
        }
    }
    let medians = [ours.clone(), floor.clone()].map(median);
    let (ours, floor) = (undisturbed(ours), undisturbed(floor));
    vec![
        Row::plain("start to first /next, fastest tenth", ours.round(), "µs"),
        Row::plain("  the same calls on raw sockets", floor.round(), "µs"),
        Row::at_most("  ratio", ours / floor, "x", budgets::START_RATIO),
        Row::plain("  ratio of the medians", medians[0] / medians[1], "x"),
    ]
}

pub fn idle(subject: &Subject) -> Vec<Row> {
    let session = subject.session(Duration::ZERO);
    let extension = &session.extension;
    let switches = extension.switches();
    let watched = Instant::now();
    while watched.elapsed() < WATCH {
        thread::park_timeout(WATCH - watched.elapsed());
    }
    let woken = extension.switches() - switches;
    vec![
        Row::at_most("idle: resident memory", count(extension.memory_kb("VmRSS")), "kB", count(budgets::IDLE_RSS_KB)),
        Row::at_most("idle: written to", count(extension.written_kb()), "kB", count(budgets::IDLE_WRITTEN_KB)),
        Row::at_most("idle: threads", extension.threads() as f64, "", budgets::IDLE_THREADS as f64),
        Row::exactly("idle: wake-ups in 3 s", count(woken), "", 0.0),
        Row::at_most("idle: page faults so far", count(extension.minor_faults()), "", count(budgets::START_FAULTS)),
    ]
}

pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// A count as a figure.
pub fn count(n: u64) -> f64 {
    n as f64
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
