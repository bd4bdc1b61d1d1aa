//! What thimble knows of itself: its log lines and the page of counters. The only place with shared mutable state.

pub mod counters;
pub mod logger;
