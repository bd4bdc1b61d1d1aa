//! From telemetry elements to logs: which invocation a line belongs to, and which lines there are at all (spec: logs 6.2
//! to 6.4).
//!
//! Pure: owned by the logs agent's thread, but without threads, clocks or I/O. Knows neither rules nor batches. On
//! demand every line finds its invocation: a line before the first START waits for it, a line behind END belongs to the
//! invocation that ended. On Managed Instances invocations run side by side, and nothing is inferred.

use std::collections::VecDeque;

use super::entry::{Durable, Entry, Level, Text};
use super::platform::write_line;
use super::record::{Line, Scratch};
use crate::config::Config;
use crate::lambda::telemetry::{Element, Kind, PlatformKind};

/// Bytes of lines that may wait for their invocation.
const ORPHAN_BUDGET: usize = 1 << 20;

/// What a waiting line costs beside its text.
const ORPHAN_OVERHEAD: usize = size_of::<Orphan>();

/// The mapping and its state.
#[derive(Debug)]
pub struct Mapper {
    /// Which types of records become logs.
    function: bool,
    extension: bool,
    platform: bool,
    /// Whether this is a Managed Instance.
    managed: bool,
    /// The invocation that lines without an id of their own belong to: the present one, else the last one.
    request_id: Option<String>,
    /// Whether that invocation still runs.
    running: bool,
    /// The last handler that ended, and how long it ran in milliseconds.
    runtime: Option<(String, f64)>,
    orphans: Orphans,
    scratch: Scratch,
    line: String,
}

impl Mapper {
    /// For a function configured like this. `last_request_id` is the invocation that a previous process of this sandbox
    /// saw last, if there was one: lines before the next init belong to it.
    #[must_use]
    pub fn new(config: &Config, last_request_id: Option<String>) -> Self {
        let wanted = |kind: &str| config.logs_types.iter().any(|t| t == kind);
        Self {
            function: wanted("function"),
            extension: wanted("extension"),
            platform: wanted("platform"),
            managed: config.lambda.initialization_type == "lambda-managed-instances",
            request_id: last_request_id,
            running: false,
            runtime: None,
            orphans: Orphans::default(),
            scratch: Scratch::default(),
            line: String::new(),
        }
    }

    /// Maps one element; `emit` gets the logs that result, which may be none, its own, or those that waited for it.
    pub fn map(&mut self, element: &Element<'_>, mut emit: impl FnMut(&Entry<'_>)) {
        match &element.kind {
            Kind::Function(raw) if self.function => self.record(element.time_ms, raw, true, &mut emit),
            Kind::Extension(raw) if self.extension => self.record(element.time_ms, raw, false, &mut emit),
            Kind::Platform(event) => self.event(element.time_ms, event, &mut emit),
            Kind::Function(_) | Kind::Extension(_) | Kind::Ignored => {}
        }
    }

    /// Emits what still waits: there will be no START any more.
    pub fn finish(&mut self, mut emit: impl FnMut(&Entry<'_>)) {
        self.orphans.release(self.request_id.as_deref(), &mut emit);
    }

    /// Gives back the memory that an extraordinary line needed.
    pub fn trim(&mut self) {
        self.scratch = Scratch::default();
    }

    fn record(&mut self, time_ms: u64, raw: &str, of_function: bool, emit: &mut impl FnMut(&Entry<'_>)) {
        let line = Line::read(raw, &mut self.scratch);
        let current = self.request_id.as_deref().filter(|_| !self.managed);
        let request_id = line.request_id.as_deref().or(current);
        let durable = line.execution_arn.as_deref().filter(|_| of_function).and_then(Durable::in_arn);
        let entry = Entry { time_ms, level: line.level, text: line.text, request_id, tags: &line.tags, durable };
        if request_id.is_some() || self.managed {
            emit(&entry);
        } else {
            self.orphans.hold(&entry, emit);
        }
    }

    fn event(&mut self, time_ms: u64, event: &PlatformKind, emit: &mut impl FnMut(&Entry<'_>)) {
        let own = match event {
            PlatformKind::InitStart { .. } => {
                if !self.running {
                    // What an init prints belongs to the invocation it is for.
                    self.request_id = None;
                }
                None
            }
            PlatformKind::Start { request_id, .. } => {
                self.request_id = Some(request_id.clone());
                self.running = true;
                Some(request_id.as_str())
            }
            PlatformKind::RuntimeDone { request_id, metrics, .. } => {
                self.runtime = metrics.map(|m| (request_id.clone(), m.duration_ms));
                let known = self.request_id.get_or_insert_with(|| request_id.clone());
                if known == request_id {
                    self.running = false;
                }
                Some(request_id.as_str())
            }
            PlatformKind::Report { request_id, .. } => Some(request_id.as_str()),
            _ => return,
        };
        if self.platform {
            self.platform_line(time_ms, event, own, emit);
        }
        if !matches!(event, PlatformKind::InitStart { .. } | PlatformKind::Report { .. }) {
            self.orphans.release(self.request_id.as_deref(), emit);
        }
    }

    fn platform_line(
        &mut self,
        time_ms: u64,
        event: &PlatformKind,
        own: Option<&str>,
        emit: &mut impl FnMut(&Entry<'_>),
    ) {
        let runtime_ms = self.runtime.as_ref().filter(|(id, _)| Some(id.as_str()) == own).map_or(0.0, |(_, ms)| *ms);
        self.line.clear();
        let Some(level) = write_line(event, runtime_ms, &mut self.line) else { return };
        let current = self.request_id.as_deref().filter(|_| !self.managed);
        let (text, request_id) = (Text::Plain(self.line.as_str()), own.or(current));
        let entry = Entry { time_ms, level, text, request_id, tags: "", durable: None };
        if entry.request_id.is_some() || self.managed {
            emit(&entry);
        } else {
            self.orphans.hold(&entry, emit);
        }
    }
}

/// Lines that wait for their invocation, oldest first.
#[derive(Debug, Default)]
struct Orphans {
    lines: VecDeque<Orphan>,
    bytes: usize,
}

#[derive(Debug)]
struct Orphan {
    time_ms: u64,
    level: Level,
    escaped: bool,
    text: String,
    tags: String,
    /// Name and id.
    durable: Option<(String, String)>,
}

impl Orphan {
    fn cost(&self) -> usize {
        let durable = self.durable.as_ref().map_or(0, |(name, id)| name.len() + id.len());
        self.text.len() + self.tags.len() + durable + ORPHAN_OVERHEAD
    }

    fn entry<'a>(&'a self, request_id: Option<&'a str>) -> Entry<'a> {
        let text = if self.escaped { Text::Escaped(&self.text) } else { Text::Plain(&self.text) };
        let durable = self.durable.as_ref().map(|(name, id)| Durable { name, id });
        Entry { time_ms: self.time_ms, level: self.level, text, request_id, tags: &self.tags, durable }
    }
}

impl Orphans {
    /// Keeps `entry` until it is released. What exceeds the budget goes out without an id, oldest first: a log without
    /// its invocation is better than none.
    fn hold(&mut self, entry: &Entry<'_>, emit: &mut impl FnMut(&Entry<'_>)) {
        let orphan = Orphan {
            time_ms: entry.time_ms,
            level: entry.level,
            escaped: matches!(entry.text, Text::Escaped(_)),
            text: entry.text.as_str().to_owned(),
            tags: entry.tags.to_owned(),
            durable: entry.durable.map(|d| (d.name.to_owned(), d.id.to_owned())),
        };
        self.bytes += orphan.cost();
        self.lines.push_back(orphan);
        while self.bytes > ORPHAN_BUDGET
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes -= oldest.cost();
            emit(&oldest.entry(None));
        }
    }

    fn release(&mut self, request_id: Option<&str>, emit: &mut impl FnMut(&Entry<'_>)) {
        for orphan in std::mem::take(&mut self.lines) {
            emit(&orphan.entry(request_id));
        }
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests;
