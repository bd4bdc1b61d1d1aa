//! Processing rules: what users exclude, include and mask (spec: logs 6.5).
//!
//! Pure. Applied in order to the final text of every log, Lambda's own lines included. Compiled once, by the logs
//! agent's thread; a pattern that does not compile disables its rule alone.

use std::borrow::Cow;

use crate::codec::pattern::{BadPattern, Pattern, Replaced};
use crate::config::{RuleKind, RuleSpec};

/// Longest text that masking makes of a shorter one, in bytes: what the intake takes of one log, and so no log is cut by
/// this that would not be cut after it.
const MAX_MASKED: usize = 1 << 20;

/// The rules in force.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    kind: RuleKind,
    pattern: Pattern,
    placeholder: String,
}

impl Rules {
    /// Compiles `specs`; what does not compile is returned beside the rules that do.
    #[must_use]
    pub fn compile(specs: &[RuleSpec]) -> (Self, Vec<BadPattern>) {
        let (mut rules, mut bad) = (Vec::new(), Vec::new());
        for RuleSpec { kind, name, pattern, placeholder } in specs {
            match Pattern::new(pattern, format!("log processing rule {name:?}")) {
                Ok(pattern) => rules.push(Rule { kind: *kind, pattern, placeholder: placeholder.clone() }),
                Err(problem) => bad.push(problem),
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
                RuleKind::ExcludeAtMatch if rule.pattern.is_match(text.as_bytes()) => return None,
                RuleKind::IncludeAtMatch if !rule.pattern.is_match(text.as_bytes()) => return None,
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
        let (mut masked, limit) = (Vec::new(), text.len().max(MAX_MASKED));
        match self.pattern.replace_all(text.as_bytes(), &self.placeholder, limit, &mut masked) {
            Replaced::Nothing => None,
            // Text with text in place of its matches is text; were it not, what was masked must not come back.
            Replaced::All | Replaced::Cut => {
                Some(String::from_utf8(masked).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
            }
        }
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
}
