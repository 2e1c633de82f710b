//! Connections over the simulated network: order, bounds, and why each of them ends.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use shards::buffers::{Buffer, Purpose};
use shards::net::{Shutdown, TcpListener, TcpStream};
use shards::sim::{Options, World};
use shards::sync::Signal;
use shards::time::{now, sleep};
use shards::{Gate, Priority};

use super::{Connection, Ended};
use crate::pipeline::{Answer, Started};

const PORT: u16 = 9092;
const LIMIT: usize = 1 << 20;
const MAX_IDLE: Duration = Duration::from_secs(600);

/// What a client does, and how long the connection may take to end after it.
type Client = fn(TcpStream) -> std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// Serves one connection that echoes frames: one that begins with `l` later than the others, one that begins with `n` not
/// at all, one with `w` waits for ever, one that begins with `x` by ending the connection. Gives why it ended.
fn check(seed: u64, client: Client) -> String {
    let mut world = World::new(seed, Options::default());
    let node = world.add_node();
    let ended = Rc::new(RefCell::new(None));
    let place = ended.clone();
    world.start(node, 1, move |_| {
        let place = place.clone();
        async move { *place.borrow_mut() = Some(serve().await) }
    });
    let address = SocketAddr::new(world.address(node), PORT);
    world.add_client(async move {
        let stream = loop {
            match TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        };
        client(stream).await;
    });
    world
        .run_until(Duration::from_secs(3600), |_| ended.borrow().is_some())
        .expect("the connection ends");
    let ended: Option<Ended> = ended.borrow_mut().take();
    ended.map_or_else(String::new, |ended| ended.to_string())
}

async fn serve() -> Ended {
    let listener = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], PORT))).expect("a free port");
    let accepted = listener.accept().await.expect("a client");
    let peer = accepted.peer_addr();
    let stream = TcpStream::from_accepted(accepted).expect("a stream");
    let connection = Rc::new(Connection::new(0, peer, 0, stream));
    let sweeping = Gate::new();
    let done = Rc::new(Signal::new());
    let (swept, until) = (connection.clone(), done.clone());
    let sweep = async move {
        while !until.is_set() {
            swept.sweep(now(), MAX_IDLE);
            sleep(Duration::from_secs(1)).await;
        }
    };
    sweeping.spawn(Priority::Clients, sweep).expect("an open gate");
    let ended = connection
        .serve(
            LIMIT,
            |frame| start(&frame, &connection),
            async || {},
            std::future::pending,
        )
        .await;
    done.set();
    sweeping.close().await;
    assert_eq!(
        Rc::strong_count(&connection),
        1,
        "a connection that has ended is let go"
    );
    ended
}

fn start(frame: &Bytes, connection: &Rc<Connection>) -> Result<Started, String> {
    // As handlers do.
    let held = connection.clone();
    let echo = Answer::Send(vec![framed(frame).into()]);
    match frame.first() {
        Some(b'l') => Ok(Started::later(async move {
            sleep(Duration::from_millis(50)).await;
            echo
        })),
        Some(b'w') => Ok(Started::later(async move {
            let _held = held;
            std::future::pending().await
        })),
        Some(b'n') => Ok(Started::Now(Answer::Nothing)),
        Some(b'x') => Ok(Started::Now(Answer::Close("asked to".to_owned()))),
        Some(b'm') => Err("malformed".to_owned()),
        _ => Ok(Started::Now(echo)),
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = (body.len() as i32).to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

async fn send(stream: &TcpStream, bytes: Vec<u8>) {
    stream.write_all(vec![bytes.into()]).await.ok();
}

/// Reads exactly `count` bytes, or what there is until the other side closes.
async fn receive(stream: &TcpStream, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        let (read, buffer) = stream.read(Buffer::take(Purpose::Receive, 4096).await).await;
        match read {
            Ok(count) if count > 0 => all.extend_from_slice(&buffer),
            _ => break,
        }
    }
    all
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    for seed in 0..20 {
        let ended = check(seed, |stream| {
            Box::pin(async move {
                let mut sent = Vec::new();
                for request in 0..300 {
                    let body = match request % 3 {
                        0 => format!("late {request}"),
                        1 => format!("soon {request} {}", "x".repeat(request * 50)),
                        _ => format!("{request}"),
                    };
                    sent.extend(framed(body.as_bytes()));
                }
                let expected = sent.clone();
                let stream = Rc::new(stream);
                let writer = stream.clone();
                let writing = shards::spawn(Priority::Clients, async move {
                    for part in sent.chunks(7_001) {
                        send(&writer, part.to_vec()).await;
                    }
                });
                let received = receive(&stream, expected.len()).await;
                writing.await;
                assert!(received == expected, "answers are the requests in their order");
            })
        });
        assert_eq!(ended, "the client closed it", "seed {seed}");
    }
}

#[test]
fn a_large_frame_comes_whole() {
    let ended = check(3, |stream| {
        Box::pin(async move {
            let frame = framed(&vec![b'.'; LIMIT]);
            send(&stream, frame.clone()).await;
            assert!(receive(&stream, frame.len()).await == frame);
        })
    });
    assert_eq!(ended, "the client closed it");
}

#[test]
fn connections_end_for_a_reason() {
    let cases: [(Client, &str); 13] = [
        (|_| Box::pin(async {}), "the client closed it"),
        (
            |stream| {
                Box::pin(async move {
                    let sent = [framed(b"late"), framed(b"soon"), framed(b"later")].concat();
                    send(&stream, sent.clone()).await;
                    stream.shutdown(Shutdown::Write).ok();
                    assert_eq!(receive(&stream, usize::MAX).await, sent);
                })
            },
            "the client closed its side with 3 requests under way",
        ),
        (
            |stream| {
                Box::pin(async move {
                    let sent = [framed(b"late"), framed(b"wait"), framed(b"soon")].concat();
                    send(&stream, sent).await;
                    stream.shutdown(Shutdown::Write).ok();
                    let begun = now();
                    assert_eq!(receive(&stream, usize::MAX).await, framed(b"late"));
                    let took = begun.elapsed().as_secs();
                    assert!((29..40).contains(&took), "{took} s");
                })
            },
            "the client closed its side with 3 requests under way",
        ),
        (
            |stream| {
                Box::pin(async move {
                    let sent = [framed(b"late"), vec![0, 0, 0, 9, 1]].concat();
                    send(&stream, sent).await;
                    stream.shutdown(Shutdown::Write).ok();
                    assert_eq!(receive(&stream, usize::MAX).await, framed(b"late"));
                })
            },
            "the client closed it in the middle of a request",
        ),
        (
            |stream| {
                Box::pin(async move {
                    let sent = [framed(b"late"), (-1_i32).to_be_bytes().to_vec()].concat();
                    send(&stream, sent).await;
                    assert_eq!(receive(&stream, usize::MAX).await, framed(b"late"));
                })
            },
            "unacceptable frame: a frame of -1 bytes",
        ),
        (
            |stream| Box::pin(async move { send(&stream, framed(&vec![0; LIMIT + 1])).await }),
            "unacceptable frame: a frame of 1048577 bytes, more than the 1048576 allowed",
        ),
        (
            |stream| Box::pin(async move { send(&stream, (-1_i32).to_be_bytes().to_vec()).await }),
            "unacceptable frame: a frame of -1 bytes",
        ),
        (
            |stream| Box::pin(async move { send(&stream, vec![0, 0, 0, 9, 1]).await }),
            "the client closed it in the middle of a request",
        ),
        (
            |stream| {
                Box::pin(async move {
                    send(&stream, framed(b"nothing")).await;
                    send(&stream, framed(b"x")).await;
                    receive(&stream, 1).await;
                })
            },
            "asked to",
        ),
        (
            |stream| {
                Box::pin(async move {
                    send(&stream, framed(b"late")).await;
                    send(&stream, framed(b"m")).await;
                    let answer = receive(&stream, usize::MAX).await;
                    assert_eq!(answer, framed(b"late"), "what came before is answered");
                })
            },
            "malformed",
        ),
        (
            |stream| {
                Box::pin(async move {
                    send(&stream, framed(b"once")).await;
                    receive(&stream, usize::MAX).await;
                })
            },
            "idle for 600000 ms (connections.max.idle.ms)",
        ),
        (
            |stream| {
                Box::pin(async move {
                    send(&stream, vec![0, 0, 1]).await;
                    receive(&stream, usize::MAX).await;
                })
            },
            "a request that had begun did not arrive within 30s",
        ),
        (
            |stream| {
                Box::pin(async move {
                    // Asks for more than the network holds, and reads nothing.
                    for _ in 0..200 {
                        send(&stream, framed(&vec![b'.'; LIMIT / 2])).await;
                    }
                    stream.shutdown(Shutdown::Write).ok();
                    sleep(Duration::from_secs(3000)).await;
                })
            },
            "the client does not read its answers",
        ),
    ];
    for (client, expected) in cases {
        for seed in 0..5 {
            assert_eq!(check(seed, client), expected, "seed {seed}");
        }
    }
}
