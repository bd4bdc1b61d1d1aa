//! Numbers that may be those of credit cards, and the keys whose values never are (the trace agent's
//! `obfuscation.credit_cards`). Pure.

/// Digits of the shortest and longest numbers.
const SHORTEST: usize = 12;
const LONGEST: usize = 16;

/// The issuers: ranges of the first six digits.
const ISSUERS: [(u32, u32); 6] = [
    (100_000, 199_999),
    (222_100, 272_099),
    (300_000, 305_999),
    (309_000, 309_999),
    (340_000, 589_999),
    (600_000, 699_999),
];

/// Keys with values that look like card numbers and are not. Keys that begin with `_` are not in it, they never count.
const EXEMPT: [&str; 31] = [
    "account_id",
    "aws_account",
    "config.spark_app_startTime",
    "config.spark_databricks_job_parentRunId",
    "databricks_job_id",
    "databricks_job_run_id",
    "databricks_task_run_id",
    "env",
    "error",
    "error.msg",
    "error.stack",
    "error.type",
    "graphql.field",
    "graphql.operation.name",
    "graphql.query",
    "graphql.type",
    "grpc.code",
    "grpc.method",
    "grpc.request",
    "http.method",
    "http.status_code",
    "out.host",
    "out.port",
    "runtime-id",
    "sampling.priority",
    "service",
    "service.name",
    "span.name",
    "span.type",
    "sql.query",
    "version",
];

/// Whether `value` has the length of a number and no letter among its first eight bytes, which takes one comparison and
/// excludes nearly every value there is: hexadecimal ids are as likely to begin with a digit as not, but not with eight.
#[must_use]
#[inline]
pub fn possible(value: &[u8]) -> bool {
    // Digits, spaces and dashes lie from 0x20 to 0x3f.
    const ROW: u64 = 0x2020_2020_2020_2020;
    const MASK: u64 = 0xe0e0_e0e0_e0e0_e0e0;
    value.len() >= SHORTEST && value.first_chunk().is_some_and(|bytes| u64::from_ne_bytes(*bytes) & MASK == ROW)
}

/// Whether values of `key` are looked at; `keep` are the user's exceptions.
#[must_use]
pub fn concerns(key: &[u8], keep: &[String]) -> bool {
    !key.starts_with(b"_")
        && EXEMPT.binary_search_by(|exempt| exempt.as_bytes().cmp(key)).is_err()
        && !keep.iter().any(|kept| kept.as_bytes() == key)
}

/// Whether `value` is a card number: 12 to 16 digits of a known issuer, with nothing but spaces and dashes between them.
/// With `luhn` the check digit must be right too.
#[must_use]
pub fn is_number(value: &[u8], luhn: bool) -> bool {
    if !possible(value) {
        return false;
    }
    let (mut digits, mut count) = ([0_u8; LONGEST], 0);
    for &byte in value {
        match byte {
            b' ' | b'-' => continue,
            b'0'..=b'9' => {}
            _ => return false,
        }
        let Some(digit) = digits.get_mut(count) else { return false };
        *digit = byte - b'0';
        count += 1;
    }
    let digits = digits.get(..count).unwrap_or_default();
    if digits.len() < SHORTEST {
        return false;
    }
    let issuer = digits.iter().take(6).fold(0, |number, &digit| number * 10 + u32::from(digit));
    ISSUERS.iter().any(|&(low, high)| (low..=high).contains(&issuer)) && (!luhn || checks(digits))
}

/// Whether the last digit is the check digit of the others.
fn checks(digits: &[u8]) -> bool {
    let weighted = digits.iter().rev().enumerate().map(|(place, &digit)| match place % 2 {
        0 => digit,
        _ if digit > 4 => 2 * digit - 9,
        _ => 2 * digit,
    });
    weighted.map(u32::from).sum::<u32>().is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (value, any, right) in [
            ("4111111111111111", true, true),
            ("4111 1111-1111 1111", true, true),
            (" -4111111111111111- ", true, true),
            ("4111111111111112", true, false),
            ("371449635398431", true, true),
            ("30569309025904", true, true),
            ("5555555555554444", true, true),
            ("222100000000", true, false),
            ("41111111111", false, false),
            ("41111111111 ", false, false),
            ("41111111111111111", false, false),
            ("411111111111111a", false, false),
            ("a4111111111111111", false, false),
            ("7111111111111111", false, false),
            ("0111111111111111", false, false),
            ("411111111111111\u{661}", false, false),
            ("            ", false, false),
            ("", false, false),
        ] {
            assert_eq!(
                (is_number(value.as_bytes(), false), is_number(value.as_bytes(), true)),
                (any, right),
                "{value}"
            );
        }
    }

    #[test]
    fn keys() {
        assert!(EXEMPT.is_sorted());
        let keep = ["order".to_owned()];
        for (key, expected) in [
            ("card.number", true),
            ("", true),
            ("orders", true),
            ("order", false),
            ("env", false),
            ("http.status_code", false),
            ("_sample_rate", false),
            ("_dd.p.dm", false),
            ("version", false),
        ] {
            assert_eq!(concerns(key.as_bytes(), &keep), expected, "{key}");
        }
    }
}
