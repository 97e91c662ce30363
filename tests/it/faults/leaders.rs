//! Three brokers, and leaders that move.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::MINUTE;
use crate::{
    bytes::files::Folder,
    cluster::{Kafka, soak},
    harness::{kafkalab, topic},
    load::{Log, Receipts, Running, lines, produce},
    random::Random,
    wire::{create_topic, first, metadata, until},
};

fn reader(kafka: &Kafka, topic: &str) -> Running {
    Running::start(kafkalab(["consume", topic, "-f", "%p %o %v\\n"]).env("KAFKALAB_BROKERS", &kafka.brokers))
}

#[test]
#[ignore = "needs Apache Kafka"]
fn leaders_that_die_under_load_lose_repeat_and_reorder_nothing() {
    let mut random = Random::from_seed_or_new();
    let kafka = Kafka::start(3, &[]);
    let topic = topic("moving");
    create_topic(&kafka.brokers, &topic, 3, 3, &[("min.insync.replicas", "2")]);
    let mut reader = reader(&kafka, &topic);
    let mut writer = Running::start(produce(&kafka.brokers, &topic, &["--timeout", "60s"]));
    let pieces = (0..300).map(|n| lines(n * 200 + 1..=(n + 1) * 200));
    writer.feed(pieces, Duration::from_millis(20));
    writer.lines(random.within(1_000..20_000), MINUTE);
    let victim = 1 + random.within(0..3) as u8;
    println!("killing broker {victim}");
    kafka.kill(victim);
    let ended = writer.wait(3 * MINUTE);
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let receipts = Receipts::read(&ended.stdout);
    assert_eq!(receipts.acknowledged.len(), 60_000);
    reader.lines(60_000, MINUTE);
    let read = Log::parse(&reader.stdout());
    read.agrees_with(&receipts);
    read.is_complete(1..=60_000);
    // the one that died is on the bootstrap list still, and another one answers
    let log = Log::read(&kafka.brokers, &topic);
    log.agrees_with(&receipts);
    log.is_complete(1..=60_000);
}

/// Leader and replicas of each partition, as this broker sees them.
fn assignment(broker: &str, topic: &str) -> Option<Vec<(i32, Vec<i32>)>> {
    let mut partitions = metadata(broker, topic).ok()?.topics.into_iter().next()?.partitions;
    partitions.sort_by_key(|partition| partition.partition_index);
    let nodes = |nodes: &[kafka_protocol::messages::BrokerId]| nodes.iter().map(|node| node.0).collect();
    Some(partitions.iter().map(|partition| (partition.leader_id.0, nodes(&partition.replica_nodes))).collect())
}

/// Has Kafka's own tool give each partition these replicas, and waits until they are its replicas.
fn reassign(kafka: &Kafka, topic: &str, replicas: &[Vec<i32>], folder: &Folder) {
    let partitions: Vec<_> = (0..)
        .zip(replicas)
        .map(|(partition, replicas)| serde_json::json!({"topic": topic, "partition": partition, "replicas": replicas}))
        .collect();
    let plan = serde_json::json!({"version": 1, "partitions": partitions}).to_string();
    let plan = folder.file("plan.json", plan.as_bytes());
    let options = ["--execute", "--reassignment-json-file", &plan];
    kafka.tool("org.apache.kafka.tools.reassign.ReassignPartitionsCommand", &options);
    until("the replicas have moved", MINUTE, || {
        let found = assignment(first(&kafka.brokers), topic)?;
        (found.iter().map(|(_, replicas)| replicas).eq(replicas)).then_some(())
    });
}

/// The replica that stands first leads again, wherever it does not.
fn elect_preferred(kafka: &Kafka, topic: &str) {
    let options = ["--election-type", "preferred", "--all-topic-partitions"];
    kafka.tool("org.apache.kafka.tools.LeaderElectionCommand", &options);
    until("the preferred replicas lead", MINUTE, || {
        let found = assignment(first(&kafka.brokers), topic)?;
        found.iter().all(|(leader, replicas)| replicas.first() == Some(leader)).then_some(())
    });
}

/// Each turn takes the leader's replica away from a partition and gives another broker one, then has the two replicas
/// change places: the leaders are asked to leave twice, and nobody dies.
#[test]
#[ignore = "needs Apache Kafka"]
fn leaders_that_are_moved_under_load_lose_repeat_and_reorder_nothing() {
    let kafka = Kafka::start(3, &[]);
    let topic = topic("reassigned");
    create_topic(&kafka.brokers, &topic, 3, 2, &[("min.insync.replicas", "2")]);
    let folder = Folder::new("reassignment");
    let mut reader = reader(&kafka, &topic);
    let mut writer = Running::start(produce(&kafka.brokers, &topic, &["--timeout", "60s"]));
    let moving = Arc::new(AtomicBool::new(true));
    let go_on = Arc::clone(&moving);
    let pieces = (0..).take_while(move |_| go_on.load(Ordering::Relaxed)).map(|n| lines(n * 100 + 1..=(n + 1) * 100));
    writer.feed(pieces, Duration::from_millis(20));

    let mut moves = 0;
    let mut written = 0;
    let mut leaders = assignment(first(&kafka.brokers), &topic).expect("the topic");
    for turn in 0..if soak() { 10 } else { 2 } {
        let away: Vec<Vec<i32>> =
            (0..3).map(|partition| vec![1 + (partition + turn) % 3, 1 + (partition + turn + 1) % 3]).collect();
        let swapped: Vec<Vec<i32>> = away.iter().map(|replicas| replicas.iter().rev().copied().collect()).collect();
        for replicas in [away, swapped] {
            writer.lines(written + 1_000, MINUTE); // there is load before each move
            reassign(&kafka, &topic, &replicas, &folder);
            elect_preferred(&kafka, &topic);
            let now = assignment(first(&kafka.brokers), &topic).expect("the topic");
            moves += leaders.iter().zip(&now).filter(|(before, now)| before.0 != now.0).count();
            leaders = now;
            written = writer.stdout().lines().count();
        }
    }
    println!("{moves} leaders moved");
    assert!(moves >= 6, "only {moves} leaders moved: the test shows little");
    writer.lines(written + 1_000, MINUTE); // and behind the last one
    moving.store(false, Ordering::Relaxed);
    let ended = writer.wait(MINUTE);
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let receipts = Receipts::read(&ended.stdout);
    let count = receipts.acknowledged.len() as u64;
    println!("{count} records");
    reader.lines(count as usize, MINUTE);
    for log in [Log::parse(&reader.stdout()), Log::read_by_kcat(&kafka.brokers, &topic)] {
        log.agrees_with(&receipts);
        log.is_complete(1..=count);
    }
}
