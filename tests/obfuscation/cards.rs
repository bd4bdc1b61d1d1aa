//! Numbers of credit cards.

use libdd_trace_obfuscation::credit_cards::is_card_number;
use libdd_trace_obfuscation::obfuscate::obfuscate_pb_span;
use libdd_trace_obfuscation::obfuscation_config::{CreditCardConfig, ObfuscationConfig};
use libdd_trace_protobuf::pb;
use proptest::prelude::*;
use prost::Message as _;
use rmp::encode as mp;
use thimble::traces::links;
use thimble::traces::msgpack::Reader;
use thimble::traces::obfuscate::cards;

use crate::differ::Dice;

#[test]
fn every_issuer() {
    for issuer in 0..1_000_000 {
        let number = format!("{issuer:06}000000");
        assert_eq!(cards::is_number(number.as_bytes(), false), is_card_number(&number, false), "{number}");
    }
}

#[test]
fn numbers() {
    let mut dice = Dice(4);
    let mut found = [0; 2];
    for _ in 0..20_000 {
        let length = 10 + dice.roll(9);
        let mut number = dice.pick(&["", "", "4", "34", "5", "6011", " ", "-"]).to_owned();
        while number.len() < length {
            number.push_str(
                dice.pick(&["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "1", "2", "3", "4", " ", "-"]),
            );
            if dice.roll(300) == 0 {
                number.push_str(dice.pick(&["x", "é", ".", "\u{661}"]));
            }
        }
        for luhn in [false, true] {
            let ours = cards::is_number(number.as_bytes(), luhn);
            assert_eq!(ours, is_card_number(&number, luhn), "{number}");
            found[usize::from(luhn)] += usize::from(ours);
        }
    }
    assert!(found[0] > 2_000 && found[1] > 200, "{found:?}");
}

fn config(luhn: bool) -> ObfuscationConfig {
    let keep_values = ["order".to_owned()].into();
    ObfuscationConfig { credit_cards: CreditCardConfig { enabled: true, luhn, keep_values }, ..Default::default() }
}

#[test]
fn keys() {
    let keys = "card.number order orders _dd.x _x x_ _sample_rate _sampling_priority_v1 account_id aws_account error error.msg \
         error.message error.type error.stack env graphql.field graphql.query graphql.type graphql.operation.name grpc.code \
         grpc.method grpc.request http.status_code http.method http.url runtime-id out.host out.port sampling.priority span.type \
         span.name service.name service sql.query version databricks_job_id databricks_job_run_id databricks_task_run_id \
         config.spark_app_startTime config.spark_databricks_job_parentRunId config.spark Env VERSION";
    let number = "4111111111111111";
    for key in keys.split(' ').chain([""]) {
        let mut span = pb::Span { meta: [(key.to_owned(), number.to_owned())].into(), ..Default::default() };
        obfuscate_pb_span(&mut span, &config(false));
        assert_eq!(cards::concerns(key.as_bytes(), &["order".to_owned()]), span.meta[key] == "?", "{key}");
    }
}

// ---- span events

fn text(out: &mut Vec<u8>, text: &str) {
    mp::write_str(out, text).unwrap();
}

fn scalar(out: &mut Vec<u8>, value: &pb::AttributeArrayValue) {
    mp::write_map_len(out, 5).unwrap();
    text(out, "type");
    mp::write_sint(out, i64::from(value.r#type)).unwrap();
    text(out, "string_value");
    text(out, &value.string_value);
    text(out, "bool_value");
    mp::write_bool(out, value.bool_value).unwrap();
    text(out, "int_value");
    mp::write_sint(out, value.int_value).unwrap();
    text(out, "double_value");
    mp::write_f64(out, value.double_value).unwrap();
}

/// The events as this agent encodes them.
fn encoded(events: &[pb::SpanEvent]) -> Vec<u8> {
    let mut body = Vec::new();
    mp::write_array_len(&mut body, events.len() as u32).unwrap();
    for event in events {
        mp::write_map_len(&mut body, 3).unwrap();
        text(&mut body, "time_unix_nano");
        mp::write_uint(&mut body, event.time_unix_nano).unwrap();
        text(&mut body, "name");
        text(&mut body, &event.name);
        text(&mut body, "attributes");
        mp::write_map_len(&mut body, event.attributes.len() as u32).unwrap();
        for (key, value) in &event.attributes {
            text(&mut body, key);
            if let Some(array) = &value.array_value {
                mp::write_map_len(&mut body, 2).unwrap();
                text(&mut body, "type");
                mp::write_sint(&mut body, 4).unwrap();
                text(&mut body, "array_value");
                mp::write_array_len(&mut body, array.values.len() as u32).unwrap();
                array.values.iter().for_each(|value| scalar(&mut body, value));
            } else {
                let &pb::AttributeAnyValue { r#type, bool_value, int_value, double_value, .. } = value;
                let string_value = value.string_value.clone();
                scalar(
                    &mut body,
                    &pb::AttributeArrayValue { r#type, string_value, bool_value, int_value, double_value },
                );
            }
        }
    }
    let mut out = Vec::new();
    links::events(&mut Reader::new(&body, 0), &mut out, usize::MAX).unwrap();
    out
}

fn one() -> impl Strategy<Value = pb::AttributeArrayValue> {
    let string = prop_oneof!["4[0-9]{15}", "4111 1111[ -]1111 1111", "[a-z0-9]{0,16}", "-?[0-9 ]{10,18}"];
    let int = prop_oneof![
        any::<i64>(),
        Just(4_111_111_111_111_111),
        Just(-4_111_111_111_111_111),
        100_000_000_000..9_999_999_999_999_i64
    ];
    let double = prop_oneof![
        any::<f64>(),
        Just(4_111_111_111_111_111.0),
        Just(-411_111_111_111.0),
        Just(411_111_111_111.5),
        -1e18..1e18_f64
    ];
    (0..4_i32, string, any::<bool>(), int, double).prop_map(|(kind, string, bool, int, double)| {
        pb::AttributeArrayValue {
            r#type: kind,
            string_value: if kind == 0 { string } else { String::new() },
            bool_value: kind == 1 && bool,
            int_value: if kind == 2 { int } else { 0 },
            double_value: if kind == 3 { double } else { 0.0 },
        }
    })
}

fn event() -> impl Strategy<Value = pb::SpanEvent> {
    let scalar = one().prop_map(|v| pb::AttributeAnyValue {
        r#type: v.r#type,
        string_value: v.string_value,
        bool_value: v.bool_value,
        int_value: v.int_value,
        double_value: v.double_value,
        array_value: None,
    });
    let array = prop::collection::vec(one(), 0..4).prop_map(|values| {
        let array_value = Some(pb::AttributeArray { values });
        pb::AttributeAnyValue { r#type: 4, array_value, ..Default::default() }
    });
    let key = prop_oneof!["[a-z]{0,5}", Just("order".to_owned()), Just("_x".to_owned())];
    let attributes = prop::collection::hash_map(key, prop_oneof![2 => scalar, 1 => array], 0..4);
    (any::<u64>(), "[a-z]{0,9}", attributes).prop_map(|(time_unix_nano, name, attributes)| pb::SpanEvent {
        time_unix_nano,
        name,
        attributes,
    })
}

/// A hit leaves nothing of the number, in whatever member it was.
fn without_rest(events: &mut [pb::SpanEvent]) {
    for value in events.iter_mut().flat_map(|event| event.attributes.values_mut()) {
        if value.string_value == "?" {
            *value = pb::AttributeAnyValue { string_value: "?".into(), ..Default::default() };
        }
        for value in value.array_value.iter_mut().flat_map(|array| &mut array.values) {
            if value.string_value == "?" {
                *value = pb::AttributeArrayValue { string_value: "?".into(), ..Default::default() };
            }
        }
    }
}

proptest! {
    #[test]
    fn attributes_of_events(span_events in prop::collection::vec(event(), 0..3), luhn: bool) {
        let before = encoded(&span_events);
        let keep = ["order".to_owned()];
        let is_card = |key: &[u8], value: &[u8]| cards::is_number(value, luhn) && cards::concerns(key, &keep);
        let mut out = Vec::new();
        let found = links::hide(&before, &is_card, &mut out);
        let ours = pb::Span::decode(&out[..]).unwrap().span_events;
        prop_assert_eq!(found, ours != span_events);
        let mut span = pb::Span { span_events, ..Default::default() };
        obfuscate_pb_span(&mut span, &config(luhn));
        without_rest(&mut span.span_events);
        prop_assert_eq!(ours, span.span_events);
    }

    #[test]
    fn anything_goes(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut out = Vec::new();
        links::hide(&bytes, &|_, _| true, &mut out);
        prop_assert!(out.len() <= 9 * bytes.len() + 8);
        prop_assert!(!cards::is_number(&bytes, true) || cards::is_number(&bytes, false));
    }
}
