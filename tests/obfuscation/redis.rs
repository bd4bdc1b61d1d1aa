//! Commands of Redis.

use libdd_trace_obfuscation::redis::{obfuscate_redis_string, quantize_redis_string, remove_all_redis_args};
use proptest::prelude::*;
use thimble::traces::obfuscate::redis;

use crate::differ::{Class, Dice, compare, output};

const COMMANDS: &str = "ACL APPEND AUTH BITFIELD CLIENT CLUSTER COMMAND CONFIG DEBUG DEL EVAL EXPIRE GEOADD GEODIST GEOHASH \
     GEOPOS GEORADIUSBYMEMBER GET GETSET HELLO HGETALL HMSET HSET HSETNX INCR LINSERT LPUSH LPUSHX LREM LSET MGET MIGRATE \
     MSET MSETNX PING PSETEX PUBLISH RESTORE RPUSH RPUSHX SADD SCRIPT SET SETBIT SETEX SETNX SETRANGE SISMEMBER SMOVE SREM \
     XADD ZADD ZINCRBY ZRANK ZREM ZREVRANK ZSCORE";

const ARGUMENTS: [&str; 26] = [
    "key",
    "1",
    "\"a b\"",
    "\"a\\\"b\"",
    "\"open",
    "GET",
    "SET",
    "set",
    "u8",
    "NX",
    "xx",
    "CH",
    "INCR",
    "GT",
    "LT",
    "EX",
    "10",
    "a\\ b",
    "x...",
    "...",
    "é",
    "\t",
    "a\tb",
    "{\"k\":1}",
    "\"line\nbreak\"",
    "INCRBY",
];

fn corpus() -> Vec<String> {
    let commands: Vec<&str> = COMMANDS.split(' ').collect();
    let mut dice = Dice(1);
    let mut corpus: Vec<String> = [
        "",
        " ",
        "\n",
        "...",
        "SET",
        "GET k\r\nSET k v\r\n",
        "\tGET k",
        "GET k \r\nSET k v",
        "PING\0\nSET k v",
        "été k",
        "GET k\n\tAUTH secret",
        "BITFIELD k SET u8 0 1 SET u8 8 2",
        "ZADD k GT 1 a",
        "CONFIG SET a b\nCONFIG GET a\nCLIENT LIST",
        "SET k v\u{a0}",
        "\u{b}GET k\u{b}",
        "GET \r \n SET k v",
    ]
    .map(str::to_owned)
    .into();
    for command in &commands {
        for count in 0..7 {
            let arguments: Vec<&str> = (0..count).map(|_| dice.pick(&ARGUMENTS)).collect();
            let name = if dice.roll(4) == 0 { command.to_lowercase() } else { (*command).to_owned() };
            corpus.push([&[&name[..]], &arguments[..]].concat().join(dice.pick(&[" ", " ", " ", "  "])));
        }
    }
    for _ in 0..300 {
        let lines: Vec<String> = (0..dice.roll(5) + 1)
            .map(|_| {
                let arguments: Vec<&str> = (0..dice.roll(4)).map(|_| dice.pick(&ARGUMENTS)).collect();
                [&[dice.pick(&commands)], &arguments[..]].concat().join(" ")
            })
            .collect();
        corpus.push(lines.join(dice.pick(&["\n", "\n", " \n ", "\r\n", "\n\n", "\n\t"])));
    }
    corpus
}

#[test]
fn resources() {
    let ours = |text: &str| output(|out| redis::quantize(text.as_bytes(), out));
    compare(
        &corpus(),
        600,
        &ours,
        &quantize_redis_string,
        &[Class {
            why: "no command has letters beyond ASCII: they stay as they are",
            explains: |text, ours, theirs| !text.is_ascii() && ours.to_uppercase() == theirs,
        }],
    );
}

/// Without what stands between commands.
fn without_blanks(text: &str) -> String {
    let blanks = &[' ', '\t', '\r'][..];
    let line = |line: &str| {
        let line = line.trim_start_matches(blanks);
        let trimmed = line.trim_end_matches(blanks);
        if line[trimmed.len()..].starts_with('\r') { line.to_owned() } else { trimmed.to_owned() }
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Without any blanks: those inside of quotes went with the others.
fn bare(text: &str) -> String {
    text.replace([' ', '\t', '\r'], "")
}

#[test]
fn arguments() {
    let ours = |text: &str| output(|out| redis::arguments(text.as_bytes(), out));
    compare(
        &corpus(),
        600,
        &ours,
        &obfuscate_redis_string,
        &[
            Class {
                why: "a NUL does not end the commands, as in the Go agent: what follows is not lost",
                explains: |text, ours, theirs| text.contains('\0') && ours.starts_with(theirs),
            },
            Class {
                why: "blanks before a command are not of its name, and those at the end of a line are no argument",
                explains: |text, ours, _| bare(ours) == bare(&obfuscate_redis_string(&without_blanks(text))),
            },
            Class {
                why: "BITFIELD may set several values, and each is hidden",
                explains: |text, ours, theirs| {
                    text.to_uppercase().contains("BITFIELD") && ours.matches('?').count() > theirs.matches('?').count()
                },
            },
            Class {
                why: "GT and LT are options of ZADD too: the members are hidden and not the scores",
                explains: |text, _, _| {
                    let text = text.to_uppercase();
                    text.contains("ZADD") && (text.contains("GT") || text.contains("LT"))
                },
            },
        ],
    );
}

#[test]
fn no_arguments() {
    let ours = |text: &str| output(|out| redis::no_arguments(text.as_bytes(), out));
    compare(&corpus(), 600, &ours, &remove_all_redis_args, &[]);
}

proptest! {
    #[test]
    fn anything_goes(text in "\\PC{0,40}|([A-Za-z \"\\\\\t\r\n.]{0,12}|SET|ZADD|BITFIELD|CONFIG){0,12}") {
        for hide in [redis::quantize, redis::arguments, redis::no_arguments] {
            let out = output(|out| hide(text.as_bytes(), out));
            prop_assert!(out.len() <= 2 * text.len() + 4);
        }
    }
}
