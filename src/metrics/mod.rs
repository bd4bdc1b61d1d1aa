//! Metrics: DogStatsD in, series, sketches, events and service checks out.
//!
//! `dogstatsd` is the thread `dogstatsd` (the socket and the parser), `agent` the thread `metrics-agent` (aggregation
//! and payloads); the rest is pure.
