//! Commands of Memcached.

use libdd_trace_obfuscation::memcached::obfuscate_memcached_string;
use thimble::traces::obfuscate::memcached;

use crate::differ::{Class, compare, output};

#[test]
fn commands() {
    let mut corpus = Vec::new();
    for command in
        ["set k 0 0 5", "add k 0 60 1 noreply", "get a b c", "incr k 1", "cas k 0 0 1 7", "", " ", "é", "quit"]
    {
        for value in [
            "",
            "\r\n",
            "\r\nhello\r\n",
            "\n",
            "\r",
            "\r\n\r\n",
            "\r\nset x 0 0 1\r\n1",
            "\n\r\n",
            "\u{b}\r\n",
            "\u{a0}\r\nx",
        ] {
            corpus.extend([format!("{command}{value}"), format!("  {command}\t{value}")]);
        }
    }
    compare(
        &corpus,
        150,
        &|command| output(|out| memcached::command(command.as_bytes(), out)),
        &obfuscate_memcached_string,
        &[Class {
            why: "no command ends with blanks beyond ASCII: they stay",
            explains: |command, ours, theirs| command.contains('\u{a0}') && ours.trim() == theirs,
        }],
    );
}
