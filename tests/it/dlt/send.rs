//! Putting records aside, with kcat as the judge of what lies in the topic.

use serde_json::Value;

use super::{TIME, by_kcat, name, put_aside, written};
use crate::{
    bytes::assert_same,
    harness::{kafkalab, kcat, on_kafka, topic},
    records::{FORMAT, Rec, awkward, to_json_lines},
};

/// What is added, as the sources of Spring Kafka have it. Numbers are left to kcat's JSON: its format ends at a 0.
fn noted(record: Rec, topic: &str, reason: &str) -> Rec {
    record
        .header(b"kafka_dlt-original-topic", Some(topic.as_bytes()))
        .header(b"kafka_dlt-original-partition", Some(b""))
        .header(b"kafka_dlt-original-offset", Some(b""))
        .header(b"kafka_dlt-original-timestamp", Some(b""))
        .header(b"kafka_dlt-original-timestamp-type", Some(b"CreateTime"))
        .header(b"kafka_dlt-original-consumer-group", Some(b"stock"))
        .header(b"kafka_dlt-exception-fqcn", Some(b"kafkalab::patterns::inbox::Poison"))
        .header(b"kafka_dlt-exception-message", Some(reason.as_bytes()))
        .header(b"retry_topic-attempts", Some(b""))
}

#[test]
#[ignore = "needs kcat"]
fn a_record_is_put_aside_byte_for_byte_with_springs_headers() {
    let topic = topic("aside");
    kafkalab(["topics", "create", &topic, "-p", "2", "-c", "retention.ms=-1"]).run().ok();
    let records = awkward();
    kafkalab(["produce", &topic, "--input", "json", "-p", "1"]).stdin(to_json_lines(&records)).run().ok();
    let reason = "no number: \u{1f980}\n\u{1b}[2J";
    let letters: Vec<_> = (0..records.len() as i64).map(|offset| (1, offset, reason)).collect();
    put_aside(&topic, &letters).expect("all are acknowledged");
    let aside = format!("{topic}.dlt");
    let printed = |(record, at)| noted(record, &topic, reason).printed(&aside, 1, at, "");
    let expected: Vec<u8> = records.into_iter().zip(0..).flat_map(printed).collect();
    assert_same("the letters", &by_kcat(&aside, FORMAT), &expected);
}

#[test]
#[ignore = "needs kcat"]
fn numbers_are_big_endian_as_javas() {
    let name = written("3", &[]);
    super::write(&name, "2", &["a", "b"]);
    put_aside(&name, &[(2, 1, "why")]).expect("acknowledged");
    let json = kcat(["-C", "-q", "-e", "-J", "-t", &format!("{name}.dlt")]).run().ok().stdout;
    // 1769904000250 is 0x19c167fccfa; kcat writes a byte that is no control character as it is
    let pairs: [&[u8]; 4] = [
        br#""kafka_dlt-original-partition","\u0000\u0000\u0000\u0002""#,
        br#""kafka_dlt-original-offset","\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0001""#,
        b"\"kafka_dlt-original-timestamp\",\"\\u0000\\u0000\\u0001\x9c\\u0016\x7f\xcc\xfa\"",
        br#""retry_topic-attempts","\u0000\u0000\u0000\u0001""#,
    ];
    for pair in pairs {
        let found = json.windows(pair.len()).any(|window| window == pair);
        assert!(found, "{} is not in {}", pair.escape_ascii(), json.escape_ascii());
    }
}

#[test]
fn the_topic_is_made_as_wide_as_the_original_and_keeps_its_letters() {
    let name = written("3", &["one"]);
    put_aside(&name, &[(0, 0, "why")]).expect("acknowledged");
    let described = kafkalab(["topics", "describe", &format!("{name}.dlt"), "-J"]).run().ok();
    let described: Value = serde_json::from_slice(&described.stdout).expect("a document");
    let topic = &described["topics"][0];
    assert_eq!(topic["partitions"].as_array().map(Vec::len), Some(3));
    let setting = |name: &str| {
        let found = topic["configs"].as_array().expect("settings").iter().find(|entry| entry["name"] == name);
        found.map(|entry| entry["value"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(setting("retention.ms").as_deref(), Some("-1"));
    // and takes records that are as large as the original's may be, with their notes
    assert_eq!(setting("max.message.bytes").as_deref(), Some("1064972"));
}

#[test]
#[ignore = "needs kcat"]
fn a_narrower_topic_of_letters_takes_them_by_key() {
    let name = written("1", &[]);
    kafkalab(["topics", "delete", &name, "-y"]).run().ok();
    kafkalab(["topics", "create", &name, "-p", "4", "-c", "retention.ms=-1"]).run().ok();
    kafkalab(["topics", "create", &format!("{name}.dlt"), "-p", "2", "-c", "retention.ms=-1"]).run().ok();
    for partition in ["1", "3"] {
        super::write(&name, partition, &[partition]);
    }
    put_aside(&name, &[(3, 0, "three"), (1, 0, "one")]).expect("acknowledged");
    // Java's place for the key k among two partitions is 0
    let lines = by_kcat(&format!("{name}.dlt"), "%p %s %T\n");
    let mut lines: Vec<_> = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    let line = |partition: i32, value: &str| format!("{partition} {value} {TIME}").into_bytes();
    assert_eq!(lines, [line(0, "3"), line(1, "1")]);
}

#[test]
#[ignore = "needs kcat"]
fn a_record_as_large_as_its_topic_allows_has_room_for_its_note() {
    let name = name();
    let settings = ["-c", "max.message.bytes=2000", "-c", "retention.ms=-1"];
    kafkalab(["topics", "create", &name]).arguments(settings).run().ok();
    let largest = "x".repeat(1900);
    kafkalab(["produce", &name]).stdin(largest.clone() + "\n").run().ok();
    if on_kafka() {
        assert_eq!(kafkalab(["produce", &name]).stdin("x".repeat(2000) + "\n").run().code(), 1, "the limit is one");
    }
    put_aside(&name, &[(0, 0, &"why ".repeat(300))]).expect("acknowledged");
    assert_eq!(by_kcat(&format!("{name}.dlt"), "%S").as_slice(), b"1900");
}

#[test]
fn what_cannot_be_put_aside_says_so_and_that_nothing_may_be_committed() {
    // with .dlt behind it the name is longer than Kafka's 249
    let long = format!("{}-{}", name(), "x".repeat(230));
    kafkalab(["topics", "create", &long, "-c", "retention.ms=-1"]).run().ok();
    super::write(&long, "0", &["one"]);
    let error = put_aside(&long, &[(0, 0, "why")]).expect_err("no such name");
    assert!(!error.is_transient(), "{error}");
    let said = format!("topic \"{long}.dlt\", where dead letters are to go, cannot be made or reached");
    assert_eq!(error.to_string(), said);
}
