//! The messages against Datadog's own types, and where payloads are split.

use std::io::Read;

use libdd_trace_protobuf::pb;

use super::*;

/// A payload as its intake reads it.
pub fn decoded(payload: &Payload) -> pb::StatsPayload {
    assert_eq!((payload.route, payload.encoding), (Route::Stats, Encoding::Gzip));
    let mut body = Vec::new();
    flate2::read::GzDecoder::new(payload.body.as_slice()).read_to_end(&mut body).unwrap();
    let decoded: pb::StatsPayload = rmp_serde::from_slice(&body).unwrap();
    let groups = decoded.stats.iter().flat_map(|stats| &stats.stats).map(|bucket| bucket.stats.len()).sum::<usize>();
    assert_eq!(groups, payload.items as usize);
    decoded
}

fn list(texts: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    let mark = wire::open(&mut out);
    texts.iter().for_each(|text| wire::text(&mut out, text.as_bytes()));
    wire::close(&mut out, mark, texts.len() as u32);
    out
}

fn group(resource: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let texts = [&b""[..], b"", resource.as_bytes(), b"", b"", b"", b"", b"", b"", b""];
    Group { texts, ..Group::default() }.encode(&mut out);
    out
}

fn about(env: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut about = About::default();
    about.texts[ENV] = env.as_bytes();
    about.encode(&mut out);
    out
}

fn bucket_at(start: u64) -> Vec<u8> {
    let mut out = Vec::new();
    bucket(&mut out, start, 10, 0);
    out
}

#[test]
fn every_field_arrives_under_its_name() {
    let [peers, primary, metric, tags] = [&["a:1", "b:2"][..], &["p:1"], &["m:1"], &["t"]].map(list);
    let group = Group {
        texts: [b"service", b"name", b"resource", b"type", b"kind", b"GET", b"/x", b"source", b"db", b"5"],
        numbers: [200, 1, 2, 1 << 40, 4, 1],
        sketches: [b"ok", b"error"],
        lists: [&peers, &primary, &metric],
        synthetics: true,
    };
    let about = About {
        texts: [b"host", b"env", b"1.0", b"go", b"2.0", b"id", b"cid", b"shop", b"agg", b"sha", b"image", b"tags"],
        numbers: [7, u64::MAX],
        tags: &tags,
    };
    let mut writer = Writer::default();
    let mut bytes = Vec::new();
    about.encode(&mut bytes);
    writer.about(&bytes);
    bytes.clear();
    bucket(&mut bytes, 100, 10, -5);
    writer.bucket(&bytes);
    bytes.clear();
    group.encode(&mut bytes);
    writer.group(&bytes);
    let payloads = writer.finish();
    let expected = pb::StatsPayload {
        client_computed: true,
        stats: vec![pb::ClientStatsPayload {
            hostname: "host".into(),
            env: "env".into(),
            version: "1.0".into(),
            lang: "go".into(),
            tracer_version: "2.0".into(),
            runtime_id: "id".into(),
            sequence: 7,
            agent_aggregation: "agg".into(),
            service: "shop".into(),
            container_id: "cid".into(),
            tags: vec!["t".into()],
            git_commit_sha: "sha".into(),
            image_tag: "image".into(),
            process_tags_hash: u64::MAX,
            process_tags: "tags".into(),
            stats: vec![pb::ClientStatsBucket {
                start: 100,
                duration: 10,
                agent_time_shift: -5,
                stats: vec![pb::ClientGroupedStats {
                    service: "service".into(),
                    name: "name".into(),
                    resource: "resource".into(),
                    http_status_code: 200,
                    r#type: "type".into(),
                    db_type: "db".into(),
                    hits: 1,
                    errors: 2,
                    duration: 1 << 40,
                    ok_summary: b"ok".to_vec(),
                    error_summary: b"error".to_vec(),
                    synthetics: true,
                    top_level_hits: 4,
                    span_kind: "kind".into(),
                    peer_tags: vec!["a:1".into(), "b:2".into()],
                    is_trace_root: 1,
                    grpc_status_code: "5".into(),
                    http_method: "GET".into(),
                    http_endpoint: "/x".into(),
                    service_source: "source".into(),
                    span_derived_primary_tags: vec!["p:1".into()],
                    additional_metric_tags: vec!["m:1".into()],
                }],
            }],
        }],
        ..pb::StatsPayload::default()
    };
    assert_eq!(payloads.iter().map(decoded).collect::<Vec<_>>(), [expected]);
}

#[test]
fn large_ones_are_split_and_say_so() {
    // Groups of each of two buckets of each of two tracers, the length of a resource, and the groups of the payloads.
    for (groups, length, expected) in [
        (0, 10, &[][..]),
        (1, 10, &[4]),
        (1000, 10, &[4000]),
        (1001, 10, &[4000, 4]),
        (3000, 10, &[4000, 4000, 4000]),
        (2, 1 << 20, &[2, 2, 2, 2]),
        (1, 4 << 20, &[1, 1, 1, 1]),
    ] {
        let mut writer = Writer::default();
        for env in ["a", "b"] {
            writer.about(&about(env));
            for start in [10, 20] {
                writer.bucket(&bucket_at(start));
                (0..groups).for_each(|_| writer.group(&group(&format!("{env}{start}{}", "x".repeat(length)))));
            }
        }
        let payloads: Vec<_> = writer.finish().iter().map(decoded).collect();
        let mut seen = 0;
        for payload in &payloads {
            assert_eq!(payload.split_payload, expected.len() > 1);
            for stats in &payload.stats {
                for bucket in &stats.stats {
                    assert!(!bucket.stats.is_empty(), "nothing is sent without groups");
                    let before = format!("{}{}", stats.env, bucket.start);
                    assert!(bucket.stats.iter().all(|group| group.resource.starts_with(&before)));
                    seen += bucket.stats.len();
                }
            }
        }
        assert_eq!(seen, 4 * groups);
        let count = |p: &pb::StatsPayload| p.stats.iter().flat_map(|s| &s.stats).map(|b| b.stats.len()).sum::<usize>();
        assert_eq!(payloads.iter().map(count).collect::<Vec<_>>(), expected, "{groups} {length}");
    }
}

#[test]
fn nothing_is_no_payload() {
    let mut writer = Writer::default();
    writer.about(&about("a"));
    writer.bucket(&bucket_at(1));
    assert!(writer.finish().is_empty());
}
