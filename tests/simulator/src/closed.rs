//! A look at the directory of a broker that closed cleanly: it must be Apache Kafka's, with all topics that
//! live and none that was deleted.

use protocol::batch::batches;
use shards::sim::Disk;

use crate::broker::LOG_DIR;
use crate::recorder::{Fate, Recorder, Topic};

/// The metadata log needs no `partition.metadata`: its id is known.
const METADATA_LOG: &str = "__cluster_metadata-0";

/// Looks at what names there are.
pub fn check_directory(disk: &Disk, recorder: &Recorder) {
    let names = match disk.list(LOG_DIR) {
        Ok(names) => names,
        Err(error) => return recorder.problem(format!("the log directory: {error}")),
    };
    if !names.iter().any(|name| name == ".kafka_cleanshutdown") {
        recorder.problem("closed without .kafka_cleanshutdown");
    }
    for name in names.iter().filter(|name| name.starts_with("klamm-set-aside")) {
        recorder.problem(format!(
            "records were set aside in {name}, though every topic is known"
        ));
    }
    for name in names.iter().filter_map(|name| name.strip_suffix('/')) {
        let metadata = disk.read(&format!("{LOG_DIR}/{name}/partition.metadata"));
        let text = metadata
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        let id = text.lines().find_map(|line| line.strip_prefix("topic_id: "));
        let Some(id) = id else {
            if name == METADATA_LOG {
                continue;
            }
            recorder.problem(format!(
                "closed, but there is a directory {name} without partition.metadata"
            ));
            continue;
        };
        if name.ends_with("-stray") {
            continue; // set aside because another topic took the name over; Kafka's name for it, which it ignores
        }
        let deleted = |topic: &Topic| topic.fate == Fate::Deleted && topic.id.to_string() == id.trim();
        if recorder.topics().iter().any(deleted) {
            recorder.problem(format!(
                "the directory {name} is of topic {id}, which was deleted"
            ));
        }
    }
}

/// Looks at the segments of a topic: whole batches from the first byte to the last, in order of their offsets.
pub fn check_topic(disk: &Disk, recorder: &Recorder, topic: &Topic) {
    for partition in 0..topic.partitions {
        let directory = format!("{LOG_DIR}/{}-{partition}", topic.name);
        let Ok(names) = disk.list(&directory) else {
            recorder.problem(format!("{directory} is not there"));
            continue;
        };
        let mut next: Option<i64> = None;
        for name in names.iter().filter(|name| name.ends_with(".log")) {
            let bytes = disk.read(&format!("{directory}/{name}")).unwrap_or_default();
            let base = name.trim_end_matches(".log").parse().ok();
            if next.is_some() && next != base {
                recorder.problem(format!("{directory}/{name} begins after offset {next:?}"));
            }
            next = base;
            let mut walked = 0;
            for batch in batches(&bytes) {
                let Ok(batch) = batch else { break };
                if !batch.crc_is_valid() || Some(batch.header().base_offset().0) != next {
                    recorder.problem(format!(
                        "{directory}/{name}: a bad batch at {walked}, offset {next:?}"
                    ));
                }
                walked += batch.bytes().len();
                next = Some(batch.header().next_offset().0);
            }
            if walked != bytes.len() {
                recorder.problem(format!(
                    "{directory}/{name}: {walked} of {} bytes are batches",
                    bytes.len()
                ));
            }
        }
    }
}
