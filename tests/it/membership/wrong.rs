//! What a stranger types, and what is said to it.

use super::{
    lab, made,
    member::{Group, How, Kind},
    on,
};
use crate::harness::{kafkalab, need_kafka, topic};

/// Exit code 2 and this on stderr, with nothing on stdout.
#[track_caller]
fn wrong(arguments: &[&str], said: &str) {
    let ended = kafkalab(["consume", "orders"]).arguments(arguments).run();
    assert_eq!((ended.code(), ended.text().as_str()), (2, ""), "{arguments:?}: {}", ended.stderr);
    assert!(ended.stderr.contains(said), "{arguments:?}: {}", ended.stderr);
}

#[test]
fn groups_that_cannot_be_meant_are_usage_errors() {
    wrong(&["-g", "G", "-p", "0"], "a group assigns the partitions");
    wrong(&["-g", ""], "group");
    wrong(&["-o", "stored"], "-o stored: the stored offset belongs to a group");
    wrong(&["-g", "G", "-o", "5:9"], "an end in the offset is for reading without one");
    wrong(&["-g", "G", "--assignor", "sticky"], "possible values: range, roundrobin, cooperative-sticky");
    wrong(&["-g", "G", "--group-protocol", "new"], "possible values: classic, consumer");
    for (flag, value) in [
        ("--instance-id", "a"),
        ("--assignor", "range"),
        ("--group-protocol", "classic"),
        ("--commit-every", "1s"),
        ("--session-timeout", "10s"),
        ("--max-handling", "10s"),
    ] {
        wrong(&[flag, value], "--group <GROUP>");
    }
    wrong(&["-g", "G", "--commit-every", "0s"], "is not between 1ms and a day");
    wrong(&["-g", "G", "--instance-id", ""], "instance");
    wrong(
        &["-g", "G", "--group-protocol", "consumer", "--session-timeout", "10s"],
        "group.consumer.session.timeout.ms",
    );
    wrong(&["-g", "G", "--group-protocol", "consumer", "--assignor", "range"], "--assignor");
}

#[test]
#[ignore = "needs Apache Kafka"]
fn who_divides_otherwise_than_the_group_is_told_so() {
    need_kafka();
    let brokers = lab();
    let topic = made(brokers, "otherwise", 2);
    let group = Group::new(brokers, &[&topic], How::Range);
    let (ours, kcats) = (group.join(Kind::Kafkalab, "ours"), Group::new(brokers, &[&topic], How::RoundRobin));
    let kcat = kcats.join(Kind::Kcat, "kcat");
    ours.until_it_has(2);
    kcat.until_it_has(2);
    for (group, assignor) in [(&group, "cooperative-sticky"), (&group, "roundrobin"), (&kcats, "range")] {
        let ended = on(brokers, &["consume", &topic, "-g", &group.name, "--assignor", assignor]).run();
        assert_eq!((ended.code(), ended.text().as_str()), (1, ""), "{}", ended.stderr);
        assert!(ended.stderr.contains("divide partitions in a way that this one does not offer"), "{}", ended.stderr);
    }
    // by default a member offers all, and takes what the group has
    let third = on(brokers, &["consume", &topic, "-g", &group.name, "-e"]).run().ok();
    assert!(third.stderr.contains("generation "), "{}", third.stderr);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_session_that_the_broker_does_not_allow_is_refused_with_words() {
    need_kafka();
    let brokers = lab();
    let topic = made(brokers, "short", 1);
    let ended = on(brokers, &["consume", &topic, "-g", &topic, "--session-timeout", "100ms"]).run();
    assert_eq!((ended.code(), ended.text().as_str()), (1, ""), "{}", ended.stderr);
    assert!(ended.stderr.contains("session"), "{}", ended.stderr);
}

#[test]
fn a_bounded_reader_of_a_missing_topic_ends_with_words() {
    let topic = topic("missing");
    let ended = kafkalab(["consume", &topic, "-g", "G", "-e"]).run();
    assert_eq!((ended.code(), ended.text().as_str()), (1, ""), "{}", ended.stderr);
    assert!(ended.stderr.contains("does not exist"), "{}", ended.stderr);
}
