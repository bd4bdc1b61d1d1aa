//! Each signal on its way through, from a function's hands to the intake's records.

use serde_json::json;

use crate::lab::{Outcome, Runtime};
use crate::{LIMIT, Scene, isolated};

#[test]
fn logs_metrics_and_traces_of_one_invocation_arrive() {
    isolated("signals::logs_metrics_and_traces_of_one_invocation_arrive", || {
        let mut scene = Scene::with(&[], |options| {
            options.runtime = Runtime::builtin(|invocation| {
                invocation.print("hello");
                invocation.statsd("my.count:2|c|#a:b");
                invocation.statsd("my.dist:3:4|d");
                let status = invocation.traces(&json!([[{
                    "service": "s", "name": "n", "resource": "r", "trace_id": 1, "span_id": 2, "parent_id": 0,
                    "start": 1_700_000_000_000_000_000_u64, "duration": 5, "error": 0, "meta": {"k": "v"},
                    "metrics": {"m": 1.5}, "type": "web",
                }]]));
                Outcome::Done(json!(status))
            });
        });
        let invoked = scene.platform.invoke(&json!({}), LIMIT).unwrap();
        assert_eq!(invoked.response, 200);

        // All of it is there when `next` comes.
        let received = scene.intake.received();
        let arn = "arn:aws:lambda:eu-central-1:123456789012:function:lab-function";
        let hello: Vec<_> = received.logs.iter().filter(|log| log.message() == "hello\n").collect();
        assert_eq!(hello.len(), 1);
        assert_eq!((hello[0].request_id(), hello[0].arn()), (Some(invoked.request_id.as_str()), Some(arn)));
        assert_eq!(received.series_sum("my.count"), 2.0);
        let series = received.series.iter().find(|series| series.metric == "my.count").unwrap();
        assert!(["a:b", &format!("function_arn:{arn}")].iter().all(|tag| series.tags.iter().any(|t| t == tag)));
        let points: Vec<_> = received.sketch_points("my.dist").map(|p| (p.cnt, p.sum, p.min, p.max)).collect();
        assert_eq!(points, [(2, 7.0, 3.0, 4.0)]);
        let spans: Vec<_> = received.spans().collect();
        assert_eq!(spans.len(), 1);
        let span = spans[0];
        assert_eq!((&*span.service, &*span.name, &*span.resource, &*span.kind), ("s", "n", "r", "web"));
        assert_eq!((span.trace_id, span.span_id, span.parent_id, span.duration, span.error), (1, 2, 0, 5, 0));
        assert_eq!((span.meta["k"].as_str(), span.metrics["m"]), ("v", 1.5));

        scene.shutdown();
        let received = scene.intake.received();
        assert_eq!(received.problems(), [""; 0]);
        let lines = ["INIT_START ", "START RequestId", "hello", "END RequestId", "REPORT RequestId"];
        for line in lines {
            assert_eq!(received.logs.iter().filter(|log| log.message().starts_with(line)).count(), 1, "{line}");
        }
        assert_eq!(received.logs.len(), lines.len(), "nothing else: thimble itself has nothing to say");
        assert_eq!((received.series.len(), received.sketches.len(), received.spans().count()), (1, 1, 1));
        scene.assert_quiet();
    });
}
