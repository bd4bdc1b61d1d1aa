//! The function of the tests `rust::*` in tests/clients: Datadog's tracer for Rust under AWS's runtime for Rust. Makes
//! spans as the event says, and keeps a record of every span that the tracer was given, so that a test can compare what
//! was made with what arrived.

use std::fs::File;
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use datadog_opentelemetry::configuration::Config;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Array, Context, KeyValue, Value as Attribute};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracer, SpanData, SpanProcessor};
use serde_json::{Map, Value, json};

/// Where the test looks for the record.
const RECORD: &str = "/tmp/spans.jsonl";

/// Attributes that the tracer makes fields of.
const FIELDS: [&str; 4] = ["operation.name", "service.name", "resource.name", "span.type"];

/// Appends each span that ends to the record.
#[derive(Debug)]
struct Recorder(Mutex<File>);

impl SpanProcessor for Recorder {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        let mut file = self.0.lock().expect("no thread panics with the lock");
        writeln!(file, "{}", described(&span)).expect("the record can be written");
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The span as the intake's decoder names its parts.
fn described(span: &SpanData) -> Value {
    let context = &span.span_context;
    let field = |name: &str| {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
        found.map(|attribute| attribute.value.to_string()).unwrap_or_default()
    };
    let (mut meta, mut metrics) = (Map::new(), Map::new());
    for KeyValue { key, value, .. } in span.attributes.iter().filter(|a| !FIELDS.contains(&a.key.as_str())) {
        match value {
            // Every digit.
            Attribute::I64(_) | Attribute::F64(_) => metrics.insert(key.to_string(), json!(value.to_string())),
            _ => meta.insert(key.to_string(), json!(value.to_string())),
        };
    }
    let links = span.links.iter().map(|link| {
        let to = &link.span_context;
        json!({
            "trace_id": to.trace_id().to_string(),
            "span_id": to.span_id().to_string(),
            "tracestate": to.trace_state().header(),
            "flags": to.trace_flags().to_u8(),
            "attributes": link.attributes.iter().map(text).collect::<Map<_, _>>(),
        })
    });
    let events = span.events.iter().map(|event| {
        let attributes = event.attributes.iter().map(|a| (a.key.to_string(), plain(&a.value)));
        let attributes: Map<_, _> = attributes.collect();
        json!({"name": event.name, "time": nanoseconds(event.timestamp), "attributes": attributes})
    });
    let trace_id = u128::from_be_bytes(context.trace_id().to_bytes());
    json!({
        "trace_id": trace_id as u64, // the lower half
        "span_id": u64::from_be_bytes(context.span_id().to_bytes()),
        "parent_id": u64::from_be_bytes(span.parent_span_id.to_bytes()),
        "name": field("operation.name"),
        "service": field("service.name"),
        "resource": field("resource.name"),
        "kind": field("span.type"),
        "start": nanoseconds(span.start_time),
        "duration": nanoseconds(span.end_time) - nanoseconds(span.start_time),
        "error": u8::from(matches!(span.status, Status::Error { .. })),
        "meta": meta,
        "metrics": metrics,
        "meta_struct": {},
        "links": links.collect::<Vec<_>>(),
        "events": events.collect::<Vec<_>>(),
    })
}

fn text(attribute: &KeyValue) -> (String, Value) {
    (attribute.key.to_string(), json!(attribute.value.to_string()))
}

/// The value with its type.
fn plain(value: &Attribute) -> Value {
    match value {
        Attribute::Bool(v) => json!(v),
        Attribute::I64(v) => json!(v),
        Attribute::F64(v) => json!(v),
        Attribute::Array(Array::I64(v)) => json!(v),
        other => json!(other.to_string()),
    }
}

fn nanoseconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// The attributes from which the tracer makes the fields of a span.
fn fields(name: &'static str, service: &'static str, resource: String, kind: &'static str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("operation.name", name),
        KeyValue::new("service.name", service),
        KeyValue::new("resource.name", resource),
        KeyValue::new("span.type", kind),
    ]
}

/// An order with nested spans, of which one fails, in two services, with links and events.
fn order(tracer: &SdkTracer, event: &Value, parent: &Context) {
    let mut attributes = fields("shop.order", "shop", format!("order {}", event["order"]), "worker");
    attributes.extend([
        KeyValue::new("text", "ünïcode \u{1f600}"),
        KeyValue::new("empty", ""),
        KeyValue::new("long", "x".repeat(6000)),
        KeyValue::new("amount", 12.75),
        KeyValue::new("count", -3),
        KeyValue::new("yes", true),
    ]);
    let order = tracer.span_builder("order").with_attributes(attributes).start_with_context(tracer, parent);
    let order = parent.with_span(order);
    let validate = fields("shop.validate", "shop", "validate".into(), "");
    let validate = tracer.span_builder("validate").with_attributes(validate).start_with_context(tracer, &order);
    let validate = order.with_span(validate);
    let check = fields("shop.check", "shop", "check stock".into(), "");
    let mut check = tracer.span_builder("check").with_attributes(check).start_with_context(tracer, &validate);
    let failure = [
        KeyValue::new("exception.type", "OutOfStock"),
        KeyValue::new("exception.message", "no stock"),
        KeyValue::new("exception.stacktrace", "at main.rs:1"),
    ];
    check.add_event("exception", failure.to_vec());
    check.set_status(Status::error("no stock"));
    check.end();
    validate.span().end();
    pay(tracer, &order);
    for index in 0..event["many"].as_u64().unwrap_or(0) {
        let mut item = fields("shop.item", "shop", format!("item {index}"), "");
        item.push(KeyValue::new("index", index as i64));
        tracer.span_builder("item").with_attributes(item).start_with_context(tracer, &order).end();
    }
    order.span().end();
}

/// A call of another service, with links to a span of this process and to one of another.
fn pay(tracer: &SdkTracer, order: &Context) {
    let mut attributes = fields("shop.pay", "payments", "POST /pay".into(), "http");
    attributes.extend([KeyValue::new("http.method", "POST"), KeyValue::new("peer.service", "bank")]);
    let elsewhere = SpanContext::new(
        TraceId::from(0xfedc_ba98_7654_3210_fedc_ba98_7654_3210),
        SpanId::from(u64::MAX),
        TraceFlags::SAMPLED,
        true,
        TraceState::from_key_value([("dd", "s:2"), ("other", "x")]).expect("both are valid"),
    );
    let links = vec![
        Link::new(order.span().span_context().clone(), vec![KeyValue::new("why", "paid"), KeyValue::new("n", 2)], 0),
        Link::new(elsewhere, Vec::new(), 0),
    ];
    let pay = tracer.span_builder("pay").with_kind(SpanKind::Client).with_attributes(attributes).with_links(links);
    let mut pay = pay.start_with_context(tracer, order);
    let attempt = [
        KeyValue::new("attempt", 1),
        KeyValue::new("ok", true),
        KeyValue::new("rate", 0.5),
        KeyValue::new("by", "card"),
        KeyValue::new("parts", Attribute::Array(Array::I64(vec![1, -2]))),
    ];
    pay.add_event("authorized", attempt.to_vec());
    pay.end();
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::builder().build();
    let record = File::options().create(true).append(true).open(RECORD)?;
    let recorder = Recorder(Mutex::new(record));
    let provider = datadog_opentelemetry::tracing().with_config(config).with_span_processor(recorder).init();
    let tracer = provider.tracer("shop");
    let handler = service_fn(|event: LambdaEvent<Value>| {
        order(&tracer, &event.payload, &Context::new());
        let flushed = provider.force_flush().map(|()| json!("flushed")).map_err(|error| error.to_string());
        async { flushed }
    });
    lambda_runtime::run(handler).await
}
