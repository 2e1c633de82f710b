//! Drives the controller: a command is decided, its records are appended to `__cluster_metadata-0`, and when they are
//! committed and every shard has applied them, the answer goes out.
//!
//! ```text
//! decide -> append -> durable -> apply to the loader -> partitions opened -> view on every shard -> answer
//! ```
//!
//! It lives on shard 0. What a newcomer would get wrong: decisions are made and appended in one synchronous call, so
//! their offsets follow each other without a gap; one task follows the commits and publishes, so views never go back.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use metadata::loader::{self, removed_topics};
use metadata::{Controller, Decision, Loader};
use protocol::batch::{Batch, HeaderFields};
use protocol::error_code::ErrorCode;
use protocol::records::BatchBuilder;
use protocol::types::Offset;
use shards::mesh::{self, Call};
use shards::sync::{Notify, Signal};
use shards::time::wall_ms;
use shards::{Either, ShardId, select2};
use storage::Log;

use crate::images::{self, View};
use crate::partition::waiters::Waiters;
use crate::quorum_driver::QuorumDriver;

/// The controller's shard.
const HOME: ShardId = ShardId(0);

/// The active controller and the way of its records. One per node, on shard 0.
pub struct ControllerDriver {
    controller: RefCell<Controller>,
    loader: RefCell<Loader>,
    log: Rc<Log>,
    quorum: QuorumDriver,
    /// Batches that were appended and not published, oldest first, each with the offset behind it.
    appended: RefCell<VecDeque<(Offset, Bytes)>>,
    work: Notify,
    published: Cell<Offset>,
    waiters: Waiters,
    /// The metadata log cannot be written: nothing is decided any more.
    has_failed: Cell<bool>,
    stopping: Signal,
}

/// Has the controller decide a command, from whatever shard; resolves with its answer when every shard knows what was
/// decided.
///
/// The error inside is KAFKA_STORAGE_ERROR when the metadata log cannot be written.
pub fn decide<A, D>(decide: D) -> Call<Result<A, ErrorCode>>
where
    A: Send + 'static,
    D: FnOnce(&mut Controller) -> Decision<A> + Send + 'static,
{
    mesh::call(HOME, move || {
        let driver: Rc<ControllerDriver> = shards::current().state();
        driver.submit(decide)
    })
}

impl ControllerDriver {
    /// Drives `controller`, which begins at the end of `log`; `loader` and every shard's view have all before it.
    pub fn new(
        controller: Controller,
        loader: Loader,
        log: Rc<Log>,
        quorum: QuorumDriver,
    ) -> ControllerDriver {
        let published = quorum.committed();
        ControllerDriver {
            controller: RefCell::new(controller),
            loader: RefCell::new(loader),
            log,
            quorum,
            appended: RefCell::new(VecDeque::new()),
            work: Notify::new(),
            published: Cell::new(published),
            waiters: Waiters::default(),
            has_failed: Cell::new(false),
            stopping: Signal::new(),
        }
    }

    /// Decides and appends within this call; the future waits for the rest.
    pub fn submit<A>(
        self: Rc<Self>,
        decide: impl FnOnce(&mut Controller) -> Decision<A>,
    ) -> impl Future<Output = Result<A, ErrorCode>> {
        let decided = self.append(decide);
        async move {
            let (end, answer) = decided?;
            // A decision without records may speak of what others decided just before it: it waits for them, too.
            if self.published.get() < end {
                self.waiters
                    .until(end)
                    .await
                    .map_err(|_| ErrorCode::KafkaStorageError)?;
            }
            Ok(answer)
        }
    }

    /// The offset that must be published before the answer, and the answer.
    fn append<A>(
        &self,
        decide: impl FnOnce(&mut Controller) -> Decision<A>,
    ) -> Result<(Offset, A), ErrorCode> {
        if self.has_failed.get() || self.stopping.is_set() {
            return Err(ErrorCode::KafkaStorageError);
        }
        let decision = decide(&mut self.controller.borrow_mut());
        if decision.records.is_empty() {
            return Ok((decision.base_offset, decision.answer));
        }
        let end = Offset(decision.base_offset.0 + decision.records.len() as i64);
        let batch = self.batch(&decision).and_then(|batch| {
            let appended = self
                .log
                .append(batch.clone(), self.quorum.epoch(), wall_ms())
                .map_err(|error| format!("{error:?}"))?;
            assert_eq!(
                appended.base_offset, decision.base_offset,
                "the controller alone appends to its log"
            );
            Ok(batch)
        });
        match batch {
            Ok(batch) => {
                self.appended.borrow_mut().push_back((end, batch));
                self.work.notify_one();
                Ok((end, decision.answer))
            }
            Err(error) => {
                // What was decided cannot be taken back, and nobody may see it.
                self.fail(&error);
                Err(ErrorCode::KafkaStorageError)
            }
        }
    }

    fn batch(&self, decision: &Decision<impl Sized>) -> Result<Bytes, String> {
        let mut batch = BatchBuilder::new(HeaderFields {
            base_offset: decision.base_offset,
            leader_epoch: self.quorum.epoch(),
            ..HeaderFields::default()
        });
        let now = wall_ms();
        for value in decision.records.values() {
            batch
                .append(now, None, Some(value), &[])
                .map_err(|error| error.to_string())?;
        }
        batch.build().map(Bytes::from).map_err(|error| error.to_string())
    }

    /// Publishes what is committed until the node stops. It ends when all that was decided by then is published, or
    /// when the log fails.
    pub async fn publish(self: Rc<Self>) {
        loop {
            let next = self.appended.borrow().front().map(|(end, _)| *end);
            let Some(next) = next else {
                match select2(self.work.notified(), self.stopping.wait()).await {
                    Either::First(()) => continue,
                    Either::Second(()) => {
                        self.quorum.resign();
                        return;
                    }
                }
            };
            if let Err(error) = self.log.durable(next).await {
                self.fail(&error.to_string());
                return;
            }
            match self.apply(self.quorum.committed()) {
                Ok(view) => images::publish(view).await,
                Err(error) => {
                    self.fail(&error.to_string());
                    return;
                }
            }
            let end = self.loader.borrow().next_offset();
            self.published.set(end);
            self.waiters.moved(end, 0);
            images::remove_deleted().await;
        }
    }

    /// The view behind the batches up to `committed`, or up to the first that removes a topic: what is removed must be
    /// gone before a later batch may give its name to another topic.
    fn apply(&self, committed: Offset) -> Result<Arc<View>, loader::Error> {
        let mut loader = self.loader.borrow_mut();
        let mut appended = self.appended.borrow_mut();
        while let Some((end, batch)) = appended.front()
            && *end <= committed
        {
            let batch = Batch::parse(batch).expect("the batch was built here");
            let removes = !removed_topics(&batch)?.is_empty();
            loader.apply_batch(&batch)?;
            appended.pop_front();
            if removes {
                break;
            }
        }
        let view = crate::shard::Node::current().view();
        Ok(Arc::new(view.next(loader.image().clone(), loader.next_offset())))
    }

    fn fail(&self, error: &str) {
        if !self.has_failed.replace(true) {
            tracing::error!("the controller stops deciding, its log cannot be written: {error}");
        }
        self.waiters.abandon();
    }

    /// Takes no more commands; [`ControllerDriver::publish`] ends when it has published the last.
    pub fn stop(&self) {
        self.stopping.set();
    }
}
