//! Replace rules: what users mask in the values of tags and in resources (spec: traces 4.4). Pure; on the trace agent's
//! thread.
//!
//! The rules apply in their order. `*` is every tag but those of the agents and tracers themselves, whose keys begin with
//! `_` (`_dd.p.tid` is half of a trace's id), and the resource. Numeric tags and the attributes of span events stay as
//! they are.

use super::span::{Span, Store, Text};
use crate::codec::pattern::{BadPattern, Pattern, Replaced};
use crate::config::apm::ReplaceRule;
use crate::diag::counters::{self, Counter};

/// Longest value in bytes that a rule makes of a shorter one: what the Go agent lets a value be.
const MAX_VALUE: usize = 25_000;

/// Length of the pool in bytes from which on rules make no value longer than it was: what the values of a window may grow
/// by in all.
const MAX_POOL: usize = 16 << 20;

/// What [`Replacer::rest`] keeps of each buffer, in bytes.
const KEEP: usize = 16 << 10;

/// The rules in force.
#[derive(Debug, Default)]
pub struct Replacer {
    rules: Vec<Rule>,
    /// What the last rule that matched made of the value.
    value: Vec<u8>,
    /// Where the next one writes.
    next: Vec<u8>,
}

#[derive(Debug)]
struct Rule {
    /// [`ReplaceRule::name`].
    name: String,
    pattern: Pattern,
    replacement: String,
}

impl Replacer {
    /// Compiles the rules; what does not compile is returned beside the rules that do.
    #[must_use]
    pub fn new(rules: &[ReplaceRule]) -> (Self, Vec<BadPattern>) {
        let (mut replacer, mut bad) = (Self::default(), Vec::new());
        for (i, ReplaceRule { name, pattern, replacement }) in rules.iter().enumerate() {
            match Pattern::new(pattern, format!("{pattern:?} of rule {} of DD_APM_REPLACE_TAGS, for {name:?},", i + 1))
            {
                Ok(pattern) => {
                    replacer.rules.push(Rule { name: name.clone(), pattern, replacement: replacement.clone() });
                }
                Err(problem) => bad.push(problem),
            }
        }
        (replacer, bad)
    }

    /// Applies the rules to the tags and the resource of `span`. The function's tags are not among them: see
    /// [`Replacer::pairs`].
    pub fn span(&mut self, span: &mut Span, body: &[u8], store: &mut Store) {
        if self.rules.is_empty() {
            return;
        }
        for index in span.meta.first..span.meta.first + span.meta.count {
            let Some(pair) = store.pairs.get(index as usize).filter(|pair| pair.key != Text::GONE) else { continue };
            let (key, value) = (pair.key.of(body, &store.pool), pair.value.of(body, &store.pool));
            if self.apply(&|rule| rule.concerns(key), value, longest(value, store)) {
                store.replace(index, &self.value);
            }
        }
        let resource = span.resource.of(body, &store.pool);
        if self.apply(&Rule::concerns_resource, resource, longest(resource, store)) {
            span.resource = Text::pooled(&mut store.pool, &self.value);
        }
    }

    /// Applies the rules to tags that go onto every span: once, when they are known.
    pub fn pairs(&mut self, tags: &mut [(String, String)]) {
        for (key, value) in tags {
            if self.apply(&|rule| rule.concerns(key.as_bytes()), value.as_bytes(), MAX_VALUE.max(value.len())) {
                *value = String::from_utf8_lossy(&self.value).into_owned();
            }
        }
    }

    /// What the rules make of the resource of stats that a tracer computed; `None` if it stays.
    pub fn resource(&mut self, resource: &[u8]) -> Option<Vec<u8>> {
        let limit = MAX_VALUE.max(resource.len());
        self.apply(&Rule::concerns_resource, resource, limit).then(|| self.value.clone())
    }

    /// What the rules make of the HTTP status of such stats; it stays if that is no number.
    pub fn status_code(&mut self, code: u32) -> u32 {
        if self.rules.is_empty() {
            return code;
        }
        let text = code.to_string();
        self.apply(&|rule| rule.concerns(b"http.status_code"), text.as_bytes(), MAX_VALUE);
        std::str::from_utf8(&self.value).ok().and_then(|text| text.parse().ok()).unwrap_or(code)
    }

    /// Gives back the memory that only long values need.
    pub fn rest(&mut self) {
        for buffer in [&mut self.value, &mut self.next] {
            buffer.clear();
            buffer.shrink_to(KEEP);
        }
    }

    /// Applies the rules that `concern` a value to it. Whether one of them matched; the result is then in `self.value`,
    /// which is empty otherwise.
    fn apply(&mut self, concern: &dyn Fn(&Rule) -> bool, value: &[u8], limit: usize) -> bool {
        let Self { rules, value: result, next } = self;
        let mut matched = false;
        result.clear();
        for rule in rules.iter().filter(|rule| concern(rule)) {
            let text = if matched { &result[..] } else { value };
            let replaced = rule.pattern.replace_all(text, &rule.replacement, limit, next);
            if replaced == Replaced::Cut {
                counters::count(Counter::ReplacedCut);
            }
            if replaced != Replaced::Nothing {
                matched = true;
                std::mem::swap(result, next);
            }
        }
        matched
    }
}

impl Rule {
    fn concerns(&self, key: &[u8]) -> bool {
        if self.name == "*" { !key.starts_with(b"_") } else { self.name.as_bytes() == key && !self.concerns_resource() }
    }

    fn concerns_resource(&self) -> bool {
        self.name == "*" || self.name == "resource.name"
    }
}

/// How long what the rules make of `value` may be.
fn longest(value: &[u8], store: &Store) -> usize {
    if store.pool.len() < MAX_POOL { MAX_VALUE.max(value.len()) } else { value.len() }
}

#[cfg(test)]
mod tests;
