//! The few calls that set the stage, one at a time on a blocking connection: create the topic, find its id, wait until
//! every partition has a leader, ask where a partition ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use protocol::Uuid;
use protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::create_topics_response::CreateTopicsResponse;
use protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use protocol::messages::metadata_response::MetadataResponse;
use protocol::wire::Reader;

/// What decoding one answer may allocate.
pub const DECODE_BUDGET: usize = 64 << 20;

/// A blocking connection for set-up.
pub struct Control {
    stream: TcpStream,
    correlation_id: i32,
}

/// The topic that the load goes to.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    /// Its id, by which Produce 13 and Fetch 13 name it.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: usize,
}

/// The first address that `bootstrap` (`host:port`) stands for.
///
/// # Errors
/// A name that does not resolve.
pub fn resolve(bootstrap: &str) -> Result<SocketAddr> {
    let mut addresses = bootstrap
        .to_socket_addrs()
        .with_context(|| format!("{bootstrap}: not a host:port"))?;
    addresses
        .next()
        .with_context(|| format!("{bootstrap}: no address"))
}

/// Appends length, header (version 2 or 1) and body of a request; the length is filled in behind.
pub fn frame(
    out: &mut Vec<u8>,
    key: i16,
    version: i16,
    flexible: bool,
    correlation_id: i32,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&key.to_be_bytes());
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&correlation_id.to_be_bytes());
    out.extend_from_slice(&4i16.to_be_bytes());
    out.extend_from_slice(b"load");
    if flexible {
        out.push(0);
    }
    body(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

impl Control {
    /// Connects to the broker.
    ///
    /// # Errors
    /// It does not answer.
    pub fn connect(address: SocketAddr) -> Result<Control> {
        let stream = TcpStream::connect(address).with_context(|| format!("{address}: no broker there"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Control {
            stream,
            correlation_id: 0,
        })
    }

    /// Sends a whole frame and waits for its answer, which begins with the correlation id.
    ///
    /// # Errors
    /// The connection, or a length beyond belief.
    pub fn exchange(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        self.stream.write_all(request)?;
        let mut prefix = [0; 4];
        self.stream
            .read_exact(&mut prefix)
            .context("the broker closed the connection")?;
        let length = u32::from_be_bytes(prefix) as usize;
        ensure!(length < DECODE_BUDGET, "an answer of {length} bytes");
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    fn call(&mut self, key: i16, version: i16, body: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u8>> {
        self.correlation_id += 1;
        let mut request = Vec::new();
        frame(&mut request, key, version, true, self.correlation_id, body);
        let mut answer = self.exchange(&request)?;
        ensure!(
            answer.get(..4) == Some(&self.correlation_id.to_be_bytes()[..]),
            "an answer to another request"
        );
        // Correlation id and an empty tagged section.
        Ok(answer.split_off(5.min(answer.len())))
    }

    /// Makes the topic anew and waits until every partition has a leader.
    ///
    /// # Errors
    /// The broker refuses it, or it has no leaders after a minute.
    pub fn create(&mut self, name: &str, partitions: usize) -> Result<Topic> {
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name,
                num_partitions: i32::try_from(partitions)?,
                replication_factor: 1,
                ..Default::default()
            }],
            timeout_ms: 60_000,
            ..Default::default()
        };
        let answer = self.call(CreateTopicsRequest::API_KEY, 7, |out| request.encode(out, 7))?;
        let answer = CreateTopicsResponse::decode(&mut Reader::new(&answer, DECODE_BUDGET), 7)
            .map_err(|error| anyhow::anyhow!("CreateTopics: {error:?}"))?;
        for topic in &answer.topics {
            ensure!(
                topic.error_code == 0,
                "CreateTopics {name}: error {}",
                topic.error_code
            );
        }
        let give_up = Instant::now() + Duration::from_secs(60);
        while Instant::now() < give_up {
            if let Some(topic) = self.leaders(name)?
                && topic.partitions == partitions
            {
                return Ok(topic);
            }
            sleep(Duration::from_millis(20));
        }
        bail!("{name}: not every partition has a leader after a minute")
    }

    /// The topic, if every partition of it has a leader now.
    ///
    /// # Errors
    /// The connection, or an answer that cannot be read.
    pub fn leaders(&mut self, name: &str) -> Result<Option<Topic>> {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(name),
                ..Default::default()
            }]),
            ..Default::default()
        };
        let answer = self.call(MetadataRequest::API_KEY, 12, |out| request.encode(out, 12))?;
        let answer = MetadataResponse::decode(&mut Reader::new(&answer, DECODE_BUDGET), 12)
            .map_err(|error| anyhow::anyhow!("Metadata: {error:?}"))?;
        let Some(topic) = answer.topics.first().filter(|topic| topic.error_code == 0) else {
            return Ok(None);
        };
        if topic
            .partitions
            .iter()
            .any(|partition| partition.error_code != 0 || partition.leader_id < 0)
        {
            return Ok(None);
        }
        Ok(Some(Topic {
            id: topic.topic_id,
            partitions: topic.partitions.len(),
        }))
    }
}
