//! What the kernel knows of a UDP socket: how many datagrams it dropped because nobody read them in time.
//!
//! Owns no state. Reads `/proc/net/udp`, only when asked.

use std::net::{Ipv4Addr, SocketAddrV4};

/// How many datagrams for the socket bound to `local` were dropped since it was made; `None` if the kernel does not
/// tell.
#[must_use]
pub fn drops(local: SocketAddrV4) -> Option<u64> {
    parse_drops(&std::fs::read_to_string("/proc/net/udp").ok()?, local)
}

/// Finds the line of `local` in the text of `/proc/net/udp`: the second column is the local address (the four bytes as
/// one number in the machine's order, in hexadecimal) and the last one the count.
fn parse_drops(table: &str, local: SocketAddrV4) -> Option<u64> {
    let ip: Ipv4Addr = *local.ip();
    let wanted = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), local.port());
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        (columns.nth(1)? == wanted).then(|| columns.last()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  215: 0100007F:1F8D 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 301 2 0000000000000000 3
  217: 0100007F:1FBD 00000000:0000 07 00000000:00000900 00:00000000 00000000     0        0 302 2 0000000000000000 4711
  217: 00000000:1FBE 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 303 2 0000000000000000 x
";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_line_of_the_socket_is_found() {
        for (ip, port, expected) in [
            (Ipv4Addr::LOCALHOST, 8125, Some(4711)),
            (Ipv4Addr::LOCALHOST, 8077, Some(3)),
            (Ipv4Addr::LOCALHOST, 8126, None),
            (Ipv4Addr::UNSPECIFIED, 8126, None),
            (Ipv4Addr::UNSPECIFIED, 8125, None),
        ] {
            assert_eq!(parse_drops(TABLE, SocketAddrV4::new(ip, port)), expected, "{ip}:{port}");
        }
        assert_eq!(parse_drops("", SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8125)), None);
    }

    #[test]
    fn a_socket_of_this_process_is_in_the_table() {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let std::net::SocketAddr::V4(local) = socket.local_addr().unwrap() else { unreachable!() };
        assert_eq!(drops(local), Some(0));
    }
}
