//! The tags that describe the function (spec: tags 9.1), built once after registration and shared read-only.
//!
//! Pure. The aggregators get a new set by message when the function's ARN becomes known only at the first invocation.

use super::event::Registration;
use crate::config::Config;

/// The function's tags and what is derived from them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Keys and values in the order of the spec, user tags last; each key once.
    pub pairs: Vec<(String, String)>,
    /// The pairs as `k:v` joined by commas.
    pub joined: String,
    /// The ARN in lower case without qualifier; empty while it is unknown.
    pub function_arn: String,
    /// The function's name, case kept.
    pub function_name: String,
    /// `DD_SERVICE` in lower case, or empty.
    pub service: String,
}

impl Tags {
    /// The value of the tag `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Builds the tags. `registration` is what register answered; its account id may be empty, then the tags that need
    /// the ARN are left out.
    #[must_use]
    pub fn new(config: &Config, registration: &Registration) -> Self {
        let name = if config.lambda.function_name.is_empty() {
            &registration.function_name
        } else {
            &config.lambda.function_name
        };
        let version = if config.lambda.function_version.is_empty() {
            &registration.function_version
        } else {
            &config.lambda.function_version
        };
        let service = config.service.as_deref().map(str::to_lowercase).unwrap_or_default();
        let mut tags = Self { function_name: name.clone(), service, ..Self::default() };
        if !registration.account_id.is_empty() {
            tags.function_arn = format!(
                "arn:{}:lambda:{}:{}:function:{name}",
                partition(&config.lambda.region),
                config.lambda.region,
                registration.account_id
            )
            .to_lowercase();
            tags.set("function_arn", &tags.function_arn.clone());
            tags.set("region", &config.lambda.region);
            tags.set("account_id", &registration.account_id);
            tags.set("aws_account", &registration.account_id);
        }
        let released = !version.is_empty() && version != "$LATEST";
        if !name.is_empty() {
            tags.set("functionname", name);
            tags.set("resource", &if released { format!("{name}:{version}") } else { name.clone() });
        }
        if released {
            tags.set("executedversion", version);
        }
        tags.set("version", config.version.as_deref().unwrap_or_default());
        tags.set("env", config.env.as_deref().unwrap_or_default());
        tags.set("service", &tags.service.clone());
        tags.set("init_type", &config.lambda.initialization_type);
        tags.set("memorysize", &config.lambda.memory_size);
        tags.set("runtime", &config.lambda.execution_env);
        tags.set("architecture", architecture());
        tags.set("dd_extension_version", crate::VERSION);
        for (key, value) in &config.tags {
            tags.set(key, value);
        }
        tags.joined = tags.pairs.iter().map(|(k, v)| format!("{k}:{v}")).collect::<Vec<_>>().join(",");
        tags
    }

    /// Adds or replaces a tag; an empty value adds nothing.
    fn set(&mut self, key: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        match self.pairs.iter_mut().find(|(k, _)| k == key) {
            Some((_, v)) => value.clone_into(v),
            None => self.pairs.push((key.to_owned(), value.to_owned())),
        }
    }
}

/// The partition of `region` in ARNs.
fn partition(region: &str) -> &'static str {
    if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else if region.starts_with("cn-") {
        "aws-cn"
    } else {
        "aws"
    }
}

/// The architecture as the tag spells it.
fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { std::env::consts::ARCH }
}
