//! The frames of one connection, cut out of the bytes as they come, nothing copied but the start of a frame that
//! did not fit into the buffer it began in.
//!
//! What a newcomer would get wrong: an idle connection holds no buffer, so the first wait is for the socket to
//! become readable; and a body is read only after memory for all of it was admitted, which who has sent no more than the
//! start of a large frame does not get: a length field alone costs nothing, however large.

use std::rc::Rc;

use bytes::Bytes;
use shards::buffers::{Buffer, Purpose};
use shards::net::TcpStream;

use crate::connection::{Activity, Ended};

/// What a read takes when no frame asks for more: several small requests, or the start of a large one.
const RECEIVE_BYTES: usize = 16 << 10;
/// So much of a frame must be there before memory for the whole of a large one is taken. It is few enough to be set aside
/// outside of any budget while its connection waits for that, and to be copied twice.
const BEGUN_BYTES: usize = 4 << 10;

/// The receiving half of a connection.
pub struct Receiver {
    stream: Rc<TcpStream>,
    activity: Rc<Activity>,
    limit: usize,
    received: Bytes,
}

impl Receiver {
    /// Reads from `stream`; a frame may have at most `limit` bytes after its length field.
    pub fn new(stream: Rc<TcpStream>, activity: Rc<Activity>, limit: usize) -> Receiver {
        Receiver {
            stream,
            activity,
            limit,
            received: Bytes::new(),
        }
    }

    /// The next frame, without its length field.
    ///
    /// # Errors
    /// [`Ended`]: no frame will come, and why.
    pub async fn next(&mut self) -> Result<Bytes, Ended> {
        loop {
            let needed = needed(&self.received, self.limit)?;
            if self.received.len() >= needed {
                let mut frame = self.received.split_to(needed);
                bytes::Buf::advance(&mut frame, LENGTH_BYTES);
                self.activity.frame_complete(self.received.len());
                return Ok(frame);
            }
            let is_begun = self.received.len() >= BEGUN_BYTES || needed <= RECEIVE_BYTES;
            self.fill(if is_begun { needed } else { BEGUN_BYTES }).await?;
        }
    }

    /// Reads until at least `needed` bytes are there.
    async fn fill(&mut self, needed: usize) -> Result<(), Ended> {
        if self.received.is_empty() {
            self.activity.reading();
            self.stream.readable().await.map_err(Ended::Failed)?;
            self.activity.is_readable();
        }
        // What has begun is set aside in a few bytes of its own: a connection that waits for memory holds none.
        let begun = std::mem::take(&mut self.received).to_vec();
        let mut buffer = Buffer::take(Purpose::Receive, needed.max(RECEIVE_BYTES)).await;
        buffer.extend_from_slice(&begun);
        while buffer.len() < needed {
            self.activity.reading();
            let (read, back) = self.stream.read(buffer).await;
            buffer = back;
            match read {
                Ok(0) => {
                    return Err(Ended::ByClient {
                        in_frame: !buffer.is_empty(),
                        under_way: 0,
                    });
                }
                Ok(count) => self.activity.received(count),
                Err(error) => return Err(Ended::Failed(error)),
            }
        }
        self.received = buffer.freeze();
        Ok(())
    }
}

const LENGTH_BYTES: usize = 4;

/// How many bytes must be there before the first frame of `received`, or at least its length field, is complete.
fn needed(received: &[u8], limit: usize) -> Result<usize, Ended> {
    let Some(prefix) = received.first_chunk::<LENGTH_BYTES>() else {
        return Ok(LENGTH_BYTES);
    };
    let length = protocol::frame::frame_length(*prefix, limit).map_err(Ended::Frame)?;
    Ok(LENGTH_BYTES + length)
}
