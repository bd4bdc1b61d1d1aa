//! thimble: the Datadog agent for AWS Lambda as one small static binary.
//!
//! (architecture document)

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
