//! The page of counters: one relaxed atomic for each thing that is accepted, sent, retried or dropped.
//!
//! Any thread adds; nobody resets. A counter that no code adds to fails the tidy test. Names are stable: they are what
//! the ledger line at SHUTDOWN prints.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A named count of this process.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        /// Every counter with its name, in the order of declaration.
        pub const ALL: &[(Counter, &str)] = &[$((Counter::$variant, $name),)*];
    };
}

counters! {
    // net
    /// Requests that could not be read: malformed, ended early, too slow (400, 408, 417, 431, 501, 505).
    NetMalformed = "net.malformed",
    /// Requests refused with 413.
    NetTooLarge = "net.too_large",
    /// Requests refused with 503 because the byte budget for bodies in flight was used up.
    NetBusy = "net.busy",
    /// Connections closed because every slot was taken.
    NetEvicted = "net.evicted",
    /// Attempts to accept a connection or to start its thread that failed.
    NetAcceptErrors = "net.accept_errors",
    /// Requests whose handler panicked (answered with 500).
    NetPanics = "net.panics",
    // lambda
    /// `next` calls that failed and were tried again.
    NextRetries = "lambda.next_retries",
    /// Events that found the coordinator's inbox full.
    InboxFull = "lambda.inbox_full",
    // logs
    /// Log records that were accepted.
    LogsAccepted = "logs.accepted",
    /// Deliveries refused with 503 because the logs agent was too busy, or had ended; Lambda delivers them again.
    LogsBusy = "logs.busy",
    /// Telemetry elements that could not be read.
    LogsMalformed = "logs.malformed",
    /// Log records dropped by a processing rule.
    LogsExcluded = "logs.excluded",
    /// Log records cut at the intake's limit.
    LogsTruncated = "logs.truncated",
    /// Log records dropped because the byte budget was used up.
    LogsOverflow = "logs.dropped.overflow",
    /// Log records lost because compression failed.
    LogsUncompressed = "logs.dropped.compression",
    /// Log records Lambda says it dropped before delivery.
    LogsDroppedByPlatform = "logs.dropped.platform",
    // metrics
    /// DogStatsD samples that were accepted.
    MetricsAccepted = "metrics.accepted",
    /// DogStatsD lines that could not be parsed.
    MetricsMalformed = "metrics.malformed",
    /// Samples dropped by the blocklist.
    MetricsBlocked = "metrics.blocked",
    /// Samples dropped because the byte budget was used up.
    MetricsOverflow = "metrics.dropped.overflow",
    /// Datagrams the kernel dropped because the socket buffer was full.
    MetricsKernelDrops = "metrics.dropped.kernel",
    /// DogStatsD events accepted.
    EventsAccepted = "metrics.events",
    /// DogStatsD service checks accepted.
    ServiceChecksAccepted = "metrics.service_checks",
    // traces
    /// Spans that were accepted.
    SpansAccepted = "traces.spans",
    /// Trace payloads that could not be decoded.
    TracesMalformed = "traces.malformed",
    /// Trace payloads with more or fewer traces than their header says.
    TracesMiscounted = "traces.miscounted",
    /// Trace payloads refused with 503 or 429 because the trace agent was too busy to take them.
    TracesBusy = "traces.busy",
    /// Trace payloads lost because the trace agent failed on them (500).
    TracesLost = "traces.dropped.failed",
    /// Spans dropped because a span of their trace has no trace id.
    SpansTraceIdZero = "traces.dropped.trace_id_zero",
    /// Spans dropped because a span of their trace has no id.
    SpansSpanIdZero = "traces.dropped.span_id_zero",
    /// Spans dropped because their trace has spans of another trace.
    SpansForeign = "traces.dropped.foreign_span",
    /// Spans dropped because they are longer than the intake takes.
    SpansTooLarge = "traces.dropped.too_large",
    /// Spans dropped because they came before.
    SpansDuplicate = "traces.dropped.duplicate",
    /// Spans dropped because Lambda's own plumbing caused them.
    SpansPlumbing = "traces.dropped.plumbing",
    /// Spans dropped because compression failed.
    SpansCompression = "traces.dropped.compression",
    /// Spans dropped because the byte budget was used up.
    SpansOverflow = "traces.dropped.overflow",
    /// Spans dropped because the resource of their root is to be ignored.
    SpansIgnored = "traces.dropped.ignored_resource",
    /// Spans dropped by a filter on the tags of their root.
    SpansFiltered = "traces.dropped.filtered",
    /// Values of tags, and resources, that were cut because a replace rule made them too long.
    ReplacedCut = "traces.cut.replaced",
    /// Requests to be passed on that were taken: they go out with the next flush.
    ProxyStored = "traces.proxy.stored",
    /// Requests passed on at once and answered by their intake, whatever the answer.
    ProxyRelayed = "traces.proxy.relayed",
    /// Requests refused for what they are (4xx of our own), or for a setting.
    ProxyRefused = "traces.proxy.refused",
    /// Requests lost because their intake could not be reached (502).
    ProxyUnreachable = "traces.proxy.dropped.unreachable",
    /// Requests lost because their intake took too long (504).
    ProxyTooSlow = "traces.proxy.dropped.timeout",
    /// Requests lost because their client broke off, or was too slow.
    ProxyClient = "traces.proxy.dropped.client",
    /// Requests that an additional endpoint did not get: it failed, or the body was too long to be held.
    ProxyAdditional = "traces.proxy.dropped.additional",
    /// Bodies of DogStatsD lines refused because the metrics agent was too busy to take them, or is off (503).
    ProxyStatsd = "traces.proxy.dropped.dogstatsd",
    /// Statements, commands and documents that became `?` as a whole because there was no memory to hide parts of them.
    TextsHidden = "traces.hidden",
    /// Traces whose service shares the default sampling rate because too many services have one of their own.
    SamplingCrowded = "traces.sampling.crowded",
    /// Spans dropped because their trace's tracer or user decided so (priority below 0).
    SampledOutByUser = "traces.sampled_out.user",
    /// Spans dropped because their trace's tracer sampled it out (priority 0).
    SampledOutByPriority = "traces.sampled_out.priority",
    /// Spans dropped by the probabilistic sampler.
    SampledOutByHash = "traces.sampled_out.probabilistic",
    /// Spans of sampled out traces that were kept because of an error.
    RescuedErrors = "traces.rescued.errors",
    /// Spans of sampled out traces that were kept because of a rare span.
    RescuedRare = "traces.rescued.rare",
    /// Spans of sampled out traces that were kept by a rule of their tracer for single spans.
    RescuedSpans = "traces.rescued.single_spans",
    /// Spans counted in stats without their resource and peer tags, or with less accurate durations, because the byte
    /// budget was used up.
    StatsCollapsed = "traces.stats.collapsed",
    /// Payloads of stats from tracers that could not be decoded.
    StatsMalformed = "traces.stats.malformed",
    /// Groups of stats from tracers dropped because the byte budget was used up.
    StatsOverflow = "traces.stats.dropped.overflow",
    // forwarder
    /// Payloads acknowledged by an intake.
    PayloadsSent = "forwarder.sent",
    /// Attempts repeated after a failure.
    PayloadsRetried = "forwarder.retried",
    /// Attempts repeated although the intake may have taken the payload: it was sent, but no answer came.
    PayloadsAmbiguous = "forwarder.retried.ambiguous",
    /// Payloads dropped because the intake refused them for good (4xx).
    PayloadsRefused = "forwarder.dropped.refused",
    /// Payloads dropped because the byte budget of unsent payloads was used up.
    PayloadsOverflow = "forwarder.dropped.overflow",
    /// Payloads not sent because there was no time left before the end.
    PayloadsUnsent = "forwarder.dropped.shutdown",
    // components
    /// Panics caught in a component's thread.
    Panics = "panics",
}

static PAGE: [AtomicU64; ALL.len()] = [const { AtomicU64::new(0) }; ALL.len()];

/// Adds one.
pub fn count(counter: Counter) {
    add(counter, 1);
}

/// Adds `n`.
pub fn add(counter: Counter, n: u64) {
    PAGE[counter as usize].fetch_add(n, Ordering::Relaxed);
}

/// The present value.
#[must_use]
pub fn get(counter: Counter) -> u64 {
    PAGE[counter as usize].load(Ordering::Relaxed)
}

/// What happened so far: every counter that is not zero as `name=value`, in the order of declaration.
#[must_use]
pub fn ledger() -> String {
    let counted = ALL.iter().map(|(counter, name)| (name, get(*counter))).filter(|(_, n)| *n > 0);
    counted.map(|(name, n)| format!("{name}={n}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_names_what_was_counted() {
        add(Counter::LogsUncompressed, 2);
        count(Counter::LogsUncompressed);
        let ledger = ledger();
        let entries: Vec<_> = ledger.split(' ').map(|entry| entry.split_once('=').unwrap()).collect();
        assert!(entries.iter().all(|(name, n)| !name.is_empty() && n.parse::<u64>().unwrap() > 0), "{ledger}");
        assert!(entries.iter().any(|(name, n)| *name == "logs.dropped.compression" && n.parse::<u64>().unwrap() >= 3));
    }
}
