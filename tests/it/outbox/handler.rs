//! The idempotent consumer: poison, repeats in any order, members that die, and a database that refuses or is slow.

use std::{fmt::Write, thread, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    cancel, create,
    judge::{effects, rows},
    two_each,
};
use crate::{
    cluster::soak,
    es::{Place, judge::sent},
    harness::{Ended, kafkalab, need_kafka},
    membership::until,
    process::{Running, start},
    random::Random,
    records::Rec,
};

fn consume(place: &Place, arguments: &[&str]) -> Ended {
    place.outbox(&["consume", "--once", "-g", &place.topic("group")]).arguments(arguments).run()
}

fn consuming(place: &Place, arguments: &[&str]) -> Running {
    start(place.outbox(&["consume", "-g", &place.topic("group")]).arguments(arguments))
}

fn created(order: &str) -> String {
    json!({"order_id": order, "user_id": "ada", "product_id": "lamp", "price": {"currency": "USD", "amount": "9.99"}})
        .to_string()
}

/// A record's envelope as the headers of `produce`.
fn envelope(id: &str, event: &str) -> Vec<String> {
    let event = format!("ce_type={event}");
    ["ce_specversion=1.0", &format!("ce_id={id}"), "ce_source=/test", &event, "content-type=application/json"]
        .iter()
        .flat_map(|header| ["-H".to_owned(), (*header).to_owned()])
        .collect()
}

/// One record into partition 0 of the orders.
fn produce(place: &Place, key: &str, headers: &[String], value: impl Into<Vec<u8>>) {
    let topic = place.topic("orders");
    // one record whatever it contains
    let whole = ["produce", &topic, "-q", "-p", "0", "-k", key, "-D", "\\x1e"];
    kafkalab(whole).arguments(headers).stdin(value).run().ok();
}

const CREATED: &str = "orders.v1.OrderCreated";

fn make_topic(place: &Place) {
    kafkalab(["topics", "create", &place.topic("orders"), "-p", "3"]).run().ok();
}

fn reserved(place: &Place, order: &str) -> Option<u64> {
    let data = if place.is_postgres() { "convert_from(data, 'UTF8')" } else { "data" };
    let rows = place.sql(&format!("SELECT {data} FROM states WHERE kind = 'reservation' AND id = '{order}'"));
    let json: Value = serde_json::from_str(rows.first()?.first()?).expect("JSON");
    json["reserved"].as_u64()
}

#[test]
fn each_poison_record_is_one_dead_letter_with_its_reason_and_the_next_proceeds() {
    let place = Place::new("poison");
    make_topic(&place);
    let id = || Uuid::now_v7().to_string();
    let bad: [(&str, Vec<String>, Vec<u8>, &str); 7] = [
        ("json", envelope(&id(), CREATED), b"{\"order_id\": ".to_vec(), "EOF"),
        ("utf8", envelope(&id(), CREATED), b"{\"order_id\": \"\xff\xfe\"}".to_vec(), ""),
        ("version", envelope(&id(), "orders.v9.OrderCreated"), created("x").into(), "orders.v9.OrderCreated"),
        ("type", envelope(&id(), "orders.v1.OrderEaten"), created("x").into(), "orders.v1.OrderEaten"),
        ("envelope", Vec::new(), created("x").into(), ""),
        ("shape", envelope(&id(), CREATED), b"{\"order_id\": 7}".to_vec(), "invalid type: integer `7`"),
        // PostgreSQL could not keep it
        ("nul", envelope(&id(), CREATED), created("nul\0").into(), "control character"),
    ];
    for (word, headers, value, _) in &bad {
        produce(&place, word, headers, value.clone());
        produce(&place, word, &envelope(&id(), CREATED), created(&format!("behind-{word}")));
    }
    let ended = consume(&place, &[]).ok();
    assert!(ended.stderr.ends_with("14 records: 7 effects, 0 repeats, 7 dead letters\n"), "{ended:?}");
    for (word, ..) in &bad {
        assert_eq!(reserved(&place, &format!("behind-{word}")), Some(1), "{word}");
    }
    let letters = dead_letters(&place);
    assert_eq!(letters.len(), 7);
    for ((word, _, value, reason), (offset, letter)) in bad.iter().zip((0..).step_by(2).zip(&letters)) {
        assert_eq!(letter.key, word.as_bytes());
        assert_eq!(letter.topic, place.topic("orders"), "{word}");
        assert_eq!((letter.partition, letter.offset), (0, offset), "{word}");
        assert!(letter.reason.contains(reason) && !letter.reason.is_empty(), "{word}: {}", letter.reason);
        assert_eq!(letter.value, *value, "{word}");
    }
    // once more: nothing is left, and nothing is put aside again
    let ended = consume(&place, &[]).ok();
    assert!(ended.stderr.ends_with("0 records: 0 effects, 0 repeats, 0 dead letters\n"), "{ended:?}");
    assert_eq!(dead_letters(&place).len(), 7);
}

/// A dead letter, by the headers that Spring Kafka gives it.
struct Letter {
    key: Vec<u8>,
    value: Vec<u8>,
    topic: String,
    partition: u64,
    offset: u64,
    reason: String,
}

fn dead_letters(place: &Place) -> Vec<Letter> {
    let read = kafkalab(["consume", &place.topic("orders.dlt"), "-e", "-J"]).run().ok().text();
    let mut letters: Vec<Letter> = read.lines().map(|line| letter(Rec::from_json(line))).collect();
    letters.sort_by_key(|letter| letter.offset);
    letters
}

fn letter(record: Rec) -> Letter {
    let header = |name: &str| {
        let found = record.headers.iter().rfind(|(found, _)| found == name.as_bytes());
        found.and_then(|(_, value)| value.clone()).unwrap_or_else(|| panic!("no {name}"))
    };
    let text = |name: &str| String::from_utf8(header(name)).expect("text");
    let number = |name: &str| header(name).iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
    Letter {
        topic: text("kafka_dlt-original-topic"),
        partition: number("kafka_dlt-original-partition"),
        offset: number("kafka_dlt-original-offset"),
        reason: text("kafka_dlt-exception-message"),
        key: record.key.unwrap_or_default(),
        value: record.value.unwrap_or_default(),
    }
}

/// The states as text, by order.
fn states(place: &Place) -> Vec<Vec<String>> {
    let data = if place.is_postgres() { "convert_from(data, 'UTF8')" } else { "data" };
    place.sql(&format!("SELECT id, {data} FROM states WHERE kind = 'reservation' ORDER BY id"))
}

#[test]
fn repeats_in_any_order_leave_the_states_of_a_clean_replay() {
    let mut random = Random::from_seed_or_new();
    let (clean, mixed) = (Place::new("clean"), Place::new("mixed"));
    two_each(&clean, 40);
    clean.outbox(&["relay", "--once", "-q"]).run().ok();
    consume(&clean, &["-q"]).ok();
    assert_eq!(effects(&clean), Ok(()));
    let read = kafkalab(["consume", &clean.topic("orders"), "-e", "-J"]).run().ok().text();
    let mut records: Vec<Value> = read.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(records.len(), 80);
    for _ in 0..120 {
        let again = records[random.below(80)].clone();
        records.push(again);
    }
    for last in (1..records.len()).rev() {
        records.swap(last, random.below(last + 1));
    }
    let mut lines = String::new();
    for mut record in records {
        record["topic"] = mixed.topic("orders").into();
        record["partition"] = random.below(3).into();
        writeln!(lines, "{record}").expect("a line");
    }
    make_topic(&mixed);
    kafkalab(["produce", "--input", "json", "-q"]).stdin(lines).run().ok();
    let ended = consume(&mixed, &["--batch", "7"]).ok();
    assert!(ended.stderr.ends_with("200 records: 80 effects, 120 repeats, 0 dead letters\n"), "{ended:?}");
    assert_eq!(states(&mixed), states(&clean));
    assert_eq!(rows(&mixed).len(), 80, "each effect is told once");
}

#[test]
fn a_batch_that_the_database_refuses_is_tried_record_by_record() {
    let place = Place::new("refused");
    make_topic(&place);
    place.outbox(&["order", "--price", "USD:1"]).run().ok();
    let trigger = if place.is_postgres() {
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no such thing'; END $$; \
         CREATE TRIGGER cursed BEFORE INSERT ON states FOR EACH ROW WHEN (NEW.id = 'cursed') EXECUTE FUNCTION no()"
    } else {
        "CREATE TRIGGER cursed BEFORE INSERT ON states WHEN NEW.id = 'cursed' \
         BEGIN SELECT RAISE(ABORT, 'no such thing'); END"
    };
    place.sql(trigger);
    let id = || Uuid::now_v7().to_string();
    let ids = [id(), "x".repeat(1500), id(), id(), id()];
    for (number, id) in ids.iter().enumerate() {
        let order = if number == 3 { "cursed".to_owned() } else { format!("o{number}") };
        produce(&place, "k", &envelope(id, CREATED), created(&order));
    }
    let ended = consume(&place, &[]).ok();
    assert!(ended.stderr.ends_with("5 records: 3 effects, 0 repeats, 2 dead letters\n"), "{ended:?}");
    assert_eq!(
        ["o0", "o1", "o2", "cursed", "o4"].map(|order| reserved(&place, order)),
        [Some(1), None, Some(1), None, Some(1)]
    );
    let letters = dead_letters(&place);
    assert_eq!(letters.iter().map(|letter| letter.offset).collect::<Vec<_>>(), [1, 3]);
    assert!(letters[0].reason.contains("1000") && letters[1].reason.contains("no such thing"), "{}", letters[1].reason);
    // nothing of the refused ones is left behind
    assert_eq!(place.sql("SELECT count(*) FROM inbox"), [["3"]]);
    assert_eq!(place.sql("SELECT count(*) FROM outbox WHERE aggregatetype = 'stock'"), [["3"]]);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn of_two_consumers_one_is_killed_and_all_effects_are_there_once() {
    need_kafka();
    let place = Place::new("two-consumers");
    two_each(&place, 200);
    place.outbox(&["relay", "--once", "-q"]).run().ok();
    let mut both: Vec<_> = (0..2).map(|_| consuming(&place, &["--batch", "3"])).collect();
    let handled = || place.sql("SELECT count(*) FROM inbox")[0][0].parse::<u64>().expect("a count");
    until("some effects", Duration::from_secs(60), || (handled() > 20).then_some(()).ok_or("none yet".to_owned()));
    both[0].signal(Signal::KILL);
    both[0].end();
    // until its session of 45 s is over its partitions wait
    until("all effects, each once", Duration::from_secs(150), || effects(&place));
    place.take((0..20).map(|order| create(&format!("late-{order}"))).collect());
    place.take((0..20).map(|order| cancel(&format!("late-{order}"))).collect());
    place.outbox(&["relay", "--once", "-q"]).run().ok();
    until("all effects, each once", Duration::from_secs(60), || effects(&place));
    both[1].signal(Signal::TERM);
    assert_eq!(both[1].end().code(), 143);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_slow_database_costs_no_place_in_the_group() {
    need_kafka();
    let place = Place::sqlite("slow");
    two_each(&place, 10);
    place.outbox(&["relay", "--once", "-q"]).run().ok();
    let database = rusqlite::Connection::open(place.path()).expect("the store's file");
    database.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let mut consumer = consuming(&place, &[]);
    consumer.until_stderr_has("assigned: ");
    // longer than a lock is waited for; in the long run also longer than a session of the group
    thread::sleep(Duration::from_secs(if soak() { 75 } else { 18 }));
    consumer.until_stderr_has("trying again: ");
    database.execute_batch("ROLLBACK").expect("unlocking");
    until("all effects, each once", Duration::from_secs(60), || effects(&place));
    consumer.signal(Signal::TERM);
    let ended = consumer.end();
    assert_eq!(ended.code(), 143);
    assert_eq!(ended.stderr.matches("assigned: ").count(), 1, "{ended:?}");
    assert!(!ended.stderr.contains("gone: "), "{ended:?}");
    // what was handled is committed: the next one finds nothing
    let next = consume(&place, &[]).ok();
    assert!(next.stderr.ends_with("0 records: 0 effects, 0 repeats, 0 dead letters\n"), "{next:?}");
    assert_eq!(sent(&place.topic("orders")).len(), 20);
}
