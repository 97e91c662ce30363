//! Choreography: the same business without an orchestrator. Each service reacts to what the others say.
//!
//! # The idea
//!
//! ```text
//!   order        OrderCreated ------+                      +--> the lock is off
//!   payment                         +--> OrderPaid --+     |
//!   shipping                                         +--> OrderShipped
//!
//!   and back     ShipmentFailed ------------> PaymentRefunded --> OrderCancelled
//!                                             PaymentDeclined --> OrderCancelled
//!   no outcome   OrderCancelled --> ShipmentCancelled --> PaymentRefunded --> the order is undone
//! ```
//!
//! A service is a row ([`Service`]): what it acts on and says then, what it takes that back on. Nobody has the whole picture:
//! each row names only what its own service hears and says. The order service keeps the *deadline*, since it is the one
//! whose customer waits.
//!
//! # What it gains, and what it costs
//!
//! | | orchestration | choreography |
//! |---|---|---|
//! | who knows the steps | one list, [`order`](super::order) | nobody; the picture above is drawn by hand |
//! | messages of a saga of three steps | 7: three commands, three replies, the end | 4: a command, three events |
//! | a new step | a line in the list | the services before and behind it change what they hear |
//! | where a saga stands | its row | to be gathered from the services ([`gathered`](gathered())) |
//! | coupling | services know commands of their own | services know the events of others |
//! | compensations that were parked, once more | in reverse, one after the other | each service its own, when it can |
//! | single point of failure | the orchestrator (another one goes on) | none; but the order service alone keeps the time |
//!
//! # What can go wrong
//!
//! | what | and what is done |
//! |---|---|
//! | Topics have no order among each other: a cancellation may come before what it cancels | it is remembered, and the order that comes then is refused |
//! | Nobody says anything | the deadline: the order service says `OrderCancelled`, and each service takes back what it did, the last one first |
//! | An event comes late, or twice | it finds a service that is behind that already, and is ignored |
//! | A compensation keeps failing | after five attempts it is parked; its service says so, and the earlier ones still run |
//! | A service that is to take something back is not there | it is waited for, five times as long as for an answer; then the order is undone and the saga is parked |
//! | Somebody else writes to `orders` | only sources of this choreography ([`SOURCE`]) are heard |
//!
//! # Try it
//!
//! `kafkalab saga run --style choreography`, the same with `--fail-at 3`, and `kafkalab saga show ID`.
//!
//! # Read next
//!
//! [`rules`], what a service does with what it hears. Chris Richardson, *Microservices Patterns*, chapter 4 (choreography and
//! orchestration). Leslie Lamport, *Time, Clocks, and the Ordering of Events in a Distributed System* (1978): the clock by which
//! [`gathered`](gathered()) puts the services' logs into one.

mod gathered;
pub mod rules;
#[cfg(test)]
mod tests;

pub use gathered::{CHOREOGRAPHY, gathered};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use self::rules::{Said, Turn};
use super::{
    Patience,
    participant::{Doing, Kept},
};
use crate::patterns::{
    envelope::Envelope,
    inbox::{Effects, Entity, Message, Poison, answer, id_of},
    outbox::NewMessage,
};

/// Before the services' names, in the source of each message.
pub const SOURCE: &str = "/kafkalab/choreography/";
/// A customer's wish is the one command: everything else is an event.
pub const CREATE_ORDER: &str = "CreateOrder";
const REQUESTS: &str = "order-commands";

/// What one service knows of the business.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// `payment`
    pub name: &'static str,
    /// The kind of its state.
    pub keeps: &'static str,
    /// Its number, from 1: for faults that are asked for, and for people.
    pub step: usize,
    /// Where it says what it says.
    pub topic: &'static str,
    pub acts_on: &'static str,
    pub acted: &'static str,
    /// None: nobody has begun anything yet, so nobody needs to hear of it.
    pub declined: Option<&'static str>,
    pub takes_back_on: &'static [&'static str],
    pub taken_back: &'static str,
    /// It is asked to take back what it never did, and never will do.
    pub never_did: &'static str,
    pub cannot_take_back: Option<&'static str>,
    /// The business is done: its lock comes off. None: by its own step.
    pub closes_on: Option<&'static str>,
    /// It keeps the deadline, which begins anew with this event.
    pub deadline: Option<&'static str>,
}

pub const ORDER: Service = Service {
    name: "order",
    keeps: "order",
    step: 1,
    topic: "orders",
    acts_on: CREATE_ORDER,
    acted: "OrderCreated",
    declined: None,
    takes_back_on: &["PaymentDeclined", "PaymentRefunded", "PaymentVoided", "PaymentRefundFailed"],
    taken_back: "OrderCancelled",
    never_did: "OrderCancelled",
    cannot_take_back: None,
    closes_on: Some("OrderShipped"),
    deadline: Some("OrderPaid"),
};

pub const PAYMENT: Service = Service {
    name: "payment",
    keeps: "charge",
    step: 2,
    topic: "payments",
    acts_on: "OrderCreated",
    acted: "OrderPaid",
    declined: Some("PaymentDeclined"),
    takes_back_on: &["ShipmentFailed", "ShipmentCancelled", "ShipmentCancelFailed"],
    taken_back: "PaymentRefunded",
    never_did: "PaymentVoided",
    cannot_take_back: Some("PaymentRefundFailed"),
    closes_on: Some("OrderShipped"),
    deadline: None,
};

pub const SHIPPING: Service = Service {
    name: "shipping",
    keeps: "parcel",
    step: 3,
    topic: "shipments",
    acts_on: "OrderPaid",
    acted: "OrderShipped",
    declined: Some("ShipmentFailed"),
    takes_back_on: &["OrderCancelled"],
    taken_back: "ShipmentCancelled",
    never_did: "ShipmentCancelled",
    cannot_take_back: Some("ShipmentCancelFailed"),
    closes_on: None,
    deadline: None,
};

/// What goes along with each event, beside what the event itself says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Context {
    /// Lamport's clock of whoever says it.
    clock: u64,
    /// What the order is about.
    data: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Of `OrderCancelled`: it is the deadline's, and whoever did something takes it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    take_back: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    patience: Option<Patience>,
}

#[derive(Deserialize)]
struct Event {
    context: Context,
}

/// Whether a message is one of the choreography.
pub fn is_of_it(envelope: &Envelope) -> bool {
    envelope.source.starts_with(SOURCE)
}

impl Service {
    /// An order is asked for: what the order service has of it, and the command that it gets.
    ///
    /// # Errors
    /// [`Poison`] where the data is no JSON that can be written.
    pub fn request(&self, id: &str, data: Value, patience: Option<Patience>) -> Result<Effects, Poison> {
        let envelope = Envelope {
            source: format!("{SOURCE}customer"),
            event_type: format!("{}{CREATE_ORDER}", super::orchestrator::TYPES),
            subject: Some(id.to_owned()),
            correlation_id: Some(id.to_owned()),
            ..Envelope::default()
        };
        let kept = Kept { data: data.clone(), flow: Some(rules::Flow::default()), ..Kept::default() };
        let context = Context { data, patience, ..Context::default() };
        let payload = serde_json::to_vec(&json!({"order_id": id, "context": context})).map_err(Poison::new)?;
        let message_id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{} {id}", envelope.source).as_bytes());
        let message = NewMessage::by(&envelope, "saga", message_id, REQUESTS, payload);
        let state = serde_json::to_vec(&kept).map_err(Poison::new)?;
        Ok(Effects { state: Some(state), timer: None, messages: vec![message], ..Effects::default() })
    }

    /// Whose order the message is about; `None`: this service does not listen to it.
    pub fn entity(&self, message: &Message<'_>) -> Option<Entity> {
        let name = short(message.envelope);
        let hears = name == self.acts_on
            || self.takes_back_on.contains(&name)
            || Some(name) == self.closes_on
            || Some(name) == self.deadline;
        let id = message.envelope.subject.clone().filter(|_| hears && is_of_it(message.envelope))?;
        Some(Entity { kind: self.keeps, id })
    }

    /// What follows from an event; nothing, and the state untouched, where the service is behind that already.
    ///
    /// # Errors
    /// [`Poison`]: it cannot be read.
    pub fn handle(&self, state: Option<&[u8]>, message: &Message<'_>) -> Result<Effects, Poison> {
        let Event { context } = serde_json::from_slice(message.data).map_err(Poison::new)?;
        let kept = state.map_or(Ok(Kept::default()), serde_json::from_slice).map_err(Poison::new)?;
        let turn = Turn::new(self, kept);
        self.effects(turn.hear(short(message.envelope), &message.envelope.id, context), message.envelope)
    }

    /// Its timer has run out.
    ///
    /// # Errors
    /// [`Poison`]: the state cannot be read.
    pub fn due(&self, id: &str, state: &[u8]) -> Result<Effects, Poison> {
        let kept: Kept = serde_json::from_slice(state).map_err(Poison::new)?;
        let flow = kept.flow.clone().unwrap_or_default();
        let cause = Envelope {
            id: flow.cause.unwrap_or_default(),
            subject: Some(id.to_owned()),
            correlation_id: Some(id.to_owned()),
            ..Envelope::default()
        };
        self.effects(Turn::new(self, kept).time_is_up(), &cause)
    }

    /// What is parked, once more; `None`: nothing is.
    ///
    /// # Errors
    /// [`Poison`]: it is no JSON that can be written.
    pub fn retry(&self, kept: Kept) -> Result<Option<Effects>, Poison> {
        let turn = Turn::new(self, kept).retry();
        turn.map(|turn| self.effects(Some(turn), &Envelope::default())).transpose()
    }

    fn effects(&self, turn: Option<Turn<'_>>, cause: &Envelope) -> Result<Effects, Poison> {
        let Some(turn) = turn else { return Ok(Effects::default()) };
        let (timer, (kept, said)) = (turn.timer(), turn.end());
        let messages = said.iter().zip(0..).map(|(said, nth)| self.message(cause, said, nth));
        let messages = messages.collect::<Result<Vec<_>, _>>()?;
        Ok(Effects {
            state: Some(serde_json::to_vec(&kept).map_err(Poison::new)?),
            timer,
            messages,
            ..Effects::default()
        })
    }

    fn message(&self, cause: &Envelope, said: &Said, nth: u64) -> Result<NewMessage, Poison> {
        let source = format!("choreography/{}", self.name);
        let envelope = answer(&source, cause, &format!("orders.v1.{}", said.event));
        // the clock tells what this service says of one order apart, also where a timer and a message have one cause
        let id = id_of(&format!("{source} {}", said.context.clock), &envelope_of(cause), nth as usize);
        let order_id = envelope.subject.as_deref().unwrap_or_default();
        let mut event = fields(said.event, order_id, &said.context);
        event["context"] = json!(said.context);
        let payload = serde_json::to_vec(&event).map_err(Poison::new)?;
        Ok(NewMessage::by(&envelope, "saga", id, self.topic, payload))
    }
}

/// Of a cause, what makes an id: its source is not known to a timer.
fn envelope_of(cause: &Envelope) -> Envelope {
    Envelope { id: format!("{} {}", cause.subject.as_deref().unwrap_or_default(), cause.id), ..Envelope::default() }
}

/// What an event says to whoever reads the topic: the domain's own events have the fields that they have everywhere.
fn fields(event: &str, order_id: &str, context: &Context) -> Value {
    let data = &context.data;
    let mut fields = json!({"order_id": order_id, "user_id": data["user_id"]});
    let named = |what: &str| Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{what} {order_id}").as_bytes()).to_string();
    match event {
        "OrderCreated" => {
            fields["product_id"] = data["product_id"].clone();
            fields["price"] = data["price"].clone();
        }
        "OrderPaid" | "PaymentRefunded" => {
            fields["payment_id"] = named("payment").into();
            fields["amount"] = data["price"].clone();
        }
        "OrderShipped" => fields["shipment_id"] = named("shipment").into(),
        _ => fields["reason"] = context.reason.clone().unwrap_or_else(|| "no reason given".to_owned()).into(),
    }
    fields
}

/// `orders.v1.OrderPaid` -> `OrderPaid`
fn short(envelope: &Envelope) -> &str {
    envelope.event_type.rsplit('.').next().unwrap_or_default()
}

/// Done, and not taken back.
fn is_done(kept: &Kept) -> bool {
    matches!(kept.status, Doing::Pending | Doing::Done)
}
