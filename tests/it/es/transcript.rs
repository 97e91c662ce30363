//! The demonstration, as it is kept in `transcript.txt`.

use super::{Place, judge::sent};
use crate::transcript::{Killed, Transcript, at};

const TRANSCRIPT: Transcript = Transcript { name: "es", unordered: &[] };

#[test]
fn it_is_as_it_is_kept() {
    let place = Place::new("transcript");
    TRANSCRIPT.holds(&place, &place.es(&[]).run().ok());
}

#[test]
fn with_nothing_named_it_hosts_a_broker_and_leaves_nothing_behind() {
    TRANSCRIPT.stands_alone();
}

#[test]
fn killed_it_says_how_to_go_on_and_that_goes_on() {
    let killed = Killed::at("relay.after-send:2", "es");
    let resumed = killed.run("kafkalab es publish");
    assert!(resumed.text().contains("published  OrderPaid"), "{resumed:?}");
    assert!(resumed.stderr.ends_with("1 event published\n"), "{resumed:?}");
    let streams = killed.run("kafkalab es streams");
    assert!(streams.text().lines().nth(1).is_some_and(|line| line.contains("      2         2  ")), "{streams:?}");
}

#[test]
#[ignore = "needs kcat"]
fn json_lines_tell_the_same_and_each_place_is_true() {
    let place = Place::new("transcript-json");
    let steps = TRANSCRIPT.steps(&place.es(&["--json"]).run().ok().text(), |word| match word {
        "appended" | "published" | "state" | "refused" | "conflict" | "replayed" => Some(word),
        _ => Some("command"),
    });
    let published: Vec<_> = steps.iter().filter(|step| step["step"] == "published").collect();
    for step in &published {
        let record = at(step);
        assert_eq!(
            (step["key"].as_str(), step["event"].as_str()),
            (Some(&*record.key), Some(&*record.headers["ce_type"]))
        );
    }
    assert_eq!(published.len(), 11);
    assert_eq!(super::judge::judged(&place), 0);
    assert_eq!(sent(&place.topic("orders-replay")).len(), 11);
}

#[test]
fn on_narrow_terminals_lessons_are_wrapped_and_facts_are_the_same() {
    TRANSCRIPT.is_wrapped(|place| place.es(&[]));
}
