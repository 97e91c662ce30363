//! The coordinator dies under its group, and another broker, or the same one again, takes its place.

use std::{collections::BTreeMap, time::Duration};

use rustix::process::Signal;

use super::{
    PATIENCE, SETTINGS,
    history::History,
    member::{End, Group, How, Kind, Word},
    on, oracle, until,
};
use crate::{
    cluster::Kafka,
    harness::{need_kafka, program, topic},
};

const PARTITIONS: i32 = 4;

/// The node that coordinates a group, by Kafka's own word.
fn coordinator(group: &Group) -> u8 {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dev/kafka/kafka.sh");
    let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let tool = ["tool", "-XX:TieredStopAtLevel=1", class, "--bootstrap-server", &group.brokers];
    let told = program(script, tool).arguments(["--describe", "--state", "--group", &group.name]).run().ok().text();
    let node = told.lines().find_map(|line| line.split_once('(')?.1.split_once(')')?.0.trim().parse().ok());
    node.unwrap_or_else(|| panic!("no coordinator in {told}"))
}

/// Records come before, while and after `fault` is done to the coordinator's node; then all must be as if nothing had been.
fn survives(kafka: &Kafka, nodes: u8, how: How, fault: impl Fn(&Kafka, u8), mend: impl Fn(&Kafka, u8)) {
    let brokers = &kafka.brokers;
    let topic = topic("coordinated");
    on(brokers, &["topics", "create", &topic, "-p", &PARTITIONS.to_string(), "-r", &nodes.to_string()]).run().ok();
    let group = Group::new(brokers, &[&topic], how);
    let members = [group.join(Kind::Kafkalab, "first"), group.join(Kind::Kafkalab, "second")];
    let fill = |count: u32| {
        for partition in 0..PARTITIONS {
            let lines: String = (0..count).map(|number| format!("{number}\n")).collect();
            let produce = ["produce", &topic, "-q", "-p", &partition.to_string(), "--timeout", "80s"];
            on(brokers, &produce).stdin(lines).deadline(Duration::from_secs(90)).run().ok();
        }
    };
    let read = |count: usize| {
        until("all is read", PATIENCE, || {
            let read: usize = members.iter().map(|member| member.records().len()).sum();
            if read >= count { Ok(()) } else { Err(format!("{read} of {count}")) }
        });
    };
    let each = PARTITIONS as usize;
    members.iter().for_each(|member| member.until_it_has(each / 2));
    fill(100);
    read(100 * each);
    oracle::is_committed_to_the_end(&group, each);
    let node = coordinator(&group);
    println!("the coordinator is node {node}");
    fault(kafka, node);
    fill(50);
    read(150 * each);
    oracle::is_committed_to_the_end(&group, each);
    mend(kafka, node);
    fill(50);
    read(200 * each);
    let mut history = History::default();
    for mut member in members {
        member.signal(Signal::TERM);
        let end = member.end();
        assert_eq!(end, End::Left(143), "{}", member.said());
        let lost = member.words().iter().any(|(_, word)| matches!(word, Word::Lost(_)));
        assert!(!lost, "{how:?}: {:?}", member.words());
        history.add(&member, Some(end));
    }
    history.has_no_holes();
    let log: BTreeMap<_, _> = (0..PARTITIONS).map(|number| ((topic.clone(), number), 200)).collect();
    history.has_handled_all(&log);
    oracle::is_committed_to_the_end(&group, each);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_group_outlives_its_killed_coordinator() {
    need_kafka();
    let kafka = Kafka::start(3, &SETTINGS);
    for how in [How::Cooperative, How::Consumer] {
        survives(&kafka, 3, how, |kafka, node| kafka.kill(node), |kafka, node| kafka.restart(node));
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_group_outlives_the_restart_of_its_only_broker() {
    need_kafka();
    let kafka = Kafka::start(1, &SETTINGS);
    for how in [How::Range, How::Consumer] {
        survives(&kafka, 1, how, |kafka, node| kafka.restart(node), |_, _| {});
    }
}
