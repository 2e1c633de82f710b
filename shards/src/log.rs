//! The log: one line per event, `[time] LEVEL node/shard target: message field=value`, written by a plain thread.
//!
//! A shard formats its line and hands it over; it never waits. When the writer cannot keep up, lines are dropped
//! and counted, and the next line that gets through says how many. Spans are not kept: what a line needs to be
//! understood is in its fields. In the simulator [`Log::buffer`] keeps the lines of one run.

#![allow(
    clippy::disallowed_methods,
    reason = "starts the writer's thread, and reads the clock outside of shards"
)]

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use flume::{Receiver, Sender, TrySendError};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::shard;

/// Lines that may wait for the writer.
const LINES_MAX: usize = 8192;

/// What is logged.
#[derive(Clone, Debug)]
pub struct Levels {
    /// For targets that `targets` does not name.
    pub default: LevelFilter,
    /// By prefix of the target (`broker::connection`); the longest that fits counts.
    pub targets: Vec<(String, LevelFilter)>,
}

impl Levels {
    /// The same for all.
    pub fn all(level: LevelFilter) -> Levels {
        Levels {
            default: level,
            targets: Vec::new(),
        }
    }

    fn of(&self, target: &str) -> LevelFilter {
        let fitting = self
            .targets
            .iter()
            .filter(|(prefix, _)| target.starts_with(prefix.as_str()));
        fitting
            .max_by_key(|(prefix, _)| prefix.len())
            .map_or(self.default, |(_, level)| *level)
    }

    fn most(&self) -> LevelFilter {
        self.targets
            .iter()
            .map(|(_, level)| *level)
            .fold(self.default, LevelFilter::max)
    }
}

/// The subscriber; install it with [`tracing::subscriber::set_global_default`], or in the simulator with
/// [`tracing::subscriber::with_default`] around the run.
#[derive(Debug)]
pub struct Log {
    node: String,
    levels: Levels,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Thread { lines: Sender<Line>, dropped: AtomicU64 },
    Buffer(Lines),
}

#[derive(Debug)]
enum Line {
    Text(String),
    Flush(Sender<()>),
}

/// Waits for the writer.
#[derive(Clone, Debug)]
pub struct Flush(Sender<Line>);

impl Flush {
    /// Blocks (a plain thread, at the end of the process) until all lines so far are written, at most `limit`.
    pub fn wait(&self, limit: Duration) {
        let (done, wait) = flume::bounded(1);
        if self.0.send_timeout(Line::Flush(done), limit).is_ok() {
            let _ = wait.recv_timeout(limit); // whoever ends does not wait longer
        }
    }
}

/// The lines of [`Log::buffer`].
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// All lines so far.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

impl Log {
    /// Writes to `out` from a thread of its own. `node` is how lines name this process.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn to(out: impl Write + Send + 'static, node: String, levels: Levels) -> io::Result<(Log, Flush)> {
        let (lines, queue) = flume::bounded(LINES_MAX);
        std::thread::Builder::new()
            .name("klamm-log".into())
            .spawn(move || write_lines(out, &queue))?;
        let sink = Sink::Thread {
            lines: lines.clone(),
            dropped: AtomicU64::new(0),
        };
        Ok((Log { node, levels, sink }, Flush(lines)))
    }

    /// Keeps the lines in memory, without bound.
    pub fn buffer(levels: Levels) -> (Log, Lines) {
        let lines = Lines::default();
        (
            Log {
                node: String::new(),
                levels,
                sink: Sink::Buffer(lines.clone()),
            },
            lines,
        )
    }

    fn line(&self, metadata: &Metadata<'_>, fields: impl FnOnce(&mut Fields<'_>)) -> String {
        let mut line = String::with_capacity(160);
        let core = shard::try_current();
        let (wall_ms, shard) = match &core {
            Some(core) => (core.engine.wall_ms(), Some(core.id)),
            None => (plain_wall_ms(), None),
        };
        let _ = write_time(&mut line, wall_ms); // writing to a String does not fail, here and below
        let _ = write!(line, " {} ", level_name(*metadata.level()));
        let _ = match core.as_ref().and_then(|core| core.engine.node()) {
            Some(node) => write!(line, "n{node}"),
            None => line.write_str(&self.node),
        };
        let _ = match shard {
            Some(shard) => write!(line, "/{shard} "),
            None => line.write_str("/- "),
        };
        let _ = write!(line, "{}:", metadata.target());
        fields(&mut Fields(&mut line));
        line
    }

    fn emit(&self, line: String) {
        match &self.sink {
            Sink::Buffer(lines) => {
                lines
                    .0
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner())
                    .push(line);
            }
            Sink::Thread { lines, dropped } => {
                let before = dropped.swap(0, Ordering::Relaxed);
                let line = if before == 0 {
                    line
                } else {
                    format!("{line} (after {before} lines dropped)")
                };
                if let Err(TrySendError::Full(_)) = lines.try_send(Line::Text(line)) {
                    dropped.fetch_add(before + 1, Ordering::Relaxed);
                }
            }
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.levels.of(metadata.target())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.levels.most())
    }

    fn event(&self, event: &Event<'_>) {
        self.emit(self.line(event.metadata(), |fields| event.record(fields)));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1) // never asked for: no span is enabled
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Appends `message` as it is and every other field as ` name=value`; line breaks become spaces, so that what a
/// client sent cannot forge a line.
struct Fields<'a>(&'a mut String);

impl Fields<'_> {
    fn push(&mut self, field: &Field, text: &str) {
        self.0.push(' ');
        if field.name() != "message" {
            self.0.push_str(field.name());
            self.0.push('=');
        }
        self.0.extend(
            text.chars()
                .map(|char| if char.is_control() { ' ' } else { char }),
        );
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, &format!("{value:?}"));
    }
}

fn write_lines(mut out: impl Write, queue: &Receiver<Line>) {
    let mut text = String::new();
    while let Ok(first) = queue.recv() {
        let mut waiting = Vec::new();
        // Not all there is: under a flood there is always more, and nothing would ever be written.
        for line in std::iter::once(first).chain(queue.try_iter()).take(LINES_MAX) {
            match line {
                Line::Text(line) => {
                    text.push_str(&line);
                    text.push('\n');
                }
                Line::Flush(done) => waiting.push(done),
            }
        }
        // A log that cannot be written (a closed pipe) must not stop the broker, and has nowhere to say so.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        text.clear();
        for done in waiting {
            let _ = done.send(()); // it may have waited long enough
        }
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        _ => "TRACE",
    }
}

fn plain_wall_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `[2026-11-24 14:08:49,123]`, UTC, as Kafka's log4j pattern writes it.
fn write_time(line: &mut String, wall_ms: i64) -> fmt::Result {
    let (days, ms) = (wall_ms.div_euclid(86_400_000), wall_ms.rem_euclid(86_400_000));
    // The civil date of a day number, by eras of 400 years that begin on the 1st of March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
    let (second, milli) = (ms / 1_000 % 60, ms % 1_000);
    write!(
        line,
        "[{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02},{milli:03}]"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (wall_ms, expected) in [
            (0, "[1970-01-01 00:00:00,000]"),
            (951_782_399_999, "[2000-02-28 23:59:59,999]"),
            (951_782_400_000, "[2000-02-29 00:00:00,000]"),
            (1_795_529_329_123, "[2026-11-24 14:08:49,123]"),
            (4_107_542_400_000, "[2100-03-01 00:00:00,000]"),
            (-1, "[1969-12-31 23:59:59,999]"),
        ] {
            let mut line = String::new();
            write_time(&mut line, wall_ms).unwrap();
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn lines_are_one_line_each_and_levels_hold() {
        let targets = vec![
            ("loud".to_owned(), LevelFilter::DEBUG),
            ("loud::not".to_owned(), LevelFilter::OFF),
        ];
        let (log, lines) = Log::buffer(Levels {
            default: LevelFilter::INFO,
            targets,
        });
        tracing::subscriber::with_default(log, || {
            tracing::info!(target: "broker", client = "a\nb", count = 3, "forged\r\nline");
            tracing::debug!(target: "broker", "not this");
            tracing::debug!(target: "loud", "this");
            tracing::error!(target: "loud::not", "not this");
        });
        let lines: Vec<String> = lines.take().iter().map(|line| line[26..].to_owned()).collect();
        assert_eq!(
            lines,
            [
                "INFO /- broker: forged  line client=a b count=3",
                "DEBUG /- loud: this"
            ]
        );
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        struct Slow(Receiver<()>, Arc<Mutex<Vec<u8>>>);
        impl Write for Slow {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv(); // blocks until the test lets go
                self.1.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, hold) = flume::unbounded();
        let written = Arc::new(Mutex::new(Vec::new()));
        let out = Slow(hold, written.clone());
        let (log, flush) = Log::to(out, "1".to_owned(), Levels::all(LevelFilter::INFO)).unwrap();
        tracing::subscriber::with_default(log, || {
            for number in 0..3 * LINES_MAX {
                tracing::info!(number);
            }
            drop(release);
            flush.wait(Duration::from_secs(30));
            tracing::info!("the last");
            flush.wait(Duration::from_secs(30));
        });
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let lines = text.lines().count();
        assert!((LINES_MAX..=2 * LINES_MAX + 2).contains(&lines), "{lines} lines");
        // Each line tells of those that were lost right before it.
        let told = |line: &str| -> usize {
            let count = line
                .split("(after ")
                .nth(1)
                .and_then(|rest| rest.split(' ').next());
            count.map_or(0, |count| count.parse().unwrap())
        };
        let dropped: usize = text.lines().map(told).sum();
        assert!(dropped > 0, "some did not fit");
        assert_eq!(lines - 1 + dropped, 3 * LINES_MAX);
    }
}
