//! Commands of Memcached. Pure.

/// Appends what may be seen of `command`: the line before its value. The protocol ends it with CR LF.
pub fn command(command: &[u8], out: &mut Vec<u8>) {
    let line = memchr::memmem::find(command, b"\r\n").and_then(|end| command.get(..end)).unwrap_or(command);
    out.extend_from_slice(super::trim(line));
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_value_goes() {
        for (command, expected) in [
            ("set k 0 0 5\r\nvalue\r\n", "set k 0 0 5"),
            ("get k", "get k"),
            ("  get k \x0b ", "get k"),
            ("\r\nset k 0 0 0 0\r\nvalue", ""),
            ("set k\nvalue", "set k\nvalue"),
            ("", ""),
        ] {
            let mut out = Vec::new();
            super::command(command.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{command:?}");
        }
    }
}
