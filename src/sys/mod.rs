//! What the operating system gives us: clocks, `/proc`, threads. Owns no state and knows nothing of Datadog or Lambda.

#[cfg(target_env = "musl")]
mod backtrace;
pub mod clock;
pub mod random;
pub mod udp;
