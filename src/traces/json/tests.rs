//! JSON in, msgpack out, and where the faults are.

use super::*;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// The elements as msgpack, and the outcome.
fn transcoded(json: &str) -> (Vec<Vec<u8>>, Result<(), DecodeError>) {
    let (mut taken, mut buffer) = (Vec::new(), b"left over".to_vec());
    let outcome = elements(json.as_bytes(), &mut buffer, &mut |bytes| {
        taken.push(bytes.to_vec());
        Ok(())
    });
    assert!(buffer.is_empty());
    (taken, outcome)
}

fn read(bytes: &[u8]) -> Json {
    rmp_serde::from_slice(bytes).unwrap()
}

#[test]
fn every_kind_of_value() {
    for (value, expected) in [
        ("null", &[0xc0][..]),
        ("true", &[0xc3]),
        ("false", &[0xc2]),
        ("0", &[0]),
        ("127", &[0x7f]),
        ("128", &[0xcf, 0, 0, 0, 0, 0, 0, 0, 128]),
        ("18446744073709551615", &[0xcf, 255, 255, 255, 255, 255, 255, 255, 255]),
        ("-1", &[0xff]),
        ("-32", &[0xe0]),
        ("-33", &[0xd3, 255, 255, 255, 255, 255, 255, 255, 0xdf]),
        ("1.5", &[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]),
        ("1e2", &[0xcb, 0x40, 0x59, 0, 0, 0, 0, 0, 0]),
        (r#""""#, &[0xa0]),
        (r#""a\u00e9\n""#, &[0xa4, b'a', 0xc3, 0xa9, b'\n']),
        ("[]", &[0xdd, 0, 0, 0, 0]),
        ("[1, [2]]", &[0xdd, 0, 0, 0, 2, 1, 0xdd, 0, 0, 0, 1, 2]),
        (r#"{"a": {}}"#, &[0xdf, 0, 0, 0, 1, 0xa1, b'a', 0xdf, 0, 0, 0, 0]),
        (
            r#"{"meta_struct": {"a": "AQID", "n": null}}"#,
            b"\xdf\0\0\0\x01\xabmeta_struct\xdf\0\0\0\x02\xa1a\xc6\0\0\0\x03\x01\x02\x03\xa1n\xc0",
        ),
        // Only the values of such a map are bytes.
        (r#"{"meta_struct": "AQID"}"#, b"\xdf\0\0\0\x01\xabmeta_struct\xa4AQID"),
        (r#"{"meta": {"meta_struct": "AQID"}}"#, b"\xdf\0\0\0\x01\xa4meta\xdf\0\0\0\x01\xabmeta_struct\xa4AQID"),
    ] {
        let (taken, outcome) = transcoded(&format!(" [ {value},{value} ]"));
        assert_eq!((outcome, &taken[..]), (Ok(()), &[expected.to_vec(), expected.to_vec()][..]), "{value}");
    }
    for nothing in ["null", "[]", " [\n] "] {
        assert_eq!(transcoded(nothing), (Vec::new(), Ok(())), "{nothing}");
    }
}

#[test]
fn faults_of_the_json_have_a_place() {
    let deep = format!("[{}", "[".repeat(200));
    for (json, elements, reason, offset) in [
        ("", 0, "the payload ends inside a value", 0),
        ("[1, ", 1, "the payload ends inside a value", 4),
        (r#"[1, {"a"#, 1, "the payload ends inside a value", 7),
        ("{}", 0, "expected an array", 0),
        (" 7", 0, "expected an array", 1),
        ("[1, x]", 1, "not valid JSON", 4),
        ("[1,\n 2,\n  x]", 2, "not valid JSON", 10),
        ("[1] 2", 1, "not valid JSON", 4),
        ("\u{90}", 0, "not valid JSON", 0),
        (r#"["\ud800"]"#, 0, "not valid JSON", 8),
        (r#"[1, {"meta_struct": {"a": "A"}}]"#, 1, NOT_BASE64, 26),
        (&deep, 0, "the JSON is nested too deeply", 127),
    ] {
        let (taken, outcome) = transcoded(json);
        assert_eq!((taken.len(), outcome), (elements, Err(DecodeError { reason, offset })), "{json}");
    }
}

#[test]
fn faults_of_the_msgpack_are_told_in_the_json() {
    let json = "[ {\"a\": 1},\n {\"b\" : [ 2, {\"c\"\n:\"three\"} ] , \"d\":false}]";
    for (number, offset, expected) in [
        (0, 0, "{\"a\""),
        (0, 7, "1}"),
        (1, 0, "{\"b\""),
        (1, 7, "[ 2"),
        (1, 12, "2, {"),
        (1, 13, "{\"c\""),
        (1, 20, "\"three\""),
        (1, 28, "false"),
        (1, 999, ""),
    ] {
        let mut left = number;
        let outcome = elements(json.as_bytes(), &mut Vec::new(), &mut |_| match left {
            0 => Err(DecodeError { reason: "odd", offset }),
            _ => {
                left -= 1;
                Ok(())
            }
        });
        let Err(DecodeError { reason: "odd", offset: at }) = outcome else { panic!("{outcome:?}") };
        assert!(json[at..].starts_with(expected), "{number} {offset}: {:?}", &json[at..]);
        assert_eq!(json[at..].is_empty(), expected.is_empty());
    }
}

#[test]
fn base64_as_go_reads_it() {
    for (text, expected) in [
        ("", Some(&b""[..])),
        ("AA==", Some(&[0])),
        ("AAE=", Some(&[0, 1])),
        ("AAEC", Some(&[0, 1, 2])),
        ("+/+/", Some(&[0xfb, 0xff, 0xbf])),
        ("AAEC\r\nAw==", Some(&[0, 1, 2, 3])),
        ("A", None),
        ("AA", None),
        ("AA=", None),
        ("A===", None),
        ("AAE==", None),
        ("AA==AA==", None),
        ("-_-_", None),
    ] {
        let mut out = Vec::new();
        assert_eq!(base64(text.as_bytes(), &mut out).map(|()| out.as_slice()), expected, "{text}");
    }
}

fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<i32>().prop_map(|v| Json::from(f64::from(v) / 4.0)),
        "\\PC{0,40}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::btree_map("\\PC{0,40}", inner, 0..6)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn values_stay_what_they_are(values in prop::collection::vec(value(), 0..4)) {
        let (taken, outcome) = transcoded(&Json::from(values.clone()).to_string());
        prop_assert_eq!(outcome, Ok(()));
        prop_assert_eq!(taken.iter().map(|bytes| read(bytes)).collect::<Vec<_>>(), values);
    }

    #[test]
    fn any_text_is_read_without_panic(text in "[\\[\\]{}\",:0-9a-z\\\\\n -]{0,80}", offset in 0_usize..90) {
        let mut length = 0;
        let outcome = elements(text.as_bytes(), &mut Vec::new(), &mut |bytes| {
            length += bytes.len();
            if bytes.len() > offset { Err(DecodeError { reason: "odd", offset }) } else { Ok(()) }
        });
        prop_assert!(length <= text.len() * 9 / 4 + 5, "{} bytes became {}", text.len(), length);
        if let Err(error) = outcome {
            prop_assert!(error.offset <= text.len());
        }
    }
}
