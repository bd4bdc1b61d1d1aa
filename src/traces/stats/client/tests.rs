//! What tracers send as Datadog's own types, and what is made of it.

use libdd_trace_protobuf::pb;
use proptest::prelude::*;

use super::super::payload::tests::decoded;
use super::*;

const NOW: u64 = 1_800_000_001_500_000_000;
const SECOND: u64 = 1_000_000_000;

/// Rules that show what they were asked.
#[derive(Default)]
struct Marked {
    asked: Vec<String>,
}

impl Rules for Marked {
    fn allows(&mut self, resource: &[u8]) -> bool {
        resource != b"GET /health"
    }

    fn obfuscate(&mut self, kind: &[u8], database: &[u8], resource: &[u8]) -> Option<Vec<u8>> {
        self.asked.push([kind, database, resource].map(String::from_utf8_lossy).join(" "));
        (kind == b"sql").then(|| b"SELECT ?".to_vec())
    }

    fn resource(&mut self, resource: &[u8]) -> Option<Vec<u8>> {
        (resource == b"SELECT ?").then(|| b"replaced".to_vec())
    }

    fn status(&mut self, status: u32) -> u32 {
        if status == 418 { 400 } else { status }
    }
}

fn read(body: &[u8], headers: &TracerHeaders, rules: &mut Marked) -> Result<ClientStats, DecodeError> {
    ClientStats::read(body, &mut Source { headers, env: "Prod", now: NOW, rules })
}

fn sent(stats: &ClientStats) -> Vec<pb::ClientStatsPayload> {
    let mut writer = Writer::default();
    stats.write(&mut writer);
    writer.finish().iter().flat_map(|payload| decoded(payload).stats).collect()
}

fn group(resource: &str) -> pb::ClientGroupedStats {
    let (service, name, resource) = ("shop".into(), "web.request".into(), resource.into());
    pb::ClientGroupedStats { service, name, resource, hits: 1, ok_summary: vec![1, 2], ..Default::default() }
}

fn payload(groups: Vec<pb::ClientGroupedStats>) -> pb::ClientStatsPayload {
    let bucket = pb::ClientStatsBucket { start: NOW, duration: 10 * SECOND, stats: groups, agent_time_shift: 0 };
    pb::ClientStatsPayload { env: "prod".into(), stats: vec![bucket], ..Default::default() }
}

fn check(input: &pb::ClientStatsPayload, headers: &TracerHeaders, expected: &pb::ClientStatsPayload) {
    let stats = read(&rmp_serde::to_vec_named(input).unwrap(), headers, &mut Marked::default()).unwrap();
    assert_eq!(sent(&stats), std::slice::from_ref(expected));
}

fn check_group(input: pb::ClientGroupedStats, expected: pb::ClientGroupedStats) {
    check(&payload(vec![input]), &TracerHeaders::default(), &payload(vec![expected]));
}

#[test]
fn everything_a_tracer_says_goes_out() {
    let group = pb::ClientGroupedStats {
        http_status_code: 200,
        r#type: "web".into(),
        db_type: "x".into(),
        errors: 2,
        duration: u64::MAX,
        error_summary: vec![0; 300],
        synthetics: true,
        top_level_hits: 4,
        span_kind: "server".into(),
        peer_tags: vec!["a:b".into(); 20],
        is_trace_root: 2,
        grpc_status_code: "5".into(),
        http_method: "GET".into(),
        http_endpoint: "/x".into(),
        service_source: "src".into(),
        span_derived_primary_tags: vec!["p:q".into()],
        additional_metric_tags: vec!["m:n".into()],
        ..group("GET /")
    };
    let full = pb::ClientStatsPayload {
        version: "1".into(),
        lang: "go".into(),
        tracer_version: "2".into(),
        runtime_id: "id".into(),
        sequence: 9,
        agent_aggregation: "counts".into(),
        service: "shop".into(),
        container_id: "cid".into(),
        tags: vec!["a:b".into()],
        git_commit_sha: "sha".into(),
        image_tag: "img".into(),
        process_tags_hash: 3,
        process_tags: "p".into(),
        ..payload(vec![group.clone(), group])
    };
    let headers = TracerHeaders { lang: "other".into(), ..TracerHeaders::default() };
    check(&pb::ClientStatsPayload { hostname: "host".into(), ..full.clone() }, &headers, &full);
}

#[test]
fn headers_fill_what_is_missing() {
    let headers = TracerHeaders {
        lang: "ruby".into(),
        tracer_version: "2.1".into(),
        container_id: "c".into(),
        ..TracerHeaders::default()
    };
    let bare = pb::ClientStatsPayload { env: String::new(), ..payload(vec![group("r")]) };
    let filled = pb::ClientStatsPayload {
        env: "prod".into(),
        lang: "ruby".into(),
        tracer_version: "2.1".into(),
        container_id: "c".into(),
        ..bare.clone()
    };
    check(&bare, &headers, &filled);
    let loud = pb::ClientStatsPayload { env: "My Env".into(), ..payload(vec![group("r")]) };
    check(&loud, &TracerHeaders::default(), &pb::ClientStatsPayload { env: "my_env".into(), ..loud.clone() });
}

#[test]
fn names_and_resources_are_put_right() {
    let long = "x".repeat(6000);
    for (service, name, resource, expected) in [
        ("Shop!", "web request", "r", ["shop", "web_request", "r"]),
        ("", "", "", ["unnamed-service", "unnamed_operation", "unnamed_operation"]),
        ("s", "n", "", ["s", "n", "n"]),
        (&long, &long, &long, [&long[..100], &long[..100], &long[..5000]]),
    ] {
        let made = |[service, name, resource]: [&str; 3]| {
            let (service, name) = (service.to_owned(), name.to_owned());
            pb::ClientGroupedStats { service, name, ..group(resource) }
        };
        check_group(made([service, name, resource]), made(expected));
    }
}

#[test]
fn rules_apply_in_their_order() {
    let typed = |resource: &str, kind: &str, status| pb::ClientGroupedStats {
        r#type: kind.into(),
        http_status_code: status,
        db_type: "mysql".into(),
        ..group(resource)
    };
    check_group(typed("SELECT 1", "sql", 0), typed("replaced", "sql", 0));
    check_group(typed("SELECT 1", "web", 418), typed("SELECT 1", "web", 400));
    check_group(typed("SELECT 1", "web", 419), typed("SELECT 1", "web", 419));
    let kept = payload(vec![group("GET /")]);
    check(&payload(vec![group("GET /health"), group("GET /")]), &TracerHeaders::default(), &kept);

    let body = rmp_serde::to_vec_named(&payload(vec![typed("SELECT 1", "sql", 0), group("GET /health")])).unwrap();
    for (version, asked) in [(0, vec!["sql mysql SELECT 1".to_owned()]), (1, vec![])] {
        let headers = TracerHeaders { obfuscation_version: version, ..TracerHeaders::default() };
        let mut rules = Marked::default();
        let stats = read(&body, &headers, &mut rules).unwrap();
        assert_eq!(rules.asked, asked, "who obfuscated is not asked to again");
        let resource = &sent(&stats)[0].stats[0].stats[0].resource;
        assert_eq!(resource, if version == 0 { "replaced" } else { "SELECT 1" });
    }
}

#[test]
fn numbers_out_of_range_do_not_spoil_the_payload() {
    for (number, status, root, hits) in [
        (&[0xff][..], 0, 0, 0),
        (&[0xcf, 255, 255, 255, 255, 255, 255, 255, 255], u32::MAX, 2, u64::MAX),
        (&[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], 1, 1, 1),
        (&[0xc0], 0, 0, 0),
        (&[2], 2, 2, 2),
    ] {
        let fields = [&b"\xaeHTTPStatusCode"[..], b"\xabIsTraceRoot", b"\xa4Hits"].map(|name| [name, number].concat());
        let body = [&b"\x81\xa5Stats\x91\x81\xa5Stats\x91\x83"[..], &fields.concat()].concat();
        let got = sent(&read(&body, &TracerHeaders::default(), &mut Marked::default()).unwrap());
        let group = &got[0].stats[0].stats[0];
        assert_eq!((group.http_status_code, group.is_trace_root, group.hits), (status, root, hits), "{number:x?}");
    }
}

#[test]
fn buckets_out_of_the_window_are_moved_and_say_so() {
    let even = NOW - NOW % (2 * SECOND);
    for (start, expected) in [
        (NOW, NOW),
        (NOW - SECOND, NOW - SECOND),
        (even - 18 * SECOND, even - 18 * SECOND),
        (even - 18 * SECOND - 1, even - 18 * SECOND),
        (NOW - 3600 * SECOND, even - 18 * SECOND),
        (0, even - 18 * SECOND),
        (NOW + 1, even),
        (NOW + 3600 * SECOND, even),
    ] {
        let at = |start, shift| {
            let mut payload = payload(vec![group("r")]);
            payload.stats[0].start = start;
            payload.stats[0].agent_time_shift = shift;
            // The others stay where they are: each bucket has its own time.
            payload.stats.push(pb::ClientStatsBucket { start: NOW - 2, ..payload.stats[0].clone() });
            payload.stats[1].agent_time_shift = 0;
            payload
        };
        check(&at(start, 0), &TracerHeaders::default(), &at(expected, expected as i64 - start as i64));
    }
}

#[test]
fn what_says_nothing_is_no_group() {
    let empty_bucket = pb::ClientStatsPayload { stats: vec![Default::default()], ..payload(vec![]) };
    for body in [
        rmp_serde::to_vec_named(&pb::ClientStatsPayload::default()).unwrap(),
        rmp_serde::to_vec_named(&payload(vec![])).unwrap(),
        rmp_serde::to_vec_named(&empty_bucket).unwrap(),
        vec![0x80],
        vec![0xc0],
        b"\x81\xa5Stats\xc0".to_vec(),
        b"\x81\xa5Stats\x91\xc0".to_vec(),
        b"\x81\xa5Stats\x91\x81\xa5Stats\xc0".to_vec(),
    ] {
        let stats = read(&body, &TracerHeaders::default(), &mut Marked::default()).unwrap();
        assert_eq!((stats.groups(), sent(&stats).len()), (0, 0), "{body:x?}");
    }
    // A group of nothing is one all the same: what it means is the backend's to know.
    let stats = read(b"\x81\xa5Stats\x91\x81\xa5Stats\x91\x80", &TracerHeaders::default(), &mut Marked::default());
    assert_eq!(stats.unwrap().groups(), 1);
}

#[test]
fn refused_with_the_place() {
    for (body, reason, offset) in [
        (&b""[..], "the payload ends inside a value", 0),
        (b"\x01", "expected a map", 0),
        (b"\x81\x01\x01", "expected a string", 1),
        (b"\x81\xa3Env\x01", "expected a string", 5),
        (b"\x81\xa5Stats\x01", "expected an array", 7),
        (b"\x81\xa5Stats\x91\x01", "expected a map", 8),
        (b"\x81\xa5Stats\x91\x81\xa5Start\xa1x", "expected a number", 15),
        (b"\x81\xa5Stats\x91\x81\xa5Stats\x91\x81\xa4Hits\xa1x", "expected a number", 22),
        (b"\x81\xa5Stats\x91\x81\xa5Stats\x91\x81\xa8PeerTags\x91\x01", "expected a string", 27),
        (b"\x81\xa5Stats\x91\x81\xa5Stats\x91\x81\xa4Hits", "the payload ends inside a value", 7),
    ] {
        let error = read(body, &TracerHeaders::default(), &mut Marked::default()).unwrap_err();
        assert_eq!((error.reason, error.offset), (reason, offset), "{body:x?}");
    }
}

#[test]
fn a_body_of_nothing_becomes_no_flood() {
    for inside in [&b"\x80"[..], b"\x81\xa5Stats\x91\x80"] {
        let mut body = b"\x81\xa5Stats\xdd\x00\x03\x00\x00".to_vec();
        body.extend_from_slice(&inside.repeat(3 << 16));
        let error = read(&body, &TracerHeaders::default(), &mut Marked::default()).unwrap_err();
        assert_eq!(error.reason, "the payload is too long");
    }
}

proptest! {
    #[test]
    fn any_bytes(mut body in prop::collection::vec(any::<u8>(), 0..200), at in 0..400_usize, byte in any::<u8>()) {
        let _ = read(&body, &TracerHeaders::default(), &mut Marked::default());
        body = rmp_serde::to_vec_named(&payload(vec![group("r"), group("s")])).unwrap();
        let at = at % body.len();
        body[at] = byte;
        if let Ok(stats) = read(&body, &TracerHeaders::default(), &mut Marked::default()) {
            prop_assert!(stats.bytes.len() <= EXPANSION * body.len() + EXPANSION_BASE);
            sent(&stats);
        }
        let _ = read(&body[..at], &TracerHeaders::default(), &mut Marked::default());
    }
}
