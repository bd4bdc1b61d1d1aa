//! Listening sockets. Runs before the first `/next`: five system calls, no allocation.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind as bind_socket, listen, socket_with, sockopt};

/// Connections that the kernel keeps while no thread accepts them. The kernel cuts it at `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// Binds and listens at `addr`. A port left by a process that just ended is taken over.
///
/// Accepted connections inherit `TCP_NODELAY`, without which an answer of several segments waits for the client's
/// delayed acknowledgement (44 ms).
///
/// # Errors
/// What the kernel says, for instance that the port is in use.
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    bind_socket(&socket, &addr)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::{bind, sockopt};

    #[test]
    fn bound_sockets() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        assert_eq!(bind(addr).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
        // Far more than any server's slots wait in the kernel before somebody accepts.
        let waiting: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(addr).unwrap()).collect();
        let (accepted, _) = listener.accept().unwrap();
        assert!(sockopt::tcp_nodelay(&accepted).unwrap(), "inherited from the listener");
        // The server closes first, which leaves the port in TIME_WAIT: the next process binds it all the same.
        drop(accepted);
        drop(listener);
        drop(waiting);
        bind(addr).unwrap();
    }
}
