//! Which crate may know which: an arrow goes down, never up or sideways.
//!
//! The table is the one of `ARCHITECTURE.md`. Only `[dependencies]` and `[build-dependencies]` count: a test may look
//! wherever it likes, what ships may not.

use crate::tree::Tree;

/// One crate of ours and the crates of ours that it may depend on.
struct Allowed {
    name: &'static str,
    may_know: &'static [&'static str],
}

const HOUSE: &[&str] = &[
    "protocol",
    "shards",
    "storage",
    "quorum",
    "metadata",
    "replica",
    "groups",
    "transactions",
    "security",
    "broker",
    "cli",
    "tuning",
    "load",
    "device",
    "micro",
    "simulator",
    "clients",
    "chaos",
    "fuzz",
    "tidy",
    "checkers",
];

const TABLE: &[Allowed] = &[
    Allowed {
        name: "protocol",
        may_know: &[],
    },
    Allowed {
        name: "shards",
        may_know: &[],
    },
    Allowed {
        name: "storage",
        may_know: &["protocol", "shards"],
    },
    Allowed {
        name: "quorum",
        may_know: &["protocol"],
    },
    Allowed {
        name: "metadata",
        may_know: &["protocol"],
    },
    Allowed {
        name: "replica",
        may_know: &["protocol"],
    },
    Allowed {
        name: "broker",
        may_know: &[
            "protocol", "shards", "storage", "quorum", "metadata", "replica", "cli",
        ],
    },
    Allowed {
        name: "cli",
        may_know: &["protocol", "storage", "metadata", "shards"],
    },
    Allowed {
        name: "load",
        may_know: &["protocol"],
    },
    Allowed {
        name: "simulator",
        may_know: &[
            "protocol", "shards", "storage", "quorum", "metadata", "replica", "broker", "checkers",
        ],
    },
    Allowed {
        name: "clients",
        may_know: &["protocol", "checkers"],
    },
    Allowed {
        name: "checkers",
        may_know: &[],
    },
    Allowed {
        name: "fuzz",
        may_know: &["protocol", "storage", "metadata", "broker", "shards"],
    },
    Allowed {
        name: "tidy",
        may_know: &[],
    },
];

/// Every dependency between our crates that the table does not allow, and every crate that it does not name.
pub fn forbidden(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for manifest in &tree.manifests {
        let Ok(table) = manifest.text.parse::<toml::Table>() else {
            findings.push(format!("{}: not a manifest", manifest.path));
            continue;
        };
        let Some(name) = table
            .get("package")
            .and_then(|p| p.get("name"))
            .and_then(|n| n.as_str())
        else {
            continue;
        };
        let Some(allowed) = TABLE.iter().find(|allowed| allowed.name == name) else {
            findings.push(format!(
                "{}: the crate {name} is not in the table of arrows",
                manifest.path
            ));
            continue;
        };
        for section in ["dependencies", "build-dependencies"] {
            let Some(dependencies) = table.get(section).and_then(|d| d.as_table()) else {
                continue;
            };
            for dependency in dependencies.keys().filter(|d| HOUSE.contains(&d.as_str())) {
                if !allowed.may_know.contains(&dependency.as_str()) {
                    findings.push(format!("{}: {name} may not know {dependency}", manifest.path));
                }
            }
        }
    }
    findings
}

/// Every dependency whose version a member names itself instead of taking the workspace's.
pub fn own_versions(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for manifest in tree
        .manifests
        .iter()
        .filter(|manifest| manifest.path != "Cargo.toml")
    {
        let Ok(table) = manifest.text.parse::<toml::Table>() else {
            continue;
        };
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = table.get(section).and_then(|d| d.as_table()) else {
                continue;
            };
            for (name, value) in dependencies {
                if value.is_str() || value.get("version").is_some() {
                    findings.push(format!("{}: {name} names its own version", manifest.path));
                }
            }
        }
    }
    findings
}

/// Every dependency that no source of its crate names: it costs build time and trust, and gives nothing.
pub fn unused(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for manifest in tree
        .manifests
        .iter()
        .filter(|manifest| manifest.path != "Cargo.toml")
    {
        let Ok(table) = manifest.text.parse::<toml::Table>() else {
            continue;
        };
        let folder = manifest.path.trim_end_matches("Cargo.toml");
        let named = |name: &str| {
            let sources = tree
                .sources
                .iter()
                .filter(|source| source.path.starts_with(folder));
            sources.into_iter().any(|source| source.text.contains(name))
        };
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = table.get(section).and_then(|d| d.as_table()) else {
                continue;
            };
            for name in dependencies.keys().filter(|name| !named(&name.replace('-', "_"))) {
                findings.push(format!("{}: {name} is not used", manifest.path));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Source;

    fn tree(path: &str, text: &str) -> Tree {
        Tree {
            manifests: vec![Source {
                path: path.into(),
                text: text.into(),
            }],
            sources: Vec::new(),
        }
    }

    fn manifest(name: &str, dependencies: &str) -> String {
        format!("[package]\nname = \"{name}\"\n[dependencies]\n{dependencies}\n")
    }

    #[test]
    fn arrows_go_down_only() {
        let check = |name: &str, dependency: &str, expected: usize| {
            let text = manifest(name, &format!("{dependency}.workspace = true"));
            assert_eq!(
                forbidden(&tree("x/Cargo.toml", &text)).len(),
                expected,
                "{name} -> {dependency}"
            );
        };
        check("storage", "shards", 0);
        check("storage", "bytes", 0);
        check("shards", "storage", 1);
        check("metadata", "shards", 1);
        check("protocol", "storage", 1);
        check("attic", "bytes", 1);
    }

    #[test]
    fn what_nobody_names_is_found() {
        let check = |source: &str, expected: usize| {
            let mut tree = tree(
                "storage/Cargo.toml",
                &manifest("storage", "crossbeam-queue.workspace = true"),
            );
            tree.sources = vec![Source {
                path: "storage/src/lib.rs".into(),
                text: source.into(),
            }];
            assert_eq!(unused(&tree).len(), expected, "{source}");
        };
        check("use crossbeam_queue::ArrayQueue;", 0);
        check("use bytes::Bytes;", 1);
    }

    #[test]
    fn versions_stand_in_the_workspace() {
        let check = |dependency: &str, expected: usize| {
            let text = manifest("storage", dependency);
            assert_eq!(
                own_versions(&tree("storage/Cargo.toml", &text)).len(),
                expected,
                "{dependency}"
            );
        };
        check("bytes.workspace = true", 0);
        check("bytes = \"1\"", 1);
        check("bytes = { version = \"1\" }", 1);
        check("shards = { workspace = true, features = [\"simulation\"] }", 0);
    }
}
