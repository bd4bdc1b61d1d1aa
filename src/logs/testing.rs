//! Settings for the tests of this module, and the way back from a payload to its logs.

use serde_json::Value;

use crate::config::Config;
use crate::forwarder::{Encoding, Payload, Route};

/// The defaults.
pub fn config() -> Config {
    Config::load(&[], None).0
}

/// The logs of a payload, which must keep the intake's limits and its own promises.
pub fn logs(payload: &Payload) -> Vec<Value> {
    assert_eq!(payload.route, Route::Logs);
    let body = match payload.encoding {
        Encoding::Identity => payload.body.clone(),
        Encoding::Zstd => zstd::decode_all(payload.body.as_slice()).unwrap(),
        Encoding::Gzip => panic!("logs go out as zstd"),
    };
    assert!(body.len() <= 5_000_000, "{}", body.len());
    let logs: Vec<Value> = serde_json::from_slice(&body).unwrap();
    assert_eq!(logs.len(), payload.items as usize);
    assert!(!logs.is_empty() && logs.len() <= 1000);
    logs
}
