//! The status of a gRPC call as tracers write it: a number, or a name in one of its spellings (spec: traces 4.8). Pure.

/// The names of the statuses, in the order of their numbers.
const NAMES: [&[u8]; 17] = [
    b"OK",
    b"CANCELLED",
    b"UNKNOWN",
    b"INVALID_ARGUMENT",
    b"DEADLINE_EXCEEDED",
    b"NOT_FOUND",
    b"ALREADY_EXISTS",
    b"PERMISSION_DENIED",
    b"RESOURCE_EXHAUSTED",
    b"FAILED_PRECONDITION",
    b"ABORTED",
    b"OUT_OF_RANGE",
    b"UNIMPLEMENTED",
    b"INTERNAL",
    b"UNAVAILABLE",
    b"DATA_LOSS",
    b"UNAUTHENTICATED",
];

/// The status that a tag says.
#[must_use]
pub fn status(text: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let name = text.trim_start_matches("StatusCode.").as_bytes();
    if name.eq_ignore_ascii_case(b"CANCELED") {
        return Some(1);
    }
    NAMES.iter().zip(0..).find(|(known, _)| is_spelling(name, known)).map(|(_, number)| number)
}

/// The status that a metric says.
#[must_use]
pub fn numeric(value: f64) -> Option<u8> {
    (value.floor() == value && (0.0..=255.0).contains(&value)).then_some(value as u8)
}

/// Whether `name` is `known` in any case, with all its underscores or with none.
fn is_spelling(name: &[u8], known: &[u8]) -> bool {
    let without = known.iter().filter(|&&byte| byte != b'_');
    name.eq_ignore_ascii_case(known) || without.copied().eq(name.iter().map(u8::to_ascii_uppercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        for (text, expected) in [
            ("0", Some(0)),
            ("16", Some(16)),
            ("255", Some(255)),
            ("256", None),
            ("-1", None),
            ("", None),
            ("OK", Some(0)),
            ("ok", Some(0)),
            ("StatusCode.OK", Some(0)),
            ("CANCELLED", Some(1)),
            ("Canceled", Some(1)),
            ("UNKNOWN", Some(2)),
            ("INVALID_ARGUMENT", Some(3)),
            ("InvalidArgument", Some(3)),
            ("DEADLINE_EXCEEDED", Some(4)),
            ("DeadlineExceeded", Some(4)),
            ("StatusCode.NOT_FOUND", Some(5)),
            ("StatusCode.NotFound", Some(5)),
            ("StatusCode.StatusCode.NotFound", Some(5)),
            ("statuscode.NotFound", None),
            ("NO_TFOUND", None),
            ("ALREADY_EXISTS", Some(6)),
            ("PERMISSION_DENIED", Some(7)),
            ("RESOURCE_EXHAUSTED", Some(8)),
            ("FAILED_PRECONDITION", Some(9)),
            ("ABORTED", Some(10)),
            ("OUT_OF_RANGE", Some(11)),
            ("OutOfRange", Some(11)),
            ("OUT_OFRANGE", None),
            ("UNIMPLEMENTED", Some(12)),
            ("INTERNAL", Some(13)),
            ("UNAVAILABLE", Some(14)),
            ("DATA_LOSS", Some(15)),
            ("UNAUTHENTICATED", Some(16)),
            ("Überlast", None),
        ] {
            assert_eq!(status(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(status(b"\xff"), None);
    }

    #[test]
    fn metrics() {
        for (value, expected) in [
            (0.0, Some(0)),
            (14.0, Some(14)),
            (255.0, Some(255)),
            (256.0, None),
            (-1.0, None),
            (1.5, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(numeric(value), expected, "{value}");
        }
    }
}
