//! Encodes JSON values as msgpack, for functions of the lab that send traces. What JSON does not have is an
//! object of one key: `$bytes` with their numbers, `$pairs` with the keys and values of a map in turn. Pure.

use serde_json::Value;

/// The bytes of `value`.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, value);
    out
}

fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(0xc0),
        Value::Bool(v) => out.push(0xc2 + u8::from(*v)),
        Value::Number(n) => match (n.as_u64(), n.as_i64()) {
            (Some(v), _) => put_tagged(out, 0xcf, &v.to_be_bytes()),
            (None, Some(v)) => put_tagged(out, 0xd3, &v.to_be_bytes()),
            (None, None) => put_tagged(out, 0xcb, &n.as_f64().unwrap_or(f64::NAN).to_be_bytes()),
        },
        Value::String(v) => {
            put_length(out, 0xdb, v.len());
            out.extend_from_slice(v.as_bytes());
        }
        Value::Array(v) => {
            put_length(out, 0xdd, v.len());
            v.iter().for_each(|item| put(out, item));
        }
        Value::Object(v) if v.len() == 1 && v.contains_key("$bytes") => {
            let numbers = v["$bytes"].as_array().into_iter().flatten();
            let bytes: Vec<u8> = numbers.filter_map(|n| n.as_u64().and_then(|n| u8::try_from(n).ok())).collect();
            put_length(out, 0xc6, bytes.len());
            out.extend_from_slice(&bytes);
        }
        Value::Object(v) if v.len() == 1 && v.contains_key("$pairs") => {
            let items = v["$pairs"].as_array().map(Vec::as_slice).unwrap_or_default();
            put_length(out, 0xdf, items.len() / 2);
            items.iter().for_each(|item| put(out, item));
        }
        Value::Object(v) => {
            put_length(out, 0xdf, v.len());
            for (key, item) in v {
                put_length(out, 0xdb, key.len());
                out.extend_from_slice(key.as_bytes());
                put(out, item);
            }
        }
    }
}

fn put_length(out: &mut Vec<u8>, tag: u8, length: usize) {
    put_tagged(out, tag, &u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

fn put_tagged(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(bytes);
}
