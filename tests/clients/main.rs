//! Datadog's own libraries, real ones, through the shipped binary: what a Python, Node or Rust function hands to them
//! arrives at the intake as it was made. The environments they run in are made by `make test`. The tracers for Java, Go,
//! Ruby and .NET are not here: nothing but PyPI, npm, crates.io and Debian can be reached where this is built, and none
//! of these has them.

#[path = "../lab/mod.rs"]
mod lab;

#[cfg(feature = "lab")]
mod demo;
mod node;
mod passed;
mod python;
mod rust;
mod session;
mod spans;
mod stats;
mod tap;
mod wire;
