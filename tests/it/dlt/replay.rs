//! Sending letters back: what arrives, and what is remembered.

use serde_json::json;

use super::{TIME, by_kcat, listed, put_aside, run, says, summary, with_letters, write};
use crate::{
    bytes::assert_same,
    harness::{kafkalab, kcat, topic},
    records::{FORMAT, awkward, to_json_lines},
};

/// The lines of a partition from an offset on, without the offsets.
fn from(topic: &str, offset: usize) -> Vec<Vec<u8>> {
    let lines = by_kcat(topic, &FORMAT.replace("%p|%o|", ""));
    // records of more than a line are compared as well: only their order counts
    lines.split(|byte| *byte == b'\n').skip(offset).map(<[u8]>::to_vec).collect()
}

#[test]
#[ignore = "needs kcat"]
fn what_comes_back_is_the_record_byte_for_byte() {
    let topic = topic("back");
    kafkalab(["topics", "create", &topic, "-c", "retention.ms=-1"]).run().ok();
    let records = awkward();
    kafkalab(["produce", &topic, "--input", "json"]).stdin(to_json_lines(&records)).run().ok();
    let before = from(&topic, 0);
    let letters: Vec<_> = (0..records.len() as i64).map(|offset| (0, offset, "why")).collect();
    put_aside(&topic, &letters).expect("acknowledged");
    let count = records.len();
    says(&["replay", &topic, "--all"], 0, &format!("replayed {count} letters to {topic}\n"), "");
    let after = from(&topic, before.len() - 1); // the last one is the empty end
    assert_same("what came back", &after.join(&b'\n'), &before.join(&b'\n'));
}

#[test]
#[ignore = "needs kcat"]
fn a_second_replay_of_all_sends_only_what_came_since() {
    let name = with_letters("2", &["a", "b"]);
    let letters = format!("{name}.dlt");
    says(&["replay", &name, "--all", "--dry-run"], 0, &format!("would replay 2 letters to {name}\n"), "");
    assert_eq!(summary(&letters)["waiting"], 2);
    says(&["replay", &name, "--all"], 0, &format!("replayed 2 letters to {name}\n"), "");
    says(&["replay", &name, "--all"], 0, "", &format!("no letters wait in {letters}\n"));
    assert_eq!(by_kcat(&name, "%p%s "), b"0a 0b 0a 0b ");
    write(&name, "1", &["c"]);
    put_aside(&name, &[(1, 0, "c")]).expect("acknowledged");
    let found = summary(&letters);
    assert_eq!((&found["letters"], &found["waiting"], &found["newest"]["reason"]), (&json!(3), &json!(1), &json!("c")));
    says(&["replay", &letters, "--all"], 0, &format!("replayed 1 letter to {name}\n"), "");
    let back = kcat(["-C", "-q", "-e", "-t", &name, "-p", "1", "-f", "%s %h "]).run().ok().text();
    assert_eq!(back, "c trace=1 c trace=1 ", "to the partition from which it came");
    // what was replayed is still there, and told apart
    assert_eq!(listed(&[&name]), Vec::<serde_json::Value>::new());
    let all = listed(&[&name, "--all"]);
    assert!(all.len() == 3 && all.iter().all(|letter| letter["replayed"] == true), "{all:?}");
    // the memory is a group's offsets, which others can see
    let group = kafkalab(["groups", "describe", "kafkalab-dlt-replay", "-J"]).run().ok();
    let group: serde_json::Value = serde_json::from_slice(&group.stdout).expect("a document");
    let offsets = group["groups"][0]["offsets"].as_array().expect("offsets").iter();
    let ours = offsets.filter(|at| at["topic"] == letters.as_str()).map(|at| at["committed"].clone());
    assert_eq!(ours.collect::<Vec<_>>(), [json!(2), json!(1)]);
}

#[test]
#[ignore = "needs kcat"]
fn single_letters_are_sent_again_and_move_nothing() {
    let name = with_letters("1", &["a", "b", "c"]);
    let other = topic("other");
    kafkalab(["topics", "create", &other, "-c", "retention.ms=-1"]).run().ok();
    for _ in 0..2 {
        says(&["replay", &name, "--offset", "0:2"], 0, &format!("replayed 1 letter to {name}\n"), "");
    }
    let wanted = ["replay", &name, "--offset", "0:1", "--offset", "0:0", "--to", &other, "-J"];
    let document: serde_json::Value = serde_json::from_slice(&run(&wanted).ok().stdout).expect("a document");
    let expected = json!({
        "schema_version": 1, "topic": format!("{name}.dlt"), "dry_run": false, "letters": 2, "without_note": 0,
        "to": [{"topic": other, "letters": 2}],
    });
    assert_eq!(document, expected);
    assert_eq!(by_kcat(&other, "%s %h %T "), format!("b trace=1 {TIME} a trace=1 {TIME} ").as_bytes());
    assert_eq!(by_kcat(&name, "%s "), b"a b c c c ");
    assert_eq!(summary(&format!("{name}.dlt"))["waiting"], 3);
}

#[test]
#[ignore = "needs kcat"]
fn a_record_without_a_note_goes_to_the_topic_of_that_name() {
    let name = with_letters("1", &["a"]);
    let letters = format!("{name}.dlt");
    kcat(["-P", "-t", &letters, "-p", "0", "-k", "by-hand", "-H", "x=1"]).stdin("stray").run().ok();
    let said = format!("1 letter of no sender of dead letters: the topic is the one that {letters} is named after\n");
    says(&["replay", &name, "--all"], 0, &format!("replayed 2 letters to {name}\n"), &said);
    assert_eq!(by_kcat(&name, "%k=%s %h "), b"k=a trace=1 k=a trace=1 by-hand=stray x=1 ");
}

/// As Spring Kafka writes it: under its own name for the topic, the exception first, at the time of its death.
#[test]
#[ignore = "needs kcat"]
fn a_letter_of_spring_comes_back_as_it_was() {
    let name = super::written("1", &[]);
    let letters = format!("{name}-dlt");
    kafkalab(["topics", "create", &letters, "-c", "retention.ms=-1"]).run().ok();
    let spring = crate::records::Rec::new(Some(b"k"), Some(b"v"))
        .header(b"trace", Some(b"1"))
        .header(b"kafka_dlt-exception-fqcn", Some(b"org.springframework.kafka.KafkaException"))
        .header(b"kafka_dlt-exception-message", Some(b"no stock"))
        .header(b"kafka_dlt-original-topic", Some(name.as_bytes()))
        .header(b"kafka_dlt-original-partition", Some(&[0, 0, 0, 0]))
        .header(b"kafka_dlt-original-offset", Some(&7i64.to_be_bytes()))
        .header(b"kafka_dlt-original-timestamp", Some(&TIME.to_be_bytes()))
        .header(b"kafka_dlt-original-timestamp-type", Some(b"CreateTime"))
        .at(TIME + 60_000);
    kafkalab(["produce", &letters, "--input", "json"]).stdin(to_json_lines(&[spring])).run().ok();
    let found = listed(&[&name]);
    let original = json!({"topic": name, "partition": 0, "offset": 7, "ts": TIME, "timestamp_type": "CreateTime"});
    assert_eq!((&found[0]["original"], &found[0]["reason"]), (&original, &json!("no stock")));
    says(&["replay", &name, "--all"], 0, &format!("replayed 1 letter to {name}\n"), "");
    assert_eq!(by_kcat(&name, "%k %s %h %T"), format!("k v trace=1 {TIME}").as_bytes());
}
