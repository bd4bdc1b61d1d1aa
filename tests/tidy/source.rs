//! Rust sources as `tidy` sees them: the text, and the code that ships without comments, literals and tests.

use std::fs;
use std::path::Path;

/// One file.
pub struct Source {
    /// Relative to the repository's root, with forward slashes.
    pub path: String,
    /// As it is.
    pub text: String,
    /// `text` with comments, literals and test code replaced by blanks; lines keep their numbers.
    shipped: String,
}

impl Source {
    fn new(path: String, text: String, is_test: bool) -> Self {
        let shipped = if is_test { String::new() } else { without_tests(&without_comments_and_literals(&text)) };
        Self { path, text, shipped }
    }

    /// The top module the file belongs to: `logs` for `src/logs/rules.rs`, `app` for `src/app.rs`.
    pub fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Lines of code that ships, with their numbers.
    pub fn shipped_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.shipped.lines().enumerate().map(|(i, line)| (i + 1, line))
    }

    /// The top modules that paths starting at the crate's root lead to, with line numbers.
    pub fn uses(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for start in ["crate::", "thimble::"] {
            for (at, _) in self.shipped.match_indices(start) {
                let number = 1 + self.shipped[..at].matches('\n').count();
                let rest = &self.shipped[at + start.len()..];
                found.extend(heads(rest).into_iter().map(|module| (number, module)));
            }
        }
        found
    }
}

/// The first names of the path or of the braced list of paths that `rest` starts with. Constants of the crate's root,
/// which are in capitals, belong to no module.
fn heads(rest: &str) -> Vec<String> {
    let first = |path: &str| words(path).next().unwrap_or_default().to_owned();
    let names = match rest.strip_prefix('{') {
        None => vec![first(rest)],
        Some(list) => {
            let mut depth = 0;
            let mut heads = vec![first(list)];
            for (i, c) in list.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => heads.push(first(&list[i + 1..])),
                    _ => {}
                }
            }
            heads
        }
    };
    names.into_iter().filter(|n| n.starts_with(|c: char| c.is_lowercase())).collect()
}

/// The identifiers in `line`.
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// Every Rust file under `folder`, sorted by path.
pub fn sources(root: &Path, folder: &str) -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root.join(folder), folder, &mut files);
    files.sort();
    let test_modules: Vec<String> = files.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    files
        .into_iter()
        .map(|(path, text)| {
            let is_test = test_modules.iter().any(|m| path == format!("{m}.rs") || path.starts_with(&format!("{m}/")));
            Source::new(path, text, is_test)
        })
        .collect()
}

fn collect(folder: &Path, name: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let entry = entry.expect("a directory entry");
        let path = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &path, files);
        } else if path.ends_with(".rs") {
            files.push((path, fs::read_to_string(entry.path()).expect("UTF-8")));
        }
    }
}

/// Paths, without `.rs`, of the modules that `path` declares for tests only.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let folder = match path.trim_end_matches(".rs") {
        "src/lib" | "src/main" => "src".to_owned(),
        module => module.trim_end_matches("/mod").to_owned(),
    };
    let code = without_comments_and_literals(text);
    let declarations = code.split("#[cfg(test)]").skip(1).filter_map(|after| {
        let item = after.trim_start();
        let visible = if item.starts_with("pub") { item.split_once(' ')?.1 } else { item };
        let declaration = visible.strip_prefix("mod ")?;
        let end = declaration.find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
        declaration[end..].starts_with(';').then(|| format!("{folder}/{}", &declaration[..end]))
    });
    declarations.collect()
}

/// Blanks what is not code. Line breaks stay.
fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = skipped(rest, code.chars().next_back());
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.extend(rest[..skipped].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[skipped..];
        }
    }
    code
}

/// How many bytes at the start of `rest` are a comment or a literal; `before` is the character ahead of it.
fn skipped(rest: &str, before: Option<char>) -> usize {
    let inside_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment(rest)
    } else if rest.starts_with('"') {
        quoted(rest, '"')
    } else if !inside_word && (rest.starts_with("r\"") || rest.starts_with("r#") || rest.starts_with("br")) {
        raw_string(rest)
    } else if rest.starts_with('\'') {
        char_literal(rest)
    } else {
        0
    }
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (i, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return i + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> usize {
    let after = rest.trim_start_matches('b').trim_start_matches('r');
    let hashes = after.len() - after.trim_start_matches('#').len();
    if !after[hashes..].starts_with('"') {
        return 0; // a raw identifier, or a word that starts with these letters
    }
    let start = rest.len() - after.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
}

/// A character, not a lifetime.
fn char_literal(rest: &str) -> usize {
    let mut inner = rest.chars().skip(1);
    match (inner.next(), inner.next()) {
        (Some('\\'), _) => quoted(rest, '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

/// Blanks each item under `#[cfg(test)]`: to the end of its braces, or to its semicolon.
fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let mut depth = 0;
        let mut end = item.len();
        for (i, c) in item.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && (c == '}' || c == ';') {
                end = i + 1;
                break;
            }
        }
        out.extend(item[..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &item[end..];
    }
    out.push_str(rest);
    out
}

#[test]
fn only_code_that_ships_is_left() {
    let check = |text: &str, expected: &str| {
        let shipped = Source::new("src/a.rs".to_owned(), text.to_owned(), false).shipped;
        assert_eq!(shipped.split_whitespace().collect::<Vec<_>>().join(" "), expected, "{text}");
    };
    check("a // b\nc", "a c");
    check("a /* b /* c */ d */ e", "a e");
    check(r#"f("unsafe \" x", 1)"#, "f( , 1)");
    check("f(r#\"a \" b\"#, br\"c\")", "f( , )");
    check("fn f<'a>(c: &'a u8) { '{' }", "fn f<'a>(c: &'a u8) { }");
    check(r"let quote = '\''; x", "let quote = ; x");
    check("let r = br; for_r(r)", "let r = br; for_r(r)");
    check("a\n#[cfg(test)]\nmod tests { fn f() { g() } }\nb", "a b");
    check("a\n#[cfg(test)]\nmod tests;\nb", "a b");
}

#[test]
fn paths_lead_to_top_modules() {
    let check = |text: &str, expected: &[&str]| {
        let uses = Source::new("src/a.rs".to_owned(), text.to_owned(), false).uses();
        assert_eq!(uses.iter().map(|(_, m)| m.as_str()).collect::<Vec<_>>(), expected, "{text}");
    };
    check("use crate::config::Config;", &["config"]);
    check("use crate::{config::{A, B}, net::Head,\n diag};", &["config", "net", "diag"]);
    check("let v = crate::VERSION;", &[]);
    check("thimble::app::run()", &["app"]);
    check("/// [`crate::net`]\nfn f() {}", &[]);
}

#[test]
fn test_modules_in_files_of_their_own_are_found() {
    let check = |path: &str, text: &str, expected: &[&str]| assert_eq!(test_modules(path, text), expected, "{path}");
    check("src/logs/rules.rs", "#[cfg(test)]\nmod tests;", &["src/logs/rules/tests"]);
    check("src/logs/mod.rs", "#[cfg(test)]\nmod tests;", &["src/logs/tests"]);
    check("src/logs/mod.rs", "#[cfg(test)]\nmod tests { }", &[]);
    check("src/lib.rs", "#[cfg(test)]\npub(super) mod support;", &["src/support"]);
}
