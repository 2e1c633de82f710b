//! The file system of one node: inodes, directories, and which of their entries a power cut would leave.
//!
//! A directory entry (created, renamed, removed) is volatile until that directory is synced: a file that
//! was synced itself may still be without a name after a power cut, and a name may lead to a file without
//! content. What a newcomer would get wrong: a rename is one step in both directories, never half done,
//! and syncing either of them makes it (and what it rests on) durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::body::{Body, Covered, Keep, PAGE};
use crate::engine::sim::random::Stream;

/// The number of an inode; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Inode(pub u64);

impl Inode {
    /// No file at all.
    pub(crate) const NONE: Inode = Inode(u64::MAX);
}

const ROOT: Inode = Inode(0);
/// Longest name in a directory, as on Linux's file systems.
const NAME_BYTES_MAX: usize = 255;

/// A file system, current and durable. A clone is a copy of the whole disk (pages are shared until written).
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    nodes: BTreeMap<Inode, Node>,
    numbers: u64,
    /// Changes of directory entries that no sync covers yet, oldest first.
    pending: Vec<Change>,
    changes: u64,
    capacity: u64,
}

#[derive(Clone, Debug)]
struct Node {
    kind: Kind,
    links: u32,
    opens: u32,
}

#[derive(Clone, Debug)]
enum Kind {
    File(Body),
    Directory(Directory),
}

#[derive(Clone, Debug, Default)]
struct Directory {
    entries: BTreeMap<String, Inode>,
    durable: BTreeMap<String, Inode>,
}

#[derive(Clone, Debug)]
struct Change {
    number: u64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Link { at: Place, inode: Inode },
    Unlink { at: Place, inode: Inode },
    Rename { from: Place, to: Place, inode: Inode },
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    directory: Inode,
    name: String,
}

/// An entry as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub name: String,
    pub is_dir: bool,
    pub len: u64,
}

/// How a file is opened, as `open(2)` knows it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Opening {
    pub create: bool,
    pub create_new: bool,
    pub truncate: bool,
}

/// What a directory's sync will have made durable.
#[derive(Debug)]
pub(crate) struct CoveredEntries {
    directory: Inode,
    before: u64,
}

pub(crate) fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl Tree {
    /// An empty file system with room for `capacity` bytes of file content.
    pub(crate) fn new(capacity: u64) -> Tree {
        let root = Node {
            kind: Kind::Directory(Directory::default()),
            links: 1,
            opens: 0,
        };
        Tree {
            nodes: BTreeMap::from([(ROOT, root)]),
            numbers: 1,
            pending: Vec::new(),
            changes: 0,
            capacity: capacity / PAGE as u64,
        }
    }

    pub(crate) fn set_capacity(&mut self, bytes: u64) {
        self.capacity = bytes / PAGE as u64;
    }

    /// Free and total bytes.
    pub(crate) fn space(&self) -> (u64, u64) {
        let used: u64 = self.nodes.values().map(Node::placed).sum();
        (
            self.capacity.saturating_sub(used) * PAGE as u64,
            self.capacity * PAGE as u64,
        )
    }

    // --- names -------------------------------------------------------------------------------------

    pub(crate) fn find(&self, path: &str) -> io::Result<Inode> {
        parts(path).try_fold(ROOT, |at, name| self.entry(at, name))
    }

    fn entry(&self, directory: Inode, name: &str) -> io::Result<Inode> {
        self.directory(directory)?
            .entries
            .get(name)
            .copied()
            .ok_or_else(|| error(libc::ENOENT))
    }

    /// The directory of the last part of `path`, which need not exist itself.
    fn place(&self, path: &str) -> io::Result<Place> {
        let mut names: Vec<&str> = parts(path).collect();
        let name = names.pop().ok_or_else(|| error(libc::EINVAL))?.to_owned();
        if name.len() > NAME_BYTES_MAX {
            return Err(error(libc::ENAMETOOLONG));
        }
        let directory = names
            .into_iter()
            .try_fold(ROOT, |at, name| self.entry(at, name))?;
        self.directory(directory)?;
        Ok(Place { directory, name })
    }

    fn add(&mut self, at: Place, kind: Kind) -> Inode {
        let inode = Inode(self.numbers);
        self.numbers += 1;
        self.nodes.insert(
            inode,
            Node {
                kind,
                links: 1,
                opens: 0,
            },
        );
        self.set_entry(&at, inode);
        self.change(What::Link { at, inode });
        inode
    }

    fn change(&mut self, what: What) {
        self.pending.push(Change {
            number: self.changes,
            what,
        });
        self.changes += 1;
    }

    fn set_entry(&mut self, at: &Place, inode: Inode) {
        if let Ok(directory) = self.directory_mut(at.directory) {
            directory.entries.insert(at.name.clone(), inode);
        }
    }

    fn remove_entry(&mut self, at: &Place) {
        if let Ok(directory) = self.directory_mut(at.directory) {
            directory.entries.remove(&at.name);
        }
    }

    pub(crate) fn open(&mut self, path: &str, opening: Opening) -> io::Result<Inode> {
        let found = self.find(path);
        let inode = match found {
            Ok(_) if opening.create_new => return Err(error(libc::EEXIST)),
            Ok(inode) => inode,
            Err(gone) if gone.kind() == io::ErrorKind::NotFound && (opening.create || opening.create_new) => {
                let at = self.place(path)?;
                self.add(at, Kind::File(Body::default()))
            }
            Err(other) => return Err(other),
        };
        let body = self.body_mut(inode)?;
        if opening.truncate {
            body.set_len(0);
        }
        self.node_mut(inode)?.opens += 1;
        Ok(inode)
    }

    /// The last holder of a file without a name frees its space.
    pub(crate) fn close(&mut self, inode: Inode) {
        if let Ok(node) = self.node_mut(inode) {
            node.opens = node.opens.saturating_sub(1);
            if node.links == 0 && node.opens == 0 {
                self.sweep();
            }
        }
    }

    pub(crate) fn create_dir(&mut self, path: &str) -> io::Result<()> {
        if self.find(path).is_ok() {
            return Err(error(libc::EEXIST));
        }
        let at = self.place(path)?;
        self.add(at, Kind::Directory(Directory::default()));
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let (source, target) = (self.place(from)?, self.place(to)?);
        let inode = self.entry(source.directory, &source.name)?;
        if source == target {
            return Ok(());
        }
        let is_dir = self.directory(inode).is_ok();
        if let Ok(old) = self.entry(target.directory, &target.name) {
            match (is_dir, self.directory(old)) {
                (true, Err(_)) => return Err(error(libc::ENOTDIR)),
                (false, Ok(_)) => return Err(error(libc::EISDIR)),
                (true, Ok(directory)) if !directory.entries.is_empty() => {
                    return Err(error(libc::ENOTEMPTY));
                }
                _ => self.node_mut(old)?.links -= 1,
            }
        }
        self.remove_entry(&source);
        self.set_entry(&target, inode);
        self.change(What::Rename {
            from: source,
            to: target,
            inode,
        });
        Ok(())
    }

    pub(crate) fn remove_file(&mut self, path: &str) -> io::Result<()> {
        let at = self.place(path)?;
        let inode = self.entry(at.directory, &at.name)?;
        self.body(inode)?;
        self.unlink(at, inode)
    }

    pub(crate) fn remove_dir(&mut self, path: &str) -> io::Result<()> {
        let at = self.place(path)?;
        let inode = self.entry(at.directory, &at.name)?;
        if !self.directory(inode)?.entries.is_empty() {
            return Err(error(libc::ENOTEMPTY));
        }
        self.unlink(at, inode)
    }

    fn unlink(&mut self, at: Place, inode: Inode) -> io::Result<()> {
        self.node_mut(inode)?.links -= 1;
        self.remove_entry(&at);
        self.change(What::Unlink { at, inode });
        Ok(())
    }

    /// The entries, sorted by name.
    pub(crate) fn list(&self, path: &str) -> io::Result<Vec<Listed>> {
        let directory = self.directory(self.find(path)?)?;
        let listed = directory.entries.iter().map(|(name, inode)| {
            let body = self.body(*inode);
            Listed {
                name: name.clone(),
                is_dir: body.is_err(),
                len: body.map_or(0, Body::len),
            }
        });
        Ok(listed.collect())
    }

    // --- content -----------------------------------------------------------------------------------

    pub(crate) fn body(&self, inode: Inode) -> io::Result<&Body> {
        match self.nodes.get(&inode) {
            Some(Node {
                kind: Kind::File(body),
                ..
            }) => Ok(body),
            Some(_) => Err(error(libc::EISDIR)),
            None => Err(error(libc::EBADF)),
        }
    }

    pub(crate) fn body_mut(&mut self, inode: Inode) -> io::Result<&mut Body> {
        match self.nodes.get_mut(&inode) {
            Some(Node {
                kind: Kind::File(body),
                ..
            }) => Ok(body),
            Some(_) => Err(error(libc::EISDIR)),
            None => Err(error(libc::EBADF)),
        }
    }

    /// Finds room for a range of bytes; how many bytes of it, from its start, have a place now.
    fn place_bytes(&mut self, inode: Inode, position: u64, len: u64, all: bool) -> io::Result<u64> {
        let page = PAGE as u64;
        let pages = position / page..(position + len).div_ceil(page);
        let missing = self.body(inode)?.unplaced(pages.clone());
        if missing == 0 {
            return Ok(len);
        }
        let free = self.space().0 / page;
        if missing <= free {
            self.body_mut(inode)?.place(pages);
            return Ok(len);
        }
        if all || free == 0 {
            return Err(error(libc::ENOSPC));
        }
        let body = self.body_mut(inode)?;
        let mut end = pages.start;
        while end < pages.end && body.unplaced(pages.start..end + 1) <= free {
            end += 1;
        }
        body.place(pages.start..end);
        match (end * page).saturating_sub(position) {
            0 => Err(error(libc::ENOSPC)),
            fits => Ok(fits.min(len)),
        }
    }

    /// Writes what fits; how many bytes that was.
    pub(crate) fn write(&mut self, inode: Inode, position: u64, bytes: &[u8]) -> io::Result<usize> {
        let fits = self.place_bytes(inode, position, bytes.len() as u64, false)? as usize;
        self.body_mut(inode)?
            .write(position, bytes.get(..fits).unwrap_or(bytes));
        Ok(fits)
    }

    /// As fallocate(2), which refuses a length of nothing.
    pub(crate) fn allocate(&mut self, inode: Inode, position: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Err(error(libc::EINVAL));
        }
        self.place_bytes(inode, position, len, true)?;
        self.body_mut(inode)?.grow(position + len);
        Ok(())
    }

    pub(crate) fn cover(&self, inode: Inode) -> io::Result<Covered> {
        self.body(inode).map(Body::cover)
    }

    // --- what lasts --------------------------------------------------------------------------------

    /// Begins a sync of the directory.
    pub(crate) fn cover_entries(&self, path: &str) -> io::Result<CoveredEntries> {
        let directory = self.find(path)?;
        self.directory(directory)?;
        Ok(CoveredEntries {
            directory,
            before: self.changes,
        })
    }

    /// Completes it: every change of the directory that stood when it began is durable, together with the
    /// earlier changes of the directories that a rename binds to it.
    pub(crate) fn settle_entries(&mut self, covered: &CoveredEntries) {
        let mut bound = BTreeSet::from([covered.directory]);
        let mut settled = Vec::new();
        let mut left = Vec::new();
        for change in std::mem::take(&mut self.pending).into_iter().rev() {
            let directories = change.what.directories();
            if change.number < covered.before && directories.iter().any(|each| bound.contains(each)) {
                bound.extend(directories);
                settled.push(change);
            } else {
                left.push(change);
            }
        }
        left.reverse();
        self.pending = left;
        let freed = settled
            .iter()
            .any(|change| !matches!(change.what, What::Link { .. }));
        for change in settled.iter().rev() {
            self.apply_durable(&change.what);
        }
        if freed {
            self.sweep();
        }
    }

    fn apply_durable(&mut self, what: &What) {
        match what {
            What::Link { at, inode } => self.set_durable(at, *inode),
            What::Unlink { at, inode } => self.remove_durable(at, *inode),
            What::Rename { from, to, inode } => {
                self.remove_durable(from, *inode);
                self.set_durable(to, *inode);
            }
        }
    }

    fn set_durable(&mut self, at: &Place, inode: Inode) {
        if let Ok(directory) = self.directory_mut(at.directory) {
            directory.durable.insert(at.name.clone(), inode);
        }
    }

    fn remove_durable(&mut self, at: &Place, inode: Inode) {
        if let Ok(directory) = self.directory_mut(at.directory)
            && directory.durable.get(&at.name) == Some(&inode)
        {
            directory.durable.remove(&at.name);
        }
    }

    /// The process is gone, the operating system is not: all that completed stays.
    pub(crate) fn end_process(&mut self) {
        self.nodes.values_mut().for_each(|node| node.opens = 0);
        self.sweep();
    }

    /// The power is cut: of all that no sync covers any part may be lost.
    ///
    /// Entries go in one of two ways: a journalling file system keeps a prefix of all changes, any other
    /// keeps each change or not.
    pub(crate) fn cut_power(&mut self, random: &mut Stream) {
        let pending = std::mem::take(&mut self.pending);
        let prefix = random.index(pending.len() + 1);
        let ordered = random.chance(500_000);
        let keep = Keep::any(random);
        for (n, change) in pending.iter().enumerate() {
            let kept = match keep {
                Keep::Nothing => false,
                Keep::All => true,
                Keep::Sectors { .. } | Keep::Pages { .. } if ordered => n < prefix,
                Keep::Sectors { ppm } | Keep::Pages { ppm } => random.chance(ppm),
            };
            if kept {
                self.apply_durable(&change.what);
            }
        }
        for node in self.nodes.values_mut() {
            node.opens = 0;
            node.links = 0;
            if let Kind::Directory(directory) = &mut node.kind {
                directory.entries = directory.durable.clone();
            }
        }
        self.count_links();
        self.sweep();
        let same = random.chance(700_000);
        for node in self.nodes.values_mut() {
            if let Kind::File(body) = &mut node.kind {
                let keep = if same { keep } else { Keep::any(random) };
                body.cut_power(keep, random);
            }
        }
    }

    fn count_links(&mut self) {
        let mut links: BTreeMap<Inode, u32> = BTreeMap::from([(ROOT, 1)]);
        for inode in self.reachable(|directory| &directory.entries) {
            if let Ok(directory) = self.directory(inode) {
                directory
                    .entries
                    .values()
                    .for_each(|entry| *links.entry(*entry).or_default() += 1);
            }
        }
        for (inode, links) in links {
            if let Some(node) = self.nodes.get_mut(&inode) {
                node.links = links;
            }
        }
    }

    fn reachable(&self, entries: impl Fn(&Directory) -> &BTreeMap<String, Inode>) -> BTreeSet<Inode> {
        let mut found = BTreeSet::new();
        let mut open = vec![ROOT];
        while let Some(inode) = open.pop() {
            if found.insert(inode)
                && let Ok(directory) = self.directory(inode)
            {
                open.extend(entries(directory).values());
            }
        }
        found
    }

    /// Forgets every inode that nothing can lead to any more, now or after a power cut.
    fn sweep(&mut self) {
        let mut held = self.reachable(|directory| &directory.entries);
        held.extend(self.reachable(|directory| &directory.durable));
        let mut open: Vec<Inode> = self.pending.iter().map(|change| change.what.inode()).collect();
        open.extend(
            self.nodes
                .iter()
                .filter(|(_, node)| node.opens > 0)
                .map(|(inode, _)| *inode),
        );
        while let Some(inode) = open.pop() {
            if held.insert(inode)
                && let Ok(directory) = self.directory(inode)
            {
                open.extend(directory.entries.values().chain(directory.durable.values()));
            }
        }
        self.nodes.retain(|inode, _| held.contains(inode));
    }

    fn node_mut(&mut self, inode: Inode) -> io::Result<&mut Node> {
        self.nodes.get_mut(&inode).ok_or_else(|| error(libc::EBADF))
    }

    fn directory(&self, inode: Inode) -> io::Result<&Directory> {
        match self.nodes.get(&inode) {
            Some(Node {
                kind: Kind::Directory(directory),
                ..
            }) => Ok(directory),
            Some(_) => Err(error(libc::ENOTDIR)),
            None => Err(error(libc::ENOENT)),
        }
    }

    fn directory_mut(&mut self, inode: Inode) -> io::Result<&mut Directory> {
        match self.nodes.get_mut(&inode) {
            Some(Node {
                kind: Kind::Directory(directory),
                ..
            }) => Ok(directory),
            Some(_) => Err(error(libc::ENOTDIR)),
            None => Err(error(libc::ENOENT)),
        }
    }
}

impl Node {
    /// Pages it takes on the disk, as long as it has a name or a holder.
    fn placed(&self) -> u64 {
        match &self.kind {
            Kind::File(body) if self.links > 0 || self.opens > 0 => body.placed(),
            _ => 0,
        }
    }
}

impl What {
    fn directories(&self) -> Vec<Inode> {
        match self {
            What::Link { at, .. } | What::Unlink { at, .. } => vec![at.directory],
            What::Rename { from, to, .. } => vec![from.directory, to.directory],
        }
    }

    fn inode(&self) -> Inode {
        match self {
            What::Link { inode, .. } | What::Unlink { inode, .. } | What::Rename { inode, .. } => *inode,
        }
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One step of a script: `create a`, `mkdir d`, `rename a b`, `rm a`, `rmdir d`, `sync /` (a directory).
    fn play(script: &str) -> Tree {
        let mut tree = Tree::new(1 << 20);
        for step in script.split(';').map(str::trim).filter(|step| !step.is_empty()) {
            let words: Vec<&str> = step.split(' ').collect();
            match words[..] {
                ["create", path] => {
                    let inode = tree
                        .open(
                            path,
                            Opening {
                                create_new: true,
                                ..Opening::default()
                            },
                        )
                        .unwrap();
                    tree.close(inode);
                }
                ["mkdir", path] => tree.create_dir(path).unwrap(),
                ["rename", from, to] => tree.rename(from, to).unwrap(),
                ["rm", path] => tree.remove_file(path).unwrap(),
                ["rmdir", path] => tree.remove_dir(path).unwrap(),
                ["sync", path] => {
                    let covered = tree.cover_entries(path).unwrap();
                    tree.settle_entries(&covered);
                }
                _ => panic!("{step}"),
            }
        }
        tree
    }

    fn names(tree: &Tree, path: &str) -> String {
        let mut all = Vec::new();
        for entry in tree.list(path).unwrap() {
            let below = format!("{}/{}", path.trim_end_matches('/'), entry.name);
            all.push(match entry.is_dir {
                true => format!("{}({})", entry.name, names(tree, &below)),
                false => entry.name,
            });
        }
        all.join(" ")
    }

    /// All that a power cut after the script leaves in some of 300 seeds, sorted, separated by `|`.
    fn check(script: &str, expected: &str) {
        let tree = play(script);
        let mut seen = BTreeSet::new();
        for seed in 0..300 {
            let mut tree = tree.clone();
            tree.cut_power(&mut Stream::keyed(seed, 0));
            seen.insert(names(&tree, "/"));
        }
        let seen: Vec<String> = seen.into_iter().collect();
        assert_eq!(seen.join("|"), expected, "{script}");
    }

    #[test]
    fn entries_are_volatile_until_their_directory_is_synced() {
        check("create a", "|a");
        check("create a; sync /", "a");
        check("create a; create b", "|a|a b|b");
        check("create a; sync /; rm a", "|a");
        check("create a; sync /; rm a; sync /", "");
        check("mkdir d; create d/a; sync d", "|d(a)");
        check("mkdir d; sync /; create d/a", "d()|d(a)");
        check("mkdir d; create d/a; sync /; sync d", "d(a)");
        check(
            "mkdir d; create d/a; sync d; sync /; rm d/a; rmdir d",
            "|d()|d(a)",
        );
    }

    #[test]
    fn a_rename_is_one_step() {
        check("create a; sync /; rename a b", "a|b");
        check("create a; create b; sync /; rename a b", "a b|b");
        check("create a; sync /; rename a b; sync /", "b");
        check("mkdir d; create a; sync /; rename a d/b", "a d()|d(b)");
        check(
            "mkdir d; mkdir e; sync /; create d/a; rename d/a e/a; sync e",
            "d() e(a)",
        );
        check("mkdir d; create d/a; sync /; sync d; rename d e", "d(a)|e(a)");
    }

    #[test]
    fn a_name_that_was_given_again_leads_to_one_file() {
        check("create a; sync /; rm a; create a", "|a");
        check("create a; sync /; rm a; create a; sync /", "a");
    }

    #[test]
    fn a_sync_covers_only_what_was_done_before_it_began() {
        let mut tree = play("create a");
        let covered = tree.cover_entries("/").unwrap();
        let inode = tree
            .open(
                "b",
                Opening {
                    create: true,
                    ..Opening::default()
                },
            )
            .unwrap();
        tree.close(inode);
        tree.settle_entries(&covered);
        let mut seen = BTreeSet::new();
        for seed in 0..100 {
            let mut tree = tree.clone();
            tree.cut_power(&mut Stream::keyed(seed, 0));
            seen.insert(names(&tree, "/"));
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["a", "a b"]);
    }

    #[test]
    fn a_synced_name_may_lead_to_an_empty_file_and_a_synced_file_to_no_name() {
        let mut tree = Tree::new(1 << 20);
        let inode = tree
            .open(
                "a",
                Opening {
                    create: true,
                    ..Opening::default()
                },
            )
            .unwrap();
        tree.write(inode, 0, &[1; 100]).unwrap();
        let covered = tree.cover_entries("/").unwrap();
        tree.settle_entries(&covered);
        let mut lens = BTreeSet::new();
        for seed in 0..100 {
            let mut tree = tree.clone();
            tree.cut_power(&mut Stream::keyed(seed, 0));
            lens.insert(tree.list("/").unwrap()[0].len);
        }
        assert_eq!(lens, BTreeSet::from([0, 100]));
    }

    #[test]
    fn errors_are_those_of_the_system_calls() {
        let mut tree = play("mkdir d; create d/a; create f");
        let code = |result: io::Result<()>| result.unwrap_err().raw_os_error().unwrap();
        assert_eq!(code(tree.create_dir("d")), libc::EEXIST);
        assert_eq!(code(tree.create_dir("x/y")), libc::ENOENT);
        assert_eq!(code(tree.create_dir("f/y")), libc::ENOTDIR);
        assert_eq!(code(tree.create_dir(&"n".repeat(256))), libc::ENAMETOOLONG);
        assert_eq!(code(tree.remove_dir("d")), libc::ENOTEMPTY);
        assert_eq!(code(tree.remove_dir("f")), libc::ENOTDIR);
        assert_eq!(code(tree.remove_file("d")), libc::EISDIR);
        assert_eq!(code(tree.rename("f", "d")), libc::EISDIR);
        assert_eq!(code(tree.rename("d", "f")), libc::ENOTDIR);
        assert_eq!(code(tree.rename("none", "f")), libc::ENOENT);
        assert_eq!(
            code(tree.open("none", Opening::default()).map(drop)),
            libc::ENOENT
        );
        let new = Opening {
            create_new: true,
            ..Opening::default()
        };
        assert_eq!(code(tree.open("f", new).map(drop)), libc::EEXIST);
        assert_eq!(code(tree.open("d", Opening::default()).map(drop)), libc::EISDIR);
    }

    #[test]
    fn a_full_disk_takes_what_fits() {
        let page = PAGE as u64;
        let mut tree = Tree::new(4 * page);
        let inode = tree
            .open(
                "a",
                Opening {
                    create: true,
                    ..Opening::default()
                },
            )
            .unwrap();
        tree.allocate(inode, 0, page).unwrap();
        assert_eq!(tree.space(), (3 * page, 4 * page));
        assert_eq!(
            tree.allocate(inode, 0, 5 * page).unwrap_err().raw_os_error(),
            Some(libc::ENOSPC)
        );
        assert_eq!(
            tree.allocate(inode, 0, 0).unwrap_err().raw_os_error(),
            Some(libc::EINVAL)
        );
        assert_eq!(tree.write(inode, 0, &[1; 5 * PAGE]).unwrap(), 4 * PAGE);
        assert_eq!(
            tree.write(inode, page, &[2; PAGE]).unwrap(),
            PAGE,
            "a placed page can be written again"
        );
        assert_eq!(
            tree.write(inode, 4 * page, &[2; 8]).unwrap_err().raw_os_error(),
            Some(libc::ENOSPC)
        );
        tree.remove_file("a").unwrap();
        assert_eq!(tree.space().0, 0, "an open file keeps its space");
        tree.close(inode);
        assert_eq!(tree.space().0, 4 * page);
    }

    #[test]
    fn a_kill_keeps_all_that_completed() {
        let mut tree = play("mkdir d; create d/a; rename d/a d/b");
        tree.end_process();
        assert_eq!(names(&tree, "/"), "d(b)");
    }
}
