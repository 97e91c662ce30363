//! Projections: read models that follow from the set of events, and not from the order in which they came.
//!
//! # The problem
//!
//! Writing wants rules and one order at a time; reading wants lists, counts and sums over all of them. So the read side has
//! models of its own, made from events (CQRS). They are easy to draw and hard to keep right: the process dies between two
//! writes, a relay repeats, `OrderPaid` comes before `OrderCreated` because they are in two topics, and a counter that says
//! `count = count + 1` is wrong from then on, for ever, and nobody sees it.
//!
//! # The idea
//!
//! Two steps. What is known of one order is merged, and merging bears everything: an event twice, in any order.
//!
//! ```text
//!   known of the order       + event  -->   known of the order       each kind of event has a place; the same event
//!   { created, paid? ... }                  { created, paid, ... }    again finds it taken and changes nothing
//! ```
//!
//! What an order adds to a model is a function of what is known of it. So a model changes by the difference:
//!
//! ```text
//!   contribution(after) - contribution(before)   -->  users: ada +1     revenue: USD +12.99     statuses: CREATED -1, PAID +1
//! ```
//!
//! Both are written in one transaction. Then a model is the sum of the contributions of all orders, whatever happened on the
//! way: it equals the one that a rebuild from the beginning makes, row by row.
//!
//! Each model is one file: [`users`], [`products`], [`recent`], [`statuses`], [`revenue`].
//!
//! # What can go wrong
//!
//! - **Guarding by offset.** A relay that was killed publishes again, at other offsets. Here the event's id guards.
//! - **Reading the clock.** "The last 100 orders" by arrival are others after a rebuild. By (`ce_time`, id) they are the same.
//! - **A version is missing.** An order whose events have a hole is counted as incomplete, and not waited for: who waits for
//!   an event that retention took waits for ever.
//! - **Two events of one kind** in one order, which no command brings about: the one of the lower version counts, of equal
//!   ones the one of the lower id. A rule is needed, or the last one to come would win.
//!
//! # Try it
//!
//! `kafkalab cqrs`, and its parts: `cqrs write`, `cqrs read`, `cqrs stats`, `cqrs rebuild users`.
//!
//! # Read next
//!
//! [`inbox`](super::inbox), the guard of handlers whose effects cannot be merged. Shapiro et al., *Conflict-free Replicated
//! Data Types* (2011), for why merging bears repeats and any order.

mod changes;
pub mod products;
pub mod recent;
pub mod revenue;
pub mod statuses;
pub mod users;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::changes::{Changed, Changes, TooMuch};
use super::{
    envelope::Envelope,
    event_sourcing::RecordedEvent,
    inbox::{Entity, Message, Poison, message_id},
    money::Money,
    order::{DecodeError, OrderEvent, OrderId, ProductId, UserId},
    saga::choreography,
};

/// The topics that the read side follows, without a prefix.
pub const TOPICS: [&str; 3] = ["orders", "payments", "shipments"];

/// What the read side can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Model {
    /// Orders per user.
    Users,
    /// Orders per product.
    Products,
    /// The last orders.
    Recent,
    /// The status of each order, and how many have which.
    Statuses,
    /// Paid and refunded, per currency.
    Revenue,
}

/// Some of the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Models(u8);

/// An event as projections see it: the same from a topic and from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// By which a repeat is known.
    pub id: String,
    /// The order's version with it; `None` where its sender did not say.
    pub version: Option<u64>,
    /// `ce_time`, in milliseconds since the Unix epoch.
    pub time_ms: i64,
    pub event: OrderEvent,
}

/// Something that is known of an order, and from which event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact<T> {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    pub time_ms: i64,
    pub what: T,
}

/// How an order began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    pub user_id: UserId,
    pub product_id: ProductId,
    pub price: Money,
}

/// Money that came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    pub amount: Money,
}

/// Nothing but that it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {}

/// What is known of one order. Empty at first; [`learn`](Self::learn) merges.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Known {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Fact<Created>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid: Option<Fact<Moved>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipped: Option<Fact<Happened>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<Fact<Happened>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refunded: Option<Fact<Moved>>,
}

impl Model {
    pub const ALL: [Model; 5] = [Model::Users, Model::Products, Model::Recent, Model::Statuses, Model::Revenue];

    pub fn name(self) -> &'static str {
        match self {
            Model::Users => "users",
            Model::Products => "products",
            Model::Recent => "recent",
            Model::Statuses => "statuses",
            Model::Revenue => "revenue",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Models {
    pub const ALL: Models = Models(0b1_1111);

    /// As it lies in a table: bits in the order of [`Model::ALL`]. Others are ignored.
    pub fn from_bits(bits: i64) -> Self {
        Models((bits & i64::from(Self::ALL.0)) as u8)
    }

    pub fn bits(self) -> i64 {
        self.0.into()
    }

    pub fn has(self, model: Model) -> bool {
        self.0 & model.bit() != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Model> {
        Model::ALL.into_iter().filter(move |model| self.has(*model))
    }
}

impl From<Model> for Models {
    fn from(model: Model) -> Self {
        Models(model.bit())
    }
}

impl fmt::Display for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Model::name).collect();
        f.pad(&names.join(", "))
    }
}

/// The text names no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no model {0:?}; there are users, products, recent, statuses, revenue, and all for all of them")]
pub struct NoModel(String);

impl FromStr for Models {
    type Err = NoModel;

    fn from_str(text: &str) -> Result<Self, NoModel> {
        match text {
            "all" => Ok(Models::ALL),
            name => Model::ALL
                .into_iter()
                .find(|model| model.name() == name)
                .map(Models::from)
                .ok_or_else(|| NoModel(super::excerpt(name, 40))),
        }
    }
}

/// Whether it tells of an order of the log. What others send into the topics is theirs, and so are the orders of
/// choreographed sagas: they stand in no log.
pub fn is_of_the_log(envelope: &Envelope) -> bool {
    envelope.event_type.starts_with("orders.") && !envelope.source.starts_with(choreography::SOURCE)
}

/// The order that a message is about, as the entity of a handler; `None` where it [is not of the log](is_of_the_log).
///
/// # Errors
/// [`Poison`]: no event that is known.
pub fn order_of(message: &Message<'_>, kind: &'static str) -> Result<Option<Entity>, Poison> {
    if !is_of_the_log(message.envelope) {
        return Ok(None);
    }
    let event = OrderEvent::decode(&message.envelope.event_type, message.data).map_err(Poison::new)?;
    Ok(Some(Entity { kind, id: event.order_id().to_string() }))
}

impl Observed {
    /// From a record of a topic.
    ///
    /// # Errors
    /// [`DecodeError`]: poison.
    pub fn received(envelope: &Envelope, data: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self {
            id: message_id(envelope),
            version: envelope.sequence,
            time_ms: envelope.time_ms.unwrap_or(0),
            event: OrderEvent::decode(&envelope.event_type, data)?,
        })
    }

    /// From the event log; the same as its record gives.
    ///
    /// # Errors
    /// As [`received`](Self::received).
    pub fn recorded(event: &RecordedEvent) -> Result<Self, DecodeError> {
        Ok(Self {
            id: event.id.to_string(),
            version: Some(event.version),
            time_ms: event.recorded_at_ms,
            event: OrderEvent::recorded(event)?,
        })
    }

    pub fn order_id(&self) -> &OrderId {
        self.event.order_id()
    }

    fn fact<T>(&self, what: T) -> Fact<T> {
        Fact { id: self.id.clone(), version: self.version, time_ms: self.time_ms, what }
    }
}

impl Known {
    /// Merges an event in: the same result for any order of events, and for any number of repeats. True: something is new.
    pub fn learn(&mut self, observed: &Observed) -> bool {
        match &observed.event {
            OrderEvent::OrderCreated(event) => {
                let (user_id, product_id) = (event.user_id.clone(), event.product_id.clone());
                keep(&mut self.created, observed.fact(Created { user_id, product_id, price: event.price }))
            }
            OrderEvent::OrderPaid(event) => keep(&mut self.paid, observed.fact(Moved { amount: event.amount })),
            OrderEvent::OrderShipped(_) => keep(&mut self.shipped, observed.fact(Happened {})),
            OrderEvent::OrderCancelled(_) => keep(&mut self.cancelled, observed.fact(Happened {})),
            OrderEvent::PaymentRefunded(event) => {
                keep(&mut self.refunded, observed.fact(Moved { amount: event.amount }))
            }
        }
    }

    /// The events that it stands on: id and version of each.
    pub fn events(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        let created = self.created.as_ref().map(|fact| (fact.id.as_str(), fact.version));
        let moved = [&self.paid, &self.refunded].map(|fact| fact.as_ref().map(|fact| (fact.id.as_str(), fact.version)));
        let plain =
            [&self.shipped, &self.cancelled].map(|fact| fact.as_ref().map(|fact| (fact.id.as_str(), fact.version)));
        created.into_iter().chain(moved.into_iter().flatten()).chain(plain.into_iter().flatten())
    }

    /// Versions that must be there and are not: below the highest one that is. They may come yet.
    pub fn missing(&self) -> u64 {
        let (mut highest, mut count) = (0, 0);
        for version in self.events().filter_map(|(_, version)| version) {
            highest = highest.max(version);
            count += 1;
        }
        highest.saturating_sub(count)
    }
}

/// Of two events in one place the one of the lower version stays, of equal ones the one of the lower id.
fn keep<T>(place: &mut Option<Fact<T>>, new: Fact<T>) -> bool {
    fn rank<T>(fact: &Fact<T>) -> (u64, &str) {
        (fact.version.unwrap_or(u64::MAX), &fact.id)
    }
    let is_new = place.as_ref().is_none_or(|kept| rank(&new) < rank(kept));
    if is_new {
        *place = Some(new);
    }
    is_new
}

#[cfg(test)]
mod tests;
