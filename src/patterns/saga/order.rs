//! The order saga: an order is created, paid and shipped, by three services.

use std::time::Duration;

use super::{Definition, Kind, Step, choreography, orchestrator::EVENTS, participant::Participant, service::Service};

/// So long an answer is waited for: longer than a rebalance, or a broker that is restarted.
pub const ANSWER: Duration = Duration::from_secs(30);

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

/// The services, by the name that a person gives.
pub const PARTICIPANTS: [(&str, Service); 3] = [
    (
        "order",
        Service {
            asked: ORDER_SERVICE,
            reacts: choreography::ORDER,
            topics: &["order-commands", "order-compensate", EVENTS, "payments", "shipments"],
        },
    ),
    (
        "payment",
        Service {
            asked: PAYMENT_SERVICE,
            reacts: choreography::PAYMENT,
            topics: &["payment-commands", "payment-compensate", EVENTS, "orders", "shipments"],
        },
    ),
    (
        "shipping",
        Service {
            asked: SHIPPING_SERVICE,
            reacts: choreography::SHIPPING,
            topics: &["shipping-commands", "shipping-compensate", EVENTS, "orders", "payments"],
        },
    ),
];

/// All topics of the saga, in both styles.
pub const TOPICS: [&str; 10] = [
    "order-commands",
    "order-compensate",
    "payment-commands",
    "payment-compensate",
    "shipping-commands",
    "shipping-compensate",
    EVENTS,
    "orders",
    "payments",
    "shipments",
];
