//! A broker that cannot write any more (fault 11).
//!
//! The full disk is a limit on the size of files (`ulimit -f`) in the shell that starts the broker: nothing must be
//! filled, and nobody must be root. As on a full disk the write that reaches the limit is cut in its middle, and the next
//! one is refused. Started again without the limit, the broker has room.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use super::MINUTE;
use crate::{
    bytes::files::Folder,
    cluster::{Kafka, soak},
    harness::{Ended, kafkalab, topic},
    load::{Log, Receipts, Running, padded, produce},
    wire::{create_topic, leaders, until},
};

/// The most that a file of the broker may have. Kafka makes its indexes in full length at once: 10 MiB.
const ROOM_KIB: u32 = 12 * 1024;
/// So many records of so many bytes are twice as much for one partition.
const RECORDS: u64 = 24_000;
const WIDTH: usize = 1000;

/// A broker whose files end at [`ROOM_KIB`].
fn small_disk(settings: &[&str]) -> Kafka {
    let limited = format!("ulimit -S -f {ROOM_KIB} && exec bash \"$@\"");
    Kafka::start_by(Command::new("bash").args(["-c", &limited, "bash"]), 1, settings)
}

fn load(kafka: &Kafka, topic: &str, timeout: &str) -> Running {
    let limits = ["--timeout", timeout, "-X", "connect_timeout=1s"];
    let mut running = Running::start(produce(&kafka.brokers, topic, &limits));
    let pieces = (0..RECORDS / 300).map(|piece| padded(piece * 300 + 1..=(piece + 1) * 300, WIDTH));
    running.feed(pieces, Duration::from_millis(5));
    running
}

/// The fault happened, and was this one.
fn is_full(kafka: &Kafka) -> bool {
    kafka.log(1).contains("java.io.IOException: File too large")
}

/// What both readers find is what the receipts say.
#[track_caller]
fn assert_honest(kafka: &Kafka, topic: &str, ended: &Ended) -> (Receipts, Log) {
    println!("exit {}\n{}", ended.code(), ended.stderr);
    let receipts = Receipts::read(&ended.stdout);
    assert_eq!(receipts.total() as u64, RECORDS, "{}", ended.stderr);
    assert!(!receipts.acknowledged.is_empty(), "{}", ended.stderr);
    let log = Log::read(&kafka.brokers, topic);
    log.agrees_with(&receipts);
    Log::read_by_kcat(&kafka.brokers, topic).agrees_with(&receipts);
    (receipts, log)
}

/// Kafka ends itself when the last of its disks has failed.
#[test]
#[ignore = "needs Apache Kafka"]
fn a_full_disk_acknowledges_nothing_that_is_not_there() {
    for _ in 0..if soak() { 5 } else { 1 } {
        let kafka = small_disk(&[]);
        let topic = topic("full");
        create_topic(&kafka.brokers, &topic, 1, 1, &[]);
        let began = Instant::now();
        let ended = load(&kafka, &topic, "4s").wait(MINUTE);
        let took = began.elapsed();
        assert!(is_full(&kafka) && !kafka.is_running(1), "nothing was full: {}", kafka.log(1));
        assert!(took < Duration::from_secs(20), "{took:?}");
        assert_eq!(ended.code(), 4, "{}", ended.stderr);
        assert!(ended.stderr.contains("Connection refused"), "{}", ended.stderr);
        kafka.restart(1);
        let (receipts, _) = assert_honest(&kafka, &topic, &ended);
        assert!(receipts.failed.len() + receipts.unknown.len() > 0);
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_full_disk_that_gets_room_in_time_costs_nothing_but_time() {
    for _ in 0..if soak() { 5 } else { 1 } {
        let kafka = small_disk(&[]);
        let topic = topic("room");
        create_topic(&kafka.brokers, &topic, 1, 1, &[]);
        let mut running = load(&kafka, &topic, "90s");
        running.until("the disk is full", MINUTE, |_| is_full(&kafka) && !kafka.is_running(1));
        kafka.restart(1);
        let ended = running.wait(2 * MINUTE);
        let (_, log) = assert_honest(&kafka, &topic, &ended);
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        log.is_complete(1..=RECORDS);
    }
}

/// Of two disks one is full: the broker lives on, and says so with every try.
#[test]
#[ignore = "needs Apache Kafka"]
fn a_partition_whose_disk_is_full_ends_in_time_and_leaves_the_others_alone() {
    let disks = Folder::new("disks");
    let disk = |name: &str| disks.0.join(name).display().to_string();
    let log_dirs = format!("log.dirs={},{}", disk("one"), disk("two"));
    let kafka = small_disk(&[&log_dirs, &format!("metadata.log.dir={}", disk("metadata"))]);
    let topic = topic("one-disk");
    create_topic(&kafka.brokers, &topic, 2, 1, &[]); // a partition each
    let began = Instant::now();
    let mut running = Running::start(produce(&kafka.brokers, &topic, &["--timeout", "4s", "-p", "0"]));
    let pieces = (0..RECORDS / 300).map(|piece| padded(piece * 300 + 1..=(piece + 1) * 300, WIDTH));
    running.feed(pieces, Duration::from_millis(5));
    let ended = running.wait(MINUTE);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(is_full(&kafka) && kafka.is_running(1), "{}", kafka.log(1));
    assert_eq!(ended.code(), 4, "{}", ended.stderr);
    assert!(ended.stderr.contains("the last try: KAFKA_STORAGE_ERROR"), "{}", ended.stderr);
    until("partition 0 has no leader", MINUTE, || (leaders(&kafka.brokers, &topic)? == [-1, 1]).then_some(()));
    let later = |partition: &str| {
        let command = ["produce", &topic, "-p", partition, "--timeout", "2s"];
        kafkalab(command).env("KAFKALAB_BROKERS", &kafka.brokers).stdin("0\n").run()
    };
    later("1").ok();
    let said = format!(
        "error: 1 record: producing to {topic}[0]: not done within 2 s; the last try: the partition has no leader\n\
         0 acknowledged, 1 failed\n"
    );
    assert_eq!(later("0").stderr, said);
    kafka.restart(1);
    assert_honest(&kafka, &topic, &ended);
}
