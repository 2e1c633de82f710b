//! Produce requests as the broker takes them: over the frame that they came in.
//!
//! An input is the version (one byte) and the body.

use protocol::messages::ProduceRequest;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::produce_response::PartitionProduceResponse;
use protocol::produce::Request;
use protocol::types::Uuid;

use super::{SLACK, examples, nothing_to_mend};
use crate::Target;
use crate::runner::Answer;

/// Bytes that decoding may allocate.
const BUDGET: usize = 64 << 10;

/// See the module.
pub const PRODUCE: Target = Target {
    name: "produce",
    corpus,
    mend: nothing_to_mend,
    read,
    // The view, and the answers to its parts, which the budget bounds as well.
    memory_max: |length| 8 * BUDGET + 4 * length + SLACK,
};

fn corpus() -> Vec<Vec<u8>> {
    let batches = examples::kafka_batches();
    let mut corpus = Vec::new();
    for version in ProduceRequest::VERSIONS {
        for batch in batches.iter().filter(|batch| batch.len() < 1_000) {
            let data = |index| PartitionProduceData {
                index,
                records: Some(batch),
            };
            let topic = |name, id: u8, parts: &[i32]| TopicProduceData {
                name,
                topic_id: Uuid([id; 16]),
                partition_data: parts.iter().copied().map(data).collect(),
            };
            let request = ProduceRequest {
                transactional_id: None,
                acks: -1,
                timeout_ms: 30_000,
                topic_data: vec![topic("one", 1, &[0, 1, 0]), topic("other", 2, &[7])],
            };
            let mut input = vec![version as u8];
            request.encode(&mut input, version);
            corpus.push(input);
        }
    }
    corpus
}

fn read(input: &[u8]) -> Answer {
    let Some(&version) = input.first() else {
        return Answer::default();
    };
    let version = i16::from(version);
    let request = match Request::decode(input, 1, version, BUDGET) {
        Ok(request) => request,
        Err(error) => return Answer::shown((version, error)),
    };
    let _ = (request.acks(), request.transactional_id(), request.timeout_ms());
    let mut answers = Vec::new();
    let mut has_records = false;
    for (place, part) in request.parts().enumerate() {
        assert_eq!(part.index, place);
        let records = request.records(&part);
        assert_eq!(records.len(), part.records.len());
        assert_eq!(input.get(part.records.clone()), Some(records));
        has_records |= !records.is_empty();
        answers.push(PartitionProduceResponse::default());
    }
    let count = answers.len();
    let mut out = Vec::new();
    request.response(answers).encode(&mut out, version);
    Answer::of((version, count.min(16), has_records, request.acks().is_some()))
}
