use libdd_trace_protobuf as _;
use proptest as _;
use prost as _;
use rmp as _;
use sketches_ddsketch as _;
use tiny_http as _;
#[test]
fn t() {}
