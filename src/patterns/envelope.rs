//! The envelope: what stands around an event on its way through Kafka. CloudEvents 1.0.
//!
//! # The problem
//!
//! A record is a key, a value and a time. To handle it one has to know more: what kind of event is it, in which version
//! of its shape; have I seen it before; which order is it about, and have I missed the one before; what caused it.
//! Put into the value, each team writes it differently, and a router has to parse every value to look at one field.
//!
//! # The idea
//!
//! The event is the letter, the rest is written on the envelope. In Kafka's binary mode the envelope is headers and the
//! value is the letter alone:
//!
//! ```text
//!   key      order-id                          same order, same partition, in order
//!   headers  ce_specversion    1.0
//!            ce_id             019c167f-...    unique: whoever has seen it drops the repeat (the inbox)
//!            ce_source         /kafkalab/es    who says so; source and id together are unique
//!            ce_type           orders.v1.OrderCreated
//!            ce_time           2026-02-01T00:00:00.250Z
//!            ce_subject        order-id        what it is about
//!            ce_sequence       1               the order's version: 1, 2, 3; a hole is a missed event
//!            ce_correlationid  ...             the conversation
//!            ce_causationid    ...             the message that caused this one
//!            traceparent       00-...          W3C Trace Context
//!            content-type      application/json
//!   value    {"order_id":"order-id","price":{...},...}
//! ```
//!
//! In structured mode (`content-type: application/cloudevents+json`) the value is one JSON object with the same
//! attributes and the event under `data`. kafkalab writes binary mode ([`Envelope::headers`]) and reads both
//! ([`decode`]).
//!
//! # What can go wrong
//!
//! - A header is missing, not UTF-8, or is there twice with two values. [`decode`] says which, and what it found; a
//!   handler puts the record aside (a poison record) and does not guess. Kafka's headers are a list, not a map.
//! - An old event is sent once more, to rebuild a read model. Whoever sends mails must not send them again: the record
//!   carries the header [`REPLAY_HEADER`], and [`Received::replay`] tells.
//! - `ce_time` is the clock of whoever wrote it. It is for people; order is `ce_sequence` within a subject, and cause
//!   and effect are `ce_causationid`.
//!
//! # Try it
//!
//! `kafkalab produce --sample 3`, then `kafkalab consume orders --json`: the headers are the envelope.
//!
//! # Read next
//!
//! [`sample`](super::sample), which writes such records; [`event_sourcing`](super::event_sourcing), where they come from.
//! CloudEvents 1.0.2, *Kafka Protocol Binding*, *JSON Event Format*, *Distributed Tracing*, *Sequence*.

mod decode;

use std::fmt::{self, Write};

use serde_json::{Map, Value, value::RawValue};
use time::OffsetDateTime;

use super::event_sourcing::{Metadata, NewEvent};

pub use decode::{EnvelopeError, Mode, Received, decode, is_traceparent};

/// The one version of CloudEvents that is read and written.
pub const SPEC_VERSION: &str = "1.0";

/// What the value of a record in binary mode is.
pub const JSON: &str = "application/json";

/// What the value of a record in structured mode is.
pub const CLOUDEVENTS_JSON: &str = "application/cloudevents+json";

/// On a record that repeats an event which was published before; the value names the replay. Handlers with effects
/// outside of their own store (mails, calls) pass such a record by.
pub const REPLAY_HEADER: &str = "kafkalab-replay";

const CONTENT_TYPE: &str = "content-type";

/// The attributes of an event, without the event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// kafkalab writes a UUID of version 7; others may write any text. Unique together with `source`.
    pub id: String,
    /// A URI reference: `/kafkalab/es`.
    pub source: String,
    /// `orders.v1.OrderCreated`
    pub event_type: String,
    /// Milliseconds since the Unix epoch. Finer times of others are cut.
    pub time_ms: Option<i64>,
    /// The aggregate's id.
    pub subject: Option<String>,
    /// The aggregate's version.
    pub sequence: Option<u64>,
    pub correlation_id: Option<String>,
    pub causation_id: Option<String>,
    /// Valid W3C Trace Context of version 00 when it was decoded.
    pub traceparent: Option<String>,
}

/// A record's headers in one piece of memory, since a batch has thousands of records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    text: String,
    /// Where each name and each value ends.
    ends: Vec<(usize, usize)>,
}

impl Headers {
    pub fn push(&mut self, name: &str, value: impl fmt::Display) {
        self.text.push_str(name);
        let middle = self.text.len();
        let _ = write!(self.text, "{value}"); // into memory
        self.ends.push((middle, self.text.len()));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        begins.zip(&self.ends).map(|(begin, &(middle, end))| (&self.text[begin..middle], &self.text[middle..end]))
    }
}

impl<'a> FromIterator<(&'a str, String)> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'a str, String)>>(headers: I) -> Self {
        let mut all = Self::default();
        headers.into_iter().for_each(|(name, value)| all.push(name, value));
        all
    }
}

impl Envelope {
    /// Of an event that is (to be) the one of version `sequence` in the stream of the aggregate `subject`.
    pub fn of(event: &NewEvent, metadata: &Metadata, source: &str, subject: &str, sequence: u64, time_ms: i64) -> Self {
        Self {
            id: event.id.to_string(),
            source: source.to_owned(),
            event_type: event.event_type.clone(),
            time_ms: Some(time_ms),
            subject: Some(subject.to_owned()),
            sequence: Some(sequence),
            correlation_id: metadata.correlation_id.clone(),
            causation_id: metadata.causation_id.clone(),
            traceparent: metadata.traceparent.clone(),
        }
    }

    /// The record's key: the subject, so that the events of one aggregate share a partition.
    pub fn key(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The record's headers in binary mode, always in this order. The value is the event's JSON alone.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![("ce_specversion", SPEC_VERSION.to_owned())];
        headers.extend(self.attributes().map(|(name, value)| (name.header, value)));
        headers.extend(self.traceparent.clone().map(|value| (TRACEPARENT, value)));
        headers.push((CONTENT_TYPE, JSON.to_owned()));
        headers
    }

    /// The record's value in structured mode, to be sent with `content-type:` [`CLOUDEVENTS_JSON`].
    ///
    /// # Errors
    /// `data` is not JSON.
    pub fn structured(&self, data: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
        let data: &RawValue = serde_json::from_slice(data)?;
        let mut head = Map::new();
        head.insert("specversion".to_owned(), SPEC_VERSION.into());
        head.extend(self.attributes().map(|(name, value)| (name.member.to_owned(), value.into())));
        head.extend(self.traceparent.clone().map(|value| (TRACEPARENT.to_owned(), value.into())));
        head.insert("datacontenttype".to_owned(), JSON.into());
        // The event goes in as its own text: numbers that Value would round stay as they are.
        let mut json = Value::Object(head).to_string();
        json.truncate(json.len() - 1);
        Ok(format!("{json},\"data\":{data}}}").into_bytes())
    }

    fn attributes(&self) -> impl Iterator<Item = (Name, String)> {
        let known = |name, value: &str| Some((name, value.to_owned()));
        [
            known(ID, &self.id),
            known(SOURCE, &self.source),
            known(TYPE, &self.event_type),
            self.time_ms.map(|ms| (TIME, rfc_3339(ms))),
            self.subject.clone().map(|value| (SUBJECT, value)),
            self.sequence.map(|version| (SEQUENCE, version.to_string())),
            self.correlation_id.clone().map(|value| (CORRELATION_ID, value)),
            self.causation_id.clone().map(|value| (CAUSATION_ID, value)),
        ]
        .into_iter()
        .flatten()
    }
}

/// An attribute's name as a header and as a member of the JSON object.
#[derive(Debug, Clone, Copy)]
struct Name {
    header: &'static str,
    member: &'static str,
}

const fn name(header: &'static str, member: &'static str) -> Name {
    Name { header, member }
}

const SPECVERSION: Name = name("ce_specversion", "specversion");
const ID: Name = name("ce_id", "id");
const SOURCE: Name = name("ce_source", "source");
const TYPE: Name = name("ce_type", "type");
const TIME: Name = name("ce_time", "time");
const SUBJECT: Name = name("ce_subject", "subject");
const SEQUENCE: Name = name("ce_sequence", "sequence");
const CORRELATION_ID: Name = name("ce_correlationid", "correlationid");
const CAUSATION_ID: Name = name("ce_causationid", "causationid");
/// Tracers write the bare header; CloudEvents' extension has the prefix.
const TRACEPARENT: &str = "traceparent";
const TRACEPARENT_EXTENSION: Name = name("ce_traceparent", "traceparent");

/// UTC with milliseconds: `2026-02-01T00:00:00.250Z`. Times outside of the years 0 to 9999, which the format cannot
/// say, become the nearest that it can.
pub fn rfc_3339(ms: i64) -> String {
    const YEAR_0: i64 = -62_167_219_200_000;
    const YEAR_9999: i64 = 253_402_300_799_999;
    let ms = ms.clamp(YEAR_0, YEAR_9999);
    let time = OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    let (month, ms) = (u8::from(month), ms.rem_euclid(1000));
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests;
