//! A handler that counts: orders per user, product and day, and events by their kind.
//!
//! # The problem
//!
//! `count = count + 1` is wrong for ever after one repeat, and nobody sees it. Merging (see [`projection`](super::projection))
//! bears repeats; it needs what is known of each order for that.
//!
//! # The idea
//!
//! ```text
//!   OrderCreated --> user ada + 1, product lamp + 1, day 2026-03-01 + 1, event OrderCreated + 1
//!   OrderPaid    --> event OrderPaid + 1
//! ```
//!
//! The [`inbox`](super::inbox) drops repeats in the transaction of the counts. So each event counts once, a count is one
//! statement, and nothing is known of any order.
//!
//! # What can go wrong
//!
//! - **The inbox is purged** earlier than the topics: what comes again from before is counted again.
//! - **Two events of one meaning** (an order created twice by two producers) have two ids, and count twice.
//! - **The day** is that of `ce_time`, in UTC, and not of the clock: a count made anew is the same.
//!
//! # Try it
//!
//! `kafkalab grpc-consumer --only analytics`, and `kafkalab grpc-consumer stats` for what came of it.

use super::{
    envelope::rfc_3339,
    inbox::{Change, Effects, Entity, Handler, Message, Poison},
    order::OrderEvent,
    projection::{TOPICS, order_of},
};

/// Counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Analytics;

pub const NAME: &str = "analytics";
/// Orders that were created, by whom.
pub const USER: &str = "user";
pub const PRODUCT: &str = "product";
/// `2026-03-01`
pub const DAY: &str = "day";
/// `OrderPaid`: how often that happened.
pub const EVENT: &str = "event";

impl Handler for Analytics {
    fn name(&self) -> &str {
        NAME
    }

    fn topics(&self) -> &[&'static str] {
        &TOPICS
    }

    fn entity(&self, message: &Message<'_>) -> Result<Option<Entity>, Poison> {
        order_of(message, NAME)
    }

    fn handle(&self, _: Option<&[u8]>, message: &Message<'_>) -> Result<Effects, Poison> {
        let event = OrderEvent::decode(&message.envelope.event_type, message.data).map_err(Poison::new)?;
        let one = |name, key: &str| Change::Count { name, key: key.to_owned(), by: 1 };
        let mut changes = vec![one(EVENT, event.name())];
        if let OrderEvent::OrderCreated(created) = &event {
            let day = message.envelope.time_ms.map(rfc_3339);
            let day = day.as_deref().and_then(|time| time.split_once('T')).map_or("unknown", |(day, _)| day);
            changes.extend([
                one(USER, created.user_id.as_str()),
                one(PRODUCT, created.product_id.as_str()),
                one(DAY, day),
            ]);
        }
        Ok(Effects { changes, ..Effects::default() })
    }
}
