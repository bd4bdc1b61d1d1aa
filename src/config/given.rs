//! A value as it was given, from an environment variable, `datadog.yaml` or the table's default, and how a row of the
//! table reads it: as a single value, as a list, or as JSON. Pure.
//!
//! Single values come back whole or as a [`Problem`]. Lists come back with what is good in them; each bad element
//! becomes a note and costs nothing but itself.

use std::borrow::Cow;

use serde_json::Value;

use super::parse::{Problem, unquote};

/// Most notes on the elements of one value; the last says how many more there were.
const MAX_NOTES: usize = 8;
/// What is used when an element is left out.
const REST: &str = "the rest";

/// Where a value comes from decides its form.
#[derive(Clone, Copy, Debug)]
pub enum Raw<'a> {
    /// The text of an environment variable or a default.
    Text(&'a str),
    /// A node of `datadog.yaml`: its scalars are strings.
    Node(&'a Value),
}

impl Raw<'_> {
    /// Whether there is nothing: such a value counts as not set.
    pub fn is_blank(&self) -> bool {
        match self {
            Raw::Text(text) => unquote(text).is_empty(),
            Raw::Node(Value::Null) => true,
            Raw::Node(Value::String(text)) => text.trim().is_empty(),
            Raw::Node(Value::Array(list)) => list.is_empty(),
            Raw::Node(Value::Object(map)) => map.is_empty(),
            Raw::Node(_) => false,
        }
    }
}

/// A bad part of a value that is otherwise used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The part, or where it stands.
    pub element: String,
    /// What is wrong with it.
    pub problem: String,
    /// What is used instead.
    pub instead: &'static str,
}

/// A value on its way into the [`super::Config`].
#[derive(Debug)]
pub struct Given<'a> {
    /// The name it was given under.
    pub name: &'a str,
    /// Whether another name of the same row and source has been read before: what is read now joins it.
    pub joins: bool,
    raw: Raw<'a>,
    notes: Vec<Note>,
    unnoted: usize,
}

impl<'a> Given<'a> {
    pub fn new(name: &'a str, raw: Raw<'a>, joins: bool) -> Self {
        Self { name, joins, raw, notes: Vec::new(), unnoted: 0 }
    }

    /// What was wrong with single elements.
    pub fn into_notes(mut self) -> Vec<Note> {
        if self.unnoted > 0 {
            let element = format!("{} more", self.unnoted);
            self.notes.push(Note { element, problem: "of the same kind".to_owned(), instead: REST });
        }
        self.notes
    }

    /// Reports an element that is left out.
    pub fn note(&mut self, element: &str, problem: Problem) {
        self.note_instead(element, problem, REST);
    }

    /// Reports a part in whose place something else is used.
    pub fn note_instead(&mut self, element: &str, problem: Problem, instead: &'static str) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(Note { element: element.to_owned(), problem: problem.into_text(), instead });
        } else {
            self.unnoted += 1;
        }
    }

    /// The text of a single value.
    pub fn text(&self) -> Result<&'a str, Problem> {
        match self.raw {
            Raw::Text(text) => Ok(unquote(text)),
            Raw::Node(Value::String(text)) => Ok(text.trim()),
            Raw::Node(_) => Err("a list or a mapping where a single value belongs".into()),
        }
    }

    /// Reads a single value with `parse`.
    pub fn with<T>(&self, parse: impl FnOnce(&str) -> Result<T, Problem>) -> Result<T, Problem> {
        parse(self.text()?)
    }

    /// A structured value: a node of `datadog.yaml` as it is, text as JSON.
    pub fn json(&self) -> Result<Cow<'a, Value>, Problem> {
        let text = match self.raw {
            Raw::Text(text) => text,
            Raw::Node(Value::String(text)) => text,
            Raw::Node(node) => return Ok(Cow::Borrowed(node)),
        };
        match serde_json::from_str(text) {
            // JSON in quotes, as shells and deployment tools leave it behind.
            Ok(Value::String(inner)) => parse_json(&inner),
            Ok(value) => Ok(Cow::Owned(value)),
            Err(_) => parse_json(unquote(text)),
        }
    }

    /// The elements of a list: a list of `datadog.yaml`, a JSON array, or text split at each of `separators`, with or
    /// without brackets around it. No blank ones.
    pub fn list(&mut self, separators: &[char]) -> Result<Vec<Cow<'a, str>>, Problem> {
        if let Some(elements) = self.array()? {
            return Ok(elements);
        }
        let text = self.text()?;
        let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        let pieces = inner.unwrap_or(text).split(separators).map(unquote);
        Ok(pieces.filter(|piece| !piece.is_empty()).map(Cow::Borrowed).collect())
    }

    /// As [`Given::list`], but text is a line of CSV: commas separate, and an element in double quotes keeps its commas.
    pub fn csv(&mut self) -> Result<Vec<Cow<'a, str>>, Problem> {
        if let Some(elements) = self.array()? {
            return Ok(elements);
        }
        let mut rest = match self.raw {
            Raw::Text(text) => text,
            Raw::Node(node) => node.as_str().unwrap_or_default(),
        };
        let mut elements = Vec::new();
        while !rest.is_empty() {
            let element;
            (element, rest) = match rest.trim_start().strip_prefix('"') {
                Some(quoted) => csv_quoted(quoted),
                None => {
                    let (element, after) = rest.split_once(',').unwrap_or((rest, ""));
                    (Cow::Borrowed(unquote(element)), after)
                }
            };
            if !element.trim().is_empty() {
                elements.push(element);
            }
        }
        Ok(elements)
    }

    /// The elements of a list of `datadog.yaml` or of a JSON array; `None` if it is text of another form.
    fn array(&mut self) -> Result<Option<Vec<Cow<'a, str>>>, Problem> {
        let text = match self.raw {
            Raw::Text(_) | Raw::Node(Value::String(_)) => self.text()?,
            Raw::Node(Value::Array(items)) => return Ok(Some(self.strings(items).map(Cow::Owned).collect())),
            Raw::Node(_) => return Err("a mapping where a list belongs".into()),
        };
        if text.starts_with('[')
            && let Ok(Value::Array(items)) = serde_json::from_str(text)
        {
            return Ok(Some(self.strings(&items).map(Cow::Owned).collect()));
        }
        Ok(None)
    }

    /// As [`Given::list`], each element read with `parse`. If none is left of a list that had some, the value as a
    /// whole is bad.
    pub fn each<T>(
        &mut self,
        separators: &[char],
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        let elements = self.list(separators)?;
        let mut good = Vec::with_capacity(elements.len());
        let mut last = None;
        for element in &elements {
            match parse(element) {
                Ok(value) => good.push(value),
                Err(problem) => {
                    last = Some(problem.clone());
                    self.note(element, problem);
                }
            }
        }
        match last {
            Some(problem) if good.is_empty() => {
                self.notes.clear();
                self.unnoted = 0;
                Err(problem)
            }
            _ => Ok(good),
        }
    }

    /// The scalars of a list as text; what is not a scalar is noted.
    fn strings(&mut self, items: &[Value]) -> std::vec::IntoIter<String> {
        let mut out = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            match scalar(item) {
                Some(text) if text.trim().is_empty() => {}
                Some(text) => out.push(text.trim().to_owned()),
                None => self.note(&format!("element {}", i + 1), "not a single value".into()),
            }
        }
        out.into_iter()
    }
}

/// What stands before the closing quote, and what follows the comma after it. Two quotes are one; a single one that no
/// comma follows is itself.
fn csv_quoted(text: &str) -> (Cow<'_, str>, &str) {
    let mut element = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('"') {
        element.push_str(before);
        rest = after.trim_start();
        if rest.is_empty() || rest.starts_with(',') {
            return (Cow::Owned(element), rest.strip_prefix(',').unwrap_or(rest));
        }
        rest = after.strip_prefix('"').unwrap_or(after);
        element.push('"');
    }
    element.push_str(rest);
    (Cow::Owned(element), "")
}

fn parse_json(text: &str) -> Result<Cow<'static, Value>, Problem> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(Cow::Owned(value)),
        Err(e) => Err(format!("not valid JSON (line {}, column {})", e.line(), e.column()).into()),
    }
}

/// A scalar as text; null is blank.
pub fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => Some(Cow::Borrowed("")),
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(_) | Value::Number(_) => Some(Cow::Owned(value.to_string())),
        Value::Array(_) | Value::Object(_) => None,
    }
}
