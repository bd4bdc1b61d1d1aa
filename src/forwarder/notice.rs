//! What the user is told of an endpoint: each thing once, until it has changed.
//!
//! Our own lines come back as logs of the function and are sent like them, so that a line for each flush would be paid
//! for. ERROR: the user must act. WARN: data is lost or waits. INFO: it is over. The rest is said at debug level where
//! it happens. Never a key, never a payload.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::endpoints::Target;
use super::outcome::Cause;

/// What has been said about an endpoint.
#[derive(Debug, Default)]
pub(super) struct Notices {
    denied: bool,
    /// Whether that was said of this key, by whichever signal met it first.
    key_denied: Arc<AtomicBool>,
    failing: bool,
    overflow: bool,
    refused: Option<Cause>,
}

impl Notices {
    /// Nothing has been said yet. `key_denied` is shared by all endpoints that have the same key.
    pub(super) fn new(key_denied: Arc<AtomicBool>) -> Self {
        Self { key_denied, ..Self::default() }
    }

    /// The key is refused. That is one thing to do for the user, so one line for all signals.
    pub(super) fn denied(&mut self, target: &Target, status: u16) {
        if std::mem::replace(&mut self.denied, true) {
            return;
        }
        if self.key_denied.swap(true, Ordering::Relaxed) {
            crate::diag::debug!("{} refused the API key too (status {status})", target.host);
        } else {
            log::error!(
                "{} refused the API key (status {status}), data is dropped: check {}",
                target.host,
                target.key_setting
            );
        }
    }

    /// A payload is refused for what it is.
    pub(super) fn refused(&mut self, target: &Target, cause: &Cause) {
        if self.refused.as_ref() == Some(cause) {
            crate::diag::debug!("{} refused a payload again: {cause}", target.host);
        } else {
            log::warn!("{} refused a payload, which is dropped: {cause}", target.host);
            self.refused = Some(cause.clone());
        }
    }

    /// A flush got nothing through.
    pub(super) fn failing(&mut self, target: &Target, cause: &Cause) {
        if !std::mem::replace(&mut self.failing, true) {
            log::warn!("{} takes no data ({cause}): it is kept for the next flush", target.host);
        }
    }

    /// A flush got something through after `failed` that did not.
    pub(super) fn recovered(&mut self, target: &Target, failed: u32) {
        if self.failing {
            log::info!("{} takes data again after {failed} failed flushes", target.host);
        }
        self.failing = false;
        if std::mem::take(&mut self.denied) {
            self.key_denied.store(false, Ordering::Relaxed);
        }
        self.overflow = false;
    }

    /// Kept payloads were dropped.
    pub(super) fn overflow(&mut self, target: &Target, budget: usize) {
        if !std::mem::replace(&mut self.overflow, true) {
            log::warn!("the oldest data for {} is dropped: more than {} KiB wait for it", target.host, budget / 1024);
        }
    }
}
