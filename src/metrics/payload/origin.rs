//! Where a metric comes from, as the intake's metadata say it (spec: metrics 3.7).

use crate::metrics::settings::Base;

/// `origin_product`: serverless.
pub const PRODUCT: u32 = 1;
/// `origin_sub_product` or category: Lambda.
pub const LAMBDA: u32 = 38;

/// The origin's detail or service; `None` if the metric carries no origin.
#[must_use]
pub fn detail(name: &str, base: &Base) -> Option<u32> {
    if !base.lambda || name.starts_with("datadog.") {
        return None;
    }
    let mut parts = name.split('.');
    Some(match (parts.next(), parts.next()) {
        (Some("jvm" | "runtime"), Some(_)) => 474,
        (Some("aws"), Some("lambda")) | (Some("gcp"), Some("run")) | (Some("azure"), Some("functions")) => 473,
        _ => 472,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details() {
        let lambda = Base { lambda: true, ..Base::default() };
        for (name, expected) in [
            ("my.metric", Some(472)),
            ("jvm.heap_memory", Some(474)),
            ("runtime.go.num_cpu", Some(474)),
            ("jvm", Some(472)),
            ("jvmx.heap", Some(472)),
            ("aws.lambda.enhanced.errors", Some(473)),
            ("aws.lambda", Some(473)),
            ("aws.lambdas.x", Some(472)),
            ("aws.s3.x", Some(472)),
            ("gcp.run.x", Some(473)),
            ("azure.functions.x", Some(473)),
            ("datadog.tracer.started", None),
            ("datadogs", Some(472)),
        ] {
            assert_eq!(detail(name, &lambda), expected, "{name}");
            assert_eq!(detail(name, &Base::default()), None, "{name}");
        }
    }
}
