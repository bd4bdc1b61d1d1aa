//! The priority sampler's rates: one for each service and environment, made so that their tracers together send as many
//! traces per second as the user wants, and told to the tracers as the body of every answer (spec: traces 4.1, 4.6). The
//! tracers decide by them; nothing is dropped here. Pure.

use std::sync::Arc;

use super::pace::{self, Pace};
use super::signature;
use crate::diag::counters::{Counter, count};
use crate::traces::Rates;

/// Most bytes that services take, and so a bound for the body of an answer.
const MAX_BYTES: usize = 64 << 10;

/// What stands before the service and between it and the environment in a key of the answer.
const SERVICE: &str = "service:";
const ENV: &str = ",env:";

/// A service in an environment.
#[derive(Debug)]
struct Entry {
    signature: u32,
    /// The key of the answer.
    key: Box<str>,
    /// The bytes of the service in it.
    name: usize,
    /// Whether its tracer names no environment and so asks for the service without.
    bare: bool,
}

impl Entry {
    fn is(&self, service: &[u8], env: &str) -> bool {
        let (name, rest) = (self.name(), self.key.as_bytes().get(SERVICE.len() + self.name + ENV.len()..));
        name.as_bytes() == service && rest == Some(env.as_bytes())
    }

    fn name(&self) -> &str {
        self.key.get(SERVICE.len()..SERVICE.len() + self.name).unwrap_or_default()
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + pace::SIGNATURE + self.key.len()
    }
}

/// The services that were seen, and their rates.
#[derive(Debug)]
pub struct Services {
    /// `None` if all traces are wanted.
    pace: Option<Pace>,
    /// Sorted by signature.
    all: Vec<Entry>,
    bytes: usize,
    /// The index of the service that was seen last: mostly there is one.
    last: usize,
    /// The answer, and whether it is still true.
    rates: Arc<Rates>,
    stale: bool,
    /// What versions begin with, and how many there were.
    seed: u64,
    versions: u64,
}

impl Services {
    /// Aims at `target` traces per second; `None` for all. `seed` makes the versions of this process its own.
    #[must_use]
    pub fn new(target: Option<f64>, seed: u64) -> Self {
        let rates = Arc::new(Rates { body: String::new(), version: String::new() });
        let (pace, all) = (target.map(Pace::new), Vec::new());
        Self { pace, all, bytes: 0, last: 0, rates, stale: true, seed, versions: 0 }
    }

    /// Whether traces are counted, so that their weight matters.
    #[must_use]
    pub fn has_target(&self) -> bool {
        self.pace.is_some()
    }

    /// Counts `weight` traces of `service` in `env`, of a tracer that names no environment if `bare`. The rate that the
    /// tracer was told, 0 to 1. A service that has no place shares the default. `now` is in nanoseconds since the epoch.
    pub fn count(&mut self, service: &[u8], env: &str, bare: bool, weight: f32, now: u64) -> f64 {
        if let Some(pace) = &mut self.pace
            && pace.advance(now)
        {
            self.stale = true;
            let bytes = &mut self.bytes;
            self.all.retain(|service| {
                let stays = pace.has(service.signature);
                *bytes -= if stays { 0 } else { service.bytes() };
                stays
            });
        }
        let signature = self.place(service, env, bare);
        if signature.is_none() {
            count(Counter::SamplingCrowded);
        }
        let Some(pace) = &mut self.pace else { return 1.0 };
        match signature {
            Some(signature) => pace.count(signature, weight),
            None => pace.count_others(weight),
        }
        signature.and_then(|signature| pace.rate(signature)).unwrap_or_else(|| pace.default_rate())
    }

    /// The signature of a service that has a place or gets one; `None` if there is none left.
    fn place(&mut self, service: &[u8], env: &str, bare: bool) -> Option<u32> {
        if let Some(last) = self.all.get(self.last)
            && last.is(service, env)
            && (last.bare || !bare)
        {
            return Some(last.signature);
        }
        let signature = signature::service(service, env.as_bytes());
        let found = self.all.binary_search_by_key(&signature, |service| service.signature);
        self.last = found.unwrap_or_else(|at| at);
        match self.all.get_mut(self.last) {
            Some(known) if found.is_ok() => {
                self.stale |= bare && !known.bare;
                known.bare |= bare;
            }
            _ => {
                let name = String::from_utf8_lossy(service);
                let key = [SERVICE, &name, ENV, env].concat().into_boxed_str();
                let new = Entry { signature, key, name: name.len(), bare };
                if self.bytes + new.bytes() > MAX_BYTES {
                    return None;
                }
                self.bytes += new.bytes();
                self.all.insert(self.last, new);
                // Without a target it has a rate at once, else when the bucket ends.
                self.stale |= self.pace.is_none();
            }
        }
        Some(signature)
    }

    /// The answer for tracers. The same `Arc` until a rate changes.
    pub fn rates(&mut self) -> &Arc<Rates> {
        if std::mem::take(&mut self.stale) {
            let body = self.body();
            if body != self.rates.body {
                self.versions += 1;
                let version = format!("{:x}-{:x}", self.seed, self.versions);
                self.rates = Arc::new(Rates { body, version });
            }
        }
        &self.rates
    }

    fn body(&self) -> String {
        let mut out = Vec::from(br#"{"rate_by_service":{"#);
        let mut entry = |key: &str, rate: f64| {
            // A vector takes everything, a string is always representable, and rates are finite.
            let _ = serde_json::to_writer(&mut out, key);
            out.push(b':');
            let _ = serde_json::to_writer(&mut out, &rate);
            out.push(b',');
        };
        for service in &self.all {
            let rate = self.pace.as_ref().map_or(Some(1.0), |pace| pace.rate(service.signature));
            let Some(rate) = rate else { continue };
            entry(&service.key, rate);
            if service.bare && !service.key.ends_with(ENV) {
                entry(&[SERVICE, service.name(), ENV].concat(), rate);
            }
        }
        entry("service:,env:", self.pace.as_ref().map_or(1.0, Pace::default_rate));
        out.pop();
        out.extend_from_slice(b"}}");
        String::from_utf8(out).unwrap_or_default()
    }
}
