//! Sockets: readiness by one multishot poll each, `recv` and `sendmsg` tried directly, the rest by the ring.
//!
//! The poll reports edges: after a short read the socket is drained, and what comes later is reported again.
//! An end that has been reported stays reported, because it may have come together with the last bytes.

#![allow(
    unsafe_code,
    reason = "calls on sockets with addresses of our memory; each use has its proof"
)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Poll, Waker};

use bytes::Bytes;
use io_uring::opcode;
use io_uring::types::Fd;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::Engine;
use super::file::Descriptor;
use super::ring::{Keep, Multishot, OpId, outcome};
use crate::buffers::Buffer;
use crate::task::keep_waker;

const BACKLOG: i32 = 4096;
/// The most slices that the kernel takes in one call (UIO_MAXIOV).
const SLICES_MAX: usize = 1024;

/// A listening socket.
pub(crate) struct TcpListener {
    descriptor: Rc<Descriptor>,
    accepting: Rc<Accepting>,
}

#[derive(Default)]
struct Accepting {
    arrived: RefCell<VecDeque<io::Result<OwnedFd>>>,
    waker: RefCell<Option<Waker>>,
    armed: Cell<Option<OpId>>,
    closed: Cell<bool>,
}

impl Accepting {
    fn wake(&self) {
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Multishot for Accepting {
    fn on_completion(&self, result: i32, more: bool) {
        if !more {
            self.armed.set(None);
        }
        match outcome(result) {
            // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
            Ok(fd) => self
                .arrived
                .borrow_mut()
                .push_back(Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })),
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => {}
            Err(error) => self.arrived.borrow_mut().push_back(Err(error)),
        }
        self.wake();
    }
}

impl TcpListener {
    pub fn bind(engine: &Rc<Engine>, address: SocketAddr) -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_tcp_nodelay(true)?; // accepted sockets inherit it
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let descriptor = Descriptor::new(engine, socket.into_raw_fd());
        Ok(TcpListener {
            descriptor,
            accepting: Rc::default(),
        })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_addr(self.descriptor.fd())
    }

    pub fn set_congestion(&self, name: &str) -> io::Result<()> {
        borrowed(self.descriptor.fd(), |socket| {
            socket.set_tcp_congestion(name.as_bytes())
        })
    }

    pub async fn accept(&self) -> io::Result<Accepted> {
        let accepting = &self.accepting;
        poll_fn(|cx| {
            if accepting.closed.get() {
                return Poll::Ready(Err(io::Error::from_raw_os_error(libc::EINVAL)));
            }
            let arrived = accepting.arrived.borrow_mut().pop_front();
            if let Some(arrived) = arrived {
                return Poll::Ready(arrived.and_then(Accepted::new));
            }
            if accepting.armed.get().is_none() {
                let entry = opcode::AcceptMulti::new(Fd(self.descriptor.fd()))
                    .flags(libc::SOCK_CLOEXEC)
                    .build();
                // SAFETY: points to no memory; the descriptor is closed through the same ring, behind this entry.
                let id = unsafe {
                    self.descriptor
                        .engine()
                        .ring
                        .submit_multishot(entry, accepting.clone())
                };
                accepting.armed.set(Some(id));
            }
            keep_waker(&mut accepting.waker.borrow_mut(), cx);
            Poll::Pending
        })
        .await
    }

    pub fn close(&self) {
        self.accepting.closed.set(true);
        // Connections that nobody took are closed.
        let arrived = std::mem::take(&mut *self.accepting.arrived.borrow_mut());
        drop(arrived);
        // Refuses connections from now, while the descriptor stays ours until the drop.
        let _ = borrowed(self.descriptor.fd(), |socket| socket.shutdown(Shutdown::Both));
        self.accepting.wake();
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        if let Some(id) = self.accepting.armed.get() {
            self.descriptor.engine().ring.cancel(id);
        }
    }
}

/// A socket between shards.
pub(crate) struct Accepted {
    fd: OwnedFd,
    peer: SocketAddr,
}

impl Accepted {
    fn new(fd: OwnedFd) -> io::Result<Accepted> {
        // The peer may be gone already, and then its address is, too.
        let peer = SockRef::from(&fd)
            .peer_addr()
            .map_err(|_| io::ErrorKind::ConnectionAborted)?;
        let peer = peer.as_socket().ok_or(io::ErrorKind::ConnectionAborted)?;
        Ok(Accepted { fd, peer })
    }

    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

/// A connected socket.
pub(crate) struct TcpStream {
    descriptor: Rc<Descriptor>,
    peer: SocketAddr,
    readiness: Rc<Readiness>,
}

struct Readiness {
    /// A read may give something.
    ready: Cell<bool>,
    /// The peer's end or an error has been reported: reads never wait again.
    ended: Cell<bool>,
    armed: Cell<Option<OpId>>,
    waker: RefCell<Option<Waker>>,
}

impl Multishot for Readiness {
    fn on_completion(&self, result: i32, more: bool) {
        if !more {
            self.armed.set(None);
        }
        self.ready.set(true);
        if result > 0 && result as u32 & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) as u32 != 0 {
            self.ended.set(true);
        }
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl TcpStream {
    fn new(engine: &Rc<Engine>, fd: RawFd, peer: SocketAddr) -> TcpStream {
        let readiness = Rc::new(Readiness {
            ready: Cell::new(true),
            ended: Cell::new(false),
            armed: Cell::new(None),
            waker: RefCell::default(),
        });
        TcpStream {
            descriptor: Descriptor::new(engine, fd),
            peer,
            readiness,
        }
    }

    pub fn from_accepted(engine: &Rc<Engine>, accepted: Accepted) -> io::Result<TcpStream> {
        Ok(TcpStream::new(engine, accepted.fd.into_raw_fd(), accepted.peer))
    }

    pub async fn connect(engine: &Rc<Engine>, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        let stream = TcpStream::new(engine, socket.into_raw_fd(), address);
        let target = Box::new(socket2::SockAddr::from(address));
        let entry =
            opcode::Connect::new(Fd(stream.descriptor.fd()), target.as_ptr().cast(), target.len()).build();
        let keep = Keep::Address(target, stream.descriptor.clone());
        // SAFETY: the entry points into the box, which `keep` owns and does not move.
        let (result, _) = unsafe { engine.ring.submit(entry, keep) }.await;
        outcome(result).map(|_| stream)
    }

    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_addr(self.descriptor.fd())
    }

    pub async fn readable(&self) -> io::Result<()> {
        let readiness = &self.readiness;
        poll_fn(|cx| {
            if readiness.armed.get().is_none() && !readiness.ended.get() {
                let events = (libc::POLLIN | libc::POLLRDHUP) as u32;
                let entry = opcode::PollAdd::new(Fd(self.descriptor.fd()), events)
                    .multi(true)
                    .build();
                // SAFETY: points to no memory; the descriptor is closed through the same ring, behind this entry.
                let id = unsafe {
                    self.descriptor
                        .engine()
                        .ring
                        .submit_multishot(entry, readiness.clone())
                };
                readiness.armed.set(Some(id));
            }
            if readiness.ready.get() || readiness.ended.get() {
                return Poll::Ready(());
            }
            keep_waker(&mut readiness.waker.borrow_mut(), cx);
            Poll::Pending
        })
        .await;
        Ok(())
    }

    pub async fn read(&self, mut buffer: Buffer) -> (io::Result<usize>, Buffer) {
        loop {
            let fd = self.descriptor.fd();
            let spare = buffer.spare_mut();
            let space = spare.len();
            if space == 0 {
                return (Ok(0), buffer);
            }
            if !self.readiness.ready.get() && !self.readiness.ended.get() {
                if let Err(error) = self.readable().await {
                    return (Err(error), buffer);
                }
                continue;
            }
            // SAFETY: the kernel writes at most `space` bytes into `spare`, which is borrowed exclusively.
            let count = unsafe { libc::recv(fd, spare.as_mut_ptr().cast(), space, libc::MSG_DONTWAIT) };
            match usize::try_from(count) {
                Ok(count) => {
                    if count < space {
                        self.readiness.ready.set(false);
                    }
                    buffer.set_len(buffer.len() + count);
                    return (Ok(count), buffer);
                }
                Err(_) => {
                    let error = io::Error::last_os_error();
                    match error.kind() {
                        // With `ended` set there is something to read for ever: it cannot come here then.
                        io::ErrorKind::WouldBlock => {
                            self.readiness.ready.set(false);
                            self.readiness.ended.set(false);
                        }
                        io::ErrorKind::Interrupted => {}
                        _ => return (Err(error), buffer),
                    }
                }
            }
        }
    }

    pub async fn write_all(&self, pieces: Vec<Bytes>) -> io::Result<()> {
        let mut message = Message::new(pieces);
        loop {
            if message.is_sent() {
                return Ok(());
            }
            match message.send(self.descriptor.fd()) {
                Ok(count) => message.advance(count),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => break,
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        let mut message = Box::new(message);
        while !message.is_sent() {
            let header = message.header();
            let flags = (libc::MSG_WAITALL | libc::MSG_NOSIGNAL) as u32;
            let entry = opcode::SendMsg::new(Fd(self.descriptor.fd()), header)
                .flags(flags)
                .build();
            let keep = Keep::Message(message, self.descriptor.clone());
            // SAFETY: the header and what it points to (slices of the bytes) belong to the box that `keep` owns; moving
            // the box moves none of them, and nobody touches them until it comes back.
            let (result, keep) = unsafe { self.descriptor.engine().ring.submit(entry, keep) }.await;
            let Keep::Message(returned, _) = keep else {
                unreachable!("the ring gives back what it was given")
            };
            message = returned;
            match outcome(result) {
                Ok(count) => message.advance(count),
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        borrowed(self.descriptor.fd(), |socket| socket.shutdown(how))
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        // The armed poll holds the socket: without this the peer would not see the end.
        if let Some(id) = self.readiness.armed.get() {
            self.descriptor.engine().ring.cancel(id);
        }
    }
}

/// What is left to send of a chain of bytes.
pub(super) struct Message {
    header: libc::msghdr,
    slices: Vec<libc::iovec>,
    /// Slices before it are sent.
    first: usize,
    /// What the slices point to.
    _pieces: Vec<Bytes>,
}

impl Message {
    fn new(pieces: Vec<Bytes>) -> Message {
        let slices = pieces
            .iter()
            .filter(|piece| !piece.is_empty())
            .map(|piece| libc::iovec {
                iov_base: piece.as_ptr().cast_mut().cast(),
                iov_len: piece.len(),
            })
            .collect();
        // SAFETY: msghdr is plain numbers and addresses, for which zero is a value.
        let header = unsafe { std::mem::zeroed() };
        Message {
            header,
            slices,
            first: 0,
            _pieces: pieces,
        }
    }

    fn is_sent(&self) -> bool {
        self.first == self.slices.len()
    }

    /// Points the header to what is left.
    fn header(&mut self) -> *const libc::msghdr {
        let left = &mut self.slices[self.first..];
        self.header.msg_iov = left.as_mut_ptr();
        self.header.msg_iovlen = left.len().min(SLICES_MAX);
        &self.header
    }

    fn send(&mut self, fd: RawFd) -> io::Result<usize> {
        let header = self.header();
        // SAFETY: the header points to `slices`, which point to `_pieces`; all live and only read.
        let count = unsafe { libc::sendmsg(fd, header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(slice) = self.slices.get_mut(self.first) {
            if count < slice.iov_len {
                slice.iov_base = slice.iov_base.cast::<u8>().wrapping_add(count).cast();
                slice.iov_len -= count;
                return;
            }
            count -= slice.iov_len;
            self.first += 1;
        }
        debug_assert_eq!(count, 0, "more was sent than given");
    }
}

fn local_addr(fd: RawFd) -> io::Result<SocketAddr> {
    borrowed(fd, |socket| socket.local_addr())?
        .as_socket()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Calls `f` with the socket of a descriptor that the caller owns.
fn borrowed<T>(fd: RawFd, f: impl FnOnce(&Socket) -> io::Result<T>) -> io::Result<T> {
    // SAFETY: open while the caller's Descriptor lives; given back below, so it is not closed here.
    let socket = unsafe { Socket::from_raw_fd(fd) };
    let result = f(&socket);
    let _ = socket.into_raw_fd();
    result
}

const _: () = {
    const fn may_change_shard<T: Send>() {}
    may_change_shard::<Accepted>();
};
