//! Letters through kill -9, Ctrl-C, and a broker that goes away.

use std::{collections::BTreeMap, time::Duration};

use kafkalab::{
    app::dead_letters::{At, Dead, DeadLetters, one},
    kafka::{Cluster, ConnectOptions, Record, TopicPartition},
};
use rustix::process::Signal;
use serde_json::Value;

use super::{by_kcat, run};
use crate::{
    cluster::Kafka,
    harness::{kafkalab, kcat, need_kafka, topic},
    process::{Running, start},
};

const LETTERS: usize = 50_000;

/// A topic and so many letters of it, numbered from 0.
fn many() -> String {
    let name = topic("many");
    for name in [&name, &format!("{name}.dlt")] {
        kafkalab(["topics", "create", name, "-c", "retention.ms=-1"]).run().ok();
    }
    let lines: String = (0..LETTERS).map(|number| format!("{number}\n")).collect();
    let origin = format!("kafka_dlt-original-topic={name}");
    kafkalab(["produce", &format!("{name}.dlt"), "-H", &origin]).stdin(lines).run().ok();
    name
}

/// How far replays have come, as the group's offsets tell.
fn remembered(letters: &str) -> usize {
    let group = kafkalab(["groups", "describe", "kafkalab-dlt-replay", "-J"]).run();
    let group: Value = serde_json::from_slice(&group.stdout).unwrap_or_default();
    let offsets = group["groups"][0]["offsets"].as_array().cloned().unwrap_or_default();
    let ours = offsets.iter().find(|at| at["topic"] == letters);
    ours.and_then(|at| at["committed"].as_u64()).unwrap_or(0) as usize
}

/// Starts a replay and waits until it has come further than `from`.
fn replay_beyond(name: &str, from: usize) -> Running {
    let replay = start(kafkalab(["dlt", "replay", name, "--all"]));
    let began = std::time::Instant::now();
    while remembered(&format!("{name}.dlt")) <= from {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", replay.stderr_so_far());
    }
    replay
}

/// The numbers that came back, in order.
fn came_back(name: &str) -> Vec<usize> {
    let lines = String::from_utf8(by_kcat(name, "%s\n")).expect("numbers");
    lines.lines().map(|line| line.parse().expect("a number")).collect()
}

#[test]
#[ignore = "needs kcat"]
fn a_replay_that_is_killed_goes_on_from_what_it_remembered() {
    let name = many();
    let letters = format!("{name}.dlt");
    let mut began_at = vec![0];
    for _ in 0..3 {
        let mut replay = replay_beyond(&name, began_at[began_at.len() - 1]);
        replay.signal(Signal::KILL);
        let was_killed = replay.end().status.code().is_none();
        began_at.push(remembered(&letters));
        if !was_killed {
            break; // it was quicker than who looks for how far it has come
        }
    }
    assert!(began_at.len() > 2, "killed in the middle at least once: {began_at:?}");
    match LETTERS - began_at[began_at.len() - 1] {
        0 => {}
        left => super::says(&["replay", &name, "--all"], 0, &format!("replayed {left} letters to {name}\n"), ""),
    }
    // each run begins where the one before had come to for certain, and sends in order
    let mut expected = 0;
    let mut runs = began_at.iter().skip(1).peekable();
    for number in came_back(&name) {
        if number != expected {
            let restart = runs.find(|begin| **begin == number);
            assert!(restart.is_some(), "{number} instead of {expected}, runs began at {began_at:?}");
            assert!(number <= expected, "{expected} to {number} are skipped");
        }
        expected = number + 1;
    }
    assert_eq!(expected, LETTERS);
}

#[test]
#[ignore = "needs kcat"]
fn a_replay_that_is_stopped_remembers_all_that_it_sent() {
    let name = many();
    let mut replay = replay_beyond(&name, 0);
    replay.signal(Signal::INT);
    let ended = replay.end();
    assert_eq!(ended.code(), 130, "{ended:?}");
    assert!(ended.text().starts_with("replayed "), "{ended:?}");
    let stopped_at = remembered(&format!("{name}.dlt"));
    assert!((1..LETTERS).contains(&stopped_at), "{stopped_at}");
    assert_eq!(came_back(&name).len(), stopped_at);
    run(&["replay", &name, "--all"]).ok();
    assert!(came_back(&name).into_iter().eq(0..LETTERS), "each once, in order");
}

/// Within the delivery time-out of 30 s.
#[test]
#[ignore = "needs Apache Kafka"]
fn a_topic_of_letters_that_was_deleted_is_made_again() {
    need_kafka();
    let name = super::written("2", &["a"]);
    let letters = format!("{name}.dlt");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let cluster = super::cluster().await;
        let from = TopicPartition::new(name.as_str(), 0);
        let record = one(&cluster, &name, At { partition: 0, offset: 0 }).await.expect("the record").record;
        let mut aside = DeadLetters::open(cluster, "stock").await.expect("a producer");
        aside.send(&[Dead::record(&from, &record, "first")]).await.expect("acknowledged");
        kafkalab(["topics", "delete", &letters, "-y"]).run().ok();
        let again = [Dead::record(&from, &record, "second")];
        let error = aside.send(&again).await.expect_err("the topic is gone");
        assert!(error.is_transient(), "{error:?}");
        aside.send(&again).await.expect("acknowledged");
    });
    let found = super::listed(&[&name]);
    assert!(found.len() == 1 && found[0]["reason"] == "second", "{found:?}");
    let made = kafkalab(["topics", "describe", &letters, "-J"]).run().ok().text();
    assert!(made.contains("\"retention.ms\""), "by us, not by the broker: {made}");
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_broker_that_is_away_keeps_the_offsets_from_being_committed_and_nothing_is_lost() {
    let kafka = Kafka::start(1, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let from = TopicPartition::new("orders", 0);
    let record = |offset: i64| Record {
        offset,
        timestamp: super::TIME,
        key: None,
        value: Some(offset.to_string().into_bytes().into()),
        headers: Vec::new(),
    };
    let records: Vec<Record> = (0..20).map(record).collect();
    let dead: Vec<Dead<'_>> = records.iter().map(|record| Dead::record(&from, record, "why")).collect();
    runtime.block_on(async {
        let addresses = kafka.brokers.split(',').map(|address| address.parse().expect("an address")).collect();
        let cluster = Cluster::connect(addresses, ConnectOptions::default()).await.expect("the broker");
        let mut letters = DeadLetters::open(cluster, "stock").await.expect("a producer");
        letters.send(&dead[..10]).await.expect("acknowledged");
        kafka.kill(1);
        let error = letters.send(&dead[10..]).await.expect_err("nobody acknowledges");
        assert!(error.is_transient(), "{error:?}");
        let said = "not all of 10 dead letters are acknowledged, the first of them orders[0] at offset 10: do not commit \
                    their offsets, and send them again (some may be there twice then)";
        assert_eq!(error.to_string(), said);
        kafka.restart(1);
        letters.send(&dead[10..]).await.expect("acknowledged");
    });
    let lines = kcat(["-b", &kafka.brokers, "-C", "-q", "-e", "-t", "orders.dlt", "-f", "%s\n"]).run().ok().text();
    let mut found: BTreeMap<usize, u32> = BTreeMap::new();
    for line in lines.lines() {
        *found.entry(line.parse().expect("a number")).or_default() += 1;
    }
    assert!(found.keys().copied().eq(0..20), "{found:?}");
    assert!(found.range(..10).all(|(_, times)| *times == 1), "{found:?}");
}
