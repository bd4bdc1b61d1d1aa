//! What a process costs, from `/proc`. Reads files, on the thread of whoever asks.

use std::fs;

/// A process's memory and threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Resident now, in kB.
    pub resident_kb: u64,
    /// The most there ever was, in kB.
    pub peak_kb: u64,
    /// Threads.
    pub threads: u64,
}

/// The memory of `pid`, if it runs.
pub fn memory(pid: u32) -> Option<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    };
    Some(Memory { resident_kb: field("VmRSS")?, peak_kb: field("VmHWM")?, threads: field("Threads")? })
}
