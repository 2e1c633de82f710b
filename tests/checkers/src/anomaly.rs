//! What can be wrong with a history, one variant each, after Jepsen's workload for Kafka-like logs.

use crate::history::Log;

/// One thing that must not be, with what a person needs to look it up in the history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anomaly {
    /// An acknowledged message is not in the whole reading of its log.
    LostWrite {
        /// The log.
        log: Log,
        /// The message.
        message: u64,
        /// The offset the acknowledgement named.
        offset: Option<i64>,
    },
    /// One message stands at two offsets.
    Duplicate {
        /// The log.
        log: Log,
        /// The message.
        message: u64,
        /// The offsets, ascending.
        offsets: Vec<i64>,
    },
    /// Two messages were seen at one offset, by acknowledgements or by readers.
    InconsistentOffset {
        /// The log.
        log: Log,
        /// The offset.
        offset: i64,
        /// The messages, ascending.
        messages: Vec<u64>,
    },
    /// A message was acknowledged at one offset and stands at another.
    WrongOffset {
        /// The log.
        log: Log,
        /// The message.
        message: u64,
        /// The offset the acknowledgement named.
        acked: i64,
        /// The offset where readers found it.
        found: i64,
    },
    /// A producer sent one message before another and the log holds them the other way round.
    OutOfOrder {
        /// The log.
        log: Log,
        /// The message sent first, and its offset.
        earlier: (u64, i64),
        /// The message sent after it, and its offset.
        later: (u64, i64),
    },
    /// A message was sent after another had been acknowledged, and stands before it.
    BehindAcked {
        /// The log.
        log: Log,
        /// The message, and its offset.
        message: (u64, i64),
        /// The highest offset that had been acknowledged or read when it was sent.
        acked: i64,
    },
    /// A whole reading left out offsets.
    Gap {
        /// The log.
        log: Log,
        /// The first offset missing.
        from: i64,
        /// The first offset after it that is there, or the end.
        to: i64,
    },
    /// A reader was once given a record that the whole reading does not have at that offset.
    PhantomRead {
        /// The log.
        log: Log,
        /// The offset.
        offset: i64,
        /// The message that was read then.
        message: u64,
    },
    /// A reader was given an offset it had passed already, without having sought.
    WentBack {
        /// The log.
        log: Log,
        /// The reader.
        reader: u32,
        /// The offset read before.
        from: i64,
        /// The offset read then.
        to: i64,
    },
    /// A message that the broker refused was read.
    RefusedButRead {
        /// The log.
        log: Log,
        /// The message.
        message: u64,
        /// Where.
        offset: i64,
    },
    /// A record was read that nobody had sent to this log by then.
    NeverSent {
        /// The log.
        log: Log,
        /// Where.
        offset: i64,
        /// The message its value names, or none if it names none.
        message: Option<u64>,
    },
    /// The history itself contradicts itself: the recorder is wrong, not the broker.
    BadHistory {
        /// What is wrong with it.
        what: String,
    },
}

impl std::fmt::Display for Anomaly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Anomaly::LostWrite {
                log,
                message,
                offset: Some(offset),
            } => {
                write!(
                    f,
                    "lost write: {log} message {message}, acknowledged at offset {offset}"
                )
            }
            Anomaly::LostWrite {
                log,
                message,
                offset: None,
            } => {
                write!(
                    f,
                    "lost write: {log} message {message}, acknowledged without an offset"
                )
            }
            Anomaly::Duplicate {
                log,
                message,
                offsets,
            } => {
                write!(f, "duplicate: {log} message {message} at offsets {offsets:?}")
            }
            Anomaly::InconsistentOffset {
                log,
                offset,
                messages,
            } => {
                write!(
                    f,
                    "inconsistent offset: {log} offset {offset} was seen to hold messages {messages:?}"
                )
            }
            Anomaly::WrongOffset {
                log,
                message,
                acked,
                found,
            } => write!(
                f,
                "wrong offset: {log} message {message}, acknowledged at offset {acked}, found at {found}"
            ),
            Anomaly::OutOfOrder {
                log,
                earlier: (a, at_a),
                later: (b, at_b),
            } => {
                write!(
                    f,
                    "out of order: {log} message {a} at offset {at_a}, {b}, sent after it, at {at_b}"
                )
            }
            Anomaly::BehindAcked {
                log,
                message: (message, at),
                acked,
            } => write!(
                f,
                "behind acknowledged: {log} message {message} at offset {at}, sent when {acked} was known"
            ),
            Anomaly::Gap { log, from, to } => {
                write!(f, "gap: {log} offsets {from} to {to} (exclusive) missing")
            }
            Anomaly::PhantomRead { log, offset, message } => {
                write!(
                    f,
                    "phantom read: {log} offset {offset} once held message {message}"
                )
            }
            Anomaly::WentBack {
                log,
                reader,
                from,
                to,
            } => {
                write!(
                    f,
                    "went back: {log} reader {reader} was given offset {to} after {from}"
                )
            }
            Anomaly::RefusedButRead { log, message, offset } => {
                write!(f, "refused but read: {log} message {message} at offset {offset}")
            }
            Anomaly::NeverSent {
                log,
                offset,
                message: Some(message),
            } => {
                write!(f, "never sent: {log} offset {offset} holds message {message}")
            }
            Anomaly::NeverSent {
                log,
                offset,
                message: None,
            } => {
                write!(
                    f,
                    "never sent: {log} offset {offset} holds a value that no producer made"
                )
            }
            Anomaly::BadHistory { what } => write!(f, "the history is wrong: {what}"),
        }
    }
}
