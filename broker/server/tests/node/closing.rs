//! How connections end that a client leaves half done: one line in the log that says who and why, and nobody else is
//! kept waiting.
//!
//! What a newcomer would get wrong: a client that closes its side and has nothing under way leaves as clients do every
//! day; that is told at DEBUG, which the log here does not keep.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use protocol::api::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::types::Uuid;
use shards::log::{Levels, Log};
use shards::net::Shutdown;
use shards::sim::{Options, World};
use shards::time::{now, sleep};
use tracing::level_filters::LevelFilter;

use crate::client::*;
use crate::*;

/// A connection may be idle for ten minutes.
const LONGER_THAN_ANY_BOUND: Duration = Duration::from_secs(700);

/// What a client does before its connection ends; it holds on to it for as long as it likes.
type Leaving = fn(Rc<Client>) -> Pin<Box<dyn Future<Output = ()>>>;

/// Whether the network resets the connection when the client has done what it does.
#[derive(Copy, Clone, PartialEq)]
enum Then {
    Nothing,
    Reset,
}

/// Connects a client that introduces itself, has it leave, and expects the one line that says so; `expected` is what the
/// line says after its name. Meanwhile another client is served.
fn check(leaving: Leaving, then: Then, expected: &str) {
    for seed in SEEDS {
        let (log, lines) = Log::buffer(Levels::all(LevelFilter::INFO));
        let ended = tracing::subscriber::with_default(log, || leave(seed, leaving, then));
        let all = lines.take();
        let closed: Vec<&String> = all
            .iter()
            .filter(|line| line.contains("connection closed"))
            .collect();
        let [line] = closed.as_slice() else {
            panic!("seed {seed}, {expected}: {all:#?}")
        };
        let told = format!("connection closed: {expected}");
        assert!(
            line.contains(" INFO ") && line.contains(&told) && line.contains(&ended),
            "seed {seed}: {line} does not say {told} of {ended}"
        );
        let complaint = all
            .iter()
            .find(|line| line.contains(" WARN ") || line.contains(" ERROR "));
        assert_eq!(complaint, None, "seed {seed}");
    }
}

/// Gives who left, as the log has it.
fn leave(seed: u64, leaving: Leaving, then: Then) -> String {
    let mut world = World::new(seed, Options::default());
    let node = world.add_node();
    let (_broker, address) = start(&mut world, node);
    let (left, served, gone) = (
        Rc::new(Cell::new(false)),
        Rc::new(Cell::new(0)),
        Rc::new(Cell::new(false)),
    );
    let who = Rc::new(Cell::new(String::new()));
    let (told, name) = (left.clone(), who.clone());
    let leaver = world.add_client(async move {
        let client = Client::connect(address).await;
        client.create(&[("a", 1)]).await.expect("created");
        let local = client.stream.local_addr().expect("an address");
        name.set(format!("client={local} client_id=test unanswered="));
        let client = Rc::new(client);
        leaving(client.clone()).await;
        told.set(true);
        // A client that reads nothing any more, until the test has seen its end.
        std::future::pending::<()>().await;
        drop(client);
    });
    let (counts, ends) = (served.clone(), gone.clone());
    world.add_client(async move {
        let other = Client::connect(address).await;
        while !ends.get() {
            let begun = now();
            other.metadata(Some("a"), Uuid::ZERO, false).await;
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
            counts.set(counts.get() + 1);
            sleep(Duration::from_millis(500)).await;
        }
    });
    let ran = world.run_until(LONGER_THAN_ANY_BOUND, |_| left.get());
    assert!(ran.is_ok(), "seed {seed}: {ran:?}");
    if then == Then::Reset {
        assert_eq!(world.network().reset(leaver, node), 1);
    }
    let before = served.get();
    world.run_for(LONGER_THAN_ANY_BOUND);
    assert!(served.get() > before + 1000, "another client is served");
    gone.set(true);
    world.run_for(Duration::from_secs(1));
    who.take()
}

async fn send(client: &Client, bytes: Vec<u8>) {
    client.stream.write_all(vec![bytes.into()]).await.ok();
}

/// Nothing more comes from the broker.
async fn ends(client: &Client) {
    assert_eq!(client.receive().await, None);
}

#[test]
fn a_frame_that_is_too_large() {
    check(
        |client| {
            Box::pin(async move {
                send(&client, i32::MAX.to_be_bytes().to_vec()).await;
                ends(&client).await;
            })
        },
        Then::Nothing,
        "unacceptable frame: a frame of 2147483647 bytes, more than the 104857600 allowed",
    );
}

#[test]
fn a_request_that_is_none() {
    check(
        |client| {
            Box::pin(async move {
                let garbage = |out: &mut Vec<u8>, _| out.extend([0xff; 9]);
                client.send(ApiKey::Fetch, 12, garbage).await;
                ends(&client).await;
            })
        },
        Then::Nothing,
        "malformed Fetch version 12: ",
    );
}

#[test]
fn a_side_closed_with_requests_under_way() {
    check(
        |client| {
            Box::pin(async move {
                client.send_produce("a", 0, -1, &batch("x", None)).await;
                // Waits for more than there is, for its five seconds.
                client.send_fetch("a", &[(0, 1)], 1, i32::MAX, 5_000).await;
                client.send_produce("a", 0, -1, &batch("y", None)).await;
                let begun = now();
                client.stream.shutdown(Shutdown::Write).expect("it is open");
                assert_eq!(client.produced().await, Ok(0));
                let fetched = client.fetched().await;
                assert_eq!(fetched.len(), 1);
                assert_eq!(fetched[0].0, ErrorCode::None);
                assert_eq!(client.produced().await, Ok(1));
                ends(&client).await;
                assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
            })
        },
        Then::Nothing,
        "the client closed its side with ",
    );
}

#[test]
fn a_side_closed_over_a_wait_without_end() {
    check(
        |client| {
            Box::pin(async move {
                client.send_fetch("a", &[(0, 0)], 1, i32::MAX, i32::MAX).await;
                let begun = now();
                client.stream.shutdown(Shutdown::Write).expect("it is open");
                ends(&client).await;
                assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
            })
        },
        Then::Nothing,
        "the client closed its side with 1 requests under way",
    );
}

#[test]
fn a_side_closed_in_a_request() {
    check(
        |client| {
            Box::pin(async move {
                client.send_produce("a", 0, -1, &batch("x", None)).await;
                send(&client, vec![0, 0, 1, 0, 0]).await;
                client.stream.shutdown(Shutdown::Write).expect("it is open");
                assert_eq!(client.produced().await, Ok(0));
                ends(&client).await;
            })
        },
        Then::Nothing,
        "the client closed it in the middle of a request",
    );
}

#[test]
fn answers_that_nobody_reads() {
    check(
        |client| {
            Box::pin(async move {
                client
                    .send_produce("a", 0, -1, &batch(&"x".repeat(900_000), None))
                    .await;
                assert_eq!(client.produced().await, Ok(0));
                for _ in 0..100 {
                    client.send_fetch("a", &[(0, 0)], 1, i32::MAX, 0).await;
                }
            })
        },
        Then::Nothing,
        "the client does not read its answers",
    );
}

#[test]
fn answers_that_nobody_reads_after_a_closed_side() {
    check(
        |client| {
            Box::pin(async move {
                client
                    .send_produce("a", 0, -1, &batch(&"x".repeat(900_000), None))
                    .await;
                assert_eq!(client.produced().await, Ok(0));
                for _ in 0..100 {
                    client.send_fetch("a", &[(0, 0)], 1, i32::MAX, 0).await;
                }
                client.stream.shutdown(Shutdown::Write).expect("it is open");
            })
        },
        Then::Nothing,
        "the client does not read its answers",
    );
}

#[test]
fn a_request_that_does_not_go_on() {
    check(
        |client| {
            Box::pin(async move {
                send(&client, vec![0, 0, 1, 0, 0]).await;
                ends(&client).await;
            })
        },
        Then::Nothing,
        "a request that had begun did not arrive within 30s",
    );
}

#[test]
fn a_client_that_is_gone_without_a_word() {
    check(
        |client| {
            Box::pin(async move {
                client.send_fetch("a", &[(0, 0)], 1, i32::MAX, 60_000).await;
                sleep(Duration::from_secs(1)).await;
            })
        },
        Then::Reset,
        "the socket failed: ",
    );
    check(
        |_| Box::pin(async { sleep(Duration::from_secs(1)).await }),
        Then::Reset,
        "the socket failed: ",
    );
}

#[test]
fn a_client_that_asks_nothing() {
    check(
        |client| Box::pin(async move { ends(&client).await }),
        Then::Nothing,
        "idle for 600000 ms (connections.max.idle.ms)",
    );
}
