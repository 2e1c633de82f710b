//! Records as the tests mean them, and sets of them that have every shape a record can have.

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// What a producer is asked to send.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Record {
    /// None is Kafka's null.
    pub key: Option<Vec<u8>>,
    /// None is Kafka's null (a tombstone).
    pub value: Option<Vec<u8>>,
    /// Milliseconds since 1970; none lets the client choose.
    pub timestamp: Option<i64>,
    /// Names may repeat and their order counts.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What a consumer was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// Which partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its time stamp, in milliseconds since 1970.
    pub timestamp: i64,
    /// The rest; its own `timestamp` repeats the one above.
    pub record: Record,
}

/// The first time stamp of every set: 2001-09-09, so that nobody mixes it up with now.
pub const BASE_TIMESTAMP: i64 = 1_000_000_000_000;

/// Records of every shape: null, empty, short, long and binary keys and values, none to several headers, and
/// time stamps that rise by 10 ms with every second record (so that two share one).
pub fn every_shape(seed: u64, count: usize) -> Vec<Record> {
    let mut random = Pcg64::seed_from_u64(seed);
    (0..count)
        .map(|index| Record {
            key: bytes(&mut random, index % 5, 40),
            value: bytes(&mut random, (index / 5) % 5, 3000),
            timestamp: Some(BASE_TIMESTAMP + 10 * (index / 2) as i64),
            headers: (0..index % 4).map(|at| header(&mut random, at)).collect(),
        })
        .collect()
}

/// What kcat can send: text without its delimiters, empty means null, the same headers on every record, and no
/// time stamps of one's own.
pub fn every_text_shape(seed: u64, count: usize) -> Vec<Record> {
    let mut random = Pcg64::seed_from_u64(seed);
    let headers = vec![
        ("trace".to_string(), Some(b"a b\xff".to_vec())),
        ("empty".to_string(), Some(Vec::new())),
    ];
    (0..count)
        .map(|index| Record {
            key: (index % 3 != 0).then(|| text(&mut random, 20)),
            value: (index % 7 != 0).then(|| text(&mut random, 2000)),
            timestamp: None,
            headers: headers.clone(),
        })
        .collect()
}

fn bytes(random: &mut Pcg64, shape: usize, length_max: usize) -> Option<Vec<u8>> {
    match shape {
        0 => None,
        1 => Some(Vec::new()),
        // Compresses well.
        2 => Some(
            b"all work and no play "
                .iter()
                .copied()
                .cycle()
                .take(length_max)
                .collect(),
        ),
        // Does not.
        3 => {
            let mut bytes = vec![0; random.random_range(1..=length_max)];
            random.fill_bytes(&mut bytes);
            Some(bytes)
        }
        _ => Some(text(random, length_max)),
    }
}

fn text(random: &mut Pcg64, length_max: usize) -> Vec<u8> {
    let length = random.random_range(1..=length_max);
    (0..length).map(|_| random.random_range(b' '..=b'~')).collect()
}

/// kcat prints headers as `name=value,` and null as `NULL`, so values keep clear of NUL, comma, equals and
/// line ends.
fn header(random: &mut Pcg64, at: usize) -> (String, Option<Vec<u8>>) {
    let value = match at {
        0 => Some((0..8).map(|_| random.random_range(0x80..=0xff)).collect()),
        1 => None,
        _ => Some(Vec::new()),
    };
    (["kind", "größe", "kind"][at % 3].to_string(), value)
}

/// The records of `sent` (one partition, from offset 0) that a reading from `first` must give, as text when
/// the reading differs.
pub fn difference(sent: &[Record], first: usize, got: &[Consumed]) -> Option<String> {
    let expected = sent.get(first..).unwrap_or_default();
    if expected.len() != got.len() {
        let offsets: Vec<i64> = got.iter().map(|record| record.offset).collect();
        return Some(format!(
            "{} records expected, {} read: offsets {offsets:?}",
            expected.len(),
            got.len()
        ));
    }
    expected
        .iter()
        .zip(got)
        .enumerate()
        .find_map(|(at, (sent, got))| {
            let offset = (first + at) as i64;
            // Where the client chose the time, any will do.
            let timestamp = sent.timestamp.or(Some(got.timestamp));
            let expected = Record {
                timestamp,
                ..sent.clone()
            };
            let got_record = Record {
                timestamp: Some(got.timestamp),
                ..got.record.clone()
            };
            (got.offset != offset || got_record != expected).then(|| {
                format!(
                    "at offset {offset}: sent {expected:?}\n read at {}: {got_record:?}",
                    got.offset
                )
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_the_same_every_time_and_have_every_shape() {
        let records = every_shape(7, 60);
        assert_eq!(records, every_shape(7, 60));
        for (key, value) in [(None, None), (Some(Vec::new()), Some(Vec::new()))] {
            assert!(records.iter().any(|record| record.key == key));
            assert!(records.iter().any(|record| record.value == value));
        }
        assert!(records.iter().any(|record| record.headers.len() == 3));
    }

    #[test]
    fn differences_are_seen() {
        let sent = every_shape(1, 4);
        let got: Vec<Consumed> = sent
            .iter()
            .enumerate()
            .map(|(at, record)| Consumed {
                partition: 0,
                offset: at as i64,
                timestamp: record.timestamp.unwrap(),
                record: record.clone(),
            })
            .collect();
        assert_eq!(difference(&sent, 0, &got), None);
        assert_eq!(difference(&sent, 2, &got[2..]), None);
        assert!(difference(&sent, 0, &got[1..]).is_some());
        let mut other = got.clone();
        other[3].record.value = Some(b"x".to_vec());
        assert!(difference(&sent, 0, &other).unwrap().contains("offset 3"));
        let mut other = got;
        other[3].timestamp += 1;
        assert!(difference(&sent, 0, &other).is_some());
    }
}
