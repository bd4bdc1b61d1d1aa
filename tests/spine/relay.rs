//! A TCP relay between the extension and one of its peers that can break connections: what a peer does to a request is
//! not all that can happen to it. One thread accepts, two for each connection copy.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What is asked about each piece, of either side: whether it goes through. If not, its connection is closed. It may take
/// its time.
type Inspect = dyn Fn(&[u8]) -> bool + Send + Sync;

/// A running relay. It ends with the process.
pub struct Relay {
    /// Host and port.
    pub address: String,
    open: Arc<Mutex<Vec<TcpStream>>>,
    accepted: Arc<AtomicUsize>,
}

impl Relay {
    /// Relays a free port of the loopback to `peer`.
    pub fn start(peer: String, inspect: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let relay = Self { address, open: Arc::default(), accepted: Arc::default() };
        let (open, accepted) = (relay.open.clone(), relay.accepted.clone());
        let inspect: Arc<Inspect> = Arc::new(inspect);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accepted.fetch_add(1, Ordering::Relaxed);
                // A peer that is not there is a client that is not served.
                let _ = connect(client, &peer, &open, &inspect);
            }
        });
        relay
    }

    /// Closes every connection, without a word to whoever sleeps.
    pub fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

fn connect(client: TcpStream, peer: &str, open: &Mutex<Vec<TcpStream>>, inspect: &Arc<Inspect>) -> io::Result<()> {
    let server = TcpStream::connect(peer)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    open.lock().unwrap().extend([client.try_clone()?, server.try_clone()?]);
    let (from_server, to_client) = (server.try_clone()?, client.try_clone()?);
    let (there, back) = (inspect.clone(), inspect.clone());
    thread::spawn(move || copy(client, server, &*there));
    thread::spawn(move || copy(from_server, to_client, &*back));
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, inspect: &Inspect) {
    let mut piece = [0; 64 * 1024];
    loop {
        let length = from.read(&mut piece).unwrap_or(0);
        if length == 0 || !inspect(&piece[..length]) || to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
