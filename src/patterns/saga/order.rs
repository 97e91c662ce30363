//! The order saga: an order is created, paid and shipped, by three services.

use std::time::Duration;

use super::{Definition, Kind, Step, orchestrator::EVENTS, participant::Participant};

/// So long an answer is waited for: longer than a rebalance, or a broker that is restarted.
const ANSWER: Duration = Duration::from_secs(30);

const fn step(name: &'static str, participant: &'static str, compensation: &'static str) -> Step {
    Step { name, participant, compensation, kind: Kind::Compensatable, timeout: ANSWER }
}

pub static ORDER_SAGA: Definition = Definition {
    name: "order",
    version: 1,
    steps: &[
        step("CreateOrder", "order", "CancelOrder"),
        step("ProcessPayment", "payment", "RefundPayment"),
        step("ShipOrder", "shipping", "CancelShipment"),
    ],
};

pub const ORDER_SERVICE: Participant =
    Participant { name: "saga-order", keeps: "order", topics: &["order-commands", "order-compensate", EVENTS] };
pub const PAYMENT_SERVICE: Participant =
    Participant { name: "saga-payment", keeps: "charge", topics: &["payment-commands", "payment-compensate", EVENTS] };
pub const SHIPPING_SERVICE: Participant = Participant {
    name: "saga-shipping",
    keeps: "parcel",
    topics: &["shipping-commands", "shipping-compensate", EVENTS],
};

/// By the name that a person gives.
pub const PARTICIPANTS: [(&str, Participant); 3] =
    [("order", ORDER_SERVICE), ("payment", PAYMENT_SERVICE), ("shipping", SHIPPING_SERVICE)];

/// All topics of the saga.
pub const TOPICS: [&str; 7] = [
    "order-commands",
    "order-compensate",
    "payment-commands",
    "payment-compensate",
    "shipping-commands",
    "shipping-compensate",
    EVENTS,
];
