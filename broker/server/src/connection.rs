//! One client's connection, from the accepted socket to the one line that says why it ended.
//!
//! A connection is one task on the shard it was handed to. Its reader cuts frames and starts each request at
//! once, without waiting for anything in between; its writer sends the answers in request order. What a newcomer
//! would get wrong: there are no timers here. A sweep of the shard looks at every connection's [`Activity`] once a
//! while and shuts the sockets of those that are idle, too slow, or do not read what they asked for. And a client that
//! closes its side has asked its last, but may still wait for the answers.

mod activity;
mod ended;

use std::cell::{OnceCell, RefCell};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use shards::net::{Shutdown, TcpStream};
use shards::sync::Signal;
use shards::time::{Duration, Instant};
use shards::{Either, select2};

pub use activity::Activity;
pub use ended::Ended;

use crate::pipeline::{Answer, Pipeline, Started};
use crate::receive::Receiver;

/// Requests of one connection that may be under way. Kafka handles one at a time and lets the rest wait in the
/// socket; a producer keeps five in flight.
const REQUESTS_IN_FLIGHT: usize = 128;

/// Answers that leave in one write, so that a pipelining client costs few system calls, and no more, so that the
/// memory of a large one is free before the next is gathered.
const ANSWERS_PER_WRITE: usize = 64;
const BYTES_PER_WRITE: usize = 1 << 20;

/// So much of what a client calls itself is kept for the log.
const CLIENT_ID_CHARS: usize = 100;

/// A connection as its shard sees it.
pub struct Connection {
    /// Counts the connections of the shard.
    pub id: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// Which of the node's listeners it came through.
    pub listener: usize,
    stream: Rc<TcpStream>,
    activity: Rc<Activity>,
    pipeline: Pipeline,
    ended: RefCell<Option<Ended>>,
    /// What is owed after the end is not waited for any longer.
    given_up: Signal,
    client_id: OnceCell<String>,
}

impl Connection {
    /// A connection over `stream`, of which nothing was read.
    pub fn new(id: u64, peer: SocketAddr, listener: usize, stream: TcpStream) -> Connection {
        Connection {
            id,
            peer,
            listener,
            stream: Rc::new(stream),
            activity: Rc::new(Activity::new(shards::time::now())),
            pipeline: Pipeline::new(REQUESTS_IN_FLIGHT),
            ended: RefCell::new(None),
            given_up: Signal::new(),
            client_id: OnceCell::new(),
        }
    }

    /// Keeps who the client says it is, for the line that says why the connection ended.
    pub fn introduce(&self, client_id: &str) {
        if !client_id.is_empty() {
            self.client_id
                .get_or_init(|| client_id.chars().take(CLIENT_ID_CHARS).collect());
        }
    }

    /// Ends the connection if it is overdue: the sweep calls this.
    pub fn sweep(&self, now: Instant, max_idle: Duration) {
        if let Some(ended) = self.activity.overdue(now, self.pipeline.unanswered(), max_idle) {
            self.ended.borrow_mut().get_or_insert(ended);
            // The socket may be gone already; then the tasks have seen it.
            self.stream.shutdown(Shutdown::Both).ok();
        }
        if self.activity.has_stalled(now) {
            self.given_up.set();
        }
    }

    /// Serves the connection to its end: `start` starts the request of each frame, `ready` waits until messages to
    /// all shards have room, `stopping` resolves when no new request is wanted. What was started before the client
    /// closed its side, or before any other end but a failure of the socket, is still answered. Logs why it ended.
    pub async fn serve(
        &self,
        limit: usize,
        start: impl Fn(Bytes) -> Result<Started, String>,
        ready: impl AsyncFn(),
        stopping: impl AsyncFn(),
    ) -> Ended {
        let reader = async {
            let mut receiver = Receiver::new(self.stream.clone(), self.activity.clone(), limit);
            loop {
                self.pipeline.room().await;
                ready().await;
                let frame = match select2(stopping(), receiver.next()).await {
                    Either::First(()) => break Ended::Stopping,
                    Either::Second(Ok(frame)) => frame,
                    Either::Second(Err(ended)) => break ended,
                };
                match start(frame) {
                    Ok(started) => self.pipeline.push(started),
                    Err(why) => break Ended::Refused(why),
                }
            }
        };
        let writer = self.write_answers();
        let mut writer = std::pin::pin!(writer);
        let ended = match select2(writer.as_mut(), reader).await {
            Either::First(ended) | Either::Second(ended @ Ended::Failed(_)) => ended,
            // The sweep has ended it: there is nobody to answer.
            Either::Second(ended) if self.ended.borrow().is_some() => ended,
            Either::Second(ended) => self.drain(ended, writer).await,
        };
        let ended = self.ended.borrow_mut().take().unwrap_or(ended);
        self.stream.shutdown(Shutdown::Both).ok();
        self.log(&ended);
        self.pipeline.abandon();
        ended
    }

    /// Has what was started still answered, and gives why the connection ended. The sweep ends a client that does not
    /// read, and the wait for an answer that does not come.
    async fn drain(&self, mut ended: Ended, writer: Pin<&mut impl Future<Output = Ended>>) -> Ended {
        if let Ended::ByClient { under_way, .. } = &mut ended {
            *under_way = self.pipeline.unanswered();
        }
        self.pipeline.finish();
        self.activity.draining();
        match select2(writer, self.given_up.wait()).await {
            Either::First(Ended::Stopping) | Either::Second(()) => ended,
            Either::First(earlier) => earlier,
        }
    }

    /// Sends answers in order until the pipeline is finished ([`Ended::Stopping`]) or the connection is.
    async fn write_answers(&self) -> Ended {
        loop {
            let Some(first) = self.pipeline.next().await else {
                return Ended::Stopping;
            };
            let mut chunks = Vec::new();
            let mut close = None;
            let mut taken = 0;
            let mut bytes = 0;
            let mut answer = Some(first);
            while let Some(taken_answer) = answer.take() {
                taken += 1;
                match taken_answer {
                    Answer::Send(pieces) => {
                        bytes += pieces.iter().map(Bytes::len).sum::<usize>();
                        chunks.extend(pieces);
                    }
                    Answer::Nothing => {}
                    Answer::Close(why) => {
                        close = Some(why);
                        break;
                    }
                }
                if taken < ANSWERS_PER_WRITE && bytes < BYTES_PER_WRITE {
                    answer = self.pipeline.next_if_ready().await;
                }
            }
            if !chunks.is_empty() {
                self.activity.sending(bytes as u64);
                if let Err(error) = self.stream.write_all(chunks).await {
                    return Ended::Failed(error);
                }
                self.activity.sent();
            }
            if let Some(why) = close {
                return Ended::Refused(why);
            }
            self.pipeline.answered(taken);
        }
    }

    fn log(&self, ended: &Ended) {
        let unanswered = self.pipeline.unanswered();
        let client_id = self.client_id.get().map(String::as_str);
        // Never a warning: whatever a client does, the node is well.
        match ended.is_ordinary(self.activity.is_silent()) {
            true => tracing::debug!(client = %self.peer, client_id, unanswered, "connection closed: {ended}"),
            false => tracing::info!(client = %self.peer, client_id, unanswered, "connection closed: {ended}"),
        }
    }
}

#[cfg(test)]
mod tests;
