//! `make bench`: what thimble costs, as a table with the project's targets.
//!
//! Drives the release binary from outside, in a network namespace; `scripts/bench.sh` builds what is measured and names
//! it in the environment. Arguments select groups by name; `--markdown` prints the table for the README.

mod after;
mod load;
mod msgpack;
mod path;
mod size;
mod spans;
mod start;
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use support::intake::Intake;
use support::namespace;
use support::platform::Platform;
use support::process::{self, Extension};
use table::Row;

/// What is measured.
struct Subject {
    /// The release binary.
    thimble: PathBuf,
    /// The programs on raw sockets.
    floor: PathBuf,
    /// Where the layers are.
    layers: PathBuf,
}

/// A started extension between its two peers.
struct Session {
    extension: Extension,
    platform: Platform,
    intake: Intake,
}

impl Subject {
    fn from_env() -> Option<Self> {
        let path = |name| env::var_os(name).map(PathBuf::from);
        Some(Self { thimble: path("THIMBLE_BIN")?, floor: path("THIMBLE_FLOOR")?, layers: path("THIMBLE_LAYERS")? })
    }

    /// Starts thimble with the flush strategy `end`; hands it over once it has polled `next` and rests.
    fn session(&self, intake_delay: Duration) -> Session {
        self.session_of(intake_delay, |command| command)
    }

    /// The same, from a command that `change` makes of the usual one.
    fn session_of(&self, intake_delay: Duration, change: impl FnOnce(Command) -> Command) -> Session {
        let (platform, intake) = (Platform::start(), Intake::start(intake_delay));
        let mut environment = intake.environment();
        environment.push(("DD_SERVERLESS_FLUSH_STRATEGY", "end".to_owned()));
        environment.push(("DD_LOG_LEVEL", "error".to_owned()));
        let extension = Extension::start(change(process::command(&self.thimble, platform.address, &environment)));
        platform.next();
        extension.settled();
        Session { extension, platform, intake }
    }
}

/// A group of rows: its name and how they are measured.
type Group = (&'static str, fn(&Subject) -> Vec<Row>);

const GROUPS: &[Group] = &[
    ("start", start::start),
    ("idle", start::idle),
    ("size", size::rows),
    ("spans", load::spans),
    ("path", path::rows),
    ("samples", load::samples),
    ("lines", load::lines),
    ("after", after::rows),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some((path::COUNT, case)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        path::counted(case);
        return ExitCode::SUCCESS;
    }
    if !namespace::inside() {
        if let Some(mut again) = namespace::again(arguments.iter().cloned()) {
            let done = again.status().is_ok_and(|status| status.success());
            return if done { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        eprintln!("network namespaces are forbidden here: measuring in place, on the ports of a real agent");
    }
    let Some(subject) = Subject::from_env() else {
        eprintln!("THIMBLE_BIN, THIMBLE_FLOOR and THIMBLE_LAYERS say what to measure: use `make bench`");
        return ExitCode::from(2);
    };
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let groups = GROUPS.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| w == name));
    let rows: Vec<Row> = groups
        .flat_map(|(name, measure)| {
            eprintln!("measuring: {name}");
            measure(&subject)
        })
        .collect();
    let markdown = arguments.iter().any(|a| a == "--markdown");
    print!("{}", if markdown { table::markdown(&rows) } else { table::plain(&rows) });
    if rows.iter().all(Row::reached) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
