//! The consumers of the orders' events by the real program: the topics are counted by kcat and a script, the receiver of
//! notifications is a server of the test's own.
//!
//! The store is SQLite, or a schema of its own on the PostgreSQL that `KAFKALAB_TEST_POSTGRES` names.

mod away;
mod killed;
mod metrics;
mod receiver;
mod refused;
mod search;
mod wrong;

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    es::Place,
    harness::{Program, kcat, program},
    membership::until,
    process::{Running, start},
};

const TOPICS: [&str; 3] = ["orders", "payments", "shipments"];

impl Place {
    /// `kafkalab grpc-consumer ARGUMENTS` here.
    pub fn consumer(&self, arguments: &[&str]) -> Program {
        self.pattern("grpc-consumer", arguments)
    }
}

fn consuming(place: &Place, arguments: &[&str]) -> Running {
    start(place.consumer(arguments))
}

/// So many steps of orders' lives, published.
fn write(place: &Place, count: u32, seed: u32) {
    place.cqrs(&["write", "-n", &count.to_string(), "--seed", &seed.to_string(), "-q"]).run().ok();
}

fn stats(place: &Place) -> Value {
    let said = place.consumer(&["stats", "--json", "-n", "10000"]).run().ok().text();
    serde_json::from_str(&said).expect("a document")
}

/// Until analytics has counted so many orders.
fn until_counted(place: &Place, orders: u64) {
    until("all orders counted", Duration::from_secs(90), || {
        let stats = stats(place);
        if stats["orders"] == orders { Ok(()) } else { Err(stats["orders"].to_string()) }
    });
}

/// A column of a document per line.
fn listed(place: &Place, arguments: &[&str]) -> Vec<Value> {
    let said = place.consumer(&["--json"]).arguments(arguments).run().ok().text();
    said.lines().map(|line| serde_json::from_str(line).expect("a document")).collect()
}

/// Orders that one search finds.
const MOST: usize = 10_000;

/// What the program says, in the script's words.
fn told(place: &Place) -> Value {
    let stats = stats(place);
    let tally = |rows: &Value, key: &str| -> Value {
        let rows = rows.as_array().expect("rows").iter();
        rows.map(|row| (row[key].as_str().expect("a key").to_owned(), row["orders"].clone())).collect()
    };
    // every document has its status as a word, and its product
    let products = || stats["products"].as_array().expect("rows").iter().filter_map(|row| row["product_id"].as_str());
    let found = ["awaited", "created", "paid", "shipped", "cancelled"].iter().flat_map(|status| {
        let search = |words: &[&str]| listed(place, &[&["search", "-n", &MOST.to_string()], words].concat());
        let all = search(&[status]);
        if all.len() < MOST { all } else { products().flat_map(|product| search(&[status, product])).collect() }
    });
    let documents = found.map(|found| {
        let order = found["order_id"].as_str().expect("an order").to_owned();
        (order, json!([found["status"], found["user_id"], found["product_id"]]))
    });
    json!({
        "counts": {
            "events": stats["events"], "users": tally(&stats["users"], "user_id"),
            "products": tally(&stats["products"], "product_id"), "days": tally(&stats["days"], "day"),
        },
        "documents": documents.collect::<serde_json::Map<_, _>>(),
    })
}

/// What kcat finds in the topics, counted by a script that knows nothing of this program; and the orders that were created.
fn counted(place: &Place) -> (Value, Vec<String>) {
    let mut dump = Vec::new();
    for topic in TOPICS {
        let topic = place.topic(topic);
        let reader = ["-C", "-t", &topic, "-e", "-q", "-X", "isolation.level=read_committed", "-f", "%h\t%s\n"];
        dump.extend(kcat(reader).run().ok().stdout);
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/grpc_consumer/count.py");
    let counted = program("python3", [script]).stdin(dump).run().ok();
    let mut counted: Value = serde_json::from_slice(&counted.stdout).expect("a document");
    let created = counted["created"].take();
    counted.as_object_mut().expect("a document").remove("created");
    (counted, serde_json::from_value(created).expect("orders"))
}

/// The tables of counts and index, as text.
fn tables(place: &Place) -> Vec<Vec<Vec<String>>> {
    let text = |column: &str| match place.is_postgres() {
        true => format!("convert_from({column}, 'UTF8')"),
        false => format!("CAST({column} AS TEXT)"),
    };
    let statements = [
        "SELECT name, key, count FROM counts WHERE count <> 0 ORDER BY name, key".to_owned(),
        format!("SELECT id, time_ms, words, {} FROM documents ORDER BY id", text("data")),
        format!("SELECT id, {} FROM states WHERE kind = 'search-order' ORDER BY id", text("data")),
    ];
    statements.iter().map(|statement| place.sql(statement)).collect()
}

/// To the end of what is published: Kafka may show the records of a transaction a moment after its commit.
fn drain(place: &Place, arguments: &[&str]) {
    let (expected, _) = counted(place);
    until("everything is counted and found", Duration::from_secs(120), || {
        place.consumer(&["--once", "-q"]).arguments(arguments).run().ok();
        let told = told(place);
        if told == expected { Ok(()) } else { Err(format!("{told}\n{expected}")) }
    });
}

/// Counts and index are what kcat and the script say, and a store that reads all of it for the first time has the same rows.
#[track_caller]
fn judged(place: &Place) {
    let (expected, _) = counted(place);
    assert_eq!(told(place), expected);
    let mut anew = Place::new("anew");
    anew.prefix = place.prefix.clone();
    drain(&anew, &[]);
    let rows = tables(place);
    assert!(rows.iter().all(|table| table.len() > 1), "{rows:?}");
    assert_eq!(tables(&anew), rows);
}
