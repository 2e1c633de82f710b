//! TCP.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use shards::buffers::{Buffer, Purpose};
use shards::connections::{Spread, hand_out};
use shards::net::{Shutdown, TcpListener, TcpStream};
use shards::{Bytes, Priority, ShardId, mesh, spawn, time};

use crate::{At, Latch, go};

async fn read_some(stream: &TcpStream, capacity: usize) -> std::io::Result<Bytes> {
    let buffer = Buffer::take(Purpose::Receive, capacity).await;
    let (count, buffer) = stream.read(buffer).await;
    count.map(|_| buffer.freeze())
}

async fn read_exact(stream: &TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let some = read_some(stream, 64 << 10).await.unwrap();
        assert!(!some.is_empty(), "ended after {} of {len} bytes", bytes.len());
        bytes.extend_from_slice(&some);
    }
    assert_eq!(bytes.len(), len);
    bytes
}

/// Echoes until the peer ends.
async fn serve(stream: TcpStream) {
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        match read_some(&stream, 4096).await {
            Ok(bytes) if !bytes.is_empty() => {
                if stream.write_all(vec![bytes]).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

fn listen(at: &At) -> (Rc<TcpListener>, SocketAddr) {
    let listener = TcpListener::bind(SocketAddr::new(at.ip, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    assert_ne!(address.port(), 0);
    (Rc::new(listener), address)
}

async fn pair(at: &At) -> (TcpStream, TcpStream) {
    let (listener, address) = listen(at);
    let client = TcpStream::connect(address).await.unwrap();
    let accepted = listener.accept().await.unwrap();
    assert_eq!(accepted.peer_addr(), client.local_addr().unwrap());
    let server = TcpStream::from_accepted(accepted).unwrap();
    assert_eq!(client.peer_addr(), server.local_addr().unwrap());
    (client, server)
}

pub async fn echo(_: ShardId, at: At) {
    let (client, server) = pair(&at).await;
    go(serve(server));
    for round in 0..200u32 {
        let pieces = vec![
            Bytes::new(),
            round.to_le_bytes().to_vec().into(),
            Bytes::from_static(b"ping"),
        ];
        client.write_all(pieces).await.unwrap();
        let reply = read_exact(&client, 8).await;
        assert_eq!(
            (&reply[..4], &reply[4..]),
            (&round.to_le_bytes()[..], &b"ping"[..])
        );
    }
}

pub async fn half_close(_: ShardId, at: At) {
    for round in 0..50 {
        let (client, server) = pair(&at).await;
        let task = spawn(Priority::Clients, async move {
            let mut bytes = Vec::new();
            loop {
                let some = read_some(&server, 4096).await.unwrap();
                if some.is_empty() {
                    break;
                }
                bytes.extend_from_slice(&some);
            }
            // The other direction still works.
            server
                .write_all(vec![bytes.clone().into(), bytes.into()])
                .await
                .unwrap();
        });
        if round % 2 == 0 {
            shards::yield_now().await;
        }
        client
            .write_all(vec![Bytes::from_static(b"all of it")])
            .await
            .unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        task.await;
        assert_eq!(read_exact(&client, 18).await, b"all of itall of it");
        assert!(read_some(&client, 4096).await.unwrap().is_empty());
        assert!(
            read_some(&client, 4096).await.unwrap().is_empty(),
            "the end stays"
        );
    }
}

pub async fn reset(_: ShardId, at: At) {
    let (client, server) = pair(&at).await;
    client
        .write_all(vec![Bytes::from_static(b"never read")])
        .await
        .unwrap();
    server.readable().await.unwrap();
    drop(server); // with unread bytes: the peer sees a reset, or an end
    let read = time::timeout(Duration::from_secs(30), read_some(&client, 4096))
        .await
        .unwrap();
    match read {
        Ok(bytes) => assert!(bytes.is_empty()),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    // Writing fails sooner or later, and never by a signal.
    let failed = time::timeout(Duration::from_secs(30), async {
        loop {
            if let Err(error) = client.write_all(vec![Bytes::from_static(b"x")]).await {
                return error.kind();
            }
            time::sleep(Duration::from_millis(1)).await;
        }
    });
    let kind = failed.await.unwrap();
    assert!(
        matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
        "{kind:?}"
    );
}

pub async fn slow_reader(_: ShardId, at: At) {
    let (client, server) = pair(&at).await;
    let piece: Bytes = (0..100_000u32)
        .flat_map(u32::to_le_bytes)
        .collect::<Vec<_>>()
        .into();
    let pieces: Vec<Bytes> = (0..40).map(|_| piece.clone()).collect();
    let total = 40 * piece.len();
    let expected = piece.clone();
    let writer = spawn(Priority::Clients, async move {
        client.write_all(pieces).await.unwrap();
        // Far more slices than one call takes.
        client
            .write_all((0..5_000).map(|at| expected.slice(at..at + 1)).collect())
            .await
            .unwrap();
        client
    });
    let mut seen = 0;
    while seen < total {
        let some = read_some(&server, 256 << 10).await.unwrap();
        assert!(!some.is_empty());
        for (offset, byte) in some.iter().enumerate().take(total - seen) {
            assert_eq!(*byte, piece[(seen + offset) % piece.len()]);
        }
        seen += some.len();
        if seen < 4 << 20 {
            time::sleep(Duration::from_micros(500)).await;
        }
    }
    let rest = total + 5_000 - seen;
    read_exact(&server, rest).await;
    drop(writer.await);
}

pub async fn many_connections(_: ShardId, at: At) {
    const COUNT: usize = 300;
    let (listener, address) = listen(&at);
    let accepting = listener.clone();
    go(async move {
        while let Ok(accepted) = accepting.accept().await {
            go(serve(TcpStream::from_accepted(accepted).unwrap()));
        }
    });
    let latch = Latch::new(COUNT);
    for number in 0..COUNT as u32 {
        let latch = latch.clone();
        go(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            for round in 0..5u32 {
                stream
                    .write_all(vec![(number + round).to_le_bytes().to_vec().into()])
                    .await
                    .unwrap();
                assert_eq!(read_exact(&stream, 4).await, (number + round).to_le_bytes());
            }
            latch.count_down();
        });
    }
    latch.wait().await;
    listener.close();
}

pub async fn refused(_: ShardId, at: At) {
    let (listener, address) = listen(&at);
    listener.close();
    drop(listener);
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // The port is free again.
    drop(TcpListener::bind(address).unwrap());
}

pub async fn closing(_: ShardId, at: At) {
    // A waiting accept and a waiting read both end.
    let (listener, _) = listen(&at);
    let accepting = listener.clone();
    let accept = spawn(
        Priority::Clients,
        async move { accepting.accept().await.map(drop) },
    );
    let (client, server) = pair(&at).await;
    let server = Rc::new(server);
    let reading = server.clone();
    let read = spawn(Priority::Clients, async move { read_some(&reading, 4096).await });
    time::sleep(Duration::from_millis(1)).await;
    listener.close();
    assert_eq!(accept.await.unwrap_err().kind(), ErrorKind::InvalidInput);
    server.shutdown(Shutdown::Both).unwrap();
    assert!(read.await.unwrap().is_empty());
    assert!(read_some(&client, 4096).await.unwrap().is_empty());
    // An accept that was given up loses no connection.
    let (listener, address) = listen(&at);
    assert!(
        time::timeout(Duration::from_millis(1), listener.accept())
            .await
            .is_err()
    );
    let client = TcpStream::connect(address).await.unwrap();
    time::sleep(Duration::from_millis(1)).await;
    assert_eq!(
        listener.accept().await.unwrap().peer_addr(),
        client.local_addr().unwrap()
    );
}

pub async fn handed_over(me: ShardId, at: At) {
    if me != ShardId(0) {
        return;
    }
    let (listener, address) = listen(&at);
    for number in 0..20u32 {
        let client = TcpStream::connect(address).await.unwrap();
        let accepted = listener.accept().await.unwrap();
        mesh::call(ShardId(1), move || async move {
            go(serve(TcpStream::from_accepted(accepted).unwrap()));
        })
        .await
        .unwrap();
        client
            .write_all(vec![number.to_le_bytes().to_vec().into()])
            .await
            .unwrap();
        assert_eq!(read_exact(&client, 4).await, number.to_le_bytes());
    }
}

pub async fn spread_evenly(me: ShardId, at: At) {
    const EACH: usize = 5;
    if me != ShardId(0) {
        return;
    }
    let (listener, address) = listen(&at);
    let spread = Spread::new();
    let (accepting, counting) = (listener.clone(), spread.clone());
    let handing = spawn(Priority::Clients, async move {
        hand_out(&accepting, &counting, |stream, place| {
            assert_eq!(place.shard(), shards::current().id());
            go(async move {
                serve(stream).await;
                drop(place);
            });
        })
        .await;
    });
    let count = EACH * usize::from(shards::current().count());
    let mut clients = Vec::new();
    for _ in 0..count {
        let client = TcpStream::connect(address).await.unwrap();
        client.write_all(vec![Bytes::from_static(b"here")]).await.unwrap();
        assert_eq!(read_exact(&client, 4).await, b"here");
        clients.push(client);
    }
    for shard in shards::current().all() {
        assert_eq!(spread.open(shard), EACH, "shard {shard}");
    }
    drop(clients);
    let left = spread.clone();
    crate::until(move || left.total() == 0).await;
    listener.close();
    handing.await;
}
