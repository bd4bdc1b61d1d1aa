//! Each signal on its way through, from a function's hands to the intake's records.

use std::time::Duration;

use serde_json::json;

use crate::lab::{self, Intake, Options, Outcome, Platform, Runtime};

const LIMIT: Duration = Duration::from_secs(10);

fn isolated(name: &str, body: impl FnOnce()) {
    lab::isolated(&format!("signals::{name}"), body);
}

#[test]
fn logs_metrics_and_traces_of_one_invocation_arrive() {
    isolated("logs_metrics_and_traces_of_one_invocation_arrive", || {
        let intake = Intake::start();
        let runtime = Runtime::builtin(|invocation| {
            invocation.print("hello");
            invocation.statsd("my.count:2|c|#a:b");
            invocation.statsd("my.dist:3:4|d");
            assert_eq!(
                invocation.traces(&json!([[{
                    "service": "s", "name": "n", "resource": "r", "trace_id": 1, "span_id": 2, "parent_id": 0,
                    "start": 1_700_000_000_000_000_000_u64, "duration": 5, "error": 0, "meta": {"k": "v"},
                    "metrics": {"m": 1.5}, "type": "web",
                }]])),
                200
            );
            Outcome::Done(json!("done"))
        });
        let mut platform = Platform::start(Options { runtime, env: intake.env(), ..Options::default() });
        let init = platform.init().unwrap();
        println!("{init:?}");
        let invoked = platform.invoke(&json!({}), LIMIT).unwrap();
        println!("{invoked:?}");
        let received = intake.received();
        println!("{:?}", received.logs);
        println!("{:?}", received.spans().collect::<Vec<_>>());
        println!("{:?}", received.series_sum("my.count"));
        println!("{:?}", received.sketch_points("my.dist").collect::<Vec<_>>());
        println!("{:?}", received.problems());
        let down = platform.shutdown("spindown");
        println!("{down:?}");
        for log in intake.received().logs {
            println!("{log:?}")
        }
        for event in platform.telemetry().history() {
            println!("{event}")
        }
    });
}
