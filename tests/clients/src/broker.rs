//! A broker process of one test: started on a free port and a directory of its own, judged by its log, and
//! stopped so that its exit code counts.
//!
//! What a newcomer would get wrong: a [`Broker`] that is dropped is killed and nobody looks at its log. End a
//! test with [`Broker::stop`]; it is there that unexpected warnings fail it.

use crate::{log_lines, paths};
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// How long a start or a stop may take. Apache Kafka takes up to 20 s after `kill -9`.
const PATIENCE: Duration = Duration::from_secs(90);

/// Which broker is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Ours.
    Klamm,
    /// Apache Kafka 4.4.0, the judge of the tests themselves.
    Kafka,
}

impl Target {
    /// From `CLIENTS_TARGET` (`klamm` or `kafka`); Klamm when it is not set.
    pub fn from_environment() -> Result<Target> {
        match std::env::var("CLIENTS_TARGET").as_deref() {
            Ok("kafka") => Ok(Target::Kafka),
            Ok("klamm") | Err(_) => Ok(Target::Klamm),
            Ok(other) => bail!("CLIENTS_TARGET is {other}; allowed are klamm and kafka"),
        }
    }

    /// Warnings that come with this broker and are nobody's fault.
    fn always_allowed(self) -> &'static [&'static str] {
        match self {
            Target::Klamm => &[],
            Target::Kafka => &[
                "Performing controller activation.",
                "Could not delete offsets for deleted topics",
                // A client that asks twice for a topic, or for a coordinator, before it is made.
                "Auto topic creation failed for",
            ],
        }
    }

    fn command(self, config: &Path) -> Result<Command> {
        Ok(match self {
            Target::Klamm => {
                let binary = paths::klamm();
                ensure!(
                    binary.exists(),
                    "{} is missing: build it or set KLAMM_BIN",
                    binary.display()
                );
                let mut command = Command::new(binary);
                command.args(["broker", "--config"]).arg(config);
                command
            }
            Target::Kafka => {
                let mut command = java();
                command.args([
                    "-Xms256m",
                    "-Xmx512m",
                    "-cp",
                    &paths::kafka_class_path()?,
                    "kafka.Kafka",
                ]);
                command.arg(config);
                command
            }
        })
    }

    /// The exit code after SIGTERM: the JVM adds the signal's number to 128.
    fn exit_code_after_sigterm(self) -> i32 {
        match self {
            Target::Klamm => 0,
            Target::Kafka => 143,
        }
    }
}

/// A JVM that starts fast rather than runs fast.
pub(crate) fn java() -> Command {
    let mut command = Command::new("java");
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    command
}

/// How a broker is started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which one.
    pub target: Target,
    /// Lines of `server.properties` that come after, and so win over, the fixture's own.
    pub properties: Vec<(String, String)>,
    /// Parts of log lines at WARN or ERROR that this test provokes.
    pub allowed: Vec<String>,
    /// Where clients are told to go instead of the broker's own port (a proxy in front of it).
    pub advertised_port: Option<u16>,
}

impl Settings {
    /// The target that the environment names, with nothing special.
    pub fn from_environment() -> Result<Settings> {
        Ok(Settings::new(Target::from_environment()?))
    }

    /// This target, with nothing special.
    pub fn new(target: Target) -> Settings {
        Settings {
            target,
            properties: Vec::new(),
            allowed: Vec::new(),
            advertised_port: None,
        }
    }

    /// With one more line of `server.properties`.
    pub fn property(mut self, key: &str, value: &str) -> Settings {
        self.properties.push((key.to_string(), value.to_string()));
        self
    }

    /// With one more kind of log line that is expected of this target only.
    pub fn allow_from(self, target: Target, text: &str) -> Settings {
        if self.target == target {
            self.allow(text)
        } else {
            self
        }
    }

    /// With one more kind of log line that is expected.
    pub fn allow(mut self, text: &str) -> Settings {
        self.allowed.push(text.to_string());
        self
    }
}

/// A data directory that no process has open.
pub struct Closed {
    home: tempfile::TempDir,
}

impl Closed {
    /// The one log directory.
    pub fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }
}

/// A running broker.
pub struct Broker {
    settings: Settings,
    home: Option<tempfile::TempDir>,
    port: u16,
    child: Option<Child>,
}

impl Broker {
    /// Starts one on an empty directory and waits until it answers.
    pub fn start(settings: Settings) -> Result<Broker> {
        let closed = Closed {
            home: paths::scratch("broker")?,
        };
        Broker::prepare(settings, closed, true)
    }

    /// Starts one on a directory that another has closed.
    pub fn start_on(settings: Settings, closed: Closed) -> Result<Broker> {
        Broker::prepare(settings, closed, false)
    }

    fn prepare(settings: Settings, closed: Closed, empty: bool) -> Result<Broker> {
        let mut broker = Broker {
            settings,
            home: Some(closed.home),
            port: free_port(),
            child: None,
        };
        broker.write_config()?;
        // Each broker answers for its own lines only, over all its restarts.
        std::fs::write(broker.log_path(), "")?;
        if empty && broker.settings.target == Target::Kafka {
            broker.format_for_kafka()?;
        }
        broker.spawn()?;
        Ok(broker)
    }

    /// `host:port` for clients.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The one log directory.
    pub fn data(&self) -> PathBuf {
        self.home_path().join("data")
    }

    /// Which broker it is.
    pub fn target(&self) -> Target {
        self.settings.target
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the broker is not running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// `kill -9`, and nobody starts it again: gives the directory as the crash left it.
    pub fn abandon(mut self) -> Result<Closed> {
        self.kill()?;
        self.closed()
    }

    /// Starts it again on the same data and port, and waits until it answers. Gives the time that took.
    pub fn restart(&mut self) -> Result<Duration> {
        ensure!(self.child.is_none(), "the broker is running");
        let start = Instant::now();
        self.spawn()?;
        Ok(start.elapsed())
    }

    /// SIGTERM, waits for the exit code that a clean stop has, and judges the log of its whole life.
    pub fn stop(mut self) -> Result<Closed> {
        let mut child = self.child.take().context("the broker is not running")?;
        terminate(&child)?;
        let status = match wait(&mut child) {
            Ok(status) => status,
            Err(error) => {
                child.kill()?;
                return Err(error.context(self.log_tail()));
            }
        };
        let expected = self.settings.target.exit_code_after_sigterm();
        ensure!(
            status.code() == Some(expected),
            "{status} after SIGTERM\n{}",
            self.log_tail()
        );
        self.closed()
    }

    /// Judges the log of a broker that runs no longer, and gives its directory.
    fn closed(mut self) -> Result<Closed> {
        self.judge_log()?;
        let home = self
            .home
            .take()
            .context("the broker has a home until it is stopped")?;
        Ok(Closed { home })
    }

    /// Fails on log lines that nobody expected.
    pub fn judge_log(&self) -> Result<()> {
        let log = self.log();
        let always = self
            .settings
            .target
            .always_allowed()
            .iter()
            .map(|text| text.to_string());
        let allowed: Vec<String> = self.settings.allowed.iter().cloned().chain(always).collect();
        let unexpected = log_lines::unexpected(&log, &allowed);
        ensure!(
            unexpected.is_empty(),
            "unexpected lines in the broker's log:\n{}",
            unexpected.join("\n")
        );
        Ok(())
    }

    /// All that the broker has written to standard output and error.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default();
        format!("the end of the broker's log:\n{}", tail.join("\n"))
    }

    fn home_path(&self) -> &Path {
        self.home.as_ref().map_or(Path::new(""), |home| home.path())
    }

    fn log_path(&self) -> PathBuf {
        self.home_path().join("log")
    }

    fn config_path(&self) -> PathBuf {
        self.home_path().join("server.properties")
    }

    /// The `server.properties` of a single combined node, the same for both targets.
    fn write_config(&self) -> Result<()> {
        let port = self.port;
        let advertised = self.settings.advertised_port.unwrap_or(port);
        let controller = port + 1;
        let mut text = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={}\n",
            self.data().display()
        );
        if self.settings.target == Target::Kafka {
            // One node cannot hold three replicas of the internal topics, and the samples' time stamps are so
            // old that retention would take them after 30 s.
            text += "log.retention.ms=-1\n\
                     offsets.topic.replication.factor=1\n\
                     transaction.state.log.replication.factor=1\n\
                     transaction.state.log.min.isr=1\n";
        }
        for (key, value) in &self.settings.properties {
            text += &format!("{key}={value}\n");
        }
        Ok(std::fs::write(self.config_path(), text)?)
    }

    fn format_for_kafka(&self) -> Result<()> {
        let output = java()
            .args([
                "-Dklamm.tests.level=error",
                "-cp",
                &paths::kafka_class_path()?,
                "kafka.tools.StorageTool",
            ])
            .args(["format", "-t", "S2xhbW1UZXN0Q2x1c3Rlcg", "-c"])
            .arg(self.config_path())
            .output()?;
        ensure!(
            output.status.success(),
            "format: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    fn spawn(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = self.settings.target.command(&self.config_path())?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .current_dir(self.home_path());
        let child = self
            .child
            .insert(command.spawn().with_context(|| format!("{command:?}"))?);
        let deadline = Instant::now() + PATIENCE;
        while !answers(self.port) {
            if let Some(status) = child.try_wait()? {
                bail!(
                    "the broker ended with {status} before it answered\n{}",
                    self.log_tail()
                );
            }
            if Instant::now() > deadline {
                bail!("the broker does not answer\n{}", self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // The test has failed already; an error here would only hide why.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() && self.home.is_some() {
            eprintln!("{}", self.log_tail());
        }
    }
}

fn terminate(child: &Child) -> Result<()> {
    let status = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()?;
    ensure!(status.success(), "kill -TERM: {status}");
    Ok(())
}

fn wait(child: &mut Child) -> Result<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        ensure!(Instant::now() < deadline, "the broker does not stop on SIGTERM");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether an ApiVersions request of version 0 is answered; a listener that accepts is not yet a broker.
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        // Length 10; key 18, version 0; correlation id 1; client id null.
        stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff])?;
        let mut head = [0; 10];
        stream.read_exact(&mut head)?;
        match head {
            [_, _, _, _, 0, 0, 0, 1, 0, 0] => Ok(()),
            _ => Err(std::io::ErrorKind::InvalidData.into()),
        }
    };
    ask().is_ok()
}

/// A port that is free together with the next one. It stays below the range of ephemeral ports: there, a
/// client that reconnects while the broker is down can be given the very port it connects to, and talk to
/// itself.
pub fn free_port() -> u16 {
    const FIRST: u16 = 21_000;
    const COUNT: u16 = 1_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that run side by side begin at different places.
    let process = (std::process::id() % u32::from(COUNT)) as u16;
    loop {
        let step = NEXT.fetch_add(2, Ordering::Relaxed);
        let port = FIRST + (process.wrapping_mul(38).wrapping_add(step)) % COUNT / 2 * 2;
        let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port + 1) {
            return port;
        }
    }
}
