//! How hostile a world is. The defaults are hostile and legal: nothing that a correct broker must not bear.
//!
//! Chances are given in parts per million (`ppm`), times as ranges in nanoseconds. What the hardware may
//! not do on its own (errors, full disks, rotten bits) is injected instead, see [`super::Fault`].

use std::ops::RangeInclusive;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// Everything that can be set about a world.
#[derive(Clone, Debug)]
pub struct Options {
    /// The scheduler and the clock.
    pub schedule: Schedule,
    /// All disks.
    pub disk: DiskOptions,
    /// The network between all nodes.
    pub network: NetworkOptions,
    /// Memory for buffers of one node, in bytes, divided among its shards.
    pub memory_bytes: usize,
    /// How many of the last entries of the trace are kept for reading; the hash does not depend on it.
    pub trace_kept: usize,
}

/// How tasks are run.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// What an ordinary turn of a task takes.
    pub turn_ns: RangeInclusive<u64>,
    /// Chance that a turn takes long.
    pub long_turn_ppm: u32,
    /// What a long turn takes; the shard does nothing else in the meantime.
    pub long_turn_ns: RangeInclusive<u64>,
    /// Chance, per turn, that some sleeping task is woken for no reason.
    pub spurious_wake_ppm: u32,
    /// How late an ordinary timer fires.
    pub timer_late_ns: RangeInclusive<u64>,
    /// Chance that a timer is very late.
    pub late_timer_ppm: u32,
    /// How late that is.
    pub late_timer_ns: RangeInclusive<u64>,
    /// What a message between shards takes.
    pub mesh_ns: RangeInclusive<u64>,
    /// Chance that a kick between shards takes long.
    pub slow_mesh_ppm: u32,
    /// How long.
    pub slow_mesh_ns: RangeInclusive<u64>,
}

/// How disks behave.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// What a read, a write or a change of names takes.
    pub delay_ns: RangeInclusive<u64>,
    /// What a sync takes.
    pub sync_ns: RangeInclusive<u64>,
    /// Chance that an operation is slow.
    pub slow_ppm: u32,
    /// What a slow one takes on top.
    pub slow_ns: RangeInclusive<u64>,
    /// Chance that a write takes less than was given (a whole number of blocks).
    pub short_write_ppm: u32,
    /// Panic when direct operations in flight overlap in a block and one of them is a write (rule D8). Only
    /// a test of what then happens may say no.
    pub still_water: bool,
    /// Room for file content, in bytes.
    pub capacity: u64,
}

/// How the network behaves.
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// What a packet takes.
    pub delay_ns: RangeInclusive<u64>,
    /// Chance that a packet takes long (it was lost and sent again).
    pub slow_ppm: u32,
    /// What such a packet takes.
    pub slow_ns: RangeInclusive<u64>,
    /// Bytes that a connection holds in one direction, sent and not yet read.
    pub window: RangeInclusive<u64>,
    /// Chance that a read or a write moves only a part of what it could.
    pub partial_ppm: u32,
    /// Chance, per packet, that its connection is reset.
    pub reset_ppm: u32,
    /// After how long without an answer a peer is given up.
    pub give_up_ns: RangeInclusive<u64>,
    /// Connections that may wait to be accepted at one listener.
    pub backlog: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            schedule: Schedule {
                turn_ns: 100..=2 * US,
                long_turn_ppm: 200,
                long_turn_ns: MS..=30 * MS,
                spurious_wake_ppm: 10_000,
                timer_late_ns: 0..=60 * US,
                late_timer_ppm: 20_000,
                late_timer_ns: 100 * US..=50 * MS,
                mesh_ns: US..=40 * US,
                slow_mesh_ppm: 20_000,
                slow_mesh_ns: 100 * US..=5 * MS,
            },
            disk: DiskOptions {
                delay_ns: 10 * US..=300 * US,
                sync_ns: 50 * US..=2 * MS,
                slow_ppm: 5_000,
                slow_ns: MS..=100 * MS,
                short_write_ppm: 1_000,
                still_water: true,
                capacity: 1 << 40,
            },
            network: NetworkOptions {
                delay_ns: 20 * US..=400 * US,
                slow_ppm: 2_000,
                slow_ns: MS..=200 * MS,
                window: 16 << 10..=512 << 10,
                partial_ppm: 200_000,
                reset_ppm: 20,
                give_up_ns: 10_000 * MS..=40_000 * MS,
                backlog: 128,
            },
            memory_bytes: 64 << 20,
            trace_kept: 0,
        }
    }
}

impl Options {
    /// A friendly world for tests of something else: same timing, but no long turns, slow or short
    /// operations and resets.
    pub fn calm() -> Options {
        let mut options = Options::default();
        options.schedule.long_turn_ppm = 0;
        options.schedule.late_timer_ppm = 0;
        options.schedule.slow_mesh_ppm = 0;
        options.disk.slow_ppm = 0;
        options.disk.short_write_ppm = 0;
        options.network.slow_ppm = 0;
        options.network.reset_ppm = 0;
        options
    }
}
