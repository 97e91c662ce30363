//! Duplicates, any order, holes in versions.

use std::fmt::Write;

use serde_json::Value;

use super::{TOPICS, judged, read_on, stats, tables, write};
use crate::{es::Place, harness::kafkalab, random::Random};

/// All records of a place, as lines of JSON.
fn records(place: &Place) -> Vec<Value> {
    let read = |topic: &str| kafkalab(["consume", &place.topic(topic), "-e", "-J"]).run().ok().text();
    let lines = TOPICS.map(read).concat();
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn send(place: &Place, from: &Place, records: &[Value], mut partition: impl FnMut() -> usize) {
    let mut lines = String::new();
    for record in records {
        let mut record = record.clone();
        let topic = record["topic"].as_str().expect("a topic").replace(&from.prefix, &place.prefix);
        (record["topic"], record["partition"]) = (topic.into(), partition().into());
        writeln!(lines, "{record}").expect("a line");
    }
    kafkalab(["produce", "--input", "json", "-q"]).stdin(lines).run().ok();
}

fn make_topics(place: &Place) {
    for topic in TOPICS {
        kafkalab(["topics", "create", &place.topic(topic), "-p", "3"]).run().ok();
    }
}

#[test]
#[ignore = "needs kcat"]
fn duplicates_in_any_order_across_topics_leave_the_tables_of_a_clean_run() {
    let (clean, mixed, mut random) = (Place::new("clean"), Place::new("mixed"), Random::from_seed_or_new());
    write(&clean, 150, 5);
    read_on(&clean, &["-q"]);
    judged(&clean);
    let mut all = records(&clean);
    for _ in 0..200 {
        let again = all[random.below(all.len())].clone();
        all.push(again);
    }
    for last in (1..all.len()).rev() {
        all.swap(last, random.below(last + 1));
    }
    make_topics(&mixed);
    // in pieces, so that it is wrong in between in as many ways
    for piece in all.chunks(all.len() / 4 + 1) {
        send(&mixed, &clean, piece, || random.below(3));
        read_on(&mixed, &["-q", "--batch", "7"]);
    }
    assert_eq!(tables(&mixed), tables(&clean));
}

#[test]
fn a_hole_in_the_versions_is_told_and_nobody_waits_for_it() {
    let (whole, holed) = (Place::new("whole"), Place::new("holed"));
    for command in [&["create", "--price", "USD:5", "--order", "a"][..], &["pay", "a"], &["ship", "a"]] {
        whole.cqrs(&["write"]).arguments(command).run().ok();
    }
    make_topics(&holed);
    let (payments, others): (Vec<_>, Vec<_>) = records(&whole)
        .into_iter()
        .partition(|record| record["topic"].as_str().is_some_and(|t| t.ends_with("payments")));
    send(&holed, &whole, &others, || 0);
    let said = read_on(&holed, &[]).text();
    assert!(said.contains("gaps     1 order with an event missing; they are not waited for\n"), "{said}");
    let document = stats(&holed);
    assert_eq!((&document["incomplete"], &document["statuses"]["SHIPPED"]), (&1.into(), &1.into()));
    let shown = holed.cqrs(&["order", "a"]).run().ok().text();
    assert!(shown.contains("order a: SHIPPED") && shown.contains("1 event missing"), "{shown}");
    send(&holed, &whole, &payments, || 2);
    read_on(&holed, &["-q"]);
    assert_eq!(stats(&holed)["incomplete"], 0);
}

/// Choreographed sagas speak on the same topics; their orders stand in no log.
#[test]
fn orders_of_sagas_are_passed_by() {
    let place = Place::new("beside-sagas");
    make_topics(&place);
    for at in ["2", "3"] {
        place.pattern("saga", &["run", "--style", "choreography", "--fail-at", at, "-q"]).run().ok();
    }
    place.cqrs(&["write", "create", "--price", "USD:5", "--order", "a"]).run().ok();
    let read = read_on(&place, &["-q"]);
    assert_eq!(stats(&place)["orders"], 1, "{read:?}");
    assert_eq!(kafkalab(["dlt", "list", &place.topic("payments"), "--json"]).run().text(), "");
}
