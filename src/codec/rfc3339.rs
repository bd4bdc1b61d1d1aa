//! Times as text (RFC 3339), as the Telemetry API and the Go agent write them, and nanoseconds since the epoch.
//!
//! Pure.

const NANOS: u64 = 1_000_000_000;
const DAY: u64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: u64 = 719_468;
/// Days of 400 years.
const ERA: u64 = 146_097;

/// Nanoseconds since the epoch of an RFC 3339 time, with or without fraction, in UTC or with an offset. `None` if it is
/// malformed, before 1970 or after 2554. Digits behind the nanosecond are cut off.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
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
    let (nanos, zone) = fraction(bytes.get(19..)?);
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
    u64::try_from(minutes * 60 + second).ok()?.checked_mul(NANOS)?.checked_add(nanos)
}

/// A time in UTC with nanoseconds; 0 is written as Go's zero time.
#[must_use]
pub fn format(ns: u64) -> String {
    if ns == 0 {
        return "0001-01-01T00:00:00Z".to_owned();
    }
    let (seconds, nanos) = (ns / NANOS, ns % NANOS);
    let (year, month, day) = civil(seconds / DAY);
    let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// The nanoseconds of a fraction of a second at the start of `rest`, and what follows it.
fn fraction(rest: &[u8]) -> (u64, &[u8]) {
    let [b'.', fraction @ ..] = rest else { return (0, rest) };
    let len = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
    let digit = |i: usize| if i < len { u64::from(fraction[i] - b'0') } else { 0 };
    ((0..9).fold(0, |nanos, i| nanos * 10 + digit(i)), &fraction[len..])
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar. Years are counted from March, so that the leap
/// day is a year's last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + day_of_year - EPOCH_DAYS.cast_signed()
}

/// Year, month and day of a day since the epoch, years counted from March as above.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + EPOCH_DAYS;
    let (era, of_era) = (shifted / ERA, shifted % ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times() {
        for (text, expected) in [
            ("1970-01-01T00:00:00.000Z", Some(0)),
            ("1970-01-01T00:00:01.5Z", Some(1_500_000_000)),
            ("2026-11-23T04:39:08.457Z", Some(1_795_408_748_457_000_000)),
            ("2000-02-29T12:34:56.000000001Z", Some(951_827_696_000_000_001)),
            ("2024-03-01T00:00:00.1234567891Z", Some(1_709_251_200_123_456_789)),
            ("2024-12-31T23:59:59+02:00", Some(1_735_682_399_000_000_000)),
            ("2024-12-31T23:59:59.25-00:30", Some(1_735_691_399_250_000_000)),
            ("2022-10-12 00:00:00z", Some(1_665_532_800_000_000_000)),
            ("2022-10-12T00:00:00.Z", Some(1_665_532_800_000_000_000)),
            ("1969-12-31T23:59:59Z", None),
            ("0001-01-01T00:00:00Z", None),
            ("9999-12-31T23:59:59Z", None),
            ("2022-13-12T00:00:00Z", None),
            ("2022-10-12T24:00:00Z", None),
            ("2022-10-12T00:00:00", None),
            ("2022-10-12T00:00:00Zx", None),
            ("2022-10-12T00:00:00+0100", None),
            ("2022-10-12T00:00:00+2", None),
            ("2022-1-12T00:00:00Z", None),
            ("+022-10-12T00:00:00Z", None),
            ("ü022-10-12T00:00:00Z", None),
            ("2022-10-12", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
        assert_eq!(format(0), "0001-01-01T00:00:00Z");
    }

    proptest! {
        #[test]
        fn every_time_survives(ns in 1_u64..) {
            prop_assert_eq!(parse(&format(ns)), Some(ns));
        }

        #[test]
        fn any_text_is_a_time_or_none(text in "\\PC{0,60}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+Z-]{0,20}") {
            let _ = parse(&text);
        }
    }
}
