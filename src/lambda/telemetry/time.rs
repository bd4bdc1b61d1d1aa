//! Times as the Telemetry API writes them (RFC 3339) to milliseconds since the epoch.
//!
//! Pure.

/// Milliseconds since the epoch of an RFC 3339 time, with or without fraction, in UTC or with an offset. `None` if it is
/// malformed or before 1970. Digits behind the millisecond are cut off.
#[must_use]
pub fn epoch_ms(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let digits = |from: usize, len: usize| -> Option<i64> {
        bytes.get(from..from + len)?.iter().try_fold(0, |n, b| {
            let digit = b.wrapping_sub(b'0');
            (digit < 10).then(|| n * 10 + i64::from(digit))
        })
    };
    let is = |at: usize, expected: &[u8]| bytes.get(at).is_some_and(|b| expected.contains(b));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
    let (hour, minute, second) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    // Second 60 is a leap second.
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (ms, zone) = fraction_ms(bytes.get(19..)?);
    let offset = match zone {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let at = bytes.len() - 5;
            let minutes = digits(at, 2)? * 60 + digits(at + 3, 2)?;
            if *sign == b'+' { minutes } else { -minutes }
        }
        _ => return None,
    };
    let minutes = (days_since_epoch(year, month, day) * 24 + hour) * 60 + minute - offset;
    u64::try_from((minutes * 60 + second) * 1000 + ms).ok()
}

/// The milliseconds of a fraction of a second at the start of `rest`, and what follows it.
fn fraction_ms(rest: &[u8]) -> (i64, &[u8]) {
    let [b'.', fraction @ ..] = rest else { return (0, rest) };
    let len = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
    let ms = (0..3).fold(0, |ms, i| {
        let digit = if i < len { fraction[i] - b'0' } else { 0 };
        ms * 10 + i64::from(digit)
    });
    (ms, &fraction[len..])
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar. Years are counted from March, so that the leap
/// day is a year's last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    365 * year + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::epoch_ms;

    #[test]
    fn times() {
        for (text, expected) in [
            ("1970-01-01T00:00:00.000Z", Some(0)),
            ("2026-11-23T04:39:08.457Z", Some(1_795_408_748_457)),
            ("2022-10-12T00:00:00Z", Some(1_665_532_800_000)),
            ("2024-02-29T23:59:59.9Z", Some(1_709_251_199_900)),
            ("2024-03-01T00:00:00.000000001Z", Some(1_709_251_200_000)),
            ("2000-01-01T01:00:00.123456789+01:00", Some(946_684_800_123)),
            ("2000-01-01T01:00:00-01:30", Some(946_693_800_000)),
            ("1969-12-31T23:59:59Z", None),
            ("2022-13-12T00:00:00Z", None),
            ("2022-10-12T24:00:00Z", None),
            ("2022-10-12T00:00:00", None),
            ("2022-10-12T00:00:00.Z", Some(1_665_532_800_000)),
            ("2022-10-12T00:00:00+0100", None),
            ("2022-1-12T00:00:00Z", None),
            ("2022-10-12", None),
            ("ü022-10-12T00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(epoch_ms(text), expected, "{text}");
        }
    }
}
