//! Buckets, contexts and flushes: what is sent when, and that nothing is lost or sent twice.

use proptest::prelude::*;

use super::*;
use crate::metrics::dogstatsd::parser::parse;

/// A flush's points as text: name, statistic, type, timestamp, value or sum and count, tags.
fn flush(aggregator: &mut Aggregator, now: u64, last: bool) -> Vec<String> {
    let settings = settings();
    let mut points = Vec::new();
    aggregator.flush(now, last, &settings, &base(), &mut |context, point| {
        let tags = context.tags().collect::<Vec<_>>().join(",");
        let name = context.name();
        points.push(match point {
            Point::Series(p) => {
                let suffix = p.statistic.map(|s| format!(".{}", s.suffix())).unwrap_or_default();
                let kind = if p.count { 'c' } else { 'g' };
                format!("{name}{suffix} {kind} @{} {} #{tags}", p.timestamp, p.value)
            }
            Point::Sketch { timestamp, sketch } => {
                format!("{name} d @{timestamp} {}/{} #{tags}", sketch.sum, sketch.count)
            }
        });
    });
    points.sort();
    points
}

fn settings() -> Settings {
    let statistics = [Statistic::Max, Statistic::Count, Statistic::Percentile(95)];
    Settings { blocklist: vec!["no".into()], statistics: statistics.into(), ..Settings::default() }
}

fn base() -> Base {
    Base { metrics: vec!["env:dev".into()], ..Base::default() }
}

fn add(aggregator: &mut Aggregator, line: &str, received: u64) -> Outcome {
    let mut values = Vec::new();
    let metric = parse(line.as_bytes(), &mut values).unwrap();
    aggregator.add(&Sample { metric, values: &values, received }, &settings(), &base())
}

fn check(lines: &[(&str, u64)], now: u64, expected: &[&str]) {
    let mut aggregator = Aggregator::new(1 << 20);
    for &(line, received) in lines {
        add(&mut aggregator, line, received);
    }
    assert_eq!(flush(&mut aggregator, now, false), expected, "{lines:?}");
}

#[test]
fn types_and_buckets() {
    check(&[], 105, &[]);
    check(&[("a:1|c", 101), ("a:2:3|c|@0.5", 109), ("a:4|c", 110)], 115, &["a c @100 11 #", "a c @110 4 #"]);
    check(&[("a:1|g|#y,x", 101), ("a:2|g|#x,y", 102)], 105, &["a g @100 2 #x,y"]);
    check(&[("a:u|s", 101), ("a:v|s", 101), ("a:u|s", 102)], 105, &["a g @100 2 #"]);
    check(&[("a:1:2|d", 101), ("a:3|d|@0.1", 101)], 105, &["a d @100 33/12 #"]);
    check(
        &[("a:1|ms", 101), ("a:3|h|@0.5", 101)],
        105,
        &["a.95percentile g @100 3 #", "a.count c @100 3 #", "a.max g @100 3 #"],
    );
    check(&[("no:1|c", 101), ("a:1|c|#env:dev,x", 101)], 105, &["a c @100 1 #x"]);
}

#[test]
fn the_type_is_part_of_the_context() {
    check(
        &[("a:1|c", 101), ("a:2|g", 101), ("a:3|d", 101), ("a:4|s", 101), ("a:5|c", 101)],
        105,
        &["a c @100 6 #", "a d @100 3/1 #", "a g @100 1 #", "a g @100 2 #"],
    );
}

#[test]
fn timestamps_choose_the_bucket() {
    for (line, expected) in [
        ("a:1|c|T57", "a c @50 1 #"),
        ("a:1|g|T57", "a g @50 1 #"),
        ("a:1|d|T57", "a d @50 1/1 #"),
        ("a:u|s|T57", "a g @50 1 #"),
        ("a:1|c|T101", "a c @100 1 #"),
        ("a:1|c|T5000", "a c @100 1 #"),
    ] {
        check(&[(line, 101)], 105, &[expected]);
    }
}

#[test]
fn a_bucket_flushed_again_uses_its_next_second() {
    let mut aggregator = Aggregator::new(1 << 20);
    for (n, now) in [(0, 101), (1, 101), (2, 108)] {
        for line in ["a:1|c", "b:2|g", "d:3|d", "h:4|h"] {
            add(&mut aggregator, line, now);
        }
        let second = 100 + n;
        assert_eq!(
            flush(&mut aggregator, now, false),
            [
                format!("a c @{second} 1 #"),
                format!("b g @{second} 2 #"),
                "d d @100 3/1 #".to_owned(),
                format!("h.95percentile g @{second} 4 #"),
                format!("h.count c @{second} 1 #"),
                format!("h.max g @{second} 4 #"),
            ]
        );
    }
    assert_eq!(flush(&mut aggregator, 109, false), [""; 0], "nothing twice");
    // Sketches alone use no second.
    add(&mut aggregator, "d:3|d", 109);
    assert_eq!(flush(&mut aggregator, 109, false), ["d d @100 3/1 #"]);
    add(&mut aggregator, "a:1|c|T104", 125);
    assert_eq!(flush(&mut aggregator, 125, false), ["a c @103 1 #"]);
}

#[test]
fn series_wait_when_the_seconds_of_an_open_bucket_are_used_up() {
    for (now, last) in [(110, false), (104, true)] {
        let mut aggregator = Aggregator::new(1 << 20);
        for n in 0..9 {
            add(&mut aggregator, "a:1|c", 104);
            assert_eq!(flush(&mut aggregator, 104, false), [format!("a c @{} 1 #", 100 + n)]);
        }
        for _ in 0..3 {
            add(&mut aggregator, "a:1|c", 104);
            add(&mut aggregator, "d:1|d", 104);
            assert_eq!(flush(&mut aggregator, 104, false), ["d d @100 1/1 #"]);
        }
        assert_eq!(flush(&mut aggregator, now, last), ["a c @109 3 #"]);
        // Read before that flush, handed over after it.
        add(&mut aggregator, "a:5|c", 104);
        assert_eq!(flush(&mut aggregator, now, last), ["a c @110 5 #"]);
        // A late sample of a bucket with no second left counts in the present one.
        add(&mut aggregator, "a:7|c|T105", 122);
        assert_eq!(flush(&mut aggregator, 122, false), ["a c @120 7 #"]);
    }
}

#[test]
fn a_set_keeps_its_members_until_its_bucket_ends() {
    let mut aggregator = Aggregator::new(1 << 20);
    add(&mut aggregator, "a:u|s", 101);
    add(&mut aggregator, "a:v|s", 101);
    assert_eq!(flush(&mut aggregator, 102, false), ["a g @100 2 #"]);
    assert_eq!(flush(&mut aggregator, 103, false), [""; 0]);
    add(&mut aggregator, "a:v|s", 104);
    add(&mut aggregator, "a:w|s", 104);
    assert_eq!(flush(&mut aggregator, 105, false), ["a g @101 3 #"]);
    assert_eq!(flush(&mut aggregator, 115, false), [""; 0]);
    add(&mut aggregator, "a:u|s", 116);
    assert_eq!(flush(&mut aggregator, 116, false), ["a g @110 1 #"]);
}

#[test]
fn a_change_of_the_functions_tags_joins_what_became_the_same() {
    let mut aggregator = Aggregator::new(1 << 20);
    for line in
        ["a:1|c|#arn:x,y", "a:2|c|#y", "a:1|d|#arn:x", "a:2|d", "s:u|s|#arn:x", "s:v|s", "h:1|h", "h:2|h|#arn:x"]
    {
        add(&mut aggregator, line, 101);
    }
    let wider = Base { metrics: vec!["env:dev".into(), "arn:x".into()], ..Base::default() };
    aggregator.rebuild(&wider);
    assert_eq!(
        flush(&mut aggregator, 105, false),
        [
            "a c @100 3 #y",
            "a d @100 3/2 #",
            "h.95percentile g @100 2 #",
            "h.count c @100 2 #",
            "h.max g @100 2 #",
            "s g @100 2 #"
        ]
    );
}

#[test]
fn over_the_budget_only_known_counts_and_gauges_take_samples() {
    let budget = 64 * 1024;
    let mut aggregator = Aggregator::new(budget);
    for line in ["c:1|c", "g:1|g", "d:1|d", "s:0|s"] {
        assert_eq!(add(&mut aggregator, line, 101), Outcome::Accepted);
    }
    let mut lost = 0;
    for i in 0..10_000 {
        lost += u32::from(add(&mut aggregator, &format!("x:1|c|#i:{i}"), 101) == Outcome::Overflow);
    }
    assert!(lost > 9_000, "{lost}");
    assert!(aggregator.bytes() < budget + 4096, "{}", aggregator.bytes());
    for (line, expected) in [
        ("c:1|c", Outcome::Accepted),
        ("g:1|g", Outcome::Accepted),
        ("d:1|d", Outcome::Overflow),
        ("s:1|s", Outcome::Overflow),
        ("c:1|c|T50", Outcome::Overflow),
        ("new:1|c", Outcome::Overflow),
        ("no:1|c", Outcome::Blocked),
    ] {
        assert_eq!(add(&mut aggregator, line, 101), expected, "{line}");
    }
    let points = flush(&mut aggregator, 105, false);
    assert!(points.contains(&"c c @100 2 #".to_owned()));
    assert!(aggregator.bytes() < 4096, "{}", aggregator.bytes());
    assert_eq!(add(&mut aggregator, "new:1|c", 101), Outcome::Accepted);
}

#[test]
fn each_type_is_bounded_in_bytes() {
    for lines in [
        (|i| format!("a:{i}|s")) as fn(u32) -> String,
        |i| format!("a:{i}|h"),
        |i| format!("a:1.{i}e{}|d", i % 300),
        |i| format!("a:1|d|#t:{i}"),
        |i| format!("a:1|c|T{}", i * 10 + 1),
        |i| format!("no:1|c|#x:{i}"),
    ] {
        let budget = 128 * 1024;
        let mut aggregator = Aggregator::new(budget);
        for i in 0..20_000 {
            add(&mut aggregator, &lines(i), 1_000_000);
        }
        assert!(aggregator.bytes() <= budget + 96 * 1024, "{}: {}", lines(1), aggregator.bytes());
        flush(&mut aggregator, 1_000_000, true);
        assert!(aggregator.bytes() < 32 * 1024, "{}: {}", lines(1), aggregator.bytes());
    }
}

proptest! {
    /// Whatever the flushes: nothing is lost, nothing is sent twice, no two points of a series share a time.
    #[test]
    fn sums_are_preserved_over_any_flushes(
        steps in proptest::collection::vec((0..4_u32, 1..100_u32, 0..3_u64, proptest::option::of(0..60_u64)), 1..120)
    ) {
        let mut aggregator = Aggregator::new(1 << 20);
        let (mut now, mut counted, mut sketched) = (1000_u64, 0.0, 0.0);
        let (mut sent, mut sent_sketches, mut used) = (0.0, 0.0, std::collections::HashSet::new());
        let mut send = |aggregator: &mut Aggregator, now, last| {
            for line in flush(aggregator, now, last) {
                let fields: Vec<_> = line.split(' ').collect();
                if fields[1] == "d" {
                    sent_sketches += fields[3].split('/').next().unwrap().parse::<f64>().unwrap();
                } else {
                    sent += fields[3].parse::<f64>().unwrap();
                    assert!(used.insert((fields[0].to_owned(), fields[2].to_owned())), "{line} twice");
                }
            }
        };
        for (what, value, pause, back) in steps {
            let time = back.map(|back| format!("|T{}", now - back)).unwrap_or_default();
            match what {
                0 => { add(&mut aggregator, &format!("a:{value}|c{time}"), now); counted += f64::from(value); }
                1 => { add(&mut aggregator, &format!("a:{value}|d{time}"), now); sketched += f64::from(value); }
                _ => send(&mut aggregator, now, false),
            }
            now += pause;
        }
        send(&mut aggregator, now, true);
        prop_assert_eq!(sent, counted);
        prop_assert_eq!(sent_sketches, sketched);
        prop_assert_eq!(flush(&mut aggregator, now + 100, true).len(), 0);
    }
}
