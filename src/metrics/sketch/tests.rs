//! Sketches against the formulas of the specification and against an independent implementation.

use proptest::prelude::*;

use super::*;

fn sketch(values: &[f64]) -> Sketch {
    let mut sketch = Sketch::default();
    for &v in values {
        sketch.insert(v, 1);
    }
    sketch
}

#[test]
fn parameters_agree_with_each_other() {
    assert_eq!(GAMMA, 1.0 + 2.0 / 128.0);
    assert!((GAMMA.ln() - GAMMA_LN).abs() < 1e-17);
    assert_eq!(BIAS, -((1e-9_f64.ln() / GAMMA_LN).floor() as i32) + 1);
    assert!((GAMMA.powi(1 - BIAS) / SMALLEST - 1.0).abs() < 1e-12);
}

#[test]
fn quantiles_of_values_beyond_the_outermost_bins_are_numbers() {
    for (values, q, expected) in [
        (&[1e300, 1e300, 1e300][..], 0.5, 1e300),
        (&[-1e300, -1e300, 1e300], 0.0, -1e300),
        (&[f64::MIN, f64::MAX], 1.0, f64::MAX),
    ] {
        assert_eq!(sketch(values).quantile(q), expected, "{values:?}");
    }
}

#[test]
fn keys() {
    // From the formula: round_half_even(ln v / ln gamma) + 1338.
    for (value, expected) in [
        (0.0, 0),
        (-0.0, 0),
        (9.9e-10, 0),
        (-9.9e-10, 0),
        (SMALLEST, 1),
        (1e-9, 1),
        (1.0, 1338),
        (GAMMA, 1339),
        (1.0 / GAMMA, 1337),
        (2.0, 1383),
        (3.0, 1409),
        (10.0, 1487),
        (100.0, 1635),
        (1000.0, 1784),
        (-1.0, -1338),
        (-100.0, -1635),
        (1e300, 32767),
        (f64::MAX, 32767),
        (f64::MIN, -32767),
    ] {
        assert_eq!(key(value), expected, "{value}");
    }
}

#[test]
fn lower_bounds() {
    for (key, expected) in
        [(0, 0.0), (1338, 1.0), (1339, GAMMA), (-1339, -GAMMA), (32767, f64::INFINITY), (-32767, f64::NEG_INFINITY)]
    {
        assert_eq!(lower_bound(key), expected, "{key}");
    }
    assert!(lower_bound(i16::MIN).is_infinite());
}

#[test]
fn the_basics_are_exact() {
    let got = sketch(&[3.0, 1.0, 2.0]);
    assert_eq!((got.count, got.min, got.max, got.avg, got.sum), (3, 1.0, 3.0, 2.0, 6.0));
    assert_eq!(got.wire_bins().collect::<Vec<_>>(), [(1338, 1), (1383, 1), (1409, 1)]);
    let mut weighted = Sketch::default();
    weighted.insert(1.0, 2);
    weighted.insert(4.0, 2);
    weighted.insert(9.0, 0);
    assert_eq!((weighted.count, weighted.min, weighted.max, weighted.avg, weighted.sum), (4, 1.0, 4.0, 2.5, 10.0));
}

#[test]
fn large_counts_are_spread_with_the_remainder_first() {
    let mut got = Sketch::default();
    got.insert(1.0, 65_535 * 2 + 7);
    assert_eq!(got.wire_bins().collect::<Vec<_>>(), [(1338, 7), (1338, 65_535), (1338, 65_535)]);
    let mut got = Sketch::default();
    got.insert(1.0, 65_535);
    assert_eq!(got.wire_bins().collect::<Vec<_>>(), [(1338, 65_535)]);
}

#[test]
fn the_lowest_bins_fold_at_the_limit() {
    let mut got = Sketch::default();
    for k in 2..=5000_i16 {
        // The middle of the bin.
        let v = GAMMA.powi(i32::from(k) - BIAS);
        assert_eq!(key(v), k);
        got.insert(v, 1);
    }
    let bins: Vec<_> = got.wire_bins().collect();
    assert_eq!(bins.len(), BIN_LIMIT);
    assert_eq!(bins[0], (905, 904));
    assert_eq!(bins[1], (906, 1));
    assert_eq!(bins.last(), Some(&(5000, 1)));
    assert_eq!(got.count, 4999);
}

#[test]
fn folding_counts_the_bins_that_are_spread() {
    let mut got = Sketch::default();
    for k in 2..=4000_i16 {
        got.insert(GAMMA.powi(i32::from(k) - BIAS), if k > 3900 { 65_536 } else { 1 });
    }
    let bins: Vec<_> = got.wire_bins().collect();
    assert_eq!(bins.len(), BIN_LIMIT);
    assert_eq!(bins[0], (5, 4));
    assert_eq!(bins.iter().map(|bin| u64::from(bin.1)).sum::<u64>(), got.count);
}

#[test]
fn extremes_stay_finite() {
    let got = sketch(&[f64::MAX, f64::MAX, f64::MIN, f64::MIN, f64::MIN]);
    assert!(got.sum.is_finite() && got.avg.is_finite());
    assert_eq!((got.min, got.max), (f64::MIN, f64::MAX));
}

proptest! {
    #[test]
    fn a_value_lies_in_its_bin(v in 1e-9..1e9_f64) {
        let k = key(v);
        // Rounding centres the bin on its key.
        prop_assert!(v >= lower_bound(k - 1) && v <= lower_bound(k + 1), "{v} {k}");
        prop_assert_eq!(key(-v), -k);
    }

    #[test]
    fn quantiles_agree_with_an_independent_sketch(values in proptest::collection::vec(0.001..1e6_f64, 1..400), q in 0.0..=1.0_f64) {
        let ours = sketch(&values);
        let mut oracle = sketches_ddsketch::DDSketch::new(sketches_ddsketch::Config::new(1.0 / 128.0, 4096, 1e-9));
        values.iter().for_each(|v| oracle.add(*v));
        prop_assert_eq!(ours.count, oracle.count() as u64);
        prop_assert_eq!(ours.min, oracle.min().unwrap());
        prop_assert_eq!(ours.max, oracle.max().unwrap());
        prop_assert!((ours.sum / oracle.sum().unwrap() - 1.0).abs() < 1e-9);
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        // Either neighbour of the rank is a right answer. A bin's values lie half a bin around its key, and a quantile
        // lies between its key and the next one: one bin and a half above a value at the most, half a bin below.
        let rank = q * (values.len() - 1) as f64;
        let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
        let got = ours.quantile(q);
        let (below, above) = (GAMMA.powf(-0.51), GAMMA.powf(1.51));
        prop_assert!(got >= low * below && got <= high * above, "{got} not in {low}..{high}");
        let theirs = oracle.quantile(q).unwrap().unwrap();
        prop_assert!(got >= theirs.min(low) * 0.98 && got <= theirs.max(high) * above, "{got} {theirs}");
    }

    #[test]
    fn merging_is_inserting(a in proptest::collection::vec(-1e6..1e6_f64, 0..80), b in proptest::collection::vec(-1e6..1e6_f64, 0..80)) {
        let mut merged = sketch(&a);
        merged.merge(&sketch(&b));
        let whole = sketch(&[a, b].concat());
        prop_assert_eq!(&merged.bins, &whole.bins);
        prop_assert_eq!((merged.count, merged.min, merged.max), (whole.count, whole.min, whole.max));
        prop_assert!((merged.sum - whole.sum).abs() <= 1e-3);
        prop_assert!((merged.avg - whole.avg).abs() <= 1e-3);
    }

    #[test]
    fn any_finite_values_keep_the_invariants(values in proptest::collection::vec((any::<f64>(), 1..200_000_u32), 1..60)) {
        let mut got = Sketch::default();
        for (v, n) in values {
            if v.is_finite() {
                got.insert(v, n);
            }
        }
        for q in [0.0, 0.5, 0.95, 1.0] {
            prop_assert!((got.min..=got.max).contains(&got.quantile(q)), "{q} of {got:?}");
        }
        let bins: Vec<_> = got.wire_bins().collect();
        prop_assert!(bins.is_sorted_by_key(|bin| bin.0));
        prop_assert!(bins.iter().all(|bin| bin.1 > 0 && bin.1 <= BIN_WIDTH));
        prop_assert_eq!(bins.iter().map(|bin| u64::from(bin.1)).sum::<u64>(), got.count);
        prop_assert!(got.sum.is_finite() && got.avg >= got.min && got.avg <= got.max);
    }
}
