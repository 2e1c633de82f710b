//! Words that may stand in some places only, and the sentence that every file opens with.

use crate::tree::{Source, Tree};

/// A word, where it may stand, and why nowhere else.
struct Rule {
    word: &'static str,
    /// A path may hold the word when it begins with one of these.
    homes: &'static [&'static str],
    why: &'static str,
}

// The words are written in two halves, so that this file does not break its own rules.
const RULES: &[Rule] = &[
    Rule {
        word: concat!("gl", "ommio::"),
        homes: &["shards/src/engine/uring/"],
        why: "only the engine names it",
    },
    Rule {
        word: concat!("io_", "uring::"),
        homes: &["shards/src/", "bench/"],
        why: "only shards touches the ring",
    },
    Rule {
        word: concat!("uns", "afe {"),
        homes: &["shards/"],
        why: "it needs a proof, and shards is where proofs live",
    },
    Rule {
        word: concat!("uns", "afe impl"),
        homes: &["shards/"],
        why: "it needs a proof, and shards is where proofs live",
    },
    Rule {
        word: concat!("thread", "_local!"),
        homes: &["shards/src/", "tests/fuzz/"],
        why: "state lives in the shard; only the panic hook of the fuzz runner has no shard to keep it in",
    },
    Rule {
        word: concat!("to", "do!("),
        homes: &[],
        why: "nothing is half done on main",
    },
    Rule {
        word: concat!("unim", "plemented!("),
        homes: &[],
        why: "nothing is half done on main",
    },
    Rule {
        word: concat!("FIX", "ME"),
        homes: &[],
        why: "nothing is half done on main",
    },
];

/// Every line with a word that may not stand there.
pub fn misplaced(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for source in &tree.sources {
        for rule in RULES {
            if rule.homes.iter().any(|home| source.path.starts_with(home)) {
                continue;
            }
            for (number, line) in source.text.lines().enumerate() {
                if line.contains(rule.word) && !line.trim_start().starts_with("//") {
                    findings.push(format!(
                        "{}:{}: `{}`: {}",
                        source.path,
                        number + 1,
                        rule.word,
                        rule.why
                    ));
                }
            }
        }
    }
    findings
}

/// Every file that does not open with a `//!` sentence that says what it is.
pub fn without_opening(tree: &Tree) -> Vec<String> {
    tree.sources
        .iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| format!("{}: does not open with //! and what it is", source.path))
        .collect()
}

/// Every source longer than `lines_max` lines: most likely two nouns in one file.
pub fn too_long(tree: &Tree, lines_max: usize) -> Vec<String> {
    let length = |source: &Source| source.text.lines().count();
    tree.sources
        .iter()
        .filter(|source| length(source) > lines_max)
        .map(|source| format!("{}: {} lines, at most {lines_max}", source.path, length(source)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(path: &str, text: &str) -> Tree {
        Tree {
            manifests: Vec::new(),
            sources: vec![Source {
                path: path.into(),
                text: text.into(),
            }],
        }
    }

    #[test]
    fn words_stand_where_they_may() {
        let check = |path: &str, line: &str, expected: usize| {
            assert_eq!(misplaced(&tree(path, line)).len(), expected, "{path}: {line}");
        };
        check(
            "shards/src/engine/uring/driver.rs",
            concat!("use gl", "ommio::Latency;"),
            0,
        );
        check("storage/src/log.rs", concat!("use gl", "ommio::Latency;"), 1);
        check("storage/src/log.rs", concat!("uns", "afe { read(p) }"), 1);
        check("storage/src/log.rs", concat!("// uns", "afe { read(p) }"), 0);
        check("shards/src/buffers.rs", concat!("uns", "afe { read(p) }"), 0);
        check("shards/src/buffers.rs", concat!("to", "do!()"), 1);
    }

    #[test]
    fn files_open_with_what_they_are() {
        assert_eq!(without_opening(&tree("a.rs", "//! A file.\n")).len(), 0);
        assert_eq!(without_opening(&tree("a.rs", "use std::fs;\n")).len(), 1);
        assert_eq!(too_long(&tree("a.rs", "//!\n//!\n//!\n"), 2).len(), 1);
        assert_eq!(too_long(&tree("a.rs", "//!\n//!\n"), 2).len(), 0);
    }
}
