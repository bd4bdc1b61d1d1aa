//! `datadog.yaml`: from text to a tree of JSON values.
//!
//! Owns the bounds on what a document may cost: its bytes, its depth, and what its aliases expand to. Scalars stay
//! text, so that `version: 1.10` is not the number 1.1; the parser of each setting gives them a type. Refuses to know
//! any setting. Pure; runs once, on the main thread, only when there is a file.

use std::collections::HashMap;
use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};

/// Longest text that is read, in bytes.
pub const MAX_TEXT: usize = 256 * 1024;
/// Deepest nesting.
const MAX_DEPTH: usize = 32;
/// Most that the tree may hold with every alias expanded, in bytes.
const MAX_TREE: usize = 4 * 1024 * 1024;
/// What an empty value counts for against [`MAX_TREE`].
const NODE: usize = 32;

/// Why a document cannot be used, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line, from 1; 0 if the fault has no place.
    line: usize,
    /// Column, from 1.
    column: usize,
    /// What is wrong.
    problem: String,
}

impl Fault {
    fn new(at: Span, problem: &str) -> Self {
        Self { line: at.start.line(), column: at.start.col() + 1, problem: problem.to_owned() }
    }

    fn without_place(problem: &str) -> Self {
        Self { line: 0, column: 0, problem: problem.to_owned() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        f.write_str(&self.problem)
    }
}

/// Reads the first document of `text`: a mapping, or nothing at all.
///
/// Scalars are [`Value::String`], or [`Value::Null`] where YAML says null.
///
/// # Errors
/// A syntax error, a top level that is not a mapping, or a document beyond the bounds.
pub fn parse(text: &str) -> Result<Value, Fault> {
    if text.len() > MAX_TEXT {
        return Err(Fault::without_place("longer than 256 KB"));
    }
    // The parser is foreign code with assertions of its own; a panic here would cost the function.
    std::panic::catch_unwind(|| build(text))
        .unwrap_or_else(|_| Err(Fault::without_place("the YAML parser gave up on it")))
}

fn build(text: &str) -> Result<Value, Fault> {
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let (event, at) = event.map_err(|e| Fault {
            line: e.marker().line(),
            column: e.marker().col() + 1,
            problem: e.info().to_owned(),
        })?;
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        tree.on_event(event).map_err(|problem| Fault::new(at, problem))?;
    }
    match tree.root {
        None | Some(Value::Null) => Ok(Value::Object(Map::new())),
        Some(root @ Value::Object(_)) => Ok(root),
        Some(_) => Err(Fault { line: 1, column: 1, problem: "the top level is not a mapping".to_owned() }),
    }
}

/// A collection that is still open.
struct Open {
    anchor: usize,
    /// What had been spent when it was opened: the difference at its end is what an alias of it costs.
    spent_before: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Value>),
    Map { entries: Map<String, Value>, key: Option<String> },
}

#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    /// Values by anchor, with their cost.
    anchors: HashMap<usize, (Value, usize)>,
    spent: usize,
    root: Option<Value>,
}

impl Tree {
    fn on_event(&mut self, event: Event<'_>) -> Result<(), &'static str> {
        match event {
            Event::SequenceStart(anchor, _) => self.begin(anchor, Kind::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.begin(anchor, Kind::Map { entries: Map::new(), key: None }),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(NODE + text.len())?;
                let null = style == ScalarStyle::Plain
                    && tag.is_none()
                    && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let cost = NODE + text.len();
                let value = if null { Value::Null } else { Value::String(text.into_owned()) };
                self.remember(anchor, &value, cost)?;
                self.place(value)
            }
            Event::Alias(anchor) => {
                // An anchor inside its own value is not known yet.
                let (value, cost) = self.anchors.get(&anchor).ok_or("an alias of something that is not complete")?;
                let (value, cost) = (value.clone(), *cost);
                self.spend(cost)?;
                self.place(value)
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn begin(&mut self, anchor: usize, kind: Kind) -> Result<(), &'static str> {
        if self.open.len() == MAX_DEPTH {
            return Err("nested too deeply");
        }
        self.open.push(Open { anchor, spent_before: self.spent, kind });
        self.spend(NODE)
    }

    fn end(&mut self) -> Result<(), &'static str> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.kind {
            Kind::List(items) => Value::Array(items),
            Kind::Map { entries, .. } => Value::Object(entries),
        };
        self.remember(open.anchor, &value, self.spent - open.spent_before)?;
        self.place(value)
    }

    /// Puts a complete value where it belongs.
    fn place(&mut self, value: Value) -> Result<(), &'static str> {
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(value),
            Some(Kind::List(items)) => items.push(value),
            Some(Kind::Map { entries, key }) => match key.take() {
                None => match value {
                    Value::String(text) => *key = Some(text),
                    Value::Null => *key = Some(String::new()),
                    _ => return Err("a key that is not plain text"),
                },
                Some(name) if name == "<<" => merge(entries, value),
                Some(name) => {
                    entries.insert(name, value);
                }
            },
        }
        Ok(())
    }

    /// Keeps a value for its aliases; a copy costs as much again.
    fn remember(&mut self, anchor: usize, value: &Value, cost: usize) -> Result<(), &'static str> {
        if anchor != 0 {
            self.spend(cost)?;
            self.anchors.insert(anchor, (value.clone(), cost));
        }
        Ok(())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.spent += bytes;
        if self.spent > MAX_TREE { Err("too large once its aliases are expanded") } else { Ok(()) }
    }
}

/// YAML's merge key: the entries of one mapping, or of a list of them, where there are none of that name yet.
fn merge(entries: &mut Map<String, Value>, value: Value) {
    match value {
        Value::Object(more) => {
            for (name, value) in more {
                entries.entry(name).or_insert(value);
            }
        }
        Value::Array(list) => list.into_iter().filter(Value::is_object).for_each(|map| merge(entries, map)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, json: &str) {
        let expected: Value = serde_json::from_str(json).unwrap();
        assert_eq!(parse(text), Ok(expected), "{text:?}");
    }

    fn fails(text: &str, message: &str) {
        let fault = parse(text).unwrap_err().to_string();
        assert!(fault.contains(message), "{text:?}: {fault}");
    }

    #[test]
    fn documents_become_trees_of_text() {
        check("", "{}");
        check("# only a comment\n", "{}");
        check("---\n", "{}");
        check("\u{feff}site: a.b", r#"{"site":"a.b"}"#);
        check("site: datadoghq.eu\r\nversion: 1.10\r\n", r#"{"site":"datadoghq.eu","version":"1.10"}"#);
        check("a: true\nb: 'true'\nc: \"x: y\"", r#"{"a":"true","b":"true","c":"x: y"}"#);
        check("a:\nb: ~\nc: null\nd: 'null'\ne: !!str null", r#"{"a":null,"b":null,"c":null,"d":"null","e":"null"}"#);
        check("logs_config:\n  use_compression: false\n", r#"{"logs_config":{"use_compression":"false"}}"#);
        check("tags:\n- a:b\n- c: d\n", r#"{"tags":["a:b",{"c":"d"}]}"#);
        check("r: [{type: x, pattern: '^a, b'}]", r#"{"r":[{"type":"x","pattern":"^a, b"}]}"#);
        check("p: |\n  one\n  two\n", r#"{"p":"one\ntwo\n"}"#);
        check("a: 1\na: 2", r#"{"a":"2"}"#);
        check("a: &x [1]\nb: *x", r#"{"a":["1"],"b":["1"]}"#);
        check("a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}", r#"{"a":{"k":"1","l":"2"},"b":{"k":"3","l":"2"}}"#);
        check("a: 1\n---\nb: 2\n", r#"{"a":"1"}"#);
    }

    #[test]
    fn faults_say_where_and_what() {
        fails("site: a\n  b: c: d\n", "line 2, column");
        fails("a: [1, 2", "line 2, column 1: ");
        fails("- a\n- b\n", "the top level is not a mapping");
        fails("just text", "the top level is not a mapping");
        fails("a: *nobody", "line 1");
        fails("a: &x [*x]", "not complete");
        fails("{[1]: 2}", "key that is not plain text");
        fails(&format!("a: {}", "[".repeat(100)), "nested too deeply");
        fails(&"x".repeat(MAX_TEXT + 1), "longer than 256 KB");
        let mut laughs = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n".to_owned();
        for i in 1..12 {
            let refs = vec![format!("*a{}", i - 1); 10].join(", ");
            laughs.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        fails(&laughs, "too large once");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-a-c:&*!{}\\[\\],#|>'\"%@` \\n\\t?~<0-1é]{0,200}") {
            let _ = parse(&text);
        }
    }
}
