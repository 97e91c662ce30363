//! A key lies where Java's producer, kcat and kafkalab put it: in the same partition.

use std::{collections::BTreeMap, time::Duration};

use kafkalab::kafka::partition_for_key;

use crate::{
    harness::{kafkalab, kcat, need_kafka, program},
    random::Random,
    topics_made::topic_with,
};

/// Where Kafka's own class puts each key.
fn oracle(keys: &[Vec<u8>], partitions: i32) -> Vec<i32> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dev/kafka/kafka.sh");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/dev/kafka/Partition.java");
    let hex = |key: &Vec<u8>| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    let java =
        program(script, ["tool", source, &partitions.to_string()]).stdin(keys.iter().map(hex).collect::<String>());
    let said = java.deadline(Duration::from_secs(120)).run().ok().text();
    said.lines().map(|line| line.parse().expect("a partition")).collect()
}

#[test]
#[ignore = "needs Apache Kafka"]
fn java_puts_ten_thousand_random_keys_where_we_do() {
    need_kafka();
    let mut random = Random::from_seed_or_new();
    let mut keys: Vec<Vec<u8>> = (0..10_000)
        .map(|n| {
            let length = random.below(if n % 10 == 0 { 500 } else { 24 });
            random.bytes(length)
        })
        .collect();
    // each length modulo four, and signs: what a murmur2 in another language gets wrong first
    keys.extend((0..9).map(|length| vec![0xff; length]));
    keys.extend((0..9).map(|length| vec![0x80; length]));
    for partitions in [1, 2, 3, 12, 50, 1000, i32::MAX] {
        let expected = oracle(&keys, partitions);
        assert_eq!(expected.len(), keys.len());
        for (key, expected) in keys.iter().zip(expected) {
            assert_eq!(partition_for_key(key, partitions), expected, "key {key:02x?} among {partitions}");
        }
    }
}

const PARTITIONS: i32 = 12;

#[test]
#[ignore = "needs Apache Kafka"]
fn receipts_kcat_and_java_agree_on_two_thousand_keys() {
    need_kafka();
    let mut random = Random::from_seed_or_new();
    let keys: Vec<Vec<u8>> = (0..2000)
        .map(|_| {
            let length = 1 + random.below(30);
            random.letters(length)
        })
        .collect();
    let lines: Vec<u8> = keys.iter().flat_map(|key| [key, &b":value\n"[..]].concat()).collect();

    let (ours, kcats) = (topic_with("keys", PARTITIONS), topic_with("keys-kcat", PARTITIONS));
    let receipts = kafkalab(["produce", &ours, "-K:", "--json"]).stdin(lines.clone()).run().ok().text();
    let mut said = vec![-1; keys.len()];
    for line in receipts.lines() {
        let receipt: serde_json::Value = serde_json::from_str(line).expect("a receipt");
        let number = receipt["record"].as_u64().expect("a line's number") as usize - 1;
        said[number] = receipt["partition"].as_i64().expect("a partition") as i32;
    }
    assert_eq!(said, oracle(&keys, PARTITIONS));

    let murmur = ["-X", "partitioner=murmur2_random"];
    kcat(["-P", "-t", &kcats, "-K:"]).arguments(murmur).stdin(lines).run().ok();
    let (in_ours, in_kcats) = (places(&ours), places(&kcats));
    assert_eq!(in_ours, in_kcats);
    for (key, partition) in keys.iter().zip(said) {
        let key = String::from_utf8_lossy(key);
        assert!(in_ours[&*key].contains(&partition), "{key}: {partition} said, found in {:?}", in_ours[&*key]);
    }
}

/// The partitions in which each key lies, once per record.
fn places(topic: &str) -> BTreeMap<String, Vec<i32>> {
    let mut places = BTreeMap::<String, Vec<i32>>::new();
    for line in kafkalab(["consume", topic, "-e", "-f", r"%k %p\n"]).run().ok().text().lines() {
        let (key, partition) = line.split_once(' ').expect("two fields");
        places.entry(key.to_owned()).or_default().push(partition.parse().expect("a partition"));
    }
    places
}

#[test]
fn records_without_a_key_go_everywhere() {
    let topic = topic_with("keyless", 4);
    // enough for several batches per partition: the place changes with the batch
    let lines: String = (0..40_000).map(|n| format!("{n} {}\n", "x".repeat(200))).collect();
    kafkalab(["produce", &topic]).stdin(lines).run().ok();
    let mut counts = BTreeMap::<String, usize>::new();
    for line in kafkalab(["consume", &topic, "-e", "-f", r"%p\n"]).run().ok().text().lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    assert_eq!(counts.values().sum::<usize>(), 40_000);
    assert_eq!(counts.len(), 4, "{counts:?}");
}
