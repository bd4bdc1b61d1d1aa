//! Replace rules over spans, tags and stats.

use proptest::prelude::*;

use super::super::span::{Metric, Pair, Part};
use super::*;

fn rules(rules: &[(&str, &str, &str)]) -> Vec<ReplaceRule> {
    let rule = |(name, pattern, replacement): &(&str, &str, &str)| ReplaceRule {
        name: (*name).to_owned(),
        pattern: (*pattern).to_owned(),
        replacement: (*replacement).to_owned(),
    };
    rules.iter().map(rule).collect()
}

fn span(tags: &[(&str, &str)], resource: &str, store: &mut Store) -> Span {
    let pool = &mut store.pool;
    let mut text = |text: &str| Text::pooled(pool, text.as_bytes());
    store.pairs = tags.iter().map(|(key, value)| Pair { key: text(key), value: text(value) }).collect();
    store.metrics = vec![Metric { key: text("http.status_code"), value: 404.0 }];
    let resource = text(resource);
    store.pairs.push(Pair { key: Text::GONE, value: Text::default() });
    Span {
        resource,
        meta: Part { first: 0, count: store.pairs.len() as u32 },
        metrics: Part { first: 0, count: 1 },
        ..Span::default()
    }
}

const TAGS: [(&str, &str); 4] = [
    ("http.url", "https://shop/cart/42?token=abc"),
    ("error.stack", "at a\nat b"),
    ("_dd.p.tid", "67a0000000000042"),
    ("resource.name", "42"),
];

/// The values of [`TAGS`] and the resource `GET /cart/42` after `list`; `None` for those that stay.
fn check(list: &[(&str, &str, &str)], tags: [Option<&str>; 4], resource: Option<&str>) {
    let mut store = Store::default();
    let mut span = span(&TAGS, "GET /cart/42", &mut store);
    let (mut replacer, bad) = Replacer::new(&rules(list));
    assert_eq!(bad, []);
    replacer.span(&mut span, &[], &mut store);
    for ((key, before), expected) in TAGS.iter().zip(tags) {
        let got = store.meta(&span, key.as_bytes(), &[]).unwrap();
        assert_eq!(std::str::from_utf8(got), Ok(expected.unwrap_or(before)), "{key} after {list:?}");
    }
    let got = std::str::from_utf8(span.resource.of(&[], &store.pool));
    assert_eq!(got, Ok(resource.unwrap_or("GET /cart/42")), "{list:?}");
    assert_eq!(store.metric(&span, b"http.status_code", &[]), Some(404.0));
    assert_eq!(store.pairs[4].key, Text::GONE);
}

#[test]
fn rules_apply_in_order() {
    const N: Option<&str> = None;
    check(&[], [N; 4], N);
    check(&[("http.url", "token=.*", "token=?")], [Some("https://shop/cart/42?token=?"), N, N, N], N);
    check(&[("http.url", "nothing", "?")], [N; 4], N);
    check(&[("none", ".*", "?")], [N; 4], N);
    check(&[("error.stack", "(?s).*", "?")], [N, Some("?"), N, N], N);
    check(&[("error.stack", "at", "in")], [N, Some("in a\nin b"), N, N], N);
    check(&[("error.stack", "(?s).+", "")], [N, Some(""), N, N], N);
    // The resource, and no tag of that name.
    check(&[("resource.name", r"\d+", "?")], [N; 4], Some("GET /cart/?"));
    // All of both but the tags of tracers and agents.
    check(&[("*", "42", "?")], [Some("https://shop/cart/??token=abc"), N, N, Some("?")], Some("GET /cart/?"));
    // A key that begins so can be named.
    check(&[("_dd.p.tid", "^67a0", "0000")], [N, N, Some("0000000000000042"), N], N);
    // Groups.
    check(
        &[("http.url", r"//(?P<host>\w+)/(\w+)", "//$2.${host}/")],
        [Some("https://cart.shop//42?token=abc"), N, N, N],
        N,
    );
    check(&[("error.stack", "at (b)", "$1$1x$$")], [N, Some("at a\nb$"), N, N], N);
    // One after the other, each on what the one before left.
    check(
        &[("*", "42", "43"), ("http.url", "43", "44"), ("http.url", "42", "?"), ("resource.name", "43", "45")],
        [Some("https://shop/cart/44?token=abc"), N, N, Some("43")],
        Some("GET /cart/45"),
    );
    // Numeric tags are not touched.
    check(&[("http.status_code", "404", "500")], [N; 4], N);
}

#[test]
fn a_bad_rule_costs_itself_alone() {
    let (mut replacer, bad) = Replacer::new(&rules(&[("a", "x", "y"), ("b", "x(?=y)", ""), ("*", "y", "z")]));
    let said: Vec<_> = bad.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1);
    assert!(
        said[0].starts_with(r#""x(?=y)" of rule 2 of DD_APM_REPLACE_TAGS, for "b", is ignored: correct its pattern ("#)
    );
    assert_eq!(replacer.resource(b"y"), Some(b"z".to_vec()));
}

#[test]
fn tags_of_the_function_and_stats_of_tracers() {
    let list =
        [("*", "secret", "?"), ("env", "^p", "P"), ("resource.name", "/", "|"), ("http.status_code", "4..", "x4$0")];
    let (mut replacer, _) = Replacer::new(&rules(&list));
    let mut tags: Vec<(String, String)> =
        [("env", "prod"), ("team", "secret"), ("_dd.x", "secret")].map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
    replacer.pairs(&mut tags);
    assert_eq!(tags.iter().map(|(_, v)| v.as_str()).collect::<Vec<_>>(), ["Prod", "?", "secret"]);
    assert_eq!(replacer.resource(b"GET /secret"), Some(b"GET |?".to_vec()));
    assert_eq!(replacer.resource(b"GET"), None);
    // What is no number does not count.
    assert_eq!([200, 404].map(|code| replacer.status_code(code)), [200, 404]);
    let (mut replacer, _) = Replacer::new(&rules(&[("*", "^4..$", "400"), ("http.status_code", "200", "201")]));
    assert_eq!([200, 404, 500].map(|code| replacer.status_code(code)), [201, 400, 500]);
    let (mut none, _) = Replacer::new(&[]);
    assert_eq!((none.status_code(404), none.resource(b"x")), (404, None));
}

#[test]
fn what_rules_add_is_bounded() {
    let (mut replacer, _) = Replacer::new(&rules(&[("*", "a", &"b".repeat(1000))]));
    let cut = counters::get(Counter::ReplacedCut);
    let check = |replacer: &mut Replacer, pool: usize, value: usize, expected: usize| {
        let mut store = Store::default();
        let mut span = span(&[("k", &"a".repeat(value))], "", &mut store);
        store.pool.resize(pool.max(store.pool.len()), 0);
        replacer.span(&mut span, &[], &mut store);
        assert_eq!(store.meta(&span, b"k", &[]).map(<[u8]>::len), Some(expected));
    };
    check(&mut replacer, 0, 25, 25_000);
    check(&mut replacer, 0, 26, 25_000);
    check(&mut replacer, 0, 30_000, 30_000);
    check(&mut replacer, MAX_POOL, 26, 26);
    assert!(counters::get(Counter::ReplacedCut) >= cut + 3);
    replacer.rest();
    assert!(replacer.value.capacity() + replacer.next.capacity() <= 2 * KEEP);
}

proptest! {
    #[test]
    fn any_rules_on_any_span(
        list in proptest::collection::vec(
            ("\\*|k|_k|resource\\.name|\\PC{0,3}", "[a-c.*+?|()\\\\d$^]{0,6}|\\PC{0,4}", "([$a-c{}0-2]|\\PC){0,8}"), 0..4),
        value in "[a-c0-9]{0,20}|\\PC{0,20}",
        bytes in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let list: Vec<_> = list.iter().map(|(n, p, r)| (n.as_str(), p.as_str(), r.as_str())).collect();
        let (mut replacer, _) = Replacer::new(&rules(&list));
        let mut store = Store::default();
        let mut span = span(&[("k", &value), ("_k", &value)], &value, &mut store);
        replacer.span(&mut span, &bytes, &mut store);
        for text in [store.meta(&span, b"k", &[]).unwrap(), span.resource.of(&[], &store.pool)] {
            prop_assert!(text.len() <= MAX_VALUE && std::str::from_utf8(text).is_ok());
        }
        prop_assert!(replacer.resource(&bytes).is_none_or(|text| text.len() <= MAX_VALUE));
    }
}
