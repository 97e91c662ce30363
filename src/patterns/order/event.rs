//! What can have happened to an order, how it is called on the wire, and to which topic it goes.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    DecodeError, OrderId, PaymentId, ProductId, Reason, ShipmentId, UserId,
    upcast::{self, Latest},
};
use crate::patterns::{
    event_sourcing::{Metadata, NewEvent, RecordedEvent},
    money::Money,
};

/// Tells; cannot be refused. The fields' names in JSON are kept for ever: events in the store have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderEvent {
    OrderCreated(OrderCreated),
    OrderPaid(OrderPaid),
    OrderShipped(OrderShipped),
    OrderCancelled(OrderCancelled),
    PaymentRefunded(PaymentRefunded),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCreated {
    pub order_id: OrderId,
    pub user_id: UserId,
    pub product_id: ProductId,
    pub price: Money,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPaid {
    pub order_id: OrderId,
    pub user_id: UserId,
    pub payment_id: PaymentId,
    pub amount: Money,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderShipped {
    pub order_id: OrderId,
    pub user_id: UserId,
    pub shipment_id: ShipmentId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCancelled {
    pub order_id: OrderId,
    pub user_id: UserId,
    pub reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRefunded {
    pub order_id: OrderId,
    pub user_id: UserId,
    pub payment_id: PaymentId,
    pub amount: Money,
}

/// The one table: an event's type and the topic it goes to (before `--topic-prefix`).
pub(super) const TYPES: [(&str, &str); 5] = [
    ("orders.v1.OrderCreated", "orders"),
    ("orders.v1.OrderPaid", "payments"),
    ("orders.v1.OrderShipped", "shipments"),
    ("orders.v1.OrderCancelled", "orders"),
    ("orders.v1.PaymentRefunded", "payments"),
];

/// The topic of an event's type, for whoever has the type alone (a relay).
pub fn topic_of(event_type: &str) -> Option<&'static str> {
    TYPES.iter().find(|(name, _)| *name == event_type).map(|(_, topic)| *topic)
}

impl OrderEvent {
    /// Where in [`TYPES`] it stands.
    fn row(&self) -> (&'static str, &'static str) {
        TYPES[match self {
            Self::OrderCreated(_) => 0,
            Self::OrderPaid(_) => 1,
            Self::OrderShipped(_) => 2,
            Self::OrderCancelled(_) => 3,
            Self::PaymentRefunded(_) => 4,
        }]
    }

    /// `orders.v1.OrderCreated`: what is written. Older types are read too.
    pub fn event_type(&self) -> &'static str {
        self.row().0
    }

    /// `OrderCreated`
    pub fn name(&self) -> &'static str {
        self.event_type().trim_start_matches("orders.v1.")
    }

    /// Topics are by what an event is about, not by who owns the order. No order holds across topics: a reader of
    /// `payments` may see `OrderPaid` before a reader of `orders` sees `OrderCreated`.
    pub fn topic(&self) -> &'static str {
        self.row().1
    }

    pub fn order_id(&self) -> &OrderId {
        match self {
            Self::OrderCreated(event) => &event.order_id,
            Self::OrderPaid(event) => &event.order_id,
            Self::OrderShipped(event) => &event.order_id,
            Self::OrderCancelled(event) => &event.order_id,
            Self::PaymentRefunded(event) => &event.order_id,
        }
    }

    /// The event alone, without its type: that stands beside it.
    pub fn to_json(&self) -> Vec<u8> {
        let json = match self {
            Self::OrderCreated(event) => serde_json::to_vec(event),
            Self::OrderPaid(event) => serde_json::to_vec(event),
            Self::OrderShipped(event) => serde_json::to_vec(event),
            Self::OrderCancelled(event) => serde_json::to_vec(event),
            Self::PaymentRefunded(event) => serde_json::to_vec(event),
        };
        json.expect("texts and an amount are JSON")
    }

    /// Reads an event of any version that ever was, by its type: older shapes are upcast to today's.
    ///
    /// # Errors
    /// [`DecodeError`]: a type or version that this program does not know, or a value that is not of its type. None of
    /// them may be skipped: the state without the event would be another.
    pub fn decode(event_type: &str, data: &[u8]) -> Result<Self, DecodeError> {
        let Latest { event_type, data } = upcast::to_latest(event_type, data)?;
        let event = match event_type {
            "orders.v1.OrderCreated" => serde_json::from_slice(&data).map(Self::OrderCreated),
            "orders.v1.OrderPaid" => serde_json::from_slice(&data).map(Self::OrderPaid),
            "orders.v1.OrderShipped" => serde_json::from_slice(&data).map(Self::OrderShipped),
            "orders.v1.OrderCancelled" => serde_json::from_slice(&data).map(Self::OrderCancelled),
            "orders.v1.PaymentRefunded" => serde_json::from_slice(&data).map(Self::PaymentRefunded),
            other => return Err(upcast::unknown(other)),
        };
        event.map_err(|error| DecodeError::malformed(event_type, &error))
    }

    /// [`decode`](Self::decode) for [`fold`](crate::patterns::event_sourcing::fold).
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn recorded(event: &RecordedEvent) -> Result<Self, DecodeError> {
        Self::decode(&event.event_type, &event.data)
    }

    /// Ready for the order's stream ([`OrderId::stream`]).
    pub fn to_new_event(&self, id: Uuid, metadata: &Metadata) -> NewEvent {
        NewEvent { id, event_type: self.event_type().to_owned(), data: self.to_json(), metadata: metadata.to_json() }
    }
}
