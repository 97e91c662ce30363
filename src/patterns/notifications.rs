//! A handler whose effect is outside of the database: somebody is told of each order.
//!
//! # The problem
//!
//! ```text
//!   send, then commit:   a crash between the two, and it is sent again when the record comes again
//!   commit, then send:   a crash between the two, and it is never sent
//! ```
//!
//! No transaction spans a database and somebody else's server. And one that is slow or away would hold up every order behind
//! it.
//!
//! # The idea
//!
//! ```text
//!   BEGIN  inbox, notification (waiting)  COMMIT          the handler: no network, never held up
//!   claim --> send, the id as its key --> mark as sent    the sender: at least once, tried again, then put aside
//! ```
//!
//! A crash between `send` and `mark` sends once more. It cannot be less than that: the sender cannot know whether the other
//! side has heard a call whose answer never came. So the id is the same each time (`Idempotency-Key`), and whoever heeds it
//! has each notification once. That is the [`inbox`](super::inbox) again, at the other side.
//!
//! # What can go wrong
//!
//! | what | and what is done |
//! |---|---|
//! | The receiver is away, or refuses | again after a pause that doubles, with jitter; after so many attempts it is dead: kept, listed, and sent again when somebody says so |
//! | The sender dies with some in hand | its claim is over by the database's clock; another one sends them |
//! | The receiver ignores the id | it is told twice now and then |
//! | The topics are replayed | a replay mends states, and tells nobody |
//!
//! # Try it
//!
//! `kafkalab grpc-consumer --only notifications --notify file:told.jsonl --crash-at notify.after-send`, and once more
//! without the crash: the lines that are there twice have one id.

use serde::Serialize;

use super::{
    inbox::{Change, Effects, Entity, Handler, Message, Notification, Poison, id_of},
    money::Money,
    order::{OrderEvent, OrderId, ProductId, UserId},
    projection::order_of,
};

/// Queues a notification for each order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Notifications;

pub const NAME: &str = "notifications";

/// What somebody is told.
#[derive(Debug, Serialize)]
struct Body<'a> {
    /// The idempotency key. It stands first: by that a line of a file is known as ours.
    id: String,
    order_id: &'a OrderId,
    user_id: &'a UserId,
    product_id: &'a ProductId,
    price: &'a Money,
    text: String,
    /// The event that it is about.
    event_id: &'a str,
}

impl Handler for Notifications {
    fn name(&self) -> &str {
        NAME
    }

    fn topics(&self) -> &[&'static str] {
        &["orders"]
    }

    fn entity(&self, message: &Message<'_>) -> Result<Option<Entity>, Poison> {
        order_of(message, NAME)
    }

    fn handle(&self, _: Option<&[u8]>, message: &Message<'_>) -> Result<Effects, Poison> {
        let event = OrderEvent::decode(&message.envelope.event_type, message.data).map_err(Poison::new)?;
        let OrderEvent::OrderCreated(created) = &event else { return Ok(Effects::default()) };
        let id = id_of(NAME, message.envelope, 0);
        let body = Body {
            id: id.to_string(),
            order_id: &created.order_id,
            user_id: &created.user_id,
            product_id: &created.product_id,
            price: &created.price,
            text: format!("{}: your order of {} for {} is taken", created.user_id, created.product_id, created.price),
            event_id: &message.envelope.id,
        };
        let body = serde_json::to_vec(&body).map_err(Poison::new)?;
        let notify = Change::Notify(Notification { id, subject: created.order_id.to_string(), body });
        Ok(Effects { changes: vec![notify], ..Effects::default() })
    }
}
