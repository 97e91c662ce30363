//! Old events in today's shape.
//!
//! Events are never rewritten: copies of them are with every consumer. When the shape of one changes in a way that old
//! readers would misread, the version in its type goes up, and reading leads each old version to the next:
//!
//! ```text
//!   orders.v0.OrderCreated  --upcast-->  orders.v1.OrderCreated  (--upcast--> v2, when there is one)
//!   {"amount_cents":9999,                {"price":{"currency":"USD",
//!    "currency":"USD",...}                         "amount":"99.99"},...}
//! ```
//!
//! `v0` called the price cents. That is a hundredth of the main unit, which yen do not have and of which a dinar's fils
//! are a tenth: the lesson of why the currency decides the digits ([`money`](crate::patterns::money)).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{OrderCreated, OrderId, ProductId, UserId, event::TYPES};
use crate::patterns::{
    excerpt,
    money::{Currency, Money},
};

/// Why an event cannot be read. A consumer puts the record aside; a fold stops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Another domain's event, or one that a newer program has invented.
    #[error("unknown event type {event_type:?}; this program knows {}", known())]
    UnknownType { event_type: String },
    /// The event is known, this version of its shape is not: update this program.
    #[error("{event_type:?} has a version that this program does not know; it knows {}", known())]
    UnknownVersion { event_type: String },
    #[error("the value is no {event_type}: {reason}")]
    Malformed { event_type: String, reason: String },
}

impl DecodeError {
    pub(super) fn malformed(event_type: &str, reason: &dyn std::fmt::Display) -> Self {
        Self::Malformed { event_type: event_type.to_owned(), reason: excerpt(&reason.to_string(), 200) }
    }
}

fn known() -> String {
    TYPES.iter().map(|(name, _)| *name).chain(UPCASTS.iter().map(|upcast| upcast.from)).collect::<Vec<_>>().join(", ")
}

/// `event_type` is in no table: is it the version or all of it?
pub(super) fn unknown(event_type: &str) -> DecodeError {
    let name = |text: &str| -> Option<String> {
        let (version, name) = text.strip_prefix("orders.v")?.split_once('.')?;
        let number = !version.is_empty() && version.bytes().all(|digit| digit.is_ascii_digit());
        number.then(|| name.to_owned())
    };
    let asked = name(event_type);
    let known = asked.is_some() && TYPES.iter().any(|(known, _)| name(known) == asked);
    let event_type = excerpt(event_type, 80);
    if known { DecodeError::UnknownVersion { event_type } } else { DecodeError::UnknownType { event_type } }
}

/// One step from a version to the next.
struct Upcast {
    from: &'static str,
    to: &'static str,
    /// The value of `from` as a value of `to`, or why it is none.
    value: fn(&[u8]) -> Result<Vec<u8>, String>,
}

const UPCASTS: [Upcast; 1] =
    [Upcast { from: "orders.v0.OrderCreated", to: "orders.v1.OrderCreated", value: order_created_v0 }];

/// An event in the newest shape that its upcasts lead to.
pub(super) struct Latest<'a> {
    pub event_type: &'a str,
    pub data: Cow<'a, [u8]>,
}

/// Takes one step after the other. Each step is taken at most once, so the way has an end.
pub(super) fn to_latest<'a>(event_type: &'a str, data: &'a [u8]) -> Result<Latest<'a>, DecodeError> {
    let mut latest = Latest { event_type, data: Cow::Borrowed(data) };
    for step in &UPCASTS {
        if step.from == latest.event_type {
            let value = (step.value)(&latest.data).map_err(|reason| DecodeError::malformed(step.from, &reason))?;
            latest = Latest { event_type: step.to, data: Cow::Owned(value) };
        }
    }
    Ok(latest)
}

#[derive(Serialize, Deserialize)]
struct OrderCreatedV0 {
    order_id: OrderId,
    user_id: UserId,
    product_id: ProductId,
    amount_cents: i64,
    currency: Currency,
}

fn order_created_v0(data: &[u8]) -> Result<Vec<u8>, String> {
    let old: OrderCreatedV0 = serde_json::from_slice(data).map_err(|error| error.to_string())?;
    let (sign, cents) = (if old.amount_cents < 0 { "-" } else { "" }, old.amount_cents.unsigned_abs());
    let decimal = format!("{sign}{}.{:02}", cents / 100, cents % 100);
    let price = Money::from_decimal(&decimal, old.currency).map_err(|error| error.to_string())?;
    let OrderCreatedV0 { order_id, user_id, product_id, .. } = old;
    serde_json::to_vec(&OrderCreated { order_id, user_id, product_id, price }).map_err(|error| error.to_string())
}
