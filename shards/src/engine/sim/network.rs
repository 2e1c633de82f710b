//! The network between all nodes: listeners, connections, and what becomes of packets.
//!
//! A connection is two one-way pipes. A pipe never reorders, loses or repeats bytes, as TCP does not; but it
//! delays them, hands them out in other pieces than they came in, and ends in any of the ways a real one
//! does: closed, reset, or silent because the peer is gone without a word. Pipes of different connections have
//! no order between them. What a newcomer would get wrong: a packet that cannot be delivered (cut link, node
//! without power) is not lost but sent again, until its sender gives the peer up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::events::Event;
use super::machine::Machine;
use super::reply::{Reply, Waiting, reply};
use super::trace::{What, hash_bytes};
use super::{Crash, NodeId};
use crate::buffers::Buffer;

/// One end of a connection: 0 asked for it, 1 accepted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Side(pub u8);

impl Side {
    fn other(self) -> Side {
        Side(1 - self.0)
    }
}

const CLIENT: Side = Side(0);
const SERVER: Side = Side(1);
/// How often an unanswered request for a connection is repeated.
const CONNECT_AGAIN_NS: u64 = 1_000_000_000;
const EPHEMERAL_PORTS: std::ops::Range<u16> = 32_768..60_999;

#[derive(Default)]
pub(crate) struct Net {
    listeners: BTreeMap<SocketAddr, Listener>,
    connections: BTreeMap<u64, Connection>,
    attempts: BTreeMap<u64, Attempt>,
    numbers: u64,
    ports: u16,
    /// Ordered pairs of nodes whose packets do not arrive.
    cut: BTreeSet<(usize, usize)>,
    /// What a packet of an unordered pair takes on top, in nanoseconds.
    slower: BTreeMap<(usize, usize), u64>,
}

struct Listener {
    node: usize,
    process: u64,
    queue: VecDeque<u64>,
    waker: Option<Waker>,
}

struct Attempt {
    node: usize,
    process: u64,
    to: SocketAddr,
    until: u64,
    reply: Reply<io::Result<u64>>,
}

struct Connection {
    ends: [End; 2],
    /// Nothing arrives any more, and nobody is told.
    is_silent: bool,
}

struct End {
    node: usize,
    process: u64,
    address: SocketAddr,
    /// Somebody holds this end.
    is_open: bool,
    /// What has arrived and was not read yet.
    inbox: VecDeque<Bytes>,
    inbox_bytes: usize,
    /// What was sent to this end and has not arrived.
    wire: VecDeque<Packet>,
    wire_bytes: usize,
    /// Bytes that may be under way to this end or wait here.
    window: usize,
    /// Nothing arrives before this.
    last_arrival: u64,
    /// An arrival of the first packet of the wire is planned.
    is_planned: bool,
    /// A packet for this end could not be delivered since then.
    stuck_since: Option<u64>,
    /// The peer sends no more, and all it sent is here.
    is_ended: bool,
    /// This end sends no more.
    has_ended: bool,
    /// This end reads no more.
    is_deaf: bool,
    broken: Option<i32>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Packet {
    at: u64,
    what: Packed,
}

enum Packed {
    Data(Bytes),
    End,
    Reset,
}

impl End {
    fn new(node: usize, process: u64, address: SocketAddr, window: usize) -> End {
        End {
            node,
            process,
            address,
            is_open: true,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            wire: VecDeque::new(),
            wire_bytes: 0,
            window,
            last_arrival: 0,
            is_planned: false,
            stuck_since: None,
            is_ended: false,
            has_ended: false,
            is_deaf: false,
            broken: None,
            reader: None,
            writer: None,
        }
    }

    fn break_off(&mut self, code: i32, wakers: &mut Vec<Waker>) {
        self.broken.get_or_insert(code);
        self.inbox.clear();
        self.inbox_bytes = 0;
        wakers.extend(self.reader.take());
        wakers.extend(self.writer.take());
    }

    fn has_room(&self) -> usize {
        self.window.saturating_sub(self.inbox_bytes + self.wire_bytes)
    }
}

impl Net {
    fn end(&mut self, connection: u64, side: Side) -> Option<&mut End> {
        Some(&mut self.connections.get_mut(&connection)?.ends[usize::from(side.0)])
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from, to))
    }

    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn next_port(&mut self) -> u16 {
        self.ports = (self.ports + 1) % EPHEMERAL_PORTS.len() as u16;
        EPHEMERAL_PORTS.start + self.ports
    }
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl Machine {
    fn packet_delay(&self, net: &Net, from: usize, to: usize) -> u64 {
        let options = &self.options.network;
        let mut random = self.network_random.borrow_mut();
        let range = if random.chance(options.slow_ppm) {
            &options.slow_ns
        } else {
            &options.delay_ns
        };
        let slower = net.slower.get(&pair(from, to)).copied().unwrap_or_default();
        random.between(*range.start(), *range.end()) + slower
    }

    // --- listening and connecting ------------------------------------------------------------------

    pub(crate) fn bind(&self, node: usize, process: u64, address: SocketAddr) -> io::Result<SocketAddr> {
        let own = self.nodes.borrow()[node].address;
        if !address.ip().is_unspecified() && !address.ip().is_loopback() && address.ip() != own {
            return Err(error(libc::EADDRNOTAVAIL));
        }
        let mut net = self.network.borrow_mut();
        let port = if address.port() == 0 {
            net.next_port()
        } else {
            address.port()
        };
        let bound = SocketAddr::new(own, port);
        if net.listeners.contains_key(&bound) {
            return Err(error(libc::EADDRINUSE));
        }
        net.listeners.insert(
            bound,
            Listener {
                node,
                process,
                queue: VecDeque::new(),
                waker: None,
            },
        );
        Ok(bound)
    }

    pub(crate) fn poll_accept(
        &self,
        address: SocketAddr,
        process: u64,
        cx: &Context<'_>,
    ) -> Poll<io::Result<(u64, SocketAddr)>> {
        let mut net = self.network.borrow_mut();
        let Some(listener) = net
            .listeners
            .get_mut(&address)
            .filter(|found| found.process == process)
        else {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        };
        match listener.queue.pop_front() {
            None => {
                listener.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(connection) => match net.end(connection, CLIENT).map(|end| end.address) {
                Some(peer) => Poll::Ready(Ok((connection, peer))),
                None => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            },
        }
    }

    pub(crate) fn close_listener(&self, address: SocketAddr, process: u64) {
        let mut net = self.network.borrow_mut();
        if net
            .listeners
            .get(&address)
            .is_none_or(|listener| listener.process != process)
        {
            return;
        }
        let Some(listener) = net.listeners.remove(&address) else {
            return;
        };
        drop(net);
        for connection in listener.queue {
            self.close(connection, SERVER);
        }
        if let Some(waker) = listener.waker {
            waker.wake();
        }
    }

    pub(crate) fn connect(&self, node: usize, process: u64, to: SocketAddr) -> Waiting<io::Result<u64>> {
        let (reply, waiting) = reply();
        let own = self.nodes.borrow()[node].address;
        let to = if to.ip().is_loopback() {
            SocketAddr::new(own, to.port())
        } else {
            to
        };
        let mut net = self.network.borrow_mut();
        let attempt = net.next_number();
        let patience = {
            let range = &self.options.network.give_up_ns;
            self.network_random
                .borrow_mut()
                .between(*range.start(), *range.end())
        };
        let until = self.now() + patience;
        net.attempts.insert(
            attempt,
            Attempt {
                node,
                process,
                to,
                until,
                reply,
            },
        );
        let delay = 2 * self.packet_delay(&net, node, node);
        self.plan(self.now() + delay, Event::Connect { attempt });
        waiting
    }

    pub(crate) fn on_connect(&self, number: u64) {
        let mut net = self.network.borrow_mut();
        let Some(attempt) = net.attempts.remove(&number) else {
            return;
        };
        let target = self
            .nodes
            .borrow()
            .iter()
            .position(|node| node.address == attempt.to.ip());
        let reachable = target.filter(|&to| {
            self.nodes.borrow()[to].is_powered
                && !net.is_cut(attempt.node, to)
                && !net.is_cut(to, attempt.node)
        });
        let room = self.options.network.backlog;
        let listener = net.listeners.get(&attempt.to);
        let refused = reachable.is_some() && listener.is_none();
        let queued = reachable.is_some() && listener.is_some_and(|listener| listener.queue.len() < room);
        if refused {
            drop(net);
            return attempt.reply.give(Err(error(libc::ECONNREFUSED)));
        }
        if !queued {
            if self.now() >= attempt.until {
                drop(net);
                return attempt.reply.give(Err(error(libc::ETIMEDOUT)));
            }
            net.attempts.insert(number, attempt);
            return self.plan(self.now() + CONNECT_AGAIN_NS, Event::Connect { attempt: number });
        }
        let address = SocketAddr::new(self.nodes.borrow()[attempt.node].address, net.next_port());
        let windows = {
            let mut random = self.network_random.borrow_mut();
            let range = &self.options.network.window;
            [0, 1].map(|_| random.between(*range.start(), *range.end()) as usize)
        };
        let Some(listener) = net.listeners.get_mut(&attempt.to) else {
            return;
        };
        listener.queue.push_back(number);
        let ends = [
            End::new(attempt.node, attempt.process, address, windows[0]),
            End::new(listener.node, listener.process, attempt.to, windows[1]),
        ];
        let waker = listener.waker.take();
        self.note(What::Connect, attempt.node, number, ends[1].node as u64);
        net.connections.insert(
            number,
            Connection {
                ends,
                is_silent: false,
            },
        );
        drop(net);
        if let Some(waker) = waker {
            waker.wake();
        }
        attempt.reply.give(Ok(number));
    }

    pub(crate) fn address_of(&self, connection: u64, side: Side) -> Option<SocketAddr> {
        self.network
            .borrow_mut()
            .end(connection, side)
            .map(|end| end.address)
    }

    // --- reading -----------------------------------------------------------------------------------

    pub(crate) fn poll_readable(&self, connection: u64, side: Side, cx: &Context<'_>) -> Poll<()> {
        let mut net = self.network.borrow_mut();
        let Some(end) = net.end(connection, side) else {
            return Poll::Ready(());
        };
        if end.inbox_bytes > 0 || end.is_ended || end.is_deaf || end.broken.is_some() {
            return Poll::Ready(());
        }
        end.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Appends some of what has arrived.
    pub(crate) fn poll_read(
        &self,
        connection: u64,
        side: Side,
        buffer: &mut Buffer,
        cx: &Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut net = self.network.borrow_mut();
        let Some(end) = net.end(connection, side) else {
            return Poll::Ready(Err(error(libc::ECONNRESET)));
        };
        if let Some(code) = end.broken {
            return Poll::Ready(Err(error(code)));
        }
        let room = buffer.capacity() - buffer.len();
        if end.is_deaf || room == 0 || (end.inbox_bytes == 0 && end.is_ended) {
            return Poll::Ready(Ok(0));
        }
        if end.inbox_bytes == 0 {
            end.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let wanted = self.part(room.min(end.inbox_bytes));
        let mut left = wanted;
        while left > 0
            && let Some(piece) = end.inbox.front_mut()
        {
            let taken = piece.split_to(left.min(piece.len()));
            if piece.is_empty() {
                end.inbox.pop_front();
            }
            left -= taken.len();
            buffer.extend_from_slice(&taken);
        }
        end.inbox_bytes -= wanted;
        let node = end.node;
        let writer = net
            .end(connection, side.other())
            .and_then(|peer| peer.writer.take());
        drop(net);
        self.note(What::Receive, node, connection, wanted as u64);
        if let Some(writer) = writer {
            writer.wake();
        }
        Poll::Ready(Ok(wanted))
    }

    /// All of it or, with a chance, a part.
    fn part(&self, whole: usize) -> usize {
        let mut random = self.network_random.borrow_mut();
        match random.chance(self.options.network.partial_ppm) {
            true => random.between(1, whole as u64) as usize,
            false => whole,
        }
    }

    // --- writing -----------------------------------------------------------------------------------

    /// Sends as much of the pieces as goes, and takes that off them.
    pub(crate) fn poll_write(
        &self,
        connection: u64,
        side: Side,
        pieces: &mut VecDeque<Bytes>,
        cx: &Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            while pieces.front().is_some_and(Bytes::is_empty) {
                pieces.pop_front();
            }
            let Some(piece) = pieces.front_mut() else {
                return Poll::Ready(Ok(()));
            };
            let mut net = self.network.borrow_mut();
            let Some(end) = net.end(connection, side) else {
                return Poll::Ready(Err(error(libc::ECONNRESET)));
            };
            if let Some(code) = end.broken {
                return Poll::Ready(Err(error(code)));
            }
            if end.has_ended {
                return Poll::Ready(Err(error(libc::EPIPE)));
            }
            let room = match net.end(connection, side.other()) {
                Some(peer) => peer.has_room(),
                None => 0,
            };
            if room == 0 {
                if let Some(end) = net.end(connection, side) {
                    end.writer = Some(cx.waker().clone());
                }
                return Poll::Pending;
            }
            let count = self.part(room.min(piece.len()));
            let data = Bytes::copy_from_slice(&piece.split_to(count));
            self.send(&mut net, connection, side, Packed::Data(data));
        }
    }

    /// Puts a packet on the wire from this side to the other.
    fn send(&self, net: &mut Net, connection: u64, from: Side, what: Packed) {
        let Some(nodes) = net.connections.get(&connection).map(|found| {
            (
                found.ends[usize::from(from.0)].node,
                found.ends[usize::from(from.other().0)].node,
            )
        }) else {
            return;
        };
        let delay = self.packet_delay(net, nodes.0, nodes.1);
        let Some(peer) = net.end(connection, from.other()) else {
            return;
        };
        let at = peer.last_arrival.max(self.now() + delay);
        peer.last_arrival = at;
        match &what {
            Packed::Data(data) => {
                peer.wire_bytes += data.len();
                self.note(
                    What::Send,
                    nodes.0,
                    hash_bytes(data),
                    connection << 32 | data.len() as u64,
                );
            }
            Packed::End => self.note(What::Close, nodes.0, connection, 0),
            Packed::Reset => self.note(What::Close, nodes.0, connection, 1),
        }
        peer.wire.push_back(Packet { at, what });
        if !std::mem::replace(&mut peer.is_planned, true) {
            self.plan(
                at,
                Event::Packet {
                    connection,
                    to: from.other(),
                },
            );
        }
    }

    pub(crate) fn on_packet(&self, connection: u64, to: Side) {
        let mut wakers = Vec::new();
        let mut net = self.network.borrow_mut();
        self.deliver(&mut net, connection, to, &mut wakers);
        drop(net);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn deliver(&self, net: &mut Net, connection: u64, to: Side, wakers: &mut Vec<Waker>) {
        let Some(found) = net.connections.get(&connection) else {
            return;
        };
        let (from_node, to_node) = (
            found.ends[usize::from(to.other().0)].node,
            found.ends[usize::from(to.0)].node,
        );
        let (is_powered, process) = {
            let nodes = self.nodes.borrow();
            (
                nodes[to_node].is_powered,
                nodes[to_node].process.as_ref().map(|process| process.number),
            )
        };
        let arrives = is_powered && !found.is_silent && !net.is_cut(from_node, to_node);
        let now = self.now();
        let Some(end) = net.end(connection, to) else {
            return;
        };
        end.is_planned = false;
        if !arrives {
            if end.stuck_since.is_none() {
                end.stuck_since = Some(now);
                let range = &self.options.network.give_up_ns;
                let patience = self
                    .network_random
                    .borrow_mut()
                    .between(*range.start(), *range.end());
                self.plan(
                    now + patience,
                    Event::GiveUp {
                        connection,
                        side: to.other(),
                        since: now,
                    },
                );
            }
            return;
        }
        end.stuck_since = None;
        let is_known = end.is_open && process == Some(end.process);
        let Some(packet) = end.wire.pop_front() else {
            return;
        };
        let next = end.wire.front().map(|next| next.at.max(now));
        match packet.what {
            Packed::Data(data) => {
                end.wire_bytes -= data.len();
                if !is_known
                    || self
                        .network_random
                        .borrow_mut()
                        .chance(self.options.network.reset_ppm)
                {
                    // Data for an end that nobody holds, or the network's whim.
                    end.wire.clear();
                    end.wire_bytes = 0;
                    if is_known {
                        end.break_off(libc::ECONNRESET, wakers);
                    }
                    return self.send(net, connection, to, Packed::Reset);
                }
                if end.broken.is_none() && !end.is_deaf {
                    end.inbox_bytes += data.len();
                    end.inbox.push_back(data);
                    wakers.extend(end.reader.take());
                }
            }
            Packed::End => {
                end.is_ended = true;
                wakers.extend(end.reader.take());
            }
            Packed::Reset => end.break_off(libc::ECONNRESET, wakers),
        }
        if let Some(at) = next {
            end.is_planned = true;
            self.plan(at, Event::Packet { connection, to });
        }
        Self::forget_if_done(net, connection);
    }

    /// The sender `side` has had no answer since `since`.
    pub(crate) fn on_give_up(&self, connection: u64, side: Side, since: u64) {
        let mut wakers = Vec::new();
        let mut net = self.network.borrow_mut();
        let stuck = net
            .end(connection, side.other())
            .is_some_and(|end| end.stuck_since == Some(since));
        if stuck {
            if let Some(end) = net.end(connection, side.other()) {
                end.wire.clear();
                end.wire_bytes = 0;
            }
            if let Some(end) = net.end(connection, side) {
                end.break_off(libc::ETIMEDOUT, &mut wakers);
            }
            Self::forget_if_done(&mut net, connection);
        }
        drop(net);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Forgets a connection that nobody holds and on which nothing is under way.
    fn forget_if_done(net: &mut Net, connection: u64) {
        let done = net.connections.get(&connection).is_some_and(|found| {
            found
                .ends
                .iter()
                .all(|end| !end.is_open && (end.wire.is_empty() || !end.is_planned))
        });
        if done {
            net.connections.remove(&connection);
        }
    }

    // --- ending ------------------------------------------------------------------------------------

    pub(crate) fn shutdown(&self, connection: u64, side: Side, how: Shutdown) -> io::Result<()> {
        let mut wakers = Vec::new();
        let mut net = self.network.borrow_mut();
        let Some(end) = net.end(connection, side) else {
            return Err(error(libc::ENOTCONN));
        };
        if end.broken.is_some() {
            return Err(error(libc::ENOTCONN));
        }
        if how != Shutdown::Write {
            end.is_deaf = true;
            wakers.extend(end.reader.take());
        }
        if how != Shutdown::Read && !std::mem::replace(&mut end.has_ended, true) {
            wakers.extend(end.writer.take());
            self.send(&mut net, connection, side, Packed::End);
        }
        drop(net);
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// The holder of this side is gone: an end after all that was sent, or a reset if it left bytes unread.
    pub(crate) fn close(&self, connection: u64, side: Side) {
        let mut wakers = Vec::new();
        let mut net = self.network.borrow_mut();
        let Some(end) = net.end(connection, side) else {
            return;
        };
        if !std::mem::replace(&mut end.is_open, false) {
            return;
        }
        let unread = end.inbox_bytes > 0;
        let ended = std::mem::replace(&mut end.has_ended, true);
        let broken = end.broken.is_some();
        end.inbox.clear();
        end.inbox_bytes = 0;
        if let Some(peer) = net.end(connection, side.other()) {
            wakers.extend(peer.writer.take()); // there is room, if only to be refused
        }
        if broken {
            Self::forget_if_done(&mut net, connection);
        } else if unread {
            self.send(&mut net, connection, side, Packed::Reset);
        } else if !ended {
            self.send(&mut net, connection, side, Packed::End);
        } else {
            Self::forget_if_done(&mut net, connection);
        }
        drop(net);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The process is gone: its operating system closes its sockets, or nobody does.
    pub(crate) fn end_connections(&self, node: usize, process: u64, crash: Crash) {
        let mut net = self.network.borrow_mut();
        net.attempts
            .retain(|_, attempt| attempt.node != node || attempt.process != process);
        let listening: Vec<SocketAddr> = net
            .listeners
            .iter()
            .filter(|(_, listener)| listener.node == node && listener.process == process)
            .map(|(address, _)| *address)
            .collect();
        for address in listening {
            net.listeners.remove(&address);
        }
        let mut held = Vec::new();
        for (number, connection) in &mut net.connections {
            for side in [CLIENT, SERVER] {
                let end = &mut connection.ends[usize::from(side.0)];
                if end.node == node && end.process == process && end.is_open {
                    held.push((*number, side));
                    end.reader = None;
                    end.writer = None;
                    if crash == Crash::PowerCut {
                        end.is_open = false;
                    }
                }
            }
        }
        drop(net);
        if crash == Crash::Kill {
            held.into_iter()
                .for_each(|(connection, side)| self.close(connection, side));
        }
    }

    /// Starts everything again that was held up and need not be any more.
    fn resume(&self) {
        let mut net = self.network.borrow_mut();
        let now = self.now();
        for (number, connection) in &mut net.connections {
            for side in [CLIENT, SERVER] {
                let end = &mut connection.ends[usize::from(side.0)];
                if !end.is_planned && !end.wire.is_empty() {
                    end.is_planned = true;
                    end.stuck_since = None;
                    self.plan(
                        now,
                        Event::Packet {
                            connection: *number,
                            to: side,
                        },
                    );
                }
            }
        }
    }

    /// The node has power again: packets that were sent to it meet an operating system that knows nothing of them.
    pub(crate) fn power_on(&self) {
        self.resume();
    }
}

/// A test's hand on the network.
#[derive(Clone)]
pub struct Network {
    machine: Rc<Machine>,
}

impl Network {
    pub(crate) fn new(machine: Rc<Machine>) -> Network {
        Network { machine }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Net) -> T) -> T {
        f(&mut self.machine.network.borrow_mut())
    }

    /// Nothing arrives between the two any more; their connections learn of it when they give up.
    pub fn cut(&self, a: NodeId, b: NodeId) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Nothing from `from` arrives at `to`.
    pub fn cut_one_way(&self, from: NodeId, to: NodeId) {
        self.with(|net| net.cut.insert((from.0, to.0)));
    }

    /// All arrives again between the two.
    pub fn heal(&self, a: NodeId, b: NodeId) {
        self.with(|net| {
            net.cut.remove(&(a.0, b.0));
            net.cut.remove(&(b.0, a.0));
        });
        self.machine.resume();
    }

    /// Every cut is healed.
    pub fn heal_all(&self) {
        self.with(|net| net.cut.clear());
        self.machine.resume();
    }

    /// Every packet between the two takes `more` longer from now on.
    pub fn delay(&self, a: NodeId, b: NodeId, more: Duration) {
        self.with(|net| net.slower.insert(pair(a.0, b.0), more.as_nanos() as u64));
    }

    /// Resets all connections between the two; how many there were.
    pub fn reset(&self, a: NodeId, b: NodeId) -> usize {
        let mut wakers = Vec::new();
        let count = self.with(|net| {
            let mut count = 0;
            for connection in net
                .connections
                .values_mut()
                .filter(|connection| connection.joins(a, b))
            {
                count += 1;
                for end in &mut connection.ends {
                    end.wire.clear();
                    end.wire_bytes = 0;
                    end.break_off(libc::ECONNRESET, &mut wakers);
                }
            }
            count
        });
        wakers.into_iter().for_each(Waker::wake);
        count
    }

    /// The connections there are now between the two fall silent for ever, as if one side were gone without a
    /// word; new ones work. How many there were.
    pub fn half_open(&self, a: NodeId, b: NodeId) -> usize {
        self.with(|net| {
            let mut count = 0;
            for connection in net
                .connections
                .values_mut()
                .filter(|connection| connection.joins(a, b))
            {
                count += 1;
                connection.is_silent = true;
            }
            count
        })
    }

    /// Connections that some side still holds.
    pub fn connections(&self) -> usize {
        self.with(|net| {
            let held = |connection: &&Connection| connection.ends.iter().any(|end| end.is_open);
            net.connections.values().filter(held).count()
        })
    }
}

impl Connection {
    fn joins(&self, a: NodeId, b: NodeId) -> bool {
        pair(self.ends[0].node, self.ends[1].node) == pair(a.0, b.0)
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}
