//! Cutting a log: truncation, restart at an offset, a later start, the end of the partition.
//!
//! Always in this order (D9): no more appends, drain, settle what stays, commit the fence, act, sync. The fence
//! makes replay ignore what the journal still has of the part that is cut; without it a crash would bring it
//! back, and with batches of equal size it would even be valid.

use std::path::PathBuf;
use std::rc::Rc;

use protocol::batch::Header;
use protocol::types::{Offset, Uuid};
use shards::{fs, random};

use super::read::Patience;
use super::settle::Depth;
use super::{Log, OpenSegment};
use crate::core::Order;
use crate::error::{During, StorageError};
use crate::journal::records::{Cut, Fence};
use crate::kafka_files;
use crate::planted::{self, Planted};
use crate::recovery;
use crate::store::topic_id_of;
use crate::tail::block_start;

impl Log {
    /// Cuts off everything from `offset` on; a batch that only begins before it goes too. Durable when it
    /// returns. At or behind the end nothing happens.
    ///
    /// # Errors
    /// Of the disk: the dir is offline then.
    pub async fn truncate_to(self: &Rc<Self>, offset: Offset) -> Result<(), StorageError> {
        self.is_usable()?;
        let (end, start) = {
            let state = self.state.borrow();
            (state.outline.end, state.outline.log_start)
        };
        if offset >= end {
            return Ok(());
        }
        if offset <= start {
            return self.restart_at(offset).await;
        }
        self.begin_fence().await?;
        let result = self.truncate(offset).await;
        self.core.check(self.end_fence(result))
    }

    async fn truncate(self: &Rc<Self>, offset: Offset) -> Result<(), StorageError> {
        self.verify_once().await?;
        self.settle(Depth::All).await?;
        let base = self
            .state
            .borrow()
            .outline
            .segment_for(offset)
            .map(|segment| segment.base);
        let base = base.ok_or(StorageError::Closed)?;
        let hint = self.position_hint(base, offset).await?;
        let _permit = self.core.large_read.acquire(1).await;
        let Some(mut walk) = self.walk(base, hint, 0, Patience::Endless) else {
            return Err(StorageError::Closed);
        };
        let found = walk.find(hint, offset).await?;
        let (position, end) = match found {
            Some(found) => {
                let first = Header::parse(&found.header).map_or(offset, |header| header.base_offset());
                (found.position, first.min(offset))
            }
            None => (walk.limit, offset),
        };
        // Only entries in memory can be cut; they go to the file again with the next that are written.
        let indexes = self.read_indexes(base).await?;
        let file = Rc::new(self.open_for_append(base, false).await?);
        let mut chunk = self.wait_for_chunk().await?;
        let from = block_start(position);
        if from != position {
            let head = self.read_block(&file, base, from).await?;
            let head = head.get(..(position - from) as usize);
            chunk.append(head.ok_or_else(|| self.is_short(base, from))?);
        }
        let permit = self.files_permit.acquire(1).await;
        let incarnation = {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            if let Some(segment) = state.outline.segment_mut(base) {
                if segment.offsets_on_disk > 0 {
                    segment.offsets.prepend(indexes.offsets.clone());
                }
                if segment.times_on_disk > 0 {
                    segment.times.prepend(indexes.times.clone());
                }
                (segment.offsets_on_disk, segment.times_on_disk) = (0, 0);
            }
            state.outline.truncate(base, position, end);
            state.outline.incarnation += 1;
            let active = state.outline.active();
            active.max_timestamp = active.last_time;
            state.durable_end = end;
            state.generation = None;
            state.read_files.clear();
            state.read_indexes.clear();
            state.windows.clear();
            let mut open = OpenSegment::new(base, position);
            open.file = Some(file.clone());
            open.tail.push(chunk);
            state.open.clear();
            state.open.push_back(open);
            state.outline.incarnation
        };
        drop(permit);
        let fence = self.fence(
            incarnation,
            Cut::Truncate {
                segment: base,
                position,
                end,
            },
            true,
        );
        if !planted::is(Planted::TruncationResurrected) {
            fence.await?;
        }
        let _permit = self.files_permit.acquire(1).await;
        let path = self.segment_path(base, ".log");
        file.set_len(u64::from(position))
            .await
            .during("cut to its length", &path)?;
        file.sync_all().await.during("sync", &path)?;
        recovery::remove_segments(&self.path, |other| other > base).await?;
        self.rebuild_producers().await
    }

    /// Producers, and the largest timestamp, of what is left are only in the batches themselves.
    async fn rebuild_producers(&self) -> Result<(), StorageError> {
        let config = self.state.borrow().config;
        let rebuilt = recovery::rebuild(&self.path, &config, None).await?;
        let mut state = self.state.borrow_mut();
        state.outline.producers = rebuilt.producers;
        if let (Some(known), Some(found)) = (state.outline.segments.last_mut(), rebuilt.segments.last()) {
            known.max_timestamp = found.max_timestamp;
            known.max_timestamp_offset = found.max_timestamp_offset;
        }
        Ok(())
    }

    /// Cuts off everything; the log begins anew, empty, at `offset`. Durable when it returns.
    ///
    /// # Errors
    /// Of the disk: the dir is offline then.
    pub async fn restart_at(self: &Rc<Self>, offset: Offset) -> Result<(), StorageError> {
        self.is_usable()?;
        self.begin_fence().await?;
        let result = self.restart(offset).await;
        self.core.check(self.end_fence(result))
    }

    async fn restart(self: &Rc<Self>, offset: Offset) -> Result<(), StorageError> {
        let permit = self.files_permit.acquire(1).await;
        let incarnation = {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            state.outline.restart(offset, shards::time::wall_ms());
            state.outline.incarnation += 1;
            state.durable_end = offset;
            state.generation = None;
            state.open.clear();
            state.open.push_back(OpenSegment::new(offset, 0));
            state.read_files.clear();
            state.read_indexes.clear();
            state.windows.clear();
            state.owed = None;
            state.is_owed = false;
            state.is_verified = true;
            state.outline.incarnation
        };
        drop(permit);
        self.fence(incarnation, Cut::Restart(offset), false).await?;
        let _permit = self.files_permit.acquire(1).await;
        recovery::remove_segments(&self.path, |_| true).await
    }

    /// Moves the log start up to `offset`, at most to the high watermark; segments wholly below it are
    /// removed. Durable when it returns.
    ///
    /// # Errors
    /// Of the disk: the dir is offline then.
    pub async fn advance_start(self: &Rc<Self>, offset: Offset) -> Result<(), StorageError> {
        self.is_usable()?;
        self.remember();
        let (incarnation, gone) = {
            let mut state = self.state.borrow_mut();
            let offset = offset.min(state.durable_end);
            if offset <= state.outline.log_start {
                state.before_fence = None;
                return Ok(());
            }
            state.is_as_closed = false;
            let gone = state.outline.advance_start(offset);
            for segment in &gone {
                state.read_files.remove(&segment.base);
                state.read_indexes.remove(&segment.base);
            }
            (state.outline.incarnation, gone)
        };
        let result = async {
            self.fence(incarnation, Cut::Start(offset), false).await?;
            let _permit = self.files_permit.acquire(1).await;
            recovery::remove_segments(&self.path, |base| gone.iter().any(|segment| segment.base == base))
                .await
        };
        let result = result.await;
        self.fence_is_over();
        self.core.check(result)
    }

    /// The partition's end: fenced, then its directory goes under a name that Kafka, too, would remove.
    /// Gives the incarnation that a partition of this id, should it come back, must be above.
    pub(crate) async fn delete(self: &Rc<Self>) -> Result<u32, StorageError> {
        self.core.alive()?;
        self.begin_fence().await?;
        let incarnation = {
            let mut state = self.state.borrow_mut();
            state.outline.incarnation += 1;
            state.outline.incarnation
        };
        self.fence(incarnation, Cut::Delete, false).await?;
        let _permit = self.files_permit.acquire(1).await;
        {
            let mut state = self.state.borrow_mut();
            state.is_deleted = true;
            state.owed = None;
            state.is_owed = false;
            state.open.clear();
            state.read_files.clear();
            state.windows.clear();
        }
        self.drop_waiters();
        let name = kafka_files::deleted_directory_name(&self.topic, self.id.partition, self.id.topic_id);
        if let Some(gone) = self.rename_directory(&name).await? {
            recovery::remove_directory(&gone).await?;
            fs::sync_dir(&self.core.path)
                .await
                .during("sync", &self.core.path)?;
        }
        self.fence_is_over();
        Ok(incarnation)
    }

    /// Gives a partition up of which nobody knows that it was deleted: its files are brought to what a close leaves,
    /// and the directory goes under a name that Kafka calls stray, which nobody opens. Only then is the journal told, so
    /// that a crash in between loses nothing. Gives the new directory, if there was an old one, and the incarnation as
    /// [`Log::delete`].
    pub(crate) async fn set_aside(self: &Rc<Self>) -> Result<(Option<PathBuf>, u32), StorageError> {
        self.core.alive()?;
        let is_there = self.has_directory().await?;
        if is_there {
            self.close_files().await?;
        }
        self.begin_fence().await?;
        // Never one that is there already: a partition may stray again after somebody has put it back.
        let unique = Uuid(random::uuid_bytes());
        let name = kafka_files::stray_directory_name(&self.topic, self.id.partition, unique);
        let stray = match is_there {
            true => self.rename_directory(&name).await?,
            false => None,
        };
        let incarnation = {
            let mut state = self.state.borrow_mut();
            state.outline.incarnation += 1;
            state.is_deleted = true;
            state.outline.incarnation
        };
        self.fence(incarnation, Cut::Delete, false).await?;
        self.fence_is_over();
        self.drop_waiters();
        Ok((stray, incarnation))
    }

    /// Whether the directory of this name is there and this partition's: a topic that was made after this one was
    /// deleted may have it.
    async fn has_directory(&self) -> Result<bool, StorageError> {
        let is_there = fs::exists(&self.path).await.during("look at", &self.path)?;
        let found = topic_id_of(&self.path, &self.topic).await?;
        Ok(is_there && found.is_none_or(|id| id == self.id.topic_id))
    }

    /// Renames the directory, durable; `None` when there is none or it is another partition's.
    async fn rename_directory(&self, name: &str) -> Result<Option<PathBuf>, StorageError> {
        if !self.has_directory().await? {
            return Ok(None);
        }
        let to = self.core.path.join(name);
        fs::rename(&self.path, &to).await.during("rename", &self.path)?;
        fs::sync_dir(&self.core.path)
            .await
            .during("sync", &self.core.path)?;
        Ok(Some(to))
    }

    /// A partition that was deleted in this run is there again: the journal is told, since it has the deletion.
    pub(crate) async fn come_back(self: &Rc<Self>) -> Result<(), StorageError> {
        let (incarnation, start) = {
            let state = self.state.borrow();
            (state.outline.incarnation, state.outline.end)
        };
        self.fence(incarnation, Cut::Restart(start), false).await
    }

    /// No appends any more, and nothing on its way.
    async fn begin_fence(&self) -> Result<(), StorageError> {
        let end = {
            let mut state = self.state.borrow_mut();
            state.is_fenced = true;
            state.is_as_closed = false;
            state.outline.damage.is_none().then_some(state.outline.end)
        };
        if let Some(end) = end {
            self.durable(end).await?;
        }
        self.remember();
        Ok(())
    }

    fn end_fence(&self, result: Result<(), StorageError>) -> Result<(), StorageError> {
        self.state.borrow_mut().is_fenced = false;
        self.fence_is_over();
        result
    }

    fn fence_is_over(&self) {
        let mut state = self.state.borrow_mut();
        state.before_fence = None;
        state.is_carrying_out = false;
    }

    /// Keeps what the log is now, for checkpoints that are taken before the fence is durable.
    fn remember(&self) {
        let entry = self.entry();
        self.state.borrow_mut().before_fence = Some(Box::new(entry));
    }

    async fn fence(self: &Rc<Self>, incarnation: u32, cut: Cut, has_head: bool) -> Result<(), StorageError> {
        let fence = Fence {
            id: self.id,
            incarnation,
            cut,
        };
        let log = self.clone();
        self.core.commit(Order::Fence { fence, log, has_head }).await
    }

    /// The fence is durable: from now on a checkpoint must show the log as it will be, with its files as it says.
    pub(crate) fn fence_is_durable(&self) {
        let mut state = self.state.borrow_mut();
        state.before_fence = None;
        state.is_carrying_out = true;
    }

    /// Whether the files are not yet what the outline says; it takes no commit until they are.
    pub(crate) fn is_carrying_out(&self) -> bool {
        self.state.borrow().is_carrying_out
    }
}
