//! A whole journal file: halves, commits, records.

use protocol::crc::crc32c;
use protocol::types::{Offset, Partition, Uuid};
use storage::PartitionId;
use storage::journal::frames::{BLOCK, COMMIT_HEADER_BYTES, CommitHeader, HALF_HEAD_BYTES, HalfHeader};
use storage::journal::records::{Cut, Fence, Placed, RECORD_BYTES, Record, Seal};
use storage::journal::replay::walk;

use super::{SLACK, examples};
use crate::Target;
use crate::runner::Answer;

/// See the module.
pub const JOURNAL: Target = Target {
    name: "journal",
    corpus,
    mend,
    read,
    // The names of partitions in what is rotten, in a set.
    memory_max: |length| 4 * length + SLACK,
};

const HALF_BYTES: u64 = 7 * BLOCK as u64;
const JOURNAL_ID: Uuid = Uuid([0x4a; 16]);

fn records() -> Vec<Vec<u8>> {
    let batches = examples::kafka_batches();
    let id = PartitionId {
        topic_id: Uuid([5; 16]),
        partition: Partition(3),
    };
    let fence = |incarnation, cut| Record::Fence(Fence { id, incarnation, cut });
    let mut records = Vec::new();
    let mut position = 0;
    for batch in batches.iter().filter(|batch| batch.len() < 1_000) {
        records.push(Record::Bytes(Placed {
            id,
            incarnation: 1,
            segment: Offset(0),
            position,
            old: 0,
            bytes: batch,
        }));
        position += batch.len() as u32;
    }
    records.push(Record::Seal(Seal {
        id,
        incarnation: 1,
        segment: Offset(0),
        length: position,
        end: Offset(20),
    }));
    let cut = Cut::Truncate {
        segment: Offset(0),
        position: 70,
        end: Offset(1),
    };
    records.push(fence(2, cut));
    records.push(fence(3, Cut::Start(Offset(1))));
    records.push(fence(4, Cut::Restart(Offset(500))));
    records.push(fence(5, Cut::Delete));
    let bytes_of = |record: &Record<'_>| {
        let mut out = record.encode_header().to_vec();
        if let Record::Bytes(placed) = record {
            out.extend(placed.bytes);
        }
        out
    };
    records.iter().map(bytes_of).collect()
}

/// A journal in its second generation, with commits of some records each in both halves.
fn corpus() -> Vec<Vec<u8>> {
    let records = records();
    [1, 3, 9]
        .into_iter()
        .map(|per_commit| file(&records, per_commit))
        .collect()
}

fn file(records: &[Vec<u8>], per_commit: usize) -> Vec<u8> {
    let mut file = vec![0; 2 * HALF_BYTES as usize];
    let (mut sequence, mut previous_crc) = (1, 0);
    for generation in 0..2 {
        let half = HalfHeader {
            journal: JOURNAL_ID,
            generation,
            first_sequence: sequence,
            previous_crc,
            shard: 0,
            run: 1,
            half_bytes: HALF_BYTES,
            is_fresh: false,
            checkpoint: 0,
        };
        put(&mut file, half.position() as usize, &half.encode());
        let mut at = half.start() as usize + HALF_HEAD_BYTES;
        let end = (half.start() + HALF_BYTES) as usize;
        for chosen in records.chunks(per_commit) {
            let content = chosen.concat();
            let blocks = CommitHeader::blocks_bytes(content.len());
            if at + blocks > end {
                break;
            }
            let header = CommitHeader {
                journal: JOURNAL_ID,
                generation,
                sequence,
                length: content.len() as u32,
                previous_crc,
            };
            let mut commit = vec![0; COMMIT_HEADER_BYTES];
            commit.extend(content);
            previous_crc = header.seal(&mut commit);
            sequence += 1;
            put(&mut file, at, &commit);
            at += blocks;
        }
    }
    file
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Gives heads, records and commits their CRCs, and chains commits that follow one another.
fn mend(file: &mut [u8]) {
    let mut previous = None;
    for at in (0..file.len()).step_by(BLOCK) {
        let block = &mut file[at..];
        if block.starts_with(b"KLAMMJNL") && block.len() >= 80 {
            let crc = crc32c(&block[..76]);
            block[76..80].copy_from_slice(&crc.to_le_bytes());
        }
        let Some(mut header) = CommitHeader::decode(block) else {
            continue;
        };
        let end = COMMIT_HEADER_BYTES + header.length as usize;
        let Some(commit) = block.get_mut(..end) else {
            continue;
        };
        mend_records(&mut commit[COMMIT_HEADER_BYTES..]);
        if let Some((sequence, crc)) = previous
            && header.sequence == sequence + 1
        {
            header.previous_crc = crc;
        }
        previous = Some((header.sequence, header.seal(commit)));
    }
}

fn mend_records(mut bytes: &mut [u8]) {
    while bytes.len() >= RECORD_BYTES {
        let crc = crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        let length = u32::from_le_bytes([bytes[28], bytes[29], bytes[30], bytes[31]]) as usize;
        let next = (RECORD_BYTES + length).min(bytes.len());
        bytes = &mut bytes[next..];
    }
}

fn read(input: &[u8]) -> Answer {
    let mut kinds = Vec::new();
    let mut last = 0;
    let found = walk(input, &mut |position, record| {
        assert!(position < input.len() as u64);
        let is_later_half = position < last;
        last = position;
        let kind = match record {
            Record::Bytes(placed) => {
                assert!(placed.bytes.len() <= input.len() && placed.old as usize <= placed.bytes.len());
                0
            }
            Record::Seal(_) => 1,
            Record::Fence(_) => 2,
        };
        if kinds.len() < 64 {
            kinds.push((kind, is_later_half));
        }
    });
    let _ = HalfHeader::newest(input, 0);
    let _ = Record::named_in(input);
    let rot = found.rot.as_ref();
    let rot = rot.map(|rot| (rot.position, rot.named.len().min(4), rot.names_are_complete));
    Answer::of((kinds, found.commits, found.last.map(|half| half.generation), rot))
}
