//! The tags that describe the function (spec: tags 9.1), built once after registration and shared read-only.
//!
//! Pure. Runs on the main thread. Where register does not tell the account, the ARN becomes known only at the first
//! invocation ([`account_in`]); the aggregators then get a new set by message.

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
        let account = &registration.account_id;
        if !account.is_empty() && !name.is_empty() {
            let region = &config.lambda.region;
            tags.function_arn =
                format!("arn:{}:lambda:{region}:{account}:function:{name}", partition(region)).to_lowercase();
            tags.push("function_arn", &tags.function_arn.clone());
            tags.push("region", region);
            tags.push("account_id", account);
            tags.push("aws_account", account);
        }
        let released = !version.is_empty() && version != "$LATEST";
        if !name.is_empty() {
            tags.push("functionname", name);
            tags.push("resource", &if released { format!("{name}:{version}") } else { name.clone() });
        }
        if released {
            tags.push("executedversion", version);
        }
        tags.push("version", config.version.as_deref().unwrap_or_default());
        tags.push("env", config.env.as_deref().unwrap_or_default());
        tags.push("service", &tags.service.clone());
        tags.push("init_type", &config.lambda.initialization_type);
        tags.push("memorysize", &config.lambda.memory_size);
        tags.push("runtime", &config.lambda.execution_env);
        tags.push("architecture", architecture());
        tags.push("dd_extension_version", crate::VERSION);
        tags.add_user_tags(&config.tags);
        tags.joined = tags.pairs.iter().map(|(k, v)| format!("{k}:{v}")).collect::<Vec<_>>().join(",");
        tags
    }

    /// Adds a tag with a key that is not there yet; an empty value adds nothing.
    fn push(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.pairs.push((key.to_owned(), value.to_owned()));
        }
    }

    /// Adds the user's tags, whose keys differ from one another: they replace those of the function.
    fn add_user_tags(&mut self, user: &[(String, String)]) {
        let own = self.pairs.len();
        for (key, value) in user {
            match self.pairs[..own].iter_mut().find(|(k, _)| k == key) {
                Some((_, v)) => value.clone_into(v),
                None => self.pairs.push((key.clone(), value.clone())),
            }
        }
    }
}

/// The account in the ARN of a function, with or without qualifier; `None` if `arn` is not one.
#[must_use]
pub fn account_in(arn: &str) -> Option<&str> {
    let mut parts = arn.split(':');
    let account = (parts.next()? == "arn" && parts.nth(1)? == "lambda").then(|| parts.nth(1)).flatten()?;
    let digits = !account.is_empty() && account.bytes().all(|b| b.is_ascii_digit());
    (digits && parts.next()? == "function").then_some(account)
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

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn build(env: &[(&str, &str)], account_id: &str) -> Tags {
        let env: Vec<(OsString, OsString)> = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let registration = Registration {
            function_name: "Registered".to_owned(),
            function_version: "$LATEST".to_owned(),
            account_id: account_id.to_owned(),
        };
        Tags::new(&Config::load(&env, None).0, &registration)
    }

    const ACCOUNT: &str = "123456789012";

    #[test]
    fn every_tag_of_the_function() {
        let tags = build(
            &[
                ("AWS_REGION", "eu-west-1"),
                ("AWS_LAMBDA_FUNCTION_NAME", "MyFn"),
                ("AWS_LAMBDA_FUNCTION_VERSION", "7"),
                ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
                ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.12"),
                ("DD_VERSION", "1.2"),
                ("DD_ENV", "Prod"),
                ("DD_SERVICE", "My-Service"),
                ("DD_TAGS", "team:core,url:http://x:1"),
            ],
            ACCOUNT,
        );
        let expected = [
            "function_arn:arn:aws:lambda:eu-west-1:123456789012:function:myfn",
            "region:eu-west-1",
            "account_id:123456789012",
            "aws_account:123456789012",
            "functionname:MyFn",
            "resource:MyFn:7",
            "executedversion:7",
            "version:1.2",
            "env:Prod",
            "service:my-service",
            "init_type:on-demand",
            "memorysize:128",
            "runtime:AWS_Lambda_python3.12",
            &format!("architecture:{}", architecture()),
            &format!("dd_extension_version:{}", crate::VERSION),
            "team:core",
            "url:http://x:1",
        ];
        assert_eq!(tags.joined, expected.join(","));
        assert_eq!(tags.function_arn, "arn:aws:lambda:eu-west-1:123456789012:function:myfn");
        assert_eq!((tags.function_name.as_str(), tags.service.as_str()), ("MyFn", "my-service"));
    }

    #[test]
    fn what_is_unknown_has_no_tag() {
        let own = format!("architecture:{},dd_extension_version:{}", architecture(), crate::VERSION);
        let tags = build(&[], "");
        assert_eq!(tags.joined, format!("functionname:Registered,resource:Registered,{own}"));
        assert_eq!((tags.function_arn.as_str(), tags.service.as_str()), ("", ""));
        let latest = build(&[("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")], ACCOUNT);
        assert_eq!((latest.get("executedversion"), latest.get("resource")), (None, Some("Registered")));
        let nameless = Tags::new(&Config::load(&[], None).0, &Registration::default());
        assert_eq!(nameless.joined, own);
    }

    #[test]
    fn tags_of_the_user_win() {
        let env = [("DD_ENV", "a"), ("DD_SERVICE", "S"), ("DD_TAGS", "env:b,region:moon,env:c,service:T")];
        let tags = build(&env, ACCOUNT);
        assert_eq!((tags.get("env"), tags.get("region")), (Some("c"), Some("moon")));
        assert_eq!((tags.get("service"), tags.service.as_str()), (Some("T"), "s"));
        assert_eq!(tags.pairs.iter().filter(|(k, _)| k == "env").count(), 1);
    }

    #[test]
    fn partitions() {
        for (region, expected) in
            [("us-east-1", "aws"), ("us-gov-west-1", "aws-us-gov"), ("cn-north-1", "aws-cn"), ("eu-central-2", "aws")]
        {
            let arn = build(&[("AWS_REGION", region)], ACCOUNT).function_arn;
            assert_eq!(arn, format!("arn:{expected}:lambda:{region}:{ACCOUNT}:function:registered"));
        }
    }

    #[test]
    fn the_account_of_an_arn() {
        for (arn, expected) in [
            ("arn:aws:lambda:us-east-1:123456789012:function:fn", Some("123456789012")),
            ("arn:aws-cn:lambda:cn-north-1:1:function:fn:alias", Some("1")),
            ("arn:aws:lambda:us-east-1::function:fn", None),
            ("arn:aws:lambda:us-east-1:x:function:fn", None),
            ("arn:aws:s3:us-east-1:1:function:fn", None),
            ("arn:aws:lambda:us-east-1:1:layer:l", None),
            ("arn:aws:lambda", None),
            ("", None),
        ] {
            assert_eq!(account_in(arn), expected, "{arn}");
        }
    }
}
