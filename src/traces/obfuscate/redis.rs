//! Commands of Redis and Valkey: what they are called, and which of their arguments may be seen. Pure.
//!
//! A text has one command per line. A newline inside double quotes belongs to an argument. Nothing is unquoted: what may
//! be seen goes out as it was written, but for the spaces between arguments.

use super::trim;

/// Commands named in a resource; more become [`CUT`].
const MAX_COMMANDS: usize = 3;

/// What tracers put behind a word that they cut.
const CUT: &[u8] = b"...";

/// Commands whose first argument belongs to their name.
const COMPOUND: [&str; 6] = ["CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DEBUG", "SCRIPT"];

/// The longest command or sub-command that has a rule.
const LONGEST: usize = 17;

/// Appends the names of the first commands of `query`.
pub fn quantize(query: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let (mut commands, mut cut) = (0, false);
    for line in query.split(|&byte| byte == b'\n') {
        if commands == MAX_COMMANDS {
            break;
        }
        let mut words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
        let Some(name) = words.next() else { continue };
        let sub = words.next().filter(|_| COMPOUND.iter().any(|c| c.as_bytes().eq_ignore_ascii_case(name)));
        cut = name.ends_with(CUT) || sub.is_some_and(|sub| sub.ends_with(CUT));
        if cut {
            continue;
        }
        for word in [Some(name), sub].into_iter().flatten() {
            separate(out, start);
            out.extend(word.iter().map(u8::to_ascii_uppercase));
        }
        commands += 1;
    }
    if commands == MAX_COMMANDS || cut {
        separate(out, start);
        out.extend_from_slice(CUT);
    }
}

fn separate(out: &mut Vec<u8>, start: usize) {
    if out.len() > start {
        out.push(b' ');
    }
}

/// Which arguments of a command are hidden, counted from 0.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// This one and all that follow, as one.
    From(usize),
    /// This one alone.
    Only(usize),
    /// This one and every so many after it.
    Every(usize, usize),
    /// The value of `CONFIG SET`.
    Config,
    /// The value of each `SET type offset value`.
    Bitfield,
    /// The members after the scores, which follow the key and options.
    Zadd,
}

/// The rules, by command; what is not here has no argument to hide.
const RULES: [(&str, Rule); 42] = [
    ("ACL", Rule::From(1)),
    ("APPEND", Rule::Only(1)),
    ("AUTH", Rule::From(0)),
    ("BITFIELD", Rule::Bitfield),
    ("CONFIG", Rule::Config),
    ("GEOADD", Rule::Every(3, 3)),
    ("GEODIST", Rule::From(1)),
    ("GEOHASH", Rule::From(1)),
    ("GEOPOS", Rule::From(1)),
    ("GEORADIUSBYMEMBER", Rule::Only(1)),
    ("GETSET", Rule::Only(1)),
    ("HELLO", Rule::From(0)),
    ("HMSET", Rule::Every(2, 2)),
    ("HSET", Rule::Every(2, 2)),
    ("HSETNX", Rule::Only(2)),
    ("LINSERT", Rule::Only(3)),
    ("LPUSH", Rule::From(1)),
    ("LPUSHX", Rule::Only(1)),
    ("LREM", Rule::Only(2)),
    ("LSET", Rule::Only(2)),
    ("MIGRATE", Rule::From(0)),
    ("MSET", Rule::Every(1, 2)),
    ("MSETNX", Rule::Every(1, 2)),
    ("PSETEX", Rule::Only(2)),
    ("RESTORE", Rule::Only(2)),
    ("RPUSH", Rule::From(1)),
    ("RPUSHX", Rule::Only(1)),
    ("SADD", Rule::From(1)),
    ("SET", Rule::Only(1)),
    ("SETBIT", Rule::Only(2)),
    ("SETEX", Rule::Only(2)),
    ("SETNX", Rule::Only(1)),
    ("SETRANGE", Rule::Only(2)),
    ("SISMEMBER", Rule::Only(1)),
    ("SMOVE", Rule::Only(2)),
    ("SREM", Rule::From(1)),
    ("ZADD", Rule::Zadd),
    ("ZINCRBY", Rule::Only(2)),
    ("ZRANK", Rule::Only(1)),
    ("ZREM", Rule::From(1)),
    ("ZREVRANK", Rule::Only(1)),
    ("ZSCORE", Rule::Only(1)),
];

/// `word` in upper case; empty if it is longer than any word that has a rule.
fn upper<'b>(word: &[u8], buffer: &'b mut [u8; LONGEST]) -> &'b [u8] {
    let Some(upper) = buffer.get_mut(..word.len()) else { return &[] };
    upper.copy_from_slice(word);
    upper.make_ascii_uppercase();
    upper
}

/// What became of an argument.
enum Sight {
    Shown,
    Hidden,
    /// It is the last that goes out.
    HiddenWithRest,
}

/// Where a command's arguments stand with its rule.
struct Arguments {
    rule: Option<Rule>,
    count: usize,
    /// Where the values begin of a rule that finds that out.
    values: Option<usize>,
}

impl Arguments {
    fn of(command: &[u8]) -> Self {
        let mut buffer = [0; LONGEST];
        let name = upper(command, &mut buffer);
        let rule = RULES.binary_search_by(|(command, _)| command.as_bytes().cmp(name)).ok();
        Self { rule: rule.and_then(|at| RULES.get(at)).map(|&(_, rule)| rule), count: 0, values: None }
    }

    fn next(&mut self, argument: &[u8]) -> Sight {
        let at = self.count;
        self.count += 1;
        let hide = match self.rule {
            None => false,
            Some(Rule::From(first)) if at == first => return Sight::HiddenWithRest,
            Some(Rule::From(_)) => false,
            Some(Rule::Only(only)) => at == only,
            Some(Rule::Every(first, step)) => at >= first && (at - first).is_multiple_of(step),
            Some(Rule::Config) => {
                if at == 0 && argument.eq_ignore_ascii_case(b"SET") {
                    self.values = Some(2);
                }
                self.values == Some(at)
            }
            Some(Rule::Bitfield) => {
                let hide = self.values == Some(at);
                if at > 0 && !hide && argument.eq_ignore_ascii_case(b"SET") {
                    self.values = Some(at + 3);
                }
                hide
            }
            Some(Rule::Zadd) => {
                let mut buffer = [0; LONGEST];
                let is_option = matches!(upper(argument, &mut buffer), b"NX" | b"XX" | b"CH" | b"INCR" | b"GT" | b"LT");
                if at > 0 && self.values.is_none() && !is_option {
                    self.values = Some(at + 1);
                }
                self.values.is_some_and(|first| at >= first && (at - first).is_multiple_of(2))
            }
        };
        if hide { Sight::Hidden } else { Sight::Shown }
    }
}

/// Appends `commands` with `?` for every argument that may be a value.
pub fn arguments(commands: &[u8], out: &mut Vec<u8>) {
    let mut rest = trim(commands);
    let mut first = true;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b' ' | b'\n')).unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        if !first {
            out.push(b'\n');
        }
        first = false;
        out.extend_from_slice(name);
        rest = spaces(tail);
        let mut arguments = Arguments::of(name);
        let mut shown = true;
        while !rest.is_empty() && rest.first() != Some(&b'\n') {
            let argument;
            (argument, rest) = rest.split_at(argument_length(rest));
            rest = spaces(rest);
            let sight = arguments.next(argument);
            if shown {
                out.push(b' ');
                out.extend_from_slice(if matches!(sight, Sight::Shown) { argument } else { b"?" });
            }
            shown &= !matches!(sight, Sight::HiddenWithRest);
        }
        // To the next line with something on it.
        while let Some((b'\n', tail)) = rest.split_first() {
            rest = spaces(tail);
        }
    }
}

/// `text` from its first byte that is not blank; a newline is not.
fn spaces(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r')).unwrap_or(text.len());
    text.get(end..).unwrap_or_default()
}

/// How long the argument is that `text` starts with: to the space or newline outside of quotes.
fn argument_length(text: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b' ' | b'\n' if !quoted => return at,
            b'"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = *byte == b'\\' && !escaped;
    }
    text.len()
}

/// Appends the first command of `commands` with one `?` for all its arguments; sub-commands stay.
pub fn no_arguments(commands: &[u8], out: &mut Vec<u8>) {
    let mut words = commands.split(|byte| super::is_space(*byte)).filter(|word| !word.is_empty());
    let Some(name) = words.next() else { return };
    out.extend_from_slice(name);
    let Some(first) = words.next() else { return };
    let (mut command, mut sub) = ([0; LONGEST], [0; LONGEST]);
    let mut keep = |word: &[u8], subs: &[&[u8]]| subs.contains(&upper(word, &mut sub));
    match upper(name, &mut command) {
        b"CONFIG" if keep(first, &[b"GET", b"SET", b"RESETSTAT", b"REWRITE"]) => {
            out.push(b' ');
            out.extend_from_slice(first);
            out.extend_from_slice(b" ?");
        }
        b"BITFIELD" => {
            out.extend_from_slice(b" ?");
            for word in [first].into_iter().chain(words).filter(|word| keep(word, &[b"GET", b"SET", b"INCRBY"])) {
                out.push(b' ');
                out.extend_from_slice(word);
                out.extend_from_slice(b" ?");
            }
        }
        _ => out.extend_from_slice(b" ?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(f: fn(&[u8], &mut Vec<u8>), rows: &[(&str, &str)]) {
        for (input, expected) in rows {
            let mut out = Vec::new();
            f(input.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), *expected, "{input:?}");
        }
    }

    #[test]
    fn rules_are_in_order_and_fit() {
        assert!(RULES.is_sorted_by_key(|(command, _)| command));
        assert!(RULES.iter().all(|(command, _)| command.len() <= LONGEST));
        assert!(COMPOUND.iter().all(|command| command.len() <= LONGEST));
    }

    #[test]
    fn resources() {
        check(
            quantize,
            &[
                ("SET k v", "SET"),
                ("get k\nset k v", "GET SET"),
                ("  CONFIG   set x y ", "CONFIG SET"),
                ("config", "CONFIG"),
                ("client list", "CLIENT LIST"),
                ("A\nB\nC", "A B C ..."),
                ("A\nB\nC\nD", "A B C ..."),
                ("A\n\n\nB", "A B"),
                ("GET k\nSE...", "GET ..."),
                ("GET k\nCONFIG SE...", "GET ..."),
                ("SE...\nGET k", "GET"),
                ("GET k...", "GET"),
                ("...", "..."),
                ("", ""),
                (" \n ", ""),
            ],
        );
    }

    #[test]
    fn arguments_by_rule() {
        check(
            arguments,
            &[
                ("AUTH user secret", "AUTH ?"),
                ("hello 3 AUTH u p", "hello ?"),
                ("ACL SETUSER u on >p", "ACL SETUSER ?"),
                ("ACL LIST", "ACL LIST"),
                ("SET k v EX 10", "SET k ? EX 10"),
                ("SET k", "SET k"),
                ("HSET h f1 v1 f2 v2", "HSET h f1 ? f2 ?"),
                ("HSETNX h f v", "HSETNX h f ?"),
                ("MSET a 1 b 2 c", "MSET a ? b ? c"),
                ("LINSERT l BEFORE p v", "LINSERT l BEFORE p ?"),
                ("SADD s a b c", "SADD s ?"),
                ("GEOADD g 1 2 a 3 4 b", "GEOADD g 1 2 ? 3 4 ?"),
                ("CONFIG SET p v", "CONFIG SET p ?"),
                ("CONFIG GET p v", "CONFIG GET p v"),
                ("BITFIELD k SET u8 0 255 GET u8 0 set u8 8 7", "BITFIELD k SET u8 0 ? GET u8 0 set u8 8 ?"),
                ("ZADD z NX gt CH 1 a 2 b", "ZADD z NX gt CH 1 ? 2 ?"),
                ("ZADD z 1 a", "ZADD z 1 ?"),
                ("GET k", "GET k"),
                ("EVAL script 0", "EVAL script 0"),
                ("set k \"a b\\\" c\nd\" EX 1\nget k", "set k ? EX 1\nget k"),
                ("SET k \"open ended\nGET k", "SET k ?"),
                (" \r\n\tSET  k   v \r\n \n\tAUTH x\r\n", "SET k ?\nAUTH ?"),
                ("PING", "PING"),
                ("", ""),
            ],
        );
    }

    #[test]
    fn no_arguments_at_all() {
        check(
            no_arguments,
            &[
                ("SET k v", "SET ?"),
                ("PING", "PING"),
                ("config set a b", "config set ?"),
                ("CONFIG HELP", "CONFIG ?"),
                ("BITFIELD k GET u8 1 set u8 0 1", "BITFIELD ? GET ? set ?"),
                (" \t", ""),
                ("GET k\nAUTH x", "GET ?"),
            ],
        );
    }
}
