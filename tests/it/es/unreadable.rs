//! What the program cannot read: it stops there, says where, and skips nothing. A snapshot alone may be thrown away.

use super::{
    Place,
    judge::{Sent, all_sent, sent},
};

const PAID: &str = "orders.v9.OrderPaid";

/// An order whose second event is of a version that a newer program has invented.
fn newer(word: &str) -> (Place, String) {
    let place = Place::new(word);
    place.done(&["create", "--price", "USD:1", "--order", "before"]);
    let order = place.done(&["create", "--price", "USD:9.99", "--order", "newer"]);
    place.insert(&format!("order-{order}"), 2, PAID, "{}");
    place.done(&["create", "--price", "USD:1", "--order", "behind"]);
    (place, order)
}

fn cause() -> String {
    let known = "orders.v1.OrderCreated, orders.v1.OrderPaid, orders.v1.OrderShipped, orders.v1.OrderCancelled, \
                 orders.v1.PaymentRefunded, orders.v0.OrderCreated";
    format!("{PAID:?} has a version that this program does not know; it knows {known}")
}

#[test]
fn an_event_of_an_unknown_version_stops_whoever_needs_it_and_says_where_it_is() {
    let (place, order) = newer("newer");
    let said = format!(
        "error: stream order-newer, version 2, position 3: {}\nhint: nothing is skipped: is there a newer kafkalab that \
         knows it?\n",
        cause()
    );
    for command in
        [&["state", &order][..], &["pay", &order], &["ship", &order], &["cancel", &order], &["diff", &order, "0", "2"]]
    {
        let ended = place.es(command).run();
        assert_eq!((ended.code(), ended.text(), ended.stderr), (1, String::new(), said.clone()), "{command:?}");
    }
    let ended = place.es(&["history", &order]).run();
    assert_eq!((ended.code(), &ended.stderr), (1, &said));
    // what is there is shown
    assert!(
        ended.text().lines().nth(2).is_some_and(|line| line.contains(&format!("{PAID} (unreadable)"))),
        "{ended:?}"
    );
    let ended = place.es(&["history", &order, "-J"]).run();
    assert_eq!((ended.code(), &ended.stderr), (1, &said));
    // before it, and beside it, all is well
    assert_eq!(place.done(&["state", &order, "--version", "1"]), "created");
    assert_eq!(place.done(&["state", "behind"]), "created");
}

#[test]
#[ignore = "needs kcat"]
fn the_publisher_and_a_replay_stop_there_and_skip_nothing() {
    let (place, _) = newer("newer-published");
    let stops = |ended: crate::harness::Ended| {
        let id =
            ended.stderr.split("event ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned();
        let said = format!(
            "error: event {id} (position 3, stream \"order-newer\", version 2) cannot be published: {}\n",
            cause()
        );
        assert!(ended.code() == 1 && ended.stderr.contains(&said), "{ended:?}");
    };
    let keys =
        |records: &[Sent]| records.iter().map(|record| record.key.clone()).collect::<std::collections::BTreeSet<_>>();
    let before: std::collections::BTreeSet<_> = ["before".to_owned(), "newer".to_owned()].into();
    for _ in 0..2 {
        stops(place.es(&["publish", "--once"]).run());
        assert_eq!(keys(&all_sent(&place)), before);
        assert_eq!(all_sent(&place).len(), 2);
    }
    // who does not end by itself stops all the same
    stops(place.es(&["publish"]).run());
    stops(place.es(&["replay", "--dry-run"]).run());
    stops(place.es(&["replay", "--topic", &place.topic("again")]).run());
    // known by then: it goes on where it stopped
    place.sql("UPDATE events SET event_type = 'orders.v1.OrderPaid' WHERE position = 3 RETURNING position");
    place.es(&["publish", "--once"]).run().ok();
    assert_eq!(super::judge::judged(&place), 0);
}

#[test]
#[ignore = "needs kcat"]
fn an_old_event_is_read_and_published_in_todays_shape() {
    let place = Place::new("older");
    place.done(&["create", "--price", "USD:1", "--order", "first"]);
    let old = r#"{"order_id":"old","user_id":"ada","product_id":"lamp","amount_cents":9999,"currency":"USD"}"#;
    place.insert("order-old", 1, "orders.v0.OrderCreated", old);
    let state = place.es(&["state", "old"]).run().ok().text();
    assert_eq!(state, "order old, version 1: created, lamp for ada, USD:99.99\n");
    place.es(&["publish", "--once"]).run().ok();
    let sent = sent(&place.topic("orders")).into_iter().find(|record| record.key == "old").expect("the old one");
    assert_eq!(sent.headers["ce_type"], "orders.v1.OrderCreated");
    let value: serde_json::Value = serde_json::from_str(&sent.value).expect("JSON");
    assert_eq!(value["price"], serde_json::json!({"currency": "USD", "amount": "99.99"}));
}

#[test]
fn a_snapshot_that_is_damaged_or_says_too_much_is_made_anew() {
    let place = Place::new("snapshot");
    place.done(&["create", "--price", "USD:9.99", "--order", "long"]);
    let data = |payment: usize| {
        format!(
            r#"{{"order_id":"long","user_id":"ada","payment_id":"p{payment}","amount":{{"currency":"USD","amount":"9.99"}}}}"#
        )
    };
    // no order lives so long: repeated payments, as the log would have them
    for version in 2..=99 {
        place.insert("order-long", version, "orders.v1.OrderPaid", &data(version as usize));
    }
    place.done(&["ship", "long"]); // version 100
    assert_eq!(place.sql("SELECT stream_id, version FROM snapshots"), [["order-long", "100"]]);
    let state = place.es(&["state", "long", "-J"]).run().ok().text();
    for damage in [
        format!("state = {}", place.bytes("{}")),
        "checksum = checksum + 1".to_owned(),
        "version = 7".to_owned(),
        "schema = schema + 1".to_owned(),
    ] {
        place.sql(&format!("UPDATE snapshots SET {damage} RETURNING version"));
        assert_eq!(place.es(&["state", "long", "-J"]).run().ok().text(), state, "{damage}");
        assert!(place.sql("SELECT version FROM snapshots").is_empty(), "{damage}");
        let statement = "UPDATE events SET version = version RETURNING position"; // the next command takes a new one
        place.sql(statement);
        break_and_remake(&place);
    }
}

/// A snapshot of the stream as it is, by the library, as a command at version 100 takes it.
fn break_and_remake(place: &Place) {
    place.sql("DELETE FROM events WHERE stream_id = 'order-long' AND version = 100 RETURNING position");
    place.done(&["ship", "long"]);
    assert_eq!(place.sql("SELECT version FROM snapshots"), [["100"]]);
}
