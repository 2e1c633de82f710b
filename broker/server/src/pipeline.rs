//! The requests of one connection that were started and not yet answered, in the order they came.
//!
//! Starting and answering are apart: a request's parts are queued to their owners when its frame is cut, and what is
//! kept here only *collects* the replies. So it is enough to poll the oldest request: the others lose nothing by
//! waiting, and answers leave in request order without a task per request. The count of requests is bounded, and so
//! are the bytes of answers that are ready; the reader waits for [`Pipeline::room`] before it cuts the next frame.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

/// Above so many bytes of ready answers no further request is taken: their memory is in no budget, and a client that
/// asks without reading would make any number of them.
const READY_BYTES: usize = 4 << 20;

/// What a request comes to.
#[derive(Debug)]
pub enum Answer {
    /// The response frame, its four length bytes included, as a chain of pieces.
    Send(Vec<Bytes>),
    /// No response is owed (Produce with acks=0).
    Nothing,
    /// The connection ends here, for the reason given; answers of earlier requests have left.
    Close(String),
}

impl Answer {
    fn bytes(&self) -> usize {
        match self {
            Answer::Send(pieces) => pieces.iter().map(Bytes::len).sum(),
            Answer::Nothing | Answer::Close(_) => 0,
        }
    }
}

/// A request that was started: answered already, or with replies to collect.
pub enum Started {
    /// Nothing to wait for.
    Now(Answer),
    /// Replies are on their way. Dropping the future abandons the answer, never the work.
    Later(Pin<Box<dyn Future<Output = Answer>>>),
}

impl Started {
    /// A request whose answer `future` collects.
    pub fn later(future: impl Future<Output = Answer> + 'static) -> Started {
        Started::Later(Box::pin(future))
    }
}

/// See the module. Lives with its connection; one reader pushes, one writer takes.
pub struct Pipeline {
    state: RefCell<State>,
    limit: usize,
}

struct State {
    waiting: VecDeque<Started>,
    unanswered: usize,
    /// Bytes of answers that are ready and have not left.
    ready: usize,
    /// Bytes of each answer that was taken and has not left.
    taken: VecDeque<usize>,
    finished: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipeline {
    /// An empty pipeline for at most `limit` unanswered requests.
    pub fn new(limit: usize) -> Pipeline {
        assert!(limit > 0, "a pipeline without room never answers");
        let state = State {
            waiting: VecDeque::new(),
            unanswered: 0,
            ready: 0,
            taken: VecDeque::new(),
            finished: false,
            reader: None,
            writer: None,
        };
        Pipeline {
            state: RefCell::new(state),
            limit,
        }
    }

    /// Resolves when one more request may be pushed.
    pub fn room(&self) -> impl Future<Output = ()> + '_ {
        poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            if state.unanswered < self.limit && state.ready < READY_BYTES {
                return Poll::Ready(());
            }
            state.reader = Some(context.waker().clone());
            Poll::Pending
        })
    }

    /// Takes a started request. There must be room.
    pub fn push(&self, started: Started) {
        let writer = {
            let mut state = self.state.borrow_mut();
            assert!(
                state.unanswered < self.limit,
                "a request is pushed only when there is room for it"
            );
            assert!(!state.finished, "nothing is pushed after the end");
            state.unanswered += 1;
            if let Started::Now(answer) = &started {
                state.ready += answer.bytes();
            }
            state.waiting.push_back(started);
            state.writer.take()
        };
        wake(writer);
    }

    /// No further request will come: [`Pipeline::next`] says `None` once what is there has been taken.
    pub fn finish(&self) {
        let writer = {
            let mut state = self.state.borrow_mut();
            state.finished = true;
            state.writer.take()
        };
        wake(writer);
    }

    /// The end, whatever is still owed: no reply is collected any more. A request that waits for one may hold on to its
    /// connection, which would hold on to it here.
    pub fn abandon(&self) {
        let waiting = {
            let mut state = self.state.borrow_mut();
            state.finished = true;
            std::mem::take(&mut state.waiting)
        };
        // Outside the borrow: what is dropped may look here.
        drop(waiting);
    }

    /// Requests that were pushed and whose answers have not left yet.
    pub fn unanswered(&self) -> usize {
        self.state.borrow().unanswered
    }

    /// The answer of the oldest request, when it has come; `None` after the last one of a finished pipeline.
    pub fn next(&self) -> impl Future<Output = Option<Answer>> + '_ {
        poll_fn(|context| self.poll_next(context))
    }

    /// The answer of the oldest request if it is there by now.
    pub async fn next_if_ready(&self) -> Option<Answer> {
        poll_fn(|context| match self.poll_next(context) {
            Poll::Ready(answer) => Poll::Ready(answer),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    /// `count` answers that [`Pipeline::next`] gave have left; the reader may go on.
    pub fn answered(&self, count: usize) {
        let reader = {
            let mut state = self.state.borrow_mut();
            assert!(count <= state.taken.len(), "only what was taken can have left");
            state.unanswered -= count;
            let left: usize = state.taken.drain(..count).sum();
            state.ready -= left;
            state.reader.take()
        };
        wake(reader);
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Answer>> {
        let oldest = {
            let mut state = self.state.borrow_mut();
            match state.waiting.pop_front() {
                Some(oldest) => oldest,
                None if state.finished => return Poll::Ready(None),
                None => {
                    state.writer = Some(context.waker().clone());
                    return Poll::Pending;
                }
            }
        };
        // Polled outside the borrow: what is polled may push or finish.
        match oldest {
            Started::Now(answer) => {
                self.state.borrow_mut().taken.push_back(answer.bytes());
                Poll::Ready(Some(answer))
            }
            Started::Later(mut future) => match future.as_mut().poll(context) {
                Poll::Ready(answer) => {
                    let mut state = self.state.borrow_mut();
                    state.ready += answer.bytes();
                    state.taken.push_back(answer.bytes());
                    Poll::Ready(Some(answer))
                }
                Poll::Pending => {
                    self.state.borrow_mut().waiting.push_front(Started::Later(future));
                    Poll::Pending
                }
            },
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    fn poll<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut context = Context::from_waker(Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    fn now(text: &'static str) -> Started {
        Started::Now(Answer::Send(vec![Bytes::from_static(text.as_bytes())]))
    }

    fn text(answer: Option<Option<Answer>>) -> String {
        match answer {
            None => "pending".to_owned(),
            Some(None) => "end".to_owned(),
            Some(Some(Answer::Send(chunks))) => String::from_utf8_lossy(&chunks.concat()).into_owned(),
            Some(Some(other)) => format!("{other:?}"),
        }
    }

    #[test]
    fn answers_come_in_request_order() {
        let pipeline = Pipeline::new(3);
        let gate = Rc::new(Cell::new(false));
        let open = gate.clone();
        pipeline.push(Started::later(poll_fn(move |_| match open.get() {
            true => Poll::Ready(Answer::Send(vec![Bytes::from_static(b"first")])),
            false => Poll::Pending,
        })));
        pipeline.push(now("second"));
        assert_eq!(text(poll(pipeline.next())), "pending");
        assert!(poll(pipeline.next_if_ready()).is_some_and(|answer| answer.is_none()));
        gate.set(true);
        assert_eq!(text(poll(pipeline.next())), "first");
        assert_eq!(text(poll(pipeline.next())), "second");
        assert_eq!(text(poll(pipeline.next())), "pending");
        pipeline.finish();
        assert_eq!(text(poll(pipeline.next())), "end");
    }

    #[test]
    fn room_is_what_has_left() {
        let pipeline = Pipeline::new(2);
        pipeline.push(now("a"));
        assert!(poll(pipeline.room()).is_some());
        pipeline.push(now("b"));
        assert!(poll(pipeline.room()).is_none());
        assert_eq!(text(poll(pipeline.next())), "a");
        assert!(poll(pipeline.room()).is_none(), "taken is not yet sent");
        pipeline.answered(1);
        assert!(poll(pipeline.room()).is_some());
        assert_eq!(pipeline.unanswered(), 1);
    }

    #[test]
    fn room_is_for_few_bytes_of_ready_answers() {
        let pipeline = Pipeline::new(100);
        let large = || Answer::Send(vec![Bytes::from(vec![0; READY_BYTES])]);
        pipeline.push(Started::Now(large()));
        assert!(poll(pipeline.room()).is_none());
        assert!(poll(pipeline.next()).is_some());
        assert!(poll(pipeline.room()).is_none(), "taken is not yet sent");
        pipeline.answered(1);
        pipeline.push(Started::later(async move { large() }));
        assert!(poll(pipeline.room()).is_some(), "it is not there yet");
        assert!(poll(pipeline.next()).is_some());
        assert!(poll(pipeline.room()).is_none());
        pipeline.answered(1);
        assert!(poll(pipeline.room()).is_some());
    }

    #[test]
    #[should_panic(expected = "only when there is room")]
    fn more_than_the_bound_is_our_mistake() {
        let pipeline = Pipeline::new(1);
        pipeline.push(now("a"));
        pipeline.push(now("b"));
    }
}
