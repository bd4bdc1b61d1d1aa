//! Datadog's own libraries, real ones, through the shipped binary: what a Python or Node function hands to them arrives at
//! the intake as it was made. The environments they run in are made by `make test`.

#[path = "../lab/mod.rs"]
mod lab;

#[cfg(feature = "lab")]
mod demo;
mod node;
mod python;
mod session;
mod spans;
