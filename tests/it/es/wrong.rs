//! Mistakes, as a stranger makes them: what is wrong, where, and what to do instead. Nothing is appended.

use super::{Place, judge::log};
use crate::cli::expect;

const MORE: &str = "\nFor more information, try '--help'.\n";

#[test]
fn an_order_that_is_not_there_is_named() {
    let place = Place::new("unknown");
    place.handle(vec![]); // makes the store
    let said = "error: order nope is not there\n\
                hint: `kafkalab es streams` shows what there is; `kafkalab es create --price USD:9.99` makes one\n";
    for command in [
        &["state", "nope"][..],
        &["state", "nope", "-J"],
        &["state", "nope", "--at", "-1h"],
        &["state", "nope", "--version", "0"],
        &["history", "nope"],
        &["history", "nope", "-J"],
        &["diff", "nope", "0", "0"],
        &["pay", "nope"],
        &["pay", "nope", "--amount", "USD:1"],
        &["ship", "nope"],
        &["cancel", "nope"],
    ] {
        expect(place.es(command), 1, "", said);
    }
    expect(place.es(&["streams"]), 0, "", "no streams; `kafkalab es create --price USD:9.99` makes one\n");
    assert_eq!(log(&place), []);
}

#[test]
fn before_its_first_event_an_order_is_not_there() {
    let place = Place::new("before");
    place.done(&["create", "--price", "USD:9.99", "--order", "o"]);
    let history = place.es(&["history", "o", "-J"]).run().ok().text();
    let history: serde_json::Value = serde_json::from_str(&history).expect("JSON");
    let first = &history["events"][0];
    let (began, ts) = (first["time"].as_str().expect("a time"), first["ts"].as_i64().expect("a time"));
    let said = format!(
        "error: order o was not there yet: its first event is of {began}\n\
         hint: `kafkalab es history o` shows what happened when\n"
    );
    let before = (ts - 1).to_string();
    for form in [&[][..], &["-J"], &["-q"]] {
        expect(place.es(&["state", "o", "--at", &before]).arguments(form), 1, "", &said);
    }
    assert_eq!(place.done(&["state", "o", "--at", &ts.to_string()]), "created");
    // version 0 is asked for by its number: the state that every order begins with
    assert_eq!(place.done(&["state", "o", "--version", "0"]), "not there");
}

#[test]
fn a_version_that_is_not_so_is_told_with_the_one_that_is() {
    let place = Place::new("versions");
    place.done(&["create", "--price", "USD:9.99", "--order", "o"]);
    for command in ["pay", "ship", "cancel"] {
        for expected in ["0", "7", "18446744073709551615"] {
            let said = format!(
                "error: order o: expected version {expected}, and it is at version 1\n\
                 hint: somebody was quicker: look at it with `kafkalab es history`, and decide on version 1\n"
            );
            expect(place.es(&[command, "o", "--expect", expected]), 1, "", &said);
        }
    }
    let not_yet = "error: asked for version 9, but the stream ends with version 1\n";
    expect(place.es(&["state", "o", "--version", "9"]), 1, "", not_yet);
    expect(place.es(&["diff", "o", "1", "9"]), 1, "", not_yet);
    assert_eq!(log(&place).len(), 1);
}

#[test]
fn what_the_rules_refuse_is_said_once_and_appends_nothing() {
    let place = Place::new("rules");
    place.done(&["create", "--price", "USD:9.99", "--order", "o"]);
    for (command, said) in [
        (&["pay", "o", "--amount", "USD:1"][..], "order o costs USD:9.99, the payment is USD:1.00"),
        (&["pay", "o", "--amount", "EUR:9.99"], "order o costs USD:9.99, the payment is EUR:9.99"),
        (&["create", "--order", "o", "--price", "USD:1"], "order o is there already, with other contents"),
        (
            &["create", "--order", "p", "--price", "USD:0"],
            "the price of order p is USD:0.00, it must be more than zero",
        ),
        (
            &["create", "--order", "p", "--price", "USD:-1"],
            "the price of order p is USD:-1.00, it must be more than zero",
        ),
        (&["ship", "o"], "order o is not paid"),
    ] {
        let ended = place.es(command).run();
        assert_eq!((ended.code(), ended.text()), (1, String::new()), "{ended:?}");
        assert_eq!(ended.stderr, format!("error: {said}\n"));
    }
    assert_eq!(log(&place).len(), 1);
    let again = place.es(&["create", "--order", "o", "--price", "USD:9.99"]).run().ok();
    assert_eq!(again.stderr, "nothing to do: this was carried out before\n");
    assert_eq!(log(&place).len(), 1);
}

#[test]
fn malformed_words_are_usage() {
    let place = Place::new("malformed");
    place.done(&["create", "--price", "USD:9.99", "--order", "o"]);
    let value = |value: &str, of: &str, why: &str| format!("error: invalid value '{value}' for '{of}': {why}\n{MORE}");
    let long = "x".repeat(300);
    for (command, said) in [
        (
            &["create", "--price", "USD:9.999"][..],
            value(
                "USD:9.999",
                "--price <PRICE>",
                "9.999 is not exact in USD, which has 2 digits behind the point, such as 99.99",
            ),
        ),
        (
            &["create", "--price", "JPY:1.5"],
            value(
                "JPY:1.5",
                "--price <PRICE>",
                "1.5 is not exact in JPY, which has no digits behind the point, such as 99",
            ),
        ),
        (
            &["create", "--price", "XYZ:1"],
            value(
                "XYZ:1",
                "--price <PRICE>",
                "unknown currency \"XYZ\" (three letters of ISO 4217, such as USD, EUR, JPY)",
            ),
        ),
        (
            &["create", "--price", "9.99"],
            value("9.99", "--price <PRICE>", "\"9.99\" has no currency: write currency and amount, such as USD:99.99"),
        ),
        (&["create", "--price", "USD:1", "--order", ""], value("", "--order <ID>", "the order's id is empty")),
        (&["state", ""], value("", "<ORDER>", "the order's id is empty")),
        (&["state", "o", "--version", "x"], value("x", "--version <N>", "invalid digit found in string")),
        (
            &["pay", "o", "--expect", "-1"],
            "error: unexpected argument '-1' found\n\n  tip: to pass '-1' as a value, use '-- -1'\n\nUsage: kafkalab es pay [OPTIONS] <ORDER>\n".to_owned() + MORE,
        ),
        (&["publish", "--batch", "0"], value("0", "--batch <N>", "0 is not in 1..=100000")),
        (
            &["publish", "--once", "--give-up-after", "1"],
            value("1", "--give-up-after <TIME>", "`1` is not a time; write 500ms, 5s or 2m"),
        ),
        (
            &["state", "o", "--at", "yesterday"],
            "error: --at yesterday: write 2026-01-31T08:30:00Z, 2026-01-31, 1769846400 or -1h\n".to_owned(),
        ),
        (
            &["streams", "--crash-at", "relay"],
            value(
                "relay",
                "--crash-at <POINT>",
                "`relay` is no crash point; write POINT or POINT:NTH, with one of append.before-commit, append.after-commit, outbox.before-commit, outbox.after-commit, grpc.before-reply, relay.after-claim, relay.after-send, relay.after-ack, relay.after-mark, handler.before-commit, handler.after-commit, saga.before-commit, saga.after-commit, notify.after-claim, notify.after-send, rebuild.before-switch, rebuild.after-switch",
            ),
        ),
    ] {
        expect(place.es(command), 2, "", &said);
    }
    let ended = place.es(&["create", "--price", "USD:1", "--order", &long]).run();
    assert!(ended.code() == 2 && ended.stderr.contains("--order <ID>"), "{ended:?}");
    for line in [
        "create",
        "create --price USD:",
        "create --price USD:1e9",
        "create --price USD:99999999999999999999",
        "diff o 1",
        "state o --version 1 --at -1h",
        "replay --topic t --dry-run",
        "frobnicate",
    ] {
        let ended = place.es(&line.split(' ').collect::<Vec<_>>()).run();
        assert!(
            ended.code() == 2 && ended.stdout.is_empty() && ended.stderr.starts_with("error: "),
            "{line}: {ended:?}"
        );
    }
    let point = place.es(&["streams"]).env("KAFKALAB_CRASH_AT", "append.after-commit:0").run();
    assert!(point.code() == 2 && point.stderr.contains("is no crash point"), "{point:?}");
    assert_eq!(log(&place).len(), 1);
}

#[test]
fn a_store_that_is_no_address_is_usage_and_its_password_is_not_repeated() {
    let place = Place::new("address");
    let form = "a store is sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE\n";
    for (url, why) in [
        ("mysql://mia:canary@h/d", "neither sqlite: nor postgres: at its beginning"),
        ("store.db", "neither sqlite: nor postgres: at its beginning"),
        ("sqlite:", "no path after sqlite:"),
        ("sqlite::memory:", "a store in memory alone is not offered: name a file"),
    ] {
        for command in [&["streams"][..], &["publish", "--once"], &["create", "--price", "USD:1"], &[]] {
            let said = format!("error: --store: {why}; {form}");
            expect(place.es(command).arguments(["--store", url]), 2, "", &said);
        }
        let ended = place.es(&["streams"]).env("KAFKALAB_STORE", url).run();
        assert!(ended.code() == 2 && ended.stderr.contains(&format!("{why}; {form}")), "{ended:?}");
        assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
    }
    let ended = place.es(&["streams", "--store", "postgres://mia:canary@h:port/d"]).run();
    assert!(ended.code() == 2 && ended.stderr.ends_with(form) && !ended.stderr.contains("canary"), "{ended:?}");
}
