//! Payloads: points, events and service checks as the intake reads them, cut to its limits and compressed.
//!
//! Pure; runs on the thread `metrics-agent` during a flush. Entries are written straight into the body of the payload
//! under construction.

mod events;
mod origin;
mod series;
mod sketches;

pub use events::{events, service_checks};
pub use series::Series;
pub use sketches::Sketches;

use crate::forwarder::{Encoding, Payload, Route};

/// Entries of one payload (spec: metrics 3.5, 3.6).
pub const MAX_ENTRIES: u32 = 1000;
/// Bytes of one body before compression. The intake takes series of 5 MiB and sketches of 62 MiB, but only 3.2 MB
/// compressed; with one bound below that, no body needs to be compressed to learn whether it fits.
pub const MAX_BODY: usize = 3_000_000;

/// Bodies of one route, cut where the next entry would not fit.
#[derive(Debug)]
pub struct Bodies {
    route: Route,
    level: i32,
    open: Vec<u8>,
    separator: &'static [u8],
    close: &'static [u8],
    body: Vec<u8>,
    items: u32,
    done: Vec<Payload>,
}

impl Bodies {
    /// Bodies that start with `open`, end with `close` and have `separator` between entries. `level` is zstd's.
    fn new(route: Route, level: i32, open: impl Into<Vec<u8>>, separator: &'static [u8], close: &'static [u8]) -> Self {
        Self { route, level, open: open.into(), separator, close, body: Vec::new(), items: 0, done: Vec::new() }
    }

    /// Appends what `write` writes as an entry. It is told whether the entry is the first of its body, and called again
    /// when the entry turns out to need another one.
    fn entry(&mut self, write: impl Fn(&mut Vec<u8>, bool)) {
        if self.items == MAX_ENTRIES {
            self.seal();
        }
        let end = self.body.len();
        self.body.extend_from_slice(if self.items == 0 { &self.open } else { self.separator });
        write(&mut self.body, self.items == 0);
        if self.items > 0 && self.body.len() + self.close.len() > MAX_BODY {
            self.body.truncate(end);
            self.seal();
            self.body.extend_from_slice(&self.open);
            write(&mut self.body, true);
        }
        self.items += 1;
    }

    /// Ends the body and starts another.
    fn seal(&mut self) {
        if self.items == 0 {
            return;
        }
        self.body.extend_from_slice(self.close);
        let payload = match zstd::bulk::compress(&self.body, self.level) {
            Ok(body) => Payload {
                route: self.route,
                encoding: Encoding::Zstd,
                body,
                items: self.items,
                headers: Vec::new(),
                request: None,
            },
            // Out of memory inside zstd: what cannot be made small is sent as it is.
            Err(_) => Payload {
                route: self.route,
                encoding: Encoding::Identity,
                body: self.body.clone(),
                items: self.items,
                headers: Vec::new(),
                request: None,
            },
        };
        self.done.push(payload);
        self.body.clear();
        self.items = 0;
    }

    /// The payloads.
    #[must_use]
    fn finish(mut self) -> Vec<Payload> {
        self.seal();
        self.done
    }
}

/// Writes `text` as a JSON string.
fn json_string(out: &mut Vec<u8>, text: &str) {
    // A vector takes everything and a string is always representable.
    let _ = serde_json::to_writer(out, text);
}

/// Writes strings as a JSON array.
fn json_strings<'a>(out: &mut Vec<u8>, texts: impl Iterator<Item = &'a str>) {
    out.push(b'[');
    for (i, text) in texts.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        json_string(out, text);
    }
    out.push(b']');
}

/// Writes a finite number as a JSON number.
fn json_number(out: &mut Vec<u8>, value: f64) {
    let _ = serde_json::to_writer(out, &value);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The body of a payload as it was before compression.
    pub fn plain(payload: &Payload) -> Vec<u8> {
        assert_eq!(payload.encoding, Encoding::Zstd);
        zstd::decode_all(payload.body.as_slice()).unwrap()
    }

    #[test]
    fn bodies_are_cut_at_the_limits() {
        for (entries, size, expected) in [
            (0, 10, vec![]),
            (1, 10, vec![1]),
            (1000, 10, vec![1000]),
            (1001, 10, vec![1000, 1]),
            (2500, 10, vec![1000, 1000, 500]),
            (7, 1_000_000, vec![2, 2, 2, 1]),
            (3, MAX_BODY + 1, vec![1, 1, 1]),
        ] {
            let mut bodies = Bodies::new(Route::Series, 1, "[", b",", b"]");
            for _ in 0..entries {
                bodies.entry(|out, _| {
                    out.push(b'"');
                    out.resize(out.len() + size - 2, b'x');
                    out.push(b'"');
                });
            }
            let payloads = bodies.finish();
            assert_eq!(payloads.iter().map(|p| p.items).collect::<Vec<_>>(), expected, "{entries} x {size}");
            for payload in &payloads {
                let list: Vec<String> = serde_json::from_slice(&plain(payload)).unwrap();
                assert_eq!(list.len(), payload.items as usize);
                assert!(list.iter().all(|entry| entry.len() == size - 2));
            }
        }
    }

    #[test]
    fn incompressible_bodies_stay_below_the_compressed_limit() {
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..MAX_BODY)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        let mut bodies = Bodies::new(Route::Sketches, 1, "", b"", b"");
        bodies.entry(|out, _| out.extend_from_slice(&noise));
        assert!(bodies.finish()[0].body.len() < 3_200_000);
    }
}
