//! The commands in README and `docs/` do what is said of them: each is run in order, in the home of a node, and what
//! it prints is held against what is shown.
//!
//! A block that is indented holds commands, which begin with `$ `, and below each what it prints, on both outputs;
//! `…` stands for what varies within a line. Where nothing is shown, only the exit code counts. What is neither run nor
//! named in a table below, with the reason, fails the test.

use anyhow::{Context, Result, bail, ensure};
use clients::broker::Closed;
use clients::klamm::Klamm;
use clients::{Broker, Settings, Target, paths, process};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Commands that are not run here, and why.
const NOT_RUN: &[(&str, &str)] = &[
    (
        "cargo run --release",
        "builds; the node of the test stands for it, and a test of the process starts the binary bare",
    ),
    ("tests/run", "is what runs this"),
    (
        "klamm broker --config FILE",
        "a form, not a command; every node of these tests is started so",
    ),
];

/// Blocks without commands, by how they begin, and what they are.
const NO_COMMANDS: &[(&str, &str)] = &[("Found directory …/", "what Apache Kafka says")];

/// What code in running text begins with if it is a command; it is covered where a command that is run begins with it.
const PROGRAMS: &[&str] = &[
    "klamm",
    "cargo",
    "kcat",
    "echo",
    "tests/run",
    "target/release/klamm",
];

#[derive(Debug, PartialEq, Eq)]
struct Step {
    command: String,
    shown: Vec<String>,
}

/// The commands of a page, in order; fails on a block that is neither commands nor in the table.
fn steps(page: &str) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_in_block = false;
    let mut has_commands = false;
    for line in page.lines() {
        ensure!(!line.starts_with("```"), "fenced block: indent it");
        let Some(code) = line.strip_prefix("    ") else {
            is_in_block = false;
            continue;
        };
        if let Some(command) = code.strip_prefix("$ ") {
            has_commands = true;
            steps.push(Step {
                command: command.to_owned(),
                shown: Vec::new(),
            });
        } else if !is_in_block {
            has_commands = false;
            let is_known = NO_COMMANDS.iter().any(|(begin, _)| code.starts_with(begin));
            ensure!(is_known, "a block that does not begin with `$ `: {code}");
        } else if has_commands && let Some(step) = steps.last_mut() {
            step.shown.push(code.to_owned());
        }
        is_in_block = true;
    }
    for span in page.split('`').skip(1).step_by(2) {
        let is_command = span
            .split_once(' ')
            .is_some_and(|(program, _)| PROGRAMS.contains(&program));
        let is_covered = NOT_RUN.iter().any(|(command, _)| *command == span)
            || steps.iter().any(|step| step.command.starts_with(span));
        ensure!(
            !is_command || is_covered,
            "`{span}` is not run: show it in a block"
        );
    }
    Ok(steps)
}

/// Whether a line is as shown, where `…` stands for anything.
fn fits(shown: &str, line: &str) -> bool {
    let Some((head, tail)) = shown.split_once('…') else {
        return shown == line;
    };
    let Some(rest) = line.strip_prefix(head) else {
        return false;
    };
    let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    ends.into_iter().any(|at| fits(tail, &rest[at..]))
}

/// A node in whose home commands are run.
struct Home {
    broker: Option<Broker>,
    path: PathBuf,
    port: u16,
    crashed: Option<Closed>,
}

impl Home {
    fn start() -> Result<Home> {
        let broker = Broker::start(Settings::new(Target::Klamm))?;
        let (data, port) = (broker.data(), broker.port());
        let path = data.parent().context("a home")?.to_owned();
        let home = Home {
            broker: Some(broker),
            path,
            port,
            crashed: None,
        };
        home.install()?;
        // What docs/files.md speaks of.
        let orders: String = (0..1100).map(|number| format!("order {number}\n")).collect();
        Klamm::new(&format!("127.0.0.1:{port}")).run(&["produce", "orders"], orders.as_bytes())?;
        Ok(home)
    }

    /// The binary where a build puts it, which finds this node where users find theirs.
    fn install(&self) -> Result<()> {
        let bin = self.path.join("target/release");
        std::fs::create_dir_all(&bin)?;
        let binary = std::fs::canonicalize(paths::klamm())?;
        let text = format!(
            "#!/bin/sh\ncase \"$1\" in topics|produce|consume) set -- \"$@\" --bootstrap-server 127.0.0.1:{} ;; esac\nexec {} \"$@\"\n",
            self.port,
            binary.display()
        );
        let klamm = bin.join("klamm");
        std::fs::write(&klamm, text)?;
        Ok(std::fs::set_permissions(
            &klamm,
            std::fs::Permissions::from_mode(0o755),
        )?)
    }

    fn run(&mut self, step: &Step) -> Result<()> {
        // It is for a directory that a crash left.
        if step.command.starts_with("klamm recover")
            && let Some(broker) = self.broker.take()
        {
            self.crashed = Some(broker.abandon()?);
        }
        let script = step
            .command
            .replace("127.0.0.1:9092", &format!("127.0.0.1:{}", self.port));
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("timeout");
        command
            .args([
                "60",
                "bash",
                "-o",
                "pipefail",
                "-c",
                &format!("{{ {script}\n}} 2>&1"),
            ])
            .current_dir(&self.path)
            .env(
                "PATH",
                format!("{}:{path}", self.path.join("target/release").display()),
            );
        let output = process::run(command, b"")?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "{}: {}\n{said}",
            step.command,
            output.status
        );
        let lines: Vec<&str> = said.lines().collect();
        let is_as_shown = step.shown.is_empty()
            || step.shown.len() == lines.len()
                && step
                    .shown
                    .iter()
                    .zip(&lines)
                    .all(|(shown, line)| fits(shown, line));
        match is_as_shown {
            true => Ok(()),
            false => bail!(
                "{}\nprints\n{said}\nshown is\n{}",
                step.command,
                step.shown.join("\n")
            ),
        }
    }
}

fn pages() -> Result<Vec<PathBuf>> {
    let mut pages = vec![paths::root().join("README.md")];
    for entry in std::fs::read_dir(paths::root().join("docs"))? {
        pages.push(entry?.path());
    }
    pages.sort();
    Ok(pages)
}

#[test]
fn commands_in_the_docs_do_what_is_shown() -> Result<()> {
    let mut count = 0;
    for page in pages()? {
        count += follow(&page).with_context(|| page.display().to_string())?;
    }
    ensure!(count >= 10, "only {count} commands were found");
    Ok(())
}

/// Runs the commands of a page; gives how many.
fn follow(page: &Path) -> Result<usize> {
    let steps = steps(&std::fs::read_to_string(page)?)?;
    if steps.is_empty() {
        return Ok(0);
    }
    let mut home = Home::start()?;
    let mut count = 0;
    for step in &steps {
        if !NOT_RUN.iter().any(|(command, _)| *command == step.command) {
            home.run(step)?;
            count += 1;
        }
    }
    if let Some(broker) = home.broker.take() {
        broker.stop()?;
    }
    Ok(count)
}

#[test]
fn commands_are_told_from_what_they_print() -> Result<()> {
    let step = |command: &str, shown: &[&str]| Step {
        command: command.to_owned(),
        shown: shown.iter().map(|line| (*line).to_owned()).collect(),
    };
    let page = "Text\n\n    $ one\n    1\n    2\n    $ two\n\nmore `one`\n\n    $ three\n";
    ensure!(steps(page)? == [step("one", &["1", "2"]), step("two", &[]), step("three", &[])]);
    ensure!(steps("    klamm topics list\n").is_err());
    ensure!(steps("```\nklamm\n```\n").is_err());
    ensure!(steps("say `klamm topics list`\n").is_err());
    ensure!(steps("say `klamm topics`, `klamm`, `a b`\n    $ klamm topics list\n")?.len() == 1);
    for (shown, line, expected) in [
        ("a", "a", true),
        ("a", "b", false),
        ("a … c", "a b c", true),
        ("a … c", "a b d", false),
        ("id …", "id x", true),
        ("…x…", "größe x", true),
    ] {
        ensure!(fits(shown, line) == expected, "{shown} and {line}");
    }
    Ok(())
}
