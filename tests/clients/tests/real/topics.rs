//! Topics: made, listed, described, removed and made again by every client that can, and what each is told
//! when it asks for something impossible.

use anyhow::{Context, Result, ensure};
use clients::client::Admin;
use clients::kcat::Kcat;
use clients::klamm::Klamm;
use clients::librdkafka::Librdkafka;
use clients::script::Script;
use clients::{Acks, Broker, Client, Codec, Consume, Failure, From, Produce, Settings, TopicSpec};
use std::time::{Duration, Instant};

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC: i16 = 17;
const TOPIC_ALREADY_EXISTS: i16 = 36;
const INVALID_CONFIG: i16 = 40;

#[test]
fn every_admin_client_makes_and_removes_topics() -> Result<()> {
    let broker = Broker::start(Settings::from_environment()?)?;
    let bootstrap = broker.bootstrap();
    let admins: [Box<dyn Admin>; 4] = [
        Box::new(Librdkafka::new(&bootstrap)),
        Box::new(Script::python(&bootstrap)?),
        Box::new(Script::java(&bootstrap)?),
        Box::new(Klamm::new(&bootstrap)),
    ];
    for mut admin in admins {
        let name = format!("topics.of_{}", admin.name());
        life_of_a_topic(&bootstrap, admin.as_mut(), &name).context(admin.name())?;
        impossible_wishes(admin.as_mut()).context(admin.name())?;
    }
    broker.stop()?;
    Ok(())
}

fn life_of_a_topic(bootstrap: &str, admin: &mut dyn Admin, name: &str) -> Result<()> {
    let mut kcat = Kcat::new(bootstrap);
    let configs = [
        ("max.message.bytes", "2000000"),
        ("message.timestamp.type", "LogAppendTime"),
    ];
    let spec = TopicSpec {
        name,
        partitions: 3,
        configs: &configs,
    };
    admin.create_topic(&spec)?;
    eventually("the topic is described", || Ok(admin.describe(name) == Ok(3)))?;
    eventually(
        "kcat lists the topic",
        || Ok(kcat.topics()?.get(name) == Some(&3)),
    )?;
    ensure!(admin.topics()?.get(name) == Some(&3), "not listed");

    let found = admin.topic_configs(name)?;
    for (key, value) in configs {
        ensure!(
            found.get(key).map(String::as_str) == Some(value),
            "{key} is {:?}",
            found.get(key)
        );
    }
    // klamm tells what was set only.
    let default = (admin.name() != "klamm").then_some("1073741824");
    ensure!(
        found.get("segment.bytes").map(String::as_str) == default,
        "{found:?}"
    );

    expect(TOPIC_ALREADY_EXISTS, admin.create_topic(&spec))?;
    produce_one(&mut kcat, name)?;
    admin.delete_topic(name)?;
    eventually("the topic is gone", || {
        Ok(code(admin.describe(name)) == Some(UNKNOWN_TOPIC_OR_PARTITION))
    })?;
    ensure!(!admin.topics()?.contains_key(name), "still listed");
    expect(UNKNOWN_TOPIC_OR_PARTITION, admin.delete_topic(name))?;

    // The same name again is another topic, and empty.
    admin.create_topic(&TopicSpec {
        name,
        partitions: 1,
        configs: &[],
    })?;
    eventually("the topic is described", || Ok(admin.describe(name) == Ok(1)))?;
    Librdkafka::new(bootstrap).wait_for_end(name, 0, 0)?;
    produce_one(&mut kcat, name)?;
    let got = admin.consume(&Consume {
        topic: name,
        partitions: &[0],
        from: From::Beginning,
    })?;
    ensure!(got.len() == 1 && got[0].offset == 0, "{got:?}");
    admin.delete_topic(name)?;
    Ok(())
}

fn produce_one(client: &mut dyn Client, topic: &str) -> Result<()> {
    let records = client.sample(1, 1);
    client.produce(&Produce {
        topic,
        partition: 0,
        codec: Codec::None,
        acks: Acks::All,
        idempotent: false,
        large: false,
        records: &records,
    })?;
    Ok(())
}

fn impossible_wishes(admin: &mut dyn Admin) -> Result<()> {
    let wish = |name, configs| TopicSpec {
        name,
        partitions: 1,
        configs,
    };
    expect(INVALID_TOPIC, admin.create_topic(&wish("a topic", &[])))?;
    let long = "x".repeat(250);
    expect(INVALID_TOPIC, admin.create_topic(&wish(&long, &[])))?;
    expect(
        INVALID_CONFIG,
        admin.create_topic(&wish("wrong", &[("max.message.bytes", "-5")])),
    )?;
    expect(
        INVALID_CONFIG,
        admin.create_topic(&wish("wrong", &[("segment.bytes", "many")])),
    )?;
    expect(UNKNOWN_TOPIC_OR_PARTITION, admin.describe("nowhere"))?;
    expect(UNKNOWN_TOPIC_OR_PARTITION, admin.delete_topic("nowhere"))?;
    // The others do not pass on the error of a single resource.
    if matches!(admin.name(), "java" | "klamm") {
        expect(UNKNOWN_TOPIC_OR_PARTITION, admin.topic_configs("nowhere"))?;
    }
    ensure!(!admin.topics()?.contains_key("nowhere"), "asking made the topic");
    ensure!(!admin.topics()?.contains_key("wrong"), "a refused topic was made");
    Ok(())
}

#[test]
fn a_topic_is_made_when_somebody_writes_to_it() -> Result<()> {
    let broker = Broker::start(Settings::from_environment()?.property("num.partitions", "3"))?;
    let bootstrap = broker.bootstrap();
    let clients: [Box<dyn Client>; 5] = [
        Box::new(Librdkafka::new(&bootstrap)),
        Box::new(Kcat::new(&bootstrap)),
        Box::new(Script::python(&bootstrap)?),
        Box::new(Script::java(&bootstrap)?),
        Box::new(Klamm::new(&bootstrap)),
    ];
    for mut client in clients {
        let topic = format!("made-by-{}", client.name());
        produce_one(client.as_mut(), &topic).context(client.name())?;
        ensure!(client.describe(&topic)? == 3, "{}", client.name());
        let got = client.consume(&Consume {
            topic: &topic,
            partitions: &[0],
            from: From::Beginning,
        })?;
        ensure!(got.len() == 1, "{}: {got:?}", client.name());
    }
    broker.stop()?;
    Ok(())
}

#[test]
fn no_topic_is_made_where_that_is_forbidden() -> Result<()> {
    let broker = Broker::start(Settings::from_environment()?.property("auto.create.topics.enable", "false"))?;
    let bootstrap = broker.bootstrap();
    let mut clients: [Box<dyn Client>; 3] = [
        Box::new(Librdkafka::new(&bootstrap)),
        Box::new(Kcat::new(&bootstrap)),
        Box::new(Klamm::new(&bootstrap)),
    ];
    for client in &mut clients {
        ensure!(
            produce_one(client.as_mut(), "forbidden").is_err(),
            "{}",
            client.name()
        );
        ensure!(!client.topics()?.contains_key("forbidden"), "{}", client.name());
    }
    broker.stop()?;
    Ok(())
}

fn code<T>(result: Result<T, Failure>) -> Option<i16> {
    result.err().and_then(|failure| failure.code)
}

fn expect<T: std::fmt::Debug>(expected: i16, result: Result<T, Failure>) -> Result<()> {
    match result {
        Err(Failure { code: Some(code), .. }) if code == expected => Ok(()),
        other => anyhow::bail!("error {expected} expected, not {other:?}"),
    }
}

/// What one answer made may reach the next question a little later, as with Apache Kafka.
fn eventually(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition()? {
        ensure!(Instant::now() < deadline, "not yet: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
