//! Turns the descriptions in `schema/` into Rust: `messages.rs` and `api_key.rs` in `OUT_DIR`, which the files
//! of those names in `src/` take in.
//!
//! What a newcomer would get wrong: nothing here runs in the broker, and an error in a description is an
//! error of the build that names file and line.

#![allow(
    clippy::disallowed_methods,
    reason = "a build script reads and writes files on an ordinary thread"
)]

mod enums;
mod rust;
mod schema;

use std::path::{Path, PathBuf};
use std::process::exit;
use std::{env, fs, io};

fn main() {
    println!("cargo::rerun-if-changed=schema");
    println!("cargo::rerun-if-changed=build");
    if let Err(error) = generate() {
        println!("cargo::error={error}");
        exit(1);
    }
}

fn generate() -> Result<(), String> {
    let mut files = Vec::new();
    list(Path::new("schema"), &mut files).map_err(|error| format!("schema: {error}"))?;
    files.sort();
    let mut messages = Vec::new();
    for path in files {
        let file = path.display().to_string();
        let text = fs::read_to_string(&path).map_err(|error| format!("{file}: {error}"))?;
        messages.extend(schema::parse(&file, &text).map_err(|error| error.to_string())?);
    }
    messages.sort_by(|one, other| (one.key, &one.name).cmp(&(other.key, &other.name)));
    let code = rust::generate(&messages).map_err(|error| error.to_string())?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    for (name, text) in [
        ("messages.rs", code.messages),
        ("api_key.rs", code.api_key),
        ("table.rs", code.table),
    ] {
        fs::write(out.join(name), text).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            files.push(path);
        }
    }
    Ok(())
}
