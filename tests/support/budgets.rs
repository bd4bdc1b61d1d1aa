//! The budgets, in one place. They only go down: whoever makes something smaller lowers the number.

/// Bytes of the stripped x86_64 release binary.
pub const BINARY_BYTES: u64 = 3_220_000;
/// Bytes of a layer's archive.
pub const LAYER_BYTES: u64 = 1_575_000;
/// Resident memory in kB once everything is started and no invocation has come.
pub const IDLE_RSS_KB: u64 = 3_000;
/// Threads at that time: the coordinator, `next`, `signals`, three listeners, three aggregators.
pub const IDLE_THREADS: usize = 9;
/// Memory in kB that it has written to by then: stacks, heap, variables. Depends on the program alone.
pub const IDLE_WRITTEN_KB: u64 = 300;
/// Page faults without I/O up to that time. A third of them map the file, and how many pages one of those maps depends on
/// the kernel, the file system and what is in the page cache.
pub const START_FAULTS: u64 = 145;
/// Start to the first `/next`, as a multiple of what a program on raw sockets needs for the same calls.
pub const START_RATIO: f64 = 2.2;
/// Microseconds of CPU for a span with 25 tags in a body of 2,000: received, processed, encoded, compressed, sent.
pub const SPAN_US: f64 = 2.0;
/// Microseconds of that from decoded to encoded, all stages at their defaults.
pub const SPAN_ENCODED_US: f64 = 0.6;
/// Peak resident memory in kB for 120,000 such spans in one invocation.
pub const SPANS_PEAK_KB: u64 = 16_000;
/// Microseconds of CPU for a DogStatsD sample beyond what reading its datagram costs.
pub const SAMPLE_US: f64 = 0.5;
/// Microseconds of CPU for a log line.
pub const LINE_US: f64 = 2.0;
/// Milliseconds from `platform.runtimeDone` to the next `/next` beyond the intake's round trip.
pub const AFTER_MS: f64 = 1.0;
