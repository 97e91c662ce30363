//! The search index: what is typed finds what is meant, and is never a mistake of a query language.

use kafkalab::app::order::{CreateOrder, OrderCommand};

use super::listed;
use crate::{cli::expect, es::Place};

fn create(order: &str, user: &str, product: &str, price: &str) -> OrderCommand {
    CreateOrder {
        order_id: order.parse().expect("an id"),
        user_id: user.parse().expect("an id"),
        product_id: product.parse().expect("an id"),
        price: price.parse().expect("a price"),
    }
    .into()
}

/// Four orders that are indexed.
fn indexed(word: &str) -> Place {
    let place = Place::new(word);
    place.take(vec![
        create("o-1", "user-123", "lamp", "USD:9.99"),
        create("o-2", "user-12", "table lamp", "EUR:120"),
        create("o-3", "Zoë O'Neil", "CAFÉ \"crème\" AND more", "USD:3.50"),
        create("o-4", "名前", "100% wool; DROP TABLE documents;--", "JPY:500"),
    ]);
    place.outbox(&["relay", "--once", "-q"]).run().ok();
    place.consumer(&["--once", "-q", "--only", "search-index"]).run().ok();
    place
}

fn found(place: &Place, words: &str) -> Vec<String> {
    let mut orders: Vec<String> = listed(place, &["search", "--", words])
        .iter()
        .map(|found| found["order_id"].as_str().expect("an order").to_owned())
        .collect();
    orders.sort();
    orders
}

#[test]
fn words_find_orders_whatever_is_typed_around_them() {
    let place = indexed("words");
    let all = ["o-1", "o-2", "o-3", "o-4"];
    for (words, expected) in [
        ("user-123", &["o-1"][..]),
        ("user-12", &["o-2"]),
        ("user-12*", &["o-1", "o-2"]),
        ("USER*", &["o-1", "o-2"]),
        ("123", &["o-1"]),
        ("lamp", &["o-1", "o-2"]),
        ("lamp user-12", &["o-2"]),
        ("lamp wool", &[]),
        ("zoe", &["o-3"]),
        ("ZOË o'neil", &["o-3"]),
        ("cafe\u{301} CRÈME", &["o-3"]),
        ("名*", &["o-4"]),
        ("9.99", &["o-1"]),
        ("usd", &["o-1", "o-3"]),
        ("created", &all),
        ("paid", &[]),
        ("o-3", &["o-3"]),
        // what query languages would make something of
        ("\"lamp", &["o-1", "o-2"]),
        ("lamp\" OR \"wool", &[]),
        ("(lamp)", &["o-1", "o-2"]),
        ("lamp AND", &[]),
        ("and", &["o-3"]),
        ("NOT lamp", &[]),
        ("-lamp", &["o-1", "o-2"]),
        ("^lamp", &["o-1", "o-2"]),
        ("words:lamp", &[]),
        ("NEAR(lamp table, 2)", &[]),
        ("lamp:*", &["o-1", "o-2"]),
        ("lamp & !wool | x", &[]),
        ("'lamp' \\", &["o-1", "o-2"]),
        ("lamp'; DROP TABLE documents;--", &[]),
        ("100% wool;", &["o-4"]),
        ("drop table", &["o-4"]),
        ("xyz", &[]),
    ] {
        assert_eq!(found(&place, words), expected, "{words:?}");
    }
    let long = "x".repeat(100_000);
    assert_eq!(found(&place, &long), Vec::<String>::new());
    for nothing in ["", " ", "\"", "*", "- ( ) ' :", "_", "\u{301}"] {
        let said = "error: there is no word to look for: a word has letters or digits\n";
        expect(place.consumer(&["search", "--", nothing]), 2, "", said);
    }
    let said = "error: 33 words are more than 32\n";
    expect(place.consumer(&["search", &"a ".repeat(33)]), 2, "", said);
}

#[test]
fn what_is_found_is_a_table_or_documents_the_newest_first() {
    let place = indexed("table");
    let ended = place.consumer(&["search", "lamp"]).run().ok();
    let lines: Vec<Vec<&str>> = ended.text().leak().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ORDER", "STATUS", "USER", "PRODUCT", "PRICE", "CREATED"]);
    assert_eq!(lines[1][..6], ["o-2", "CREATED", "user-12", "table", "lamp", "EUR:120.00"]);
    assert_eq!(lines[2][..5], ["o-1", "CREATED", "user-123", "lamp", "USD:9.99"]);
    assert_eq!(lines.len(), 3);
    let one = listed(&place, &["search", "lamp", "-n", "1"]);
    assert_eq!(one.len(), 1);
    assert_eq!(one[0]["order_id"], "o-2");
    expect(place.consumer(&["search", "nobody"]), 0, "", "nothing is found\n");
    expect(place.consumer(&["search", "nobody", "--json"]), 0, "", "");
    // later events change what is found
    place.es(&["pay", "o-1", "-q"]).run().ok();
    place.es(&["publish", "--once", "-q"]).run().ok();
    place.consumer(&["--once", "-q"]).run().ok();
    assert_eq!(found(&place, "paid"), ["o-1"]);
    assert_eq!(found(&place, "created"), ["o-2", "o-3", "o-4"]);
}
