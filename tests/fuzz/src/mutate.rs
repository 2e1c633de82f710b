//! Changes to an input, of the kinds that readers get wrong: lengths, counts, ends.

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

/// Inputs do not grow beyond this.
pub const BYTES_MAX: usize = 64 << 10;

/// What lengths, counts, offsets and versions are replaced by.
const NUMBERS: &[i64] = &[
    0,
    1,
    -1,
    -2,
    2,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x000f_ffff,
    0x7fff_ffff,
    0x7fff_fffe,
    0x8000_0000,
    0xffff_ffff,
    i64::MAX,
    i64::MIN,
    i64::MAX - 1,
];

/// A changed copy of `input`, now and then with a part of `other` in it.
pub fn mutate(input: &[u8], other: &[u8], random: &mut Pcg64Mcg) -> Vec<u8> {
    let mut bytes = input.to_vec();
    // Mostly little: a reader refuses a ruin at its first byte.
    let changes = [1, 1, 1, 2, 2, 3, 5, 8][random.random_range(0..8)];
    for _ in 0..changes {
        change(&mut bytes, other, random);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Pcg64Mcg) {
    let place = random.random_range(0..=bytes.len());
    let left = bytes.len() - place;
    match random.random_range(0..11) {
        0 => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte = random.random();
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte = byte.wrapping_add([1, 0xff][random.random_range(0..2)]);
            }
        }
        // A number of any width and either order of bytes.
        3 | 4 => {
            let number = NUMBERS[random.random_range(0..NUMBERS.len())];
            let width = [1, 2, 4, 8][random.random_range(0..4)];
            let mut number = number.to_be_bytes()[8 - width..].to_vec();
            if random.random_bool(0.3) {
                number.reverse();
            }
            overwrite(bytes, place, &number);
        }
        // A varint that says something huge, longer or shorter than the one that stood there.
        5 => {
            let huge: &[&[u8]] = &[
                b"\xff\xff\xff\xff\x0f",
                b"\xff\xff\xff\xff\x07",
                b"\x80\x80\x80\x80\x00",
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                b"\xfe\xff\xff\xff\x0f",
                b"\xff\x7f",
            ];
            let old = random.random_range(0..=left.min(2));
            bytes.splice(
                place..place + old,
                huge[random.random_range(0..huge.len())].iter().copied(),
            );
        }
        6 => bytes.truncate(place),
        7 => {
            let count = random.random_range(0..=left.min(64));
            bytes.drain(place..place + count);
        }
        8 => {
            let count = random.random_range(0..=left.min(64));
            let again = bytes[place..place + count].to_vec();
            bytes.splice(place..place, again);
        }
        9 => {
            let from = random.random_range(0..=other.len());
            let count = random.random_range(0..=(other.len() - from).min(256));
            let part = other[from..from + count].to_vec();
            if random.random_bool(0.5) {
                bytes.splice(place..place, part);
            } else {
                overwrite(bytes, place, &part);
            }
        }
        _ => {
            let count = random.random_range(0..9);
            let noise: Vec<u8> = (0..count).map(|_| random.random()).collect();
            bytes.splice(place..place, noise);
        }
    }
}

fn overwrite(bytes: &mut [u8], place: usize, with: &[u8]) {
    for (byte, new) in bytes[place..].iter_mut().zip(with) {
        *byte = *new;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn one_seed_gives_the_same_changes_and_never_too_many_bytes() {
        let all = |seed| {
            let mut random = Pcg64Mcg::seed_from_u64(seed);
            let mut bytes = b"some bytes to begin with".to_vec();
            for _ in 0..2_000 {
                bytes = mutate(&bytes, b"and others", &mut random);
                assert!(bytes.len() <= BYTES_MAX);
            }
            bytes
        };
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
        assert!(mutate(b"", b"", &mut Pcg64Mcg::seed_from_u64(3)).len() <= 80);
    }
}
