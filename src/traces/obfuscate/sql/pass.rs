//! From tokens to the obfuscated statement, in one pass with one token in hand: what is replaced, what is left out, what
//! collapses, where blanks stand. Pure; writes into the caller's buffer.
//!
//! Rules: the filters of `pkg/obfuscate/sql.go` of the Go agent. The difference: where rows of values collapse, what
//! follows them stays; there it goes with them.

use super::class::{self, Word};
use super::tables::Tables;
use super::token::{Kind, Token, Tokens};
use super::{Dialect, SqlObfuscation};

/// What the token before was, as far as it decides about the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// Nothing that matters: an operator, a keyword.
    Other,
    /// A name, or another end of an operand.
    Operand,
    /// `=`
    Assign,
    /// `AS`, with where it stands; it is written if what follows turns out to be no alias.
    As(usize, usize),
    /// `AS`, written.
    KeptAs,
    /// `SAVEPOINT`
    Savepoint,
    /// A word that makes `UPDATE` a part of a clause.
    NoTable,
    /// `FROM` and the like.
    Table,
    /// The name of a table.
    TableName,
    /// The point in the name of a table.
    TableDot,
    /// `)` of a row of nothing but literals, with or without a comma after it.
    Row,
}

/// What the pass found out about the statement, beside its output.
pub struct Found {
    /// As in [`Tokens`].
    pub broken: bool,
    /// As in [`Tokens`].
    pub doubtful: bool,
    #[cfg(test)]
    pub looked: usize,
}

/// What a pass reads, and how.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    pub statement: &'a [u8],
    pub dialect: Dialect,
    /// Whether a backslash in a string takes the next byte with it.
    pub escapes: bool,
    pub options: SqlObfuscation,
}

struct Pass<'a> {
    reading: Reading<'a>,
    tables: &'a mut Tables,
    out: &'a mut Vec<u8>,
    /// Where the output of this pass begins.
    base: usize,
    before: Before,
    /// The end of the token before, to see whether a point touches it.
    ended: usize,
    /// No blank before the next token.
    glued: bool,
    /// A literal has been written, and since then nothing but commas, `(` and left out literals came.
    group: bool,
    /// As above, but `)` came too: a comma would stand behind a literal.
    trailing: bool,
    /// Since the last `(` nothing but literals and commas came.
    row: bool,
    /// Where the output ended before a row that goes if it turns out to be like the one before it.
    rollback: Option<usize>,
}

/// Appends the obfuscated statement to `out`.
pub fn run(reading: Reading<'_>, tables: &mut Tables, out: &mut Vec<u8>) -> Found {
    let Reading { statement, dialect, escapes, options } = reading;
    let mut tokens = Tokens::new(statement, dialect, escapes, options.dollar_quoted_func);
    let mut pass = Pass {
        reading,
        tables,
        base: out.len(),
        out,
        before: Before::Other,
        ended: 0,
        glued: false,
        group: false,
        trailing: false,
        row: false,
        rollback: None,
    };
    loop {
        let token = tokens.next();
        if token.kind == Kind::End {
            break;
        }
        pass.step(token, &mut tokens);
        pass.ended = token.end;
    }
    if let Before::As(start, end) = pass.before {
        pass.write(start, end);
    }
    pass.tables.end();
    Found {
        broken: tokens.broken,
        doubtful: tokens.doubtful,
        #[cfg(test)]
        looked: tokens.looked,
    }
}

impl Pass<'_> {
    fn step(&mut self, token: Token, tokens: &mut Tokens<'_>) {
        let text = &self.reading.statement[token.start..token.end];
        if let Before::As(start, end) = self.before {
            if token.kind != Kind::Name || !class::is_clause(text) {
                if text == b"[" {
                    tokens.skip_past(b']');
                }
                self.before = Before::Other;
                return;
            }
            self.write(start, end);
            self.before = Before::Other;
        }
        match token.kind {
            Kind::Literal => self.literal(),
            Kind::Comma => self.comma(),
            Kind::Semicolon => (self.group, self.trailing) = (true, true),
            Kind::Open => self.open(),
            Kind::Close => self.close(),
            Kind::Mark if !self.is_operator() => self.literal(),
            Kind::Name => self.name(token, class::word(text), tokens.peek(0)),
            Kind::Quoted | Kind::Bracketed | Kind::Double => self.name(token, None, tokens.peek(0)),
            Kind::Dot => self.dot(token, tokens.peek(0)),
            Kind::Function => self.function(token),
            Kind::Assign => self.other(token, Before::Assign),
            Kind::Operator if text == b"]" => self.other(token, Before::Operand),
            Kind::Operator | Kind::Mark | Kind::Bind | Kind::End => self.other(token, Before::Other),
        }
    }

    /// `?` in Postgres is an operator behind an operand, and a parameter elsewhere.
    fn is_operator(&self) -> bool {
        let operand = matches!(self.before, Before::Operand | Before::Row | Before::TableName);
        operand && self.reading.dialect == Dialect::Postgres
    }

    fn blank(&mut self) {
        if self.out.len() > self.base && !self.glued {
            self.out.push(b' ');
        }
        self.glued = false;
    }

    fn write(&mut self, start: usize, end: usize) {
        self.blank();
        self.out.extend_from_slice(&self.reading.statement[start..end]);
    }

    /// What is neither a literal nor between literals ends a group.
    fn ungroup(&mut self) {
        self.group = false;
        self.trailing = false;
        self.row = false;
        self.rollback = None;
    }

    fn other(&mut self, token: Token, before: Before) {
        // `:` and `=` that stand apart are an assignment too.
        self.glued |= before == Before::Assign && self.out.ends_with(b" :");
        self.ungroup();
        self.write(token.start, token.end);
        self.before = before;
    }

    /// Of a group of literals only the first is seen.
    fn literal(&mut self) {
        if !self.group {
            self.blank();
            self.out.push(b'?');
            (self.group, self.trailing) = (true, true);
        }
        self.before = Before::Operand;
    }

    fn comma(&mut self) {
        if !self.trailing {
            self.out.push(b',');
        }
        if self.before != Before::Row {
            self.before = Before::Other;
        }
    }

    fn open(&mut self) {
        self.rollback = (self.before == Before::Row).then_some(self.out.len());
        self.row = true;
        self.blank();
        self.out.push(b'(');
        self.before = Before::Other;
    }

    fn close(&mut self) {
        let row = self.row && self.group;
        match self.rollback.take() {
            Some(length) if row => self.out.truncate(length),
            _ => {
                self.blank();
                self.out.push(b')');
            }
        }
        self.group = false;
        self.row = false;
        self.before = if row { Before::Row } else { Before::Operand };
    }

    /// A word or a quoted name; `next` is the byte after it.
    fn name(&mut self, token: Token, word: Option<Word>, next: u8) {
        if self.is_value(token, word, next) {
            return self.literal();
        }
        let before = self.before;
        self.ungroup();
        self.before = match word {
            Some(Word::As) if self.reading.options.keep_sql_alias => Before::KeptAs,
            Some(Word::As) => {
                self.before = Before::As(token.start, token.end);
                return;
            }
            Some(Word::Savepoint) => Before::Savepoint,
            Some(Word::NoTable) => Before::NoTable,
            Some(Word::Update) if before == Before::NoTable => Before::Other,
            Some(Word::Table | Word::Update) => Before::Table,
            _ => Before::Operand,
        };
        let named = self.reading.options.table_names && self.table(token, before);
        let digits = self.reading.options.replace_digits && (token.kind != Kind::Double || named);
        self.blank();
        plain(self.reading.statement, token, self.reading.escapes, digits, self.out);
    }

    /// Whether what looks like a name is a literal.
    fn is_value(&self, token: Token, word: Option<Word>, next: u8) -> bool {
        match word {
            _ if self.before == Before::Savepoint => true,
            Some(Word::Null) => !self.reading.options.keep_null,
            Some(Word::Boolean) => !self.reading.options.keep_boolean,
            _ if token.kind != Kind::Double => false,
            _ if self.before == Before::Assign => true,
            // MySQL's strings, but for where only a name makes sense, for those who have set ANSI_QUOTES.
            _ => {
                let named = matches!(self.before, Before::Table | Before::KeptAs) || self.out.ends_with(b".");
                self.reading.dialect == Dialect::MySql && !named && next != b'.'
            }
        }
    }

    /// Collects the name if it is one of a table, or a part of one; says so.
    fn table(&mut self, token: Token, before: Before) -> bool {
        let (statement, escapes, digits) =
            (self.reading.statement, self.reading.escapes, self.reading.options.replace_digits);
        let quotes = usize::from(token.kind != Kind::Name);
        let first = statement.get(token.start + quotes).copied().unwrap_or(0);
        let is_name = first.is_ascii_alphabetic() || first == b'_' || first >= 0x80;
        let names = match before {
            Before::TableDot => self.tables.last(),
            Before::TableName if self.tables.is_qualified() => self.tables.last(),
            Before::Table if is_name => self.tables.begin(),
            _ => return false,
        };
        if let Some(names) = names {
            plain(statement, token, escapes, digits, names);
        }
        self.before = Before::TableName;
        true
    }

    /// A point stands free, but for those that touch a name in brackets, and for `.*` behind a name in quotes.
    fn dot(&mut self, token: Token, next: u8) {
        let last =
            if self.ended == token.start { self.reading.statement.get(self.ended.wrapping_sub(1)) } else { None };
        let glued = match last {
            Some(b']') => self.reading.dialect == Dialect::SqlServer && next != b'[',
            Some(b'`' | b'"') => next == b'*',
            _ => false,
        };
        let table = self.before == Before::TableName;
        self.glued |= glued;
        self.other(token, if table { Before::TableDot } else { Before::Other });
        self.glued = glued;
        if let (true, Some(names)) = (table, self.tables.last()) {
            names.push(b'.');
        }
    }

    /// A statement within a statement: one level, for inside of it `$func$` is its end.
    fn function(&mut self, token: Token) {
        const TAG: &[u8] = b"$func$";
        let length = self.out.len();
        let glued = self.glued;
        self.blank();
        self.out.extend_from_slice(TAG);
        let start = self.out.len();
        let reading = Reading {
            statement: &self.reading.statement[token.start + TAG.len()..token.end - TAG.len()],
            options: SqlObfuscation { dollar_quoted_func: false, ..self.reading.options },
            ..self.reading
        };
        let found = run(reading, self.tables, self.out);
        if found.broken || self.out.len() == start {
            self.out.truncate(length);
            self.glued = glued;
            return self.literal();
        }
        self.out.extend_from_slice(TAG);
        self.ungroup();
        self.before = Before::Operand;
    }
}

/// Appends a name without its quotes, unless there is nothing in them; with `digits`, a `?` for each row of digits.
fn plain(statement: &[u8], token: Token, escapes: bool, digits: bool, out: &mut Vec<u8>) {
    let text = &statement[token.start..token.end];
    if token.kind == Kind::Name {
        return quantise(text, digits, out);
    }
    let (open, close) = (text[0], text[text.len() - 1]); // the quotes
    let mut inside = &text[1..text.len() - 1];
    if inside.trim_ascii().is_empty() {
        return out.extend_from_slice(&[open, close]);
    }
    // A doubled quote is one, and a backslash goes.
    let is_special = |&b: &u8| b == close || (escapes && b == b'\\' && token.kind == Kind::Double);
    while let Some(at) = inside.iter().position(is_special) {
        let from = if inside[at] == close { at + 1 } else { at };
        quantise(&inside[..from], digits, out);
        if inside[at] != close {
            out.extend(inside.get(at + 1));
        }
        inside = inside.get(at + 2..).unwrap_or_default();
    }
    quantise(inside, digits, out);
}

fn quantise(text: &[u8], digits: bool, out: &mut Vec<u8>) {
    if !digits {
        return out.extend_from_slice(text);
    }
    let mut last = 0_u8;
    for &byte in text {
        match (byte.is_ascii_digit(), last.is_ascii_digit()) {
            (true, true) => {}
            (true, false) => out.push(b'?'),
            (false, _) => out.push(byte),
        }
        last = byte;
    }
}
