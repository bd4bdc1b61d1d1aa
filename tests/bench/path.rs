//! The span path alone: time and instructions for each span, beside what the same bytes cost to copy and to walk.
//!
//! Instructions do not depend on what else the machine does. They are counted by `perf stat` where the processor's
//! counters are to be had, else by valgrind, in this program run again for one case: once with few rounds and once with
//! more, so that what is not part of a round cancels out.

use std::fs;
use std::hint::black_box;

use std::process::Command;
use std::time::Instant;

use thimble::traces::batch::{BUDGET, Batch};
use thimble::traces::msgpack::Reader;
use thimble::traces::pipeline::Piece;
use thimble::traces::{Format, TracerHeaders};

use crate::Subject;
use crate::spans::{Path, SPANS, payload_v04, payload_v05};
use crate::start::count;
use crate::support::budgets;
use crate::table::Row;

/// Rounds whose best is the time.
const ROUNDS: u32 = 40;
/// Rounds whose instructions are counted, the less and the more. In the first of them buffers grow.
const COUNTED: [u32; 2] = [2, 6];

/// What is done to the spans of a body.
#[derive(Clone, Copy)]
enum Work {
    Copy,
    Walk,
    /// All stages at their defaults, with or without stats.
    Encode {
        stats: bool,
    },
    Compress,
}

/// A case: its name, its body and what is done to that.
struct Case {
    name: &'static str,
    format: Format,
    sql: bool,
    work: Work,
}

const fn case(name: &'static str, format: Format, sql: bool, work: Work) -> Case {
    Case { name, format, sql, work }
}

const PLAIN: Work = Work::Encode { stats: false };
const STATS: Work = Work::Encode { stats: true };

const CASES: [Case; 11] = [
    case("v0.4, decoded to encoded", Format::V04, false, PLAIN),
    case("  with stats", Format::V04, false, STATS),
    case("  a fifth with a statement of 200 bytes", Format::V04, true, PLAIN),
    case("  both", Format::V04, true, STATS),
    case("v0.5, decoded to encoded", Format::V05, false, PLAIN),
    case("  with stats", Format::V05, false, STATS),
    case("  a fifth with a statement of 200 bytes", Format::V05, true, PLAIN),
    case("  both", Format::V05, true, STATS),
    case("a copy of the v0.4 body", Format::V04, false, Work::Copy),
    case("a walk over it", Format::V04, false, Work::Walk),
    case("zstd level 1 of what it becomes", Format::V04, false, Work::Compress),
];

impl Case {
    fn body(&self) -> Vec<u8> {
        if self.format == Format::V04 { payload_v04(self.sql) } else { payload_v05(self.sql) }
    }

    /// Does it to `body`, round after round, each within a call of `round`.
    fn run(&self, body: &[u8], rounds: u32, round: &mut dyn FnMut(&mut dyn FnMut())) {
        let mut again = |work: &mut dyn FnMut()| (0..rounds).for_each(|_| round(work));
        match self.work {
            Work::Copy => {
                let mut copy = vec![0; body.len()];
                again(&mut || black_box(&mut copy).copy_from_slice(black_box(body)));
            }
            Work::Walk => again(&mut || black_box(Reader::new(black_box(body), 0).skip()).expect("well formed")),
            Work::Encode { stats } => {
                let mut path = Path::new(if stats { &[("DD_LAMBDA_EXTENSION_COMPUTE_STATS", "true")] } else { &[] });
                again(&mut || path.encode(body, self.format, &mut |_| {}));
            }
            Work::Compress => {
                let mut pieces = Vec::new();
                let mut keep = |piece: Piece<'_>| pieces.push((piece.bytes.to_vec(), piece.spans));
                Path::new(&[]).encode(body, self.format, &mut keep);
                let (headers, mut batch) = (TracerHeaders::default(), Batch::new(1, BUDGET.0));
                again(&mut || {
                    pieces.iter().for_each(|(bytes, spans)| batch.add(Piece { bytes, spans: *spans }, &headers));
                    black_box(batch.take());
                });
            }
        }
    }

    /// Microseconds for a span, the best of all rounds.
    fn micros(&self, body: &[u8]) -> f64 {
        let mut best = f64::INFINITY;
        self.run(body, ROUNDS, &mut |work| {
            let start = Instant::now();
            work();
            best = best.min(start.elapsed().as_secs_f64());
        });
        best * 1e6 / count(SPANS)
    }

    fn row(&self, number: usize, counter: Option<Counter>) -> Row {
        let body = self.body();
        let micros = self.micros(&body);
        let instructions = counter.and_then(|counter| instructions(counter, number, &body));
        let more = format!(
            "{:.2} M/s, {} instructions",
            1.0 / micros,
            instructions.map_or("-".to_owned(), |count| format!("{count:.0}"))
        );
        let limit = match (self.work, self.sql) {
            (Work::Encode { stats: false }, false) => Some(budgets::SPAN_ENCODED_US),
            _ => None,
        };
        match limit {
            Some(limit) => Row::at_most(self.name, micros, "µs", limit),
            None => Row::plain(self.name, micros, "µs"),
        }
        .and(more)
    }
}

/// All cases.
pub fn rows(_: &Subject) -> Vec<Row> {
    let counter = Counter::find();
    CASES.iter().enumerate().map(|(number, case)| case.row(number, counter)).collect()
}

/// What counts instructions.
#[derive(Clone, Copy)]
enum Counter {
    Perf,
    Valgrind,
}

impl Counter {
    /// One that works here.
    fn find() -> Option<Self> {
        [Self::Perf, Self::Valgrind].into_iter().find(|counter| counter.count(&["true"]).is_some())
    }

    /// The instructions of `command`.
    fn count(self, command: &[&str]) -> Option<f64> {
        let mut counted = match self {
            Self::Perf => Command::new("perf"),
            Self::Valgrind => Command::new("valgrind"),
        };
        match self {
            Self::Perf => counted.args(["stat", "-x,", "-e", "instructions:u", "--"]),
            Self::Valgrind => counted.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]),
        };
        let output = counted.args(command).env("LC_ALL", "C").output().ok().filter(|output| output.status.success())?;
        let said = String::from_utf8_lossy(&output.stderr);
        let number = match self {
            Self::Perf => said.lines().find(|line| line.contains("instructions"))?.split(',').next()?,
            Self::Valgrind => said.lines().find_map(|line| line.split_once("Collected : "))?.1,
        };
        number.trim().parse().ok()
    }
}

/// The instructions for a span of the case with this number.
fn instructions(counter: Counter, number: usize, body: &[u8]) -> Option<f64> {
    let program = std::env::current_exe().ok()?;
    let file = std::env::temp_dir().join(format!("thimble-bench-{}", std::process::id()));
    fs::write(&file, body).ok()?;
    let run = |rounds: u32| {
        let (number, rounds) = (number.to_string(), rounds.to_string());
        counter.count(&[program.to_str()?, COUNT, &number, &rounds, file.to_str()?])
    };
    let counts = COUNTED.map(run);
    // What is left behind is a file in the system's folder for such.
    let _ = fs::remove_file(&file);
    let [less, more] = counts;
    Some((more? - less?) / f64::from(COUNTED[1] - COUNTED[0]) / count(SPANS))
}

/// The first argument of this program when its instructions are counted.
pub const COUNT: &str = "--count";

/// What then follows: the number of a case, rounds, and the file with the body.
pub fn counted(arguments: &[String]) {
    let [number, rounds, file] = arguments else { panic!("usage: {COUNT} CASE ROUNDS FILE") };
    let case = &CASES[number.parse::<usize>().expect("the number of a case")];
    let body = fs::read(file).expect("a body");
    case.run(&body, rounds.parse().expect("a number of rounds"), &mut |work| work());
}
