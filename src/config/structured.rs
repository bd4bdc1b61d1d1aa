//! Values with a structure of their own: tags, additional endpoints, rules.
//!
//! One bad element costs that element. An element of endpoints or rules is noted by its place, not by its content, which
//! may hold a key. Pure.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Value};

use super::apm::{ReplaceRule, TagFilter};
use super::given::{Given, scalar};
use super::parse::{self, Problem};
use super::{Endpoint, RuleKind, RuleSpec, Secret};

/// `k:v` pairs between commas and blanks (spec: tags 9.4). The first colon separates; case is kept. In `datadog.yaml`
/// an element of a list is one tag, blanks and all, and a mapping works too.
pub fn tags(given: &mut Given<'_>) -> Result<Vec<(String, String)>, Problem> {
    let mut found: Vec<(String, String)> = Vec::new();
    if given.text().is_ok() {
        for piece in given.list(&[',', ' ', '\t', '\n', '\r'])? {
            push_tag(given, &mut found, &piece);
        }
    } else {
        match given.json()?.as_ref() {
            Value::Array(items) => {
                for item in items {
                    match item {
                        Value::Object(map) => push_map(given, &mut found, map),
                        other => push_tag(given, &mut found, &scalar(other).unwrap_or_default()),
                    }
                }
            }
            Value::Object(map) => push_map(given, &mut found, map),
            _ => return Err("neither text nor a list of key:value".into()),
        }
    }
    Ok(found)
}

fn push_map(given: &mut Given<'_>, found: &mut Vec<(String, String)>, map: &Map<String, Value>) {
    for (key, value) in map {
        push_tag(given, found, &format!("{key}:{}", scalar(value).unwrap_or_default()));
    }
}

fn push_tag(given: &mut Given<'_>, found: &mut Vec<(String, String)>, piece: &str) {
    match piece.split_once(':') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => found.push((key.to_owned(), value.to_owned())),
        _ => given.note(piece, "not a tag of the form key:value".into()),
    }
}

/// Adds `more` to `tags`: a key that is there already keeps its place and gets the later value.
pub fn extend_tags(tags: &mut Vec<(String, String)>, more: Vec<(String, String)>) {
    let mut places: HashMap<String, usize> = tags.iter().enumerate().map(|(i, (k, _))| (k.clone(), i)).collect();
    for (key, value) in more {
        match places.get(&key) {
            Some(&place) => tags[place].1 = value,
            None => {
                places.insert(key.clone(), tags.len());
                tags.push((key, value));
            }
        }
    }
}

/// `{"url": ["key", …]}`: the additional endpoints of metrics and traces. A single key needs no list.
pub fn endpoints(given: &mut Given<'_>) -> Result<Vec<Endpoint>, Problem> {
    let json = given.json()?;
    let map = match json.as_ref() {
        Value::Null => return Ok(Vec::new()),
        Value::Object(map) => map,
        _ => return Err("not an object of the form {\"https://host\": [\"key\"]}".into()),
    };
    let mut found = Vec::new();
    for (url, keys) in map {
        let keys = match keys {
            Value::Array(keys) => keys.as_slice(),
            single => std::slice::from_ref(single),
        };
        let url = parse::url(parse::unquote(url), "https");
        for key in keys {
            match endpoint(&url, scalar(key)) {
                Ok(endpoint) => found.push(endpoint),
                // The text may be a key that was taken for a URL; a good URL is none.
                Err(problem) => given.note(url.as_deref().unwrap_or("an endpoint"), problem),
            }
        }
    }
    Ok(found)
}

fn endpoint(url: &Result<String, Problem>, key: Option<Cow<'_, str>>) -> Result<Endpoint, Problem> {
    let url = url.clone()?;
    let key = parse::api_key(parse::unquote(&key.ok_or("its API key is not text")?))?;
    if key.is_empty() {
        return Err("it has no API key".into());
    }
    Ok(Endpoint { url, api_key: Secret::new(key) })
}

/// `[{"api_key", "Host", "Port", "is_reliable"}]`: the additional endpoints of logs. Only the key and the host must be
/// there; letter case of the names does not matter; every endpoint is retried alike, so `is_reliable` changes nothing.
pub fn log_endpoints(given: &mut Given<'_>, scheme: &str) -> Result<Vec<Endpoint>, Problem> {
    each_object(given, "[{\"api_key\": …, \"Host\": …, \"Port\": …}]", "endpoint", |map| {
        let host = field(map, "host").filter(|h| !h.is_empty()).ok_or("it has no Host")?;
        let host = match field(map, "port").filter(|p| !p.is_empty()) {
            None => host,
            Some(port) => format!("{}:{}", host.trim_end_matches('/'), parse::port_number(&port)?),
        };
        endpoint(&parse::url(&host, scheme), field(map, "api_key").map(Cow::Owned))
    })
}

/// `[{"type", "name", "pattern", "replace_placeholder"}]` (spec: logs 6.5), in order. A rule without a name is known by
/// its number.
pub fn rules(given: &mut Given<'_>) -> Result<Vec<RuleSpec>, Problem> {
    let mut number = 0;
    each_object(given, "[{\"type\": …, \"name\": …, \"pattern\": …}]", "rule", |map| {
        number += 1;
        let kind = match field(map, "type").unwrap_or_default().as_str() {
            "exclude_at_match" => RuleKind::ExcludeAtMatch,
            "include_at_match" => RuleKind::IncludeAtMatch,
            "mask_sequences" => RuleKind::MaskSequences,
            "multi_line" => return Err("multi_line does not apply to Lambda, where a record is a log".into()),
            _ => return Err("its type is none of exclude_at_match, include_at_match, mask_sequences".into()),
        };
        let pattern = match map.get("pattern") {
            Some(Value::String(pattern)) if !pattern.is_empty() => pattern.clone(),
            _ => return Err("it has no pattern".into()),
        };
        let placeholder = match map.get("replace_placeholder") {
            Some(value) => scalar(value).ok_or("its replace_placeholder is not text")?.into_owned(),
            None => String::new(),
        };
        let name = field(map, "name").filter(|n| !n.is_empty()).unwrap_or_else(|| format!("rule {number}"));
        Ok(RuleSpec { kind, name, pattern, placeholder })
    })
}

/// `[{"name", "pattern", "repl"}]` (spec: traces 4.4), in order.
pub fn replace_rules(given: &mut Given<'_>) -> Result<Vec<ReplaceRule>, Problem> {
    each_object(given, "[{\"name\": …, \"pattern\": …, \"repl\": …}]", "rule", |map| {
        let name = field(map, "name").filter(|n| !n.is_empty()).ok_or("it has no name; * is every tag")?;
        let pattern = match map.get("pattern") {
            Some(Value::String(pattern)) if !pattern.is_empty() => pattern.clone(),
            _ => return Err(format!("it has no pattern (its name is {name:?})").into()),
        };
        let replacement = match map.get("repl") {
            Some(value) => scalar(value).ok_or("its repl is not text")?.into_owned(),
            None => String::new(),
        };
        Ok(ReplaceRule { name, pattern, replacement })
    })
}

/// `key` or `key:value`; the value may have colons.
pub fn tag_filter(text: &str) -> Result<TagFilter, Problem> {
    let (key, value) = text.split_once(':').unwrap_or((text, ""));
    let (key, value) = (key.trim().to_owned(), value.trim());
    if key.is_empty() {
        return Err("not a tag of the form key or key:value".into());
    }
    Ok(TagFilter { key, value: Some(value).filter(|v| !v.is_empty()).map(str::to_owned) })
}

/// Reads each object of a list, or the only one there is.
fn each_object<T>(
    given: &mut Given<'_>,
    form: &str,
    noun: &str,
    mut read: impl FnMut(&Map<String, Value>) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    let json = given.json()?;
    let items = match json.as_ref() {
        Value::Null => return Ok(Vec::new()),
        Value::Array(items) => items.as_slice(),
        single @ Value::Object(_) => std::slice::from_ref(single),
        _ => return Err(format!("not a list of the form {form}").into()),
    };
    let mut found = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let read = match item {
            Value::Object(map) => read(map),
            _ => Err("not an object".into()),
        };
        match read {
            Ok(value) => found.push(value),
            Err(problem) => given.note(&format!("{noun} {}", i + 1), problem),
        }
    }
    Ok(found)
}

/// The trimmed text of a scalar entry, its name in any letter case.
fn field(map: &Map<String, Value>, name: &str) -> Option<String> {
    let value = map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?.1;
    scalar(value).map(|text| text.trim().to_owned())
}
