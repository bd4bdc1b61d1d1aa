//! From bytes to tokens, one at a time, in one direction: nothing is kept, nothing is allocated, and a byte is looked at
//! a bounded number of times. It never refuses: what no dialect knows becomes an operator of one byte, what does not end
//! is a literal up to the end. What a token means for the output is not decided here but in `pass`.
//!
//! Rules: `pkg/obfuscate/sql_tokenizer.go` of the Go agent, and where that gives up (unknown bytes, open quotes), its
//! successor, which goes on.

use memchr::{memchr, memchr2};

use super::Dialect;
use super::class::{self, CLASS, DIGIT, HEX, LEAD, OPERATORS, PART, SIGN, SPACE, TAG, WIDE};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The end of the statement.
    End,
    /// A bare word.
    Name,
    /// A name in backticks.
    Quoted,
    /// A name in double quotes, or a string, depending on where it stands.
    Double,
    /// A name in brackets (SQL Server).
    Bracketed,
    /// A number, a string, or a parameter of which nothing is worth keeping (`$1`, `%s`).
    Literal,
    /// `?`
    Mark,
    /// `:name`
    Bind,
    /// `=` or `:=`
    Assign,
    /// `.`
    Dot,
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// `(`
    Open,
    /// `)`
    Close,
    /// Everything else.
    Operator,
    /// `$func$…$func$`, if the inside is of interest.
    Function,
}

/// A token and the bytes it is made of, quotes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it begins.
    pub start: usize,
    /// Where it has ended.
    pub end: usize,
}

/// The tokens of a statement.
pub struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
    dialect: Dialect,
    escapes: bool,
    functions: bool,
    /// Something did not end, or a backslash stands outside of a string: strings may have been read wrongly.
    pub broken: bool,
    /// A string holds a backslash: it may have been read wrongly.
    pub doubtful: bool,
    /// How many bytes the loops went over.
    #[cfg(test)]
    pub looked: usize,
}

impl<'a> Tokens<'a> {
    /// `escapes`: whether a backslash in a string takes the next byte with it. `functions`: whether `$func$` is a token of
    /// its own.
    pub const fn new(text: &'a [u8], dialect: Dialect, escapes: bool, functions: bool) -> Self {
        Self {
            text,
            at: 0,
            dialect,
            escapes,
            functions,
            broken: false,
            doubtful: false,
            #[cfg(test)]
            looked: 0,
        }
    }

    /// The byte `ahead` of the next one; 0, which is white space, at the end.
    pub fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn is(&self, ahead: usize, class: u8) -> bool {
        CLASS[usize::from(self.peek(ahead))] & class != 0
    }

    fn go_to(&mut self, at: usize) {
        let at = at.min(self.text.len());
        self.count(at - self.at + 1);
        self.at = at;
    }

    /// For the test that a statement costs what its length says.
    const fn count(&mut self, looked: usize) {
        #[cfg(test)]
        {
            self.looked += looked;
        }
        let _ = looked;
    }

    fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    /// Goes over all bytes of a class.
    fn run(&mut self, class: u8) {
        let length = self.rest().iter().position(|&b| CLASS[usize::from(b)] & class == 0);
        self.go_to(length.map_or(self.text.len(), |length| self.at + length));
    }

    /// Goes past the next `byte`; to the end if there is none.
    pub fn skip_past(&mut self, byte: u8) {
        let found = memchr(byte, self.rest());
        self.broken |= found.is_none();
        self.go_to(found.map_or(self.text.len(), |n| self.at + n + 1));
    }

    /// The next token.
    pub fn next(&mut self) -> Token {
        self.blank();
        let start = self.at;
        let kind = self.token();
        Token { kind, start, end: self.at }
    }

    fn token(&mut self) -> Kind {
        if self.at == self.text.len() {
            return Kind::End;
        }
        let first = self.peek(0);
        match first {
            b'@' if self.is_bare_at() => self.operator(),
            _ if CLASS[usize::from(first)] & LEAD != 0 => self.name(),
            b'#' if self.dialect == Dialect::SqlServer => self.name(),
            b'0'..=b'9' => self.number(0, true),
            b'.' if self.is(1, DIGIT) => self.number(1, false),
            b'-' if self.is(1, DIGIT) => self.number(1, true),
            b'-' if self.peek(1) == b'.' && self.is(2, DIGIT) => self.number(2, false),
            b'\'' => self.string(self.escapes),
            b'"' => self.quoted_name(Kind::Double, b'"', self.escapes),
            b'`' => self.quoted_name(Kind::Quoted, b'`', false),
            b'[' if self.dialect == Dialect::SqlServer => self.quoted_name(Kind::Bracketed, b']', false),
            b'$' => self.dollar(),
            b'%' => self.percent(),
            b':' => self.colon(),
            b'{' => self.brace(),
            b'?' if !self.is_key_operator() => self.take(Kind::Mark, 1),
            b'=' => self.take(Kind::Assign, 1),
            b'.' => self.take(Kind::Dot, 1),
            b',' => self.take(Kind::Comma, 1),
            b';' => self.take(Kind::Semicolon, 1),
            b'(' => self.take(Kind::Open, 1),
            b')' => self.take(Kind::Close, 1),
            _ => self.operator(),
        }
    }

    fn take(&mut self, kind: Kind, length: usize) -> Kind {
        self.go_to(self.at + length);
        kind
    }

    /// Goes over white space and comments.
    fn blank(&mut self) {
        loop {
            let first = self.peek(0);
            match first {
                b'-' | b'/' if self.peek(1) == first => self.line(),
                b'/' if self.peek(1) == b'*' => self.comment(),
                b'#' if self.dialect.hash_comments() => self.line(),
                _ if self.is(0, SPACE) && self.at < self.text.len() => self.run(SPACE),
                _ if self.is(0, WIDE) => match class::wide_space(self.rest()) {
                    0 => return,
                    length => self.go_to(self.at + length),
                },
                _ => return,
            }
        }
    }

    fn line(&mut self) {
        let end = memchr(b'\n', self.rest());
        self.go_to(end.map_or(self.text.len(), |n| self.at + n));
    }

    fn comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') if depth == 0 || self.dialect.nests_comments() => {
                    depth += 1;
                    self.go_to(self.at + 2);
                }
                (b'*', b'/') => {
                    depth -= 1; // at least one: the loop begins with an opening
                    self.go_to(self.at + 2);
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.go_to(self.at + 1),
            }
            match memchr2(b'*', b'/', self.rest()) {
                Some(n) => self.go_to(self.at + n),
                None => return self.go_to(self.text.len()),
            }
        }
    }

    /// An operator, of one byte if none that is longer fits.
    fn operator(&mut self) -> Kind {
        self.broken |= self.peek(0) == b'\\';
        if !class::is_second(self.peek(1)) {
            return self.take(Kind::Operator, 1);
        }
        let rest = self.rest();
        // `<@name` is a parameter behind `<`, but where `@` begins no parameters.
        let parameter = rest.starts_with(b"<@") && self.dialect != Dialect::Postgres && self.is(2, TAG);
        let found = OPERATORS.iter().find(|operator| rest.starts_with(operator)).filter(|_| !parameter);
        self.take(Kind::Operator, found.map_or(1, |operator| operator.len()))
    }

    /// `@` that begins no parameter: an operator, or a part of one.
    fn is_bare_at(&self) -> bool {
        let next = self.peek(1);
        let double = next == b'@' && self.dialect != Dialect::Postgres;
        !double && !matches!(next, b'$' | b'#' | b'*') && !self.is(1, TAG)
    }

    /// `?|` and `?&`, but not a parameter before `||` or `&&`.
    fn is_key_operator(&self) -> bool {
        let next = self.peek(1);
        matches!(self.dialect, Dialect::Other | Dialect::Postgres)
            && matches!(next, b'|' | b'&')
            && self.peek(2) != next
    }

    /// A word of letters, digits and what names may hold besides; `*` as in `t.*`, but not where it multiplies a number.
    fn name(&mut self) -> Kind {
        let start = self.at;
        self.go_to(start + 1);
        loop {
            self.word();
            let number = self.is(1, DIGIT) || (self.peek(1) == b'.' && self.is(2, DIGIT));
            if self.peek(0) != b'*' || number {
                break;
            }
            self.go_to(self.at + 1);
        }
        let name = &self.text[start..self.at];
        match self.peek(0) {
            b'\'' if class::is_prefix(name) => self.prefixed(name),
            b'&' if self.peek(1) == b'\'' && name.eq_ignore_ascii_case(b"u") => {
                self.go_to(self.at + 1);
                self.string(self.escapes)
            }
            _ => Kind::Name,
        }
    }

    fn word(&mut self) {
        let ends = if self.dialect == Dialect::Postgres { WIDE | SIGN } else { WIDE };
        loop {
            let stop = self.rest().iter().position(|&b| CLASS[usize::from(b)] & (PART | ends) != PART);
            self.go_to(stop.map_or(self.text.len(), |n| self.at + n));
            if !self.is(0, WIDE) || class::wide_space(self.rest()) > 0 {
                return;
            }
            self.go_to(self.at + 1);
        }
    }

    fn prefixed(&mut self, prefix: &[u8]) -> Kind {
        let last = prefix.last().map_or(0, u8::to_ascii_lowercase);
        let oracle = matches!(self.dialect, Dialect::Other | Dialect::Oracle);
        match last {
            b'q' if oracle && prefix.len() <= 2 => self.alternative(),
            b'e' if prefix.len() == 1 => self.string(true),
            _ => self.string(self.escapes),
        }
    }

    /// Oracle's `q'[…]'`: ends with the counterpart of the first character before a quote.
    fn alternative(&mut self) -> Kind {
        let close = match self.peek(1) {
            b'[' => b']',
            b'{' => b'}',
            b'(' => b')',
            b'<' => b'>',
            other => other,
        };
        self.go_to(self.at + 2);
        while let Some(n) = memchr(b'\'', self.rest()) {
            let closed = n > 0 && self.rest()[n - 1] == close;
            self.go_to(self.at + n + 1);
            if closed {
                return Kind::Literal;
            }
        }
        self.unended()
    }

    /// A number, decimal, hexadecimal, octal or binary, with `_` between digits; `skip` bytes of sign and point before it. No
    /// second point: `.5.6` is two numbers.
    fn number(&mut self, skip: usize, fraction: bool) -> Kind {
        self.go_to(self.at + skip);
        if self.peek(0) == b'0' && fraction {
            match self.peek(1) | 0x20 {
                b'x' => {
                    self.go_to(self.at + 2);
                    self.run(HEX);
                    return Kind::Literal;
                }
                b'b' | b'o' if self.is(2, DIGIT) => self.go_to(self.at + 2),
                _ => {}
            }
        }
        self.digits();
        if fraction && self.peek(0) == b'.' {
            self.go_to(self.at + 1);
            self.digits();
        }
        let exponent = self.is(1, DIGIT) || (matches!(self.peek(1), b'+' | b'-') && self.is(2, DIGIT));
        if self.peek(0) | 0x20 == b'e' && exponent {
            self.go_to(self.at + 2);
            self.digits();
        }
        Kind::Literal
    }

    fn digits(&mut self) {
        self.run(DIGIT);
        while self.peek(0) == b'_' && self.is(1, DIGIT) {
            self.go_to(self.at + 1);
            self.run(DIGIT);
        }
    }

    /// A string in single quotes, before which the tokenizer stands.
    fn string(&mut self, escapes: bool) -> Kind {
        self.quoted(b'\'', escapes);
        Kind::Literal
    }

    /// What does not end is no name: nobody knows what it holds.
    fn quoted_name(&mut self, kind: Kind, close: u8, escapes: bool) -> Kind {
        if self.quoted(close, escapes) { kind } else { Kind::Literal }
    }

    /// Goes past the next `close` that is not doubled, or escaped; says whether there is one.
    fn quoted(&mut self, close: u8, escapes: bool) -> bool {
        self.go_to(self.at + 1);
        while let Some(n) = memchr2(close, b'\\', self.rest()) {
            self.go_to(self.at + n);
            if self.peek(0) != close {
                self.doubtful |= matches!(close, b'\'' | b'"');
                self.go_to(self.at + 1 + usize::from(escapes));
            } else if self.peek(1) == close {
                self.go_to(self.at + 2);
            } else {
                self.go_to(self.at + 1);
                return true;
            }
        }
        self.unended();
        false
    }

    fn unended(&mut self) -> Kind {
        self.go_to(self.text.len());
        self.broken = true;
        Kind::Literal
    }

    /// `$1`, `$tag$…$tag$`, or a name such as `$action`.
    fn dollar(&mut self) -> Kind {
        let start = self.at;
        self.go_to(start + 1);
        if self.is(0, DIGIT) || self.peek(0) == b'?' {
            self.go_to(self.at + 1);
            self.digits();
            if self.peek(0) == b'.' {
                self.go_to(self.at + 1);
                self.digits();
            }
            return Kind::Literal;
        }
        self.run(TAG);
        let bare = self.at == start + 1;
        if self.peek(0) != b'$' {
            if bare {
                return Kind::Operator;
            }
            self.word();
            return Kind::Name;
        }
        self.go_to(self.at + 1);
        let tag = &self.text[start..self.at];
        while let Some(n) = memchr(b'$', self.rest()) {
            self.go_to(self.at + n);
            // A tag has one `$` more at its end: what is compared here is gone over but once more.
            if self.rest().starts_with(tag) {
                self.go_to(self.at + tag.len());
                return if self.functions && tag == b"$func$" { Kind::Function } else { Kind::Literal };
            }
            self.go_to(self.at + 1);
        }
        self.unended()
    }

    /// A parameter of a format (`%s`, `%(name)s`), or the operator.
    fn percent(&mut self) -> Kind {
        if self.peek(1) == b'(' {
            self.skip_past(b')');
            let letter = self.is(0, LEAD) && self.peek(0).is_ascii_alphabetic();
            return self.take(Kind::Literal, usize::from(letter));
        }
        let rest = &self.rest()[1..];
        if !(self.is(1, LEAD) || self.peek(1) == b'#') || class::wide_space(rest) > 0 {
            return self.take(Kind::Operator, 1);
        }
        let character = 1 + rest[1..].iter().take_while(|&&b| b & 0xc0 == 0x80).count();
        self.take(Kind::Literal, 1 + character)
    }

    /// `:name`, `::`, `:=` or `:`.
    fn colon(&mut self) -> Kind {
        // The `:4` of `a[b:4]` is no parameter.
        let before = self.text[..self.at].last().is_some_and(|&b| CLASS[usize::from(b)] & PART != 0);
        let slice = before && self.dialect == Dialect::Postgres && self.is(1, DIGIT);
        match self.peek(1) {
            b'=' => self.take(Kind::Assign, 2),
            b'#' => self.bind(),
            _ if self.is(1, LEAD | DIGIT) && !slice && class::wide_space(&self.rest()[1..]) == 0 => self.bind(),
            _ => self.operator(),
        }
    }

    fn bind(&mut self) -> Kind {
        self.go_to(self.at + 1);
        self.word();
        Kind::Bind
    }

    /// A call in braces is read on; a map, or an escape sequence of ODBC, is a literal up to its end.
    fn brace(&mut self) -> Kind {
        let rest = &self.rest()[1..];
        let blank = rest.iter().position(|&b| CLASS[usize::from(b)] & SPACE == 0).unwrap_or(rest.len());
        self.count(blank);
        let inside = &rest[blank..];
        let is_call = inside.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"call"))
            && !inside.get(4).is_some_and(u8::is_ascii_alphanumeric);
        if is_call || inside.first() == Some(&b'?') {
            return self.take(Kind::Operator, 1);
        }
        let mut depth = 0_usize;
        while self.at < self.text.len() {
            match self.peek(0) {
                b'\'' => {
                    self.quoted(b'\'', self.escapes);
                    continue;
                }
                b'{' => depth += 1,
                b'}' => depth -= 1, // at least one: the loop begins with an opening
                _ => {}
            }
            self.go_to(self.at + 1);
            if depth == 0 {
                return Kind::Literal;
            }
        }
        self.unended()
    }
}
