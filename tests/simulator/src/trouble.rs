//! What a run has to bear beside crashes: a disk that fails, fills up or rots, a network that is cut.
//!
//! A seed has at most one kind, so that what came of it can be told, and most have none. What a newcomer would get
//! wrong: it is drawn from a stream of its own, so that the plan of a seed is otherwise what it would be without.

use std::time::Duration;

use shards::sim::{Crash, Operation, Stream};

/// The stream that it is drawn from.
const STREAM: u64 = 0x7472_6f75;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What goes wrong in a run.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// Nothing more than what is always to be expected.
    Usual,
    /// Lives of the broker in each of which operations fail.
    Errors(Vec<DiskError>),
    /// Lives of the broker in each of which the disk fills up.
    Full(Vec<Full>),
    /// Many writes take less than they were given, in parts per million: so many that it happens twice in a row, and
    /// so few that it does not eight times, which counts as a disk that has failed.
    ShortWrites(u32),
    /// A bit of a file is turned while the node is down.
    Rot(Rot),
    /// Events of the network.
    Network(Vec<Event>),
}

/// Operations that fail in one life of the broker.
#[derive(Clone, Debug)]
pub struct DiskError {
    /// How long after the start they begin to.
    pub after: Duration,
    /// With which `errno`.
    pub errno: i32,
    /// Which.
    pub operation: Operation,
    /// On files whose path contains this.
    pub path: &'static str,
    /// How many of them are let pass first.
    pub skip: u64,
    /// How many fail.
    pub times: u64,
    /// What ends this life, or comes after its end.
    pub crash: Crash,
}

/// A disk that fills up in one life of the broker.
#[derive(Clone, Debug)]
pub struct Full {
    /// How long after the start.
    pub after: Duration,
    /// How many bytes of room are left then.
    pub left: u64,
    /// Whether the broker is started once more before there is room again.
    pub is_started_on: bool,
    /// What ends this life, or comes after its end.
    pub crash: Crash,
}

/// A bit that is turned while the node is down.
#[derive(Clone, Debug)]
pub struct Rot {
    /// How the life before ends; cleanly if not by a crash.
    pub crash: Option<Crash>,
    /// In which files: those whose path contains this.
    pub path: &'static str,
    /// Chooses the file, the byte and the bit.
    pub place: Stream,
}

/// Something that happens to the network between the broker and a client.
#[derive(Clone, Debug)]
pub struct Event {
    /// How long after the beginning of the run.
    pub at: Duration,
    /// Which client, counted round.
    pub client: usize,
    /// What.
    pub what: What,
    /// How long it lasts, if it is something that lasts.
    pub lasts: Duration,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Nothing arrives either way.
    Cut,
    /// Nothing from the client arrives.
    CutToBroker,
    /// Nothing from the broker arrives.
    CutFromBroker,
    /// The connections there are fall silent; new ones work.
    HalfOpen,
    /// The connections there are end.
    Reset,
    /// Everything takes longer.
    Slow,
}

impl Trouble {
    /// The trouble of a seed.
    pub fn new(seed: u64) -> Trouble {
        let mut random = Stream::keyed(seed, STREAM);
        let random = &mut random;
        match random.below(20) {
            0..=2 => Trouble::Errors((0..random.between(1, 3)).map(|_| error(random)).collect()),
            3..=4 => Trouble::Full((0..random.between(1, 2)).map(|_| full(random)).collect()),
            5 => Trouble::ShortWrites(random.between(20_000, 120_000) as u32),
            6..=8 => Trouble::Rot(rot(random)),
            9..=12 => Trouble::Network(network(random)),
            _ => Trouble::Usual,
        }
    }

    /// What errors in the broker's log may be about: they were provoked.
    pub fn excuses(&self) -> &'static [&'static str] {
        match self {
            Trouble::Errors(_) => &["os error"],
            Trouble::Full(_) => &["os error 28"],
            Trouble::Rot(_) => &["the partition is offline", "is damaged at byte"],
            Trouble::Usual | Trouble::ShortWrites(_) | Trouble::Network(_) => &[],
        }
    }
}

fn crash(random: &mut Stream) -> Crash {
    if random.chance(600_000) {
        Crash::PowerCut
    } else {
        Crash::Kill
    }
}

fn error(random: &mut Stream) -> DiskError {
    let (operation, skip) = match random.below(10) {
        0..=2 => (Operation::Write, random.below(40)),
        3..=5 => (Operation::Sync, random.below(20)),
        6 => (Operation::Allocate, random.below(5)),
        7 => (Operation::Open, random.below(20)),
        8 => (Operation::Rename, random.below(3)),
        _ => (Operation::Read, random.below(10)),
    };
    let path = match random.below(3) {
        0 => "journal",
        1 => ".log",
        _ => "",
    };
    DiskError {
        after: Duration::from_micros(random.below(600_000)),
        errno: if random.chance(800_000) { EIO } else { ENOSPC },
        operation,
        path,
        skip,
        times: random.between(1, 3),
        crash: crash(random),
    }
}

fn full(random: &mut Stream) -> Full {
    Full {
        after: Duration::from_micros(random.below(600_000)),
        left: random.below(3 << 20),
        is_started_on: random.chance(500_000),
        crash: crash(random),
    }
}

fn rot(random: &mut Stream) -> Rot {
    let path = match random.below(4) {
        0 => "journal",
        1 => "checkpoint",
        _ => ".log",
    };
    Rot {
        crash: random.chance(700_000).then(|| crash(random)),
        path,
        place: Stream::keyed(random.next_u64(), STREAM),
    }
}

fn network(random: &mut Stream) -> Vec<Event> {
    let mut events: Vec<Event> = (0..random.between(2, 8)).map(|_| event(random)).collect();
    events.sort_by_key(|event| event.at);
    events
}

fn event(random: &mut Stream) -> Event {
    let what = match random.below(6) {
        0 => What::Cut,
        1 => What::CutToBroker,
        2 => What::CutFromBroker,
        3 => What::HalfOpen,
        4 => What::Reset,
        _ => What::Slow,
    };
    Event {
        at: Duration::from_micros(random.between(10_000, 3_000_000)),
        client: random.below(16) as usize,
        what,
        lasts: Duration::from_micros(random.between(1_000, 3_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_trouble_and_every_kind_is_there() {
        let mut kinds = [0; 6];
        for seed in 0..500 {
            let trouble = Trouble::new(seed);
            assert_eq!(format!("{trouble:?}"), format!("{:?}", Trouble::new(seed)));
            let kind = match trouble {
                Trouble::Usual => 0,
                Trouble::Errors(_) => 1,
                Trouble::Full(_) => 2,
                Trouble::ShortWrites(_) => 3,
                Trouble::Rot(_) => 4,
                Trouble::Network(_) => 5,
            };
            kinds[kind] += 1;
        }
        assert!(kinds.iter().all(|count| *count >= 15), "{kinds:?}");
        assert!(kinds[0] > 100, "crashes alone have become rare: {kinds:?}");
    }
}
