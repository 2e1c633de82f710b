//! TCP: a listener, and streams that read into pooled buffers and send chains of shared bytes.
//!
//! What a newcomer would get wrong: at most one task reads and one writes a stream at a time; a future that is
//! dropped may have read or sent something all the same (close the stream then); dropping a stream closes it
//! in the background, [`TcpStream::shutdown`] tells the peer at once.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::buffers::Buffer;
use crate::engine;

pub use std::net::Shutdown;

/// Waits for connections. SO_REUSEADDR is set, the backlog is 4096.
pub struct TcpListener(engine::TcpListener);

impl TcpListener {
    /// Listens on `address`; port 0 chooses one. Never blocks, so it is not async.
    ///
    /// # Errors
    /// Of bind(2) and listen(2): AddrInUse, AddrNotAvailable.
    pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        engine::TcpListener::bind(address).map(TcpListener)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Names the congestion control of connections accepted from now, such as `cubic` or `bbr`.
    ///
    /// # Errors
    /// NotFound when the kernel does not have it; PermissionDenied when it is not for everybody.
    pub fn set_congestion(&self, name: &str) -> io::Result<()> {
        self.0.set_congestion(name)
    }

    /// The next connection. Dropping the future loses none. One task at a time.
    ///
    /// # Errors
    /// EMFILE and its kind (wait a moment, then go on); `ConnectionAborted` of one connection;
    /// `InvalidInput` after [`TcpListener::close`].
    pub async fn accept(&self) -> io::Result<Accepted> {
        self.0.accept().await.map(Accepted)
    }

    /// Stops listening: a waiting [`TcpListener::accept`] ends, later connections are refused.
    pub fn close(&self) {
        self.0.close();
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpListener({:?})", self.local_addr().ok())
    }
}

/// A connection that no shard has taken yet; may be sent to another one. Dropping it closes it.
pub struct Accepted(engine::Accepted);

impl Accepted {
    /// The other side; one of IPv4 as such, also when the listener is of IPv6.
    pub fn peer_addr(&self) -> SocketAddr {
        canonical(self.0.peer_addr())
    }
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Accepted({})", self.peer_addr())
    }
}

/// A socket of IPv6 that serves IPv4 too names such a peer `::ffff:1.2.3.4`, which nobody would look for.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A connection, with TCP_NODELAY set.
pub struct TcpStream(engine::TcpStream);

impl TcpStream {
    /// Takes an accepted connection to the current shard.
    ///
    /// # Errors
    /// Of setsockopt(2), when the connection is gone already.
    pub fn from_accepted(accepted: Accepted) -> io::Result<TcpStream> {
        engine::TcpStream::from_accepted(accepted.0).map(TcpStream)
    }

    /// Connects to `address`.
    ///
    /// # Errors
    /// Of connect(2).
    pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        engine::TcpStream::connect(address).await.map(TcpStream)
    }

    /// The other side; one of IPv4 as such, also when the listener is of IPv6.
    pub fn peer_addr(&self) -> SocketAddr {
        canonical(self.0.peer_addr())
    }

    /// This side.
    ///
    /// # Errors
    /// Of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Waits until a read would give bytes, the end or an error. Needs no buffer, so an idle connection holds none.
    /// May return too early.
    ///
    /// # Errors
    /// When the engine cannot wait for the socket.
    pub async fn readable(&self) -> io::Result<()> {
        self.0.readable().await
    }

    /// Appends what has arrived to `buffer`, at its length and up to its capacity; waits for at least one byte.
    /// 0 is the end of the stream (or a full buffer).
    pub async fn read(&self, buffer: Buffer) -> (io::Result<usize>, Buffer) {
        self.0.read(buffer).await
    }

    /// Sends all of `pieces`, in order, without joining them.
    ///
    /// # Errors
    /// EPIPE, ECONNRESET: some of it may have been sent; close the stream.
    pub async fn write_all(&self, pieces: Vec<Bytes>) -> io::Result<()> {
        self.0.write_all(pieces).await
    }

    /// Ends one or both directions now; a waiting read gives 0, a waiting write an error.
    ///
    /// # Errors
    /// Of shutdown(2).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpStream({})", self.peer_addr())
    }
}
