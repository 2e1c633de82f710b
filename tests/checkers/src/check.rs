//! The checks: one pass that files the events by log, then one function per question.
//!
//! Every check is about one log, since Kafka promises nothing across logs.

use crate::anomaly::Anomaly;
use crate::history::{Event, Log};
use std::collections::{BTreeMap, BTreeSet};

/// What the recorded workload was promised. The default is the strictest: idempotent producers, no
/// compaction, no transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A message may stand at several offsets: its producer retries and is not idempotent.
    pub duplicates_allowed: bool,
    /// A producer's messages may change places: it has several in flight and is not idempotent.
    pub reorder_allowed: bool,
    /// A whole reading may leave out offsets: the topic is compacted, or transactions leave markers.
    pub gaps_allowed: bool,
    /// Acknowledged messages may be missing: acks=0 or 1 over a fault that such an answer does not outlive.
    pub loss_allowed: bool,
}

impl Rules {
    /// Nothing may be lost, doubled, reordered or left out.
    pub const STRICT: Rules = Rules {
        duplicates_allowed: false,
        reorder_allowed: false,
        gaps_allowed: false,
        loss_allowed: false,
    };
}

impl Default for Rules {
    fn default() -> Self {
        Rules::STRICT
    }
}

/// Finds everything that is wrong with a history, ordered by log and then by kind. Empty means that it is right.
pub fn check(history: &[Event], rules: &Rules) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    for (log, view) in file_by_log(history, &mut anomalies) {
        view.lost_writes(&log, rules, &mut anomalies);
        view.duplicates(&log, rules, &mut anomalies);
        view.inconsistent_offsets(&log, &mut anomalies);
        view.wrong_offsets(&log, rules, &mut anomalies);
        view.out_of_order(&log, rules, &mut anomalies);
        view.behind_acked(&log, rules, &mut anomalies);
        view.gaps(&log, rules, &mut anomalies);
        view.phantom_reads(&log, &mut anomalies);
        view.refused_but_read(&log, &mut anomalies);
    }
    anomalies
}

/// All that the history tells about one log.
#[derive(Default)]
struct View {
    sent: Vec<Sent>,
    acked: BTreeMap<u64, Option<i64>>,
    refused: BTreeSet<u64>,
    /// Everything that any reader was ever given; one offset may hold several if something is wrong.
    reads: BTreeMap<i64, BTreeSet<u64>>,
    places: BTreeMap<u64, BTreeSet<i64>>,
    /// What each reader was given since it last sought.
    since_sought: BTreeMap<u32, BTreeMap<i64, Option<u64>>>,
    last: BTreeMap<u32, i64>,
    /// The highest offset that anybody knew of so far.
    known: Option<i64>,
    whole: Vec<Whole>,
}

struct Sent {
    producer: u32,
    message: u64,
    /// What was known of this log when the message was sent.
    known: Option<i64>,
}

struct Whole {
    start: i64,
    end: i64,
    records: BTreeMap<i64, Option<u64>>,
}

fn file_by_log(history: &[Event], anomalies: &mut Vec<Anomaly>) -> BTreeMap<Log, View> {
    let mut views: BTreeMap<Log, View> = BTreeMap::new();
    let mut home: BTreeMap<u64, Log> = BTreeMap::new();
    for event in history {
        match event {
            Event::Sent {
                producer,
                message,
                log,
            } => {
                if home.insert(*message, log.clone()).is_some() {
                    bad_history(anomalies, format!("message {message} is sent twice"));
                }
                let view = views.entry(log.clone()).or_default();
                let known = view.known;
                view.sent.push(Sent {
                    producer: *producer,
                    message: *message,
                    known,
                });
            }
            Event::Acked { message, offset } => match home.get(message) {
                Some(log) => {
                    let view = views.entry(log.clone()).or_default();
                    if view.acked.insert(*message, *offset).is_some() {
                        bad_history(anomalies, format!("message {message} is acknowledged twice"));
                    }
                    view.known = view.known.max(*offset);
                }
                None => bad_history(
                    anomalies,
                    format!("message {message} is acknowledged and was not sent"),
                ),
            },
            Event::Refused { message } => match home.get(message) {
                Some(log) => {
                    views.entry(log.clone()).or_default().refused.insert(*message);
                }
                None => bad_history(
                    anomalies,
                    format!("message {message} is refused and was not sent"),
                ),
            },
            Event::Sought { reader, log, offset } => {
                let view = views.entry(log.clone()).or_default();
                view.since_sought.insert(*reader, BTreeMap::new());
                view.last.insert(*reader, offset - 1);
            }
            Event::Read {
                reader,
                log,
                offset,
                message,
            } => {
                let sent_here = message.is_some_and(|message| home.get(&message) == Some(log));
                if !sent_here {
                    anomalies.push(Anomaly::NeverSent {
                        log: log.clone(),
                        offset: *offset,
                        message: *message,
                    });
                }
                let view = views.entry(log.clone()).or_default();
                view.on_read(log, *reader, *offset, *message, anomalies);
            }
            Event::ReadAll {
                reader,
                log,
                start,
                end,
            } => {
                let view = views.entry(log.clone()).or_default();
                let records = view.since_sought.get(reader).cloned().unwrap_or_default();
                view.whole.push(Whole {
                    start: *start,
                    end: *end,
                    records,
                });
            }
            Event::Note { .. } => {}
        }
    }
    views
}

fn bad_history(anomalies: &mut Vec<Anomaly>, what: String) {
    anomalies.push(Anomaly::BadHistory { what });
}

impl View {
    fn on_read(
        &mut self,
        log: &Log,
        reader: u32,
        offset: i64,
        message: Option<u64>,
        anomalies: &mut Vec<Anomaly>,
    ) {
        if let Some(last) = self.last.insert(reader, offset)
            && offset <= last
        {
            anomalies.push(Anomaly::WentBack {
                log: log.clone(),
                reader,
                from: last,
                to: offset,
            });
        }
        self.since_sought
            .entry(reader)
            .or_default()
            .insert(offset, message);
        self.known = self.known.max(Some(offset));
        if let Some(message) = message {
            self.reads.entry(offset).or_default().insert(message);
            self.places.entry(message).or_default().insert(offset);
        }
    }

    fn lost_writes(&self, log: &Log, rules: &Rules, anomalies: &mut Vec<Anomaly>) {
        if rules.loss_allowed {
            return;
        }
        let Some(whole) = self.whole.last() else { return };
        let found: BTreeSet<u64> = whole.records.values().flatten().copied().collect();
        for (&message, &offset) in &self.acked {
            let deleted_since = offset.is_some_and(|offset| offset < whole.start);
            if !found.contains(&message) && !deleted_since {
                anomalies.push(Anomaly::LostWrite {
                    log: log.clone(),
                    message,
                    offset,
                });
            }
        }
    }

    fn duplicates(&self, log: &Log, rules: &Rules, anomalies: &mut Vec<Anomaly>) {
        if rules.duplicates_allowed {
            return;
        }
        for (&message, offsets) in &self.places {
            if offsets.len() > 1 {
                let offsets = offsets.iter().copied().collect();
                anomalies.push(Anomaly::Duplicate {
                    log: log.clone(),
                    message,
                    offsets,
                });
            }
        }
    }

    fn inconsistent_offsets(&self, log: &Log, anomalies: &mut Vec<Anomaly>) {
        let mut holders = self.reads.clone();
        for (&message, &offset) in &self.acked {
            if let Some(offset) = offset {
                holders.entry(offset).or_default().insert(message);
            }
        }
        for (offset, messages) in holders {
            if messages.len() > 1 {
                let messages = messages.into_iter().collect();
                anomalies.push(Anomaly::InconsistentOffset {
                    log: log.clone(),
                    offset,
                    messages,
                });
            }
        }
    }

    fn wrong_offsets(&self, log: &Log, rules: &Rules, anomalies: &mut Vec<Anomaly>) {
        for (&message, &offset) in &self.acked {
            let (Some(acked), Some(places)) = (offset, self.places.get(&message)) else {
                continue;
            };
            let is_there = places.contains(&acked);
            // With duplicates allowed the acknowledged copy may be one that no reader came to.
            let may_be_elsewhere = rules.duplicates_allowed && self.whole.is_empty();
            if let Some(&found) = places.first()
                && !is_there
                && !may_be_elsewhere
            {
                anomalies.push(Anomaly::WrongOffset {
                    log: log.clone(),
                    message,
                    acked,
                    found,
                });
            }
        }
    }

    /// Where a message stands: where readers found it first, else where its acknowledgement said.
    fn place(&self, message: u64) -> Option<i64> {
        let read = self
            .places
            .get(&message)
            .and_then(|places| places.first())
            .copied();
        read.or_else(|| self.acked.get(&message).copied().flatten())
    }

    fn out_of_order(&self, log: &Log, rules: &Rules, anomalies: &mut Vec<Anomaly>) {
        if rules.reorder_allowed {
            return;
        }
        let mut last_of: BTreeMap<u32, (u64, i64)> = BTreeMap::new();
        for sent in &self.sent {
            let Some(offset) = self.place(sent.message) else {
                continue;
            };
            let later = (sent.message, offset);
            if let Some(earlier) = last_of.insert(sent.producer, later)
                && offset <= earlier.1
            {
                anomalies.push(Anomaly::OutOfOrder {
                    log: log.clone(),
                    earlier,
                    later,
                });
            }
        }
    }

    fn behind_acked(&self, log: &Log, rules: &Rules, anomalies: &mut Vec<Anomaly>) {
        if rules.loss_allowed {
            return;
        }
        for sent in &self.sent {
            let (Some(acked), Some(offset)) = (sent.known, self.place(sent.message)) else {
                continue;
            };
            if offset <= acked {
                let message = (sent.message, offset);
                anomalies.push(Anomaly::BehindAcked {
                    log: log.clone(),
                    message,
                    acked,
                });
            }
        }
    }

    fn gaps(&self, log: &Log, rules: &Rules, anomalies: &mut Vec<Anomaly>) {
        if rules.gaps_allowed {
            return;
        }
        let Some(whole) = self.whole.last() else { return };
        let mut next = whole.start;
        let inside = whole
            .records
            .range(whole.start..whole.end.max(whole.start))
            .map(|(&offset, _)| offset);
        for offset in inside.chain([whole.end]) {
            if offset > next {
                anomalies.push(Anomaly::Gap {
                    log: log.clone(),
                    from: next,
                    to: offset,
                });
            }
            next = offset + 1;
        }
    }

    fn phantom_reads(&self, log: &Log, anomalies: &mut Vec<Anomaly>) {
        let Some(whole) = self.whole.last() else { return };
        for (&offset, messages) in self.reads.range(whole.start..) {
            for &message in messages {
                if whole.records.get(&offset) != Some(&Some(message)) {
                    anomalies.push(Anomaly::PhantomRead {
                        log: log.clone(),
                        offset,
                        message,
                    });
                }
            }
        }
    }

    fn refused_but_read(&self, log: &Log, anomalies: &mut Vec<Anomaly>) {
        for &message in &self.refused {
            if let Some(&offset) = self.places.get(&message).and_then(|places| places.first()) {
                anomalies.push(Anomaly::RefusedButRead {
                    log: log.clone(),
                    message,
                    offset,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history in few words: `send P M`, `ack M OFFSET|-`, `refuse M`, `seek R OFFSET`,
    /// `read R OFFSET M|-`, `all R START END`, `;` between. All in one log.
    fn history(text: &str) -> Vec<Event> {
        let log = Log::new("t", 0);
        text.split(';')
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let number = |at: usize| words[at].parse::<i64>().unwrap();
                let optional = |at: usize| words[at].parse::<i64>().ok();
                let (log, small) = (log.clone(), |at: usize| number(at) as u32);
                match words[0] {
                    "send" => Event::Sent {
                        producer: small(1),
                        message: number(2) as u64,
                        log,
                    },
                    "ack" => Event::Acked {
                        message: number(1) as u64,
                        offset: optional(2),
                    },
                    "refuse" => Event::Refused {
                        message: number(1) as u64,
                    },
                    "seek" => Event::Sought {
                        reader: small(1),
                        log,
                        offset: number(2),
                    },
                    "read" => Event::Read {
                        reader: small(1),
                        log,
                        offset: number(2),
                        message: optional(3).map(|message| message as u64),
                    },
                    "all" => Event::ReadAll {
                        reader: small(1),
                        log,
                        start: number(2),
                        end: number(3),
                    },
                    other => panic!("no such word: {other}"),
                }
            })
            .collect()
    }

    fn check_text(rules: Rules, text: &str, expected: &[&str]) {
        let found: Vec<String> = check(&history(text), &rules)
            .iter()
            .map(|anomaly| anomaly.to_string())
            .collect();
        assert_eq!(found, expected, "in: {text}");
    }

    /// Three messages sent and acknowledged at 0, 1 and 2; the case goes on from there.
    const THREE: &str = "send 1 10; send 1 11; send 1 12; ack 10 0; ack 11 1; ack 12 2;";

    fn check_three(rest: &str, expected: &[&str]) {
        check_text(Rules::STRICT, &format!("{THREE} {rest}"), expected);
    }

    #[test]
    fn right_histories_are_clean() {
        check_text(Rules::STRICT, "", &[]);
        check_three("", &[]);
        check_three("seek 1 0; read 1 0 10; read 1 1 11; read 1 2 12; all 1 0 3", &[]);
        // A read may come before the acknowledgement.
        check_text(
            Rules::STRICT,
            "send 1 10; read 1 0 10; ack 10 0; seek 1 0; read 1 0 10; all 1 0 1",
            &[],
        );
        // A reader may seek back; another may start in the middle.
        check_three(
            "read 1 0 10; read 1 1 11; seek 1 0; read 1 0 10; read 2 1 11; read 2 2 12",
            &[],
        );
        // Without a whole reading nothing is known to be lost or missing.
        check_three("read 1 0 10; read 1 2 12", &[]);
        // A message of unknown fate may be there or not.
        check_text(
            Rules::STRICT,
            "send 1 10; send 1 11; ack 11 0; seek 1 0; read 1 0 11; all 1 0 1",
            &[],
        );
        check_text(Rules::STRICT, "send 1 10; seek 1 0; read 1 0 10; all 1 0 1", &[]);
        // Retention took what was acknowledged.
        check_three("seek 1 2; read 1 2 12; all 1 2 3", &[]);
        // Two producers in between each other.
        check_text(
            Rules::STRICT,
            "send 1 10; send 2 20; send 1 11; ack 20 0; ack 10 1; ack 11 2",
            &[],
        );
    }

    #[test]
    fn lost_writes_are_found() {
        let lost = "lost write: t-0 message 12, acknowledged at offset 2";
        check_three("seek 1 0; read 1 0 10; read 1 1 11; all 1 0 2", &[lost]);
        // What an earlier reading found does not count: it is gone now.
        check_three(
            "seek 1 0; read 1 0 10; read 1 1 11; read 1 2 12; all 1 0 3; seek 1 0; read 1 0 10; read 1 1 11; all 1 0 2",
            &[lost, "phantom read: t-0 offset 2 once held message 12"],
        );
        check_text(
            Rules::STRICT,
            "send 1 10; ack 10 -; seek 1 0; all 1 0 0",
            &["lost write: t-0 message 10, acknowledged without an offset"],
        );
        let weak = Rules {
            loss_allowed: true,
            ..Rules::STRICT
        };
        check_text(weak, "send 1 10; ack 10 0; seek 1 0; all 1 0 0", &[]);
    }

    #[test]
    fn duplicates_are_found() {
        let twice = "seek 1 0; read 1 0 10; read 1 1 11; read 1 2 12; read 1 3 11; all 1 0 4";
        check_three(twice, &["duplicate: t-0 message 11 at offsets [1, 3]"]);
        let retrying = Rules {
            duplicates_allowed: true,
            ..Rules::STRICT
        };
        check_text(retrying, &format!("{THREE} {twice}"), &[]);
    }

    #[test]
    fn inconsistent_offsets_are_found() {
        check_text(
            Rules::STRICT,
            "send 1 10; send 2 20; ack 10 0; ack 20 0",
            &["inconsistent offset: t-0 offset 0 was seen to hold messages [10, 20]"],
        );
        // Two readers of diverged replicas.
        check_text(
            Rules::STRICT,
            "send 1 10; send 2 20; read 1 0 10; read 2 0 20",
            &["inconsistent offset: t-0 offset 0 was seen to hold messages [10, 20]"],
        );
    }

    #[test]
    fn wrong_offsets_are_found() {
        // The answer names offset 0 (as an answer that was never filled in does), the log has it at 1.
        check_text(
            Rules::STRICT,
            "send 2 9; send 1 10; ack 10 0; seek 1 0; read 1 0 9; read 1 1 10; all 1 0 2",
            &[
                "inconsistent offset: t-0 offset 0 was seen to hold messages [9, 10]",
                "wrong offset: t-0 message 10, acknowledged at offset 0, found at 1",
            ],
        );
    }

    #[test]
    fn lost_order_is_found() {
        check_text(
            Rules::STRICT,
            "send 1 10; send 1 11; ack 11 0; ack 10 1",
            &["out of order: t-0 message 10 at offset 1, 11, sent after it, at 0"],
        );
        let unordered = Rules {
            reorder_allowed: true,
            ..Rules::STRICT
        };
        check_text(unordered, "send 1 10; send 1 11; ack 11 0; ack 10 1", &[]);
        check_text(
            Rules::STRICT,
            "send 1 10; ack 10 5; send 2 20; ack 20 3",
            &["behind acknowledged: t-0 message 20 at offset 3, sent when 5 was known"],
        );
    }

    #[test]
    fn gaps_are_found() {
        let holes = "send 1 10; send 1 11; seek 1 0; read 1 1 10; read 1 4 11; all 1 0 6";
        check_text(
            Rules::STRICT,
            holes,
            &[
                "gap: t-0 offsets 0 to 1 (exclusive) missing",
                "gap: t-0 offsets 2 to 4 (exclusive) missing",
                "gap: t-0 offsets 5 to 6 (exclusive) missing",
            ],
        );
        check_text(
            Rules {
                gaps_allowed: true,
                ..Rules::STRICT
            },
            holes,
            &[],
        );
    }

    #[test]
    fn phantom_reads_are_found() {
        // Never acknowledged, so it is not lost; yet somebody has acted on it.
        check_text(
            Rules::STRICT,
            "send 1 10; read 1 0 10; seek 2 0; all 2 0 0",
            &["phantom read: t-0 offset 0 once held message 10"],
        );
        // Another message took its place.
        check_text(
            Rules::STRICT,
            "send 1 10; send 2 20; read 1 0 10; seek 2 0; read 2 0 20; all 2 0 1",
            &[
                "inconsistent offset: t-0 offset 0 was seen to hold messages [10, 20]",
                "phantom read: t-0 offset 0 once held message 10",
            ],
        );
    }

    #[test]
    fn readers_going_back_are_found() {
        check_three(
            "read 1 1 11; read 1 0 10",
            &["went back: t-0 reader 1 was given offset 0 after 1"],
        );
        check_three(
            "read 1 1 11; read 1 1 11",
            &["went back: t-0 reader 1 was given offset 1 after 1"],
        );
        check_three(
            "seek 1 1; read 1 0 10",
            &["went back: t-0 reader 1 was given offset 0 after 0"],
        );
    }

    #[test]
    fn refused_messages_must_not_appear() {
        check_text(
            Rules::STRICT,
            "send 1 10; refuse 10; read 1 0 10",
            &["refused but read: t-0 message 10 at offset 0"],
        );
    }

    #[test]
    fn strangers_are_found() {
        check_three("read 1 3 99", &["never sent: t-0 offset 3 holds message 99"]);
        check_three(
            "read 1 3 -",
            &["never sent: t-0 offset 3 holds a value that no producer made"],
        );
        // Sent to another log: a record that landed in the wrong topic.
        let mut events = history("send 1 10");
        events.push(Event::Read {
            reader: 1,
            log: Log::new("other", 0),
            offset: 0,
            message: Some(10),
        });
        let found = check(&events, &Rules::STRICT);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            found[0].to_string(),
            "never sent: other-0 offset 0 holds message 10"
        );
    }

    #[test]
    fn recorders_that_contradict_themselves_are_found() {
        let wrong = "the history is wrong:";
        check_text(
            Rules::STRICT,
            "send 1 10; send 1 10; ack 10 0",
            &[
                &format!("{wrong} message 10 is sent twice"),
                "out of order: t-0 message 10 at offset 0, 10, sent after it, at 0",
            ],
        );
        check_text(
            Rules::STRICT,
            "ack 10 0",
            &[&format!("{wrong} message 10 is acknowledged and was not sent")],
        );
        check_text(
            Rules::STRICT,
            "refuse 10",
            &[&format!("{wrong} message 10 is refused and was not sent")],
        );
    }
}
