//! The lane's half of the bargain: one answer for each flush, whoever gives it.

use super::endpoints::tests::payload;
use super::*;

fn ticket(id: u64) -> FlushTicket {
    FlushTicket { id, deadline: Instant::now() + Duration::from_secs(60), ending: false, last: false }
}

#[test]
fn nothing_starts_without_a_payload() {
    let (done, answers) = crossbeam_channel::bounded(4);
    let mut lane = Lane::new(Signal::Logs, done, Box::new(|_| panic!("not wanted")));
    assert!(lane.flush(ticket(1), Vec::new()).is_ok());
    assert_eq!(answers.try_recv(), Ok(FlushDone { signal: Signal::Logs, id: 1, sent: 0, kept: 0 }));
}

#[test]
fn a_worker_that_does_not_start_gives_everything_back() {
    let (done, answers) = crossbeam_channel::bounded(4);
    let mut lane = Lane::new(Signal::Traces, done, Box::new(|_| false));
    for id in 1..=2 {
        let back = lane.flush(ticket(id), vec![payload(Route::Traces, Encoding::Zstd)]).unwrap_err();
        assert_eq!(back.len(), 1);
        assert_eq!(answers.try_recv(), Ok(FlushDone { signal: Signal::Traces, id, sent: 0, kept: 1 }));
    }
}

#[test]
fn what_the_last_flush_gives_back_is_counted_as_lost() {
    use crate::diag::counters::get;
    let (done, _answers) = crossbeam_channel::bounded(4);
    let mut lane = Lane::new(Signal::Traces, done, Box::new(|_| false));
    let before = get(Counter::PayloadsUnsent);
    let last = FlushTicket { last: true, ..ticket(1) };
    assert!(lane.flush(last, vec![payload(Route::Traces, Encoding::Zstd); 3]).is_err());
    assert!(get(Counter::PayloadsUnsent) >= before + 3);
}

#[test]
fn a_busy_worker_gives_back_what_does_not_fit() {
    let (done, answers) = crossbeam_channel::bounded(4);
    let (keep, kept) = crossbeam_channel::bounded(1);
    let start: StartWorker = Box::new(move |jobs| keep.send(jobs).is_ok());
    let mut lane = Lane::new(Signal::Metrics, done, start);
    for id in 1..=2 {
        assert!(lane.flush(ticket(id), vec![payload(Route::Series, Encoding::Zstd)]).is_ok());
    }
    assert!(lane.flush(ticket(3), vec![payload(Route::Series, Encoding::Zstd)]).is_err());
    assert_eq!(answers.try_recv(), Ok(FlushDone { signal: Signal::Metrics, id: 3, sent: 0, kept: 1 }));
    assert!(answers.try_recv().is_err(), "the worker answers the others");
    let jobs = kept.recv().unwrap();
    assert_eq!(jobs.try_iter().map(|job| job.ticket.id).collect::<Vec<_>>(), [1, 2]);
    // A running worker also gets flushes without payloads: it may have kept some.
    assert!(lane.flush(ticket(4), Vec::new()).is_ok());
    assert_eq!(jobs.try_iter().map(|job| job.ticket.id).collect::<Vec<_>>(), [4]);
}

#[test]
fn the_last_flush_waits_for_a_busy_worker() {
    let (done, answers) = crossbeam_channel::bounded(4);
    let (keep, kept) = crossbeam_channel::bounded(1);
    let start: StartWorker = Box::new(move |jobs| keep.send(jobs).is_ok());
    let mut lane = Lane::new(Signal::Metrics, done, start);
    for id in 1..=2 {
        assert!(lane.flush(ticket(id), vec![payload(Route::Series, Encoding::Zstd)]).is_ok());
    }
    let jobs = kept.recv().unwrap();
    let last = FlushTicket { last: true, ..ticket(3) };
    std::thread::scope(|scope| {
        let flushing = scope.spawn(|| lane.flush(last, vec![payload(Route::Series, Encoding::Zstd)]));
        assert_eq!(jobs.iter().take(3).map(|job| job.ticket.id).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(flushing.join().unwrap().is_ok());
    });
    assert!(answers.try_recv().is_err(), "the worker answers all of them");
    // Not longer than its time.
    for id in 4..=5 {
        assert!(lane.flush(ticket(id), Vec::new()).is_ok());
    }
    let late = FlushTicket { id: 6, deadline: Instant::now(), ending: true, last: true };
    assert!(lane.flush(late, vec![payload(Route::Series, Encoding::Zstd)]).is_err());
    assert_eq!(answers.try_recv(), Ok(FlushDone { signal: Signal::Metrics, id: 6, sent: 0, kept: 1 }));
}

#[test]
fn budgets_shrink_with_the_function() {
    const MIB: usize = 1 << 20;
    for (memory, logs, metrics, traces) in [
        ("", 8, 4, 24),
        ("10240", 8, 4, 24),
        ("512", 8, 4, 24),
        ("256", 8, 4, 16),
        ("128", 4, 2, 8),
        ("many", 8, 4, 24),
        ("18446744073709551615", 8, 4, 24),
    ] {
        let lambda = LambdaEnv { memory_size: memory.to_owned(), ..LambdaEnv::default() };
        let of = |signal| retained_max(signal, &lambda) / MIB;
        assert_eq!((of(Signal::Logs), of(Signal::Metrics), of(Signal::Traces)), (logs, metrics, traces), "{memory}");
    }
}
