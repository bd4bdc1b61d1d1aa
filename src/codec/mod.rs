//! Forms shared by the signals: bytes and texts, no knowledge of what they mean, no I/O.

pub mod pattern;
pub mod protobuf;
pub mod rfc3339;
pub mod sort;
