//! SQL statements: literals become `?`, comments go, lists collapse (spec: traces 4.4). Pure.

use crate::config::apm::SqlObfuscation;

/// Obfuscates statements.
#[derive(Debug, Default)]
pub struct Sql;

/// What differs between databases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Not told.
    #[default]
    Generic,
}

impl Dialect {
    /// By `db.type`.
    #[must_use]
    pub fn of(_db_type: &[u8]) -> Self {
        Self::Generic
    }
}

impl Sql {
    /// One that has not allocated yet.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    /// Appends the obfuscated statement to `out`; `false` if it cannot be read.
    pub fn obfuscate(&mut self, _: &[u8], _: Dialect, _: &SqlObfuscation, _: &mut Vec<u8>) -> bool {
        false
    }

    /// The names of the tables of the last statement.
    #[must_use]
    pub fn tables(&self) -> &[u8] {
        &[]
    }
}
