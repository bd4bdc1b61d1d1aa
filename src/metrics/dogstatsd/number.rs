//! Numbers as Go's `strconv.ParseFloat` reads them, which is what the clients were written against.
//!
//! Pure; runs on the thread `dogstatsd`, once for each value: short decimals take a path without a library call.

/// Powers of ten that are exact in an `f64`.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Reads a number: decimals with or without exponent, `inf`, `nan`, hexadecimal floats (`0x1.8p3`). No blanks, no
/// underscores.
#[must_use]
pub fn parse(text: &[u8]) -> Option<f64> {
    plain(text).or_else(|| general(text))
}

/// `-?digits[.digits]` of at most 15 digits: mantissa and power of ten are exact, so one division rounds correctly.
fn plain(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let mut mantissa = 0_u64;
    let mut point = None;
    for (i, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => mantissa = mantissa * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(i),
            _ => return None,
        }
    }
    let decimals = match point {
        None if digits.len() > 15 => return None,
        None => 0,
        Some(_) if digits.len() == 1 => return None,
        Some(i) => digits.len() - 1 - i,
    };
    // At most 15 digits: below 2^53.
    let value = mantissa as f64 / POWERS[decimals];
    Some(if negative { -value } else { value })
}

#[cold]
fn general(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse().ok().or_else(|| hexadecimal(text))
}

/// `[+-]0x<digits>[.<digits>]p<exponent>`; the exponent is mandatory, as in Go. Digits beyond the 15th only scale.
fn hexadecimal(text: &str) -> Option<f64> {
    let (negative, text) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let text = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let (digits, exponent) = text.split_once(['p', 'P'])?;
    let mut exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut mantissa = 0_u64;
    for (i, digit) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = digit.to_digit(16)?;
        let step = if i >= whole.len() { -4 } else { 0 };
        if mantissa >> 56 == 0 {
            mantissa = mantissa << 4 | u64::from(digit);
            exponent = exponent.saturating_add(step);
        } else {
            exponent = exponent.saturating_add(step + 4);
        }
    }
    let value = mantissa as f64 * 2_f64.powi(exponent);
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::parse;
    use proptest::prelude::*;

    #[test]
    fn numbers_as_go_reads_them() {
        for (text, expected) in [
            ("0", Some(0.0)),
            ("1", Some(1.0)),
            ("-1", Some(-1.0)),
            ("+1", Some(1.0)),
            ("21.5", Some(21.5)),
            ("0.1", Some(0.1)),
            ("-0.000001", Some(-0.000_001)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("123456789012345", Some(123_456_789_012_345.0)),
            ("1234567890123456789", Some(1_234_567_890_123_456_789.0)),
            ("12345678.90123456789", Some(12_345_678.901_234_567)),
            ("1e3", Some(1000.0)),
            ("1E-3", Some(0.001)),
            ("inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("0x1p4", Some(16.0)),
            ("-0X1.8p1", Some(-3.0)),
            ("0x.8p0", Some(0.5)),
            ("0x1", None),
            ("0xp1", None),
            ("", None),
            (".", None),
            ("-", None),
            ("1.2.3", None),
            (" 1", None),
            ("1 ", None),
            ("1_000", None),
            ("abc", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        }
        assert!(parse(b"NaN").is_some_and(f64::is_nan));
        assert_eq!(parse(b"\xff"), None);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
            prop_assert_eq!(parse(value.to_string().as_bytes()), Some(value));
        }

        #[test]
        fn decimals_agree_with_the_standard_library(text in "-?[0-9]{0,17}(\\.[0-9]{0,17})?") {
            prop_assert_eq!(parse(text.as_bytes()), text.parse().ok());
        }

        #[test]
        fn never_panics(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&text);
        }

        #[test]
        fn never_panics_on_hexadecimal(text in "[+-]?0x[0-9a-f.é]{0,30}p[+-]?[0-9]{0,12}") {
            let _ = parse(text.as_bytes());
        }
    }
}
