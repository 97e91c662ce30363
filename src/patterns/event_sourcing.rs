//! Event sourcing: what happened is kept, what is so is computed from it.
//!
//! # The problem
//!
//! A row `status = 'cancelled'` says how things stand. It does not say who cancelled, what the order was before, or
//! what the row said last Tuesday: every `UPDATE` destroys what it overwrites. And whoever wants to tell other
//! services about the change has to write twice, see "the dual write" below.
//!
//! # The idea
//!
//! Each aggregate (an order) has a stream: a list of events, numbered from 1 without a gap, to which one only appends.
//! Its state is a fold over the list. A command is decided on the state, and what comes out is new events:
//!
//! ```text
//!   stream order-7      1 OrderCreated    2 OrderPaid      3 OrderShipped
//!                       |                 |                |
//!   evolve    nothing --+--> Created -----+--> Paid -------+--> Shipped        state at version 2: Paid
//!                                         |
//!   decide                     ShipOrder -+-> [OrderShipped] --> append, expecting version 2
//! ```
//!
//! `decide(state, command) -> events` may refuse; `evolve(state, event) -> state` may not: what happened, happened.
//! Both are pure ([`order`](super::order) has a pair), so history can be folded again to any version or any time
//! ([`fold`]), two states can be compared ([`diff`]), and a new question can be asked of old events.
//!
//! Between reading a stream and appending to it somebody else may have appended. The append says which version it was
//! decided on ([`ExpectedVersion::Exact`]); the store compares and refuses ([`WrongExpectedVersion`]), and the caller
//! folds the new events and decides again. Nobody waits on a lock and no decision rests on a state that is gone.
//!
//! # The dual write
//!
//! An event has to be in the store and on Kafka. Two systems, two writes, and a crash fits between them:
//!
//! ```text
//!   append, then publish           publish, then append
//!   1. append   committed          1. publish  acknowledged
//!        X crash                        X crash, or the append is refused
//!   2. publish  never              2. append   never
//!   => stored, and nobody hears    => consumers acted on what never happened
//!      of it: a lost event            : an invented event
//! ```
//!
//! Retrying does not help: who crashed between the two does not know that there is something to retry. Publishing
//! within the database's transaction does not help either, it is the second column. Kafka's own transactions cover
//! Kafka alone. The way out is to write once: the event and the intent to publish it go into the same database in one
//! transaction (the outbox), and a relay publishes from there, repeating after a crash rather than losing. Publishing
//! is then at-least-once and in order per aggregate, and the consumer drops repeats by the event's id (the inbox).
//!
//! # What holds, and what does not
//!
//! | Holds | Because |
//! |---|---|
//! | The state at version N is the same each time it is computed | [`fold`] is pure, events never change |
//! | A missing, repeated or foreign event in a stream is an error, never a wrong state | [`fold`] checks stream and version |
//! | Two writers that decided on one version: one of them is refused | [`ExpectedVersion::check`], made in the append's transaction |
//! | A snapshot that does not fit costs time, never correctness | [`Snapshot::open`] refuses, the whole stream is folded |
//!
//! | Does not hold | Instead |
//! |---|---|
//! | A rule over two streams ("a user has at most 3 open orders") | one stream's version guards one stream; reserve, or compensate |
//! | That an event can be taken back | append what corrects it (`PaymentRefunded`), as a bookkeeper does |
//! | That old events have today's shape | upcasters give it to them on reading ([`order`](super::order)) |
//! | That a state at a time is exact to the millisecond | it follows the store's clock, see [`Until::Time`] |
//! | That personal data can be deleted from a stream | keep it elsewhere, or encrypt it and delete the key |
//!
//! # Try it
//!
//! `kafkalab es` runs all of it and tells what it does; the README's section "Event sourcing" has its parts, `docs/guarantees.md`
//! what is promised of the log and its publisher, each line with its test. The rules alone, without a store:
//!
//! ```
//! use kafkalab::patterns::{
//!     event_sourcing::{ExpectedVersion, Folded, Metadata, RecordedEvent, Until, diff, fold},
//!     order::{CancelOrder, CreateOrder, Order, OrderEvent, OrderId, Status, decide, evolve},
//! };
//!
//! let order_id: OrderId = "7".parse()?;
//! let (user_id, product_id, price) = ("ada".parse()?, "lamp".parse()?, "USD:99.99".parse()?);
//! let mut stream: Vec<RecordedEvent> = Vec::new();
//!
//! for command in [
//!     CreateOrder { order_id: order_id.clone(), user_id, product_id, price }.into(),
//!     CancelOrder { order_id: order_id.clone(), reason: "changed_mind".parse()? }.into(),
//! ] {
//!     // Load: fold what is there. Decide. Append, expecting that nobody was quicker: the store's part, done by hand.
//!     let now: Folded<Order> = fold(Folded::default(), &stream, Until::End, OrderEvent::recorded, evolve)?;
//!     for event in decide(&now.state, command)? {
//!         let new = event.to_new_event(uuid::Uuid::now_v7(), &Metadata::by("ada"));
//!         ExpectedVersion::Exact(now.version).check(stream.len() as u64)?;
//!         let version = now.version + 1;
//!         stream.push(RecordedEvent {
//!             position: version, stream: order_id.stream(), version, recorded_at_ms: 0,
//!             id: new.id, event_type: new.event_type, data: new.data, metadata: new.metadata,
//!         });
//!     }
//! }
//!
//! // What did the order say before it was cancelled, and what did that change?
//! let at = |version| fold(Folded::default(), &stream, Until::Version(version), OrderEvent::recorded, evolve);
//! let (then, now) = (at(1)?.state, at(2)?.state);
//! assert_eq!((then.status(), now.status()), (Status::Created, Status::Cancelled));
//! assert!(diff(&then, &now)?.iter().any(|change| change.path == "/reason"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Read next
//!
//! [`order`](super::order), the rules of one aggregate; [`envelope`](super::envelope), how its events travel.
//! Greg Young, *CQRS Documents* (2010); Martin Fowler, *Event Sourcing* (2005).

mod diff;
mod fold;
mod snapshot;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use diff::{Change, diff};
pub use fold::{FoldError, Folded, Until, fold, unreadable};
pub use snapshot::{Snapshot, SnapshotError};

/// What an append expects of its stream, compared by the store in the transaction of the append.
/// The four are KurrentDB's (EventStoreDB's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExpectedVersion {
    /// The stream has no event yet: two creators of one id, and one is refused.
    NoStream,
    /// The stream has an event, whichever.
    StreamExists,
    /// No expectation. Right only where events do not depend on each other, because a concurrent append goes unseen.
    Any,
    /// The stream's last event has this version; 0 is the same as [`NoStream`](Self::NoStream). What a decision is
    /// appended with: the version it was decided on.
    Exact(u64),
}

impl ExpectedVersion {
    /// Compares with `actual`, the version of the stream's last event, 0 where it has none.
    ///
    /// # Errors
    /// [`WrongExpectedVersion`]: somebody else has appended, or the stream is not there. Load it and decide again.
    pub fn check(self, actual: u64) -> Result<(), WrongExpectedVersion> {
        let holds = match self {
            Self::NoStream => actual == 0,
            Self::StreamExists => actual > 0,
            Self::Any => true,
            Self::Exact(version) => actual == version,
        };
        if holds { Ok(()) } else { Err(WrongExpectedVersion { expected: self, actual }) }
    }
}

/// `no_stream`, `stream_exists`, `any`, or the number.
impl fmt::Display for ExpectedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStream => f.write_str("no_stream"),
            Self::StreamExists => f.write_str("stream_exists"),
            Self::Any => f.write_str("any"),
            Self::Exact(version) => write!(f, "{version}"),
        }
    }
}

/// The text is none of the words of [`ExpectedVersion`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an expected version is no_stream, stream_exists, any, or a version such as 3")]
pub struct NoExpectedVersion;

impl FromStr for ExpectedVersion {
    type Err = NoExpectedVersion;

    fn from_str(text: &str) -> Result<Self, NoExpectedVersion> {
        match text {
            "no_stream" => Ok(Self::NoStream),
            "stream_exists" => Ok(Self::StreamExists),
            "any" => Ok(Self::Any),
            number if number.bytes().all(|digit| digit.is_ascii_digit()) => {
                number.parse().map(Self::Exact).map_err(|_| NoExpectedVersion)
            }
            _ => Err(NoExpectedVersion),
        }
    }
}

/// The stream is not where the append expected it. Not a failure of the store: load the stream, decide again on what it
/// says now, and append that; or tell the person that the order has changed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected version {expected}, but the stream is at version {actual}; load it and decide again")]
pub struct WrongExpectedVersion {
    pub expected: ExpectedVersion,
    /// The version of the stream's last event; 0 where there is none.
    pub actual: u64,
}

/// An event on its way into a stream. Stream, version and position are given by the append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Unique over the whole store, made by whoever decided (version 7: sorts by time). Appending the same id again is
    /// a repeat: the store says where the event already is and writes nothing.
    pub id: Uuid,
    /// `orders.v1.OrderCreated`: domain, version of the shape, name.
    pub event_type: String,
    /// The event as JSON.
    pub data: Vec<u8>,
    /// [`Metadata`] as JSON.
    pub metadata: Vec<u8>,
}

/// An event in its stream. Never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Over all streams, from 1. Goes up, may have gaps.
    pub position: u64,
    /// `order-019c167f-...`: the aggregate's kind and id.
    pub stream: String,
    /// Within the stream: 1, 2, 3, without a gap.
    pub version: u64,
    pub id: Uuid,
    pub event_type: String,
    /// The event as JSON, in the shape of its type's version.
    pub data: Vec<u8>,
    /// [`Metadata`] as JSON.
    pub metadata: Vec<u8>,
    /// Milliseconds since the Unix epoch, by the store's clock. For people and [`Until::Time`]; order is by version.
    pub recorded_at_ms: i64,
}

/// Who did it, and what it belongs to: stands beside the event, because the domain does not decide by it.
///
/// ```text
///   CreateOrder (no event)                 correlation_id   the conversation: the same on everything below it
///      +-- OrderCreated  id a              causation_id     the message that this one answers
///             +-- PayOrder  cause a
///                    +-- OrderPaid  id b, cause of what follows
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Metadata {
    /// Who acted, for the audit: a person's or a service's name.
    pub actor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// W3C Trace Context, as it came with the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Of the request, where it came with an id: by it the caller's log and this one are read together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What publishes the event, where it is not the log's own publisher ([`outbox`](super::outbox)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
}

impl Metadata {
    /// Acts in nobody's name but `actor`'s, at the beginning of a conversation.
    pub fn by(actor: impl Into<String>) -> Self {
        Self { actor: actor.into(), ..Self::default() }
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts are JSON")
    }

    /// # Errors
    /// The bytes are not JSON, or `actor` is missing. Fields it does not know are passed over.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

#[cfg(test)]
mod tests;
