//! The thread over a real socket on an ephemeral port: order of flushes, cut datagrams, floods, kernel drops.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use super::*;

/// The thread, a sender, and the aggregator's end.
struct Rig {
    sender: UdpSocket,
    handle: Option<Handle>,
    inbox: Receiver<Message>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Rig {
    fn new(buffer_size: usize) -> Self {
        let socket = Socket::bind(0, None).unwrap();
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sender.connect((Ipv4Addr::LOCALHOST, socket.port().unwrap())).unwrap();
        let (handle, requests) = requests().unwrap();
        let (out, inbox) = bounded(4);
        let thread = std::thread::spawn(move || run(socket, buffer_size, requests, out));
        Self { sender, handle: Some(handle), inbox, thread: Some(thread) }
    }

    fn send(&self, datagram: &[u8]) {
        self.sender.send(datagram).unwrap();
    }

    fn ask(&self, id: u64) -> bool {
        let ticket = FlushTicket { id, deadline: Instant::now() + Duration::from_secs(5), ending: false, last: false };
        self.handle.as_ref().unwrap().flush(ticket)
    }

    /// Flushes and returns the names that came before the ticket.
    fn flush(&self, id: u64) -> Vec<String> {
        assert!(self.ask(id));
        let mut names = Vec::new();
        loop {
            match self.inbox.recv_timeout(Duration::from_secs(20)).unwrap() {
                Message::Samples(batch) => {
                    names.extend(batch.samples().map(|s| String::from_utf8_lossy(s.metric.name).into_owned()));
                }
                Message::Flush(ticket) => {
                    assert_eq!(ticket.id, id);
                    return names;
                }
                Message::Tags(_) => unreachable!(),
            }
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.handle = None;
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn a_flush_takes_what_was_sent_before_it_and_ends_the_same_when_there_is_nothing() {
    let rig = Rig::new(8192);
    assert_eq!(rig.flush(1), [""; 0]);
    rig.send(b"a:1|c\nb:2|c\n");
    rig.send(b"c:2|d");
    rig.send(b"");
    assert_eq!(rig.flush(2), ["a", "b", "c"]);
    assert_eq!(rig.flush(3), [""; 0]);
    rig.send(b"d:1|c");
    assert_eq!(rig.flush(4), ["d"]);
}

#[test]
fn malformed_lines_cost_no_neighbours_and_are_counted() {
    let rig = Rig::new(8192);
    let before = counters::get(Counter::MetricsMalformed);
    rig.send(b"a:1|c\nnonsense\nb:2|c\n\xff\xfe\nc:3|c");
    assert_eq!(rig.flush(1), ["a", "b", "c"]);
    assert!(counters::get(Counter::MetricsMalformed) >= before + 2);
}

#[test]
fn a_datagram_longer_than_the_buffer_loses_only_what_is_cut() {
    let rig = Rig::new(20);
    rig.send(b"first:1|c\nsecond:1234567|c\n");
    rig.send(b"third:1|c");
    assert_eq!(rig.flush(1), ["first", "third"]);
}

#[test]
fn a_flush_ends_although_the_sender_does_not() {
    let rig = Rig::new(8192);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = rig.sender.send(b"flood:1|c");
            }
        });
        for id in 1..=20 {
            rig.flush(id);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn the_thread_ends_with_either_of_its_ends() {
    let socket = Socket::bind(0, Some(1 << 16)).unwrap();
    let (handle, requests) = requests().unwrap();
    let (out, inbox) = bounded(1);
    drop(inbox);
    assert!(handle.flush(FlushTicket { id: 1, deadline: Instant::now(), ending: true, last: true }));
    run(socket, 8192, requests, out);
    assert!(!handle.flush(FlushTicket { id: 2, deadline: Instant::now(), ending: true, last: true }));
    // The other end: every rig above is dropped by its handle.
    drop(Rig::new(1));
}

#[test]
fn a_port_in_use_is_an_error() {
    let first = Socket::bind(0, None).unwrap();
    assert!(Socket::bind(first.port().unwrap(), None).is_err());
}

#[test]
fn datagrams_the_kernel_drops_are_counted() {
    let socket = Socket::bind(0, Some(1)).unwrap();
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    sender.connect((Ipv4Addr::LOCALHOST, socket.port().unwrap())).unwrap();
    // Nobody reads yet: the smallest buffer the kernel gives holds a few.
    for _ in 0..100 {
        sender.send(&[b'x'; 1000]).unwrap();
    }
    let before = counters::get(Counter::MetricsKernelDrops);
    let (handle, requests) = requests().unwrap();
    let (out, inbox) = bounded(4);
    let thread = std::thread::spawn(move || run(socket, 8192, requests, out));
    assert!(handle.flush(FlushTicket { id: 1, deadline: Instant::now(), ending: false, last: false }));
    while !matches!(inbox.recv().unwrap(), Message::Flush(_)) {}
    assert!(counters::get(Counter::MetricsKernelDrops) >= before + 90);
    drop(handle);
    thread.join().unwrap();
}
