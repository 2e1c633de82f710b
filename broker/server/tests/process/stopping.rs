//! How a node stops: on either signal, and on two at once as on one.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Node, klamm, last_words, start, succeeds};

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

/// Waits until a process holds SIGTERM back, which it does with its first instructions.
fn wait_until_held(node: &Node) {
    const TERM: u64 = 1 << (15 - 1);
    let status = format!("/proc/{}/status", node.0.id());
    let begun = Instant::now();
    loop {
        let status = std::fs::read_to_string(&status).expect("it runs");
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        let blocked = blocked.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        if blocked.is_some_and(|mask| mask & TERM != 0) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{status}");
        std::thread::yield_now();
    }
}

#[test]
fn a_signal_at_any_moment_of_the_start_ends_it_cleanly() {
    let dir = tempfile::tempdir().expect("a directory");
    for after_ms in 0..50 {
        let mut node = Node(klamm(dir.path(), 0).spawn().expect("it starts"));
        wait_until_held(&node);
        sleep(Duration::from_millis(after_ms)); // what is tested is that it comes then, over all that a start takes
        node.signal("TERM");
        let status = node.0.wait().expect("it ends");
        assert!(
            status.success(),
            "after {after_ms} ms: {status}, {}",
            last_words(&mut node)
        );
    }
    // Whatever they left, the next one goes on from there.
    let (mut node, _, said) = start(dir.path());
    signals(&node, &["TERM"]);
    said.for_each(drop);
    succeeds(node.0.wait());
}
