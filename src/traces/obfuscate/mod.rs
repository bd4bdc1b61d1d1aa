//! What must not leave the function readable: statements, commands, documents, URLs, numbers of credit cards, stacks (spec:
//! traces 4.4). Pure; runs on the thread `trace-agent`.
//!
//! A span's type says what it may hold, so a span of another type costs one look at it. The settings
//! `sql_exec_plan` and `sql_exec_plan_normalize` have no part in this: the Go agent applies them to what its database
//! checks collect, never to spans.

pub mod cards;
pub mod http;
pub mod json;
pub mod memcached;
pub mod redis;
pub mod sql;

#[cfg(test)]
mod tests;

use super::links;
use super::span::{Span, Store, Text};
use crate::config::apm::Obfuscation;
use crate::diag::counters::{self, Counter};
use json::Json;
use sql::{Dialect, Sql};

/// What stands in place of what is hidden.
const HIDDEN: &[u8] = b"?";

/// What stands in place of a statement that cannot be read. The intake knows this text.
const NOT_SQL: &[u8] = b"Non-parsable SQL query";

/// Tags other than the query itself in which OpenTelemetry's tracers put the statement.
const STATEMENTS: [&[u8]; 2] = [b"db.statement", b"db.query.text"];

/// Tags with the stack of an error: Datadog's and OpenTelemetry's.
const STACKS: [&[u8]; 2] = [b"error.stack", b"exception.stacktrace"];

/// Tags that name the database: Datadog's first, then OpenTelemetry's old and new one. The first that names one whose
/// dialect is known counts; some tracers say no more than "sql" in one of them.
const DATABASES: [&[u8]; 3] = [b"db.type", b"db.system", b"db.system.name"];

/// Bytes of texts outside the body, for one window, after which long texts are hidden whole; twice the body's length if
/// that is more. Spans of a v0.5 payload may all use one long string: what is made of it must not be kept for each.
const POOL: usize = 32 << 20;

/// What is a long text then, in bytes.
const LONG: usize = 256;

/// What [`Obfuscator`] keeps of its memory, in bytes.
const KEEP: usize = 64 << 10;

/// Appends what may be seen of a text.
type Hide<'h> = dyn FnMut(&mut Scratch, &[u8], &mut Vec<u8>) + 'h;

/// The stage, with its reused memory.
#[derive(Debug)]
pub struct Obfuscator {
    settings: Obfuscation,
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Scratch {
    sql: Sql,
    json: Json,
    out: Vec<u8>,
}

impl Obfuscator {
    /// One that follows `settings`.
    #[must_use]
    pub fn new(settings: &Obfuscation) -> Self {
        Self { settings: settings.clone(), scratch: Scratch::default() }
    }

    /// Hides what `span` must not show, in place.
    pub fn span(&mut self, span: &mut Span, body: &[u8], store: &mut Store) {
        if self.settings.credit_cards.enabled && (span.digits || !span.events.is_empty()) {
            self.cards(span, body, store);
        }
        if self.settings.remove_stack_traces {
            for tag in STACKS {
                if let Some(stack) = store.sole(span, tag, body) {
                    store.replace(stack, HIDDEN);
                }
            }
        }
        match span.kind.of(body, &store.pool) {
            b"web" | b"http" => self.url(span, body, store),
            b"sql" | b"cassandra" => self.statement(span, body, store),
            b"redis" => self.command(span, b"redis.raw_command", body, store),
            b"valkey" => self.command(span, b"valkey.raw_command", body, store),
            b"memcached" if self.settings.memcached.enabled => {
                let keep = self.settings.memcached.keep_command;
                self.scratch.tag(span, b"memcached.command", body, store, &mut |_, command, out| {
                    if keep {
                        memcached::command(command, out);
                    }
                });
            }
            b"mongodb" => self.document(span, b"mongodb.query", body, store),
            b"elasticsearch" | b"opensearch" => {
                self.document(span, b"elasticsearch.body", body, store);
                self.document(span, b"opensearch.body", body, store);
            }
            _ => {}
        }
        if self.scratch.out.capacity() > KEEP {
            self.scratch.out = Vec::new();
        }
    }

    /// What stands in place of the resource of client stats of this type, of this database (empty if unknown); `None` if
    /// it stays.
    pub fn resource(&mut self, kind: &[u8], database: &[u8], resource: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match kind {
            b"sql" | b"cassandra" if !resource.is_empty() => {
                if !self.scratch.sql.obfuscate(resource, Dialect::of(database), &self.settings.sql, &mut out) {
                    NOT_SQL.clone_into(&mut out);
                }
            }
            b"redis" | b"valkey" => redis::quantize(resource, &mut out),
            _ => return None,
        }
        (out != resource).then_some(out)
    }

    fn cards(&mut self, span: &mut Span, body: &[u8], store: &mut Store) {
        let cards = &self.settings.credit_cards;
        let is_card =
            |key: &[u8], value: &[u8]| cards::is_number(value, cards.luhn) && cards::concerns(key, &cards.keep_values);
        let Store { pairs, pool, .. } = store;
        for pair in span.meta.of_mut(pairs) {
            let value = pair.value.of(body, pool);
            if cards::possible(value) && is_card(pair.key.of(body, pool), value) {
                pair.value = Text::pooled(pool, HIDDEN);
            }
        }
        if !span.events.is_empty() {
            let out = &mut self.scratch.out;
            out.clear();
            if links::hide(span.events.of(body, &store.pool), &is_card, out) {
                span.events = Text::pooled(&mut store.pool, out);
            }
        }
    }

    fn url(&mut self, span: &Span, body: &[u8], store: &mut Store) {
        let settings = self.settings.http;
        let Some(url) = store.value(span.known.url) else { return };
        if !http::is_plain(url.of(body, &store.pool), settings) {
            self.scratch.pair(span.known.url, body, store, &mut |_, url, out| http::url(url, settings, out));
        }
    }

    fn command(&mut self, span: &mut Span, tag: &[u8], body: &[u8], store: &mut Store) {
        let settings = if tag.starts_with(b"redis") { self.settings.redis } else { self.settings.valkey };
        if let Some(name) =
            self.scratch.text(span.resource, body, store, &mut |_, query, out| redis::quantize(query, out))
        {
            span.resource = name;
        }
        if settings.enabled {
            let hide = if settings.remove_all_args { redis::no_arguments } else { redis::arguments };
            self.scratch.tag(span, tag, body, store, &mut |_, command, out| hide(command, out));
        }
    }

    fn document(&mut self, span: &Span, tag: &[u8], body: &[u8], store: &mut Store) {
        let Self { settings, scratch } = self;
        let document = match tag.first() {
            Some(b'm') => &settings.mongodb,
            Some(b'e') => &settings.elasticsearch,
            _ => &settings.opensearch,
        };
        if !document.enabled {
            return;
        }
        scratch.tag(span, tag, body, store, &mut |Scratch { sql, json, .. }, text, out| {
            let statement = &mut |statement: &[u8], out: &mut Vec<u8>| {
                sql.obfuscate(statement, Dialect::of(b""), &settings.sql, out)
            };
            json.obfuscate(text, document, statement, out);
        });
    }

    /// The resource, and the tags that have statements too. `sql.query` is set in any case.
    fn statement(&mut self, span: &mut Span, body: &[u8], store: &mut Store) {
        if span.resource.is_empty() {
            return;
        }
        let Self { settings, scratch } = self;
        let named = DATABASES.iter().filter_map(|tag| store.meta(span, tag, body));
        let dialect = named.map(Dialect::of).find(|dialect| *dialect != Dialect::Other).unwrap_or_default();
        let mut hide = |Scratch { sql, .. }: &mut Scratch, statement: &[u8], out: &mut Vec<u8>| {
            if !sql.obfuscate(statement, dialect, &settings.sql, out) {
                out.extend_from_slice(NOT_SQL);
            }
        };
        for tag in STATEMENTS {
            scratch.tag(span, tag, body, store, &mut hide);
        }
        if let Some(statement) = scratch.text(span.resource, body, store, &mut hide) {
            span.resource = statement;
        }
        if settings.sql.table_names && !scratch.sql.tables().is_empty() {
            store.set(span, b"sql.tables", scratch.sql.tables(), body);
        }
        // The same text twice, in memory once.
        store.set(span, b"sql.query", b"", body);
        let query = store.find(span, b"sql.query", body).and_then(|at| store.pairs.get_mut(at as usize));
        if let Some(query) = query {
            query.value = span.resource;
        }
    }
}

impl Scratch {
    /// What `hide` makes of `text`; `None` if that is the same, or if there is nothing.
    fn text(&mut self, text: Text, body: &[u8], store: &mut Store, hide: &mut Hide<'_>) -> Option<Text> {
        if text.is_empty() {
            return None;
        }
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        if text.len() > LONG && store.pool.len() > POOL.max(2 * body.len()) {
            counters::add(Counter::TextsHidden, 1);
            out.extend_from_slice(HIDDEN);
        } else {
            hide(self, text.of(body, &store.pool), &mut out);
        }
        let hidden = (out != text.of(body, &store.pool)).then(|| Text::pooled(&mut store.pool, &out));
        self.out = out;
        hidden
    }

    fn pair(&mut self, pair: Option<u32>, body: &[u8], store: &mut Store, hide: &mut Hide<'_>) {
        let hidden = store.value(pair).and_then(|value| self.text(value, body, store, hide));
        if let Some(hidden) = hidden
            && let Some(pair) = pair.and_then(|pair| store.pairs.get_mut(pair as usize))
        {
            pair.value = hidden;
        }
    }

    fn tag(&mut self, span: &Span, key: &[u8], body: &[u8], store: &mut Store, hide: &mut Hide<'_>) {
        let pair = store.sole(span, key, body);
        self.pair(pair, body, store, hide);
    }
}

/// Whether it separates words: blanks of ASCII.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

/// `text` without the blanks at its ends.
fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| !is_space(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|&byte| !is_space(byte)).map_or(start, |at| at + 1);
    text.get(start..end).unwrap_or_default()
}
