//! The checkout as the rules see it: every manifest and every Rust source below the root, read once.
//!
//! Built directories and hidden ones are passed over, so that a rule never judges what a tool made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One text file of the tree.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path relative to the root, with `/` between its parts.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// All manifests and Rust sources of a checkout, in the order of their paths.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Every `Cargo.toml`.
    pub manifests: Vec<Source>,
    /// Every `.rs` file.
    pub sources: Vec<Source>,
}

impl Tree {
    /// Reads the tree below `root`.
    ///
    /// # Errors
    /// Whatever reading a directory or a file gives; a file that is not UTF-8 is an error too.
    pub fn read(root: &Path) -> io::Result<Tree> {
        let mut tree = Tree::default();
        let mut pending = vec![root.to_path_buf()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                let name = path
                    .file_name()
                    .and_then(|name| name.to_str())
                    .unwrap_or_default()
                    .to_owned();
                if path.is_dir() {
                    if name != "target" && !name.starts_with('.') {
                        pending.push(path);
                    }
                } else if name == "Cargo.toml" {
                    tree.manifests.push(source(root, path)?);
                } else if name.ends_with(".rs") {
                    tree.sources.push(source(root, path)?);
                }
            }
        }
        tree.manifests.sort_by(|a, b| a.path.cmp(&b.path));
        tree.sources.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }
}

fn source(root: &Path, path: PathBuf) -> io::Result<Source> {
    let relative = path.strip_prefix(root).unwrap_or(&path);
    Ok(Source {
        path: relative.to_string_lossy().replace('\\', "/"),
        text: fs::read_to_string(&path)?,
    })
}
