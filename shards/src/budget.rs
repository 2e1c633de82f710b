//! The memory that a shard may hold, divided by purpose.
//!
//! Every purpose has a floor that no other purpose can take, and what is above the floors goes to whoever asks
//! first. So receive buffers cannot starve the tails that would let them be freed. Waiting is FIFO within a purpose.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use crate::shard;
use crate::sync::{Turn, WaitList, wake_front};

/// What memory is used for.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Requests while they are read and handled.
    Receive,
    /// The ends of partitions and the journal.
    Tails,
    /// Reads from disk on the way to a client.
    Reads,
    /// What may be dropped at any time.
    Cache,
    /// Recovery, compaction, retention.
    Background,
}

impl Purpose {
    /// All of them, in the order of declaration.
    pub const ALL: [Purpose; 5] = [
        Purpose::Receive,
        Purpose::Tails,
        Purpose::Reads,
        Purpose::Cache,
        Purpose::Background,
    ];

    /// The floor in thousandths of the shard's memory; together they leave 300 to whoever comes first.
    pub const fn floor_thousandths(self) -> usize {
        match self {
            Purpose::Receive => 200,
            Purpose::Tails => 250,
            Purpose::Reads => 150,
            Purpose::Cache => 0,
            Purpose::Background => 100,
        }
    }
}

const PURPOSES: usize = Purpose::ALL.len();

/// Waits until the shard may hold `bytes` more for `purpose`. A request beyond what the purpose can ever hold
/// is admitted when the purpose holds nothing else.
pub async fn acquire(purpose: Purpose, bytes: usize) -> Permit {
    let budget = shard::with(|core| core.budget.clone());
    budget.charge(purpose, bytes).await;
    Permit {
        budget,
        purpose,
        bytes,
    }
}

/// The same, only when it is possible at once and nobody waits.
pub fn try_acquire(purpose: Purpose, bytes: usize) -> Option<Permit> {
    let budget = shard::with(|core| core.budget.clone());
    if !budget.try_charge(purpose, bytes) {
        return None;
    }
    Some(Permit {
        budget,
        purpose,
        bytes,
    })
}

/// Bytes held for `purpose` on the current shard.
pub fn used(purpose: Purpose) -> usize {
    shard::with(|core| core.budget.used(purpose))
}

/// Bytes that the current shard may hold in all.
pub fn total() -> usize {
    shard::with(|core| core.budget.total)
}

/// The most that `purpose` can hold of `total` bytes, when the others stay within their floors.
pub fn most_of(total: usize, purpose: Purpose) -> usize {
    let others = Purpose::ALL.iter().filter(|other| **other != purpose);
    total - others.map(|other| floor_of(total, *other)).sum::<usize>()
}

fn floor_of(total: usize, purpose: Purpose) -> usize {
    total / 1000 * purpose.floor_thousandths()
}

/// The most that `purpose` can hold on the current shard, when the others stay within their floors.
pub fn most(purpose: Purpose) -> usize {
    shard::with(|core| core.budget.most(purpose))
}

/// Bytes admitted by [`acquire`]; given back when dropped.
#[must_use = "dropping the permit gives the bytes back"]
pub struct Permit {
    budget: Rc<Budget>,
    purpose: Purpose,
    bytes: usize,
}

impl Permit {
    /// How many bytes it stands for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back all but `bytes`; no effect when it is less already.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.budget.release(self.purpose, surplus);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.release(self.purpose, self.bytes);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({:?}, {} bytes)", self.purpose, self.bytes)
    }
}

/// The accounts of one shard.
pub(crate) struct Budget {
    total: usize,
    accounts: [Account; PURPOSES],
}

#[derive(Default)]
struct Account {
    floor: usize,
    used: Cell<usize>,
    waiting: RefCell<WaitList>,
}

impl Budget {
    pub fn new(total: usize) -> Rc<Budget> {
        let accounts = Purpose::ALL.map(|purpose| Account {
            floor: floor_of(total, purpose),
            ..Account::default()
        });
        Rc::new(Budget { total, accounts })
    }

    fn account(&self, purpose: Purpose) -> &Account {
        &self.accounts[purpose as usize]
    }

    pub fn used(&self, purpose: Purpose) -> usize {
        self.account(purpose).used.get()
    }

    pub fn most(&self, purpose: Purpose) -> usize {
        most_of(self.total, purpose)
    }

    /// Whether anybody waits for memory.
    pub fn is_wanted(&self) -> bool {
        self.accounts
            .iter()
            .any(|account| !account.waiting.borrow().is_empty())
    }

    fn fits(&self, purpose: Purpose, bytes: usize) -> bool {
        let account = self.account(purpose);
        let wanted = account.used.get().saturating_add(bytes);
        if wanted <= account.floor || account.used.get() == 0 && bytes > self.most(purpose) {
            return true;
        }
        // What the others hold or are promised.
        let others: usize = self
            .accounts
            .iter()
            .map(|account| account.floor.max(account.used.get()))
            .sum::<usize>()
            - account.floor.max(account.used.get());
        wanted.saturating_add(others) <= self.total
    }

    pub fn try_charge(&self, purpose: Purpose, bytes: usize) -> bool {
        let account = self.account(purpose);
        let can = account.waiting.borrow().is_empty() && self.fits(purpose, bytes);
        if can {
            account.used.set(account.used.get() + bytes);
        }
        can
    }

    pub async fn charge(&self, purpose: Purpose, bytes: usize) {
        let account = self.account(purpose);
        let mut turn = Turn {
            list: &account.waiting,
            place: None,
        };
        poll_fn(|cx| {
            let mut waiting = account.waiting.borrow_mut();
            if !waiting.is_first(turn.place) || !self.fits(purpose, bytes) {
                waiting.wait(&mut turn.place, cx);
                return Poll::Pending;
            }
            account.used.set(account.used.get() + bytes);
            Poll::Ready(())
        })
        .await;
    }

    pub fn release(&self, purpose: Purpose, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let account = self.account(purpose);
        account.used.set(account.used.get() - bytes);
        for account in &self.accounts {
            if !account.waiting.borrow().is_empty() {
                wake_front(&account.waiting);
            }
        }
    }
}
