//! `kill -9` under load: what was acknowledged is there, once, in order.

use anyhow::{Result, ensure};
use checkers::{Event, Rules};
use clients::client::Admin;
use clients::librdkafka::Librdkafka;
use clients::load::{
    Follower, KcatFollower, KcatLoad, LibrdkafkaLoad, Load, Noted, ScriptFollower, ScriptLoad, merge, now,
    read_all,
};
use clients::script::Script;
use clients::{Broker, Settings, TopicSpec, paths};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

const KILLS: usize = 5;
const PARTITIONS: i32 = 6;

#[test]
fn what_was_acknowledged_outlives_kill_9() -> Result<()> {
    let mut broker = Broker::start(Settings::from_environment()?)?;
    let bootstrap = broker.bootstrap();
    Librdkafka::new(&bootstrap).create_topic(&TopicSpec {
        name: "load",
        partitions: PARTITIONS,
        configs: &[],
    })?;
    let load = |producer| Load {
        producer,
        topic: "load".into(),
        partitions: PARTITIONS,
        per_second: 300,
    };
    let librdkafka = LibrdkafkaLoad::start(&bootstrap, load(1))?;
    let java = ScriptLoad::start(Script::java(&bootstrap)?, &load(2))?;
    let python = ScriptLoad::start(Script::python(&bootstrap)?, &load(3))?;
    let kcat = KcatLoad::start(&bootstrap, load(4))?;
    let follower = Follower::start(&bootstrap, 1, "load", PARTITIONS)?;
    let follow = |script, reader| ScriptFollower::start(script, reader, "load", PARTITIONS);
    let java_follower = follow(Script::java(&bootstrap)?, 3)?;
    let python_follower = follow(Script::python(&bootstrap)?, 4)?;
    let kcat_follower = KcatFollower::start(&bootstrap, 5, "load", PARTITIONS)?;

    let mut random = Pcg64::seed_from_u64(9);
    for kill in 1..=KILLS {
        librdkafka.wait_for_acked(random.random_range(50..600))?;
        broker.kill()?;
        let away = broker.restart()?;
        println!("kill {kill} of {KILLS}: answers again after {away:?}");
    }
    librdkafka.wait_for_acked(300)?;
    let back = now();
    librdkafka.wait_for_acked(600)?;

    let mut recorders = Vec::new();
    for (name, outcome) in [
        ("librdkafka", librdkafka.stop()?),
        ("java", java.stop()?),
        ("kafka-python", python.stop()?),
        ("kcat", kcat.stop()?),
    ] {
        ensure!(
            outcome.failures.is_empty(),
            "{name} gave up: {:?}",
            outcome.failures
        );
        println!(
            "{name} sent {}",
            count(&outcome.notes, |event| matches!(event, Event::Sent { .. }))
        );
        recorders.push(outcome.notes);
    }
    for (name, notes) in [
        ("librdkafka", follower.stop()?),
        ("java", java_follower.stop()?),
        ("kafka-python", python_follower.stop()?),
        ("kcat", kcat_follower.stop()?),
    ] {
        let since = notes.iter().filter(|(at, _)| *at > back);
        let read = count(since, |event| matches!(event, Event::Read { .. }));
        println!("{name} has read {read} since the last kill");
        ensure!(read > 0, "{name} did not go on reading after the last kill");
        recorders.push(notes);
    }
    recorders.push(read_all(&bootstrap, 2, "load", PARTITIONS)?);
    judge(merge(recorders))?;
    broker.stop()?;
    Ok(())
}

fn count<'a>(notes: impl IntoIterator<Item = &'a Noted>, wanted: impl Fn(&Event) -> bool) -> usize {
    notes.into_iter().filter(|(_, event)| wanted(event)).count()
}

/// Fails on every anomaly; the history is then kept for whoever wants to know more.
fn judge(history: Vec<Event>) -> Result<()> {
    let acked = history
        .iter()
        .filter(|event| matches!(event, Event::Acked { .. }))
        .count();
    ensure!(
        acked > 1000,
        "only {acked} messages were acknowledged: that shows nothing"
    );
    let anomalies = checkers::check(&history, &Rules::STRICT);
    if anomalies.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    history
        .iter()
        .for_each(|event| checkers::write_line(event, &mut text));
    let kept = paths::target().join("tmp/history.jsonl");
    std::fs::write(&kept, text)?;
    let lines: Vec<String> = anomalies
        .iter()
        .take(20)
        .map(|anomaly| anomaly.to_string())
        .collect();
    anyhow::bail!(
        "{} anomalies; the history is in {}\n{}",
        anomalies.len(),
        kept.display(),
        lines.join("\n")
    )
}
