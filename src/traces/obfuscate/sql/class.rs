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

const WORDS: &[(&[u8], Word)] = &[
    (b"as", Word::As),
    (b"on", Word::NoTable),
    (b"do", Word::NoTable),
    (b"for", Word::NoTable),
    (b"key", Word::NoTable),
    (b"null", Word::Null),
    (b"true", Word::Boolean),
    (b"from", Word::Table),
    (b"join", Word::Table),
    (b"into", Word::Table),
    (b"false", Word::Boolean),
    (b"update", Word::Update),
    (b"savepoint", Word::Savepoint),
];

/// What `name` means, in any case.
pub fn word(name: &[u8]) -> Option<Word> {
    WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(name)).map(|&(_, meaning)| meaning)
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

/// What may stand directly before a quote as a part of the literal: `N'…'`, `E'…'`, `X'…'`, `U&'…'`, `_utf8'…'`.
pub fn is_prefix(name: &[u8]) -> bool {
    match *name {
        [b'_', _, ..] => true,
        [letter] => b"nNeEbBxXqQ".contains(&letter),
        [b'n' | b'N', b'q' | b'Q'] => true,
        _ => false,
    }
}
