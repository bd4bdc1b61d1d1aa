//! Intakes that are scripts behind a `TcpListener` on loopback: they see every byte and can answer anything, or nothing.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

/// What the intake does with a request that it has read.
#[derive(Clone, Debug)]
pub enum Act {
    /// Writes these bytes and waits for the next request.
    Reply(Vec<u8>),
    /// Writes these bytes and closes.
    ReplyAndClose(Vec<u8>),
    /// Closes with a reset.
    Reset,
    /// Says nothing until the client is gone.
    Stall,
}

#[derive(Debug)]
pub struct Request {
    pub connection: usize,
    pub method: String,
    pub target: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

pub struct Intake {
    pub url: String,
    pub host: String,
    pub requests: Receiver<Request>,
}

pub fn reply(status: u16, body: &str) -> Act {
    Act::Reply(format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

/// An intake that decides by the number of the connection and of the request on it.
pub fn intake(script: impl Fn(usize, usize) -> Act + Send + Sync + 'static) -> Intake {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, requests) = crossbeam_channel::unbounded();
    let script = Arc::new(script);
    thread::spawn(move || {
        for (number, socket) in listener.incoming().enumerate() {
            let (script, seen) = (Arc::clone(&script), seen.clone());
            thread::spawn(move || serve(&socket.unwrap(), number, &*script, &seen));
        }
    });
    Intake { url: format!("http://{address}"), host: address.to_string(), requests }
}

fn serve(socket: &TcpStream, connection: usize, script: &dyn Fn(usize, usize) -> Act, seen: &Sender<Request>) {
    let mut reader = BufReader::new(socket);
    for number in 0.. {
        let Some(request) = read_request(&mut reader, connection) else { return };
        let _ = seen.send(request);
        match script(connection, number) {
            Act::Reply(bytes) => (&*socket).write_all(&bytes).unwrap(),
            Act::ReplyAndClose(bytes) => return (&*socket).write_all(&bytes).unwrap(),
            Act::Reset => {
                rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO)).unwrap();
                return;
            }
            Act::Stall => {
                let _ = reader.read(&mut [0]);
                return;
            }
        }
    }
}

fn read_request(reader: &mut BufReader<&TcpStream>, connection: usize) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&n| n > 0)?;
    let (method, rest) = line.split_once(' ')?;
    let (method, target) = (method.to_owned(), rest.split_once(' ')?.0.to_owned());
    let mut headers = HashMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        assert!(headers.insert(name.to_ascii_lowercase(), value.to_owned()).is_none(), "{name} twice");
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    Some(Request { connection, method, target, headers, body })
}

impl Intake {
    /// The bodies of the requests so far, with the number of their connection.
    pub fn bodies(&self) -> Vec<(usize, String)> {
        self.requests.try_iter().map(|r| (r.connection, String::from_utf8(r.body).unwrap())).collect()
    }

    pub fn count(&self) -> usize {
        self.requests.try_iter().count()
    }
}
