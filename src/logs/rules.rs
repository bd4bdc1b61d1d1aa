//! Processing rules: what users exclude, include and mask (spec: logs 6.5).
//!
//! Pure. Applied in order to the final text of every log, Lambda's own lines included. Compiled once, by the logs
//! agent's thread; a pattern that does not compile disables its rule alone.

use std::borrow::Cow;
use std::fmt;

use regex_automata::meta::{BuildError, Regex};
use regex_automata::util::syntax;

use crate::config::{RuleKind, RuleSpec};

/// How deep a pattern may nest. Compiling recurses: without a limit a pattern could overflow the thread's stack, which
/// nothing can catch; up to this depth 128 KB are enough.
const MAX_NESTING: u32 = 50;

/// How many bytes a compiled pattern may take: what the crate `regex` allows.
const MAX_COMPILED: usize = 10 << 20;

/// The rules in force.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    kind: RuleKind,
    pattern: Regex,
    placeholder: String,
}

/// A rule that is not in force. Says which one, and what to do about it, in one line.
#[derive(Debug)]
pub struct BadRule {
    name: String,
    problem: BuildError,
}

impl fmt::Display for BadRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = self.problem.syntax_error().map_or_else(|| self.problem.to_string(), ToString::to_string);
        // The last line of the error says what is wrong, the others draw a picture of where.
        let problem = problem.lines().last().unwrap_or_default().trim_start_matches("error: ");
        write!(f, "log processing rule {:?} is ignored: correct its pattern ({problem})", self.name)
    }
}

impl Rules {
    /// Compiles `specs`; what does not compile is returned beside the rules that do.
    #[must_use]
    pub fn compile(specs: &[RuleSpec]) -> (Self, Vec<BadRule>) {
        let (mut rules, mut bad) = (Vec::new(), Vec::new());
        for RuleSpec { kind, name, pattern, placeholder } in specs {
            let limits = Regex::config().nfa_size_limit(Some(MAX_COMPILED));
            let syntax = syntax::Config::new().nest_limit(MAX_NESTING);
            match Regex::builder().configure(limits).syntax(syntax).build(pattern) {
                Ok(pattern) => rules.push(Rule { kind: *kind, pattern, placeholder: placeholder.clone() }),
                Err(problem) => bad.push(BadRule { name: name.clone(), problem }),
            }
        }
        (Self(rules), bad)
    }

    /// Whether no rule is in force.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text that is left of `text`; `None` if a rule drops it.
    #[must_use]
    pub fn apply<'a>(&self, text: &'a str) -> Option<Cow<'a, str>> {
        let mut text = Cow::Borrowed(text);
        for rule in &self.0 {
            match rule.kind {
                RuleKind::ExcludeAtMatch if rule.pattern.is_match(&*text) => return None,
                RuleKind::IncludeAtMatch if !rule.pattern.is_match(&*text) => return None,
                RuleKind::ExcludeAtMatch | RuleKind::IncludeAtMatch => {}
                RuleKind::MaskSequences => {
                    if let Some(masked) = rule.mask(&text) {
                        text = Cow::Owned(masked);
                    }
                }
            }
        }
        Some(text)
    }
}

impl Rule {
    /// `text` with the placeholder in place of each match, groups filled in; `None` if nothing matches.
    fn mask(&self, text: &str) -> Option<String> {
        let (mut masked, mut copied, mut any) = (String::new(), 0, false);
        for captures in self.pattern.captures_iter(text) {
            let Some(found) = captures.get_match() else { continue };
            any = true;
            masked.push_str(&text[copied..found.start()]);
            captures.interpolate_string_into(text, &self.placeholder, &mut masked);
            copied = found.end();
        }
        masked.push_str(&text[copied..]);
        any.then_some(masked)
    }
}

#[cfg(test)]
mod tests {
    use super::Rules;
    use crate::config::RuleKind::{self, ExcludeAtMatch, IncludeAtMatch, MaskSequences};
    use crate::config::RuleSpec;

    fn rules(specs: &[(RuleKind, &str, &str)]) -> (Rules, Vec<String>) {
        let spec = |(i, (kind, pattern, placeholder)): (usize, &(RuleKind, &str, &str))| RuleSpec {
            kind: *kind,
            name: format!("rule {i}"),
            pattern: (*pattern).to_owned(),
            placeholder: (*placeholder).to_owned(),
        };
        let specs: Vec<_> = specs.iter().enumerate().map(spec).collect();
        let (rules, bad) = Rules::compile(&specs);
        (rules, bad.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn rules_apply_in_order() {
        for (specs, text, expected) in [
            (&[][..], "text", Some("text")),
            (&[(ExcludeAtMatch, "(START|END|REPORT) RequestId", "")], "START RequestId: 1 Version: 2", None),
            (&[(ExcludeAtMatch, "(START|END|REPORT) RequestId", "")], "text", Some("text")),
            (&[(IncludeAtMatch, "keep", "")], "text", None),
            (&[(IncludeAtMatch, "keep", "")], "keep this", Some("keep this")),
            (&[(IncludeAtMatch, "keep", ""), (IncludeAtMatch, "this", "")], "keep this", Some("keep this")),
            (&[(IncludeAtMatch, "keep", ""), (IncludeAtMatch, "that", "")], "keep this", None),
            (&[(IncludeAtMatch, "keep", ""), (ExcludeAtMatch, "this", "")], "keep this", None),
            (&[(MaskSequences, r"\d+", "#")], "a 12 b 345", Some("a # b #")),
            (
                &[(MaskSequences, r"(\w+)@(?P<host>\w+)", "${host}/$1/$2/$9/${none}.")],
                "me@home",
                Some("home/me/home//."),
            ),
            (&[(MaskSequences, r"key=\w+", "$$1")], "key=abc", Some("$1")),
            (&[(MaskSequences, r"(a)", "$1b")], "xax", Some("xx")),
            (&[(MaskSequences, "secret", "masked"), (ExcludeAtMatch, "secret", "")], "secret", Some("masked")),
            (&[(MaskSequences, "secret", "masked"), (ExcludeAtMatch, "masked", "")], "secret", None),
            (&[(MaskSequences, r#""card":"\d+""#, r#""card":"*""#)], r#"{"card":"12"}"#, Some(r#"{"card":"*"}"#)),
        ] {
            let (rules, bad) = rules(specs);
            assert!(bad.is_empty());
            assert_eq!(rules.apply(text).as_deref(), expected, "{specs:?}");
        }
    }

    #[test]
    fn a_bad_rule_disables_itself_alone() {
        let (rules, bad) =
            rules(&[(ExcludeAtMatch, "a(?=b)", ""), (ExcludeAtMatch, "c", ""), (IncludeAtMatch, "(", "")]);
        assert_eq!(rules.apply("ab").as_deref(), Some("ab"));
        assert_eq!(rules.apply("c"), None);
        assert_eq!(bad.len(), 2);
        assert!(
            bad[0].starts_with("log processing rule \"rule 0\" is ignored: correct its pattern (look-around"),
            "{bad:?}"
        );
        assert!(bad.iter().all(|line| !line.contains('\n')));
    }

    #[test]
    fn a_pattern_that_explodes_is_a_bad_rule() {
        let (rules, bad) = rules(&[(ExcludeAtMatch, r"((\w{500}){500}){500}", "")]);
        assert!(rules.is_empty());
        assert!(bad[0].contains("rule 0") && !bad[0].contains('\n'), "{bad:?}");
    }

    #[test]
    fn nesting_is_limited_to_what_the_stack_takes() {
        let nested = |depth: usize| format!("{}a{}", "(?:b|(".repeat(depth), "))*".repeat(depth));
        let compile = move || {
            let (_, bad) = rules(&[(ExcludeAtMatch, &nested(1000), ""), (ExcludeAtMatch, &nested(9), "")]);
            assert_eq!(bad.len(), 1);
            assert!(bad[0].contains("rule 0") && !bad[0].contains('\n'), "{bad:?}");
        };
        // Twice what the release build needs: frames are larger without optimisation.
        std::thread::Builder::new().stack_size(256 << 10).spawn(compile).unwrap().join().unwrap();
    }
}
