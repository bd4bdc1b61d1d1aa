//! What makes two spans, two traces or two services alike to the samplers: FNV-1a over their names, with the Go agent's
//! choice of fields (spec: traces 4.6). Pure.

use crate::codec::sort::sort;
use crate::traces::Chunk;
use crate::traces::span::Span;

/// FNV-1a of nothing.
pub const EMPTY: u32 = 0x811c_9dc5;

/// FNV-1a of what `hash` is of, then `bytes`.
#[must_use]
pub fn fnv(hash: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// A service in an environment.
#[must_use]
pub fn service(service: &[u8], env: &[u8]) -> u32 {
    fnv(fnv(fnv(EMPTY, service), b","), env)
}

/// A span of `chunk` in `env`: service, name, whether it failed, status code and type of the error; with the resource if
/// asked.
#[must_use]
pub fn span(chunk: &Chunk<'_>, span: &Span, env: &str, with_resource: bool) -> u32 {
    let (body, store) = (chunk.body, &*chunk.store);
    let mut hash = fnv(EMPTY, env.as_bytes());
    hash = fnv(hash, span.service.of(body, &store.pool));
    hash = fnv(hash, span.name.of(body, &store.pool));
    hash = fnv(hash, &[span.error as u8]);
    if with_resource {
        hash = fnv(hash, span.resource.of(body, &store.pool));
    }
    if let Some(code) = store.value(span.known.status_code) {
        hash = fnv(hash, code.of(body, &store.pool));
    }
    if let Some(kind) = store.meta(span, b"error.type", body) {
        hash = fnv(hash, kind);
    }
    hash
}

/// A trace: its root with the resource, and the set of its spans without. `hashes` is memory.
#[must_use]
pub fn trace(chunk: &Chunk<'_>, hashes: &mut Vec<u32>) -> u32 {
    hashes.clear();
    hashes.extend(chunk.spans.iter().map(|each| span(chunk, each, chunk.env, false)));
    sort(hashes);
    hashes.dedup();
    let root = chunk.spans.get(chunk.root).map_or(0, |root| span(chunk, root, chunk.env, true));
    hashes.iter().fold(root, |hash, each| hash ^ each)
}
