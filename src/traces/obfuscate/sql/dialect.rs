//! What differs between databases where a tokenizer sees it. Pure; knows nothing of tokens.

/// The database that a statement is written for. [`Dialect::Other`] reads what all of them have in common, which is also
/// what the Go agent does by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Unknown, or one that needs nothing special (Cassandra).
    #[default]
    Other,
    /// `[name]`, `#temporary`; comments nest.
    SqlServer,
    /// Backslashes escape; double quotes are strings; `#` begins a comment.
    MySql,
    /// `#` and `@` begin operators; comments nest.
    Postgres,
    /// `q'[…]'`.
    Oracle,
    /// Nothing of its own.
    Sqlite,
}

/// What tags say of a database, in lower case: what the agents document, and what tracers send.
const NAMES: &[(&str, Dialect)] = &[
    ("mssql", Dialect::SqlServer),
    ("sqlserver", Dialect::SqlServer),
    ("sql-server", Dialect::SqlServer),
    ("microsoft.sql_server", Dialect::SqlServer),
    ("mysql", Dialect::MySql),
    ("mysql2", Dialect::MySql),
    ("mariadb", Dialect::MySql),
    ("postgresql", Dialect::Postgres),
    ("postgres", Dialect::Postgres),
    ("pgsql", Dialect::Postgres),
    ("redshift", Dialect::Postgres),
    ("cockroachdb", Dialect::Postgres),
    ("oracle", Dialect::Oracle),
    ("oracle.db", Dialect::Oracle),
    ("sqlite", Dialect::Sqlite),
    ("sqlite3", Dialect::Sqlite),
];

impl Dialect {
    /// The dialect that a tag names, in any case.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let found = NAMES.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
        found.map_or(Self::Other, |&(_, dialect)| dialect)
    }

    /// Whether a backslash in a string is taken for an escape at first. If the statement makes no sense so, it is read the
    /// other way: both are settings of a session.
    pub(super) const fn escapes(self) -> bool {
        matches!(self, Self::Other | Self::MySql)
    }

    /// Whether `/* /* */ */` is one comment.
    pub(super) const fn nests_comments(self) -> bool {
        matches!(self, Self::SqlServer | Self::Postgres)
    }

    /// Whether `#` begins a comment where no name goes on.
    pub(super) const fn hash_comments(self) -> bool {
        !matches!(self, Self::SqlServer | Self::Postgres)
    }
}

#[cfg(test)]
mod tests {
    use super::Dialect;

    #[test]
    fn names_are_read_in_any_case() {
        let check = |name: &str, expected| assert_eq!(Dialect::of(name.as_bytes()), expected, "{name}");
        check("", Dialect::Other);
        check("cassandra", Dialect::Other);
        check("MSSQL", Dialect::SqlServer);
        check("sqlserver", Dialect::SqlServer);
        check("MySQL", Dialect::MySql);
        check("mysql2", Dialect::MySql);
        check("postgresql", Dialect::Postgres);
        check("postgres", Dialect::Postgres);
        check("oracle", Dialect::Oracle);
        check("Oracle.db", Dialect::Oracle);
        check("sqlite3", Dialect::Sqlite);
        check("sql", Dialect::Other);
    }
}
