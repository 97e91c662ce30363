//! Mistakes, as a stranger makes them: what is wrong, where, and what to do instead. Nothing is written.

use std::time::Duration;

use rustix::process::Signal;
use uuid::Uuid;

use super::{PUBLISHED, create, relay};
use crate::{cli::expect, es::Place, harness::kafkalab, membership::until, transcript::nobody_listens};

const MORE: &str = "\nFor more information, try '--help'.\n";

#[test]
fn a_message_that_is_not_there_or_not_parked_is_named_and_nothing_is_changed() {
    let place = Place::new("unknown");
    place.handle(vec![]); // makes the store
    let id = Uuid::now_v7().to_string();
    let said = format!("error: message {id} is not in the outbox\nhint: `kafkalab outbox list` shows what is there\n");
    for command in [&["show"][..], &["show", "-J"], &["retry"], &["discard", "-y"]] {
        expect(place.outbox(command).arguments([&id]), 1, "", &said);
    }
    expect(place.outbox(&["list"]), 0, "", "the outbox is empty\n");
    expect(place.outbox(&["list", "-J"]), 0, "", "");
    expect(place.outbox(&["retry", "--all"]), 0, "", "0 messages now waiting\n");
    place.take(vec![create("o")]);
    let parked = place.insert_row("p", "orders.v1.OrderCreated", "no JSON", None).to_string();
    place.outbox(&["relay", "--once", "-q"]).run();
    let there = place.outbox(&["list", "--status", "published", "-J"]).run().ok().text();
    let there: serde_json::Value = serde_json::from_str(&there).expect("a message");
    let there = there["id"].as_str().expect("an id");
    let said = format!("error: message {there} is published, not parked; nothing was changed\n");
    for command in [&["retry", &parked][..], &["discard", "-y", &parked]] {
        expect(place.outbox(command).arguments([there]), 1, "", &said);
    }
    assert_eq!(place.sql("SELECT status FROM outbox_status ORDER BY status"), [["1"], ["2"]]);
}

#[test]
fn who_discards_without_a_terminal_says_so() {
    let place = Place::new("ask");
    place.take(vec![create("o")]);
    let parked = place.insert_row("p", "orders.v1.OrderCreated", "no JSON", None).to_string();
    place.outbox(&["relay", "--once", "-q"]).run();
    let said = "error: discarding messages asks first, and there is no terminal to ask on\n\
                hint: -y discards without asking\n";
    expect(place.outbox(&["discard", &parked]), 2, "", said);
    assert_eq!(place.count(super::PARKED), 1);
    for (answer, code, parked_still) in [("n\n", 1, 1), ("y\n", 0, 0)] {
        let ended = crate::process::on_terminal(place.outbox(&["discard", &parked]), 80, answer.as_bytes());
        assert_eq!((ended.code(), place.count(super::PARKED)), (code, parked_still), "{ended:?}");
        assert!(ended.text().contains("give up 1 message, never to be published?"), "{ended:?}");
    }
}

#[test]
fn what_the_rules_refuse_is_said_and_takes_nothing() {
    let place = Place::new("rules");
    place.outbox(&["order", "--price", "USD:9.99", "--order", "o", "-q"]).run().ok();
    for (price, said) in [
        (["--price", "USD:1", "--order", "o"], "order o is there already, with other contents"),
        (["--price", "USD:0", "--order", "p"], "the price of order p is USD:0.00, it must be more than zero"),
        (["--price", "USD:-1", "--order", "p"], "the price of order p is USD:-1.00, it must be more than zero"),
    ] {
        expect(place.outbox(&["order"]).arguments(price), 1, "", &format!("error: {said}\n"));
    }
    let again = place.outbox(&["order", "--price", "USD:9.99", "--order", "o"]);
    let said = "1 order taken; 1 message waiting\n";
    expect(again, 0, "o  was taken before\n", said);
    assert_eq!(place.sql("SELECT count(*) FROM outbox"), [["1"]]);
}

#[test]
fn malformed_words_are_usage() {
    let place = Place::new("malformed");
    place.take(vec![create("o")]);
    let value = |value: &str, of: &str, why: &str| format!("error: invalid value '{value}' for '{of}': {why}\n{MORE}");
    let time = "is not a time; write 500ms, 5s or 2m";
    let no_id = "an id is like 01a2b3c4-0000-7000-8000-000000000001; a list has them";
    for (command, said) in [
        (&["show", "nope"][..], value("nope", "<ID>", no_id)),
        (&["retry", "nope"], value("nope", "[ID]...", no_id)),
        (&["discard", "-y", "nope"], value("nope", "<ID>...", no_id)),
        (&["retry"], "error: name the messages, or --all\n".to_owned()),
        (
            &["list", "--status", "done"],
            value("done", "--status <STATUS>", "write one of waiting, published, parked, held, discarded"),
        ),
        (&["list", "-n", "x"], value("x", "--num <N>", "invalid digit found in string")),
        (
            &["order", "--price", "9.99"],
            value("9.99", "--price <PRICE>", "\"9.99\" has no currency: write currency and amount, such as USD:99.99"),
        ),
        (&["order", "--price", "USD:1", "-n", "0"], value("0", "--num <N>", "0 is not in 1..=4294967295")),
        (&["order", "--price", "USD:1", "--order", ""], value("", "--order <ID>", "the order's id is empty")),
        (
            &["purge", "--older-than", "1w"],
            value("1w", "--older-than <TIME>", &format!("`1w` {time}, or days such as 7d")),
        ),
        (
            &["purge", "--inbox-older-than", "99999999d"],
            value("99999999d", "--inbox-older-than <TIME>", &format!("`99999999d` {time}, or days such as 7d")),
        ),
        (&["relay", "--batch", "0"], value("0", "--batch <N>", "0 is not in 1..=100000")),
        (&["relay", "--every", "0"], value("0", "--every <TIME>", &format!("`0` {time}"))),
        (&["relay", "--once", "--give-up-after", "x"], value("x", "--give-up-after <TIME>", &format!("`x` {time}"))),
        (&["consume", "--batch", "100001"], value("100001", "--batch <N>", "100001 is not in 1..=100000")),
    ] {
        expect(place.outbox(command), 2, "", &said);
    }
    for line in [
        "order",
        "order --price USD:1 --order x -n 2",
        "order --price USD:9.999",
        "relay --give-up-after 1s",
        "consume --give-up-after 1s",
        "retry --all 01a20f97-ad4f-73a1-b62c-913a08bdbd4a",
        "discard",
        "discard -y",
        "show",
        "list -n -1",
        "relay --crash-at relay",
        "consume --crash-at relay.after-ack:0",
        "frobnicate",
    ] {
        let ended = place.outbox(&line.split(' ').collect::<Vec<_>>()).run();
        assert!(
            ended.code() == 2 && ended.stdout.is_empty() && ended.stderr.starts_with("error: "),
            "{line}: {ended:?}"
        );
    }
    let ended = place.outbox(&["consume", "-g", ""]).run();
    assert!(ended.code() == 2 && ended.stderr.contains("group"), "{ended:?}");
    assert_eq!(place.sql("SELECT count(*) FROM outbox"), [["1"]]);
}

#[test]
fn without_a_broker_once_is_unreachable_and_tells_of_two_ways_to_have_one() {
    nobody_listens();
    let place = Place::new("nowhere");
    place.take(vec![create("o")]);
    let said = "error: connecting: no broker reachable at localhost:9092: Connection refused (os error 111)\n\
                hint: start a broker with `kafkalab broker` (no Docker needed) or `just up` (Docker), or name one with \
                --brokers\n";
    for command in [&["relay", "--once"][..], &["consume", "--once"]] {
        expect(place.outbox(command).env_remove("KAFKALAB_BROKERS"), 3, "", said);
        let named = place.outbox(command).env("KAFKALAB_BROKERS", "localhost:1").run();
        assert!(named.code() == 3 && named.stderr.contains("It comes from environment KAFKALAB_BROKERS"), "{named:?}");
    }
    // what needs no broker asks none
    for command in [&["list"][..], &["purge"], &["stock"], &["retry", "--all"]] {
        place.outbox(command).env("KAFKALAB_BROKERS", "localhost:1").run().ok();
    }
    assert_eq!(place.count(super::WAITING), 1);
}

#[test]
fn only_what_is_old_enough_is_purged_and_nothing_that_is_not_published() {
    let place = Place::new("purge");
    place.take(vec![create("old"), create("new")]);
    let parked = place.insert_row("p", "orders.v1.OrderCreated", "no JSON", None);
    place.insert_row("p", "orders.v1.OrderCreated", "{}", None);
    place.outbox(&["relay", "--once", "-q"]).run();
    place.outbox(&["consume", "--once", "-q", "-g", &place.topic("group")]).run().ok();
    place.take(vec![create("waiting")]);
    let week = 7 * 86_400_000 + 60_000;
    place.sql(&format!(
        "UPDATE outbox SET created_at_ms = created_at_ms - {week} WHERE aggregateid = 'old' OR aggregateid = 'p' RETURNING seq"
    ));
    // the order; what the handler says of it waits still
    expect(place.outbox(&["purge"]), 0, "", "1 message removed\n");
    let left = place.outbox(&["purge", "--older-than", "1ms", "--inbox-older-than", "1ms", "-J"]).run().ok().text();
    let left: serde_json::Value = serde_json::from_str(&left).expect("JSON");
    assert_eq!((&left["messages"], &left["inbox"]), (&1.into(), &2.into()));
    let list = kafkalab(["outbox", "list", "--store", &place.url()]).run().ok();
    assert!(list.text().contains(&parked.to_string()), "{list:?}");
    assert!(list.stderr.starts_with("3 waiting, 1 parked, 1 held; "), "{list:?}");
}

#[test]
fn a_relay_removes_what_is_published_and_old_and_nothing_else() {
    let place = Place::new("tidy");
    place.take(vec![create("old"), create("new")]);
    place.insert_row("parked", "orders.v1.OrderCreated", "no JSON", None);
    place.insert_row("parked", "orders.v1.OrderCreated", "{}", None);
    place.outbox(&["relay", "--once", "-q"]).run();
    let hours = 3 * 3_600_000;
    place.sql(&format!(
        "UPDATE outbox SET created_at_ms = created_at_ms - {hours} WHERE aggregateid <> 'new' RETURNING seq"
    ));
    let mut relay = relay(&place, &["--purge-older-than", "120m"]);
    until("one that is published", Duration::from_secs(20), || match place.count(PUBLISHED) {
        1 => Ok(()),
        count => Err(format!("{count} are left")),
    });
    relay.signal(Signal::INT);
    relay.end();
    let left = place.sql("SELECT aggregateid FROM outbox ORDER BY aggregateid");
    assert_eq!(left, [["new"], ["parked"], ["parked"]]);
    assert_eq!((place.count(super::PARKED), place.count(super::HELD)), (1, 1));
}
