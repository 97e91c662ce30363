//! Mistakes with dead letters, and what is not there.

use serde_json::{Value, json};

use super::{name, put_aside, run, says, with_letters, written};
use crate::{
    harness::{kafkalab, topic},
    records::{Rec, to_json_lines},
};

#[test]
fn a_topic_that_has_none_or_is_not_there() {
    let name = written("1", &["a"]);
    let none = format!("{name} has no dead letters\n");
    for arguments in [["list", &name].as_slice(), &["replay", &name, "--all"], &["purge", &name, "-y"]] {
        says(arguments, 0, "", &none);
    }
    says(&["list", &format!("{name}.dlt")], 0, "", &none);
    says(&["show", &name, "0:0"], 1, "", &none);
    says(&["replay", &name, "--offset", "0:0"], 1, "", &none);
    let near = format!("x{name}");
    let unknown = run(&["list", &near]);
    assert_eq!((unknown.code(), unknown.text().as_str()), (1, ""));
    let said = format!("error: topic {near:?} does not exist\nhint: did you mean {name}");
    assert!(unknown.stderr.starts_with(&said), "{}", unknown.stderr); // and perhaps other tests' topics
    let far = "error: topic \"no-such-topic-at-all.dlt\" does not exist\nhint: ";
    assert!(run(&["show", "no-such-topic-at-all.dlt", "0:0"]).stderr.starts_with(far));
}

#[test]
#[ignore = "needs kcat"]
fn a_letter_that_is_not_there() {
    let name = with_letters("2", &["a"]);
    let letters = format!("{name}.dlt");
    let hint = format!("hint: `kafkalab dlt list {letters} --all` shows what there is\n");
    let behind = format!("error: offset 5 of {letters}[0] is not there: the partition has 0 to 1\n{hint}");
    says(&["show", &name, "0:5"], 1, "", &behind);
    says(&["replay", &name, "--offset", "0:5"], 1, "", &behind);
    says(&["purge", &name, "--before", "0:5", "-y"], 1, "", &behind);
    let partition = format!("error: topic {letters:?} has no partition 2: it has 2 (0 to 1)\n");
    says(&["show", &name, "2:0"], 1, "", &partition);
    says(&["replay", &name, "--offset", "2:0"], 1, "", &partition);
    // where one of several is not there, none is sent
    says(&["replay", &name, "--offset", "0:0", "--offset", "0:5"], 1, "", &behind);
    assert_eq!(super::by_kcat(&name, "%s "), b"a ");
}

#[test]
fn letters_whose_topic_is_gone() {
    let name = with_letters("1", &["a"]);
    let letters = format!("{name}.dlt");
    kafkalab(["topics", "delete", &name, "-y"]).run().ok();
    let said = run(&["replay", &letters, "--all"]);
    assert_eq!(said.code(), 1);
    let expected = format!("error: the topic that letters came from: topic {name:?} does not exist\nhint: ");
    assert!(said.stderr.starts_with(&expected), "{}", said.stderr);
    assert!(said.stderr.ends_with("hint: --to TOPIC sends them elsewhere\n"), "{}", said.stderr);
    assert_eq!(super::summary(&letters)["waiting"], 1, "it waits still");
    says(
        &["replay", &letters, "--all", "--to", &letters],
        2,
        "",
        &format!("error: --to {letters}: that is where they are\n"),
    );
}

#[test]
fn words_that_are_no_places_are_refused_before_a_broker_is_asked() {
    let places = "write PARTITION:OFFSET, such as 0:12, as `kafkalab dlt list` shows it";
    for (line, said) in [
        ("show t 12", format!("error: invalid value '12' for '<PARTITION:OFFSET>': {places}\n")),
        ("replay t --offset x", format!("error: invalid value 'x' for '--offset <PARTITION:OFFSET>': {places}\n")),
        (
            "purge t --before 0:-1 -y",
            format!("error: invalid value '0:-1' for '--before <PARTITION:OFFSET>': {places}\n"),
        ),
        (
            "replay t",
            "error: the following required arguments were not provided:\n  <--all|--offset <PARTITION:OFFSET>>\n"
                .into(),
        ),
        ("purge t --older-than soon -y", "error: --older-than soon: write 12h, 30d, 4w or @2026-01-31\n".into()),
        (
            "purge t --all --before 0:1",
            "error: the argument '--all' cannot be used with '--before <PARTITION:OFFSET>'\n".into(),
        ),
    ] {
        let arguments: Vec<&str> = line.split(' ').chain(["-b", "localhost:1"]).collect();
        let ended = run(&arguments);
        assert_eq!((ended.code(), ended.text().as_str()), (2, ""), "{line}");
        assert!(ended.stderr.starts_with(&said), "{line}: {}", ended.stderr);
    }
    let hint = "hint: is the broker running, and is the address right? It comes from flag --brokers; `kafkalab doctor` looks closer\n";
    let away =
        format!("error: connecting: no broker reachable at localhost:1: Connection refused (os error 111)\n{hint}");
    for line in ["list", "list t -J", "show t 0:0", "replay t --all", "purge t -y"] {
        says(&line.split(' ').chain(["-b", "localhost:1"]).collect::<Vec<_>>(), 3, "", &away);
    }
}

#[test]
fn a_letter_as_a_document_keeps_what_is_no_text() {
    let topic = topic("document");
    kafkalab(["topics", "create", &topic, "-c", "retention.ms=-1"]).run().ok();
    let record = Rec::new(Some(b"\xff"), None).header(b"n", None).header(b"n", Some(b"\xfe")).at(super::TIME);
    kafkalab(["produce", &topic, "--input", "json"]).stdin(to_json_lines(&[record])).run().ok();
    put_aside(&topic, &[(0, 0, "why")]).expect("acknowledged");
    let document: Value = serde_json::from_slice(&run(&["show", &topic, "0:0", "-J"]).ok().stdout).expect("a document");
    let expected = json!({
        "schema_version": 1, "topic": format!("{topic}.dlt"), "partition": 0, "offset": 0,
        "ts": super::TIME, "timestamp": "2026-02-01T00:00:00.250Z", "replayed": false,
        "original": {"topic": topic, "partition": 0, "offset": 0, "ts": super::TIME, "timestamp_type": "CreateTime"},
        "group": "stock", "attempts": 1, "exception": "kafkalab::patterns::inbox::Poison", "reason": "why",
        "headers": [{"key": "n", "value": null}, {"key": "n", "value": "/g==", "value_encoding": "base64"}],
        "key": "/w==", "key_encoding": "base64", "payload": null,
    });
    assert_eq!(document, expected);
}

#[test]
fn a_prefix_stands_before_the_names_once() {
    let (prefix, rest) = ("lab.", name());
    let full = format!("{prefix}{rest}");
    kafkalab(["topics", "create", &full, "-c", "retention.ms=-1"]).run().ok();
    super::write(&full, "0", &["a"]);
    put_aside(&full, &[(0, 0, "why")]).expect("acknowledged");
    for named in [&rest, &full, &format!("{full}.dlt")] {
        let found = run(&["list", named, "--topic-prefix", prefix]).ok();
        assert!(found.text().contains("why"), "{named}: {}", found.stderr);
    }
    let said = kafkalab(["dlt", "list", &rest, "-J"]).env("KAFKALAB_TOPIC_PREFIX", prefix).run().ok();
    assert!(said.text().contains("why"));
}
