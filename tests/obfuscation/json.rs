//! JSON documents.

use std::collections::HashSet;

use libdd_trace_obfuscation::json::JsonObfuscator;
use libdd_trace_obfuscation::obfuscation_config::JsonObfuscatorConfig;
use proptest::prelude::*;
use thimble::config::apm::JsonObfuscation;
use thimble::traces::obfuscate::json::Json;

use crate::differ::{Class, Dice, compare, output};

/// Keys whose values stay, and keys whose values are statements.
const KEEP: [&str; 2] = ["keep", "id"];
const SQL: [&str; 2] = ["query", "sql"];

fn upper(statement: &str) -> String {
    statement.to_ascii_uppercase()
}

fn ours(text: &str, keep: &[&str], sql: &[&str]) -> String {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let settings = JsonObfuscation { enabled: true, keep_values: names(keep), obfuscate_sql_values: names(sql) };
    let statement = &mut |statement: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(upper(std::str::from_utf8(statement).unwrap()).as_bytes());
        true
    };
    output(|out| Json::default().obfuscate(text.as_bytes(), &settings, statement, out))
}

fn theirs(text: &str, keep: &[&str], sql: &[&str]) -> String {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<HashSet<_>>();
    let config = JsonObfuscatorConfig { enabled: true, keep_keys: names(keep), transform_keys: names(sql) };
    JsonObfuscator::new(config).obfuscate_with(text, |sql| Ok::<_, ()>(upper(sql).into())).output
}

fn value(dice: &mut Dice, depth: usize, out: &mut String) {
    let blank = |dice: &mut Dice| dice.pick(&["", "", "", " ", "\n", "\t "]);
    match dice.roll(if depth == 0 { 6 } else { 10 }) {
        0..=5 => out.push_str(dice.pick(&[
            "1",
            "-0.5e+10",
            "0",
            "true",
            "false",
            "null",
            "\"\"",
            "\"text\"",
            "\"a\\\"b\\\\\"",
            "\"\\u00e9\\n\"",
            "\"é {[,:\"",
            "\"select 1\"",
            "\"\\ud83d\\ude00\"",
        ])),
        kind => {
            out.push(if kind < 8 { '[' } else { '{' });
            let count = dice.roll(4);
            for at in 0..count {
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(blank(dice));
                if kind >= 8 {
                    out.push_str(dice.pick(&[
                        "\"a\"",
                        "\"keep\"",
                        "\"id\"",
                        "\"query\"",
                        "\"sql\"",
                        "\"\"",
                        "\"k\\\"\"",
                        "\"é\"",
                    ]));
                    out.push_str(blank(dice));
                    out.push(':');
                    out.push_str(blank(dice));
                }
                value(dice, depth - 1, out);
                out.push_str(blank(dice));
            }
            out.push(if kind < 8 { ']' } else { '}' });
        }
    }
}

fn corpus() -> Vec<String> {
    let mut dice = Dice(2);
    let mut corpus: Vec<String> = [
        "",
        " ",
        "{}",
        "[] ",
        "\n{}",
        "nul",
        "01",
        "1 2",
        "{} 1",
        "{}{}",
        "[1][2]",
        "\"a\"\"b\"",
        "{\"a\":1}, {}",
        "{\"query\":\"\\ud83d\"}",
        "{\"query\":true}",
        "{\"query\":\"a\\u0008\"}",
        "{'a':1}",
        "{\"a\":NaN}",
        "{\"a\":.5}",
        "{\"a\":1.}",
    ]
    .map(str::to_owned)
    .into();
    for _ in 0..300 {
        let mut text = String::new();
        value(&mut dice, 4, &mut text);
        // Cut, or with a byte that does not belong there.
        let at = dice.roll(text.len() + 1);
        if text.is_char_boundary(at) {
            corpus.push(text[..at].to_owned());
            let mut wrong = text.clone();
            wrong.insert_str(at, dice.pick(&["}", "]", ",", ":", "\"", "x", "1", "\\", "\u{1}", "-", "e", " "]));
            corpus.push(wrong);
        }
        // Several documents.
        if dice.roll(4) == 0 {
            text.push_str(dice.pick(&["", "\n", " "]));
            value(&mut dice, 3, &mut text);
        }
        corpus.push(text);
    }
    corpus
}

const CLASSES: [Class; 5] = [
    Class {
        why: "a number or a word is no statement and hidden like another",
        explains: |_, ours, theirs| ours == without_numbers(theirs),
    },
    Class {
        why: "a literal after a document is a value and hidden; theirs is shown like a key, or missing",
        explains: |_, ours, theirs| {
            let theirs = without_numbers(theirs);
            let common = ours.bytes().zip(theirs.bytes()).take_while(|(a, b)| a == b).count();
            let first = |end: usize| {
                let mut values = serde_json::Deserializer::from_str(&ours[..end]).into_iter::<serde_json::Value>();
                values.by_ref().all(|value| value.is_ok()) && ours[values.byte_offset()..end].trim().is_empty()
            };
            // The quote that ours starts with may be common too.
            [common, common.saturating_sub(1)].into_iter().any(|end| first(end) && ours[end..].starts_with("\"?\""))
        },
    },
    Class {
        why: "half a surrogate pair is U+FFFD; theirs makes a statement of what it was written as",
        explains: |text, ours, _| text.contains("\\ud83d\"") && ours.contains('\u{fffd}'),
    },
    Class {
        why: "a statement that is whole is shown, whatever follows it",
        explains: |_, ours, theirs| theirs.strip_suffix(":...").is_some_and(|theirs| ours.starts_with(theirs)),
    },
    Class {
        why: "a backspace is escaped in another way",
        explains: |_, ours, theirs| ours.replace("\\u0008", "\\b") == theirs,
    },
];

/// `text` with what [`upper`] made of numbers and words hidden.
fn without_numbers(text: &str) -> String {
    let mut text = text.to_owned();
    for key in SQL {
        for literal in ["1", "0", "-0.5E+10", "TRUE", "FALSE", "NULL"] {
            text = text.replace(&format!("\"{key}\":\"{literal}\""), &format!("\"{key}\":\"?\""));
        }
    }
    text
}

/// Each document with each combination of settings, which its first two bytes say.
#[test]
fn documents() {
    let documents = corpus();
    let settings = ["--", "k-", "-s", "ks"];
    let corpus: Vec<_> =
        settings.iter().flat_map(|settings| documents.iter().map(move |text| format!("{settings}{text}"))).collect();
    let keep = |text: &str| if text.starts_with('k') { &KEEP[..] } else { &[] };
    let sql = |text: &str| if text[1..].starts_with('s') { &SQL[..] } else { &[] };
    let ours = |text: &str| ours(&text[2..], keep(text), sql(text));
    let theirs = |text: &str| theirs(&text[2..], keep(text), sql(text));
    compare(&corpus, 3_000, &ours, &theirs, &CLASSES);
}

proptest! {
    #[test]
    fn anything_goes(text in "\\PC{0,40}|[\\[\\]{}\",:0-9a-z\\\\ \n]{0,60}", keep: bool) {
        let out = ours(&text, if keep { &["a"] } else { &[] }, &["b"]);
        prop_assert!(out.len() <= 3 * text.len() + 3);
    }
}
