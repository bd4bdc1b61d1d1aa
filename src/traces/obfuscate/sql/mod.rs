//! SQL statements: literals become `?`, comments go, lists collapse (spec: traces 4.4). Pure; the caller owns the buffer.
//!
//! | file | what |
//! | --- | --- |
//! | `dialect` | what differs between databases |
//! | `class` | tables: bytes, words, operators |
//! | `token` | bytes to tokens, in one direction |
//! | `pass` | tokens to the obfuscated statement, one in hand |
//! | `tables` | the names of the tables |
//!
//! A statement is read once; twice if the first reading did not come out even and it has backslashes in strings. Nothing
//! recurses on it, nothing is kept of it, and the output has at most twice its length: each token is written with at most
//! one blank before it.

mod class;
mod dialect;
mod pass;
#[cfg(test)]
mod properties;
mod tables;
#[cfg(test)]
mod tests;
mod token;

pub use dialect::Dialect;

use crate::config::apm::SqlObfuscation;
use pass::Reading;
use tables::Tables;

/// Obfuscates statements, in reused memory.
#[derive(Debug, Default)]
pub struct Sql {
    tables: Tables,
}

impl Sql {
    /// One that has not allocated yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the obfuscated statement to `out`: at most twice as many bytes as `statement`, and UTF-8 if that is.
    ///
    /// False, and nothing appended, if nothing is left of the statement (blanks, comments), or if it makes no sense
    /// whether or not backslashes escape, so that nobody can say which part of it is a literal. For both the Go agent
    /// writes "Non-parsable SQL query". What does not end is a literal up to the end.
    pub fn obfuscate(
        &mut self,
        statement: &[u8],
        dialect: Dialect,
        options: &SqlObfuscation,
        out: &mut Vec<u8>,
    ) -> bool {
        let start = out.len();
        for escapes in [dialect.escapes(), !dialect.escapes()] {
            out.truncate(start);
            self.tables.clear();
            let found = pass::run(Reading { statement, dialect, escapes, options: *options }, &mut self.tables, out);
            if !(found.broken && found.doubtful) {
                return out.len() > start;
            }
        }
        out.truncate(start);
        self.tables.clear();
        false
    }

    /// The names of the tables of the last statement, if `options.table_names` was set: distinct, in order, joined by
    /// commas; of the first 256 mentions, and at most 4 KiB.
    #[must_use]
    pub fn tables(&self) -> &[u8] {
        self.tables.joined()
    }
}
