//! Produce without copying record bytes: a request is read as a view over its frame, and names for each
//! partition where in the frame its records lie, so that the frame can be lent to whoever appends them.
//!
//! Versions 3 to 13: 3 brings transactional ids, 5 the log start offset of the answer, 7 zstd, 8 errors of single
//! records, 9 is flexible, 10 names the current leader with an error, 12 is for transactions, 13 names topics by id.
//!
//! What a newcomer would get wrong: acks is any number until it is looked at; records may be null, which is read
//! as empty here and refused by validation like any other lack of a batch; a partition may stand twice in a
//! request, and both are answered; and with acks=0 there is no answer at all.

use std::ops::Range;

use crate::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use crate::messages::{ProduceRequest, ProduceResponse};
use crate::types::{Partition, TopicId};
use crate::wire::{DecodeError, Reader};

/// The first version that may carry batches compressed with zstd.
pub const ZSTD_SINCE: i16 = 7;

/// What has to have happened before a produce request is answered.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Nothing: there is no answer.
    None,
    /// The leader has appended.
    Leader,
    /// All replicas in sync have.
    All,
}

impl Acks {
    /// 0, 1 or -1; anything else is to be answered with INVALID_REQUIRED_ACKS.
    pub fn from_i16(acks: i16) -> Option<Acks> {
        match acks {
            0 => Some(Acks::None),
            1 => Some(Acks::Leader),
            -1 => Some(Acks::All),
            _ => None,
        }
    }
}

/// A produce request, over the frame that it came in.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    frame: &'a [u8],
    message: ProduceRequest<'a>,
}

/// What a request has for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Its place among the parts of the request, from 0.
    pub index: usize,
    /// The topic's name; empty from version 13 on.
    pub topic: &'a str,
    /// The topic's id; zero before version 13.
    pub topic_id: TopicId,
    /// Which partition of it.
    pub partition: Partition,
    /// Where the records lie within the frame; empty if there are none.
    pub records: Range<usize>,
}

impl<'a> Request<'a> {
    /// Reads the request whose body is what `frame` has from `body` on, and nothing else. Decoding may allocate
    /// `budget` bytes; records cost none of them.
    ///
    /// # Errors
    /// As the generated decoder; bytes left over are an error too.
    pub fn decode(frame: &'a [u8], body: usize, version: i16, budget: usize) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame.get(body..).ok_or(DecodeError::Truncated)?, budget);
        let message = ProduceRequest::decode(&mut reader, version)?;
        reader.finish()?;
        Ok(Self { frame, message })
    }

    /// The transactional id, if the producer has one.
    pub fn transactional_id(&self) -> Option<&'a str> {
        self.message.transactional_id
    }

    /// What the client waits for; `None` if it names something that does not exist.
    pub fn acks(&self) -> Option<Acks> {
        Acks::from_i16(self.message.acks)
    }

    /// How long it waits for [`Acks::All`], in ms; may be anything.
    pub fn timeout_ms(&self) -> i32 {
        self.message.timeout_ms
    }

    /// What there is for each partition, in the order of the request.
    pub fn parts(&self) -> impl Iterator<Item = Part<'a>> {
        let frame = self.frame;
        let of_topics = self.message.topic_data.iter().flat_map(move |topic| {
            topic
                .partition_data
                .iter()
                .map(move |data| (topic.name, topic.topic_id, data))
        });
        of_topics
            .enumerate()
            .map(move |(index, (topic, topic_id, data))| Part {
                index,
                topic,
                topic_id,
                partition: Partition(data.index),
                records: data.records.map_or(0..0, |records| place_of(records, frame)),
            })
    }

    /// The bytes of a part's records.
    pub fn records(&self, part: &Part<'_>) -> &'a [u8] {
        self.frame.get(part.records.clone()).unwrap_or_default()
    }

    /// The response that gives each part the answer of the same place, grouped by topic as the request is.
    /// Each answer's partition is filled in.
    ///
    /// # Panics
    /// If there are not as many answers as parts.
    pub fn response<'r>(&self, answers: Vec<PartitionProduceResponse<'r>>) -> ProduceResponse<'r>
    where
        'a: 'r,
    {
        let mut answers = answers.into_iter();
        let responses = self.message.topic_data.iter().map(|topic| TopicProduceResponse {
            name: topic.name,
            topic_id: topic.topic_id,
            partition_responses: topic
                .partition_data
                .iter()
                .zip(&mut answers)
                .map(|(data, answer)| PartitionProduceResponse {
                    index: data.index,
                    ..answer
                })
                .collect(),
        });
        let responses: Vec<_> = responses.collect();
        let answered: usize = responses
            .iter()
            .map(|topic| topic.partition_responses.len())
            .sum();
        assert!(
            answered == self.parts().count() && answers.next().is_none(),
            "each part has one answer"
        );
        ProduceResponse {
            responses,
            ..ProduceResponse::default()
        }
    }
}

/// Where `part`, which was sliced from `whole`, lies in it.
fn place_of(part: &[u8], whole: &[u8]) -> Range<usize> {
    let from = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    assert!(
        from.checked_add(part.len()).is_some_and(|to| to <= whole.len()),
        "records lie in their frame"
    );
    from..from + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use crate::types::Uuid;

    fn message() -> ProduceRequest<'static> {
        let part = |index, records| PartitionProduceData { index, records };
        let topic = |name, id, partition_data| TopicProduceData {
            name,
            topic_id: Uuid([id; 16]),
            partition_data,
        };
        ProduceRequest {
            transactional_id: Some("txn"),
            acks: -1,
            timeout_ms: 1500,
            topic_data: vec![
                topic(
                    "first",
                    1,
                    vec![part(3, Some(&b"records of 3"[..])), part(0, None)],
                ),
                topic("none", 2, vec![]),
                topic("second", 3, vec![part(7, Some(b"")), part(3, Some(b"again"))]),
            ],
        }
    }

    fn frame(version: i16) -> Vec<u8> {
        let mut frame = b"header".to_vec();
        message().encode(&mut frame, version);
        frame
    }

    #[test]
    fn requests_of_every_version() {
        for version in ProduceRequest::VERSIONS {
            let frame = frame(version);
            let request = Request::decode(&frame, 6, version, 10_000).unwrap();
            assert_eq!(request.transactional_id(), Some("txn"));
            assert_eq!(request.acks(), Some(Acks::All));
            assert_eq!(request.timeout_ms(), 1500);
            let named = |name, id| {
                if version <= 12 {
                    (name, Uuid::ZERO)
                } else {
                    ("", Uuid([id; 16]))
                }
            };
            let expected = [
                (0, named("first", 1), 3, &b"records of 3"[..]),
                (1, named("first", 1), 0, b""),
                (2, named("second", 3), 7, b""),
                (3, named("second", 3), 3, b"again"),
            ];
            let parts: Vec<_> = request.parts().collect();
            let found = parts.iter().map(|part| {
                assert_eq!(request.records(part), &frame[part.records.clone()]);
                (
                    part.index,
                    (part.topic, part.topic_id),
                    part.partition.0,
                    request.records(part),
                )
            });
            assert_eq!(found.collect::<Vec<_>>(), expected);

            for cut in 0..frame.len() {
                assert!(
                    Request::decode(&frame[..cut], 6, version, 10_000).is_err(),
                    "cut at {cut}"
                );
            }
            let longer = [frame.as_slice(), &[0]].concat();
            assert_eq!(
                Request::decode(&longer, 6, version, 10_000).unwrap_err(),
                DecodeError::Trailing(1)
            );
            assert_eq!(
                Request::decode(&frame, 6, version, 50).unwrap_err(),
                DecodeError::Budget
            );
        }
    }

    #[test]
    fn acks() {
        let check = |acks, expected| assert_eq!(Acks::from_i16(acks), expected);
        check(0, Some(Acks::None));
        check(1, Some(Acks::Leader));
        check(-1, Some(Acks::All));
        check(2, None);
        check(-2, None);
    }

    #[test]
    fn answers_go_where_the_parts_stood() {
        let frame = frame(9);
        let request = Request::decode(&frame, 6, 9, 10_000).unwrap();
        let answer = |base_offset| PartitionProduceResponse {
            base_offset,
            ..PartitionProduceResponse::default()
        };
        let response = request.response((10..14).map(answer).collect());
        let flat: Vec<_> = response
            .responses
            .iter()
            .map(|t| {
                (
                    t.name,
                    t.partition_responses
                        .iter()
                        .map(|p| (p.index, p.base_offset))
                        .collect::<Vec<_>>(),
                )
            })
            .collect();
        assert_eq!(
            flat,
            [
                ("first", vec![(3, 10), (0, 11)]),
                ("none", vec![]),
                ("second", vec![(7, 12), (3, 13)])
            ]
        );
    }

    #[test]
    #[should_panic(expected = "each part has one answer")]
    fn an_answer_is_not_forgotten() {
        let frame = frame(9);
        let request = Request::decode(&frame, 6, 9, 10_000).unwrap();
        request.response(vec![PartitionProduceResponse::default(); 3]);
    }
}
