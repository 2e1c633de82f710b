//! Files as the shards see them: each call is one operation of the node's disk.

use std::io;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;

use super::Engine;
use super::disk::{Inode, Listed, Opening, Operation, Target, Tree};
use super::machine::Machine;
use crate::buffers::Buffer;
use crate::fs::{Commit, Entry, OpenOptions, Space};

/// An open file.
pub(crate) struct File {
    engine: Engine,
    inode: Inode,
    path: Rc<str>,
    options: OpenOptions,
}

/// A record lock of a process.
pub(crate) struct Lock {
    file: File,
}

fn text(path: &Path) -> Rc<str> {
    path.to_string_lossy().into()
}

fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl Engine {
    pub async fn create_dir(&self, path: &Path) -> io::Result<()> {
        let path = text(path);
        let name = path.clone();
        self.machine
            .names(self.node, &path, Operation::CreateDir, move |tree| {
                tree.create_dir(&name)
            })
            .await
    }

    pub async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (text(from), text(to));
        let path = to.clone();
        self.machine
            .names(self.node, &path, Operation::Rename, move |tree| {
                tree.rename(&from, &to)
            })
            .await
    }

    pub async fn remove_file(&self, path: &Path) -> io::Result<()> {
        let path = text(path);
        let name = path.clone();
        self.machine
            .names(self.node, &path, Operation::RemoveFile, move |tree| {
                tree.remove_file(&name)
            })
            .await
    }

    pub async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let path = text(path);
        let name = path.clone();
        self.machine
            .names(self.node, &path, Operation::RemoveDir, move |tree| {
                tree.remove_dir(&name)
            })
            .await
    }

    pub async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.machine.sync_dir(self.node, &text(path)).await
    }

    pub async fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let path = text(path);
        let name = path.clone();
        let listed = self
            .machine
            .names(self.node, &path, Operation::ReadDir, move |tree| tree.list(&name))
            .await?;
        let entry = |listed: Listed| Entry {
            name: listed.name,
            is_dir: listed.is_dir,
            len: listed.len,
        };
        Ok(listed.into_iter().map(entry).collect())
    }

    pub async fn metadata(&self, path: &Path) -> io::Result<Entry> {
        let path = text(path);
        let name = path.clone();
        let look = move |tree: &mut Tree| {
            let body = tree.body(tree.find(&name)?);
            Ok(Entry {
                name: String::new(),
                is_dir: body.is_err(),
                len: body.map_or(0, |body| body.len()),
            })
        };
        self.machine
            .names(self.node, &path, Operation::Metadata, look)
            .await
    }

    pub async fn space(&self, path: &Path) -> io::Result<Space> {
        let path = text(path);
        let (free, total) = self
            .machine
            .names(self.node, &path, Operation::Space, |tree| Ok(tree.space()))
            .await?;
        Ok(Space { total, free })
    }

    pub async fn lock(&self, path: &Path) -> io::Result<Lock> {
        let options = OpenOptions {
            read: true,
            write: true,
            create: true,
            ..OpenOptions::default()
        };
        let file = File::open(self, path, options).await?;
        if !self.machine.try_lock(self.node, file.inode, self.process) {
            let text = self.machine.with_tree(self.node, |tree| {
                let mut bytes = vec![0; 32];
                let count = tree.body(file.inode).map_or(0, |body| body.read(0, &mut bytes));
                String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()).into_owned()
            });
            return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
        }
        let lock = Lock { file };
        lock.file.set_len(0).await?;
        lock.file
            .write_at(0, self.process.to_string().into_bytes().into())
            .await?;
        Ok(lock)
    }
}

impl Machine {
    /// Takes the lock of a file for the process; false when it is held, by whichever process.
    fn try_lock(&self, node: usize, inode: Inode, process: u64) -> bool {
        let mut nodes = self.nodes.borrow_mut();
        let locks = &mut nodes[node].device.locks;
        let is_free = !locks.contains_key(&inode);
        if is_free {
            locks.insert(inode, process);
        }
        is_free
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let engine = &self.file.engine;
        if engine.machine.process(engine.node) == Some(engine.process) {
            engine.machine.nodes.borrow_mut()[engine.node]
                .device
                .locks
                .remove(&self.file.inode);
        }
    }
}

impl File {
    pub async fn open(engine: &Engine, path: &Path, options: OpenOptions) -> io::Result<File> {
        let path = text(path);
        let opening = Opening {
            create: options.create,
            create_new: options.create_new,
            truncate: options.truncate,
        };
        let name = path.clone();
        let open = move |tree: &mut Tree| tree.open(&name, opening);
        let inode = engine
            .machine
            .names(engine.node, &path, Operation::Open, open)
            .await?;
        Ok(File {
            engine: engine.clone(),
            inode,
            path,
            options,
        })
    }

    fn target(&self) -> Target<'_> {
        Target {
            node: self.engine.node,
            path: &self.path,
            inode: self.inode,
            direct: self.options.direct,
        }
    }

    pub async fn read_at(&self, position: u64, buffer: Buffer) -> (io::Result<usize>, Buffer) {
        if !self.options.read {
            return (Err(error(libc::EBADF)), buffer);
        }
        self.engine.machine.read(&self.target(), position, buffer).await
    }

    pub async fn write_at(&self, position: u64, bytes: Bytes) -> io::Result<usize> {
        if !self.options.write {
            return Err(error(libc::EBADF));
        }
        self.engine
            .machine
            .write(&self.target(), position, bytes, false)
            .await
            .written
    }

    pub async fn write_and_sync_at(&self, position: u64, bytes: Bytes) -> Commit {
        if !self.options.write {
            return Commit {
                written: Err(error(libc::EBADF)),
                synced: Err(error(libc::ECANCELED)),
            };
        }
        self.engine
            .machine
            .write(&self.target(), position, bytes, true)
            .await
    }

    /// The two are alike here: both make the data and the size durable.
    pub async fn sync(&self, _data_only: bool) -> io::Result<()> {
        self.engine.machine.sync(&self.target()).await.synced
    }

    pub async fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        let inode = self.inode;
        self.sizes(Operation::Allocate, move |tree| {
            tree.allocate(inode, position, length)
        })
        .await
    }

    pub async fn set_len(&self, length: u64) -> io::Result<()> {
        let inode = self.inode;
        self.sizes(Operation::SetLen, move |tree| {
            tree.body_mut(inode)?.set_len(length);
            Ok(())
        })
        .await
    }

    async fn sizes(
        &self,
        operation: Operation,
        act: impl FnOnce(&mut Tree) -> io::Result<()> + 'static,
    ) -> io::Result<()> {
        if !self.options.write {
            return Err(error(libc::EBADF));
        }
        self.engine
            .machine
            .names(self.engine.node, &self.path, operation, act)
            .await
    }

    pub async fn len(&self) -> io::Result<u64> {
        let inode = self.inode;
        let look = move |tree: &mut Tree| tree.body(inode).map(|body| body.len());
        self.engine
            .machine
            .names(self.engine.node, &self.path, Operation::Len, look)
            .await
    }

    pub async fn close(self) -> io::Result<()> {
        Ok(()) // by Drop
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let engine = &self.engine;
        if engine.machine.process(engine.node) == Some(engine.process) {
            engine
                .machine
                .with_tree(engine.node, |tree| tree.close(self.inode));
        }
    }
}
