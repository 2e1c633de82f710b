//! The real binary as a process of its own: what an operator sees who starts it twice, or lets it stand still.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test of processes starts some; no shard runs here"
)]

#[path = "process/commands.rs"]
mod commands;
#[path = "process/starting.rs"]
mod starting;
#[path = "process/stopping.rs"]
mod stopping;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use protocol::api::ApiKey;
use protocol::frame::{self, RequestHeader};
use protocol::messages::DescribeConfigsRequest;
use protocol::messages::describe_configs_request::DescribeConfigsResource;

/// A process that is killed with the test.
struct Node(Child);

impl Node {
    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// The lines of its standard output, from now on.
    fn lines(&mut self) -> Lines {
        BufReader::new(self.0.stdout.take().expect("it is piped and was not taken")).lines()
    }
}

/// All that a process says on stderr, until it has ended.
fn last_words(node: &mut Node) -> String {
    let stderr = node.0.stderr.take().expect("it is piped");
    std::io::read_to_string(stderr).expect("text")
}

type Lines = std::io::Lines<BufReader<ChildStdout>>;

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

/// Starts a node on any port and waits until it serves clients: it, its port, and what it says from then on.
fn start(dir: &Path) -> (Node, u16, Lines) {
    let mut node = Node(klamm(dir, 0).spawn().expect("the binary starts"));
    let mut lines = node.lines();
    let mut port = None;
    for line in lines.by_ref().map_while(Result::ok) {
        if line.contains("listening on") {
            port = line.rsplit(':').next().and_then(|port| port.trim().parse().ok());
        }
        if line.contains("started in") {
            break;
        }
    }
    (node, port.expect("it listens"), lines)
}

/// A command of the same binary to the node at that port.
fn client(port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_klamm"));
    command
        .args(arguments)
        .arg("--bootstrap-server")
        .arg(format!("127.0.0.1:{port}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

fn succeeds(status: std::io::Result<ExitStatus>) {
    let status = status.expect("it ends");
    assert!(status.success(), "{status}");
}

#[test]
fn a_second_process_is_refused_with_the_pid_of_the_first() {
    let dir = tempfile::tempdir().expect("a directory");
    let (first, port, _) = start(dir.path());
    let second = klamm(dir.path(), port).output().expect("it ends");
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&first.0.id().to_string()), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_process_that_stands_still_for_seconds_goes_on_as_if_nothing_had_been() {
    const RECORDS: usize = 200_000;
    const STILL: Duration = Duration::from_secs(3);
    let value = |number: usize| format!("record {number:06} {:80}|", "");
    let dir = tempfile::tempdir().expect("a directory");
    let (mut node, port, said) = start(dir.path());
    succeeds(client(port, &["topics", "create", "still", "--partitions", "1"]).status());
    let mut reader = Node(
        client(port, &["consume", "still", "--from-beginning"])
            .spawn()
            .expect("it starts"),
    );
    let mut writer = Node(client(port, &["produce", "still"]).spawn().expect("it starts"));
    let written = Arc::new(AtomicUsize::new(0));
    let writing = std::thread::spawn({
        let (written, mut input) = (written.clone(), writer.0.stdin.take().expect("it is piped"));
        move || {
            for number in 0..RECORDS {
                writeln!(input, "{}", value(number)).expect("the producer reads on");
                written.fetch_add(1, Ordering::Relaxed);
            }
        }
    });

    let mut read = reader.lines().map_while(Result::ok);
    for number in 0..RECORDS / 20 {
        assert_eq!(read.next(), Some(value(number)));
    }
    node.signal("STOP");
    sleep(STILL); // what is tested is that this time passes, for clients and kernel, and not for the node
    assert!(
        written.load(Ordering::Relaxed) < RECORDS,
        "nothing was under way when it stood still"
    );
    node.signal("CONT");
    for number in RECORDS / 20..RECORDS {
        assert_eq!(read.next(), Some(value(number)));
    }
    writing.join().expect("all is written");
    succeeds(writer.0.wait());

    let whole = client(port, &["consume", "still", "--from-beginning", "--exit"]).output();
    let whole = whole.expect("it ends").stdout;
    let whole = String::from_utf8(whole).expect("text");
    assert!(
        whole.lines().map(str::to_owned).eq((0..RECORDS).map(value)),
        "{} lines",
        whole.lines().count()
    );
    drop(reader); // it would go on waiting for more
    node.signal("TERM");
    let said: Vec<String> = said.map_while(Result::ok).collect();
    succeeds(node.0.wait());
    let complaints = said
        .iter()
        .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "));
    assert_eq!(complaints.collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn a_second_signal_stops_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut node, port, said) = start(dir.path());
    // A client that asks for more than fits into its socket and reads none of it: the first signal waits for it.
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("it connects");
    let mut request = Vec::new();
    frame::begin(&mut request);
    let header = RequestHeader {
        api_key: ApiKey::DescribeConfigs as i16,
        api_version: 4,
        correlation_id: 1,
        client_id: None,
    };
    header.encode(&mut request);
    let resource = DescribeConfigsResource {
        resource_type: 4,
        resource_name: "1",
        configuration_keys: None,
    };
    let body = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
    };
    body.encode(&mut request, 4);
    frame::end(&mut request, 0).expect("a small request");
    client
        .set_write_timeout(Some(Duration::from_secs(1)))
        .expect("a timeout");
    // Until the node takes no more, since nobody takes its answers.
    while client.write_all(&request).is_ok() {}
    node.signal("TERM");
    let mut said = said.map_while(Result::ok);
    assert!(said.any(|line| line.contains("once more stops at once")));
    assert!(
        node.0.try_wait().expect("it is ours").is_none(),
        "it waits for its client"
    );
    sleep(Duration::from_millis(150)); // what is tested is that the two are so far apart
    node.signal("TERM");
    let stopped = Instant::now();
    let status = node.0.wait().expect("it ends");
    assert!(
        stopped.elapsed() < Duration::from_secs(5),
        "{:?}",
        stopped.elapsed()
    );
    assert_eq!(status.code(), Some(1));
    let mut complaint = String::new();
    let stderr = node.0.stderr.take().expect("it is piped");
    BufReader::new(stderr)
        .read_to_string(&mut complaint)
        .expect("text");
    assert_eq!(
        complaint,
        "klamm: stopped at once, without closing; the next start recovers\n"
    );
    drop(client);
    let (_again, ..) = start(dir.path());
}
