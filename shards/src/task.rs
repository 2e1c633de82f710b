//! Tasks: futures that run on by themselves on the shard that spawned them.
//!
//! What a newcomer would get wrong: [`spawn`] only queues; dropping a [`Task`] lets it run on (it does not
//! cancel); and a loop that never awaits something unready must call [`yield_now`] now and then (every 256 KiB
//! or 16 requests), because nothing preempts it.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::priorities::Priority;
use crate::shard;

/// Queues `future` as a task of the current shard. It is first polled in a later turn, never inside this call.
pub fn spawn<T: 'static>(priority: Priority, future: impl Future<Output = T> + 'static) -> Task<T> {
    let join = Rc::new(RefCell::new(Join {
        state: State::Running,
        runner: None,
        joiner: None,
    }));
    let task = Task { join: join.clone() };
    let body = Box::pin(async move {
        let output = until_cancelled(&join, future).await;
        // The future is gone by now: whoever waits for the task may rely on what it held being free.
        let joiner = {
            let mut join = join.borrow_mut();
            join.runner = None;
            if let Some(output) = output {
                join.state = State::Done(output);
            }
            join.joiner.take()
        };
        if let Some(joiner) = joiner {
            joiner.wake();
        }
    });
    shard::with(|core| core.engine.spawn(priority, body));
    task
}

async fn until_cancelled<T>(join: &RefCell<Join<T>>, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        {
            let mut join = join.borrow_mut();
            match join.state {
                State::Cancelled => return Poll::Ready(None),
                _ => keep_waker(&mut join.runner, cx),
            }
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Stores the context's waker unless the one in `slot` wakes the same task.
pub(crate) fn keep_waker(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

/// Lets every other runnable task of the shard run before this one goes on.
pub async fn yield_now() {
    let engine = shard::with(|core| core.engine.clone());
    engine.before_yield();
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The handle of a spawned task: awaiting it gives the output. Dropping it lets the task run on, like [`Task::detach`].
#[must_use = "await the task, keep it in a Gate, or say `.detach()`"]
pub struct Task<T> {
    join: Rc<RefCell<Join<T>>>,
}

struct Join<T> {
    state: State<T>,
    runner: Option<Waker>,
    joiner: Option<Waker>,
}

enum State<T> {
    Running,
    Cancelled,
    Done(T),
    Taken,
}

impl<T> Task<T> {
    /// Lets the task run on without anybody waiting for it. Prefer a [`crate::Gate`], which waits at the stop.
    pub fn detach(self) {}

    /// Whether the output is there, so that awaiting the task would not wait.
    pub fn is_finished(&self) -> bool {
        matches!(self.join.borrow().state, State::Done(_))
    }

    /// Drops the task's future at its next turn instead of polling it. Operations in flight go on in the
    /// kernel. Without effect when the task has finished.
    pub fn cancel(self) {
        let runner = {
            let mut join = self.join.borrow_mut();
            if !matches!(join.state, State::Running) {
                return;
            }
            join.state = State::Cancelled;
            join.runner.take()
        };
        if let Some(runner) = runner {
            runner.wake();
        }
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut join = self.join.borrow_mut();
        match std::mem::replace(&mut join.state, State::Taken) {
            State::Done(output) => Poll::Ready(output),
            State::Taken => panic!("a Task was polled again after it gave its output"),
            state => {
                join.state = state;
                keep_waker(&mut join.joiner, cx);
                Poll::Pending
            }
        }
    }
}

impl<T> std::fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task")
            .field("finished", &self.is_finished())
            .finish()
    }
}
