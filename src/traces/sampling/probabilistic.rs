//! The probabilistic sampler: a share of all traces, chosen by a hash of their id that every agent and OpenTelemetry
//! collector with the same seed computes alike (spec: traces 4.6). Pure.

use super::signature;
use crate::config::apm;
use crate::traces::Chunk;
use crate::traces::chunk::UPPER_ID;

/// Values of the hash that are told apart.
const BUCKETS: u32 = 0x4000;

/// The rate, on the root of a trace that is kept.
const RATE: &[u8] = b"_dd.prob_sr";

/// Who decided, and how this sampler is called there.
const DECISION_MAKER: &[u8] = b"_dd.p.dm";
const PROBABILISTIC: &[u8] = b"-9";

/// The probabilistic sampler.
#[derive(Clone, Copy, Debug)]
pub struct Hashed {
    /// FNV-1a of the seed.
    seeded: u32,
    /// The buckets that are kept.
    kept: u32,
    rate: f64,
    full_trace_id: bool,
}

impl Hashed {
    /// As `settings` say; `None` if it is off.
    #[must_use]
    pub fn new(settings: &apm::Probabilistic) -> Option<Self> {
        settings.enabled.then(|| Self {
            seeded: signature::fnv(signature::EMPTY, &settings.seed.to_le_bytes()),
            kept: (settings.percentage * (BUCKETS as f32 / 100.0)) as u32,
            rate: f64::from(settings.percentage) / 100.0,
            full_trace_id: settings.full_trace_id,
        })
    }

    /// Whether the trace of `chunk` is kept; if so, its root says by whom and at which rate.
    #[must_use]
    pub fn keeps(&self, chunk: &mut Chunk<'_>) -> bool {
        if signature::fnv(self.seeded, &self.trace_id(chunk)) % BUCKETS >= self.kept {
            return false;
        }
        if let Some(root) = chunk.spans.get_mut(chunk.root) {
            chunk.store.set_metric(root, RATE, self.rate, chunk.body);
            chunk.store.set(root, DECISION_MAKER, PROBABILISTIC, chunk.body);
        }
        true
    }

    /// The id as it is hashed: the lower half first and nothing after it, or all 128 bits. Upper bits that cannot be read
    /// count as those that no tracer sent: as zeros.
    fn trace_id(&self, chunk: &Chunk<'_>) -> [u8; 16] {
        let Some(root) = chunk.spans.get(chunk.root) else { return [0; 16] };
        let lower = u128::from(root.trace_id);
        if !self.full_trace_id {
            return (lower << 64).to_be_bytes();
        }
        let hex = |key: &[u8], digits: usize| {
            let text = chunk.store.meta(root, key, chunk.body)?;
            let is_hex = !text.is_empty() && text.len() <= digits && text.iter().all(u8::is_ascii_hexdigit);
            is_hex.then(|| u128::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()).flatten()
        };
        let whole = hex(b"otel.trace_id", 32).or_else(|| Some(hex(UPPER_ID, 16)? << 64 | lower));
        whole.unwrap_or(lower).to_be_bytes()
    }
}
