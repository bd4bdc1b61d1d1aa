//! What many clients together may cost the server: memory for bodies, threads, descriptors.

use std::time::Duration;

use super::{Client, Limits, limits, start, threads};

#[test]
fn bodies_in_flight_are_bounded() {
    let (addr, site) =
        start("budget", Limits { body_budget: 256 * 1024, read_timeout: Duration::from_millis(200), ..limits() });
    let body = vec![1; 128 * 1024];
    for _ in 0..2 {
        assert_eq!(Client::new(addr).post("/hold", &body).status, 200);
    }
    let mut client = Client::new(addr);
    assert_eq!(client.post("/len", &body).status, 503);
    assert!(client.is_closed());
    assert_eq!(Client::new(addr).get("/").status, 200, "no body needs no room");
    drop(site.held.1.recv().unwrap());
    assert_eq!(Client::new(addr).post("/len", &body).status, 200);
    // What can never fit is not waited for.
    assert_eq!(Client::new(addr).post("/len", &vec![0; 300 * 1024]).status, 413);
}

/// Together they want three times the budget, and none goes on: every one is told, and the room comes back.
#[test]
fn slow_bodies_that_fill_the_budget_are_answered() {
    let limits =
        Limits { connections: 16, body_budget: 256 * 1024, read_timeout: Duration::from_millis(200), ..limits() };
    let (addr, _) = start("slowfat", limits);
    let mut clients: Vec<Client> = (0..8).map(|_| Client::new(addr)).collect();
    for client in &mut clients {
        client.send("POST /len HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
        client.send(vec![1; 100_000]);
    }
    for client in &mut clients {
        let status = client.answer().status;
        assert!(matches!(status, 408 | 503), "{status}");
    }
    assert_eq!(Client::new(addr).post("/len", &vec![1; 250_000]).status, 200);
}

#[test]
fn a_thousand_short_connections_leave_nothing_behind() {
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let (addr, _) = start("short", Limits { connections: 16, ..limits() });
    let before = descriptors();
    for _ in 0..1_000 {
        assert_eq!(Client::new(addr).get("/").status, 200);
    }
    // Other tests run beside this one and have descriptors of their own, but not hundreds more than before.
    assert!(descriptors() < before + 500, "{before} descriptors became {}", descriptors());
    assert!(threads("short").len() <= 17, "{:?}", threads("short"));
}
