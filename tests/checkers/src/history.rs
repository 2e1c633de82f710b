//! The events of a history, and their form as JSON lines.
//!
//! One event is one line, for instance `{"event":"acked","message":7,"offset":41}`. Any language can write
//! it; the order of the lines is the order of the events.

use serde::{Deserialize, Serialize};

/// One partition of one topic. A recorder that deletes and recreates topics puts the topic's id in `topic`,
/// since the same name is then another log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Log {
    /// Name or id of the topic.
    pub topic: String,
    /// Index of the partition.
    pub partition: i32,
}

impl Log {
    /// The log of `topic` and `partition`.
    pub fn new(topic: impl Into<String>, partition: i32) -> Self {
        Log {
            topic: topic.into(),
            partition,
        }
    }
}

impl std::fmt::Display for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Something that a client did or saw. `message` is a number that is unique in the whole history and can be
/// read back from the record's value; `producer` and `reader` number the clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A producer is about to send a message. Written once per message, not per retry of the client.
    Sent {
        /// Which producer.
        producer: u32,
        /// Which message.
        message: u64,
        /// Where to.
        #[serde(flatten)]
        log: Log,
    },
    /// The broker acknowledged a message.
    Acked {
        /// Which message.
        message: u64,
        /// The offset that was told, if one was.
        offset: Option<i64>,
    },
    /// The broker refused a message with an error that says it was not written. A time-out is not that.
    Refused {
        /// Which message.
        message: u64,
    },
    /// A reader starts again somewhere; until the next such event its offsets only grow.
    Sought {
        /// Which reader.
        reader: u32,
        /// In which log.
        #[serde(flatten)]
        log: Log,
        /// The next offset it wants.
        offset: i64,
    },
    /// A reader was given a record. `message` is none when the value is not what any producer sent.
    Read {
        /// Which reader.
        reader: u32,
        /// From which log.
        #[serde(flatten)]
        log: Log,
        /// At which offset.
        offset: i64,
        /// The message that its value names.
        message: Option<u64>,
    },
    /// A reader has read a whole log, after the last write: since its last [`Event::Sought`] it has been given
    /// every record from `start` (inclusive, the log start offset) to `end` (exclusive, the high watermark).
    ReadAll {
        /// Which reader.
        reader: u32,
        /// Of which log.
        #[serde(flatten)]
        log: Log,
        /// The log start offset.
        start: i64,
        /// The high watermark.
        end: i64,
    },
    /// A fault or a remark, for people who read the history. Checks ignore it.
    Note {
        /// What happened.
        text: String,
    },
}

/// A line that is no event.
#[derive(Debug)]
pub struct HistoryError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong.
    pub error: serde_json::Error,
}

impl std::fmt::Display for HistoryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {} of the history: {}", self.line, self.error)
    }
}

impl std::error::Error for HistoryError {}

/// Reads JSON lines; empty lines are passed over.
pub fn parse_lines(text: &str) -> Result<Vec<Event>, HistoryError> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| HistoryError {
                line: index + 1,
                error,
            })
        })
        .collect()
}

/// Adds one event and its newline to `out`.
pub fn write_line(event: &Event, out: &mut String) {
    let line = serde_json::to_string(event).unwrap_or_else(|error| {
        // An event holds numbers and strings only, which JSON can always hold.
        unreachable!("event to JSON: {error}")
    });
    out.push_str(&line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_survives_being_written_and_read() {
        let log = Log::new("t", 3);
        let events = vec![
            Event::Sent {
                producer: 1,
                message: u64::MAX,
                log: log.clone(),
            },
            Event::Acked {
                message: 1,
                offset: Some(0),
            },
            Event::Acked {
                message: 2,
                offset: None,
            },
            Event::Refused { message: 3 },
            Event::Sought {
                reader: 1,
                log: log.clone(),
                offset: 0,
            },
            Event::Read {
                reader: 1,
                log: log.clone(),
                offset: 0,
                message: Some(1),
            },
            Event::Read {
                reader: 1,
                log: log.clone(),
                offset: 1,
                message: None,
            },
            Event::ReadAll {
                reader: 1,
                log,
                start: 0,
                end: 2,
            },
            Event::Note {
                text: "kill -9 \"x\"\n".into(),
            },
        ];
        let mut text = String::new();
        events.iter().for_each(|event| write_line(event, &mut text));
        assert_eq!(text.lines().count(), events.len());
        assert_eq!(parse_lines(&text).unwrap(), events);
    }

    #[test]
    fn a_line_reads_as_the_manual_says() {
        let text = "\n{\"event\":\"sent\",\"producer\":1,\"message\":7,\"topic\":\"t\",\"partition\":0}\n";
        let sent = Event::Sent {
            producer: 1,
            message: 7,
            log: Log::new("t", 0),
        };
        assert_eq!(parse_lines(text).unwrap(), vec![sent]);
    }

    #[test]
    fn a_bad_line_is_named() {
        assert_eq!(parse_lines("\n{\"event\":\"sang\"}\n").unwrap_err().line, 2);
    }
}
