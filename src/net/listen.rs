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
