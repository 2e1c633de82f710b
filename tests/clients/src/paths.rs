//! Where the installed clients, the binary under test and scratch space are.

use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Cargo's target directory.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map(PathBuf::from)
        .unwrap_or_else(|| root().join("target"))
}

/// Something that `tests/run install` puts below `target/clients`.
pub fn installed(name: &str) -> Result<PathBuf> {
    let path = target().join("clients").join(name);
    ensure!(
        path.exists(),
        "{} is missing: run `tests/run install`",
        path.display()
    );
    Ok(path)
}

/// The binary under test: `KLAMM_BIN`, else the release build.
pub fn klamm() -> PathBuf {
    std::env::var_os("KLAMM_BIN")
        .map(PathBuf::from)
        .unwrap_or_else(|| target().join("release/klamm"))
}

/// A new directory on the disk that holds the build; `/tmp` may be memory, which knows no `O_DIRECT`. It is
/// removed when dropped, unless `CLIENTS_KEEP` is set.
pub fn scratch(purpose: &str) -> Result<tempfile::TempDir> {
    let parent = target().join("tmp");
    std::fs::create_dir_all(&parent)?;
    let mut builder = tempfile::Builder::new();
    builder.disable_cleanup(std::env::var_os("CLIENTS_KEEP").is_some());
    Ok(builder.prefix(&format!("{purpose}-")).tempdir_in(parent)?)
}

/// Apache Kafka's broker and clients as a class path, with the logging set-up in front.
pub fn kafka_class_path() -> Result<String> {
    class_path("java/kafka")
}

/// Apache Kafka's command line tools as a class path.
pub fn tools_class_path() -> Result<String> {
    class_path("java/tools")
}

fn class_path(jars: &str) -> Result<String> {
    let logging = root().join("tests/clients/java/logging");
    Ok(format!("{}:{}/*", logging.display(), installed(jars)?.display()))
}

/// The compiled Java driver as a class path; compiled when a source is newer than what is there.
pub fn driver_class_path() -> Result<String> {
    static COMPILED: OnceLock<std::result::Result<String, String>> = OnceLock::new();
    let compiled = COMPILED.get_or_init(|| compile_driver().map_err(|error| format!("{error:#}")));
    compiled.clone().map_err(anyhow::Error::msg)
}

fn compile_driver() -> Result<String> {
    let source = root().join("tests/clients/java/Driver.java");
    let classes = target().join("clients/java/classes");
    let class_path = kafka_class_path()?;
    let modified = |path: &PathBuf| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    if modified(&source) > modified(&classes.join("Driver.class")) {
        std::fs::create_dir_all(&classes)?;
        let status = Command::new("javac")
            .args([
                "-Xlint:all,-processing,-options",
                "-Werror",
                "-cp",
                &class_path,
                "-d",
            ])
            .args([&classes, &source])
            .status()
            .context("javac")?;
        ensure!(status.success(), "javac failed on {}", source.display());
    }
    Ok(format!("{}:{class_path}", classes.display()))
}
