//! One line of DogStatsD (spec: metrics 3.2), with the Go agent's meaning where the generations differ.
//!
//! `<name>:<value>[:<value>…]|<type>[|@<rate>][|#<tag>,…][|c:…][|e:…][|card:…][|T<unix seconds>]`, the fields after the
//! type in any order, empty and unknown ones ignored. Everything is borrowed from the datagram; values are appended to
//! a vector the caller reuses. Pure; runs on the thread `dogstatsd`. It decides nothing that depends on settings.
//!
//! `c:`, `e:` and `card:` name the sender's container. The Go agent looks at them only with origin detection, which has
//! nothing to detect inside a function, so they are accepted and ignored, as unknown fields are.

use super::number;
use crate::metrics::Kind;

/// A sample line. Its values are elsewhere: in the vector given to [`parse`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric<'a> {
    /// The name as sent, not empty.
    pub name: &'a [u8],
    /// The type.
    pub kind: Kind,
    /// The member, for a set; empty otherwise.
    pub member: &'a [u8],
    /// The tags as sent, separated by commas; may be empty.
    pub tags: &'a [u8],
    /// The sample rate, above zero and finite; 1 if not sent.
    pub rate: f64,
    /// Seconds since the epoch; 0 if not sent.
    pub timestamp: u64,
    /// Whether values that are not finite were left out.
    pub partial: bool,
}

/// Why a line was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// No `name:value|type`.
    Shape,
    /// A type that is none of `c`, `g`, `d`, `h`, `ms`, `s`.
    Type,
    /// A value that is no number, or no value at all.
    Value,
    /// A sample rate that is no number above zero.
    Rate,
    /// A timestamp that is no time after the epoch.
    Timestamp,
    /// An event or service check whose mandatory parts are wrong.
    Header,
    /// The last line of a datagram longer than the buffer.
    CutOff,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Shape => "not of the form name:value|type",
            Self::Type => "its type is none of c, g, d, h, ms, s",
            Self::Value => "its value is not a finite number",
            Self::Rate => "its sample rate is not a number above zero",
            Self::Timestamp => "its timestamp is not a time in seconds",
            Self::Header => "an event or service check without its mandatory parts",
            Self::CutOff => "its datagram is longer than DD_DOGSTATSD_BUFFER_SIZE",
        })
    }
}

/// Reads a sample line and appends its values. Values that are not finite are left out: no aggregate survives them.
///
/// # Errors
/// Says what is wrong; `values` is as before then.
pub fn parse<'a>(line: &'a [u8], values: &mut Vec<f64>) -> Result<Metric<'a>, Malformed> {
    let (head, rest) = split(line, b'|').ok_or(Malformed::Shape)?;
    let (name, value) = split(head, b':').ok_or(Malformed::Shape)?;
    if name.is_empty() || value.is_empty() {
        return Err(Malformed::Shape);
    }
    let (kind, mut rest) = match split(rest, b'|') {
        Some((kind, rest)) => (kind, Some(rest)),
        None => (rest, None),
    };
    let kind = match kind {
        b"c" => Kind::Count,
        b"g" => Kind::Gauge,
        b"d" => Kind::Distribution,
        b"h" | b"ms" => Kind::Histogram,
        b"s" => Kind::Set,
        _ => return Err(Malformed::Type),
    };
    let mut metric = Metric { name, kind, member: b"", tags: b"", rate: 1.0, timestamp: 0, partial: false };
    while let Some(fields) = rest {
        let (field, next) = match split(fields, b'|') {
            Some((field, next)) => (field, Some(next)),
            None => (fields, None),
        };
        rest = next;
        match field {
            [b'#', tags @ ..] => metric.tags = tags,
            [b'@', rate @ ..] => metric.rate = sample_rate(rate)?,
            [b'T', time @ ..] => metric.timestamp = timestamp(time).ok_or(Malformed::Timestamp)?,
            _ => {}
        }
    }
    if kind == Kind::Set {
        metric.member = value;
    } else {
        metric.partial = packed(value, values)?;
    }
    Ok(metric)
}

/// Splits at the first `separator`. Fields are short: a plain loop beats a call.
fn split(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&b| b == separator)?;
    Some((&text[..at], &text[at + 1..]))
}

fn sample_rate(text: &[u8]) -> Result<f64, Malformed> {
    number::parse(text).filter(|rate| *rate > 0.0 && rate.is_finite()).ok_or(Malformed::Rate)
}

/// Whole seconds, or a fraction that is rounded; at least 1.
pub(super) fn timestamp(text: &[u8]) -> Option<u64> {
    let seconds = number::parse(text)?.round();
    // The upper bound keeps every later sum far from an overflow.
    (1.0..=1e15).contains(&seconds).then_some(seconds as u64)
}

/// `v:v:v`: empty values are skipped, one that cannot be read drops the line. Returns whether one was not finite.
fn packed(mut text: &[u8], values: &mut Vec<f64>) -> Result<bool, Malformed> {
    let before = values.len();
    let mut partial = false;
    loop {
        let (value, rest) = match split(text, b':') {
            Some((value, rest)) => (value, Some(rest)),
            None => (text, None),
        };
        if !value.is_empty() {
            match number::parse(value) {
                Some(number) if number.is_finite() => values.push(number),
                Some(_) => partial = true,
                None => {
                    values.truncate(before);
                    return Err(Malformed::Value);
                }
            }
        }
        match rest {
            Some(rest) => text = rest,
            None => break,
        }
    }
    if values.len() == before { Err(Malformed::Value) } else { Ok(partial) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn metric(name: &'static str, kind: Kind) -> Metric<'static> {
        Metric { name: name.as_bytes(), kind, member: b"", tags: b"", rate: 1.0, timestamp: 0, partial: false }
    }

    fn check(line: &str, expected: Result<(Metric<'_>, &[f64]), Malformed>) {
        let mut values = vec![7.0];
        let got = parse(line.as_bytes(), &mut values);
        assert_eq!(values[0], 7.0, "{line}");
        match (got, expected) {
            (Ok(got), Ok((metric, numbers))) => {
                assert_eq!(got, metric, "{line}");
                assert_eq!(&values[1..], numbers, "{line}");
            }
            (got, expected) => {
                assert_eq!(got, expected.map(|(metric, _)| metric), "{line}");
                assert_eq!(values.len(), 1, "{line}");
            }
        }
    }

    #[test]
    fn every_type() {
        for (code, kind) in [
            ("c", Kind::Count),
            ("g", Kind::Gauge),
            ("d", Kind::Distribution),
            ("h", Kind::Histogram),
            ("ms", Kind::Histogram),
        ] {
            check(&format!("a.b:2.5|{code}"), Ok((metric("a.b", kind), &[2.5])));
        }
        check("a:x y:z|s", Ok((Metric { member: b"x y:z", ..metric("a", Kind::Set) }, &[])));
        for code in ["", "C", "cc", "m", "kv", "sl"] {
            check(&format!("a:1|{code}"), Err(Malformed::Type));
        }
    }

    #[test]
    fn names_and_values() {
        let count = metric("a", Kind::Count);
        for (line, expected) in [
            ("a:1|c", Ok((count, &[1.0][..]))),
            ("a:-1e3|c", Ok((count, &[-1000.0]))),
            ("a:21::22|c", Ok((count, &[21.0, 22.0]))),
            ("a::1:|c", Ok((count, &[1.0]))),
            ("a:1:2:3|c", Ok((count, &[1.0, 2.0, 3.0]))),
            ("a:1:nan:2|c", Ok((Metric { partial: true, ..count }, &[1.0, 2.0]))),
            ("a:1:x|c", Err(Malformed::Value)),
            ("a:inf|c", Err(Malformed::Value)),
            ("a: 1|c", Err(Malformed::Value)),
            ("a::|c", Err(Malformed::Value)),
            ("a:|c", Err(Malformed::Shape)),
            ("a:|s", Err(Malformed::Shape)),
            (":1|c", Err(Malformed::Shape)),
            ("a|c", Err(Malformed::Shape)),
            ("a:1", Err(Malformed::Shape)),
            ("a|b:1|c", Err(Malformed::Shape)),
            ("", Err(Malformed::Shape)),
            ("|", Err(Malformed::Shape)),
        ] {
            check(line, expected);
        }
    }

    #[test]
    fn optional_fields_in_any_order() {
        let base = metric("a", Kind::Gauge);
        let tagged = Metric { tags: b"x:1,y", ..base };
        for (fields, expected) in [
            ("", Ok(base)),
            ("|", Ok(base)),
            ("||", Ok(base)),
            ("|#x:1,y", Ok(tagged)),
            ("|#old|#x:1,y", Ok(tagged)),
            ("|#", Ok(base)),
            ("|@0.5", Ok(Metric { rate: 0.5, ..base })),
            ("|@0.5|#x:1,y", Ok(Metric { rate: 0.5, ..tagged })),
            ("|#x:1,y|@0.5", Ok(Metric { rate: 0.5, ..tagged })),
            ("|@2", Ok(Metric { rate: 2.0, ..base })),
            ("|@", Err(Malformed::Rate)),
            ("|@x", Err(Malformed::Rate)),
            ("|@0", Err(Malformed::Rate)),
            ("|@-1", Err(Malformed::Rate)),
            ("|@inf", Err(Malformed::Rate)),
            ("|@nan", Err(Malformed::Rate)),
            ("|T1795408773", Ok(Metric { timestamp: 1_795_408_773, ..base })),
            ("|T1795408773|#x:1,y", Ok(Metric { timestamp: 1_795_408_773, ..tagged })),
            ("|T1795408773.6", Ok(Metric { timestamp: 1_795_408_774, ..base })),
            ("|T", Err(Malformed::Timestamp)),
            ("|T0", Err(Malformed::Timestamp)),
            ("|T-5", Err(Malformed::Timestamp)),
            ("|Tx", Err(Malformed::Timestamp)),
            ("|T1e300", Err(Malformed::Timestamp)),
            ("|c:ci-abc", Ok(base)),
            ("|c:in-6800|#x:1,y", Ok(tagged)),
            ("|#x:1,y|c:in-6800|e:it-false,cn-nginx|card:low|T12", Ok(Metric { timestamp: 12, ..tagged })),
            ("|unknown|#x:1,y", Ok(tagged)),
        ] {
            check(&format!("a:1|g{fields}"), expected.map(|m| (m, &[1.0][..])));
        }
    }

    #[test]
    fn bytes_need_not_be_utf8() {
        let mut values = Vec::new();
        let got = parse(b"a\xff:1|c|#\xfe", &mut values).unwrap();
        assert_eq!((got.name, got.tags), (&b"a\xff"[..], &b"\xfe"[..]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            name in "[a-zA-Z][a-zA-Z0-9_.]{0,30}",
            numbers in proptest::collection::vec(-1e12..1e12_f64, 1..6),
            (code, kind) in proptest::sample::select(vec![
                ("c", Kind::Count), ("g", Kind::Gauge), ("d", Kind::Distribution),
                ("h", Kind::Histogram), ("ms", Kind::Histogram),
            ]),
            rate in 0.001..1.0_f64,
            tags in "([a-z]+:[a-z0-9:/]*(,[a-z]+)*)?",
            timestamp in 1..4_000_000_000_u64,
        ) {
            let packed = numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(":");
            let line = format!("{name}:{packed}|{code}|@{rate}|#{tags}|T{timestamp}");
            let mut values = Vec::new();
            let got = parse(line.as_bytes(), &mut values).unwrap();
            let expected =
                Metric { name: name.as_bytes(), kind, member: b"", tags: tags.as_bytes(), rate, timestamp, partial: false };
            prop_assert_eq!(got, expected);
            prop_assert_eq!(values, numbers);
        }

        #[test]
        fn never_panics_and_is_bounded(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut values = Vec::new();
            let _ = parse(&line, &mut values);
            prop_assert!(values.len() <= line.len());
        }

        #[test]
        fn never_panics_near_the_grammar(line in "[a:|#@Tcgdhms0-9.,é-]{0,80}") {
            let mut values = Vec::new();
            if parse(line.as_bytes(), &mut values).is_err() {
                prop_assert!(values.is_empty());
            }
        }
    }
}
