//! Single commands: ids, refusals, waiting for the read side.

use serde_json::Value;

use super::{read_on, reading, stats};
use crate::es::Place;

fn events(place: &Place) -> usize {
    place.sql("SELECT count(*) FROM events")[0][0].parse().expect("a count")
}

#[test]
fn the_same_command_id_again_gives_the_same_answer_and_no_new_event() {
    let place = Place::new("command-id");
    let json = |arguments: &[&str]| -> Value {
        let said = place.cqrs(arguments).arguments(["--json"]).run().ok().text();
        serde_json::from_str(&said).expect("a document")
    };
    let create = ["write", "create", "--price", "USD:9.99", "--command-id", "c-1"];
    let first = json(&create);
    let order = first["order_id"].as_str().expect("an order").to_owned();
    json(&["write", "pay", &order, "--command-id", "c-2"]);
    json(&["write", "cancel", &order, "--command-id", "c-3"]);
    assert_eq!(events(&place), 4);
    // whatever has become of the order since
    for (arguments, is_repeat) in [(create.to_vec(), true), (vec!["write", "create", "--price", "USD:1"], false)] {
        assert_eq!(json(&arguments)["is_repeat"], is_repeat, "{arguments:?}");
    }
    let again = json(&create);
    for part in ["order_id", "version", "events", "position", "order"] {
        assert_eq!(again[part], first[part], "{part}");
    }
    let cancelled = json(&["write", "cancel", &order, "--command-id", "c-3"]);
    assert_eq!((cancelled["version"].as_u64(), cancelled["events"].as_array().map(Vec::len)), (Some(4), Some(2)));
    assert_eq!(events(&place), 5);
    let other = place.cqrs(&["write", "ship", &order, "--command-id", "c-1"]).run();
    assert!(other.code() == 1 && other.stderr.contains("\"c-1\" was used for another command"), "{other:?}");
}

#[test]
fn a_refusal_under_an_id_stands_although_the_order_has_changed() {
    let place = Place::new("refused-id");
    let order = place.cqrs(&["write", "create", "--price", "USD:9.99", "-q"]).run().ok().text().trim().to_owned();
    let ship = || place.cqrs(&["write", "ship", &order, "--command-id", "early"]).run();
    let first = ship();
    assert!(first.code() == 1 && first.stderr.contains("is not paid"), "{first:?}");
    place.cqrs(&["write", "pay", &order]).run().ok();
    let again = ship();
    assert_eq!((again.code(), again.stderr), (1, first.stderr));
    place.cqrs(&["write", "ship", &order, "--command-id", "later"]).run().ok();
    assert_eq!(events(&place), 3);
}

#[test]
fn what_the_rules_refuse_ends_with_1_and_says_why() {
    let place = Place::new("refused");
    let order = place.cqrs(&["write", "create", "--price", "USD:9.99", "-q"]).run().ok().text().trim().to_owned();
    let refused = |arguments: &[&str], why: &str| {
        let ended = place.cqrs(&["write"]).arguments(arguments).run();
        assert!(ended.code() == 1 && ended.stderr.contains(why), "{arguments:?}: {ended:?}");
    };
    refused(&["pay", "nobody", "--amount", "USD:1"], "order nobody is not there");
    refused(&["pay", &order, "--amount", "USD:9.98"], "the payment is USD:9.98");
    place.cqrs(&["write", "pay", &order]).run().ok();
    refused(&["pay", &order, "--payment", "second"], "is paid already");
    place.cqrs(&["write", "cancel", &order]).run().ok();
    refused(&["ship", &order], "is cancelled");
    assert_eq!(events(&place), 4);
}

#[test]
fn wait_returns_when_the_read_side_knows_it_or_fails_after_its_time() {
    let place = Place::new("wait");
    let late = place.cqrs(&["write", "create", "--price", "USD:1", "--order", "a", "--wait=300ms"]).run();
    assert!(late.code() == 4 && late.stderr.contains("does not know order a yet"), "{late:?}");
    let reader = reading(&place, &[]);
    place.cqrs(&["write", "create", "--price", "USD:1", "--order", "b", "--wait=60s"]).run().ok();
    assert_eq!(stats(&place)["orders"], 2);
    place.cqrs(&["write", "-n", "40", "--seed", "3", "--wait=60s", "-q"]).run().ok();
    let log = place.sql("SELECT count(DISTINCT stream_id) FROM events");
    assert_eq!(stats(&place)["orders"].to_string(), log[0][0]);
    drop(reader);
}

#[test]
#[ignore = "needs kcat"]
fn commands_by_other_ways_are_in_the_same_log_and_the_same_models() {
    let place = Place::new("all-ways");
    place.cqrs(&["write", "create", "--price", "USD:1", "--order", "a"]).run().ok();
    place.es(&["create", "--price", "USD:1", "--order", "b"]).run().ok();
    place.outbox(&["order", "--price", "USD:1", "--order", "c"]).run().ok();
    place.es(&["publish", "--once"]).run().ok();
    place.outbox(&["relay", "--once"]).run().ok();
    read_on(&place, &["-q"]);
    super::judged(&place);
    assert_eq!(stats(&place)["orders"], 3);
}
