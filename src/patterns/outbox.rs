//! The transactional outbox: save to the database and publish to Kafka, although only one of the two can be one write.
//!
//! # The problem
//!
//! ```text
//!   save, then publish:   a crash between the two, and the order is there and nobody hears of it
//!   publish, then save:   a crash between the two, and the warehouse packs an order that is not there
//! ```
//!
//! There is no transaction over a database and a broker. And Kafka may be away for an hour: is no order taken then?
//!
//! # The idea
//!
//! The message is a row of the same database, written in the same transaction. A relay sends what it finds:
//!
//! ```text
//!   BEGIN                                  relay: lease the shard, fence whoever had it
//!     insert the order's event                    read rows that wait, by seq
//!     insert the message in `outbox`              one Kafka transaction
//!   COMMIT ---- both or neither                   mark them published
//! ```
//!
//! A crash between the Kafka transaction and the mark sends the batch again, with the same ids: *at-least-once*. Whoever
//! consumes drops the repeat by the id, in the transaction of the effect (the inbox, see [`inbox`](super::inbox)). Together
//! that is called *effectively once*. It is not "exactly-once delivery": the record may well arrive twice.
//!
//! # What can go wrong
//!
//! | what | and what is done |
//! |---|---|
//! | Two relays send one aggregate's rows at the same time, in another order | a shard has one holder, fenced at the broker by its producer's epoch |
//! | A row can never be published (too large, no JSON) | it is parked, with the reason; only its own aggregate waits behind it |
//! | Kafka is away | rows wait; orders are taken all the same |
//! | A row with a lower `seq` is committed after one with a higher one | it waits like any other: the relay asks for what waits, it keeps no cursor |
//! | The table grows | `kafkalab outbox purge` |
//!
//! # Try it
//!
//! `kafkalab outbox` runs all of it and tells what it does. `kafkalab outbox order --price USD:9.99 --crash-at
//! outbox.after-commit`, then `kafkalab outbox list` and `kafkalab outbox relay --once`.
//!
//! # Read next
//!
//! [`inbox`](super::inbox), the other half. Chris Richardson, *Pattern: Transactional outbox* and *Pattern: Idempotent
//! Consumer* (microservices.io); Debezium, *Outbox Event Router*, whose columns the table has.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use uuid::Uuid;

use super::{
    envelope::{self, Envelope, Headers},
    event_sourcing::{Metadata, NewEvent},
    order::topic_of,
};

/// The relays' work is divided into so many parts. Fixed: an aggregate must not change its shard while rows of it wait.
pub const SHARDS: u64 = 16;

/// What the aggregates of [`order`](super::order) are called.
pub const ORDER: &str = "order";

/// Who publishes, in the envelope of a row that does not say.
pub const SOURCE: &str = "/kafkalab/outbox";

/// A message on its way into the outbox. Its time is that of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The event's id: `ce_id` on the wire, by which an inbox knows a repeat.
    pub id: Uuid,
    /// `order`
    pub aggregate_type: String,
    /// The record's key. Messages of one aggregate go out in the order in which they were committed.
    pub aggregate_id: String,
    /// `orders.v1.OrderCreated`
    pub event_type: String,
    /// The event as JSON.
    pub payload: Vec<u8>,
    /// Without the prefix of topics; `None`: by the type.
    pub topic: Option<String>,
    /// What the envelope says beside id, type, time and subject: a JSON object of texts.
    pub headers: String,
}

impl NewMessage {
    /// The message of an event of the log. `version` is what the event gets in its stream.
    pub fn of(event: &NewEvent, metadata: &Metadata, order_id: &str, version: u64) -> Self {
        let envelope = Envelope::of(event, metadata, SOURCE, order_id, version, 0);
        Self {
            id: event.id,
            aggregate_type: ORDER.to_owned(),
            aggregate_id: order_id.to_owned(),
            event_type: event.event_type.clone(),
            payload: event.data.clone(),
            topic: None,
            headers: rest(&envelope, metadata.request_id.as_deref()),
        }
    }

    /// A message of a handler: `topic` and `aggregate_type` are its own.
    pub fn by(envelope: &Envelope, aggregate_type: &str, id: Uuid, topic: &str, payload: Vec<u8>) -> Self {
        Self {
            id,
            aggregate_type: aggregate_type.to_owned(),
            aggregate_id: envelope.subject.clone().unwrap_or_default(),
            event_type: envelope.event_type.clone(),
            payload,
            topic: Some(topic.to_owned()),
            headers: rest(envelope, None),
        }
    }

    pub fn shard(&self) -> u64 {
        shard_of(&self.aggregate_id)
    }
}

/// The header with the id of the request from which a message comes.
const REQUEST_ID: &str = "x-request-id";

/// The attributes for which the table has no column.
fn rest(envelope: &Envelope, request_id: Option<&str>) -> String {
    const COLUMNS: [&str; 5] = ["ce_specversion", "ce_id", "ce_type", "ce_time", "ce_subject"];
    let headers = envelope.headers().into_iter();
    let rest = headers.filter(|(name, _)| !COLUMNS.contains(name) && *name != "content-type");
    let rest = rest.chain(request_id.map(|id| (REQUEST_ID, id.to_owned())));
    Value::Object(rest.map(|(name, value)| (name.to_owned(), value.into())).collect()).to_string()
}

/// FNV-1a of the aggregate's id, so that the same aggregate always has the same shard, whoever asks.
pub fn shard_of(aggregate_id: &str) -> u64 {
    let hash = aggregate_id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 32)) % SHARDS
}

/// A row of the outbox, as it lies there: whoever may insert may have written it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub id: Uuid,
    pub aggregate_type: String,
    pub aggregate_id: String,
    pub event_type: String,
    pub payload: Vec<u8>,
    pub topic: Option<String>,
    pub headers: Option<String>,
    pub created_at_ms: i64,
}

/// A row as a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter<'a> {
    /// Without the prefix of topics.
    pub topic: &'a str,
    pub headers: Headers,
}

/// What stands in a row's `headers`, by name.
#[derive(Default, Deserialize)]
struct Given<'a>(#[serde(borrow)] BTreeMap<Name<'a>, &'a RawValue>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Given<'a> {
    /// None: it is not there, or null.
    fn take(&mut self, name: &'static str) -> Result<Option<Cow<'a, str>>, Unroutable> {
        let given = self.0.remove(&Name(Cow::Borrowed(name))).filter(|value| value.get() != "null");
        given.map(|value| text(name, value)).transpose()
    }
}

fn text<'a>(name: &str, value: &'a RawValue) -> Result<Cow<'a, str>, Unroutable> {
    // without an escape it is what stands between the quotes
    let plain = value.get().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    if let Some(text) = plain.filter(|text| !text.contains('\\')) {
        return Ok(Cow::Borrowed(text));
    }
    let not_a_text = |_| Unroutable::Headers(format!("{name} is {}", super::excerpt(value.get(), 60)));
    serde_json::from_str(value.get()).map(Cow::Owned).map_err(not_a_text)
}

/// Why a row can never be published: the same row fails again, whatever the broker does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unroutable {
    #[error("the payload is no JSON: {0}")]
    NoJson(String),
    #[error("aggregate type {0:?} is not known, and the row names no topic")]
    UnknownAggregate(String),
    #[error("event type {0:?} is not known, and the row names no topic")]
    UnknownType(String),
    #[error("the headers are no JSON object of texts: {0}")]
    Headers(String),
}

impl Row {
    /// Where the row goes, and in which envelope. Pure.
    ///
    /// # Errors
    /// [`Unroutable`]
    pub fn letter(&self) -> Result<Letter<'_>, Unroutable> {
        serde_json::from_slice::<serde::de::IgnoredAny>(&self.payload)
            .map_err(|error| Unroutable::NoJson(error.to_string()))?;
        let topic = match &self.topic {
            Some(topic) => topic,
            None if self.aggregate_type != ORDER => {
                return Err(Unroutable::UnknownAggregate(super::excerpt(&self.aggregate_type, 60)));
            }
            None => topic_of(&self.event_type)
                .ok_or_else(|| Unroutable::UnknownType(super::excerpt(&self.event_type, 60)))?,
        };
        let mut given: Given<'_> = match &self.headers {
            None => Given::default(),
            Some(text) => serde_json::from_str(text).map_err(|error| Unroutable::Headers(error.to_string()))?,
        };
        let sequence = given.take("ce_sequence")?.and_then(|text| text.parse::<u64>().ok());
        // those of Envelope::headers, in its order
        let mut headers = Headers::default();
        headers.push("ce_specversion", envelope::SPEC_VERSION);
        headers.push("ce_id", self.id);
        headers.push("ce_source", given.take("ce_source")?.unwrap_or(Cow::Borrowed(SOURCE)));
        headers.push("ce_type", &self.event_type);
        headers.push("ce_time", envelope::rfc_3339(self.created_at_ms));
        headers.push("ce_subject", &self.aggregate_id);
        sequence.into_iter().for_each(|sequence| headers.push("ce_sequence", sequence));
        for name in ["ce_correlationid", "ce_causationid", "traceparent"] {
            given.take(name)?.into_iter().for_each(|value| headers.push(name, value));
        }
        headers.push("content-type", envelope::JSON);
        for (Name(name), value) in given.0 {
            headers.push(&name, text(&name, value)?);
        }
        Ok(Letter { topic, headers })
    }
}

/// The messages of an order's events that are to be appended behind `version`.
pub fn messages(events: &[NewEvent], metadata: &[Metadata], order_id: &str, version: u64) -> Vec<NewMessage> {
    let numbered = events.iter().zip(metadata).zip(version + 1..);
    numbered.map(|((event, metadata), version)| NewMessage::of(event, metadata, order_id, version)).collect()
}

/// Whether an event of the log goes out by the outbox, so that the log's own publisher passes it by.
pub fn is_carried(metadata: &Metadata) -> bool {
    metadata.via.as_deref() == Some(VIA)
}

/// In the metadata of an event whose message stands in the outbox.
pub const VIA: &str = "outbox";

#[cfg(test)]
mod tests {
    use super::*;

    fn row(headers: &str) -> Row {
        Row {
            id: Uuid::from_u128(7),
            aggregate_type: ORDER.to_owned(),
            aggregate_id: "order-1".to_owned(),
            event_type: "orders.v1.OrderCreated".to_owned(),
            payload: b"{}".to_vec(),
            topic: None,
            headers: Some(headers.to_owned()),
            created_at_ms: 1_769_904_000_250,
        }
    }

    fn headers(row: &Row) -> Vec<(String, String)> {
        let letter = row.letter().unwrap();
        letter.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn the_headers_are_those_of_the_envelope_and_then_what_else_was_given() {
        let envelope = Envelope {
            id: Uuid::from_u128(7).to_string(),
            source: "/elsewhere".to_owned(),
            event_type: "orders.v1.OrderCreated".to_owned(),
            time_ms: Some(1_769_904_000_250),
            subject: Some("order-1".to_owned()),
            sequence: Some(3),
            correlation_id: Some("a \"quoted\" \u{e9}".to_owned()),
            causation_id: Some("cause".to_owned()),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        };
        let rest: Value = serde_json::from_str(&rest(&envelope, None)).unwrap();
        let mut given = rest.as_object().unwrap().clone();
        given.insert("tenant".to_owned(), "blue".into());
        let mut expected: Vec<_> =
            envelope.headers().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        expected.push(("tenant".to_owned(), "blue".to_owned()));
        assert_eq!(headers(&row(&Value::Object(given).to_string())), expected);
    }

    #[test]
    fn what_is_null_is_as_good_as_absent_and_what_is_no_text_is_refused() {
        let source = |row: &Row| headers(row).into_iter().find(|(name, _)| name == "ce_source").unwrap().1;
        assert_eq!(source(&row(r#"{"ce_source": null}"#)), SOURCE);
        for wrong in [r#"{"ce_source": 7}"#, r#"{"tenant": ["a"]}"#, r#"{"tenant": null}"#, "[]", "{"] {
            assert!(matches!(row(wrong).letter(), Err(Unroutable::Headers(_))), "{wrong}");
        }
    }
}
