//! Where the result of an operation waits for whoever asked, who may be gone by then.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The end that gives the result.
pub(crate) struct Reply<T>(Rc<RefCell<State<T>>>);

/// The end that waits for it. Dropping it cancels nothing.
pub(crate) struct Waiting<T>(Rc<RefCell<State<T>>>);

struct State<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

pub(crate) fn reply<T>() -> (Reply<T>, Waiting<T>) {
    let state = Rc::new(RefCell::new(State {
        value: None,
        waker: None,
    }));
    (Reply(state.clone()), Waiting(state))
}

impl<T> Reply<T> {
    pub(crate) fn give(self, value: T) {
        let waker = {
            let mut state = self.0.borrow_mut();
            state.value = Some(value);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Waiting<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.borrow_mut();
        match state.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
