//! The extension as a process, and what `/proc` says about it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::platform::PATIENCE;

/// A started extension; killed when dropped.
#[derive(Debug)]
pub struct Extension {
    child: Child,
    /// Just before it was started.
    pub started: Instant,
}

/// A thread that waits in a system call.
#[derive(Debug, PartialEq)]
pub struct Waiting {
    pub thread: String,
    /// The call's number and arguments, as in `/proc/<pid>/task/<tid>/syscall`.
    pub call: Vec<u64>,
}

/// The environment and the name that Lambda gives to `binary`; everything else of ours stays out.
pub fn command(binary: &Path, platform: SocketAddr, environment: &[(&str, String)]) -> Command {
    let mut command = Command::new(binary);
    command
        .arg0("/opt/extensions/datadog-agent")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("AWS_LAMBDA_RUNTIME_API", platform.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "measured")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
        .env("AWS_REGION", "us-east-1")
        .env("DD_API_KEY", "0123456789abcdef0123456789abcdef")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null());
    command
}

/// `command` on the first processor, where its threads do not interrupt whoever runs.
pub fn aside(command: &Command) -> Command {
    let mut aside = Command::new("taskset");
    aside.args(["--cpu-list", "0", "chrt", "--batch", "0"]).arg(command.get_program()).args(command.get_args());
    aside.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    aside.stdin(Stdio::null());
    aside
}

/// Keeps the calling thread on the first processor.
pub fn stay_on_the_first_processor() {
    let thread = fs::read_link("/proc/thread-self").expect("a /proc");
    let id = thread.file_name().expect("the thread's number");
    let pinned = Command::new("taskset").args(["--cpu-list", "--pid", "0"]).arg(id).stdout(Stdio::null()).status();
    assert!(pinned.is_ok_and(|status| status.success()), "taskset pins a thread of ours");
}

impl Extension {
    pub fn start(mut command: Command) -> Self {
        let started = Instant::now();
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self { child, started }
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }

    fn read(&self, file: &str) -> String {
        let path = self.proc(file);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// A value in kB of `/proc/<pid>/status`: `VmRSS`, `VmHWM`.
    pub fn memory_kb(&self, name: &str) -> u64 {
        field(&self.read("status"), name)
    }

    /// CPU time of the threads that live.
    pub fn cpu(&self) -> Duration {
        let spent = |task: PathBuf| {
            let text = fs::read_to_string(task.join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        };
        Duration::from_nanos(self.tasks().into_iter().filter_map(spent).sum())
    }

    /// Resident memory in kB that is no file's: every page of it was written to.
    pub fn written_kb(&self) -> u64 {
        field(&self.read("smaps_rollup"), "Anonymous")
    }

    /// Page faults that needed no I/O, with those of the child that became the process.
    pub fn minor_faults(&self) -> u64 {
        stat_field(&self.read("stat"), 10)
    }

    /// The folders of its threads.
    fn tasks(&self) -> Vec<PathBuf> {
        fs::read_dir(self.proc("task")).expect("a running process").flatten().map(|entry| entry.path()).collect()
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.tasks().len()
    }

    /// How often its threads were given a processor, until now.
    pub fn switches(&self) -> u64 {
        let statuses = self.tasks().into_iter().filter_map(|task| fs::read_to_string(task.join("status")).ok());
        statuses.map(|s| field(&s, "voluntary_ctxt_switches") + field(&s, "nonvoluntary_ctxt_switches")).sum()
    }

    /// Its threads, each with the call it waits in; `None` if one is running.
    pub fn waiting(&self) -> Option<Vec<Waiting>> {
        let thread = |task: &PathBuf| {
            let name = fs::read_to_string(task.join("comm")).ok()?.trim().to_owned();
            let line = fs::read_to_string(task.join("syscall")).ok()?;
            let number = |word: &str| match word.strip_prefix("0x") {
                Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok(),
                None => word.parse().ok(),
            };
            // "running" is no number.
            let call = line.split_whitespace().map(number).collect::<Option<Vec<u64>>>()?;
            Some(Waiting { thread: name, call })
        };
        self.tasks().iter().map(thread).collect()
    }

    /// Waits until every thread waits, and has stayed so from one look to the next.
    pub fn settled(&self) -> Vec<Waiting> {
        let deadline = Instant::now() + PATIENCE;
        let mut before = (None, 0);
        loop {
            let now = (self.waiting(), self.switches());
            if now.0.is_some() && now == before {
                return now.0.unwrap_or_default();
            }
            assert!(Instant::now() < deadline, "threads of the extension keep running: {now:?}");
            before = now;
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Whether something listens on `port` in its network namespace; `table` is `tcp`, `udp`.
    pub fn listens(&self, table: &str, port: u16) -> bool {
        let suffix = format!(":{port:04X}");
        let tables = [table.to_owned(), format!("{table}6")];
        let text: String =
            tables.iter().map(|t| fs::read_to_string(self.proc(&format!("net/{t}"))).unwrap_or_default()).collect();
        text.lines().filter_map(|line| line.split_whitespace().nth(1)).any(|local| local.ends_with(&suffix))
    }

    /// Waits for its end.
    pub fn exit(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the extension does not end");
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

impl Drop for Extension {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number after `name:` in a file like `/proc/<pid>/status`.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_else(|| panic!("{name}: {status}"))
}

/// The field of `/proc/<pid>/stat` with this number, as in proc(5): past the name, which may hold anything.
fn stat_field(stat: &str, number: usize) -> u64 {
    let after_name = stat.rsplit_once(')').expect("a name in parentheses").1;
    after_name.split_whitespace().nth(number - 3).and_then(|word| word.parse().ok()).expect("a number")
}
