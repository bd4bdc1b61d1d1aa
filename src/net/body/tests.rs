//! Bodies: the chunked coding row by row, collecting within limits and budget, and any cut of the bytes.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{BodyReader, Budget, FIRST, Fault, Framing, GRAIN, Input, Patience, Stop, collect};
use crate::net::input::{Source, script::Script};

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// Its bytes, and how many bytes of the input follow it.
    Body(Vec<u8>, usize),
    TooLarge,
    Busy,
    Refused(u16),
}

fn read(framing: Framing, wire: &[u8], limit: usize, sizes: &[usize]) -> Outcome {
    let budget = Budget::new(8 * 1024 * 1024);
    let mut input = Input::new(Script::new(wire, sizes), 256);
    let mut patience = Patience::new(Duration::ZERO);
    let outcome = match collect(&mut BodyReader::new(framing), &mut input, limit, &budget, &mut patience) {
        Ok(body) => {
            assert!(budget.in_use() >= body.len(), "the lease covers the body");
            assert!(body.bytes.capacity() <= body.len() + GRAIN, "little more memory than body");
            let mut rest = input.pending().len();
            while input.fill(Some(&mut patience)) != Ok(0) {
                rest = input.pending().len();
                if input.is_full() {
                    break;
                }
            }
            Outcome::Body(body.to_vec(), rest)
        }
        Err(Stop::TooLarge) => Outcome::TooLarge,
        Err(Stop::Busy) => Outcome::Busy,
        Err(Stop::Fault(Fault::Refused(refusal))) => Outcome::Refused(refusal.status),
        Err(Stop::Fault(Fault::Lost)) => panic!("a script is never lost"),
    };
    assert_eq!(budget.in_use(), 0, "everything is given back");
    outcome
}

fn body(bytes: &str, rest: usize) -> Outcome {
    Outcome::Body(bytes.as_bytes().to_vec(), rest)
}

#[test]
fn chunked() {
    let bad = Outcome::Refused(400);
    let long_extension = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(20_000));
    let long_trailers = format!("0\r\n{}\r\n", "a: b\r\n".repeat(5_000));
    for (wire, expected) in [
        ("0\r\n\r\n", body("", 0)),
        ("3\r\nabc\r\n0\r\n\r\n", body("abc", 0)),
        ("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET", body("abcde", 3)),
        ("00A\r\n0123456789\r\n000\r\n\r\n", body("0123456789", 0)),
        ("a\r\n0123456789\r\n0\r\n\r\n", body("0123456789", 0)),
        ("1;name=value;other=\"quoted\"\r\na\r\n0;last\r\n\r\n", body("a", 0)),
        ("1 ; name\r\na\r\n0\r\n\r\n", body("a", 0)),
        ("1\r\na\r\n0\r\nTrailer: b\r\nX-Other:\r\n\r\n", body("a", 0)),
        ("2\r\n\r\n\r\n0\r\n\r\n", body("\r\n", 0)),
        ("", bad.clone()),
        ("\r\n", bad.clone()),
        ("x\r\n", bad.clone()),
        ("-1\r\na\r\n0\r\n\r\n", bad.clone()),
        ("+1\r\na\r\n0\r\n\r\n", bad.clone()),
        ("0x1\r\na\r\n0\r\n\r\n", bad.clone()),
        (" 1\r\na\r\n0\r\n\r\n", bad.clone()),
        ("1x\r\na\r\n0\r\n\r\n", bad.clone()),
        (";a\r\n", bad.clone()),
        ("1\na\n0\n\n", bad.clone()),
        ("1\r\na\n0\r\n\r\n", bad.clone()),
        ("1\r\nab\r\n0\r\n\r\n", bad.clone()),
        ("1;a\nb\r\na\r\n0\r\n\r\n", bad.clone()),
        ("1;a\rb\r\na\r\n0\r\n\r\n", bad.clone()),
        ("1;\0\r\na\r\n0\r\n\r\n", bad.clone()),
        ("00000000000000001\r\na\r\n0\r\n\r\n", bad.clone()),
        ("10000000000000000\r\na", bad.clone()),
        ("ffffffffffffffff\r\na", Outcome::TooLarge),
        ("fffffffffffffff\r\na", Outcome::TooLarge),
        ("0\r\n folded: a\r\n\r\n", bad.clone()),
        ("0\r\nA: b\r\n c\r\n\r\n", bad.clone()),
        ("0\r\nno colon\r\n\r\n", bad.clone()),
        ("0\r\n: b\r\n\r\n", bad.clone()),
        ("0\r\nA: \0\r\n\r\n", bad.clone()),
        ("0\r\nA: b\n\r\n", bad.clone()),
        ("0\r\n\n", bad.clone()),
        ("3\r\nab", bad.clone()),
        ("3\r\nabc", bad.clone()),
        ("3\r\nabc\r\n0\r\n", bad.clone()),
        (&long_extension, bad.clone()),
        (&long_trailers, bad),
    ] {
        for sizes in [&[][..], &[1], &[3, 1, 2]] {
            let found = read(Framing::Chunked, wire.as_bytes(), 1 << 20, sizes);
            assert_eq!(found, expected, "{:?}", wire.get(..100).unwrap_or(wire));
        }
    }
}

#[test]
fn limits() {
    for (framing, wire, limit, expected) in [
        (Framing::Length(0), "abc", 0, body("", 3)),
        (Framing::Length(3), "abc", 3, body("abc", 0)),
        (Framing::Length(3), "abcdef", 3, body("abc", 3)),
        (Framing::Length(4), "abcd", 3, Outcome::TooLarge),
        (Framing::Length(u64::MAX), "abcd", usize::MAX, Outcome::TooLarge),
        (Framing::Length(1_000_000_000_000_000), "", 3, Outcome::TooLarge),
        (Framing::Length(4), "abc", 4, Outcome::Refused(400)),
        (Framing::Chunked, "3\r\nabc\r\n0\r\n\r\n", 3, body("abc", 0)),
        (Framing::Chunked, "2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n", 3, Outcome::TooLarge),
        (Framing::Chunked, "0\r\n\r\n", 0, body("", 0)),
    ] {
        assert_eq!(read(framing, wire.as_bytes(), limit, &[]), expected, "{framing:?} {wire:?}");
    }
}

/// Sends `left` bytes, then ends; notes the most of the budget that was taken at any time.
struct Probe {
    left: usize,
    budget: Arc<Budget>,
    peak: Rc<Cell<usize>>,
}

impl Source for Probe {
    fn receive(&mut self, into: &mut Vec<u8>, _: Option<&mut Patience>) -> Result<usize, Fault> {
        self.peak.set(self.peak.get().max(self.budget.in_use()));
        let n = self.left.min(into.capacity() - into.len());
        into.resize(into.len() + n, b'a');
        self.left -= n;
        Ok(n)
    }
}

#[test]
fn memory_and_budget_follow_what_came_and_not_what_was_declared() {
    let declared = 64 * FIRST;
    for (sent, expected) in [(0, FIRST), (FIRST - 1, FIRST), (FIRST, 2 * FIRST), (5 * FIRST, 8 * FIRST)] {
        let (budget, peak) = (Budget::new(declared), Rc::new(Cell::new(0)));
        let source = Probe { left: sent, budget: Arc::clone(&budget), peak: Rc::clone(&peak) };
        let mut reader = BodyReader::new(Framing::Length(declared as u64));
        let stop =
            collect(&mut reader, &mut Input::new(source, 256), declared, &budget, &mut Patience::once(Duration::ZERO));
        assert!(matches!(stop, Err(Stop::Fault(_))), "the body ended early");
        assert_eq!(peak.get(), expected, "{sent} bytes sent");
        assert_eq!(budget.in_use(), 0);
    }
}

#[test]
fn no_room_is_busy_and_never_room_is_too_large() {
    let budget = Budget::new(4 * FIRST);
    let take = |length: usize| {
        let bytes = vec![b'a'; length];
        let mut input = Input::new(Script::new(&bytes, &[]), 256);
        let mut reader = BodyReader::new(Framing::Length(length as u64));
        collect(&mut reader, &mut input, usize::MAX, &budget, &mut Patience::once(Duration::from_millis(1)))
    };
    assert_eq!(take(4 * FIRST + 1).unwrap_err(), Stop::TooLarge);
    let held = take(3 * FIRST).unwrap();
    assert_eq!(budget.in_use(), 3 * FIRST);
    assert_eq!(take(2 * FIRST).unwrap_err(), Stop::Busy);
    drop(held);
    assert_eq!(take(4 * FIRST).unwrap().len(), 4 * FIRST);
    assert_eq!(budget.in_use(), 0);
}

#[test]
fn discard_stops_at_its_limit_or_at_the_end() {
    for (framing, wire, limit, expected, rest) in [
        (Framing::Length(5), "abcdeGET", 5, Ok(true), "GET"),
        (Framing::Length(5), "abcdeGET", 4, Ok(false), "eGET"),
        (Framing::Length(0), "GET", 0, Ok(true), ""),
        (Framing::Chunked, "3\r\nabc\r\n0\r\n\r\nGET", 3, Ok(true), "GET"),
        (Framing::Chunked, "3\r\nabc\r\n0\r\n\r\nGET", 2, Ok(false), "c\r\n0\r\n\r\nGET"),
    ] {
        let mut input = Input::new(Script::new(wire.as_bytes(), &[]), 256);
        let mut patience = Patience::new(Duration::ZERO);
        assert_eq!(BodyReader::new(framing).discard(&mut input, limit, &mut patience), expected);
        assert_eq!(input.pending(), rest.as_bytes());
    }
}

fn encode(chunks: &[Vec<u8>], extension: &str, trailers: &[String]) -> Vec<u8> {
    let mut wire = Vec::new();
    for chunk in chunks {
        wire.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
        wire.extend(chunk);
        wire.extend(b"\r\n");
    }
    wire.extend(b"0\r\n");
    for value in trailers {
        wire.extend(format!("X-T: {value}\r\n").bytes());
    }
    wire.extend(b"\r\n");
    wire
}

proptest! {
    #[test]
    fn chunked_round_trip_however_cut(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..600), 0..8),
        extension in "(;[a-z]{1,5}(=[a-z]{0,5})?)?",
        trailers in prop::collection::vec("[ -~]{0,20}", 0..3),
        sizes in prop::collection::vec(1_usize..300, 1..10),
        rest in 0_usize..200,
    ) {
        let mut wire = encode(&chunks, &extension, &trailers);
        wire.resize(wire.len() + rest, b'\n');
        let expected = Outcome::Body(chunks.concat(), rest);
        prop_assert_eq!(read(Framing::Chunked, &wire, 1 << 20, &sizes), expected);
    }

    #[test]
    fn any_bytes_give_one_outcome_however_cut(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "0", "1", "5", "a", "f", ";", " ", "\r\n", "\r\n", "\r", "\n", "abcde", "X: y", "ffffffffffff", "\0",
        ]), 0..30),
        limit in 0_usize..40,
        sizes in prop::collection::vec(1_usize..9, 1..10),
    ) {
        let wire = pieces.concat();
        let whole = read(Framing::Chunked, wire.as_bytes(), limit, &[]);
        if let Outcome::Body(bytes, _) = &whole {
            prop_assert!(bytes.len() <= limit);
        }
        prop_assert_eq!(whole, read(Framing::Chunked, wire.as_bytes(), limit, &sizes));
    }

    #[test]
    fn declared_lengths_however_cut(
        length in 0_usize..200_000,
        rest in 0_usize..200,
        sizes in prop::collection::vec(1_usize..70_000, 1..10),
    ) {
        let bytes: Vec<u8> = (0..length + rest).map(|i| (i % 251) as u8).collect();
        let found = read(Framing::Length(length as u64), &bytes, length, &sizes);
        prop_assert_eq!(found, Outcome::Body(bytes[..length].to_vec(), rest));
    }
}
