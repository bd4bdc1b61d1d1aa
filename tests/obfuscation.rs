//! What the obfuscators make of statements, beside what Datadog's own code makes of them. Every difference is named and
//! justified; one without a name fails, and so does a name without a difference.

#[path = "obfuscation/sql.rs"]
mod sql;
#[path = "obfuscation/statements.rs"]
mod statements;
