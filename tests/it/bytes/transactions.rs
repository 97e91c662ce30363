//! Transactions, as their producer makes them and as every reader sees them.

use std::{sync::Arc, time::Duration};

use kafkalab::kafka::{Cluster, ConnectOptions, Error, NewRecord, Producer, ProducerConfig, TopicNumber};
use tokio::time::timeout;

use crate::{
    harness::{brokers, kafkalab, kcat, need_kafka, program, topic},
    topics_made::topic_with,
};

const LIMIT: Duration = Duration::from_secs(60);

/// Runs what a test does with the library, within a deadline.
pub fn within_limit<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { timeout(LIMIT, work).await.expect("within the deadline of the test") })
}

pub async fn producer(id: &str) -> Producer {
    let addresses = brokers().split(',').map(|address| address.parse().expect("an address")).collect();
    let cluster = Cluster::connect(addresses, ConnectOptions::default()).await.expect("the brokers under test");
    let config = ProducerConfig { transactional_id: Some(Arc::from(id)), ..ProducerConfig::default() };
    Producer::start(cluster, config, |_| {}).await.expect("a transactional producer")
}

/// Sends and waits until they are in the log, so that the order of the log is the order of the test.
pub async fn send(producer: &Producer, topic: TopicNumber, partition: i32, values: &[&str]) -> Result<(), Error> {
    for value in values {
        let record = NewRecord { value: Some(value.as_bytes()), ..NewRecord::default() };
        producer.send(topic, Some(partition), &record).await?;
    }
    Ok(())
}

fn read(topic: &str, more: &[&str]) -> String {
    kafkalab(["consume", topic, "-e"]).arguments(more).run().ok().text()
}

/// Rolled back, committed, rolled back, committed, then one left open, over two partitions.
async fn mixed(topic: &str, id: &str) -> Producer {
    let producer = producer(id).await;
    let number = producer.topic(topic).await.expect("the topic");
    for (round, commit) in [(1, false), (2, true), (3, false), (4, true)] {
        producer.begin().await.expect("begin");
        let word = if commit { "committed" } else { "aborted" };
        let values = [format!("{word} {round} a"), format!("{word} {round} b")];
        let values = values.each_ref().map(String::as_str);
        for partition in [0, 1] {
            send(&producer, number, partition, &values).await.expect("send");
        }
        if commit { producer.commit().await.expect("commit") } else { producer.abort().await.expect("abort") }
    }
    producer.begin().await.expect("begin");
    for partition in [0, 1] {
        send(&producer, number, partition, &["open"]).await.expect("send");
    }
    producer
}

const COMMITTED: &str = "committed 2 a\ncommitted 2 b\ncommitted 4 a\ncommitted 4 b\n";
const ALL: &str = "aborted 1 a\naborted 1 b\ncommitted 2 a\ncommitted 2 b\naborted 3 a\naborted 3 b\ncommitted 4 a\n\
    committed 4 b\nopen\n";

#[test]
#[ignore = "needs Apache Kafka"]
fn readers_see_what_was_committed_and_others_all() {
    need_kafka();
    let topic = topic_with("transactions", 2);
    within_limit(async {
        let open = mixed(&topic, &topic).await;
        for partition in ["0", "1"] {
            assert_eq!(read(&topic, &["-p", partition]), COMMITTED);
            assert_eq!(read(&topic, &["-p", partition, "--isolation", "uncommitted"]), ALL);
            // the end for a reader of the committed is before the open transaction, and markers take offsets:
            // two records and a marker each, so the last committed pair stands at 9 and 10
            assert_eq!(read(&topic, &["-p", partition, "-f", "%o ", "-o", "4"]), "4 9 10 ");
            assert_eq!(read(&topic, &["-p", partition, "-o", "-3"]), "committed 4 a\ncommitted 4 b\n");
        }
        // a reader who follows gets over all markers, and sees the open one's record once it is committed
        assert_eq!(kafkalab(["consume", &topic, "-p", "0", "-n", "4"]).run().ok().text(), COMMITTED);
        open.commit().await.expect("commit");
    });
    let followed = kafkalab(["consume", &topic, "-p", "0", "-n", "5"]).run().ok().text();
    assert_eq!(followed, format!("{COMMITTED}open\n"));
    // the same in batches of every codec is the reader's unit tests' business; here is Kafka's own reader beside ours
    let kafkas = console_consumer(&topic, "read_committed", 5);
    assert_eq!(kafkas, followed);
    assert_eq!(console_consumer(&topic, "read_uncommitted", 9), ALL);
}

/// Partition 0 as Kafka's own consumer reads it, up to so many records.
fn console_consumer(topic: &str, isolation: &str, count: usize) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dev/kafka/kafka.sh");
    let tool = ["tool", "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", brokers()];
    let what = ["--topic", topic, "--partition", "0", "--offset", "earliest", "--isolation-level", isolation];
    let (count, limit) = (count.to_string(), ["--timeout-ms", "30000"]);
    program(script, tool).arguments(what).arguments(["--max-messages", &count]).arguments(limit).run().ok().text()
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_rolled_back_transaction_at_the_end_does_not_hold_the_reader_up() {
    need_kafka();
    let topic = topic("rolled-back");
    within_limit(async {
        let producer = producer(&topic).await;
        let number = producer.topic(&topic).await.expect("the topic");
        producer.begin().await.expect("begin");
        send(&producer, number, 0, &["never"]).await.expect("send");
        producer.abort().await.expect("abort");
        assert_eq!(read(&topic, &[]), "");
        assert_eq!(read(&topic, &["--isolation", "uncommitted"]), "never\n");
        // an empty transaction is one too
        producer.begin().await.expect("begin");
        producer.commit().await.expect("commit without a record");
        producer.begin().await.expect("begin");
        producer.abort().await.expect("abort without a record");
    });
    assert_eq!(read(&topic, &[]), "");
    kafkalab(["produce", &topic]).stdin("plain\n").run().ok();
    assert_eq!(read(&topic, &[]), "plain\n");
}

#[test]
#[ignore = "needs Apache Kafka"]
fn kcat_reads_our_transactions_as_we_do() {
    need_kafka();
    let topic = topic_with("kcat-transactions", 2);
    within_limit(async { mixed(&topic, &topic).await.abort().await.expect("abort") });
    for (isolation, theirs) in [("committed", "read_committed"), ("uncommitted", "read_uncommitted")] {
        let format = ["-p", "1", "-e", "-f", "%o %T %s\n"];
        let level = format!("isolation.level={theirs}");
        let kcats = kcat(["-C", "-q", "-t", &topic, "-X", &level]).arguments(format).run().ok().text();
        let ours = kafkalab(["consume", &topic, "--isolation", isolation]).arguments(format).run().ok().text();
        assert_eq!(ours, kcats, "{isolation}");
        assert_eq!(ours.lines().count(), if isolation == "committed" { 4 } else { 9 });
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_newer_producer_fences_the_older_one() {
    need_kafka();
    let topic = topic("fenced");
    within_limit(async {
        let older = producer(&topic).await;
        let number = older.topic(&topic).await.expect("the topic");
        older.begin().await.expect("begin");
        send(&older, number, 0, &["before the fence"]).await.expect("send");

        let newer = producer(&topic).await;
        let late = send(&older, number, 0, &["behind the fence"]).await;
        assert!(matches!(late, Err(Error::Fenced { .. })), "append: {late:?}");
        let commit = older.commit().await;
        assert!(matches!(commit, Err(Error::Fenced { .. })), "commit: {commit:?}");
        let abort = older.abort().await;
        assert!(matches!(abort, Err(Error::Fenced { .. })), "abort: {abort:?}");
        let begin = older.begin().await;
        assert!(matches!(begin, Err(Error::Fenced { .. })), "begin: {begin:?}");

        let number = newer.topic(&topic).await.expect("the topic");
        newer.begin().await.expect("begin");
        send(&newer, number, 0, &["the newer one's"]).await.expect("send");
        newer.commit().await.expect("commit");
    });
    assert_eq!(read(&topic, &[]), "the newer one's\n");
    assert_eq!(read(&topic, &["--isolation", "uncommitted"]), "before the fence\nthe newer one's\n");
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_fenced_commit_without_a_late_record_fails_too() {
    need_kafka();
    let topic = topic("fenced-commit");
    within_limit(async {
        let older = producer(&topic).await;
        let number = older.topic(&topic).await.expect("the topic");
        older.begin().await.expect("begin");
        send(&older, number, 0, &["before the fence"]).await.expect("send");
        let _newer = producer(&topic).await;
        let commit = older.commit().await;
        assert!(matches!(commit, Err(Error::Fenced { .. })), "commit: {commit:?}");
    });
    assert_eq!(read(&topic, &[]), "");
}
