//! What an order is, computed from what happened to it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{OrderCreated, OrderEvent, OrderId, PaymentId, ProductId, Reason, ShipmentId, UserId};
use crate::patterns::money::Money;

/// An order. Each status knows what is known by then and nothing more, so that "paid without a payment" cannot be said.
/// JSON: `{"status":"paid","order_id":...,"payment":{...}}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Order {
    /// No event yet.
    #[default]
    NotThere,
    Created {
        #[serde(flatten)]
        placed: Placed,
    },
    Paid {
        #[serde(flatten)]
        placed: Placed,
        payment: Payment,
    },
    Shipped {
        #[serde(flatten)]
        placed: Placed,
        payment: Payment,
        shipment_id: ShipmentId,
    },
    Cancelled {
        #[serde(flatten)]
        placed: Placed,
        reason: Reason,
        /// What was paid before; `None` for an order that was never paid.
        payment: Option<Payment>,
        /// What of it went back so far.
        refunded: Option<Money>,
    },
}

/// What was ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    pub order_id: OrderId,
    pub user_id: UserId,
    pub product_id: ProductId,
    pub price: Money,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    pub payment_id: PaymentId,
    pub amount: Money,
}

/// An order's status as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    NotThere,
    Created,
    Paid,
    Shipped,
    Cancelled,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotThere => "not there",
            Self::Created => "created",
            Self::Paid => "paid",
            Self::Shipped => "shipped",
            Self::Cancelled => "cancelled",
        })
    }
}

impl Order {
    /// The number of this shape, for snapshots. Raise it whenever a field or the meaning of [`evolve`] changes.
    pub const SCHEMA: u32 = 1;

    /// After these events, from nothing.
    pub fn after<'a>(events: impl IntoIterator<Item = &'a OrderEvent>) -> Self {
        events.into_iter().fold(Self::NotThere, evolve)
    }

    pub fn status(&self) -> Status {
        match self {
            Self::NotThere => Status::NotThere,
            Self::Created { .. } => Status::Created,
            Self::Paid { .. } => Status::Paid,
            Self::Shipped { .. } => Status::Shipped,
            Self::Cancelled { .. } => Status::Cancelled,
        }
    }

    /// `None` before the order is created.
    pub fn placed(&self) -> Option<&Placed> {
        match self {
            Self::NotThere => None,
            Self::Created { placed }
            | Self::Paid { placed, .. }
            | Self::Shipped { placed, .. }
            | Self::Cancelled { placed, .. } => Some(placed),
        }
    }

    /// The payment that was made, refunded or not.
    pub fn payment(&self) -> Option<&Payment> {
        match self {
            Self::NotThere | Self::Created { .. } => None,
            Self::Paid { payment, .. } | Self::Shipped { payment, .. } => Some(payment),
            Self::Cancelled { payment, .. } => payment.as_ref(),
        }
    }
}

/// The next state. Never refuses: an event that fits no arrow of the drawing in [`order`](super) changes nothing, because
/// it was decided by rules that this program does not have.
pub fn evolve(order: Order, event: &OrderEvent) -> Order {
    match (order, event) {
        (Order::NotThere, OrderEvent::OrderCreated(event)) => {
            let OrderCreated { order_id, user_id, product_id, price } = event.clone();
            Order::Created { placed: Placed { order_id, user_id, product_id, price } }
        }
        (Order::Created { placed }, OrderEvent::OrderPaid(event)) => {
            let payment = Payment { payment_id: event.payment_id.clone(), amount: event.amount };
            Order::Paid { placed, payment }
        }
        (Order::Paid { placed, payment }, OrderEvent::OrderShipped(event)) => {
            Order::Shipped { placed, payment, shipment_id: event.shipment_id.clone() }
        }
        (Order::Created { placed }, OrderEvent::OrderCancelled(event)) => {
            Order::Cancelled { placed, reason: event.reason.clone(), payment: None, refunded: None }
        }
        (Order::Paid { placed, payment }, OrderEvent::OrderCancelled(event)) => {
            Order::Cancelled { placed, reason: event.reason.clone(), payment: Some(payment), refunded: None }
        }
        (
            Order::Cancelled { placed, reason, payment: Some(payment), refunded: None },
            OrderEvent::PaymentRefunded(event),
        ) => Order::Cancelled { placed, reason, payment: Some(payment), refunded: Some(event.amount) },
        (unmoved, _) => unmoved,
    }
}
