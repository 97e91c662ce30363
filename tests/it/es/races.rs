//! Writers that meet, and clocks that go back.

use std::thread;

use super::{Place, judge::log};

#[test]
fn of_ten_that_have_seen_one_version_one_wins_each() {
    let place = Place::new("race");
    let order = place.done(&["create", "--price", "USD:9.99"]);
    // the same version: a payment, ten times by other ids, so that no one is a repeat of another
    let ended: Vec<_> = thread::scope(|scope| {
        let pay = |number: usize| {
            let (place, order) = (&place, &order);
            move || {
                let payment = format!("payment-{number}");
                place.es(&["pay", order, "--payment", &payment, "--expect", "1"]).run()
            }
        };
        let running: Vec<_> = (0..10).map(|number| scope.spawn(pay(number))).collect();
        running.into_iter().map(|running| running.join().expect("a writer")).collect()
    });
    assert_eq!(ended.iter().filter(|ended| ended.code() == 0).count(), 1, "{ended:?}");
    let said = format!(
        "error: order {order}: expected version 1, and it is at version 2\n\
         hint: somebody was quicker: look at it with `kafkalab es history`, and decide on version 2\n"
    );
    for lost in ended.iter().filter(|ended| ended.code() != 0) {
        assert_eq!((lost.code(), lost.text(), &lost.stderr), (1, String::new(), &said));
    }
    assert_eq!(log(&place).len(), 2);
}

#[test]
fn without_a_version_all_that_the_rules_allow_is_done_once() {
    let place = Place::new("race-any");
    let order = place.done(&["create", "--price", "USD:9.99"]);
    // the same payment ten times is one payment
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| place.es(&["pay", &order]).run().ok());
        }
    });
    assert_eq!(log(&place).len(), 2);
    // ten orders and one store
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| place.done(&["create", "--price", "USD:1"]));
        }
    });
    assert_eq!(log(&place).len(), 12);
}

#[test]
fn the_first_ten_to_open_a_store_all_find_it_made() {
    let place = Place::new("first");
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| place.done(&["create", "--price", "USD:1"]));
        }
    });
    assert_eq!(log(&place).len(), 10);
    assert_eq!(place.sql("SELECT count(*) FROM store"), [["1"]]);
}

#[test]
#[ignore = "needs kcat"]
fn a_clock_an_hour_off_changes_no_order() {
    let place = Place::new("clock");
    let order = place.done(&["create", "--price", "USD:9.99"]);
    place.done(&["pay", &order]);
    place.done(&["ship", &order]);
    let before = place.done(&["state", &order]);
    // the second event by a clock that was an hour ahead
    place.sql("UPDATE events SET recorded_at_ms = recorded_at_ms + 3600000 WHERE version = 2 RETURNING position");
    assert_eq!((place.done(&["state", &order]), before.as_str()), ("shipped".to_owned(), "shipped"));
    let history = place.es(&["history", &order, "-J"]).run().ok().text();
    let history: serde_json::Value = serde_json::from_str(&history).expect("JSON");
    let events = history["events"].as_array().expect("events");
    assert_eq!(events.iter().map(|event| event["version"].as_u64().unwrap_or(0)).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(events[1]["ts"].as_i64() > events[2]["ts"].as_i64());
    // at a time between them: a state that there was, never the third event without the second
    let third = events[2]["ts"].to_string();
    assert_eq!(place.done(&["state", &order, "--at", &third]), "created");
    place.es(&["publish", "--once"]).run().ok();
    assert_eq!(super::judge::judged(&place), 0);
}
