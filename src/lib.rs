//! thimble: the Datadog agent for AWS Lambda as one small static binary.
//!
//! It runs beside the user's function as an external Lambda extension, receives logs, metrics and traces on the ports
//! that Datadog's libraries already use, and sends them to Datadog. It is synchronous: one OS thread per component, no
//! async runtime, channels instead of locks. This page is the architecture; each module's page says what it owns.
//!
//! # Bird's-eye view
//!
//! ```text
//! Lambda ──/next──► next ─────────────┐                        ┌► logs-agent ───► forward-logs ──┐
//! Telemetry API ──► daemon ─► logs-agent ─► coordinator ─ flush ┼► metrics-agent ► forward-metrics ├─► Datadog
//! libraries 8124 ─► daemon ───────────┘      (lifecycle)       └► trace-agent ──► forward-traces ─┘
//! statsd 8125 ────► dogstatsd ───────────────────────────────────► metrics-agent
//! tracer 8126 ────► traces ──────────────────────────────────────► trace-agent
//!                      └─ requests whose answer the client needs ─────────────────────────────────► Datadog
//! ```
//!
//! A delivery of the Telemetry API goes whole to the logs agent, which owns the order of records: it puts every line
//! into its batch and then relays the platform events to the coordinator. So when the coordinator hears the end of an
//! invocation and orders a flush, every line delivered with it is already in the batch.
//!
//! A flush is an order through the same channels as the data, so it is a snapshot: whatever was handed over before is
//! ahead of it in the queue. For DogStatsD the order goes to the socket's thread, which first drains the datagrams that
//! are in the kernel's buffer at that moment, and then passes it on.
//!
//! # Threads
//!
//! | thread | owns | may block on |
//! | --- | --- | --- |
//! | `coordinator` (main) | the lifecycle, the flush policy, SHUTDOWN | its inbox, the workers' answers, one deadline |
//! | `next` | the connection to the runtime API | the long poll; the coordinator's permit to poll again |
//! | `signals` | SIGTERM, SIGINT | the iterator |
//! | `daemon` | the listener on 8124 | accept |
//! | `traces` | the listener on 8126 | accept |
//! | connection threads of both | one connection each, at most `Limits::connections` | its socket; an aggregator's channel or answer, an intake that a request is passed on to, with a deadline |
//! | `dogstatsd` | the socket on 8125/udp | poll; the metrics agent's channel |
//! | `logs-agent` | request-id attribution, rules, the open batch | its channel; in the last flush its worker's, with a deadline |
//! | `metrics-agent` | aggregation, sketches | the same |
//! | `trace-agent` | decoding, processing, encoding, compression | the same |
//! | `forward-logs`, `forward-metrics`, `forward-traces` | sending, unsent payloads; started by their first payload | the network, with a deadline |
//!
//! # Invariants
//!
//! - **Invariant: the coordinator never blocks on another component.** It sends with `try_send` and waits with a
//!   deadline; `coordinator::lifecycle` is pure and its tests name every wait.
//! - **Invariant: an idle agent does not wake up.** Every thread blocks on its own input without a timer; timers exist
//!   only while an invocation, a flush or a shutdown is under way. (`tests/binary.rs` counts context switches.)
//! - **Invariant: reply after effect.** A local endpoint answers when the data is with its aggregator.
//! - **Invariant: a flush is a snapshot** and never waits for quiet. (`tests/`: the spine's flush tests.)
//! - **Invariant: after register nothing exits and nothing panics out.** A bad setting is one line and a default, a
//!   port in use turns one component off, a panic in a component is caught and the lifecycle goes on.
//! - **Invariant: memory is bounded by bytes.** Bodies in flight, open batches, contexts and unsent payloads each have a
//!   budget; what is dropped is counted under a name in [`diag::counters`].
//! - **Invariant: only [`forwarder`] opens connections to Datadog**, with one client for every signal; its TLS state is
//!   built at the first connection.
//! - **Invariant: no lock outside [`diag`], no `unsafe`** but the attribute of a name in `src/sys/backtrace.rs`, **and a
//!   module uses only what stands below it**:
//!   `main → app → coordinator, daemon → traces, metrics, logs → forwarder, lambda → net, codec → config, diag → sys`.
//!   (`tests/tidy.rs`.)
//! - **Invariant: what ships contains no async runtime.** (`tests/tidy.rs` reads the dependency tree.)
//!
//! # The start
//!
//! `next` registers on its own thread while the main thread reads the settings and binds every listener; then `next`
//! subscribes to telemetry and polls, and only then the other threads start: the kernel queues what comes for them
//! meanwhile. Nothing else happens before the first `/next`: no TLS, no compression context, no regular expression, no
//! file but `datadog.yaml`; the execution context is read right after it.
//!
//! # Choices
//!
//! - The end of an invocation is `platform.runtimeDone`. Where the platform has no Telemetry API (AWS's emulator, a
//!   refused subscription) `next` is never held back: data goes out when a library tells the end of its handler
//!   (`/lambda/end-invocation`), asks for a flush (`/lambda/flush` with `DD_LOCAL_TEST`), or with the next INVOKE.
//! - A flush holds `next` back for five seconds at most, for one second while an intake is in trouble, and never past
//!   the function's deadline; what is not sent by then goes on in its worker. Shortly before a function's deadline
//!   its data is flushed whether it has ended or not.
//! - At SHUTDOWN what is here is sent at once, then what Lambda still buffers is waited for: 50 ms, or 300 ms at most
//!   while the report of the last invocation or of the init is missing. Then comes the last flush, and the process ends
//!   before Lambda's deadline whatever the intakes do.
//! - A trace goes through the stages of [`traces::stages`], in the Go agent's order. By default all of it goes out, whatever
//!   its sampling priority, and `_dd.compute_stats` asks the backend for statistics; only where the extension computes
//!   them (`DD_LAMBDA_EXTENSION_COMPUTE_STATS`) do its samplers drop anything. The rates told to tracers are 1 unless a
//!   target is set. `/info` says `client_drop_p0s: false`, so that tracers drop nothing either.
//! - A span sent twice is recognised by its ids among the last hundred; one that says it is not finished is no such span.
//! - A request that only passes through is held for the next flush if it is small and its answer tells the client nothing;
//!   others flow to their intake while they come, on the connection's thread.
//! - A resource is cut at 5,000 bytes, as in the Go agent; other values go out at the length they came.
//! - `/lambda/start-invocation` and `/trace-context` answer 200 without trace headers while no trace context is known.

#![deny(unsafe_code)]
#![deny(missing_docs)]

pub mod app;
pub mod codec;
pub mod config;
pub mod coordinator;
pub mod daemon;
pub mod diag;
pub mod forwarder;
pub mod lambda;
pub mod logs;
pub mod metrics;
pub mod net;
pub mod sys;
pub mod traces;

/// The version of this build, as in `Cargo.toml`; the value of the tag `dd_extension_version`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
