//! Obfuscation beside what Datadog's own library makes of the same texts: equal, or different for a reason that is named.
//! A difference without a name fails, and so does a name without a difference.

#[path = "obfuscation/cards.rs"]
mod cards;
#[path = "obfuscation/differ.rs"]
mod differ;
#[path = "obfuscation/http.rs"]
mod http;
#[path = "obfuscation/json.rs"]
mod json;
#[path = "obfuscation/memcached.rs"]
mod memcached;
#[path = "obfuscation/redis.rs"]
mod redis;
#[path = "obfuscation/sql.rs"]
mod sql;
#[path = "obfuscation/statements.rs"]
mod statements;
