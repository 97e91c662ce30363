//! Dead letters: put aside as a handler's loop does it, then listed, shown, sent back and deleted as a person does.

mod purge;
mod replay;
mod screen;
mod send;
mod trouble;
mod wrong;

use kafkalab::{
    app::dead_letters::{At, Dead, DeadLetters, SendError, one},
    kafka::{Cluster, ConnectOptions, Record, TopicPartition},
};
use serde_json::Value;

use crate::{
    bytes::transactions::within_limit,
    harness::{Ended, brokers, kafkalab, kcat, topic},
    records::Rec,
};

/// 2026-02-01T00:00:00.250Z
const TIME: i64 = 1_769_904_000_250;

#[track_caller]
fn run(arguments: &[&str]) -> Ended {
    kafkalab(["dlt"]).arguments(arguments).run()
}

#[track_caller]
fn says(arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
    let ended = run(arguments);
    let said = (ended.code(), ended.text(), ended.stderr);
    assert_eq!(said, (code, stdout.to_owned(), stderr.to_owned()), "dlt {arguments:?}");
}

/// A topic's name of 16 letters, so that where a line is full does not depend on it.
fn name() -> String {
    let name = topic("d");
    name[..2].to_owned() + &name[name.len() - 14..]
}

/// A topic with so many partitions and these records in its first.
fn written(partitions: &str, values: &[&str]) -> String {
    let name = name();
    kafkalab(["topics", "create", &name, "-p", partitions, "-c", "retention.ms=-1"]).run().ok();
    write(&name, "0", values);
    name
}

/// Records with a key, a header and a time.
fn write(topic: &str, partition: &str, values: &[&str]) {
    let record = |value: &&str| Rec::new(Some(b"k"), Some(value.as_bytes())).header(b"trace", Some(b"1")).at(TIME);
    let records: Vec<Rec> = values.iter().map(record).collect();
    let lines = crate::records::to_json_lines(&records);
    kafkalab(["produce", topic, "-p", partition, "--input", "json"]).stdin(lines).run().ok();
}

async fn cluster() -> Cluster {
    let addresses = brokers().split(',').map(|address| address.parse().expect("an address")).collect();
    let options = ConnectOptions { max_answer: kafkalab::broker::LARGEST_ANSWER, ..ConnectOptions::default() };
    Cluster::connect(addresses, options).await.expect("the brokers under test")
}

/// Puts records of a topic aside, each with a reason, in one call; the group is `stock`.
fn put_aside(topic: &str, letters: &[(i32, i64, &str)]) -> Result<(), SendError> {
    within_limit(async {
        let cluster = cluster().await;
        let mut records: Vec<(TopicPartition, Record)> = Vec::new();
        for &(partition, offset, _) in letters {
            let found = one(&cluster, topic, At { partition, offset }).await.expect("the record");
            records.push((TopicPartition::new(topic, partition), found.record));
        }
        let dead = records.iter().zip(letters).map(|((from, record), (.., reason))| Dead::record(from, record, reason));
        let dead: Vec<Dead<'_>> = dead.collect();
        DeadLetters::open(cluster, "stock").await.expect("a producer").send(&dead).await
    })
}

/// One aside: a record `reason` for each reason.
fn with_letters(partitions: &str, reasons: &[&str]) -> String {
    let name = written(partitions, reasons);
    let letters: Vec<_> = reasons.iter().zip(0..).map(|(reason, offset)| (0, offset, *reason)).collect();
    put_aside(&name, &letters).expect("all are acknowledged");
    name
}

/// A topic as kcat prints it, a line a record.
fn by_kcat(topic: &str, format: &str) -> Vec<u8> {
    kcat(["-C", "-q", "-e", "-t", topic, "-f", format]).run().ok().stdout
}

/// The only line of a listing as JSON for this topic of letters.
fn summary(letters: &str) -> Value {
    let list = run(&["list", "-J"]).ok().text();
    let lines = list.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let found = lines.into_iter().find(|line| line["topic"] == letters);
    found.unwrap_or_else(|| panic!("{letters} is not in {list}"))
}

/// The letters that a list shows.
fn listed(arguments: &[&str]) -> Vec<Value> {
    let list = run(&["list", "-J"].iter().chain(arguments).copied().collect::<Vec<_>>()).ok().text();
    list.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}
