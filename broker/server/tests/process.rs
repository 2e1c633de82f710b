//! The real binary as a process of its own: what an operator sees who starts it twice.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test of processes starts some; no shard runs here"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A node that is killed with the test.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn klamm(dir: &Path, port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_klamm"));
    command
        .args(["broker", "--override", "klamm.shards=1"])
        .args(["--override", "klamm.memory.bytes=134217728"])
        .args(["--override", "klamm.journal.bytes=33554432"])
        .arg("--override")
        .arg(format!("log.dirs={}", dir.display()))
        .arg("--override")
        .arg(format!("listeners=PLAINTEXT://127.0.0.1:{port}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Starts a node on any port and waits until it serves clients: it and its port.
fn start(dir: &Path) -> (Node, u16) {
    let mut node = Node(klamm(dir, 0).spawn().expect("the binary starts"));
    let lines = BufReader::new(node.0.stdout.take().expect("it is piped")).lines();
    let mut port = None;
    for line in lines.map_while(Result::ok) {
        if line.contains("listening on") {
            port = line.rsplit(':').next().and_then(|port| port.trim().parse().ok());
        }
        if line.contains("started in") {
            break;
        }
    }
    (node, port.expect("it listens"))
}

#[test]
fn a_second_process_is_refused_with_the_pid_of_the_first() {
    let dir = tempfile::tempdir().expect("a directory");
    let (first, port) = start(dir.path());
    let second = klamm(dir.path(), port).output().expect("it ends");
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&first.0.id().to_string()), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
