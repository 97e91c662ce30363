//! Both sides of CQRS by the real program: the tables are read with SQL, the topics are counted by kcat and a script.
//!
//! The store is SQLite, or a schema of its own on the PostgreSQL that `KAFKALAB_TEST_POSTGRES` names.

mod away;
mod commands;
mod killed;
mod rebuild;
mod repeats;
mod sides;
mod transcript;
mod wrong;

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    es::Place,
    harness::{Ended, Program, brokers, program},
    membership::until,
    process::{Running, start},
};

const TOPICS: [&str; 3] = ["orders", "payments", "shipments"];

impl Place {
    /// `kafkalab cqrs ARGUMENTS` here.
    pub fn cqrs(&self, arguments: &[&str]) -> Program {
        self.pattern("cqrs", arguments)
    }
}

fn write(place: &Place, count: u32, seed: u32) -> Ended {
    place.cqrs(&["write", "-n", &count.to_string(), "--seed", &seed.to_string(), "-q"]).run().ok()
}

/// To the end of what is published: Kafka may show the records of a transaction a moment after its commit.
fn read_on(place: &Place, arguments: &[&str]) -> Ended {
    until("the views have everything", Duration::from_secs(90), || {
        let ended = place.cqrs(&["read", "--once"]).arguments(arguments).run().ok();
        let lag: Value = serde_json::from_str(&place.cqrs(&["lag", "--json"]).run().ok().text()).expect("a document");
        if lag["events"] == 0 { Ok(ended) } else { Err(lag.to_string()) }
    })
}

/// The same. `name` is that of a member that was killed or has not left, so that nobody waits for it.
fn drain(place: &Place, name: Option<&str>) {
    let name = name.map_or_else(Vec::new, |name| vec!["--instance-id", name]);
    read_on(place, &[&["-q"], &name[..]].concat());
}

fn reading(place: &Place, arguments: &[&str]) -> Running {
    start(place.cqrs(&["read", "-q"]).arguments(arguments))
}

/// What `cqrs stats` says, as JSON.
fn stats(place: &Place) -> Value {
    let said = place.cqrs(&["stats", "--json", "-n", "100"]).run().ok().text();
    serde_json::from_str(&said).expect("a document")
}

/// The rows of all models as they serve now, as text, without generations and revisions.
fn tables(place: &Place) -> BTreeMap<&'static str, Vec<Vec<String>>> {
    let known = if place.is_postgres() { "convert_from(known, 'UTF8')" } else { "CAST(known AS TEXT)" };
    let live =
        |bit: u8| format!("generation = (SELECT generation FROM views WHERE is_live = 1 AND (models & {bit}) <> 0)");
    let read = |statement: String| {
        let mut rows = place.sql(&statement);
        rows.sort();
        rows
    };
    BTreeMap::from([
        ("orders", read(format!("SELECT order_id, status, user_id, {known} FROM view_orders WHERE {}", live(8)))),
        ("users", read(format!("SELECT user_id, orders FROM view_users WHERE {} AND orders <> 0", live(1)))),
        ("products", read(format!("SELECT product_id, orders FROM view_products WHERE {} AND orders <> 0", live(2)))),
        (
            "statuses",
            read(format!("SELECT status, orders, incomplete FROM view_statuses WHERE {} AND orders <> 0", live(8))),
        ),
        ("revenue", read(format!("SELECT currency, payments, paid, refunded FROM view_revenue WHERE {}", live(16)))),
        (
            "recent",
            read(format!(
                "SELECT time_ms, event_id, order_id, user_id, product_id, currency, amount FROM view_recent WHERE {} \
                 ORDER BY time_ms DESC, event_id DESC LIMIT 100",
                live(4)
            )),
        ),
    ])
}

/// What kcat finds in the topics, counted by a script that knows nothing of this program.
fn counted(place: &Place, brokers: &str) -> Value {
    let mut dump = Vec::new();
    for topic in TOPICS {
        let topic = place.topic(topic);
        let reader = ["-C", "-t", &topic, "-e", "-q", "-X", "isolation.level=read_committed", "-f", "%h\t%s\n"];
        dump.extend(program("kcat", ["-b", brokers]).arguments(reader).run().ok().stdout);
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/cqrs/count.py");
    let counted = program("python3", [script]).stdin(dump).run().ok();
    serde_json::from_slice(&counted.stdout).expect("a document")
}

/// What the read side says, in the script's words.
fn told(place: &Place) -> Value {
    let stats = stats(place);
    let tally = |rows: &Value, key: &str| -> Value {
        let rows = rows.as_array().expect("rows").iter();
        rows.map(|row| (row[key].as_str().expect("a key").to_owned(), row["orders"].clone())).collect()
    };
    let revenue = stats["revenue"].as_array().expect("rows").iter();
    let sums = |row: &Value| {
        let back = row["refunded"].as_str().expect("a sum");
        // a script that adds nothing says 0
        let back = if back.bytes().all(|digit| digit == b'0' || digit == b'.') { "0" } else { back };
        (row["currency"].as_str().expect("a code").to_owned(), json!([row["payments"], row["paid"], back]))
    };
    let recent = stats["recent"].as_array().expect("rows").iter();
    json!({
        "orders": stats["orders"],
        "users": tally(&stats["users"], "user_id"),
        "products": tally(&stats["products"], "product_id"),
        "statuses": stats["statuses"],
        "revenue": revenue.map(sums).collect::<serde_json::Map<_, _>>(),
        "recent": recent.map(|row| row["order_id"].clone()).collect::<Vec<_>>(),
    })
}

/// The read side has come to the end, and says what kcat and the script say; and a rebuild gives the same rows.
#[track_caller]
fn judged(place: &Place) {
    judged_on(place, brokers());
}

#[track_caller]
fn judged_on(place: &Place, brokers: &str) {
    assert_eq!(told(place), counted(place, brokers));
    let before = tables(place);
    let rebuild = place.cqrs(&["rebuild", "all", "--compare", "--json"]).env("KAFKALAB_BROKERS", brokers);
    let said = rebuild.run().ok().text();
    let said: Value = serde_json::from_str(&said).expect("a document");
    assert_eq!(said["differences"], 0, "{said}");
    assert_eq!(tables(place), before);
    assert!(before["orders"].len() > 1, "{before:?}");
}
