//! Events of the log once more: marked, and nothing else moves.

use super::{
    Place,
    judge::{all_sent, judged, sent},
};

const HEADER: &str = "kafkalab-replay";

fn published(word: &str) -> Place {
    let place = Place::new(word);
    for order in ["a", "b"] {
        place.done(&["create", "--price", "USD:9.99", "--order", order]);
        place.done(&["pay", order]);
    }
    place.es(&["publish", "--once"]).run().ok();
    place
}

fn checkpoint(place: &Place) -> Vec<Vec<String>> {
    place.sql("SELECT name, position FROM checkpoints")
}

fn replay_id(place: &Place, arguments: &[&str]) -> String {
    let json = place.es(&["replay", "-J"]).arguments(arguments).run().ok().text();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["events"], &json["orders"]), (&4.into(), &2.into()), "{json}");
    json["replay_id"].as_str().expect("an id").to_owned()
}

#[test]
#[ignore = "needs kcat"]
fn a_dry_run_reads_all_and_sends_nothing() {
    let place = published("dry");
    // no broker is asked
    let ended = place.es(&["replay", "--dry-run"]).env("KAFKALAB_BROKERS", "localhost:1").run().ok();
    assert_eq!(
        ended.text(),
        "EVENT TYPE              EVENTS\norders.v1.OrderCreated       2\norders.v1.OrderPaid          2\n"
    );
    assert_eq!(ended.stderr, "4 events read\n");
    assert_eq!(judged(&place), 0);
    let part = place.es(&["replay", "--dry-run", "--from", "2", "--to", "3"]).run().ok();
    assert_eq!(part.stderr, "2 events read\n");
}

#[test]
#[ignore = "needs kcat"]
fn each_record_is_marked_and_no_checkpoint_moves() {
    let place = published("marked");
    let before = checkpoint(&place);
    assert_eq!(before, [["event-log", "4"]]);
    let originals = all_sent(&place);
    assert!(originals.iter().all(|record| !record.headers.contains_key(HEADER)));
    // to one topic: the events as they were, in the log's order for each order
    let again = place.topic("again");
    let id = replay_id(&place, &["--topic", &again]);
    let copies = sent(&again);
    assert_eq!(copies.len(), 4);
    for copy in &copies {
        assert_eq!(copy.headers[HEADER], id);
        let original = originals.iter().find(|original| original.id() == copy.id()).expect("the original");
        let mut headers = copy.headers.clone();
        headers.remove(HEADER);
        assert_eq!((&headers, &copy.key, &copy.value), (&original.headers, &original.key, &original.value));
    }
    for order in ["a", "b"] {
        let types: Vec<_> =
            copies.iter().filter(|copy| copy.key == order).map(|copy| &copy.headers["ce_type"]).collect();
        assert_eq!(types, ["orders.v1.OrderCreated", "orders.v1.OrderPaid"]);
    }
    // to the topics where they were
    let other = replay_id(&place, &[]);
    assert_ne!(other, id);
    let all = all_sent(&place);
    assert_eq!(all.iter().filter(|record| !record.headers.contains_key(HEADER)).count(), 4);
    let marked: Vec<_> = all.iter().filter_map(|record| record.headers.get(HEADER)).collect();
    assert_eq!(marked, [&other; 4]);
    assert_eq!(checkpoint(&place), before);
    assert_eq!(place.es(&["publish", "--once"]).run().ok().stderr, "0 events published\n");
    assert_eq!(judged(&place), 4);
}

#[test]
#[ignore = "needs kcat"]
fn what_is_not_published_yet_is_published_after_a_replay() {
    let place = published("behind");
    place.done(&["create", "--price", "USD:1", "--order", "c"]);
    let ended = place.es(&["replay", "--from", "5"]).run().ok();
    assert_eq!(ended.stderr, "1 event sent once more\n");
    assert_eq!(place.es(&["publish", "--once"]).run().ok().stderr, "1 event published\n");
    assert_eq!(judged(&place), 1);
}
