//! Lists the messages that `protocol/schema` describes, so that a new one is fuzzed without being named here.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test: it reads examples and measures time, on ordinary threads"
)]

#[path = "../../protocol/build/schema.rs"]
#[allow(dead_code)] // the build of `protocol` uses all of it, this one only the names
mod schema;

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=../../protocol/schema");
    let mut names = Vec::new();
    list(Path::new("../../protocol/schema"), &mut names);
    names.sort();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let table = format!("messages! {{ {} }}\n", names.join(", "));
    fs::write(out.join("table.rs"), table).expect("OUT_DIR can be written");
}

fn list(folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the descriptions are there") {
        let path = entry.expect("and legible").path();
        if path.is_dir() {
            list(&path, names);
            continue;
        }
        let text = fs::read_to_string(&path).expect("and text");
        match schema::parse(&path.display().to_string(), &text) {
            Ok(messages) => names.extend(messages.into_iter().map(|message| message.name)),
            Err(error) => panic!("{error}"),
        }
    }
}
