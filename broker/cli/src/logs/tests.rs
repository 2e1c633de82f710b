//! Directories made by the code that makes them, dumped and recovered.

use std::rc::Rc;

use bytes::Bytes;
use protocol::batch::HeaderFields;
use protocol::compression::Codec;
use protocol::messages::{MetadataRecord, NoOpRecord, TopicRecord};
use protocol::records::BatchBuilder;
use protocol::types::{BrokerId, LeaderEpoch, Offset, Partition, ProducerEpoch, ProducerId, Sequence, Uuid};
use storage::kafka_files::MetaProperties;
use storage::{Dir, DirConfig, LogConfig, Options, PartitionId, Store};

use super::*;

const TOPIC: Uuid = Uuid([5; 16]);

/// Makes a directory with a few records in `orders-0` and in the metadata log, on a shard of its own; leaves it as
/// after a crash, or closes it.
fn make(path: &Path, closes: bool) {
    let path = path.to_owned();
    let main = move |_| {
        let path = path.clone();
        async move { fill(&path, closes).await }
    };
    shards::run(shards::Config::default(), main).expect("a shard");
}

async fn fill(path: &Path, closes: bool) {
    let meta = MetaProperties {
        cluster_id: "c".into(),
        node_id: BrokerId(1),
        directory_id: Some(Uuid([9; 16])),
    };
    Dir::format(path, &meta).await.expect("a formatted dir");
    let config = DirConfig {
        path: path.to_owned(),
        shards: 1,
        journal_bytes: 2 * storage::journal::HALF_BYTES_MIN,
        expected: None,
        may_owe: false,
        options: Options::default(),
    };
    let dir = Dir::open(config).await.expect("a dir");
    let store = Store::open(dir.share()).await.expect("a store");
    append(&store, TOPIC, "orders", orders()).await;
    append(&store, Uuid::METADATA_TOPIC, "__cluster_metadata", metadata()).await;
    if closes {
        let closed = store.close().await.expect("closed");
        dir.close(vec![closed], 7).await.expect("closed");
    }
}

async fn append(store: &Rc<Store>, topic_id: Uuid, topic: &str, batches: Vec<Vec<u8>>) {
    let id = PartitionId {
        topic_id,
        partition: Partition(0),
    };
    let log = store
        .create_partition(&id, topic, LogConfig::default())
        .await
        .expect("a partition");
    for batch in batches {
        let appended = log
            .append(Bytes::from(batch), LeaderEpoch(3), 1)
            .expect("appended");
        log.durable(Offset(appended.last_offset.0 + 1))
            .await
            .expect("durable");
    }
}

fn orders() -> Vec<Vec<u8>> {
    let batch = |sequence: i32, codec| {
        let mut builder = BatchBuilder::new(HeaderFields {
            codec,
            producer_id: ProducerId(1_000),
            producer_epoch: ProducerEpoch(0),
            base_sequence: Sequence(sequence),
            ..HeaderFields::default()
        });
        for number in 0..2 {
            let value = [b'v', b'0' + number];
            builder
                .append(
                    1_700_000_000_000,
                    Some(b"key"),
                    Some(&value),
                    &[(b"h", None), (b"x", Some(&[0xff]))],
                )
                .expect("a small record");
        }
        builder.build().expect("a small batch")
    };
    vec![batch(0, Codec::None), batch(2, Codec::Zstd)]
}

fn metadata() -> Vec<Vec<u8>> {
    let mut builder = BatchBuilder::new(HeaderFields::default());
    let records = [
        MetadataRecord::NoOp(NoOpRecord {}),
        MetadataRecord::Topic(TopicRecord {
            name: "orders",
            topic_id: TOPIC,
        }),
    ];
    for record in records {
        let mut value = Vec::new();
        record.encode(&mut value, 0);
        builder
            .append(1, None, Some(&value), &[])
            .expect("a small record");
    }
    vec![builder.build().expect("a small batch")]
}

/// What a dump of the paths prints, below the names of the files.
fn dump(paths: &[PathBuf], partition: &str, change: fn(&mut Dump)) -> Vec<String> {
    let mut dump = Dump {
        paths: paths.to_vec(),
        partition: Some(partition)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .into_iter()
            .collect(),
        from: 0,
        to: i64::MAX,
        records: false,
        format: Format::Text,
    };
    change(&mut dump);
    let mut out = Vec::new();
    let mut printer = Printer {
        out: BufWriter::new(Box::new(&mut out)),
        format: dump.format,
        file: String::new(),
        wrong: Vec::new(),
        failed: false,
    };
    dump_all(&dump, &mut printer).expect("dumped");
    drop(printer);
    let text = String::from_utf8(out).expect("text");
    let lines = text.lines().map(|line| line.trim().to_owned());
    lines.filter(|line| !line.starts_with('/')).collect()
}

fn starts(lines: &[String], expected: &[&str]) {
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\nand not\n{expected}");
    }
}

#[test]
fn a_closed_partition_is_told_batch_by_batch_and_record_by_record() {
    let dir = tempfile::tempdir().expect("a directory");
    make(dir.path(), true);
    let data = [dir.path().to_owned()];
    let batches = [
        "offsets 0..1 count 2 at 0 bytes 99 none CreateTime 2023-11-14T22:13:20.000Z epoch 3 producer 1000/0 sequences 0..1 crc ok",
        "offsets 2..3 count 2 at 99 bytes",
        "ends at ",
    ];
    let snapshot = "producer 1000/0 last at 2023-11-14T22:13:20.000Z last sequence 3 last offset 3";
    let all = dump(&data, "orders-0", |_| {});
    starts(
        &all,
        &[
            batches[0],
            batches[1],
            "ends at",
            "timestamp 2023-11-14T22:13:20.000Z offset",
            snapshot,
        ],
    );
    assert!(all[2].ends_with("with the file"), "{}", all[2]);
    let log = [dir.path().join("orders-0/00000000000000000000.log")];
    starts(&dump(&log, "", |dump| dump.from = 2), &[batches[1], batches[2]]);
    starts(&dump(&log, "", |dump| dump.to = 2), &[batches[0], batches[2]]);
    let records = dump(&log, "", |dump| {
        dump.records = true;
        dump.from = 3;
    });
    let record =
        "3 2023-11-14T22:13:20.000Z key \"key\" value \"v1\" header \"h\" null header \"x\" base64:/w==";
    starts(&records, &[batches[1], record, batches[2]]);
    let json = dump(&log, "", |dump| {
        dump.format = Format::Json;
        dump.records = true;
    });
    let json: Vec<serde_json::Value> = json
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(json.len(), 7);
    assert_eq!(
        (&json[0]["base_offset"], &json[0]["crc_is_valid"]),
        (&0.into(), &true.into())
    );
    assert_eq!(json[2]["value"], "v1");
    assert_eq!(json[2]["headers"][1]["value_base64"], "/w==");
    assert!(
        json.iter()
            .all(|line| line["file"].as_str().is_some_and(|file| file.ends_with(".log")))
    );
}

#[test]
fn records_of_the_metadata_log_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    make(dir.path(), true);
    let log = [dir.path().join("__cluster_metadata-0/00000000000000000000.log")];
    let lines = dump(&log, "", |dump| dump.records = true);
    starts(
        &lines,
        &[
            "offsets 0..1 count 2",
            "0 1970-01-01T00:00:00.001Z NoOpRecord v0",
            "1 1970-01-01T00:00:00.001Z TopicRecord v0 { name: \"orders\"",
            "ends at",
        ],
    );
}

#[test]
fn after_a_crash_the_journal_has_it_and_recover_brings_it_to_the_files() {
    let dir = tempfile::tempdir().expect("a directory");
    make(dir.path(), false);
    let data = [dir.path().to_owned()];
    let guard = dir.path().join(storage::guard::GUARD);
    assert!(guard.exists());
    let journal = dump(&data, "", |_| {});
    assert!(journal[0].starts_with("journal "), "{}", journal[0]);
    for bytes in [
        "BYTES orders-0 segment 0 bytes 0..99",
        "BYTES __cluster_metadata-0 segment 0 bytes 0..106",
    ] {
        assert!(journal.iter().any(|line| line == bytes), "{journal:#?}");
    }
    crate::recover::run(dir.path(), Format::Text).expect("recovered");
    assert!(!guard.exists());
    let lines = dump(&data, "orders-0", |_| {});
    assert!(
        lines[1].starts_with("offsets 2..3") && lines[2].ends_with("with the file"),
        "{lines:#?}"
    );
    // Once more changes nothing.
    crate::recover::run(dir.path(), Format::Json).expect("recovered");
    assert_eq!(dump(&data, "orders-0", |_| {}), lines);
}

/// A batch with one record.
fn batch_of(value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(HeaderFields::default());
    builder.append(1, None, Some(value), &[]).expect("a small record");
    builder.build().expect("a small batch")
}

#[test]
fn a_batch_that_is_being_written_is_no_damage_wherever_the_block_ends() {
    const BLOCK: usize = 4096;
    let dir = tempfile::tempdir().expect("a directory");
    let log = [dir.path().join("00000000000000000000.log")];
    let second = batch_of(&[7; 200]);
    let mut checked = 0;
    for length in BLOCK - 400..BLOCK - 60 {
        let first = batch_of(&vec![8; length]);
        let written = BLOCK.saturating_sub(first.len());
        // The last byte counts the headers, and is zero.
        if !(1..second.len() - 1).contains(&written) {
            continue;
        }
        checked += 1;
        let mut file = [first, second[..written].to_vec()].concat();
        file.resize(3 * BLOCK, 0);
        fs::write(&log[0], &file).expect("written");
        let lines = dump(&log, "", |dump| dump.records = true);
        let end = lines.last().expect("lines");
        assert!(end.contains("allocated ahead"), "{written}: {end}");
        let begun = lines.iter().filter(|line| line.contains("begun")).count();
        assert_eq!(begun, usize::from(written > 16), "{written}: {end}");
        // The same bytes at the end of a file that nobody goes on with.
        file.truncate(BLOCK);
        fs::write(&log[0], &file).expect("written");
        // Before the length is there, a header is zeros.
        if written >= 12 {
            refused(&log[0], "what can be read ends at");
        }
    }
    assert!(checked > 200, "{checked}");
    let mut whole = [batch_of(b"whole"), second].concat();
    *whole.last_mut().expect("bytes") ^= 1;
    whole.resize(BLOCK, 0);
    fs::write(&log[0], &whole).expect("written");
    refused(&log[0], "has a wrong checksum");
}

/// A dump that fails with these words.
fn refused(path: &Path, expected: &str) {
    let mut printer = Printer {
        out: BufWriter::new(Box::new(io::sink())),
        format: Format::Text,
        file: String::new(),
        wrong: Vec::new(),
        failed: false,
    };
    let asked = Dump {
        paths: vec![path.to_owned()],
        partition: Vec::new(),
        from: 0,
        to: i64::MAX,
        records: false,
        format: Format::Text,
    };
    let error = dump_all(&asked, &mut printer).expect_err("refused");
    let error = crate::output::one_line(&error);
    assert!(error.contains(expected), "{error}");
}

#[test]
fn what_is_no_file_of_a_log_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let check = |name: &str, expected: &str| refused(&dir.path().join(name), expected);
    fs::write(dir.path().join("notes.txt"), "x").expect("written");
    fs::write(dir.path().join("00000000000000000000.snapshot"), "x").expect("written");
    check("notes.txt", "no file that can be dumped");
    check("00000000000000000000.snapshot", "no snapshot of producers");
    check("absent", "No such file");
    fs::create_dir(dir.path().join("empty")).expect("made");
    check("empty", "nothing in it to dump");
    crate::recover::run(&dir.path().join("empty"), Format::Text).expect_err("no data directory");
}
