//! What a tracer says of itself in the headers of a request (spec: traces 4.1). Pure.

use super::TracerHeaders;
use crate::net::Head;

impl TracerHeaders {
    /// Reads the headers of a request. What is missing, or not UTF-8, is empty, false or zero.
    #[must_use]
    pub fn of(head: &Head) -> Self {
        let text = |name| head.header(name).unwrap_or_default().to_owned();
        let number = |name| head.header(name).and_then(|v| v.parse().ok()).unwrap_or(0);
        let flag = |name| head.headers.iter().find(|(n, _)| n == name).is_some_and(|(_, v)| is_true(v));
        Self {
            lang: text("datadog-meta-lang"),
            lang_version: text("datadog-meta-lang-version"),
            interpreter: text("datadog-meta-lang-interpreter"),
            interpreter_vendor: text("datadog-meta-lang-interpreter-vendor"),
            tracer_version: text("datadog-meta-tracer-version"),
            container_id: text("datadog-container-id"),
            obfuscation_version: number("datadog-obfuscation-version"),
            client_computed_top_level: flag("datadog-client-computed-top-level"),
            client_computed_stats: flag("datadog-client-computed-stats"),
            dropped_p0_traces: number("datadog-client-dropped-p0-traces"),
            dropped_p0_spans: number("datadog-client-dropped-p0-spans"),
        }
    }
}

/// Everything is true but nothing and what Go's `ParseBool` takes for false: tracers send `true`, `1`, `yes`.
fn is_true(value: &[u8]) -> bool {
    !matches!(value, b"" | b"0" | b"f" | b"F" | b"false" | b"False" | b"FALSE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[(&str, &str)]) -> Head {
        Head {
            method: "POST".into(),
            path: "/v0.4/traces".into(),
            query: String::new(),
            headers: headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect(),
        }
    }

    #[test]
    fn booleans() {
        for (value, expected) in [
            ("", false),
            ("0", false),
            ("f", false),
            ("F", false),
            ("false", false),
            ("False", false),
            ("FALSE", false),
            ("1", true),
            ("true", true),
            ("yes", true),
            ("no", true),
            ("fALSE", true),
            ("t", true),
        ] {
            let headers = TracerHeaders::of(&head(&[("datadog-client-computed-stats", value)]));
            assert_eq!(headers.client_computed_stats, expected, "{value}");
            assert!(!headers.client_computed_top_level, "absent is false");
        }
    }

    #[test]
    fn all_headers() {
        let headers = TracerHeaders::of(&head(&[
            ("datadog-meta-lang", "python"),
            ("datadog-meta-lang-version", "3.12.1"),
            ("datadog-meta-lang-interpreter", "CPython"),
            ("datadog-meta-lang-interpreter-vendor", "psf"),
            ("datadog-meta-tracer-version", "4.16.0"),
            ("datadog-container-id", "c1"),
            ("datadog-obfuscation-version", "1"),
            ("datadog-client-computed-top-level", "true"),
            ("datadog-client-computed-stats", "yes"),
            ("datadog-client-dropped-p0-traces", "3"),
            ("datadog-client-dropped-p0-spans", "many"),
        ]));
        let expected = TracerHeaders {
            lang: "python".into(),
            lang_version: "3.12.1".into(),
            interpreter: "CPython".into(),
            interpreter_vendor: "psf".into(),
            tracer_version: "4.16.0".into(),
            container_id: "c1".into(),
            obfuscation_version: 1,
            client_computed_top_level: true,
            client_computed_stats: true,
            dropped_p0_traces: 3,
            dropped_p0_spans: 0,
        };
        assert_eq!(headers, expected);
    }
}
