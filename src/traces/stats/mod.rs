//! Stats of spans: what is counted, by what keys, and how it goes out (spec: traces 4.7, 4.8). Pure; runs on the thread
//! `trace-agent`.
//!
//! | file | what |
//! | --- | --- |
//! | `concentrator` | spans into groups of ten seconds, within a byte budget |
//! | `tags`, `key`, `peer`, `grpc` | what a span counts by |
//! | `groups`, `sketch` | the table of groups, and their durations |
//! | `client` | stats that a tracer computed |
//! | `payload`, `wire`, `gzip` | what goes out |

pub mod client;
pub mod concentrator;
pub mod groups;
pub mod grpc;
pub mod gzip;
pub mod key;
pub mod payload;
pub mod peer;
pub mod sketch;
pub mod tags;
pub mod wire;

pub use concentrator::Concentrator;
