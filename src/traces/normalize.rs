//! What the intake demands of a span, put right in place (spec: traces 4.3). Pure; a stage over the borrowed span.

use super::names;
use super::span::{Span, Store, Text};

/// Longest service, name and type, in bytes.
const MAX_NAME: usize = 100;

/// 2000-01-01 in nanoseconds since the epoch: what lies before was never a time.
const YEAR_2000: i64 = 946_684_800_000_000_000;

/// A body, and the strings that are not in it as they go out.
struct Texts<'a> {
    body: &'a [u8],
    pool: &'a mut Vec<u8>,
}

impl Texts<'_> {
    fn get(&self, text: Text) -> &[u8] {
        text.of(self.body, self.pool)
    }

    /// What `write` makes of the first [`names::MAX_LOOK`] bytes of `text`, in the pool; `fallback` if that is nothing.
    fn rewrite(&mut self, text: Text, fallback: &str, write: impl FnOnce(&[u8], &mut Vec<u8>)) -> Text {
        // The text may itself be in the pool, which grows: so it is copied first, onto the stack.
        let source = names::cut(self.get(text), names::MAX_LOOK);
        let mut copy = [0; names::MAX_LOOK];
        copy[..source.len()].copy_from_slice(source);
        let (start, length) = (self.pool.len(), source.len());
        write(&copy[..length], self.pool);
        if self.pool.len() == start {
            self.pool.extend_from_slice(fallback.as_bytes());
        }
        Text::in_pool(self.pool, start)
    }

    fn cut(&self, text: Text) -> Text {
        if text.len() <= MAX_NAME { text } else { text.cut(names::cut(self.get(text), MAX_NAME).len()) }
    }
}

/// Puts a span of the window whose entries are in `store` right. `now` is in nanoseconds since the epoch.
pub fn normalize(span: &mut Span, body: &[u8], store: &mut Store, now: u64) {
    let Store { pairs, pool, .. } = store;
    let mut texts = Texts { body, pool };
    span.service = texts.cut(span.service);
    if span.service.is_empty() || !names::is_tag(texts.get(span.service)) {
        span.service = texts.rewrite(span.service, "unnamed-service", tag);
    }
    span.name = texts.cut(span.name);
    if !names::is_operation(texts.get(span.name)) {
        span.name = texts.rewrite(span.name, "unnamed_operation", names::operation);
    }
    if span.resource.is_empty() {
        span.resource = span.name;
    }
    span.kind = texts.cut(span.kind);
    if span.parent_id == span.trace_id && span.parent_id == span.span_id {
        span.parent_id = 0;
    }
    times(span, now);
    if let Some(env) = span.known.env.and_then(|i| pairs.get_mut(i as usize))
        && !names::is_tag(texts.get(env.value))
    {
        env.value = texts.rewrite(env.value, "", tag);
    }
    if let Some(code) = span.known.status_code.and_then(|i| pairs.get_mut(i as usize))
        && !names::is_status_code(texts.get(code.value))
    {
        code.key = Text::GONE;
        span.known.status_code = None;
    }
}

fn tag(text: &[u8], out: &mut Vec<u8>) {
    names::tag(&String::from_utf8_lossy(text), out);
}

fn times(span: &mut Span, now: u64) {
    if span.duration < 0 || span.start.checked_add(span.duration).is_none() {
        span.duration = 0;
    }
    if span.start < YEAR_2000 {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        span.start = match now.saturating_sub(span.duration) {
            start if start < 0 => now,
            start => start,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::span::{Known, Pair};
    use super::*;

    const NOW: i64 = 1_800_000_000_000_000_000;

    fn normalized(mut span: Span, body: &str) -> (Span, Store) {
        // The whole body is the value of the one pair that there is.
        let pair = Pair { key: Text::default(), value: Text::in_body(0, body.len()) };
        let mut store = Store { pairs: vec![pair], ..Store::default() };
        normalize(&mut span, body.as_bytes(), &mut store, NOW as u64);
        (span, store)
    }

    #[test]
    fn names_of_a_span() {
        let long = "a".repeat(120);
        let wide = format!("{}é", "a".repeat(99));
        // The text, then what it becomes as service, name, resource and type.
        for (text, service, name, resource, kind) in [
            ("", "unnamed-service", "unnamed_operation", "unnamed_operation", ""),
            ("web", "web", "web", "web", "web"),
            ("Web Shop", "web_shop", "Web_Shop", "Web Shop", "Web Shop"),
            ("!!!", "unnamed-service", "unnamed_operation", "!!!", "!!!"),
            ("1/2", "unnamed-service", "unnamed_operation", "1/2", "1/2"),
            (&long, &long[..100], &long[..100], &long, &long[..100]),
            (&wide, &wide[..99], &wide[..99], &wide, &wide[..99]),
        ] {
            let whole = Text::in_body(0, text.len());
            let span = Span { service: whole, name: whole, resource: whole, kind: whole, ..Span::default() };
            let (span, store) = normalized(span, text);
            let got = [span.service, span.name, span.resource, span.kind].map(|t| t.of(text.as_bytes(), &store.pool));
            assert_eq!(got, [service, name, resource, kind].map(str::as_bytes), "{text:?}");
        }
    }

    #[test]
    fn parents() {
        for (trace_id, span_id, parent_id, expected) in
            [(7, 7, 7, 0), (7, 7, 8, 8), (7, 8, 7, 7), (7, 8, 8, 8), (7, 8, 0, 0)]
        {
            let (span, ..) = normalized(Span { trace_id, span_id, parent_id, ..Span::default() }, "");
            assert_eq!(span.parent_id, expected, "{trace_id} {span_id} {parent_id}");
        }
    }

    #[test]
    fn starts_and_durations() {
        for (start, duration, expected) in [
            (NOW, 5, (NOW, 5)),
            (NOW, -5, (NOW, 0)),
            (NOW, i64::MAX, (NOW, 0)),
            (NOW, i64::MIN, (NOW, 0)),
            (0, 5, (NOW - 5, 5)),
            (-1, 0, (NOW, 0)),
            (YEAR_2000 - 1, 5, (NOW - 5, 5)),
            (YEAR_2000, 5, (YEAR_2000, 5)),
            (0, i64::MAX, (NOW, i64::MAX)),
            (i64::MIN, 1, (NOW - 1, 1)),
        ] {
            let (span, ..) = normalized(Span { start, duration, ..Span::default() }, "");
            assert_eq!((span.start, span.duration), expected, "{start} {duration}");
        }
    }

    #[test]
    fn meta_that_is_put_right() {
        for (text, expected) in [("prod", "prod"), ("Prod!", "prod"), ("", ""), ("!", "")] {
            let known = Known { env: Some(0), ..Known::default() };
            let (span, store) = normalized(Span { known, ..Span::default() }, text);
            let env = store.value(span.known.env).map(|env| env.of(text.as_bytes(), &store.pool));
            assert_eq!(env, Some(expected.as_bytes()), "{text}");
        }
        for (text, kept) in [("200", true), ("OK", false), ("", false), ("999", false)] {
            let known = Known { status_code: Some(0), ..Known::default() };
            let (span, store) = normalized(Span { known, ..Span::default() }, text);
            assert_eq!((span.known.status_code.is_some(), store.pairs[0].key != Text::GONE), (kept, kept), "{text}");
        }
    }
}
