//! Files and names.

use std::io::ErrorKind;
use std::path::Path;

use shards::buffers::{BLOCK, Buffer, Purpose};
use shards::fs::{self, Entry, File, OpenOptions};
use shards::{Bytes, Priority, ShardId, spawn};

use crate::At;

const NEW: OpenOptions = OpenOptions {
    read: true,
    write: true,
    create: true,
    create_new: false,
    truncate: false,
    direct: false,
};
const DIRECT: OpenOptions = OpenOptions { direct: true, ..NEW };

async fn block(fill: u8, len: usize) -> Bytes {
    let mut buffer = Buffer::take(Purpose::Tails, len).await;
    buffer.set_len(len);
    buffer.fill(fill);
    buffer.freeze()
}

/// Reads `len` bytes, going on after short reads.
async fn read(file: &File, position: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let buffer = Buffer::take(Purpose::Reads, (len - bytes.len()).min(1 << 20)).await;
        let (count, buffer) = file.read_at(position + bytes.len() as u64, buffer).await;
        assert_eq!(count.unwrap(), buffer.len());
        bytes.extend_from_slice(&buffer);
        if buffer.is_empty() || buffer.len() % BLOCK != 0 {
            break; // the end; a direct read could not go on from there
        }
    }
    bytes.truncate(len);
    bytes
}

pub async fn written_and_read(_: ShardId, at: At) {
    let path = at.dir.join("file");
    let missing = File::open(
        &path,
        OpenOptions {
            read: true,
            ..OpenOptions::default()
        },
    )
    .await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    let file = File::open(&path, NEW).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 0);
    file.write_all_at(0, Bytes::from_static(b"hello")).await.unwrap();
    file.write_all_at(10, Bytes::from_static(b"there")).await.unwrap();
    file.sync_all().await.unwrap();
    assert_eq!(file.len().await.unwrap(), 15);
    assert_eq!(read(&file, 0, 100).await, b"hello\0\0\0\0\0there");
    assert_eq!(read(&file, 15, 1).await, b"");
    assert_eq!(read(&file, 1_000_000, 1).await, b"");
    file.set_len(3).await.unwrap();
    assert_eq!(read(&file, 0, 100).await, b"hel");
    file.set_len(5).await.unwrap();
    assert_eq!(read(&file, 0, 100).await, b"hel\0\0");
    file.close().await.unwrap();

    let again = OpenOptions {
        create_new: true,
        ..NEW
    };
    assert_eq!(
        File::open(&path, again).await.unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    fs::write(&path, b"short".to_vec()).await.unwrap();
    fs::sync_file(&path).await.unwrap();
    assert_eq!(fs::read(&path, 5).await.unwrap(), b"short");
    assert_eq!(
        fs::read(&path, 4).await.unwrap_err().kind(),
        ErrorKind::FileTooLarge
    );
    let long: Vec<u8> = (0..200_000u32).map(|number| number as u8).collect();
    fs::write(&path, long.clone()).await.unwrap();
    assert_eq!(fs::read(&path, 1 << 20).await.unwrap(), long);
}

pub async fn direct_and_linked(_: ShardId, at: At) {
    let file = File::open(at.dir.join("journal"), DIRECT).await.unwrap();
    file.allocate(0, 4 << 20).await.unwrap();
    let mut position = 0;
    for (round, len) in [BLOCK, 16 * BLOCK, 1 << 20, BLOCK].into_iter().enumerate() {
        let bytes = block(round as u8 + 1, len).await;
        let commit = file.write_and_sync_at(position, bytes.clone()).await;
        match commit.written.unwrap() {
            all if all == len => commit.synced.unwrap(),
            // A short write (the simulator's) breaks the link; the rest is written and synced by hand.
            some => {
                assert!(some < len);
                commit.synced.unwrap_err();
                file.write_all_at(position, bytes).await.unwrap();
                file.sync_data().await.unwrap();
            }
        }
        assert_eq!(read(&file, position, len).await, vec![round as u8 + 1; len]);
        position += len as u64;
    }
    // Past what was written it is zeros, up to what was allocated.
    assert_eq!(read(&file, position, BLOCK).await, vec![0; BLOCK]);
    assert_eq!(file.len().await.unwrap(), 4 << 20);
    // What is not aligned is refused, and the sync linked to it does not happen.
    let commit = file.write_and_sync_at(1, block(9, BLOCK).await).await;
    assert_eq!(commit.written.unwrap_err().kind(), ErrorKind::InvalidInput);
    commit.synced.unwrap_err();
    assert_eq!(read(&file, 0, BLOCK).await, vec![1; BLOCK]);
    // A part of a chunk that is appended to meanwhile.
    let mut chunk = shards::buffers::Chunk::take(Purpose::Tails, 2 * BLOCK).await;
    chunk.append(&[7; BLOCK]);
    let view = chunk.view(0..BLOCK);
    let writing = file.write_all_at(0, view);
    chunk.append(&[8; BLOCK]);
    writing.await.unwrap();
    assert_eq!(read(&file, 0, BLOCK).await, vec![7; BLOCK]);
    file.close().await.unwrap();
}

pub async fn names(_: ShardId, at: At) {
    let dir = at.dir.join("a/b/c");
    assert_eq!(
        fs::create_dir(&dir).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    fs::create_dir_all(&dir).await.unwrap();
    fs::create_dir_all(&dir).await.unwrap();
    assert_eq!(
        fs::create_dir(&dir).await.unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    fs::write(dir.join("two"), b"22".to_vec()).await.unwrap();
    fs::write(dir.join("one"), b"1".to_vec()).await.unwrap();
    fs::sync_dir(&dir).await.unwrap();
    let file = |name: &str, len| Entry {
        name: name.to_owned(),
        is_dir: false,
        len,
    };
    assert_eq!(
        fs::read_dir(&dir).await.unwrap(),
        [file("one", 1), file("two", 2)]
    );
    fs::rename(dir.join("one"), dir.join("two")).await.unwrap();
    assert_eq!(fs::read_dir(&dir).await.unwrap(), [file("two", 1)]);
    assert!(fs::exists(dir.join("two")).await.unwrap());
    assert!(!fs::exists(dir.join("one")).await.unwrap());
    assert!(fs::exists(&dir).await.unwrap());
    let full = fs::remove_dir(&dir).await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::DirectoryNotEmpty);
    fs::remove_file(dir.join("two")).await.unwrap();
    assert_eq!(
        fs::remove_file(dir.join("two")).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    fs::rename(&dir, at.dir.join("d")).await.unwrap();
    fs::remove_dir(at.dir.join("d")).await.unwrap();
    let entries = fs::read_dir(&at.dir).await.unwrap();
    assert!(
        entries.len() == 1 && entries[0].is_dir && entries[0].name == "a",
        "{entries:?}"
    );
    assert_eq!(
        fs::read_dir(at.dir.join("x")).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let space = fs::space(&at.dir).await.unwrap();
    assert!(space.free > 0 && space.free <= space.total);
}

pub async fn allocated(_: ShardId, at: At) {
    let file = File::open(at.dir.join("segment"), DIRECT).await.unwrap();
    file.allocate(0, 1 << 20).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 1 << 20);
    file.write_all_at(0, block(3, BLOCK).await).await.unwrap();
    file.allocate(0, 2 << 20).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 2 << 20);
    assert_eq!(
        read(&file, 0, BLOCK).await,
        vec![3; BLOCK],
        "what was there stays"
    );
    file.set_len(100).await.unwrap();
    assert_eq!(read(&file, 0, BLOCK).await, vec![3; 100], "short at the end");
    file.close().await.unwrap();
}

pub async fn many_at_once(_: ShardId, at: At) {
    let mut tasks = Vec::new();
    for number in 0..64u8 {
        let path = at.dir.join(number.to_string());
        tasks.push(spawn(Priority::Background, async move {
            let file = File::open(&path, DIRECT).await.unwrap();
            for round in 0..8 {
                file.write_all_at(round * BLOCK as u64, block(number, BLOCK).await)
                    .await
                    .unwrap();
            }
            file.sync_data().await.unwrap();
            assert_eq!(read(&file, 0, 8 * BLOCK).await, vec![number; 8 * BLOCK]);
            file.close().await.unwrap();
        }));
    }
    for task in tasks {
        task.await;
    }
    assert_eq!(fs::read_dir(Path::new(&at.dir)).await.unwrap().len(), 64);
}

pub async fn dropped_futures(_: ShardId, at: At) {
    // Whatever happens to an operation whose future is gone, its memory is safe and comes back.
    let file = std::rc::Rc::new(File::open(at.dir.join("file"), DIRECT).await.unwrap());
    for round in 0..50u8 {
        // Each its own place: nobody writes or reads what a write in flight covers (rule D8).
        let position = u64::from(round) * 32 * BLOCK as u64;
        let bytes = block(round, 16 * BLOCK).await;
        let writing = file.clone();
        let task = spawn(Priority::Clients, async move {
            let _ = writing.write_and_sync_at(position, bytes).await;
        });
        shards::yield_now().await;
        task.cancel();
        let reading = file.clone();
        let task = spawn(Priority::Clients, async move {
            let buffer = Buffer::take(Purpose::Reads, 16 * BLOCK).await;
            let _ = reading.read_at(position + 16 * BLOCK as u64, buffer).await;
        });
        shards::yield_now().await;
        task.cancel();
    }
    drop(file);
    crate::until(|| shards::budget::used(Purpose::Tails) == 0 && shards::budget::used(Purpose::Reads) == 0)
        .await;
}

pub async fn locks(_: ShardId, at: At) {
    let path = at.dir.join(".lock");
    let lock = fs::lock(&path).await.unwrap();
    let second = fs::lock(&path).await.unwrap_err();
    assert_eq!(second.kind(), ErrorKind::WouldBlock);
    assert!(
        second.to_string().parse::<u32>().is_ok(),
        "the holder's process id: {second}"
    );
    drop(lock);
    drop(fs::lock(&path).await.unwrap());
}

pub async fn errors(_: ShardId, at: At) {
    let path = at.dir.join("file");
    fs::write(&path, vec![]).await.unwrap();
    let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
    let new = OpenOptions {
        create_new: true,
        ..NEW
    };
    assert_eq!(
        kind(File::open(&path, new).await.map(drop)),
        ErrorKind::AlreadyExists
    );
    assert_eq!(
        kind(fs::read(at.dir.join("none"), 1).await.map(drop)),
        ErrorKind::NotFound
    );
    assert_eq!(kind(fs::create_dir(&path).await), ErrorKind::AlreadyExists);
    assert_eq!(
        kind(fs::create_dir(at.dir.join("x/y")).await),
        ErrorKind::NotFound
    );
    assert_eq!(
        kind(fs::remove_file(at.dir.join("none")).await),
        ErrorKind::NotFound
    );
    assert_eq!(
        kind(fs::read_dir(&path).await.map(drop)),
        ErrorKind::NotADirectory
    );
    assert_eq!(kind(fs::sync_dir(at.dir.join("none")).await), ErrorKind::NotFound);
}

pub async fn nameless(_: ShardId, at: At) {
    let path = at.dir.join("file");
    let file = File::open(&path, NEW).await.unwrap();
    file.write_all_at(0, Bytes::from_static(b"still here"))
        .await
        .unwrap();
    fs::remove_file(&path).await.unwrap();
    assert!(!fs::exists(&path).await.unwrap());
    assert_eq!(read(&file, 0, 10).await, b"still here");
    assert_eq!(file.len().await.unwrap(), 10);
}
