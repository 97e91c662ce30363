//! What must hold of a log and its topics, whoever was killed meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use super::Place;
use crate::{harness::kcat, membership::until};

/// An event of the log, by SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    pub position: u64,
    pub order: String,
    pub version: u64,
    pub id: String,
    pub event_type: String,
}

/// A committed record of a topic, by kcat.
#[derive(Clone, Debug)]
pub struct Sent {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    pub headers: BTreeMap<String, String>,
    pub value: String,
}

impl Sent {
    pub fn id(&self) -> &str {
        &self.headers["ce_id"]
    }
}

const TYPES: [(&str, &str); 5] = [
    ("orders.v1.OrderCreated", "orders"),
    ("orders.v1.OrderCancelled", "orders"),
    ("orders.v1.OrderPaid", "payments"),
    ("orders.v1.PaymentRefunded", "payments"),
    ("orders.v1.OrderShipped", "shipments"),
];

/// The log, which is whole: positions and versions without a gap.
pub fn log(place: &Place) -> Vec<Logged> {
    let id = if place.schema.is_some() { "CAST(event_id AS text)" } else { "lower(hex(event_id))" };
    let rows =
        place.sql(&format!("SELECT position, stream_id, version, {id}, event_type FROM events ORDER BY position"));
    let logged = |row: Vec<String>| Logged {
        position: row[0].parse().expect("a position"),
        order: row[1].strip_prefix("order-").expect("a stream of an order").to_owned(),
        version: row[2].parse().expect("a version"),
        id: row[3].replace('-', ""),
        event_type: row[4].clone(),
    };
    let log: Vec<_> = rows.into_iter().map(logged).collect();
    let mut versions = HashMap::new();
    for (at, event) in (1..).zip(&log) {
        let version = versions.entry(&event.order).or_insert(0);
        *version += 1;
        assert_eq!((event.position, event.version), (at, *version), "a gap in the log: {event:?}");
    }
    log
}

/// What consumers of committed records get of a topic, partition by partition in order.
pub fn sent(topic: &str) -> Vec<Sent> {
    sent_on(crate::harness::brokers(), topic)
}

pub fn sent_on(brokers: &str, topic: &str) -> Vec<Sent> {
    let reader = ["-C", "-t", topic, "-e", "-q", "-X", "isolation.level=read_committed"];
    let read = kcat(reader).arguments(["-b", brokers, "-f", "%p\t%o\t%k\t%h\t%s\n"]).run().ok().text();
    let record = |line: &str| {
        let [partition, offset, key, headers, value] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("no record: {line}")
        };
        let headers = headers.split(',').filter_map(|header| header.split_once('='));
        Sent {
            topic: topic.to_owned(),
            partition: partition.parse().expect("a partition"),
            offset: offset.parse().expect("an offset"),
            key: key.to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            value: value.to_owned(),
        }
    };
    read.lines().map(record).collect()
}

/// Everything that was published from a place.
pub fn all_sent(place: &Place) -> Vec<Sent> {
    ["orders", "payments", "shipments"].iter().flat_map(|word| sent(&place.topic(word))).collect()
}

/// Every event is in its topic, nothing else is, and in order; gives how many records are there twice.
#[track_caller]
pub fn judged(place: &Place) -> usize {
    let log = log(place);
    // a commit is answered before its markers are written, and until then its records are not for readers
    until("a log that is published", Duration::from_secs(10), || verdict(&place.prefix, &log, &all_sent(place)))
}

fn verdict(prefix: &str, log: &[Logged], sent: &[Sent]) -> Result<usize, String> {
    let by_id: HashMap<&str, &Logged> = log.iter().map(|event| (event.id.as_str(), event)).collect();
    let mut seen = BTreeSet::new();
    let mut last: HashMap<(&str, &str), (i32, u64)> = HashMap::new();
    for record in sent {
        let id = record.id().replace('-', "");
        let event = by_id.get(id.as_str()).ok_or(format!("never committed, and published: {record:?}"))?;
        let topic = TYPES.iter().find(|(name, _)| *name == event.event_type).map(|(_, topic)| *topic);
        let right = topic.is_some_and(|topic| record.topic == format!("{prefix}{topic}"))
            && record.key == event.order
            && record.headers["ce_sequence"] == event.version.to_string()
            && record.headers["ce_type"] == event.event_type;
        if !right {
            return Err(format!("{event:?} went out as {record:?}"));
        }
        let (partition, version) = last.entry((&record.topic, &record.key)).or_insert((record.partition, 0));
        if *partition != record.partition {
            return Err(format!("an order in two partitions: {record:?}"));
        }
        if seen.insert(id) {
            if event.version <= *version {
                return Err(format!("out of order, behind version {version}: {record:?}"));
            }
            *version = event.version;
        }
    }
    match log.iter().find(|event| !seen.contains(&event.id)) {
        Some(lost) => Err(format!("lost: {lost:?}")),
        None => Ok(sent.len() - seen.len()),
    }
}

#[test]
fn a_lost_an_invented_and_a_misplaced_record_are_seen() {
    let event = |position: u64, version: u64, event_type: &str| Logged {
        position,
        order: "o".into(),
        version,
        id: position.to_string(),
        event_type: format!("orders.v1.{event_type}"),
    };
    let log = [event(1, 1, "OrderCreated"), event(2, 2, "OrderCancelled")];
    let record = |event: &Logged, topic: &str| Sent {
        topic: format!("p-{topic}"),
        partition: 0,
        offset: 0,
        key: event.order.clone(),
        headers: [("ce_id", event.id.clone()), ("ce_sequence", event.version.to_string())]
            .into_iter()
            .chain([("ce_type", event.event_type.clone())])
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        value: String::new(),
    };
    let (one, two) = (record(&log[0], "orders"), record(&log[1], "orders"));
    let said = |sent: &[&Sent]| {
        let sent: Vec<_> = sent.iter().map(|record| (*record).clone()).collect();
        verdict("p-", &log, &sent).map_err(|wrong| wrong.split([':', ',', '{']).next().unwrap_or_default().to_owned())
    };
    assert_eq!(said(&[&one, &two]), Ok(0));
    assert_eq!(said(&[&one, &two, &one, &two]), Ok(2));
    assert_eq!(said(&[&one]), Err("lost".into()));
    assert_eq!(said(&[&two, &one]), Err("out of order".into()));
    assert_eq!(said(&[&one, &two, &record(&event(3, 3, "OrderPaid"), "payments")]), Err("never committed".into()));
    assert_eq!(said(&[&record(&log[0], "payments"), &two]), Err("Logged ".into()));
    assert_eq!(said(&[&one, &Sent { partition: 1, ..two.clone() }]), Err("an order in two partitions".into()));
}
