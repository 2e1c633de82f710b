//! The runner finds what it is there to find: readers with one planted mistake each.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test: it reads examples and measures time, on ordinary threads"
)]

use std::time::{Duration, Instant};

use fuzz::runner::Answer;
use fuzz::{Finding, Kind, Limit, Target, run};

const LIMIT: Limit = Limit {
    inputs: 200_000,
    seconds: 20,
};

fn reader(name: &'static str, read: fn(&[u8]) -> Answer) -> Target {
    Target {
        name,
        corpus: || vec![b"\x00\x00\x00\x05hello, and then some more bytes".to_vec()],
        mend: |_| {},
        read,
        memory_max: |length| 4 * length + 1_024,
    }
}

fn find(name: &'static str, read: fn(&[u8]) -> Answer) -> Option<Box<Finding>> {
    run(&reader(name, read), 1, LIMIT, None).err()
}

/// The length in front, as an honest reader takes it.
fn length_of(input: &[u8]) -> usize {
    input
        .first_chunk::<4>()
        .map_or(0, |bytes| u32::from_be_bytes(*bytes) as usize)
}

#[test]
fn an_honest_reader_is_left_alone() {
    let found = run(
        &reader("honest", |input| {
            let body = input.get(4..4 + length_of(input));
            Answer::of(body.map(<[u8]>::to_vec))
        }),
        1,
        Limit {
            inputs: 20_000,
            ..LIMIT
        },
        None,
    );
    assert_eq!(found.expect("nothing is wrong").inputs, 20_000);
}

#[test]
fn a_planted_panic_is_found_and_made_small() {
    let found = find("panic", |input| {
        let length = length_of(input);
        // The mistake: a length is believed, if it is not all too large.
        if (64..1 << 20).contains(&length) {
            return Answer::of(&input[4..4 + length]);
        }
        Answer::default()
    });
    let found = found.expect("the panic");
    assert!(
        matches!(&found.kind, Kind::Panic(text) if text.contains("planted.rs") && text.contains("range"))
    );
    assert_eq!(found.input.len(), 4, "{found}");
}

#[test]
fn a_panic_behind_several_answers_is_found() {
    // Each answer leads to the next one: an input that gets further is kept and changed again.
    let found = find("deep", |input| {
        let depth = input
            .iter()
            .zip(b"\xff\x7f\x80")
            .take_while(|(one, other)| one == other)
            .count();
        assert!(depth < 3, "as deep as it goes");
        Answer::of(depth)
    });
    assert!(matches!(found.expect("the panic").kind, Kind::Panic(_)));
}

#[test]
fn a_planted_huge_allocation_is_found() {
    let found = find("memory", |input| {
        // The mistake: room is made for what the length says before the bytes are there.
        let room: Vec<u8> = Vec::with_capacity(length_of(input).min(1 << 31));
        Answer::of(room.is_empty())
    });
    let found = found.expect("the allocation");
    assert!(
        matches!(found.kind, Kind::Memory { held, allowed } if held > allowed),
        "{found}"
    );
}

#[test]
fn a_planted_endless_loop_is_found() {
    let found = find("time", |input| {
        // The mistake: work goes by what a length says, not by what is there.
        let begun = Instant::now();
        while length_of(input) > 1 << 30 && begun.elapsed() < Duration::from_secs(3) {
            std::hint::spin_loop();
        }
        Answer::default()
    });
    assert!(matches!(found.expect("the loop").kind, Kind::Time(ms) if ms > 500));
}
