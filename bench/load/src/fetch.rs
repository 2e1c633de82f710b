//! The fetch side: consumers that long-poll all partitions from the tail, one request at a time each, as clients do.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use mio::{Registry, Token};
use protocol::batch::batches;
use protocol::error_code::ErrorCode;
use protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use protocol::messages::fetch_response::FetchResponse;
use protocol::wire::Reader;

use crate::connection::Connection;
use crate::control::{DECODE_BUDGET, Topic, frame};

/// Fetch 13 names topics by id; every broker of the 4.x line has it.
const VERSION: i16 = 13;
const MAX_WAIT_MS: i32 = 500;
const BYTES_MAX: i32 = 55 << 20;
const PARTITION_BYTES_MAX: i32 = 1 << 20;

/// One connection that reads every partition of the topic.
pub struct Consumer {
    connection: Connection,
    topic: Topic,
    /// Next offset of every partition.
    next: Vec<i64>,
    correlation_id: i32,
}

impl Consumer {
    /// Connects; reads from offset 0, so open it before anything is produced.
    ///
    /// # Errors
    /// What the socket says.
    pub fn open(address: SocketAddr, registry: &Registry, token: Token, topic: Topic) -> Result<Consumer> {
        let connection = Connection::open(address, registry, token)?;
        Ok(Consumer {
            connection,
            topic,
            next: vec![0; topic.partitions],
            correlation_id: 0,
        })
    }

    /// Asks for more, unless a request is under way.
    ///
    /// # Errors
    /// What the socket says.
    pub fn ask(&mut self, registry: &Registry) -> Result<()> {
        if self.connection.in_flight() == 0 {
            let partitions = self
                .next
                .iter()
                .enumerate()
                .map(|(partition, &offset)| FetchPartition {
                    partition: partition as i32,
                    fetch_offset: offset,
                    partition_max_bytes: PARTITION_BYTES_MAX,
                    ..Default::default()
                })
                .collect();
            let request = FetchRequest {
                max_wait_ms: MAX_WAIT_MS,
                min_bytes: 1,
                max_bytes: BYTES_MAX,
                topics: vec![FetchTopic {
                    topic_id: self.topic.id,
                    partitions,
                    ..Default::default()
                }],
                ..Default::default()
            };
            self.correlation_id = self.correlation_id.wrapping_add(1);
            let id = self.correlation_id;
            self.connection.queue(Some(Instant::now()), |out| {
                frame(out, FetchRequest::API_KEY, VERSION, true, id, |out| {
                    request.encode(out, VERSION)
                });
            });
        }
        self.connection.flush(registry)
    }

    /// Reads answers and hands every batch to `batch`.
    ///
    /// # Errors
    /// The connection, an answer that cannot be read, or a partition with an error code that will not pass.
    pub fn receive(&mut self, mut batch: impl FnMut(&[u8])) -> Result<()> {
        let next = &mut self.next;
        self.connection.receive(|_, answer| {
            let body = answer
                .get(5..)
                .ok_or_else(|| anyhow!("an answer of {} bytes", answer.len()))?;
            let response = FetchResponse::decode(&mut Reader::new(body, DECODE_BUDGET), VERSION)
                .map_err(|error| anyhow!("Fetch: {error:?}"))?;
            ensure!(response.error_code == 0, "Fetch: error {}", response.error_code);
            for partition in response.responses.iter().flat_map(|topic| &topic.partitions) {
                // A broker may say who leads before it leads: the next request will find out.
                if ErrorCode::from_code(partition.error_code).is_retriable() {
                    continue;
                }
                ensure!(partition.error_code == 0, "Fetch: error {}", partition.error_code);
                let slot = usize::try_from(partition.partition_index)
                    .ok()
                    .and_then(|i| next.get_mut(i));
                let Some(slot) = slot else {
                    return Err(anyhow!("Fetch: a partition nobody asked for"));
                };
                for found in batches(partition.records.unwrap_or_default()) {
                    let found = found.map_err(|error| anyhow!("Fetch: {error:?}"))?;
                    if found.last_offset().0 >= *slot {
                        *slot = found.last_offset().0 + 1;
                        batch(found.bytes());
                    }
                }
            }
            Ok(())
        })
    }
}
