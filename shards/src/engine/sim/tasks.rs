//! All tasks of all shards, and who of them was woken.
//!
//! A waker may be held by anything, also by another node, and may be used after its task is gone; so it
//! carries the number of its task, which is never used twice. Waking only writes a name on a list: what runs,
//! and in which order, is for the scheduler alone to choose.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

/// What a task runs.
pub(crate) type Body = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Default)]
pub(crate) struct Tasks {
    slots: Vec<Option<Task>>,
    free: Vec<usize>,
    numbers: u64,
    woken: Arc<Woken>,
}

struct Task {
    shard: usize,
    number: u64,
    /// `None` while it is being polled.
    body: Option<Body>,
    handle: Arc<Handle>,
}

/// A task's place and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId {
    slot: usize,
    pub(crate) number: u64,
}

#[derive(Default)]
struct Woken(Mutex<Vec<TaskId>>);

impl Woken {
    fn with<R>(&self, f: impl FnOnce(&mut Vec<TaskId>) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

struct Handle {
    task: TaskId,
    queued: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for Handle {
    fn wake(self: Arc<Handle>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Handle>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.woken.with(|woken| woken.push(self.task));
        }
    }
}

impl Tasks {
    /// Adds a task and queues it.
    pub(crate) fn add(&mut self, shard: usize, body: Body) -> TaskId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let task = TaskId {
            slot,
            number: self.numbers,
        };
        self.numbers += 1;
        let handle = Arc::new(Handle {
            task,
            queued: AtomicBool::new(false),
            woken: self.woken.clone(),
        });
        handle.wake_by_ref();
        self.slots[slot] = Some(Task {
            shard,
            number: task.number,
            body: Some(body),
            handle,
        });
        task
    }

    fn get(&mut self, task: TaskId) -> Option<&mut Task> {
        self.slots
            .get_mut(task.slot)?
            .as_mut()
            .filter(|found| found.number == task.number)
    }

    /// Moves everybody who was woken since the last call to `woken`, with the shard of each.
    pub(crate) fn take_woken(&mut self, woken: &mut Vec<(usize, TaskId)>) {
        let names = self.woken.clone();
        names.with(|names| {
            for task in names.drain(..) {
                if let Some(found) = self.get(task) {
                    woken.push((found.shard, task));
                }
            }
        });
    }

    /// Takes a task out in order to poll it; a wake from now on queues it again.
    pub(crate) fn take(&mut self, task: TaskId) -> Option<(Body, Waker)> {
        let found = self.get(task)?;
        let body = found.body.take()?;
        found.handle.queued.store(false, Ordering::Relaxed);
        Some((body, Waker::from(found.handle.clone())))
    }

    /// Puts a task that goes on waiting back; gives its body to the caller to drop if it is gone.
    pub(crate) fn put_back(&mut self, task: TaskId, body: Body) -> Option<Body> {
        match self.get(task) {
            Some(found) => {
                found.body = Some(body);
                None
            }
            None => Some(body),
        }
    }

    /// Forgets a task that has ended.
    pub(crate) fn remove(&mut self, task: TaskId) {
        if self.get(task).is_some() {
            self.slots[task.slot] = None;
            self.free.push(task.slot);
        }
    }

    /// Takes out all tasks of the shard without running them, oldest first; the caller drops them.
    pub(crate) fn take_all(&mut self, shard: usize) -> Vec<Body> {
        let mut taken = Vec::new();
        for (slot, place) in self.slots.iter_mut().enumerate() {
            if let Some(task) = place.take_if(|task| task.shard == shard) {
                self.free.push(slot);
                taken.extend(task.body.map(|body| (task.number, body)));
            }
        }
        taken.sort_by_key(|(number, _)| *number);
        taken.into_iter().map(|(_, body)| body).collect()
    }

    /// Wakes the task in some slot for no reason.
    pub(crate) fn wake_slot(&self, index: impl FnOnce(usize) -> usize) -> Option<u64> {
        let task = self.slots.get(index(self.slots.len()))?.as_ref()?;
        task.handle.wake_by_ref();
        Some(task.number)
    }
}
