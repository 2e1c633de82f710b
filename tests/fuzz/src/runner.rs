//! Gives changed inputs to a target and says what it did wrong.
//!
//! What a newcomer would get wrong: time is the CPU time of this thread, not that of a clock, so that a busy machine
//! finds nothing that is not there; and an input is judged after it was tried, so a reader that never ends is
//! found by whoever waits for it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Once;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use rustix::time::{ClockId, clock_gettime};

use crate::mutate::mutate;

/// CPU time that one input may take, in ms: a hundred times what the slowest takes in a build without optimization.
const INPUT_MS_MAX: u64 = 500;
/// Examples kept at most, and their bytes.
const CORPUS_MAX: usize = 8_192;
const CORPUS_BYTES_MAX: usize = 32 << 20;
/// Inputs tried to make a finding smaller.
const MINIMISE_TRIES: usize = 3_000;

/// One reader of bytes.
pub struct Target {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Good examples.
    pub corpus: fn() -> Vec<Vec<u8>>,
    /// Makes checksums right again, so that what lies behind them is read.
    pub mend: fn(&mut [u8]),
    /// Reads the bytes and checks what must be true of what it read, by panic. It returns what the reader answered:
    /// inputs that differ in it are worth keeping.
    pub read: fn(&[u8]) -> Answer,
    /// How many bytes the reader may hold at one time for an input of this many bytes.
    pub memory_max: fn(usize) -> usize,
}

/// What a reader said to an input, as a hash.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Answer(pub u64);

impl Answer {
    /// The answer that `what` is.
    pub fn of(what: impl Hash) -> Answer {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        Answer(hasher.finish())
    }

    /// The answer that the text of `what` is.
    pub fn shown(what: impl fmt::Debug) -> Answer {
        Answer::of(format!("{what:?}"))
    }
}

/// When a run ends: at whichever is reached first.
#[derive(Copy, Clone, Debug)]
pub struct Limit {
    /// Inputs tried.
    pub inputs: u64,
    /// CPU time, in seconds.
    pub seconds: u64,
}

/// What a run without a finding did.
#[derive(Copy, Clone, Debug)]
pub struct Summary {
    /// Inputs tried.
    pub inputs: u64,
    /// Examples at the end.
    pub corpus: usize,
    /// Most bytes held at one time.
    pub memory: usize,
    /// Longest time of one input, in us of CPU.
    pub longest_us: u64,
}

/// What a target did wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It panicked: where, and what it said.
    Panic(String),
    /// It held more memory than it may.
    Memory {
        /// Bytes held at one time.
        held: usize,
        /// What it may hold.
        allowed: usize,
    },
    /// It took this many ms of CPU.
    Time(u64),
}

/// An input that a target did wrong with, made as small as was quick to find.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Of which target.
    pub target: &'static str,
    /// What it did.
    pub kind: Kind,
    /// The input.
    pub input: Vec<u8>,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.target)?;
        match &self.kind {
            Kind::Panic(text) => write!(out, "panicked at {text}")?,
            Kind::Memory { held, allowed } => write!(out, "held {held} bytes, {allowed} are allowed")?,
            Kind::Time(ms) => write!(out, "took {ms} ms of CPU")?,
        }
        write!(out, "; input of {} bytes, in hex: ", self.input.len())?;
        self.input.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// Tries changed inputs on a target until `limit` is reached or it does something wrong. The same seed gives the
/// same inputs. With `keep`, each input is written there before it is tried.
pub fn run(
    target: &Target,
    seed: u64,
    limit: Limit,
    keep: Option<&PathBuf>,
) -> Result<Summary, Box<Finding>> {
    note_panics();
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut corpus = (target.corpus)();
    let mut answers = BTreeSet::new();
    let mut summary = Summary {
        inputs: 0,
        corpus: 0,
        memory: 0,
        longest_us: 0,
    };
    let begun = cpu_us();
    let examples = corpus.len();
    let mut corpus_bytes = corpus.iter().map(Vec::len).sum::<usize>();
    while summary.inputs < limit.inputs && cpu_us() - begun < limit.seconds * 1_000_000 {
        let at = summary.inputs as usize;
        let input = if at < examples {
            corpus[at].clone()
        } else {
            let one = &corpus[random.random_range(0..corpus.len())];
            let other = &corpus[random.random_range(0..corpus.len())];
            let mut input = mutate(one, other, &mut random);
            if random.random_bool(0.7) {
                (target.mend)(&mut input);
            }
            input
        };
        if let Some(path) = keep {
            std::fs::write(path, &input).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        let trial = try_one(target, &input);
        summary.inputs += 1;
        summary.memory = summary.memory.max(trial.memory);
        summary.longest_us = summary.longest_us.max(trial.us);
        match trial.outcome {
            // To try again what takes long takes long each time.
            Err(kind @ Kind::Time(_)) => {
                let target = target.name;
                return Err(Box::new(Finding { target, kind, input }));
            }
            Err(kind) => return Err(Box::new(minimise(target, input, kind))),
            Ok(answer) => {
                let has_room = corpus.len() < CORPUS_MAX && corpus_bytes + input.len() <= CORPUS_BYTES_MAX;
                if answers.insert(answer) && at >= examples && has_room {
                    corpus_bytes += input.len();
                    corpus.push(input);
                }
            }
        }
    }
    summary.corpus = corpus.len();
    Ok(summary)
}

struct Trial {
    outcome: Result<Answer, Kind>,
    memory: usize,
    us: u64,
}

fn try_one(target: &Target, input: &[u8]) -> Trial {
    let mut result = Ok(Answer::default());
    let begun = cpu_us();
    let held = allocation_counter::measure(|| {
        QUIET.set(true);
        result = catch_unwind(AssertUnwindSafe(|| (target.read)(input)));
        QUIET.set(false);
    });
    let us = cpu_us() - begun;
    let memory = held.bytes_max as usize;
    let allowed = (target.memory_max)(input.len());
    let outcome = match result {
        Err(panic) => Err(Kind::Panic(text_of(panic))),
        Ok(_) if memory > allowed => Err(Kind::Memory {
            held: memory,
            allowed,
        }),
        Ok(_) if us / 1_000 > INPUT_MS_MAX => Err(Kind::Time(us / 1_000)),
        Ok(answer) => Ok(answer),
    };
    Trial { outcome, memory, us }
}

/// Cuts pieces out of the input, and makes what is left zero, while the target still does the same wrong thing.
fn minimise(target: &Target, mut input: Vec<u8>, mut kind: Kind) -> Finding {
    let mut tries = 0;
    let mut attempt = |candidate: Vec<u8>, input: &mut Vec<u8>, kind: &mut Kind| {
        tries += 1;
        if let Err(found) = try_one(target, &candidate).outcome
            && is_same(&found, kind)
        {
            (*input, *kind) = (candidate, found);
            return true;
        }
        tries > MINIMISE_TRIES
    };
    let mut piece = input.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < input.len() {
            let end = (at + piece).min(input.len());
            let without = [&input[..at], &input[end..]].concat();
            let mut mended = without.clone();
            (target.mend)(&mut mended);
            if !attempt(without, &mut input, &mut kind) && !attempt(mended, &mut input, &mut kind) {
                at += piece;
            }
        }
        piece /= 2;
    }
    Finding {
        target: target.name,
        kind,
        input,
    }
}

fn is_same(one: &Kind, other: &Kind) -> bool {
    match (one, other) {
        // By place: the text may name numbers of the input.
        (Kind::Panic(one), Kind::Panic(other)) => one.split(' ').next() == other.split(' ').next(),
        (Kind::Memory { .. }, Kind::Memory { .. }) => true,
        _ => false,
    }
}

fn cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

thread_local! {
    /// Whether a panic of this thread is a finding, to be told by the runner, and not to be printed.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                return usual(panic);
            }
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            PLACE.set(place);
        }));
    });
}

fn text_of(panic: Box<dyn Any + Send>) -> String {
    let place = PLACE.take();
    let text = match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast::<&str>()
            .map_or(String::new(), |text| (*text).to_owned()),
    };
    format!("{place} {text}")
}
