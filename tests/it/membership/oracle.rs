//! What Kafka's own tools, and kcat, say of a group and of a topic.

use std::{collections::BTreeMap, time::Duration};

use super::{
    PATIENCE,
    member::{Group, Place},
    until,
};
use crate::harness::program;

/// A line of `kafka-consumer-groups --describe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub committed: Option<i64>,
    pub end: i64,
    /// The client id of the member that owns it.
    pub owner: Option<String>,
}

/// What Kafka's ConsumerGroupCommand says of a group's partitions.
pub fn described(group: &Group) -> BTreeMap<Place, Row> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dev/kafka/kafka.sh");
    let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let tool = ["tool", "-XX:TieredStopAtLevel=1", class, "--bootstrap-server", &group.brokers];
    let told = program(script, tool).arguments(["--describe", "--group", &group.name]);
    let told = told.deadline(Duration::from_secs(60)).run().ok().text();
    let mut lines = told.lines().skip_while(|line| !line.starts_with("GROUP"));
    let header: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let column = |name: &str| header.iter().position(|word| *word == name).unwrap_or_else(|| panic!("{name}: {told}"));
    let rows = lines.map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|row| row.len() == header.len());
    let row = |row: Vec<&str>| {
        let place = (row[column("TOPIC")].to_owned(), row[column("PARTITION")].parse().expect("a partition"));
        let owner = row[column("CLIENT-ID")];
        let found = Row {
            committed: row[column("CURRENT-OFFSET")].parse().ok(),
            end: row[column("LOG-END-OFFSET")].parse().expect("the log's end"),
            owner: (owner != "-").then(|| owner.to_owned()),
        };
        (place, found)
    };
    rows.map(row).collect()
}

/// The committed offsets, by partition.
pub fn committed(group: &Group) -> BTreeMap<Place, i64> {
    described(group).into_iter().filter_map(|(place, row)| Some((place, row.committed?))).collect()
}

/// Waits until the group has committed each log to its end, as it must have after clean ends.
#[track_caller]
pub fn is_committed_to_the_end(group: &Group, partitions: usize) {
    until("all is committed", Duration::from_secs(20), || {
        let rows = described(group);
        let all = rows.len() == partitions && rows.values().all(|row| row.committed.unwrap_or(0) == row.end);
        if all { Ok(()) } else { Err(format!("{rows:?}")) }
    });
}

/// Waits until Kafka has each partition in the hands of the member that says to have it.
#[track_caller]
pub fn agrees(group: &Group, said: impl Fn() -> BTreeMap<Place, Vec<String>>) {
    until("Kafka and the members agree", PATIENCE, || {
        let rows = described(group);
        let theirs: BTreeMap<_, _> = rows.iter().map(|(place, row)| (place.clone(), row.owner.clone())).collect();
        let ours = said();
        let single = |owners: &Vec<String>| if let [owner] = &owners[..] { Some(owner.clone()) } else { None };
        let same = ours.len() == theirs.len()
            && ours.iter().all(|(place, owners)| {
                let owner = single(owners);
                owner.is_some() && theirs.get(place) == Some(&owner)
            });
        if same { Ok(()) } else { Err(format!("Kafka: {theirs:?}\nmembers: {ours:?}")) }
    });
}

/// The ends of a topic's partitions by kcat, which reads it all.
pub fn log(brokers: &str, topic: &str, partitions: i32) -> BTreeMap<Place, i64> {
    let mut log: BTreeMap<Place, i64> = (0..partitions).map(|number| ((topic.to_owned(), number), 0)).collect();
    let read = program("kcat", ["-b", brokers, "-C", "-q", "-e", "-t", topic, "-f", "%p %o\\n"]);
    for line in read.run().ok().text().lines() {
        let (partition, offset) = line.split_once(' ').expect("two fields");
        let place = (topic.to_owned(), partition.parse().expect("a partition"));
        let end = log.get_mut(&place).expect("a known partition");
        *end = (*end).max(offset.parse::<i64>().expect("an offset") + 1);
    }
    log
}
