//! URLs.

use libdd_trace_obfuscation::http::obfuscate_url_string;
use proptest::prelude::*;
use thimble::config::apm::HttpObfuscation;
use thimble::traces::obfuscate::http;

use crate::differ::{Class, Dice, compare, output};

const SCHEMES: [&str; 7] = ["http:", "HTTPS:", "", "", "a+b:", "1x:", ":"];
const AUTHORITIES: [&str; 18] = [
    "//foo.com",
    "//foo.com:80",
    "//u:p@foo.com",
    "//u@foo.com:8080",
    "//[::1]:80",
    "//[::1",
    "//[fe80::1%25en0]",
    "//foo.com:port",
    "//é.com",
    "//a b",
    "//a%41",
    "//a%C3%A9",
    "//",
    "",
    "",
    "//u:p@x@foo.com",
    "//1.2.3.4",
    "//a\"b<c>",
];
const PATHS: [&str; 22] = [
    "",
    "/",
    "/a/b",
    "/1/2",
    "/a1/b",
    "/a%20b",
    "/%41%2d%7E",
    "/%2F1",
    "/a b",
    "/a(b)!",
    "/é",
    "/é(1)",
    "/a[1]",
    "/a[b]",
    "/%",
    "/%zz",
    "/a;b=c,d",
    "/\u{1}",
    "a/b",
    "a:b",
    "/a:1",
    "/*'",
];
const QUERIES: [&str; 7] = ["", "?", "?a=1&b=2", "?é", "?%", "?a?b", "?u@h"];
const FRAGMENTS: [&str; 10] = ["", "#", "#a1", "#é", "#a b", "#a'b", "#a#b", "#%", "#[a]", "#\u{1}'"];

fn corpus() -> Vec<String> {
    let mut dice = Dice(3);
    let mut corpus: Vec<String> = [
        ".",
        "0",
        "*",
        "#",
        "?",
        "%",
        "this is no url",
        "mailto:a@b.com?subject=1",
        "http:a%",
        "///a",
        "////a@b",
        "http:/1",
        "http:////a",
        "\u{7f}",
        "C:\\dir\\1",
        "ჸ?ჸ#ჸ",
    ]
    .map(str::to_owned)
    .into();
    for scheme in SCHEMES {
        for authority in AUTHORITIES {
            corpus.push(format!("{scheme}{authority}"));
        }
    }
    for path in PATHS {
        for authority in ["http://foo.com", "", "http://u:p@é.com", "http:"] {
            corpus.push(format!("{authority}{path}"));
        }
    }
    for _ in 0..500 {
        let parts = [
            dice.pick(&SCHEMES),
            dice.pick(&AUTHORITIES),
            dice.pick(&PATHS),
            dice.pick(&QUERIES),
            dice.pick(&FRAGMENTS),
        ];
        corpus.push(parts.concat());
    }
    corpus
}

const CLASSES: [Class; 8] = [
    Class {
        why: "a path of which segments are hidden is escaped anew, whatever it has: as in Go",
        explains: |text, ours, theirs| {
            text[1..].starts_with('d')
                && text.contains(['!', '(', '*', '['])
                && ours.contains('?')
                && unescaped(ours) == unescaped(theirs)
        },
    },
    Class {
        why: "blanks, and ASCII as %XX, make no host: as in Go",
        explains: |_, ours, _| ours == "?" || ours.contains("//a b") || ours.contains("//a%41"),
    },
    Class {
        why: "quotes and angle brackets stay in a host: as in Go",
        explains: |text, ours, theirs| text.contains("//a\"b<c>") && unescaped(ours) == unescaped(theirs),
    },
    Class {
        why: "an address of IPv6 may have a zone: as in Go",
        explains: |text, ours, _| text.contains("%25en0") && ours.contains("//[fe80::1%25en0]"),
    },
    Class {
        why: "a user that must not be sent need not be well formed",
        explains: |text, ours, _| text.contains("u:p@x@") && !ours.contains("p@"),
    },
    Class {
        why: "a path after a scheme is a path though there is no authority: as in Go",
        explains: |text, _, _| text.contains(":/") && !text.contains("://"),
    },
    Class {
        why: "a fragment that must be escaped is escaped with its quotes: as in Go",
        explains: |text, ours, theirs| {
            text.contains('\'') && ours.contains("%27") && ours.replace("%27", "'") == theirs
        },
    },
    Class {
        why: "what follows a scheme and is no path is not looked into: as in Go",
        explains: |text, ours, _| text.ends_with("http:a%") && ours == "http:a%",
    },
];

/// What may be written in two ways, in one.
fn unescaped(text: &str) -> String {
    [
        ("%21", "!"),
        ("%28", "("),
        ("%29", ")"),
        ("%5B", "["),
        ("%5D", "]"),
        ("%2A", "*"),
        ("%22", "\""),
        ("%3C", "<"),
        ("%3E", ">"),
        ("%27", "'"),
    ]
    .into_iter()
    .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Each URL with each combination of the options, which its first two bytes say.
#[test]
fn urls() {
    let urls = corpus();
    let options = ["--", "q-", "-d", "qd"];
    let corpus: Vec<_> =
        options.iter().flat_map(|options| urls.iter().map(move |url| format!("{options}{url}"))).collect();
    let options = |text: &str| (text.starts_with('q'), text[1..].starts_with('d'));
    let ours = |text: &str| {
        let (remove_query_string, remove_paths_with_digits) = options(text);
        let settings = HttpObfuscation { remove_query_string, remove_paths_with_digits };
        output(|out| http::url(&text.as_bytes()[2..], settings, out))
    };
    let theirs = |text: &str| obfuscate_url_string(&text[2..], options(text).0, options(text).1);
    compare(&corpus, 2_400, &ours, &theirs, &CLASSES);
}

proptest! {
    #[test]
    fn anything_goes(text in "\\PC{0,40}|[a-z]{0,5}:?/?/?[a-z0-9:@%/?#\\[\\] é]{0,40}", query: bool, digits: bool) {
        let settings = HttpObfuscation { remove_query_string: query, remove_paths_with_digits: digits };
        let out = output(|out| http::url(text.as_bytes(), settings, out));
        prop_assert!(out.len() <= 3 * text.len() + 1);
        prop_assert!(!http::is_plain(text.as_bytes(), settings) || out == text);
        // What was made is as it should be. Hidden digits are another URL: `?` starts a query. What cannot be read loses
        // what may be its user and nothing else, after which it may be readable: then it is as it should be one turn later.
        let again = |text: &str| output(|out| http::url(text.as_bytes(), settings, out));
        if !digits {
            let settled = if text.contains('@') { again(&out) } else { out };
            prop_assert_eq!(again(&settled), settled);
        }
    }
}
