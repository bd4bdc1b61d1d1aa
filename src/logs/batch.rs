//! Logs into payloads: serialised once, compressed as they come (spec: logs 6.7, 6.8).
//!
//! Pure. A batch is a JSON array within the intake's limits. Its start is kept as text; what grows beyond that goes into
//! a compressed stream, so that a burst is never kept raw. Sealed batches wait for a flush within a budget in bytes.
//! Runs on the logs agent's thread.

use std::collections::VecDeque;
use std::io::{self, Write as _};

use zstd::stream::write::Encoder;

use super::entry::Entry;
use super::frame::Frame;
use crate::config::Config;
use crate::diag::counters::{self, Counter};
use crate::diag::repeat::Repeat;
use crate::forwarder::{Encoding, Payload, Route};
use crate::lambda::Tags;

/// Logs in a batch.
pub const MAX_LOGS: u32 = 1000;

/// Bytes of a batch before compression, brackets and commas included: "5 MB", in the strictest reading.
pub const MAX_BATCH: usize = 5_000_000;

/// Bytes of sealed batches that may wait for a flush, and the part of the function's memory that is the limit if it is
/// less; at half of it a flush is asked for. As much again may be with the worker.
pub const BUDGET: (usize, usize) = (16 << 20, 16);

/// Bytes of text at which it goes into the compressed stream. Below it, a batch is compressed in one piece when it is
/// sealed, with tables no larger than the batch needs.
const CHUNK: usize = 64 << 10;

/// The stream looks 256 KB back: logs repeat themselves closer than that, and the default of level 3 costs 2 MB.
const WINDOW_LOG: u32 = 18;

/// The open batch and the sealed ones.
pub struct Batches {
    frame: Frame,
    /// The zstd level; `None` sends text.
    level: Option<i32>,
    open: Open,
    sealed: VecDeque<Payload>,
    /// Bytes that `sealed` may take.
    budget: usize,
    /// The log that is being written.
    entry: Vec<u8>,
    /// Whether a flush was asked for and the budget has not been below half since.
    pressed: bool,
    /// What the user was told of lost logs.
    told: Repeat,
}

#[derive(Default)]
struct Open {
    /// What is not in the stream yet.
    text: Vec<u8>,
    stream: Option<Encoder<'static, Vec<u8>>>,
    /// Bytes before compression.
    len: usize,
    logs: u32,
}

impl Batches {
    /// No logs yet.
    #[must_use]
    pub fn new(config: &Config, tags: &Tags) -> Self {
        let compress = config.logs_use_compression && !config.logs_opw;
        Self {
            frame: Frame::new(tags),
            level: compress.then_some(config.logs_compression_level),
            open: Open::default(),
            sealed: VecDeque::new(),
            budget: config.lambda.share(BUDGET.0, BUDGET.1),
            entry: Vec::new(),
            pressed: false,
            told: Repeat::default(),
        }
    }

    /// Describes the function by `tags` from the next log on.
    pub fn set_tags(&mut self, tags: &Tags) {
        self.frame = Frame::new(tags);
    }

    /// Adds a log.
    pub fn push(&mut self, entry: &Entry<'_>) {
        if self.frame.write(entry, &mut self.entry) {
            counters::count(Counter::LogsTruncated);
        }
        // The comma before it and the bracket behind it.
        if self.open.logs == MAX_LOGS || self.open.len + self.entry.len() + 2 > MAX_BATCH {
            self.seal();
        }
        if let Err(error) = self.open.push(&self.entry, self.level) {
            self.lose(&error);
        }
    }

    /// Seals the open batch and takes everything, oldest first.
    #[must_use]
    pub fn take(&mut self) -> Vec<Payload> {
        self.seal();
        self.entry = Vec::new();
        self.pressed = false;
        std::mem::take(&mut self.sealed).into()
    }

    /// Takes back what could not be handed on, within the budget.
    pub fn restore(&mut self, payloads: Vec<Payload>) {
        for payload in payloads.into_iter().rev() {
            self.sealed.push_front(payload);
        }
        self.enforce_budget();
        // Asking again at once would get the same answer: the next flush comes by itself.
        self.pressed = self.waiting() > self.budget / 2;
    }

    /// Whether to ask for a flush: once, when half the budget is used up.
    pub fn take_pressure(&mut self) -> bool {
        let pressed = self.waiting() > self.budget / 2;
        let asked = std::mem::replace(&mut self.pressed, pressed);
        pressed && !asked
    }

    /// Asks for a flush again: nobody heard it.
    pub fn press_again(&mut self) {
        self.pressed = false;
    }

    /// Bytes of sealed batches.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.sealed.iter().map(|payload| payload.body.len()).sum()
    }

    fn seal(&mut self) {
        let open = std::mem::take(&mut self.open);
        if open.logs == 0 {
            return;
        }
        let items = open.logs;
        match open.finish(self.level) {
            Ok((encoding, body)) => {
                let payload = Payload { route: Route::Logs, encoding, body, items, headers: Vec::new(), request: None };
                self.sealed.push_back(payload);
                self.enforce_budget();
            }
            Err(error) => lost(items, &error),
        }
    }

    /// The stream broke: what is in it cannot be read any more.
    fn lose(&mut self, error: &io::Error) {
        lost(std::mem::take(&mut self.open).logs, error);
    }

    fn enforce_budget(&mut self) {
        let (mut waiting, mut dropped) = (self.waiting(), 0);
        while waiting > self.budget
            && let Some(oldest) = self.sealed.pop_front()
        {
            waiting -= oldest.body.len();
            dropped += u64::from(oldest.items);
        }
        counters::add(Counter::LogsOverflow, dropped);
        if let Some(dropped) = self.told.add(dropped) {
            log::warn!("{dropped} logs so far were dropped: more wait to be sent than there is room for");
        }
    }
}

/// Counts logs that compression lost; that takes a lack of memory.
fn lost(logs: u32, error: &io::Error) {
    counters::add(Counter::LogsUncompressed, u64::from(logs));
    log::warn!("{logs} logs are lost: compression failed: {error}");
}

impl Open {
    fn push(&mut self, entry: &[u8], level: Option<i32>) -> io::Result<()> {
        self.text.push(if self.logs == 0 { b'[' } else { b',' });
        self.text.extend_from_slice(entry);
        self.len += entry.len() + 1;
        self.logs += 1;
        match level {
            Some(level) if self.text.len() >= CHUNK => self.compress(level),
            _ => Ok(()),
        }
    }

    fn compress(&mut self, level: i32) -> io::Result<()> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let mut stream = Encoder::new(Vec::new(), level)?;
                stream.window_log(WINDOW_LOG)?;
                self.stream.insert(stream)
            }
        };
        stream.write_all(&self.text)?;
        self.text.clear();
        Ok(())
    }

    fn finish(mut self, level: Option<i32>) -> io::Result<(Encoding, Vec<u8>)> {
        self.text.push(b']');
        let Some(level) = level else {
            return Ok((Encoding::Identity, self.text));
        };
        match self.stream {
            Some(mut stream) => {
                stream.write_all(&self.text)?;
                Ok((Encoding::Zstd, stream.finish()?))
            }
            None => Ok(match zstd::bulk::compress(&self.text, level) {
                Ok(body) => (Encoding::Zstd, body),
                Err(_) => (Encoding::Identity, self.text),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
