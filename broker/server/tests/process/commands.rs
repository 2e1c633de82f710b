//! The commands as a shell runs them: their exit codes, what they print, and a reader that does not stay.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::{Node, client, start, succeeds};

/// Runs a command with this standard input, to its end.
fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A command that reads nothing may be gone already.
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// A command that fails with exit code 1 and one line.
fn fails(command: &mut Command, expected: &str) {
    let ended = run(command, "");
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(expected), "{said}");
}

fn klamm(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_klamm"));
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// A data directory that a node has closed.
fn closed(dir: &Path) {
    let (mut node, port, said) = start(dir);
    succeeds(client(port, &["topics", "create", "closed"]).status());
    assert!(
        run(&mut client(port, &["produce", "closed"]), "a\n")
            .status
            .success()
    );
    node.signal("TERM");
    said.for_each(drop);
    succeeds(node.0.wait());
}

#[test]
fn no_command_minds_a_reader_that_is_gone_and_each_says_when_its_output_is_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let other = tempfile::tempdir().expect("a directory");
    closed(other.path());
    let data = other.path().to_str().expect("text");
    let (_node, port, _said) = start(dir.path());
    succeeds(client(port, &["topics", "create", "read"]).status());
    assert!(
        run(&mut client(port, &["produce", "read"]), "a\n")
            .status
            .success()
    );
    let mut topics = 0;
    let mut check = |arguments: &[&str], talks_to_broker: bool| {
        for format in ["text", "json"] {
            for full in [false, true] {
                topics += 1;
                let name = format!("t{topics}");
                if arguments.contains(&"delete") {
                    succeeds(client(port, &["topics", "create", &name]).status());
                }
                let named: Vec<&str> = arguments
                    .iter()
                    .map(|one| one.replace("TOPIC", &name).leak() as &str)
                    .collect();
                let mut command = match talks_to_broker {
                    true => client(port, &named),
                    false => klamm(&named),
                };
                command.args(["--format", format]);
                if full {
                    command.stdout(
                        File::options()
                            .write(true)
                            .open("/dev/full")
                            .expect("it is there"),
                    );
                } else {
                    let (reader, writer) = std::io::pipe().expect("a pipe");
                    drop(reader);
                    command.stdout(writer);
                }
                let ended = run(&mut command, "a\n");
                let said = text(&ended.stderr);
                // What `produce` says to people goes to stderr.
                let prints = !(arguments.contains(&"produce") && format == "text");
                let code = i32::from(full && prints);
                assert_eq!(
                    ended.status.code(),
                    Some(code),
                    "{named:?} {format} {full}: {said}"
                );
                assert!(said.lines().count() <= 1, "{said}");
                assert!(code == 0 || said.contains("standard output"), "{said}");
            }
        }
    };
    check(&["topics", "create", "TOPIC"], true);
    check(&["topics", "list"], true);
    check(&["topics", "describe", "read"], true);
    check(&["topics", "delete", "TOPIC"], true);
    check(&["consume", "read", "--from-beginning", "--exit"], true);
    check(
        &["logs", "dump", data, "--partition", "closed-0", "--records"],
        false,
    );
    check(&["recover", data], false);
    // Last, so that the records above are of one format.
    let mut produce = client(port, &["produce", "read"]);
    produce.stdout(
        File::options()
            .write(true)
            .open("/dev/full")
            .expect("it is there"),
    );
    assert!(run(&mut produce, "a\n").status.success());
    let mut produce = client(port, &["produce", "read", "--format", "json"]);
    produce.stdout(
        File::options()
            .write(true)
            .open("/dev/full")
            .expect("it is there"),
    );
    fails(&mut produce, "standard output");
}

#[test]
fn a_consumer_of_an_idle_topic_ends_when_its_reader_does() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_node, port, _said) = start(dir.path());
    succeeds(client(port, &["topics", "create", "idle"]).status());
    assert!(
        run(&mut client(port, &["produce", "idle"]), "first\n")
            .status
            .success()
    );
    let consumer = client(port, &["consume", "idle", "--from-beginning"]).spawn();
    let mut consumer = Node(consumer.expect("it starts"));
    assert_eq!(
        consumer.lines().next().and_then(Result::ok).as_deref(),
        Some("first")
    );
    // The lines are dropped, and with them the pipe.
    succeeds(consumer.0.wait());
}

#[test]
fn what_is_asked_of_a_topic_is_answered_or_refused_in_one_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_node, port, _said) = start(dir.path());
    let create = [
        "topics",
        "create",
        "there",
        "--partitions",
        "3",
        "--format",
        "json",
    ];
    let json = |arguments: &[&str]| {
        let said = run(&mut client(port, arguments), "").stdout;
        text(&said).replace("\"created\": true", "\"created\": false")
    };
    let first = json(&create);
    assert!(
        first.contains("\"partitions\": 3") && first.contains("\"replication_factor\": 1"),
        "{first}"
    );
    assert_eq!(
        json(&["topics", "create", "there", "--if-not-exists", "--format", "json"]),
        first
    );
    assert!(
        run(
            &mut client(port, &["produce", "there", "--partition", "1"]),
            "a\nb\n"
        )
        .status
        .success()
    );
    let consume = |offset| {
        [
            "consume",
            "there",
            "--partition",
            "1",
            "--exit",
            "--offset",
            offset,
        ]
    };
    fails(
        &mut client(port, &consume("100")),
        "there-1: offset 100 lies beyond the end, which is 2",
    );
    let end = run(&mut client(port, &consume("2")), "");
    assert!(end.status.success() && end.stdout.is_empty());
    fails(
        &mut client(port, &["consume", "their", "--from-beginning", "--exit"]),
        "their: UNKNOWN_TOPIC_OR_PARTITION",
    );
    let topics = run(&mut client(port, &["topics", "list"]), "").stdout;
    assert_eq!(text(&topics), "there\n");
}

#[test]
fn a_consumer_says_what_it_waits_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let (node, port, _said) = start(dir.path());
    succeeds(client(port, &["topics", "create", "hurt"]).status());
    for record in ["acknowledged and then damaged", "second", "third"] {
        assert!(
            run(&mut client(port, &["produce", "hurt"]), record)
                .status
                .success()
        );
    }
    drop(node); // killed
    let journal = dir.path().join("klamm-journal-0");
    let mut bytes = std::fs::read(&journal).expect("it is there");
    let record = b"acknowledged and then damaged";
    let at = bytes.windows(record.len()).position(|window| window == record);
    bytes[at.expect("it stands in the journal")] ^= 1;
    std::fs::write(&journal, bytes).expect("written");
    let (_node, port, _said) = start(dir.path());
    let mut consumer = client(port, &["consume", "hurt", "--from-beginning"]);
    let mut consumer = Node(consumer.stderr(Stdio::piped()).spawn().expect("it starts"));
    let mut said = String::new();
    let mut stderr = consumer.0.stderr.take().expect("it is piped");
    while !said.ends_with('\n') {
        let mut byte = [0];
        assert_eq!(stderr.read(&mut byte).expect("read"), 1, "it ended: {said}");
        said.push(char::from(byte[0]));
    }
    assert!(said.starts_with("waiting: hurt-0: "), "{said}");
}

#[test]
fn a_dump_names_metadata_and_fails_on_what_it_cannot_read() {
    let dir = tempfile::tempdir().expect("a directory");
    closed(dir.path());
    let path = |name: &str| dir.path().join(name).to_str().expect("text").to_owned();
    let dump = |name: &str| klamm(&["logs", "dump", &path(name), "--records"]);
    let said = run(&mut dump("bootstrap.checkpoint"), "");
    assert!(
        said.status.success() && text(&said.stdout).contains("FeatureLevelRecord"),
        "{said:?}"
    );
    let log = "closed-0/00000000000000000000.log";
    assert!(run(&mut dump(log), "").status.success());
    let mut bytes = std::fs::read(path(log)).expect("read");
    let last = bytes.last_mut().expect("a record");
    *last ^= 1;
    std::fs::write(path(log), &bytes).expect("written");
    fails(&mut dump(log), "the batch at 0 has a wrong checksum");
    assert!(text(&run(&mut dump(log), "").stdout).contains("offsets 0..0"));
    let noise: Vec<u8> = (1..=10_000_u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for name in [
        log,
        "closed-0/00000000000000000000.index",
        "closed-0/00000000000000000007.timeindex",
        "klamm-journal-9",
    ] {
        std::fs::write(path(name), &noise).expect("written");
        fails(&mut dump(name), name);
    }
}
