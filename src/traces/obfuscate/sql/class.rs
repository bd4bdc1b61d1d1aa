//! The tables of the tokenizer: what a byte may be part of, which words matter, which operators are longer than a byte.
//! Pure data.

/// White space, and control characters, which nothing else wants.
pub const SPACE: u8 = 1;
/// What a name begins with: letters, `_`, `@`, and every byte beyond ASCII.
pub const LEAD: u8 = 2;
/// What a name goes on with, but for `*`, which depends on what follows.
pub const PART: u8 = 4;
/// A decimal digit.
pub const DIGIT: u8 = 8;
/// A hexadecimal digit or `_`.
pub const HEX: u8 = 16;
/// What the tag of a dollar quote is made of.
pub const TAG: u8 = 32;
/// May begin white space beyond ASCII.
pub const WIDE: u8 = 64;
/// Ends a name in Postgres, where it begins an operator.
pub const SIGN: u8 = 128;

/// What each byte may be.
pub const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        table[at] = match byte {
            b'0'..=b'9' => PART | DIGIT | HEX | TAG,
            b'a'..=b'f' | b'A'..=b'F' => LEAD | PART | HEX | TAG,
            b'a'..=b'z' | b'A'..=b'Z' => LEAD | PART | TAG,
            b'_' => LEAD | PART | HEX | TAG,
            b'@' => LEAD | PART | SIGN,
            b'#' => PART | SIGN,
            b'$' | b'.' => PART,
            0xc2 | 0xe1 | 0xe2 | 0xe3 => LEAD | PART | TAG | WIDE,
            0x80.. => LEAD | PART | TAG,
            0..=b' ' | 0x7f => SPACE,
            _ => 0,
        };
        at += 1;
    }
    table
};

/// The length of the white space beyond ASCII that `text` begins with, 0 if none: what Unicode calls `White_Space`.
pub fn wide_space(text: &[u8]) -> usize {
    match *text {
        [0xc2, 0x85 | 0xa0, ..] => 2,
        [0xe1, 0x9a, 0x80, ..]
        | [0xe2, 0x80, 0x80..=0x8a | 0xa8 | 0xa9 | 0xaf, ..]
        | [0xe2, 0x81, 0x9f, ..]
        | [0xe3, 0x80, 0x80, ..] => 3,
        _ => 0,
    }
}

/// What a word means to the pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A literal, unless `NULL` stays.
    Null,
    /// A literal, unless `TRUE` and `FALSE` stay.
    Boolean,
    /// An alias or a type follows.
    As,
    /// A name that programs make up follows.
    Savepoint,
    /// The name of a table follows.
    Table,
    /// As above, but behind [`Word::NoTable`].
    Update,
    /// `UPDATE` behind it is a part of a clause, not a statement.
    NoTable,
}

/// What `name` means, in any case.
pub fn word(name: &[u8]) -> Option<Word> {
    let (text, meaning): (&[u8], _) = match (name.len(), name.first()? | 0x20) {
        (2, b'a') => (b"as", Word::As),
        (2, b'o') => (b"on", Word::NoTable),
        (2, b'd') => (b"do", Word::NoTable),
        (3, b'f') => (b"for", Word::NoTable),
        (3, b'k') => (b"key", Word::NoTable),
        (4, b'n') => (b"null", Word::Null),
        (4, b't') => (b"true", Word::Boolean),
        (4, b'f') => (b"from", Word::Table),
        (4, b'j') => (b"join", Word::Table),
        (4, b'i') => (b"into", Word::Table),
        (5, b'f') => (b"false", Word::Boolean),
        (6, b'u') => (b"update", Word::Update),
        (9, b's') => (b"savepoint", Word::Savepoint),
        _ => return None,
    };
    name.eq_ignore_ascii_case(text).then_some(meaning)
}

const CLAUSES: &[&[u8]] = &[
    b"begin",
    b"end",
    b"select",
    b"insert",
    b"update",
    b"delete",
    b"from",
    b"where",
    b"join",
    b"on",
    b"set",
    b"values",
    b"into",
    b"group",
    b"order",
    b"having",
    b"union",
    b"intersect",
    b"except",
    b"limit",
    b"offset",
    b"with",
    b"create",
    b"drop",
    b"alter",
    b"truncate",
];

/// Whether `name` begins a clause, so that it is no alias.
pub fn is_clause(name: &[u8]) -> bool {
    CLAUSES.iter().any(|clause| clause.eq_ignore_ascii_case(name))
}

/// Operators longer than a byte, the longer ones first. All others are taken byte by byte: `||` is two.
pub const OPERATORS: &[&[u8]] = &[
    b"<=>", b"->>", b"#>>", b"!~*", b"::", b"<>", b"<=", b">=", b"!=", b"!~", b"~*", b"->", b"#>", b"#-", b"@>", b"@@",
    b"<@", b"?|", b"?&",
];

/// Whether `byte` is the second one of some of them.
pub const fn is_second(byte: u8) -> bool {
    matches!(byte, b'=' | b'>' | b'*' | b'~' | b':' | b'-' | b'@' | b'|' | b'&')
}

/// What may stand directly before a quote as a part of the literal: `N'…'`, `E'…'`, `X'…'`, `U&'…'`, `_utf8'…'`.
pub fn is_prefix(name: &[u8]) -> bool {
    match *name {
        [b'_', _, ..] => true,
        [letter] => b"nNeEbBxXqQ".contains(&letter),
        [b'n' | b'N', b'q' | b'Q'] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{OPERATORS, is_second};

    #[test]
    fn operators_are_found_by_their_second_byte_and_the_longest_first() {
        for (at, operator) in OPERATORS.iter().enumerate() {
            assert!(is_second(operator[1]), "{operator:?}");
            assert!(!OPERATORS[..at].iter().any(|earlier| operator.starts_with(earlier)), "{operator:?}");
        }
    }
}
