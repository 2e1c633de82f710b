//! A quorum of one through many lives: whatever happens in which order, epochs only grow, nothing is committed that is
//! not durable, and what was committed stays so.

use protocol::types::{BrokerId, LeaderEpoch, Offset};
use quorum::{ElectionState, Input, Output, Quorum, Voters};
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

const NODE: BrokerId = BrokerId(1);

/// What survives a crash.
#[derive(Default)]
struct Disk {
    state: Option<ElectionState>,
    /// The epoch of each record.
    log: Vec<LeaderEpoch>,
}

#[test]
fn many_lives() {
    for seed in 0..2_000 {
        let mut random = Pcg64::seed_from_u64(seed);
        let mut disk = Disk::default();
        let (mut acted, mut committed) = (LeaderEpoch(0), 0);
        for _ in 0..8 {
            let log_epoch = disk.log.last().copied().unwrap_or(LeaderEpoch(-1));
            let stored = disk.state.clone();
            let mut quorum = Quorum::new(NODE, Voters::new([NODE]), stored, log_epoch).unwrap();
            live(&mut quorum, &mut disk, &mut random, (&mut acted, &mut committed));
            assert!(
                disk.log.len() >= committed,
                "seed {seed}: what was committed is gone"
            );
            assert!(disk.log.is_sorted(), "seed {seed}");
        }
    }
}

/// One life, to a crash at any point.
fn live(
    quorum: &mut Quorum,
    disk: &mut Disk,
    random: &mut Pcg64,
    (acted, committed): (&mut LeaderEpoch, &mut usize),
) {
    let mut log = disk.log.clone();
    let mut is_started = false;
    loop {
        let durable = disk.log.len();
        let input = match random.next_u32() % 8 {
            0 if !is_started => {
                is_started = true;
                Input::Start {
                    log_end: Offset(log.len() as i64),
                }
            }
            1 if random.next_u32().is_multiple_of(4) => Input::Resign,
            2 => return,
            3..5 => {
                if quorum.leader().is_some() {
                    log.push(quorum.epoch());
                }
                continue;
            }
            _ => {
                let end = random.random_range(durable..=log.len());
                disk.log = log.get(..end).unwrap().to_vec();
                Input::Durable(Offset(end as i64))
            }
        };
        for output in quorum.on_input(input) {
            quorum.invariants();
            if random.next_u32().is_multiple_of(16) {
                return;
            }
            match output {
                Output::Persist(state) => {
                    let before = disk.state.replace(state.clone());
                    let before = before.map_or((LeaderEpoch(0), None), |before| (before.epoch, before.voted));
                    assert!(state.epoch >= before.0 && (state.epoch > before.0 || before.1 == Some(NODE)));
                }
                Output::Append { offset, epoch, .. } => {
                    assert_eq!(offset.0, log.len() as i64);
                    assert_eq!(
                        disk.state.as_ref().map(|state| state.epoch),
                        Some(epoch),
                        "the vote came first"
                    );
                    assert!(epoch > *acted, "no epoch is led twice");
                    *acted = epoch;
                    log.push(epoch);
                }
                Output::HighWatermark(offset) => {
                    let offset = offset.0 as usize;
                    assert!(offset > *committed && offset <= disk.log.len());
                    assert_eq!(disk.log.get(offset - 1), Some(&quorum.epoch()));
                    *committed = offset;
                }
                Output::Resigned => {}
            }
        }
    }
}
