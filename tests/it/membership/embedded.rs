//! Groups on the embedded broker: for trying them out, without Kafka.

use std::collections::BTreeSet;

use super::{
    PATIENCE, fill,
    member::{Group, How},
    on, until,
};
use crate::{
    harness::{kafkalab, topic},
    process,
};

/// An embedded broker of the test's own; gone with it.
fn broker() -> (process::Running, String) {
    let broker = process::start(
        kafkalab(["broker", "--port", "0", "--", "sh", "-c", "echo $KAFKALAB_BROKERS; cat"])
            .env_remove("KAFKALAB_BROKERS"),
    );
    let line = broker.line();
    (broker, line)
}

#[test]
fn two_members_share_a_topic_and_one_takes_over_all_of_it() {
    let (_broker, brokers) = broker();
    // by cooperative-sticky this broker may lose the first of the two rounds, and answers neither member
    for how in [How::Range, How::RoundRobin] {
        let topic = topic("shared");
        on(&brokers, &["topics", "create", &topic, "-p", "4"]).run().ok();
        // the shortest that it takes
        let group = Group { session: "6s", ..Group::new(&brokers, &[&topic], how) };
        let first = group.ours("first", &[]);
        first.until_it_has(4);
        let second = group.ours("second", &[]);
        second.until_it_has(2);
        first.until_it_has(2);
        for partition in 0..4 {
            fill(&brokers, &topic, partition, 0..10);
        }
        until("all is read", PATIENCE, || {
            let read: BTreeSet<_> = first.records().into_iter().chain(second.records()).collect();
            if read.len() == 40 { Ok(()) } else { Err(read.len().to_string()) }
        });
        second.signal(rustix::process::Signal::TERM);
        first.until_it_has(4);
        for partition in 0..4 {
            fill(&brokers, &topic, partition, 10..15);
        }
        // this broker ends a generation as soon as the next one is asked for, and so refuses the commits of those who give
        // up their partitions: they are read again
        until("all is read", PATIENCE, || {
            let read: BTreeSet<_> = first.records().into_iter().chain(second.records()).collect();
            if read.len() == 60 { Ok(()) } else { Err(read.len().to_string()) }
        });
    }
}

#[test]
fn the_embedded_broker_does_not_know_kip_848_and_that_is_what_is_said() {
    let (_broker, brokers) = broker();
    let topic = topic("new-protocol");
    fill(&brokers, &topic, 0, 0..1);
    let ended = on(&brokers, &["consume", &topic, "-g", "new", "--group-protocol", "consumer"]).run();
    assert_eq!((ended.code(), ended.text().as_str()), (1, ""));
    assert!(ended.stderr.contains("the group protocol \"consumer\" (KIP-848)"), "{}", ended.stderr);
}
