//! What a peer that means harm would send: messages cut short, counts that nothing can hold, noise.

use protocol::DecodeError;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::{BUDGET, for_all};

#[test]
fn a_message_cut_short_is_refused() {
    for_all(3, |known, message, version, sample| {
        for length in 0..sample.bytes.len() {
            let cut = (known.recode)(&sample.bytes[..length], version, BUDGET);
            assert!(cut.is_err(), "{} v{version} cut at {length}", message.name);
        }
    });
}

#[test]
fn a_count_that_the_bytes_cannot_hold_is_refused_before_it_allocates() {
    for_all(4, |known, message, version, sample| {
        let (_, charged) = (known.recode)(&sample.bytes, version, BUDGET).expect("a good sample");
        for count in &sample.counts {
            let huge: &[&[u8]] = match (count.is_varint, count.width) {
                (true, _) => &[
                    b"\xff\xff\xff\xff\x07",
                    b"\xff\xff\xff\xff\x0f",
                    b"\xff\xff\xff\x7f",
                ],
                (false, 2) => &[b"\x7f\xff"],
                _ => &[b"\x7f\xff\xff\xff", b"\x00\x0f\xff\xff"],
            };
            for huge in huge {
                let (before, after) = sample.bytes.split_at(count.place);
                let bytes = [before, huge, &after[count.width..]].concat();
                // Nothing but what a good message needs is there to be allocated.
                let found = (known.recode)(&bytes, version, charged).err();
                let (name, place) = (&message.name, count.place);
                // Within a tagged field even the count itself may be longer than the field.
                let refused = matches!(found, Some(DecodeError::Length | DecodeError::Truncated));
                assert!(refused, "{name} v{version} at {place}: {found:?}");
            }
        }
    });
}

#[test]
fn what_decoding_allocates_is_charged() {
    for_all(5, |known, message, version, sample| {
        let (_, charged) = (known.recode)(&sample.bytes, version, BUDGET).expect("a good sample");
        assert!((known.recode)(&sample.bytes, version, charged).is_ok());
        if let Some(less) = charged.checked_sub(1) {
            let found = (known.recode)(&sample.bytes, version, less).err();
            assert_eq!(found, Some(DecodeError::Budget), "{} v{version}", message.name);
        }
    });
}

#[test]
fn noise_never_panics() {
    let mut random = Pcg64Mcg::seed_from_u64(6);
    for_all(6, |known, _, version, sample| {
        for _ in 0..20 {
            let mut bytes = sample.bytes.clone();
            for _ in 0..random.random_range(1..4) {
                if bytes.is_empty() {
                    break;
                }
                let place = random.random_range(0..bytes.len());
                bytes[place] = random.random();
            }
            // Whatever is decoded can be encoded, and that reads as the same again.
            if let Ok((once, _)) = (known.recode)(&bytes, version, BUDGET) {
                let twice = (known.recode)(&once, version, BUDGET).map(|(bytes, _)| bytes);
                assert_eq!(twice, Ok(once));
            }
        }
    });
}
