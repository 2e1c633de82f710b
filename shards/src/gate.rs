//! A gate counts the tasks that run inside it, so that a stop can wait for all of them.
//!
//! Every long task lives in a gate; nothing is spawned and forgotten. Closing refuses new tasks and does not
//! end those inside: whoever closes must also tell them (a [`crate::sync::Signal`], a socket shut down).

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

use crate::priorities::Priority;
use crate::sync::Signal;
use crate::task;

/// Clones share one count.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    inner: Rc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    inside: Cell<usize>,
    closed: Cell<bool>,
    empty: Signal,
}

/// The gate is closed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Closed;

impl Gate {
    /// An open gate with nobody inside.
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Spawns a task that the gate counts until it has ended.
    ///
    /// # Errors
    /// [`Closed`]: the future is dropped.
    pub fn spawn(
        &self,
        priority: Priority,
        future: impl Future<Output = ()> + 'static,
    ) -> Result<(), Closed> {
        let pass = self.enter()?;
        task::spawn(priority, async move {
            future.await;
            drop(pass);
        })
        .detach();
        Ok(())
    }

    /// Counts the caller as inside until the pass is dropped.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn enter(&self) -> Result<Pass, Closed> {
        if self.inner.closed.get() {
            return Err(Closed);
        }
        self.inner.inside.set(self.inner.inside.get() + 1);
        Ok(Pass(self.inner.clone()))
    }

    /// Whether new tasks are refused.
    pub fn is_closed(&self) -> bool {
        self.inner.closed.get()
    }

    /// How many are inside.
    pub fn inside(&self) -> usize {
        self.inner.inside.get()
    }

    /// Refuses new tasks from now (not from the first poll) and waits until nobody is inside. May be called more than once.
    pub fn close(&self) -> impl Future<Output = ()> + use<> {
        self.inner.closed.set(true);
        if self.inner.inside.get() == 0 {
            self.inner.empty.set();
        }
        let inner = self.inner.clone();
        async move { inner.empty.wait().await }
    }
}

/// One place inside a [`Gate`].
#[derive(Debug)]
pub struct Pass(Rc<Inner>);

impl Drop for Pass {
    fn drop(&mut self) {
        let inside = self.0.inside.get() - 1;
        self.0.inside.set(inside);
        if inside == 0 && self.0.closed.get() {
            self.0.empty.set();
        }
    }
}
