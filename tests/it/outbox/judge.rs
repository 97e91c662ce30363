//! What must hold of an outbox, its topics and its effects, whoever was killed meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use crate::{
    es::{
        Place,
        judge::{Logged, Sent, log, sent_on},
    },
    harness::brokers,
    membership::until,
};

/// A row of the outbox, by SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub seq: i64,
    pub shard: u64,
    pub id: String,
    /// Its own, as it must be known to a reader who has only the event's type.
    pub topic: &'static str,
    pub aggregate_type: String,
    pub aggregate: String,
    pub event_type: String,
    pub payload: String,
    pub status: String,
    /// `ce_sequence`
    pub version: Option<u64>,
}

const TYPES: [(&str, &str); 7] = [
    ("orders.v1.OrderCreated", "orders"),
    ("orders.v1.OrderCancelled", "orders"),
    ("orders.v1.OrderPaid", "payments"),
    ("orders.v1.PaymentRefunded", "payments"),
    ("orders.v1.OrderShipped", "shipments"),
    ("stock.v1.StockReserved", "stock"),
    ("stock.v1.StockReleased", "stock"),
];
const TOPICS: [&str; 4] = ["orders", "payments", "shipments", "stock"];

pub fn rows(place: &Place) -> Vec<Row> {
    let (id, payload) = match place.is_postgres() {
        true => ("CAST(id AS text)", "convert_from(payload, 'UTF8')"),
        false => ("lower(hex(id))", "payload"),
    };
    let rows = place.sql(&format!(
        "SELECT seq, shard, {id}, aggregatetype, aggregateid, type, {payload}, status, headers FROM outbox_status ORDER BY seq"
    ));
    let row = |row: Vec<String>| {
        let headers: serde_json::Value = serde_json::from_str(&row[8]).unwrap_or_default();
        Row {
            seq: row[0].parse().expect("a seq"),
            shard: row[1].parse().expect("a shard"),
            id: row[2].replace('-', ""),
            topic: TYPES.iter().find(|(name, _)| *name == row[5]).map_or("", |(_, topic)| topic),
            aggregate_type: row[3].clone(),
            aggregate: row[4].clone(),
            event_type: row[5].clone(),
            payload: row[6].clone(),
            status: row[7].clone(),
            version: headers["ce_sequence"].as_str().and_then(|text| text.parse().ok()),
        }
    };
    rows.into_iter().map(row).collect()
}

/// Everything that was published from a place.
fn all_sent(place: &Place, brokers: &str) -> Vec<Sent> {
    TOPICS.iter().flat_map(|word| sent_on(brokers, &place.topic(word))).collect()
}

/// How many records are there twice, by shard.
pub type Twice = BTreeMap<u64, usize>;

/// Every message is in its topic, nothing else is, and in order; and every event has its message.
#[track_caller]
pub fn judged(place: &Place) -> Twice {
    judged_on(place, brokers())
}

#[track_caller]
pub fn judged_on(place: &Place, brokers: &str) -> Twice {
    let rows = rows(place);
    if let Err(wrong) = both_or_neither(&log(place), &rows) {
        panic!("{wrong}");
    }
    // a commit is answered before its markers are written, and until then its records are not for readers
    until("an outbox that is published", Duration::from_secs(10), || {
        verdict(&place.prefix, &rows, &all_sent(place, brokers))
    })
}

/// The log and the outbox were written together: an event has its message, and an order's message its event.
fn both_or_neither(log: &[Logged], rows: &[Row]) -> Result<(), String> {
    let rows: HashMap<&str, &Row> =
        rows.iter().filter(|row| row.aggregate_type == "order").map(|row| (row.id.as_str(), row)).collect();
    for event in log {
        let row = rows.get(event.id.as_str()).ok_or(format!("an event without its message: {event:?}"))?;
        if (&row.aggregate, &row.event_type, row.version) != (&event.order, &event.event_type, Some(event.version)) {
            return Err(format!("{event:?} has another's message: {row:?}"));
        }
    }
    if rows.len() > log.len() {
        return Err(format!("{} messages for {} events", rows.len(), log.len()));
    }
    Ok(())
}

fn verdict(prefix: &str, rows: &[Row], sent: &[Sent]) -> Result<Twice, String> {
    let by_id: HashMap<&str, &Row> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
    let (mut seen, mut twice) = (BTreeSet::new(), Twice::new());
    let mut last: HashMap<(&str, &str), (i32, i64)> = HashMap::new();
    for record in sent {
        let id = record.id().replace('-', "");
        let row = by_id.get(id.as_str()).ok_or(format!("never committed, and published: {record:?}"))?;
        let right = record.topic == format!("{prefix}{}", row.topic)
            && record.key == row.aggregate
            && record.value == row.payload
            && record.headers["ce_type"] == row.event_type
            && record.headers.get("ce_sequence").cloned() == row.version.map(|version| version.to_string());
        if !right {
            return Err(format!("{row:?} went out as {record:?}"));
        }
        let (partition, seq) = last.entry((&record.topic, &record.key)).or_insert((record.partition, 0));
        if *partition != record.partition {
            return Err(format!("an aggregate in two partitions: {record:?}"));
        }
        if !seen.insert(id) {
            *twice.entry(row.shard).or_default() += 1;
        } else if row.seq <= *seq {
            return Err(format!("out of order, behind {seq}: {row:?}"));
        } else {
            *seq = row.seq;
        }
    }
    match rows.iter().find(|row| !seen.contains(&row.id) || row.status != "1") {
        Some(row) if seen.contains(&row.id) => Err(format!("published, and not marked: {row:?}")),
        Some(row) => Err(format!("lost: {row:?}")),
        None => Ok(twice),
    }
}

/// Each order was reserved once, and given back once if it was cancelled; and each of that was told once.
pub fn effects(place: &Place) -> Result<(), String> {
    let data = if place.is_postgres() { "convert_from(data, 'UTF8')" } else { "data" };
    let states = place.sql(&format!("SELECT id, {data} FROM states WHERE kind = 'reservation'"));
    let inbox = place.sql("SELECT count(*) FROM inbox WHERE consumer_id = 'reserve-stock'");
    let states = states.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    once_each(&log(place), &rows(place), &states, &inbox[0][0])
}

fn once_each(log: &[Logged], rows: &[Row], states: &BTreeMap<String, String>, inbox: &str) -> Result<(), String> {
    let mut wanted: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    for event in log {
        match event.event_type.as_str() {
            "orders.v1.OrderCreated" => wanted.entry(event.order.clone()).or_default()[0] += 1,
            "orders.v1.OrderCancelled" => wanted.entry(event.order.clone()).or_default()[1] += 1,
            _ => {}
        }
    }
    let found = states.iter().map(|(order, json)| {
        let state: serde_json::Value = serde_json::from_str(json).expect("a state is JSON");
        (order.clone(), ["reserved", "released"].map(|what| state[what].as_u64().unwrap_or(u64::MAX)))
    });
    let found: BTreeMap<String, [u64; 2]> = found.collect();
    let mut told: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.topic == "stock") {
        told.entry(row.aggregate.clone()).or_default()[usize::from(row.event_type.ends_with("Released"))] += 1;
    }
    if let Some((order, wanted)) = wanted.iter().find(|(order, wanted)| found.get(*order) != Some(wanted)) {
        return Err(format!("order {order} should have {wanted:?} and has {:?}", found.get(order)));
    }
    let events: u64 = wanted.values().flatten().sum();
    match (found == wanted, told == wanted, inbox == events.to_string()) {
        (true, true, true) => Ok(()),
        verdict => Err(format!("{verdict:?}: {events} effects, {inbox} in the inbox, {told:?} told, {found:?} found")),
    }
}

fn row(seq: i64, event_type: &str) -> Row {
    let event_type = format!("orders.v1.{event_type}");
    Row {
        seq,
        shard: 3,
        id: seq.to_string(),
        topic: TYPES.iter().find(|(name, _)| *name == event_type).expect("a type").1,
        aggregate_type: "order".into(),
        aggregate: "o".into(),
        event_type,
        payload: "{}".into(),
        status: "1".into(),
        version: Some(seq as u64),
    }
}

fn record(row: &Row) -> Sent {
    let headers = [
        ("ce_id", row.id.clone()),
        ("ce_sequence", row.version.unwrap_or(0).to_string()),
        ("ce_type", row.event_type.clone()),
    ];
    Sent {
        topic: format!("p-{}", row.topic),
        partition: 0,
        offset: 0,
        key: row.aggregate.clone(),
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        value: row.payload.clone(),
    }
}

#[test]
fn a_lost_an_invented_an_unmarked_and_a_misplaced_record_are_seen() {
    let rows = [row(1, "OrderCreated"), row(2, "OrderCancelled")];
    let (one, two) = (record(&rows[0]), record(&rows[1]));
    let said = |sent: &[&Sent]| {
        let sent: Vec<_> = sent.iter().map(|record| (*record).clone()).collect();
        verdict("p-", &rows, &sent).map_err(|wrong| wrong.split([':', ',', '{']).next().unwrap_or_default().to_owned())
    };
    assert_eq!(said(&[&one, &two]), Ok(Twice::new()));
    assert_eq!(said(&[&one, &two, &one, &two]), Ok([(3, 2)].into()));
    assert_eq!(said(&[&one]), Err("lost".into()));
    assert_eq!(said(&[&two, &one]), Err("out of order".into()));
    assert_eq!(said(&[&one, &two, &record(&row(3, "OrderPaid"))]), Err("never committed".into()));
    assert_eq!(said(&[&Sent { value: "{ }".into(), ..one.clone() }, &two]), Err("Row ".into()));
    assert_eq!(said(&[&one, &Sent { partition: 1, ..two.clone() }]), Err("an aggregate in two partitions".into()));
    let unmarked = [Row { status: "0".into(), ..rows[0].clone() }];
    assert!(verdict("p-", &unmarked, &[one]).is_err_and(|wrong| wrong.starts_with("published, and not marked")));
}

#[test]
fn a_missing_a_double_and_an_untold_effect_are_seen() {
    let event = |version: u64, event_type: &str| Logged {
        position: version,
        order: "o".into(),
        version,
        id: version.to_string(),
        event_type: format!("orders.v1.{event_type}"),
    };
    let log = [event(1, "OrderCreated"), event(2, "OrderPaid"), event(3, "OrderCancelled")];
    let told = |event_type: &str| Row { topic: "stock", event_type: event_type.into(), ..row(9, "OrderCreated") };
    let told = [told("stock.v1.StockReserved"), told("stock.v1.StockReleased")];
    let state =
        |reserved: u64| BTreeMap::from([("o".to_owned(), format!(r#"{{"reserved":{reserved},"released":1}}"#))]);
    assert_eq!(once_each(&log, &told, &state(1), "2"), Ok(()));
    for (rows, state, inbox) in
        [(&told[..], state(2), "2"), (&told, BTreeMap::new(), "2"), (&told[..1], state(1), "2"), (&told, state(1), "1")]
    {
        assert!(once_each(&log, rows, &state, inbox).is_err(), "{state:?} {inbox}");
    }
    let rows = [row(1, "OrderCreated"), row(2, "OrderPaid"), row(3, "OrderCancelled")];
    assert_eq!(both_or_neither(&log, &rows), Ok(()));
    assert!(both_or_neither(&log, &rows[..2]).is_err() && both_or_neither(&log[..2], &rows).is_err());
}
