//! Obfuscation beside what Datadog's own library makes of the same texts: equal, or different for a reason that is named.

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
