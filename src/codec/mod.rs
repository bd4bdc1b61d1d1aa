//! Encoders shared by the signals: bytes out, no knowledge of what they mean, no I/O.

pub mod protobuf;
