//! What happened in a run: one hash over all of it, and the last entries in words.
//!
//! Two runs of one seed that differ anywhere differ in the hash. Only the hash is always kept; the entries
//! themselves cost memory and are kept for the run that a person wants to read.

use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use super::random::scatter;

/// The kinds of things that a trace tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Start,
    Spawn,
    Turn,
    Wake,
    Timer,
    Mesh,
    Submit,
    Disk,
    Bytes,
    Connect,
    Send,
    Receive,
    Close,
    Crash,
    Signal,
}

/// One thing that happened, at `at` nanoseconds.
#[derive(Clone, Debug)]
struct Entry {
    at: u64,
    what: What,
    node: u64,
    a: u64,
    b: u64,
    text: Option<Rc<str>>,
}

#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    count: u64,
    kept: usize,
    tail: VecDeque<Entry>,
}

impl Trace {
    pub(crate) fn new(kept: usize) -> Trace {
        Trace {
            kept,
            ..Trace::default()
        }
    }

    pub(crate) fn note(&mut self, at: u64, what: What, node: u64, a: u64, b: u64) {
        self.record(at, what, node, a, b, None);
    }

    /// The same, with a name for the reader; the name is not part of the hash.
    pub(crate) fn note_named(&mut self, at: u64, what: What, node: u64, a: u64, b: u64, text: &Rc<str>) {
        self.record(at, what, node, a, b, Some(text));
    }

    fn record(&mut self, at: u64, what: What, node: u64, a: u64, b: u64, text: Option<&Rc<str>>) {
        let words = [at, (what as u64) << 32 | node, a, b];
        self.hash = words.iter().fold(self.hash, |hash, word| mix(hash ^ word));
        self.count += 1;
        if self.kept > 0 {
            if self.tail.len() == self.kept {
                self.tail.pop_front();
            }
            self.tail.push_back(Entry {
                at,
                what,
                node,
                a,
                b,
                text: text.cloned(),
            });
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        scatter(self.hash ^ self.count)
    }

    /// The entries that are kept, oldest first, one line each.
    pub(crate) fn tail(&self) -> Vec<String> {
        self.tail.iter().map(Entry::to_string).collect()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (micros, what) = (self.at / 1000, self.what);
        write!(f, "{:>8}.{:06} ", micros / 1_000_000, micros % 1_000_000)?;
        let node = self.node;
        match &self.text {
            Some(text) => write!(f, "{node} {what:?} {text} {} {}", self.a, self.b),
            None => write!(f, "{node} {what:?} {} {}", self.a, self.b),
        }
    }
}

fn mix(value: u64) -> u64 {
    let wide = u128::from(value ^ 0x9e37_79b9_7f4a_7c15) * u128::from(0xa076_1d64_78bd_642f_u64);
    (wide >> 64) as u64 ^ wide as u64
}

/// A hash of bytes that is fast at low optimisation; it need not resist anybody.
pub(crate) fn hash_bytes(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = bytes.as_chunks::<8>();
    let (quads, words) = words.as_chunks::<4>();
    let mut lanes = [1, 2, 3, bytes.len() as u64]; // four, because the multiplications can overlap
    for quad in quads {
        for (lane, word) in lanes.iter_mut().zip(quad) {
            *lane = (*lane ^ u64::from_le_bytes(*word))
                .wrapping_mul(FACTOR)
                .rotate_left(29);
        }
    }
    let mut hash = lanes.iter().fold(0, |hash, lane| mix(hash ^ lane));
    for word in words {
        hash = mix(hash ^ u64::from_le_bytes(*word));
    }
    rest.iter().fold(hash, |hash, byte| mix(hash ^ u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_entry_changes_the_hash() {
        let base = (5, What::Turn, 1, 2, 3);
        let hash = |(at, what, node, a, b): (u64, What, u64, u64, u64)| {
            let mut trace = Trace::new(0);
            trace.note(at, what, node, a, b);
            trace.hash()
        };
        let others = [
            (6, What::Turn, 1, 2, 3),
            (5, What::Wake, 1, 2, 3),
            (5, What::Turn, 2, 2, 3),
            (5, What::Turn, 1, 3, 3),
        ];
        for other in others {
            assert_ne!(hash(base), hash(other), "{other:?}");
        }
        assert_eq!(hash(base), hash(base));
    }

    #[test]
    fn only_the_last_entries_are_kept() {
        let mut trace = Trace::new(2);
        for at in 0..5 {
            trace.note(at * 1_000_000, What::Timer, 0, at, 0);
        }
        assert_eq!(
            trace.tail(),
            ["       0.003000 0 Timer 3 0", "       0.004000 0 Timer 4 0"]
        );
    }

    #[test]
    fn each_byte_counts() {
        let bytes: Vec<u8> = (0..100).collect();
        let hash = hash_bytes(&bytes);
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            assert_ne!(hash, hash_bytes(&changed), "{position}");
        }
    }
}
