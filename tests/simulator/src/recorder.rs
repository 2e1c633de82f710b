//! What all clients of a run write down: the history for the checker, the topics there should be, and
//! whatever they saw that must not be.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;

use checkers::{Event, Log};
use protocol::Uuid;

/// A topic that the broker said it had created.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name, which a later topic may have too.
    pub name: String,
    /// Its id, which no other topic ever has.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
    /// Whether somebody asked for its deletion, or got the answer.
    pub fate: Fate,
}

/// What is known of a topic's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nobody asked for its deletion: it must be there, after any crash.
    Lives,
    /// Its deletion was asked for and not answered: both are right.
    Unknown,
    /// Its deletion was acknowledged: it must never be seen again.
    Deleted,
}

/// Shared by all clients of one run; they are on different machines, but in one thread.
pub struct Recorder {
    /// Where the broker listens.
    pub address: SocketAddr,
    history: RefCell<Vec<Event>>,
    topics: RefCell<Vec<Topic>>,
    problems: RefCell<Vec<String>>,
    messages: Cell<u64>,
    clients: Cell<u32>,
    is_over: Cell<bool>,
    acked: Cell<u64>,
}

impl Recorder {
    /// An empty history about the broker at `address`.
    pub fn new(address: SocketAddr) -> Recorder {
        Recorder {
            address,
            history: RefCell::default(),
            topics: RefCell::default(),
            problems: RefCell::default(),
            messages: Cell::new(0),
            clients: Cell::new(0),
            is_over: Cell::new(false),
            acked: Cell::new(0),
        }
    }

    /// A number for a new message.
    pub fn next_message(&self) -> u64 {
        self.messages.replace(self.messages.get() + 1)
    }

    /// A number for a new producer or reader.
    pub fn next_client(&self) -> u32 {
        self.clients.replace(self.clients.get() + 1)
    }

    /// Writes an event down.
    pub fn record(&self, event: Event) {
        if let Event::Acked { .. } = event {
            self.acked.set(self.acked.get() + 1);
        }
        self.history.borrow_mut().push(event);
    }

    /// Something that must not be, though no history could tell it.
    pub fn problem(&self, what: impl Into<String>) {
        self.problems.borrow_mut().push(what.into());
    }

    /// All problems so far.
    pub fn problems(&self) -> Vec<String> {
        self.problems.borrow().clone()
    }

    /// Messages that were acknowledged so far.
    pub fn acked(&self) -> u64 {
        self.acked.get()
    }

    /// The history so far.
    pub fn history(&self) -> Vec<Event> {
        self.history.borrow().clone()
    }

    /// A topic is there.
    pub fn add_topic(&self, topic: Topic) {
        self.topics.borrow_mut().push(topic);
    }

    /// All topics that ever were.
    pub fn topics(&self) -> Vec<Topic> {
        self.topics.borrow().clone()
    }

    /// What is known of the topic now.
    pub fn fate(&self, id: Uuid) -> Fate {
        let topics = self.topics.borrow();
        topics
            .iter()
            .find(|topic| topic.id == id)
            .map_or(Fate::Unknown, |topic| topic.fate)
    }

    /// Notes a topic's fate.
    pub fn set_fate(&self, id: Uuid, fate: Fate) {
        for topic in self.topics.borrow_mut().iter_mut().filter(|topic| topic.id == id) {
            topic.fate = fate;
        }
    }

    /// Tells the clients to end.
    pub fn end(&self) {
        self.is_over.set(true);
    }

    /// More clients come, after all others have ended.
    pub fn begin_again(&self) {
        self.is_over.set(false);
    }

    /// Whether the clients are to end.
    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }
}

/// The log of a partition, by the topic's id: a topic created again under one name is another log.
pub fn log(id: Uuid, partition: i32) -> Log {
    Log::new(id.to_string(), partition)
}
