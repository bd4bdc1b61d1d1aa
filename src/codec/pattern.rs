//! Regular expressions that users wrote: compiled within limits, found, replaced. The one place that knows the regex
//! engine. Pure; used by whoever compiled a pattern, on its thread.
//!
//! The syntax is that of the crate `regex`, and where a pattern is none, that of Go, which the Go agent's users wrote
//! theirs in: the same for nearly every pattern, except for what `in_go_syntax` rewrites. Classes such as `\d` mean
//! Unicode's. Refused, as in both: look-around and back references. Refused though Go takes them: names of scripts
//! (`\p{Greek}`), whose tables are not worth their bytes, and octal escapes.

use std::fmt;

use regex_automata::meta::{BuildError, Regex};
use regex_automata::util::captures::Captures;
use regex_automata::util::{interpolate, iter, syntax};
use regex_automata::{Input, PatternID};

/// How deep a pattern may nest. Compiling recurses: without a limit a pattern could overflow the thread's stack, which
/// nothing can catch; up to this depth 128 KB are enough.
const MAX_NESTING: u32 = 50;

/// How many bytes a compiled pattern may take: what the crate `regex` allows.
const MAX_COMPILED: usize = 10 << 20;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// A pattern that is not in force. Says whose it is, and what to do about it, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern {
    owner: String,
    problem: String,
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is ignored: correct its pattern ({})", self.owner, self.problem)
    }
}

/// What [`Pattern::replace_all`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// No match: there is nothing in the buffer.
    Nothing,
    /// Every match was replaced.
    All,
    /// The result was longer than the limit and ends there.
    Cut,
}

impl Pattern {
    /// Compiles `text`. `owner` is the setting or rule it belongs to, as a message begins with it.
    ///
    /// # Errors
    /// No pattern in either syntax, or one beyond the limits.
    pub fn new(text: &str, owner: String) -> Result<Self, BadPattern> {
        let compiled = compile(text).or_else(|problem| {
            let rewritten = in_go_syntax(text);
            if rewritten == text { Err(problem) } else { compile(&rewritten) }
        });
        compiled.map(Self).map_err(|problem| BadPattern { owner, problem })
    }

    /// Whether the pattern is found anywhere in `text`, which need not be UTF-8.
    #[must_use]
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }

    /// Puts `text` into `out` with `replacement` in place of each match; `$1` and `${name}` are groups, empty if there
    /// is none of that name, `$$` is a dollar. The result is at most `limit` bytes long; where it would be longer it
    /// ends after its last whole character, with every match before that replaced.
    ///
    /// What is UTF-8 stays UTF-8. Allocates nothing but `out` for a text without a match.
    pub fn replace_all(&self, text: &[u8], replacement: &str, limit: usize, out: &mut Vec<u8>) -> Replaced {
        out.clear();
        // Searching once more for what matches is cheaper than room for groups where nothing does.
        if !self.is_match(text) {
            return Replaced::Nothing;
        }
        let groups = self.0.group_info();
        let mut captures =
            if replacement.contains('$') { self.0.create_captures() } else { Captures::matches(groups.clone()) };
        let mut matches = iter::Searcher::new(Input::new(text));
        let mut copied = 0;
        while let Ok(Some(found)) = matches.try_advance(|input| {
            self.0.search_captures(input, &mut captures);
            Ok(captures.get_match())
        }) {
            out.extend_from_slice(text.get(copied..found.start()).unwrap_or_default());
            copied = found.end();
            let group = |index: usize, out: &mut Vec<u8>| {
                // One replacement may name the group that is the whole text many times.
                if out.len() <= limit
                    && let Some(span) = captures.get_group(index)
                {
                    out.extend_from_slice(&text[span]);
                }
            };
            interpolate::bytes(replacement.as_bytes(), group, |name| groups.to_index(PatternID::ZERO, name), out);
            if out.len() > limit {
                break;
            }
        }
        out.extend_from_slice(text.get(copied..).unwrap_or_default());
        if out.len() <= limit {
            return Replaced::All;
        }
        out.truncate(whole_characters(out, limit));
        Replaced::Cut
    }
}

/// The greatest length up to `limit`, which is within `text`, that does not split a character of UTF-8.
fn whole_characters(text: &[u8], limit: usize) -> usize {
    let goes_on = |at: &usize| text.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (limit.saturating_sub(3)..=limit).rev().find(|at| !goes_on(at)).unwrap_or(limit)
}

/// What is wrong comes back as one line.
fn compile(text: &str) -> Result<Regex, String> {
    let limits = Regex::config().nfa_size_limit(Some(MAX_COMPILED));
    let syntax = syntax::Config::new().nest_limit(MAX_NESTING);
    Regex::builder().configure(limits).syntax(syntax).build(text).map_err(|problem| one_line(&problem))
}

/// The last line of an error says what is wrong, the others draw a picture of where.
fn one_line(problem: &BuildError) -> String {
    if problem.size_limit().is_some() {
        return "its repetitions make it too large".to_owned();
    }
    let text = problem.syntax_error().map_or_else(|| problem.to_string(), ToString::to_string);
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// A pattern of Go's (RE2's) syntax in the syntax of the crate `regex`:
///
/// - `{` is itself where no repetition such as `{2}`, `{2,}` or `{2,5}` follows;
/// - `\Q…\E` is the text between;
/// - `\<` and `\>` are themselves;
/// - in a class, `[`, `&`, `~` and `--` mean nothing of their own.
fn in_go_syntax(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let mut taken = c.len_utf8();
        match c {
            '\\' if !in_class && after.starts_with('Q') => taken += 1 + quoted(&after[1..], &mut out),
            '\\' => {
                let escaped = after.chars().next();
                taken += escaped.map_or(0, char::len_utf8);
                if !matches!(escaped, Some('<' | '>')) {
                    out.push('\\');
                }
                out.extend(escaped);
            }
            '[' if in_class => match after.find(":]").filter(|_| after.starts_with(':')) {
                Some(end) => {
                    taken += end + 2;
                    out.push_str(&rest[..taken]);
                }
                None => out.push_str("\\["),
            },
            '[' => {
                in_class = true;
                let first = after.strip_prefix('^').unwrap_or(after);
                taken = rest.len() - first.len();
                out.push_str(&rest[..taken]);
                if first.starts_with(']') {
                    taken += 1;
                    out.push_str("\\]");
                } else if first.starts_with("--") {
                    // The first one begins a range.
                    taken += 1;
                    out.push_str("\\-");
                }
            }
            ']' => {
                in_class = false;
                out.push(c);
            }
            '&' | '~' if in_class => out.extend(['\\', c]),
            '-' if in_class && after.starts_with('-') => {
                // The second one ends a range.
                taken += 1;
                out.push_str("-\\-");
            }
            '{' if !in_class && !is_repetition(after) => out.push_str("\\{"),
            _ => out.push(c),
        }
        rest = &rest[taken..];
    }
    out
}

/// Adds the text up to `\E`, or all of it, so that it stands for itself. Returns how many bytes that took.
fn quoted(text: &str, out: &mut String) -> usize {
    let end = text.find("\\E");
    for c in text[..end.unwrap_or(text.len())].chars() {
        if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
            out.push('\\');
        }
        out.push(c);
    }
    end.map_or(text.len(), |end| end + 2)
}

/// Whether what follows a `{` makes it a repetition.
fn is_repetition(after: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    after.split_once('}').is_some_and(|(inner, _)| match inner.split_once(',') {
        None => number(inner),
        Some((low, high)) => number(low) && (high.is_empty() || number(high)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text, String::new()).unwrap_or_else(|bad| panic!("{text}{bad}"))
    }

    #[test]
    fn matches_are_replaced() {
        for (text, replacement, input, expected) in [
            (r"\d+", "#", "a 12 b 345", Some("a # b #")),
            (r"\d+", "#", "none", None),
            (r"(\w+)@(?P<host>\w+)", "${host}/$1/$2/$9/${none}.", "me@home", Some("home/me/home//.")),
            (r"(\w+)@(?<host>\w+)", "$host", "me@home", Some("home")),
            ("key=.", "$$1 $", "key=a", Some("$1 $")),
            ("(a)", "$1b", "xax", Some("xx")),
            ("(?i)SECRET", "", "a secret", Some("a ")),
            ("(?s).*", "?", "a\nb", Some("?")),
            (".*", "?", "", Some("?")),
            ("x*", "-", "éa", Some("-é-a-")),
            ("é", "e", "été", Some("ete")),
            ("^", "> ", "a", Some("> a")),
        ] {
            let mut out = b"left over".to_vec();
            let replaced = pattern(text).replace_all(input.as_bytes(), replacement, 1000, &mut out);
            assert_eq!((replaced == Replaced::All).then_some(&out[..]), expected.map(str::as_bytes), "{text}");
        }
    }

    #[test]
    fn results_end_at_the_limit() {
        for (text, replacement, input, limit, expected, replaced) in [
            ("a", "bb", "aaa", 6, "bbbbbb", Replaced::All),
            ("a", "bb", "aaa", 5, "bbbbb", Replaced::Cut),
            ("a", "é", "aaa", 5, "éé", Replaced::Cut),
            ("a", "😀", "aaa", 3, "", Replaced::Cut),
            ("a", "", "aaab", 0, "", Replaced::Cut),
            ("(.*)", "$1$1$1$1", "abcd", 6, "abcdab", Replaced::Cut),
            ("b$", "c", "aaab", 2, "aa", Replaced::Cut),
        ] {
            let mut out = Vec::new();
            assert_eq!(pattern(text).replace_all(input.as_bytes(), replacement, limit, &mut out), replaced, "{text}");
            assert_eq!(std::str::from_utf8(&out), Ok(expected), "{text}");
        }
        // A replacement that names the whole text often costs its length and the limit, not their product.
        let mut out = Vec::new();
        let text = vec![b'x'; 100_000];
        pattern("(?s).*").replace_all(&text, &"$0".repeat(100_000), 200_000, &mut out);
        assert!(out.len() == 200_000 && out.capacity() < 1 << 20);
    }

    #[test]
    fn patterns_of_go_compile_and_mean_the_same() {
        for (text, matches, not) in [
            (r#"{"id":\d{2}}"#, r#"{"id":12}"#, r#"{"id":1}"#),
            (r"^\{a{2,}{$", "{aaa{", "{a{"),
            (r"a{,2}", "a{,2}", "aa"),
            (r"token=[^[]+\[", "token=a[", "token=["),
            (r"^{[[:alpha:]{]+$", "{a{", "{1"),
            (r"{[&&~a]", "{&", "{b"),
            (r"{[+--]", "{,", "{a"),
            (r"{[--/]", "{.", "{a"),
            (r"{[]a]", "{]", "{b"),
            (r"{[^]a]", "{b", "{]"),
            (r"\Qa.b{\E\d", "a.b{1", "axb{1"),
            (r"\Q<a>", "<a>", "a"),
            (r"{\<a\>", "{<a>", "{a"),
            (r"{é\{", "{é{", "{é"),
        ] {
            let compiled = pattern(text);
            assert!(compiled.is_match(matches.as_bytes()) && !compiled.is_match(not.as_bytes()), "{text}");
        }
        // What is a pattern already keeps its meaning.
        assert!(pattern(r"\<a").is_match(b"b a") && pattern("[a-c&&[b]]").is_match(b"b"));
        assert!(!pattern("[a-c&&[b]]").is_match(b"a"));
    }

    #[test]
    fn bad_patterns_say_whose_they_are_in_one_line() {
        for (text, problem) in [
            ("a(?=b)", "(look-around"),
            ("(", "(unclosed group"),
            ("{(", "(unclosed group"),
            (r"(a)\1", "(backreferences"),
            (r"((\w{500}){500}){500}", "(its repetitions make it too large"),
            (&["(".repeat(60), ")".repeat(60)].concat(), "maximum number of nested"),
        ] {
            let said = Pattern::new(text, "rule 7".to_owned()).unwrap_err().to_string();
            assert!(said.starts_with("rule 7 is ignored: correct its pattern (") && !said.contains('\n'), "{said}");
            assert!(said.contains(problem), "{said}");
        }
    }

    #[test]
    fn nesting_is_limited_to_what_the_stack_takes() {
        let nested = |depth: usize| format!("{}a{}", "(?:b|(".repeat(depth), "))*".repeat(depth));
        let compile = move || {
            assert!(Pattern::new(&nested(9), String::new()).is_ok());
            assert!(Pattern::new(&nested(1000), String::new()).is_err());
        };
        // Twice what the release build needs: frames are larger without optimisation.
        std::thread::Builder::new().stack_size(256 << 10).spawn(compile).unwrap().join().unwrap();
    }

    const PATTERNS: [&str; 8] = [r"\d+", "", "x*", "(a|b)(?P<n>c)?", ".", "(?s).*", "[^a]", r"\b"];

    proptest! {
        #[test]
        fn any_text_is_a_pattern_or_not(text in r"([a-z{}\[\]()\\^$.|?*+&~<>QE:,0-9 -]|\PC){0,40}") {
            let _ = Pattern::new(&text, String::new());
            prop_assert!(in_go_syntax(&text).len() <= 2 * text.len() + 1);
        }

        #[test]
        fn results_are_bounded_and_text_stays_text(
            which in 0..PATTERNS.len(), replacement in "([a$1{}n]|\\PC){0,6}", text in "\\PC{0,40}", limit in 0..60_usize,
        ) {
            let mut out = Vec::new();
            let replaced = pattern(PATTERNS[which]).replace_all(text.as_bytes(), &replacement, limit, &mut out);
            prop_assert!(out.len() <= limit && std::str::from_utf8(&out).is_ok());
            prop_assert!(replaced != Replaced::Cut || out.len() + 4 > limit);
        }

        #[test]
        fn bytes_of_any_kind_are_searched(
            which in 0..PATTERNS.len(), text in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut out = Vec::new();
            pattern(PATTERNS[which]).replace_all(&text, "$0", 100, &mut out);
            prop_assert!(out.is_empty() || out == text);
        }
    }
}
