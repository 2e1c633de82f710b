//! How a node starts: bare, with settings of every source, and with what it cannot have.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Lines, Node, klamm, succeeds};

/// Until a node that does not start fails its test.
const STARTED_WITHIN: Duration = Duration::from_secs(60);

/// The lines up to the one that says that the node has started.
fn start_lines(said: &mut Lines) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in said.map_while(Result::ok) {
        lines.push(line);
        if lines.last().is_some_and(|line| line.contains("started in")) {
            return lines;
        }
    }
    panic!("it ended: {lines:#?}");
}

fn port(lines: &[String]) -> u16 {
    let line = lines.iter().find(|line| line.contains("listening on"));
    let port = line.and_then(|line| line.rsplit(':').next()?.trim().parse().ok());
    port.unwrap_or_else(|| panic!("{lines:#?}"))
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

#[test]
fn bare_it_is_a_node_within_its_bounds() {
    let binary = env!("CARGO_BIN_EXE_klamm");
    // Its port may be somebody else's here, so it has a network of its own where that is allowed.
    let own_network = ["-n", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""];
    let is_alone = command("unshare", &own_network)
        .arg("true")
        .status()
        .is_ok_and(|status| status.success());
    let dir = tempfile::tempdir().expect("a directory");
    let mut bare = match is_alone {
        true => command("unshare", &own_network),
        false => command("env", &[]),
    };
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KAFKA_") || name == "CLUSTER_ID" {
            bare.env_remove(name);
        }
    }
    let started = Instant::now();
    let bare = bare.arg(binary).current_dir(dir.path());
    let mut node = Node(bare.stdout(Stdio::piped()).spawn().expect("it starts"));
    let pid = node.0.id().to_string();
    let mut said = node.lines();
    let lines = start_lines(&mut said);
    let mut list = match is_alone {
        true => command("nsenter", &["-t", &pid, "-n", binary]),
        false => command(binary, &[]),
    };
    succeeds(list.args(["topics", "list"]).status());
    assert!(started.elapsed() < STARTED_WITHIN);
    for expected in [
        "Klamm ",
        "engine uring, ",
        "512 MiB of memory, 128 MiB of journal",
        "data in ./data",
        "listening on PLAINTEXT://127.0.0.1:9092",
    ] {
        assert!(
            lines.iter().any(|line| line.contains(expected)),
            "{expected}: {lines:#?}"
        );
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let kib = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim_end_matches("kB").trim().parse().ok())
            .expect(name)
    };
    let resident = kib("VmHWM:") + kib("HugetlbPages:");
    assert!(resident <= 1 << 20, "{resident} KiB");
    let disk = disk_bytes(&dir.path().join("data"));
    assert!(disk <= 256 << 20, "{disk} bytes");
    node.signal("TERM");
    said.for_each(drop);
    succeeds(node.0.wait());
}

fn disk_bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("an entry"));
    let sizes = entries.map(|entry| match entry.file_type().expect("a type").is_dir() {
        true => disk_bytes(&entry.path()),
        false => entry.metadata().expect("a file").blocks() * 512,
    });
    sizes.sum()
}

#[test]
fn settings_of_java_and_of_its_image_are_taken() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("server.properties");
    let data = dir.path().join("data");
    std::fs::write(&file, b"# caf\xe9\nbroker.rack=\xe9\\u00e9\n").expect("written");
    let mut command = klamm(&data, 0);
    command.arg("--config").arg(&file);
    command.envs([
        ("KAFKA_LOG4J_ROOT_LOGLEVEL", "ERROR"),
        ("KAFKA_LOG4J_LOGGERS", "kafka=INFO,kafka.controller=WARN"),
        ("KAFKA_DEBUG", "y"),
        ("KAFKA_LOG4J_CMD_OPTS", "-D"),
        ("KAFKA_NO_SUCH", "x"),
    ]);
    let mut node = Node(command.spawn().expect("it starts"));
    let lines = start_lines(&mut node.lines());
    let warnings: Vec<&String> = lines.iter().filter(|line| line.contains(" WARN ")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    let expected = "settings that nobody knows: no.such; loggers that do not exist here: kafka.controller";
    assert!(warnings[0].ends_with(expected), "{}", warnings[0]);
}

#[test]
fn what_the_machine_cannot_give_is_one_line() {
    let dir = tempfile::tempdir().expect("a directory");
    for setting in [
        "klamm.memory.bytes=9000000000000000000",
        "klamm.journal.bytes=9000000000000000000",
        "message.max.bytes=2147483647",
    ] {
        let ended = klamm(dir.path(), 0)
            .args(["--override", setting])
            .output()
            .expect("it ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        let expected = format!("klamm: {setting}: must be at most ");
        assert!(said.starts_with(&expected) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_listener_without_a_host_serves_both_families() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = klamm(dir.path(), 0);
    command.args(["--override", "listeners=PLAINTEXT://:0"]);
    let mut node = Node(command.spawn().expect("it starts"));
    let mut said = node.lines();
    let port = port(&start_lines(&mut said));
    // Ends the connection, so that the log tells of it.
    let no_frame = |mut client: TcpStream| {
        client.write_all(&[0xff; 4]).expect("it is open");
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).ok();
    };
    no_frame(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("IPv4"));
    let mut closed = said
        .map_while(Result::ok)
        .filter(|line| line.contains("connection closed"));
    let line = closed.next().expect("a line");
    assert!(line.contains(" client=127.0.0.1:"), "{line}");
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        no_frame(TcpStream::connect((Ipv6Addr::LOCALHOST, port)).expect("IPv6"));
        let line = closed.next().expect("a line");
        assert!(line.contains(" client=[::1]:"), "{line}");
    }
}

#[test]
fn an_address_in_use_is_told_and_waited_for_before_anything_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = holder.local_addr().expect("an address").port();
    let mut node = Node(klamm(dir.path(), port).spawn().expect("it starts"));
    let mut said = node.lines();
    let line = said.next().and_then(Result::ok).expect("a line");
    assert!(
        line.contains(&format!("127.0.0.1:{port} is in use; waiting")),
        "{line}"
    );
    assert!(!dir.path().join("meta.properties").exists());
    drop(holder);
    start_lines(&mut said);

    // For good, it is refused; and a signal ends the wait.
    let other = tempfile::tempdir().expect("a directory");
    let refused = klamm(other.path(), port).output().expect("it ends");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(
        told.starts_with(&format!("klamm: cannot listen on 127.0.0.1:{port}: ")),
        "{told}"
    );
    let mut waiting = Node(klamm(other.path(), port).spawn().expect("it starts"));
    let line = waiting.lines().next().and_then(Result::ok).expect("a line");
    assert!(line.contains("is in use"), "{line}");
    waiting.signal("TERM");
    succeeds(waiting.0.wait());
    assert!(!other.path().join("meta.properties").exists());
}
