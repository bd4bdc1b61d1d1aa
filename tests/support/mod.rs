//! What the budget tests and the benchmark drive the binary with: the smallest Lambda platform and intake that do,
//! on std sockets only, and readers of what the kernel says about a process.
//!
//! Independent of the lab on purpose: it measures, so it must cost little and hide nothing.

// Each program that includes this module uses a part of it.
#![allow(dead_code)]

pub mod budgets;
pub mod http;
pub mod intake;
pub mod namespace;
pub mod platform;
pub mod process;
