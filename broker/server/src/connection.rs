//! One client's connection, from the accepted socket to the one line that says why it ended.
//!
//! A connection is one task on the shard it was handed to. Its reader cuts frames and starts each request at
//! once, without waiting for anything in between; its writer sends the answers in request order. What a newcomer
//! would get wrong: there are no timers here. A sweep of the shard looks at every connection's [`Activity`] once a
//! while and shuts the sockets of those that are idle, too slow, or do not read what they asked for.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use protocol::frame::FrameError;
use shards::net::{Shutdown, TcpStream};
use shards::time::{Duration, Instant};
use shards::{Either, select2};

use crate::pipeline::{Answer, Pipeline, Started};
use crate::receive::Receiver;

/// Requests of one connection that may be under way. Kafka handles one at a time and lets the rest wait in the
/// socket; a producer keeps five in flight.
const REQUESTS_IN_FLIGHT: usize = 128;

/// Answers that leave in one write, so that a pipelining client costs few system calls, and no more, so that the
/// memory of a large one is free before the next is gathered.
const ANSWERS_PER_WRITE: usize = 64;
const BYTES_PER_WRITE: usize = 1 << 20;

/// A client has this time, and more for what it has sent of a frame or is to take of an answer, at
/// [`SLOW_BYTES_PER_SECOND`]: memory of ours waits for it meanwhile. Its own `request.timeout.ms` (30 s by default)
/// ends a slower request before.
const SLOW_WINDOW: Duration = Duration::from_secs(30);
const SLOW_BYTES_PER_SECOND: u64 = 1 << 20;

/// How long a client may take for `bytes`.
fn patience(bytes: u64) -> Duration {
    SLOW_WINDOW + Duration::from_secs(bytes / SLOW_BYTES_PER_SECOND)
}

/// Why a connection ended.
#[derive(Debug)]
pub enum Ended {
    /// The client closed its side; `in_frame`: in the middle of a request.
    ByClient {
        /// Bytes of an unfinished request were lost with it.
        in_frame: bool,
    },
    /// The socket failed, usually a reset by the client.
    Failed(io::Error),
    /// The length field of a frame cannot be accepted.
    Frame(FrameError),
    /// A request that Kafka answers by closing the connection: malformed, or of an API or version nobody offers.
    Refused(String),
    /// Nothing was received or sent for `connections.max.idle.ms`.
    Idle(Duration),
    /// A frame that had begun did not go on.
    Slow,
    /// The client does not read its answers.
    NotReading,
    /// The node stops.
    Stopping,
}

impl fmt::Display for Ended {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::ByClient { in_frame: false } => out.write_str("the client closed it"),
            Ended::ByClient { in_frame: true } => {
                out.write_str("the client closed it in the middle of a request")
            }
            Ended::Failed(error) => write!(out, "the socket failed: {error}"),
            Ended::Frame(error) => write!(out, "unacceptable frame: {error}"),
            Ended::Refused(why) => out.write_str(why),
            Ended::Idle(limit) => write!(out, "idle for {} ms (connections.max.idle.ms)", limit.as_millis()),
            Ended::Slow => write!(
                out,
                "a request that had begun did not arrive within {SLOW_WINDOW:?}"
            ),
            Ended::NotReading => out.write_str("the client does not read its answers"),
            Ended::Stopping => out.write_str("the node stops"),
        }
    }
}

impl Ended {
    /// Whether this is how clients leave every day, of no interest to an operator. `is_between`: no request had begun
    /// or was unanswered.
    fn is_ordinary(&self, is_between: bool) -> bool {
        match self {
            Ended::ByClient { in_frame } => !in_frame,
            Ended::Failed(_) => is_between,
            Ended::Stopping => true,
            Ended::Idle(_) | Ended::Frame(_) | Ended::Refused(_) | Ended::Slow | Ended::NotReading => false,
        }
    }
}

/// When a connection last did what; read by the sweep.
#[derive(Debug)]
pub struct Activity {
    last: Cell<Instant>,
    /// The reader waits for the client, since then; otherwise it waits for us: for memory, for room.
    reading: Cell<Option<Instant>>,
    /// A frame has begun: how long the client was waited for until its latest bytes, and how many came.
    frame: Cell<Option<(Duration, u64)>>,
    /// An answer is being written: since when, and its bytes.
    sending: Cell<Option<(Instant, u64)>>,
}

impl Activity {
    fn new(now: Instant) -> Activity {
        Activity {
            last: Cell::new(now),
            reading: Cell::new(None),
            frame: Cell::new(None),
            sending: Cell::new(None),
        }
    }

    /// From now on the client is waited for.
    pub fn reading(&self) {
        self.reading.set(Some(shards::time::now()));
    }

    /// The client has sent something, which is not looked at yet.
    pub fn is_readable(&self) {
        self.reading.set(None);
    }

    /// `count` bytes of a frame came.
    pub fn received(&self, count: usize) {
        let now = shards::time::now();
        self.last.set(now);
        let since = self.reading.take().unwrap_or(now);
        let frame = match self.frame.get() {
            // The wait for its first byte was idleness.
            None => (Duration::ZERO, count as u64),
            Some((waited, bytes)) => (waited + now.since(since), bytes + count as u64),
        };
        self.frame.set(Some(frame));
    }

    /// A frame is complete; `more` bytes of the next one are there.
    pub fn frame_complete(&self, more: usize) {
        self.frame
            .set((more > 0).then_some((Duration::ZERO, more as u64)));
    }

    fn sending(&self, bytes: u64) {
        self.sending.set(Some((shards::time::now(), bytes)));
    }

    fn sent(&self) {
        self.sending.set(None);
        self.last.set(shards::time::now());
    }

    /// What is wrong with the connection at `now`, if anything. Only the client's own time counts, never that in
    /// which the reader waits for memory or room of ours.
    fn overdue(&self, now: Instant, unanswered: usize, max_idle: Duration) -> Option<Ended> {
        if let Some((since, bytes)) = self.sending.get()
            && now.since(since) > patience(bytes)
        {
            return Some(Ended::NotReading);
        }
        let reading = self.reading.get()?;
        if let Some((waited, bytes)) = self.frame.get() {
            return (waited + now.since(reading) > patience(bytes)).then_some(Ended::Slow);
        }
        let is_idle = unanswered == 0 && now.since(self.last.get()) > max_idle;
        is_idle.then_some(Ended::Idle(max_idle))
    }
}

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
        }
    }

    /// Ends the connection if it is overdue: the sweep calls this.
    pub fn sweep(&self, now: Instant, max_idle: Duration) {
        if let Some(ended) = self.activity.overdue(now, self.pipeline.unanswered(), max_idle) {
            self.ended.borrow_mut().get_or_insert(ended);
            // The socket may be gone already; then the tasks have seen it.
            self.stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// Serves the connection to its end: `start` starts the request of each frame, `ready` waits until messages to
    /// all shards have room, `stopping` resolves when no new request is wanted. Answers of what was started by
    /// then still leave. Logs why it ended.
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
            Either::First(ended) => ended,
            Either::Second(ended @ (Ended::Stopping | Ended::Refused(_))) => {
                self.pipeline.finish();
                // What was accepted before is still answered; the sweep ends a client that does not read.
                match writer.await {
                    Ended::Stopping => ended,
                    earlier => earlier,
                }
            }
            Either::Second(ended) => ended,
        };
        let ended = self.ended.borrow_mut().take().unwrap_or(ended);
        self.stream.shutdown(Shutdown::Both).ok();
        self.log(&ended);
        ended
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
        let is_between = unanswered == 0 && self.activity.frame.get().is_none();
        // Never a warning: whatever a client does, the node is well.
        match ended.is_ordinary(is_between) {
            true => tracing::debug!(client = %self.peer, unanswered, "connection closed: {ended}"),
            false => tracing::info!(client = %self.peer, unanswered, "connection closed: {ended}"),
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod activity_tests {
    use super::*;

    fn check(activity: &Activity, at_secs: u64, unanswered: usize, expected: &str) {
        let now = Instant(at_secs * 1_000_000_000);
        let found = activity.overdue(now, unanswered, Duration::from_secs(600));
        let found = found.map_or("fine".to_owned(), |ended| format!("{ended:?}"));
        assert_eq!(found, expected, "after {at_secs} s");
    }

    #[test]
    fn idle_is_counted_from_the_last_byte() {
        let activity = Activity::new(Instant(0));
        activity.reading.set(Some(Instant(0)));
        check(&activity, 600, 0, "fine");
        check(&activity, 601, 0, "Idle(600s)");
        check(&activity, 601, 1, "fine");
        activity.last.set(Instant(500_000_000_000));
        check(&activity, 1100, 0, "fine");
        check(&activity, 1101, 0, "Idle(600s)");
    }

    #[test]
    fn a_frame_that_has_begun_must_go_on() {
        let activity = Activity::new(Instant(0));
        activity.frame.set(Some((Duration::ZERO, 3)));
        activity.reading.set(Some(Instant(0)));
        check(&activity, 30, 0, "fine");
        check(&activity, 31, 0, "Slow");
        check(&activity, 31, 1, "Slow");
        activity
            .frame
            .set(Some((Duration::from_secs(20), 10 * SLOW_BYTES_PER_SECOND)));
        activity.reading.set(Some(Instant(100_000_000_000)));
        check(&activity, 120, 0, "fine");
        check(&activity, 121, 0, "Slow");
        activity.frame_complete(0);
        check(&activity, 121, 0, "fine");
    }

    #[test]
    fn waiting_for_our_memory_is_not_the_clients_fault() {
        let activity = Activity::new(Instant(0));
        activity.frame.set(Some((Duration::from_secs(20), 3)));
        activity.reading.set(None);
        check(&activity, 5000, 0, "fine");
        activity.reading.set(Some(Instant(5_000_000_000_000)));
        check(&activity, 5010, 0, "fine");
        check(&activity, 5011, 0, "Slow");
    }

    #[test]
    fn an_answer_must_be_taken() {
        let activity = Activity::new(Instant(0));
        activity
            .sending
            .set(Some((Instant(0), SLOW_BYTES_PER_SECOND * 10)));
        check(&activity, 40, 3, "fine");
        check(&activity, 41, 3, "NotReading");
    }
}
