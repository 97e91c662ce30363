//! The demonstration, as it is kept in `transcript.txt`.

use super::judge::effects;
use crate::{
    es::Place,
    transcript::{Killed, Transcript, at},
};

/// Which partition comes first is the cluster's business.
const TRANSCRIPT: Transcript = Transcript { name: "outbox", unordered: &["published", "effect", "repeat"] };

#[test]
fn it_is_as_it_is_kept() {
    let place = Place::new("transcript");
    TRANSCRIPT.holds(&place, &place.outbox(&[]).run().ok());
    let quiet = place.outbox(&["-q"]).run().ok();
    assert_eq!((quiet.text(), quiet.stderr), ("done\n".to_owned(), String::new()));
}

#[test]
fn with_nothing_named_it_hosts_a_broker_and_leaves_nothing_behind() {
    TRANSCRIPT.stands_alone();
}

#[test]
fn killed_it_says_how_to_go_on_and_that_goes_on() {
    let killed = Killed::at("relay.after-ack", "outbox");
    let look = || killed.run("kafkalab outbox list").stderr;
    assert!(look().starts_with("3 waiting"));
    assert!(killed.run("kafkalab outbox relay --once").stderr.ends_with("3 messages published\n"));
    assert_eq!(look(), "3 published\n");
}

#[test]
#[ignore = "needs kcat"]
fn json_lines_tell_the_same_and_each_place_is_true() {
    let place = Place::new("transcript-json");
    let steps = TRANSCRIPT.steps(&place.outbox(&["--json"]).run().ok().text(), |word| match word {
        "outbox" => Some("depth"),
        "effect" | "repeat" => Some("handled"),
        word => Some(word),
    });
    let of = |kind: &'static str| steps.iter().filter(move |step| step["step"] == kind);
    for step in of("published") {
        let record = at(step);
        assert_eq!(step["key"].as_str(), Some(&*record.key));
        assert_eq!(step["event"].as_str(), Some(&*record.headers["ce_type"]));
    }
    let mut seen = std::collections::BTreeSet::new();
    for step in of("handled") {
        assert_eq!(step["message_id"].as_str(), Some(at(step).id()));
        let is_new = seen.insert(step["message_id"].as_str().expect("an id"));
        assert_eq!(step["what"], if is_new { "effect" } else { "repeat" });
    }
    assert_eq!((of("published").count(), of("handled").count(), seen.len()), (6, 6, 5));
    assert_eq!(
        of("taken").map(|step| step["message_id"].as_str()).filter(|id| id.is_some_and(|id| seen.contains(id))).count(),
        5
    );
    assert_eq!(effects(&place), Ok(()));
}

#[test]
fn on_narrow_terminals_lessons_are_wrapped_and_facts_are_the_same() {
    TRANSCRIPT.is_wrapped(|place| place.outbox(&[]));
}
