//! What the broker refuses or takes away: too large records, deleted topics, offsets that are gone.

use std::time::Duration;

use super::{Lab, MINUTE};
use crate::{
    harness::{kafkalab, program, topic},
    load::{Receipts, Running},
    random::Random,
    wire::{create_topic, delete_records, delete_topic, until},
};

/// A value of so many hexadecimal digits that no codec makes small.
fn noise(random: &mut Random, length: usize) -> String {
    (0..length).map(|_| format!("{:x}", random.within(0..16))).collect()
}

/// Every tenth record is over the topic's limit, and the batches are over it many times.
#[test]
#[ignore = "needs Apache Kafka"]
fn an_oversized_record_fails_alone() {
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    for codec in ["none", "lz4", "zstd"] {
        let topic = topic("oversized");
        create_topic(lab.broker(), &topic, 1, 1, &[("max.message.bytes", "20000")]);
        let lines: Vec<String> =
            (1..=200).map(|n| noise(&mut random, if n % 10 == 0 { 60_000 } else { 3_000 })).collect();
        let input = lines.join("\n") + "\n";
        let ended = kafkalab(["produce", &topic, "--json", "-z", codec])
            .env("KAFKALAB_BROKERS", &lab.through)
            .stdin(input)
            .run();
        assert_eq!(ended.code(), 1, "{codec}: {}", ended.stderr);
        assert!(ended.stderr.contains("MESSAGE_TOO_LARGE"), "{codec}: {}", ended.stderr);
        let receipts = Receipts::read(&ended.stdout);
        assert_eq!((receipts.acknowledged.len(), receipts.failed.len()), (180, 20), "{codec}: {}", ended.stderr);
        assert!(receipts.failed.iter().all(|number| number % 10 == 0), "{codec}");
        let kept: String = (1..=200).filter(|n| n % 10 != 0).map(|n| format!("{}\n", lines[n - 1])).collect();
        let read = kafkalab(["consume", &topic, "-e"]).env("KAFKALAB_BROKERS", &lab.through).run().ok();
        assert!(read.text() == kept, "{codec}: the others are there, in order");
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_topic_deleted_under_a_consumer_is_an_error_in_bounded_time() {
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    let topic = topic("deleted");
    create_topic(lab.broker(), &topic, 1, 1, &[]);
    kafkalab(["produce", &topic]).env("KAFKALAB_BROKERS", &lab.through).stdin("one\n").run().ok();
    let mut running = Running::start(kafkalab(["consume", &topic]).env("KAFKALAB_BROKERS", &lab.through));
    running.lines(1, MINUTE);
    delete_topic(lab.broker(), &topic);
    let ended = running.wait(MINUTE);
    assert_eq!(ended.code(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains(&topic) && ended.stderr.contains("does not exist"), "{}", ended.stderr);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_topic_made_again_is_read_from_its_beginning() {
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    let topic = topic("again");
    create_topic(lab.broker(), &topic, 1, 1, &[]);
    kafkalab(["produce", &topic]).env("KAFKALAB_BROKERS", &lab.through).stdin("old 1\nold 2\n").run().ok();
    let mut running = Running::start(kafkalab(["consume", &topic]).env("KAFKALAB_BROKERS", &lab.through));
    running.lines(2, MINUTE);
    delete_topic(lab.broker(), &topic);
    create_topic(lab.broker(), &topic, 1, 1, &[]);
    kafkalab(["produce", &topic]).env("KAFKALAB_BROKERS", &lab.through).stdin("new 1\nnew 2\nnew 3\n").run().ok();
    running.lines(5, MINUTE);
    assert_eq!(running.stdout(), "old 1\nold 2\nnew 1\nnew 2\nnew 3\n");
    assert!(running.stderr().contains("made again"), "{}", running.stderr());
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_topic_deleted_under_a_producer_ends_it_within_its_limit() {
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    let topic = topic("deleted");
    create_topic(lab.broker(), &topic, 1, 1, &[]);
    let produce = kafkalab(["produce", &topic, "--json", "--timeout", "4s"]).env("KAFKALAB_BROKERS", &lab.through);
    let mut running = Running::start(produce);
    running.feed((0..300).map(|n| format!("{n}\n")), Duration::from_millis(10));
    running.lines(20, MINUTE);
    delete_topic(lab.broker(), &topic);
    let ended = running.wait(MINUTE);
    assert_eq!(ended.code(), 4, "{}", ended.stderr);
    let receipts = Receipts::read(&ended.stdout);
    assert_eq!(receipts.total(), 300, "{}", ended.stderr);
    assert!(!receipts.failed.is_empty() || !receipts.unknown.is_empty());
}

#[test]
#[ignore = "needs Apache Kafka"]
fn offsets_that_retention_took_are_reported_and_obeyed() {
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    let topic = topic("retention");
    create_topic(lab.broker(), &topic, 1, 1, &[]);
    let input: String = (0..100).map(|n| format!("{n}\n")).collect();
    kafkalab(["produce", &topic]).env("KAFKALAB_BROKERS", &lab.through).stdin(input).run().ok();
    delete_records(lab.broker(), &topic, 60);
    let read = |reset: &str| {
        kafkalab(["consume", &topic, "-o", "10", "-e", "--offset-reset", reset])
            .env("KAFKALAB_BROKERS", &lab.through)
            .run()
    };
    let earliest = read("earliest").ok();
    assert_eq!(earliest.text(), (60..100).map(|n| format!("{n}\n")).collect::<String>());
    assert!(
        earliest.stderr.contains("offset 10 is not there") && earliest.stderr.contains("60"),
        "{}",
        earliest.stderr
    );
    assert_eq!(read("latest").ok().text(), "");
    let error = read("error");
    assert_eq!(error.code(), 1, "{}", error.stderr);
    assert!(error.stderr.contains("60 to 100"), "{}", error.stderr);
}

/// One key, rewritten again and again: compaction leaves nearly nothing, and large gaps.
#[test]
#[ignore = "needs Apache Kafka"]
fn gaps_that_compaction_left_are_passed() {
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    let topic = topic("compacted");
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.001"),
        ("max.compaction.lag.ms", "100"),
    ];
    create_topic(lab.broker(), &topic, 1, 1, &configs);
    let write = |from: u32| {
        let input: String = (from..from + 500).map(|n| format!("k{}:{n}\n", n % 3)).collect();
        kafkalab(["produce", &topic, "-K:"]).env("KAFKALAB_BROKERS", &lab.through).stdin(input).run().ok();
    };
    write(0);
    let read = || {
        let read = kafkalab(["consume", &topic, "-e", "-f", "%o %k %v\\n"]).env("KAFKALAB_BROKERS", &lab.through);
        read.run().ok().text()
    };
    let mut from = 500;
    until("compaction has left gaps", MINUTE, || {
        write(from); // a segment is closed when something comes after its time
        from += 500;
        (read().lines().count() < from as usize / 2).then_some(())
    });
    // the cleaner may run between the two
    until("kcat and kafkalab see the same", MINUTE, || {
        let before = read();
        let theirs = program(
            "kcat",
            ["-b", lab.through.as_str(), "-C", "-t", &topic, "-e", "-q", "-o", "beginning", "-f", "%o %k %s\n"],
        );
        (before == theirs.run().ok().text()).then_some(())
    });
}
