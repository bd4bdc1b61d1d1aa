//! What of the settings and of the function's tags matters to metrics, brought into the form the aggregator uses.
//!
//! Pure; built on the thread `metrics-agent` at its start and when the tags change.

use super::histogram::Statistic;
use crate::config::Config;
use crate::lambda::Tags;

/// The runtime libraries count invocations too; the extension's own count is the one that stays (spec: metrics 3.2).
const ALWAYS_BLOCKED: &str = "aws.lambda.enhanced.invocations";

/// Settings of names, tags and histograms.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Put before names; ends with a dot unless it is empty.
    pub namespace: String,
    /// Names that start with one of these get no namespace.
    pub namespace_blocklist: Vec<String>,
    /// Names, before the namespace, that are dropped.
    pub blocklist: Vec<String>,
    /// Tags of everything that came through DogStatsD.
    pub dogstatsd_tags: Vec<String>,
    /// Keys of function tags that are not put on metrics.
    pub exclude_tags: Vec<String>,
    /// What a histogram becomes.
    pub statistics: Vec<Statistic>,
    /// zstd's.
    pub compression_level: i32,
}

impl Settings {
    /// Takes them from the configuration. Statistics with names that do not exist are left out.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let aggregates = config.histogram_aggregates.iter().filter_map(|name| Statistic::named(name));
        let percentiles = config.histogram_percentiles.iter().map(|&n| Statistic::Percentile(n));
        Self {
            namespace: config.statsd_namespace.clone(),
            namespace_blocklist: config.statsd_namespace_blocklist.clone(),
            blocklist: config.statsd_blocklist.clone(),
            dogstatsd_tags: config.dogstatsd_tags.clone(),
            exclude_tags: config.metrics_exclude_tags.clone(),
            statistics: aggregates.chain(percentiles).collect(),
            compression_level: config.metrics_compression_level,
        }
    }

    /// Whether samples of this name, as sent, are dropped.
    #[must_use]
    pub fn blocks(&self, name: &[u8]) -> bool {
        name == ALWAYS_BLOCKED.as_bytes() || self.blocklist.iter().any(|blocked| blocked.as_bytes() == name)
    }

    /// The name under which samples of `name` are sent. Bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn full_name(&self, name: &[u8]) -> String {
        let name = String::from_utf8_lossy(name);
        if self.namespace_blocklist.iter().any(|prefix| name.starts_with(prefix.as_str())) {
            return name.into_owned();
        }
        format!("{}{name}", self.namespace)
    }
}

/// The tags that every metric carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// For metrics: function tags without the excluded keys, then DogStatsD's; each once.
    pub metrics: Vec<String>,
    /// For events and service checks: the same with nothing excluded.
    pub events: Vec<String>,
    /// Whether the data is known to come from a Lambda function: decided before anything is excluded.
    pub lambda: bool,
}

impl Base {
    /// Puts them together.
    #[must_use]
    pub fn new(settings: &Settings, tags: &Tags) -> Self {
        let collect = |excluded: &[String]| {
            let mut all: Vec<String> = Vec::new();
            let function =
                tags.pairs.iter().filter(|(key, _)| !excluded.contains(key)).map(|(k, v)| format!("{k}:{v}"));
            for tag in function.chain(settings.dogstatsd_tags.iter().cloned()) {
                if !tag.is_empty() && !all.contains(&tag) {
                    all.push(tag);
                }
            }
            all
        };
        Self {
            metrics: collect(&settings.exclude_tags),
            events: collect(&[]),
            lambda: tags.get("function_arn").is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_the_namespace_unless_their_prefix_is_listed() {
        let settings = Settings {
            namespace: "ns.".into(),
            namespace_blocklist: vec!["jvm".into(), "datadog.agent".into()],
            ..Settings::default()
        };
        for (name, expected) in [
            ("requests", "ns.requests"),
            ("jvm.heap", "jvm.heap"),
            ("jvmish", "jvmish"),
            ("datadog.agent.up", "datadog.agent.up"),
            ("datadog.other", "ns.datadog.other"),
        ] {
            assert_eq!(settings.full_name(name.as_bytes()), expected);
        }
        assert_eq!(Settings::default().full_name(b"a\xffb"), "a\u{fffd}b");
    }

    #[test]
    fn blocked_names_are_compared_before_the_namespace() {
        let settings = Settings { namespace: "ns.".into(), blocklist: vec!["secret".into()], ..Settings::default() };
        for (name, expected) in [
            ("secret", true),
            ("secret.not", false),
            ("ns.secret", false),
            ("aws.lambda.enhanced.invocations", true),
            ("aws.lambda.enhanced.invocations_mine", false),
            ("aws.lambda.enhanced.errors", false),
        ] {
            assert_eq!(settings.blocks(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn excluded_tags_leave_metrics_but_not_the_origin() {
        let pairs = [("function_arn", "arn:x"), ("env", "dev"), ("memorysize", "128")];
        let tags =
            Tags { pairs: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(), ..Tags::default() };
        let settings = Settings {
            exclude_tags: vec!["function_arn".into(), "memorysize".into()],
            dogstatsd_tags: vec!["team:x".into(), "env:dev".into(), String::new()],
            ..Settings::default()
        };
        let base = Base::new(&settings, &tags);
        assert_eq!(base.metrics, ["env:dev", "team:x"]);
        assert_eq!(base.events, ["function_arn:arn:x", "env:dev", "memorysize:128", "team:x"]);
        assert!(base.lambda);
        assert!(!Base::new(&settings, &Tags::default()).lambda);
    }
}
