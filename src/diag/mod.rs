//! What thimble knows of itself: its log lines and the page of counters. The only place with shared mutable state.

pub mod counters;
pub mod logger;
pub mod repeat;

/// Logs at debug level. In place of `log::debug!`, whose compiled-in level is one for the whole program: the debug and
/// trace lines of ureq and rustls, which nobody would see, are 49 KB.
macro_rules! debug {
    ($($argument:tt)+) => {
        if log::max_level() >= log::LevelFilter::Debug {
            $crate::diag::logger::debug(format_args!($($argument)+));
        }
    };
}
pub(crate) use debug;
