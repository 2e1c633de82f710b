//! A leader through whatever comes: the high watermark follows the durable end and neither it nor the log start goes
//! back.

use protocol::types::{LeaderEpoch, Offset};
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;
use replica::Leader;

#[test]
fn nothing_goes_back() {
    for seed in 0..2_000 {
        let mut random = Pcg64::seed_from_u64(seed);
        let mut leader = Leader::new(LeaderEpoch(0), Offset(0), Offset(random.random_range(0..10)));
        let mut durable = leader.high_watermark();
        for _ in 0..60 {
            let before = leader.clone();
            let offset = Offset(random.random_range(0..100));
            match random.next_u32() % 3 {
                0 => {
                    let moved = leader.on_durable(offset);
                    durable = durable.max(offset);
                    assert_eq!(moved, (durable > before.high_watermark()).then_some(durable));
                }
                1 => leader.on_log_start(offset),
                _ => leader.on_epoch(LeaderEpoch(random.random_range(0..5)), offset),
            }
            leader.invariants();
            assert_eq!(leader.high_watermark(), durable);
            assert!(leader.high_watermark() >= before.high_watermark());
            assert!(leader.log_start() >= before.log_start());
            assert!(leader.epoch() >= before.epoch());
        }
    }
}
