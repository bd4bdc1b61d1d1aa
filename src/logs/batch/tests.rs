//! Limits, encodings and the budget (spec: logs 6.7, 6.8).

use super::*;
use crate::logs::entry::{Level, Text};
use crate::logs::testing::{config, logs};
use proptest::prelude::*;

fn entry<'a>(text: &'a str) -> Entry<'a> {
    Entry { time_ms: 1, level: Level::Info, text: Text::Plain(text), request_id: Some("r"), tags: "", durable: None }
}

/// Text that compresses badly, `len` bytes of it.
fn noise(len: usize, seed: u64) -> String {
    let mut state = seed | 1;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'a' + u8::try_from(state >> 59).unwrap() % 26)
    };
    (0..len).map(next).collect()
}

#[test]
fn encodings() {
    for (compress, opw, encoding) in [
        (true, false, Encoding::Zstd),
        (false, false, Encoding::Identity),
        (true, true, Encoding::Identity),
        (false, true, Encoding::Identity),
    ] {
        let mut config = config();
        (config.logs_use_compression, config.logs_opw) = (compress, opw);
        let mut batches = Batches::new(&config, &Tags::default());
        assert!(batches.take().is_empty());
        batches.push(&entry("a"));
        batches.push(&entry("b"));
        let payloads = batches.take();
        assert_eq!((payloads.len(), payloads[0].encoding), (1, encoding));
        let messages: Vec<_> = logs(&payloads[0]).iter().map(|log| log["message"]["message"].clone()).collect();
        assert_eq!(messages, ["a", "b"]);
        assert!(batches.take().is_empty());
    }
}

#[test]
fn a_batch_has_a_thousand_logs() {
    let mut batches = Batches::new(&config(), &Tags::default());
    for i in 0..2001 {
        batches.push(&entry(&i.to_string()));
    }
    let payloads = batches.take();
    assert_eq!(payloads.iter().map(|p| p.items).collect::<Vec<_>>(), [1000, 1000, 1]);
    let all: Vec<_> = payloads.iter().flat_map(logs).map(|log| log["message"]["message"].clone()).collect();
    assert_eq!(all, (0..2001).map(|i| i.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_batch_has_five_megabytes() {
    for compress in [true, false] {
        let mut config = config();
        config.logs_use_compression = compress;
        let mut batches = Batches::new(&config, &Tags::default());
        let text = "x".repeat(900_000);
        for _ in 0..12 {
            batches.push(&entry(&text));
        }
        let payloads = batches.take();
        assert_eq!(payloads.iter().map(|p| logs(p).len()).collect::<Vec<_>>(), [5, 5, 2]);
    }
}

#[test]
fn streams_and_single_frames_read_the_same() {
    let mut batches = Batches::new(&config(), &Tags::default());
    let texts: Vec<_> = (0..500).map(|i| noise(i * 3, i as u64)).collect();
    texts.iter().for_each(|text| batches.push(&entry(text)));
    let payloads = batches.take();
    let all: Vec<_> = payloads.iter().flat_map(logs).map(|log| log["message"]["message"].clone()).collect();
    assert_eq!(all, texts);
}

#[test]
fn new_tags_are_used_at_once() {
    let mut batches = Batches::new(&config(), &Tags::default());
    batches.push(&entry("a"));
    batches.set_tags(&Tags { joined: "k:v".to_owned(), ..Tags::default() });
    batches.push(&entry("b"));
    let tags: Vec<_> = logs(&batches.take()[0]).iter().map(|log| log["ddtags"].clone()).collect();
    assert_eq!(tags, ["", "k:v"]);
}

#[test]
fn a_small_function_keeps_less() {
    let mut config = config();
    for (memory, expected) in [("", 16), ("128", 8), ("256", 16), ("10240", 16)] {
        config.lambda.memory_size = memory.to_owned();
        assert_eq!(Batches::new(&config, &Tags::default()).budget, expected << 20, "{memory}");
    }
}

#[test]
fn the_budget_drops_the_oldest_and_asks_once() {
    let mut config = config();
    config.logs_use_compression = false;
    let mut batches = Batches::new(&config, &Tags::default());
    let overflow = counters::get(Counter::LogsOverflow);
    let mut asked = 0;
    for i in 0..50_u64 {
        batches.push(&entry(&format!("{i} {}", noise(900_000, i))));
        asked += u32::from(batches.take_pressure());
    }
    assert_eq!(asked, 1);
    assert!(batches.waiting() <= batches.budget);
    assert!(counters::get(Counter::LogsOverflow) - overflow >= 30);
    let payloads = batches.take();
    let last = logs(payloads.last().unwrap()).pop().unwrap();
    assert!(last["message"]["message"].as_str().unwrap().starts_with("49 "));
    // Handed back, they stay within the budget, in their order, and do not ask again.
    batches.push(&entry("new"));
    batches.restore(payloads);
    assert!(batches.waiting() <= batches.budget && !batches.take_pressure());
    let payloads = batches.take();
    assert_eq!(logs(payloads.last().unwrap())[0]["message"]["message"], "new");
    // Once all is gone, it may ask again.
    assert!(!batches.take_pressure());
    (0..20_u64).for_each(|i| batches.push(&entry(&noise(900_000, i))));
    assert!(batches.take_pressure() && !batches.take_pressure());
    batches.press_again();
    assert!(batches.take_pressure());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_logs_survive(texts in prop::collection::vec(any::<String>(), 0..50), factor in 1..2000_usize) {
        let texts: Vec<_> = texts.iter().map(|text| text.repeat(factor)).collect();
        let mut batches = Batches::new(&config(), &Tags::default());
        texts.iter().for_each(|text| batches.push(&entry(text)));
        let all: Vec<_> = batches.take().iter().flat_map(logs).map(|log| log["message"]["message"].clone()).collect();
        prop_assert_eq!(all, texts);
    }
}
