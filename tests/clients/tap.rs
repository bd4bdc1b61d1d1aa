//! A tap on the agent's port: passes every connection on, byte for byte in both directions, and keeps what the tracer
//! sent. One thread accepts; two for each connection, which end with it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::lab::http::{self, Incoming};

/// Where tracers look for their agent.
const PORT: u16 = 8126;

/// Where the agent is while there is a tap.
pub const BEHIND: u16 = 8127;

/// What came over each connection so far.
type Record = Arc<Mutex<Vec<Vec<u8>>>>;

/// A running tap.
pub struct Tap {
    record: Record,
}

impl Tap {
    /// Listens; the agent behind it may start later.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).expect("the port is free in here");
        let record = Record::default();
        let own = record.clone();
        thread::spawn(move || {
            for (index, client) in listener.incoming().enumerate() {
                own.lock().expect("no thread panics with the lock").push(Vec::new());
                // An error here is one of both going away, which is its right.
                let _ = client.and_then(|client| relay(client, &own, index));
            }
        });
        Self { record }
    }

    /// The whole requests so far, by connection.
    pub fn requests(&self) -> Vec<Incoming> {
        let record = self.record.lock().expect("no thread panics with the lock");
        record.iter().flat_map(|bytes| http::requests(bytes)).collect()
    }
}

fn relay(client: TcpStream, record: &Record, index: usize) -> io::Result<()> {
    let agent = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, BEHIND)))?;
    let (from_agent, to_client) = (agent.try_clone()?, client.try_clone()?);
    let record = record.clone();
    thread::spawn(move || {
        copy(client, agent, |bytes| {
            record.lock().expect("no thread panics with the lock")[index].extend_from_slice(bytes);
        })
    });
    thread::spawn(move || copy(from_agent, to_client, |_| ()));
    Ok(())
}

/// Copies until either end closes, telling `seen` of each piece before it goes on.
fn copy(mut from: TcpStream, mut to: TcpStream, seen: impl Fn(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        seen(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
