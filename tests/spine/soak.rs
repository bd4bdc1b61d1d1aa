//! Many invocations in one environment: each leaves nothing behind.

use crate::lab::proc;
use crate::{AT_END, ONCE, Scene, isolated};

#[test]
fn memory_does_not_grow_with_the_number_of_invocations() {
    isolated("soak::memory_does_not_grow_with_the_number_of_invocations", || {
        let mut scene = Scene::new(&[AT_END]);
        let mut run = |range: std::ops::RangeInclusive<u32>| {
            let last = *range.end();
            for n in range {
                scene.invoke(n);
            }
            assert_eq!(scene.arrived(last), ONCE);
            proc::memory(scene.platform.extension_pid().unwrap()).unwrap()
        };
        let settled = run(1..=100);
        let after = run(101..=400);
        // Every invocation brings a metric, a trace and a connection of their own: a kilobyte kept of each would show.
        assert!(after.resident_kb <= settled.resident_kb + 256, "{settled:?} {after:?}");
        // A connection's thread may be on its way out at either look.
        assert!(after.threads <= settled.threads + 2, "{settled:?} {after:?}");
        scene.shutdown();
        scene.assert_quiet();
    });
}
