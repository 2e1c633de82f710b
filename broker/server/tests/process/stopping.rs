//! How a node stops: on either signal, and on two at once as on one.

use std::process::Command;

use super::{Node, last_words, start, succeeds};

/// Sends signals to a node, one right after the other.
fn signals(node: &Node, names: &[&str]) {
    let pid = node.0.id();
    let sends: Vec<String> = names.iter().map(|name| format!("kill -{name} {pid}")).collect();
    succeeds(Command::new("sh").args(["-c", &sends.join("; ")]).status());
}

#[test]
fn either_signal_and_two_at_once_close_cleanly() {
    for names in [["TERM"].as_slice(), &["INT"], &["TERM", "TERM"], &["TERM", "INT"]] {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut node, _, said) = start(dir.path());
        signals(&node, names);
        let said: Vec<String> = said.map_while(Result::ok).collect();
        succeeds(node.0.wait());
        assert!(
            said.last().is_some_and(|line| line.contains("is closed")),
            "{names:?}: {said:#?}"
        );
        assert_eq!(last_words(&mut node), "", "{names:?}");
    }
}
