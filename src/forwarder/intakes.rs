//! Where the requests go that are passed on (spec: config 2.9): one row for each intake, and what the settings change.
//!
//! Pure. The addresses of an intake are made when its first request comes; most functions use none or one of them.

use std::net::IpAddr;

use super::endpoints::{BadEndpoint, PRIMARY_KEY, Target};
use super::{Intake, Request};
use crate::config::{Config, Endpoint};

/// The addresses of an intake.
struct Row<'a> {
    /// The whole URL up to what a [`Request`] adds.
    primary: String,
    /// The setting it comes from, if from any.
    setting: &'static str,
    additional: &'a [Endpoint],
    additional_setting: &'static str,
    /// What the hosts begin with.
    subdomain: &'a str,
}

/// The destinations of `request`, primary first, and those that cannot be used.
pub(super) fn targets(config: &Config, request: &Request) -> (Vec<Target>, Vec<BadEndpoint>) {
    let row = row(config, request.intake, &request.subdomain);
    let mut good = Vec::with_capacity(1 + row.additional.len());
    let mut bad = Vec::new();
    let mut add =
        |url: &str, key, key_setting, setting| match Target::new(&below(url, row.subdomain), false, key, key_setting) {
            Ok(target) => good.push(target),
            Err(problem) => bad.push(BadEndpoint { setting, problem }),
        };
    if let Some(key) = &config.api_key {
        add(&row.primary, key, PRIMARY_KEY, row.setting);
    }
    for endpoint in row.additional {
        add(&endpoint.url, &endpoint.api_key, row.additional_setting, row.additional_setting);
    }
    (good, bad)
}

/// Whether an intake has additional endpoints.
pub(super) fn is_multiple(config: &Config, intake: Intake) -> bool {
    !row(config, intake, "").additional.is_empty()
}

fn row<'a>(config: &'a Config, intake: Intake, subdomain: &'a str) -> Row<'a> {
    let (site, proxy) = (&config.site, &config.apm.proxy);
    let row = |set: &Option<String>, setting, default: String| Row {
        primary: set.clone().unwrap_or(default),
        setting,
        additional: &[],
        additional_setting: "",
        subdomain: "",
    };
    let fixed = |default| row(&None, "DD_SITE", default);
    let debugger = format!("https://debugger-intake.{site}/api/v2/debugger");
    let events = |subdomain| Row {
        additional: &proxy.evp_endpoints,
        additional_setting: "DD_EVP_PROXY_CONFIG_ADDITIONAL_ENDPOINTS",
        subdomain,
        ..row(&proxy.evp_url, "DD_EVP_PROXY_CONFIG_DD_URL", site.clone())
    };
    match intake {
        Intake::Profiles => Row {
            additional: &proxy.profiling_endpoints,
            additional_setting: "DD_APM_PROFILING_ADDITIONAL_ENDPOINTS",
            ..row(
                &proxy.profiling_url,
                "DD_APM_PROFILING_DD_URL",
                format!("https://intake.profile.{site}/api/v2/profile"),
            )
        },
        Intake::DebuggerLogs => Row {
            additional: &proxy.debugger_endpoints,
            additional_setting: "DD_APM_DEBUGGER_ADDITIONAL_ENDPOINTS",
            ..row(&proxy.debugger_url, "DD_APM_DEBUGGER_DD_URL", format!("https://http-intake.logs.{site}/api/v2/logs"))
        },
        Intake::Debugger => row(&proxy.diagnostics_url, "DD_APM_DEBUGGER_DIAGNOSTICS_DD_URL", debugger),
        Intake::Symbols => row(&proxy.symdb_url, "DD_APM_SYMDB_DD_URL", debugger),
        Intake::DataStreams => row(&None, "DD_APM_DD_URL", format!("{}/api/v0.1/pipeline_stats", config.apm_url)),
        Intake::Telemetry => Row {
            additional: &proxy.telemetry_endpoints,
            additional_setting: "DD_APM_TELEMETRY_ADDITIONAL_ENDPOINTS",
            ..row(
                &proxy.telemetry_url,
                "DD_APM_TELEMETRY_DD_URL",
                format!("https://instrumentation-telemetry-intake.{site}"),
            )
        },
        Intake::LlmSpans => events("llmobs-intake"),
        Intake::LlmEvaluations => events("api"),
        Intake::Events => events(subdomain),
        Intake::Flares => {
            let version = crate::VERSION.replace('.', "-");
            fixed(format!("https://{version}-flare.{site}/api/ui/support/serverless/flare"))
        }
        Intake::Settings => fixed(format!("https://config.{site}/v0.7/config")),
        Intake::Lineage => {
            row(&proxy.openlineage_url.as_deref().map(lineage), "DD_OL_PROXY_CONFIG_DD_URL", lineage(site))
        }
    }
}

/// The OpenLineage intake of a site; a whole URL is taken as it is.
fn lineage(host: &str) -> String {
    if host.contains("://") { host.to_owned() } else { format!("https://data-obs-intake.{host}/api/v1/lineage") }
}

/// `url` with its host below `subdomain`. An IP address has no names below it, nor has `localhost`: a stand-in for all of
/// Datadog is used as it is.
fn below(url: &str, subdomain: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']']);
    if subdomain.is_empty() || host == "localhost" || host.parse::<IpAddr>().is_ok() {
        format!("{scheme}://{rest}")
    } else {
        format!("{scheme}://{subdomain}.{rest}")
    }
}

#[cfg(test)]
mod tests;
