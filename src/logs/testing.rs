//! Settings for the tests of this module, and the way back from a payload to its logs.

use std::time::Duration;

use serde_json::Value;

use crate::config::{Config, FlushStrategy, LambdaEnv};
use crate::forwarder::{Encoding, Payload, Route};

/// The defaults, as far as logs need them.
pub fn config() -> Config {
    Config {
        lambda: LambdaEnv::default(),
        api_key: None,
        site: String::new(),
        log_level: log::LevelFilter::Info,
        flush_timeout: Duration::from_secs(5),
        flush_strategy: FlushStrategy::End,
        env: None,
        service: None,
        version: None,
        tags: Vec::new(),
        local_test: false,
        metrics_url: String::new(),
        metrics_endpoints: Vec::new(),
        metrics_compression_level: 1,
        statsd_namespace: String::new(),
        statsd_namespace_blocklist: Vec::new(),
        statsd_blocklist: Vec::new(),
        dogstatsd_port: 8125,
        dogstatsd_so_rcvbuf: None,
        dogstatsd_buffer_size: 8192,
        dogstatsd_tags: Vec::new(),
        histogram_aggregates: Vec::new(),
        histogram_percentiles: Vec::new(),
        metrics_exclude_tags: Vec::new(),
        logs_enabled: true,
        logs_types: ["platform", "function", "extension"].map(str::to_owned).to_vec(),
        logs_url: String::new(),
        logs_opw: false,
        logs_endpoints: Vec::new(),
        logs_use_compression: true,
        logs_compression_level: 3,
        logs_rules: Vec::new(),
        apm_enabled: true,
        apm_port: 8126,
        apm_url: String::new(),
        apm_endpoints: Vec::new(),
        apm_compression_level: 1,
    }
}

/// The logs of a payload, which must keep the intake's limits and its own promises.
pub fn logs(payload: &Payload) -> Vec<Value> {
    assert_eq!(payload.route, Route::Logs);
    let body = match payload.encoding {
        Encoding::Identity => payload.body.clone(),
        Encoding::Zstd => zstd::decode_all(payload.body.as_slice()).unwrap(),
    };
    assert!(body.len() <= 5_000_000, "{}", body.len());
    let logs: Vec<Value> = serde_json::from_slice(&body).unwrap();
    assert_eq!(logs.len(), payload.items as usize);
    assert!(!logs.is_empty() && logs.len() <= 1000);
    logs
}
