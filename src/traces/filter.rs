//! Which traces the user does not want: ignored resources and tag filters (spec: traces 4.4). Looks at the root, before
//! anything of the function's is put on it. Pure; on the trace agent's thread.
//!
//! A filter whose pattern does not compile is left out and said: neither may a typo in a requirement drop every trace,
//! nor one in a rejection keep what another filter rejects.

use super::span::{Span, Store};
use crate::codec::pattern::{BadPattern, Pattern};
use crate::config::apm::{Apm, TagFilter};
use crate::diag::counters::Counter;

/// Why a trace is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its root's resource is one of `DD_APM_IGNORE_RESOURCES`.
    Resource,
    /// A filter of `DD_APM_FILTER_TAGS_*`.
    Tags,
}

impl Reason {
    /// What counts the spans of such traces.
    #[must_use]
    pub fn counter(self) -> Counter {
        match self {
            Self::Resource => Counter::SpansIgnored,
            Self::Tags => Counter::SpansFiltered,
        }
    }
}

/// The filters in force.
#[derive(Debug, Default)]
pub struct Filter {
    ignored: Vec<Pattern>,
    /// In the order in which they are looked at.
    conditions: Vec<Condition>,
}

#[derive(Debug)]
struct Condition {
    key: String,
    want: Want,
    /// Whether a root for which this holds is dropped, or one for which it does not.
    reject: bool,
}

/// What the value of a tag must be.
#[derive(Debug)]
enum Want {
    Anything,
    Text(String),
    Match(Pattern),
}

impl Filter {
    /// Compiles the patterns; what does not compile is returned beside the filters that do.
    #[must_use]
    pub fn new(settings: &Apm) -> (Self, Vec<BadPattern>) {
        let (mut filter, mut bad) = (Self::default(), Vec::new());
        for text in &settings.ignore_resources {
            match Pattern::new(text, format!("{text:?} of DD_APM_IGNORE_RESOURCES")) {
                Ok(pattern) => filter.ignored.push(pattern),
                Err(problem) => bad.push(problem),
            }
        }
        let filters = &settings.filters;
        for (list, reject, setting) in [
            (&filters.require, false, None),
            (&filters.regex_require, false, Some("DD_APM_FILTER_TAGS_REGEX_REQUIRE")),
            (&filters.reject, true, None),
            (&filters.regex_reject, true, Some("DD_APM_FILTER_TAGS_REGEX_REJECT")),
        ] {
            for tag in list {
                match want(tag, setting) {
                    Ok(want) => filter.conditions.push(Condition { key: tag.key.clone(), want, reject }),
                    Err(problem) => bad.push(problem),
                }
            }
        }
        (filter, bad)
    }

    /// Whether the user does not want traces of this resource.
    #[must_use]
    pub fn ignores(&self, resource: &[u8]) -> bool {
        self.ignored.iter().any(|pattern| pattern.is_match(resource))
    }

    /// Why the trace with this root is dropped; `None` if it stays.
    #[must_use]
    pub fn rejects(&self, root: &Span, body: &[u8], store: &Store) -> Option<Reason> {
        if self.ignored.is_empty() && self.conditions.is_empty() {
            return None;
        }
        if self.ignores(root.resource.of(body, &store.pool)) {
            return Some(Reason::Resource);
        }
        let rejected = |condition: &Condition| {
            let holds = value(root, &condition.key, body, store).is_some_and(|value| condition.want.is(value));
            holds == condition.reject
        };
        self.conditions.iter().any(rejected).then_some(Reason::Tags)
    }
}

/// `setting` is the one whose values are patterns.
fn want(tag: &TagFilter, setting: Option<&str>) -> Result<Want, BadPattern> {
    Ok(match (&tag.value, setting) {
        (None, _) => Want::Anything,
        (Some(text), None) => Want::Text(text.clone()),
        (Some(text), Some(setting)) => {
            Want::Match(Pattern::new(text, format!("{:?} of {setting}", [&tag.key, ":", text].concat()))?)
        }
    })
}

impl Want {
    fn is(&self, value: &[u8]) -> bool {
        match self {
            Self::Anything => true,
            Self::Text(text) => text.as_bytes() == value,
            Self::Match(pattern) => pattern.is_match(value),
        }
    }
}

/// The value of a tag of the root, else of the field that goes by its name.
fn value<'a>(root: &Span, key: &str, body: &'a [u8], store: &'a Store) -> Option<&'a [u8]> {
    store.meta(root, key.as_bytes(), body).or_else(|| {
        let field = match key {
            "name" => root.name,
            "service" => root.service,
            "resource" => root.resource,
            "type" => root.kind,
            _ => return None,
        };
        Some(field.of(body, &store.pool))
    })
}

#[cfg(test)]
mod tests {
    use super::super::span::{Pair, Part, Text};
    use super::*;
    use crate::config::apm::Filters;

    fn tags(list: &[&str]) -> Vec<TagFilter> {
        let tag = |text: &&str| match text.split_once(':') {
            None => TagFilter { key: (*text).to_owned(), value: None },
            Some((key, value)) => TagFilter { key: key.to_owned(), value: Some(value.to_owned()) },
        };
        list.iter().map(tag).collect()
    }

    fn root(store: &mut Store) -> Span {
        let pool = &mut store.pool;
        let pairs = [("env", "prod"), ("http.url", "https://a.example:80/x"), ("empty", "")];
        store.pairs = pairs
            .map(|(key, value)| Pair {
                key: Text::pooled(pool, key.as_bytes()),
                value: Text::pooled(pool, value.as_bytes()),
            })
            .to_vec();
        Span {
            name: Text::pooled(pool, b"aws.lambda"),
            service: Text::pooled(pool, b"shop"),
            resource: Text::pooled(pool, b"GET /health"),
            kind: Text::pooled(pool, b"serverless"),
            meta: Part { first: 0, count: 3 },
            ..Span::default()
        }
    }

    fn check(settings: &Apm, expected: Option<Reason>) {
        let mut store = Store::default();
        let root = root(&mut store);
        assert_eq!(Filter::new(settings).0.rejects(&root, &[], &store), expected, "{settings:?}");
    }

    #[test]
    fn tag_filters() {
        // Filters, and whether a trace stays: as requirement, pattern to require, rejection, pattern to reject.
        for (list, kept) in [
            (&[][..], [true, true, true, true]),
            (&["env"], [true, true, false, false]),
            (&["none"], [false, false, true, true]),
            (&["env:prod"], [true, true, false, false]),
            (&["env:pro"], [false, true, true, false]),
            (&["env:^pro$"], [false, false, true, true]),
            (&["empty"], [true, true, false, false]),
            (&["http.url:https://a.example:80/x"], [true, true, false, false]),
            (&["env:prod", "env:dev"], [false, false, false, false]),
            (&["env:prod", "none"], [false, false, false, false]),
            // Fields by name.
            (&["name:aws.lambda"], [true, true, false, false]),
            (&["service:shop"], [true, true, false, false]),
            (&["resource:GET /health"], [true, true, false, false]),
            (&["type:serverless"], [true, true, false, false]),
            (&["type"], [true, true, false, false]),
            // A pattern that is none is left out.
            (&["env:("], [false, true, true, true]),
            (&["env:(", "none:x"], [false, false, true, true]),
        ] {
            let lists = [
                Filters { require: tags(list), ..Filters::default() },
                Filters { regex_require: tags(list), ..Filters::default() },
                Filters { reject: tags(list), ..Filters::default() },
                Filters { regex_reject: tags(list), ..Filters::default() },
            ];
            for (filters, kept) in lists.into_iter().zip(kept) {
                check(&Apm { filters, ..Apm::default() }, (!kept).then_some(Reason::Tags));
            }
        }
    }

    #[test]
    fn ignored_resources() {
        let settings = |list: &[&str]| Apm {
            ignore_resources: list.iter().map(|text| (*text).to_owned()).collect(),
            filters: Filters { reject: tags(&["env"]), ..Filters::default() },
            ..Apm::default()
        };
        for (list, expected) in [
            (&[][..], Reason::Tags),
            (&["health"], Reason::Resource),
            (&["^GET /health$"], Reason::Resource),
            (&["POST", "^GET /"], Reason::Resource),
            (&["^/health"], Reason::Tags),
            (&["(", "health"], Reason::Resource),
        ] {
            check(&settings(list), Some(expected));
        }
    }

    #[test]
    fn a_tag_of_that_name_comes_before_the_field() {
        let mut store = Store::default();
        let mut root = root(&mut store);
        store.set(&mut root, b"name", b"other", &[]);
        let filters = Filters { reject: tags(&["name:other"]), ..Filters::default() };
        let (filter, _) = Filter::new(&Apm { filters, ..Apm::default() });
        assert_eq!(filter.rejects(&root, &[], &store), Some(Reason::Tags));
    }

    #[test]
    fn bad_patterns_are_named() {
        let filters = Filters { regex_reject: tags(&["env:("]), regex_require: tags(&["a:b:["]), ..Filters::default() };
        let bad = Filter::new(&Apm { filters, ignore_resources: vec!["*".to_owned()], ..Apm::default() }).1;
        let said: Vec<_> = bad.iter().map(ToString::to_string).collect();
        for (line, start) in said.iter().zip([
            r#""*" of DD_APM_IGNORE_RESOURCES is ignored: correct its pattern ("#,
            r#""a:b:[" of DD_APM_FILTER_TAGS_REGEX_REQUIRE is ignored"#,
            r#""env:(" of DD_APM_FILTER_TAGS_REGEX_REJECT is ignored"#,
        ]) {
            assert!(line.starts_with(start), "{line}");
        }
        assert_eq!(said.len(), 3);
    }
}
