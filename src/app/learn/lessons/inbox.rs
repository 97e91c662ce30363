//! the inbox: a record that comes twice has its effect once

use futures::FutureExt;

use crate::app::learn::{Found, Lesson, Place, place::need, place::said};

pub(in crate::app::learn) const LESSON: Lesson = Lesson {
    name: "inbox",
    title: "the inbox: a record that comes twice has its effect once",
    text: "\
Records come at least once. A handler with an inbox keeps the id of each message, in the transaction of its effect: a
message that it has is passed over.

Order two mugs, let the consumer reserve them, put its group back to the start so that all comes again, and look at the
stock: two, not four.",
    commands: &[
        "kafkalab outbox order --price USD:12.99 -n 2",
        "kafkalab outbox relay --once",
        "kafkalab outbox consume --once",
        "kafkalab groups reset reserve-stock --to start -y",
        "kafkalab outbox consume --once",
        "kafkalab outbox stock",
    ],
    hint: "order, relay, consume, in this order; the group of the consumer is reserve-stock",
    learned: "effectively once is at-least-once plus a memory of what was done",
    check: |place| check(place).boxed(),
};

async fn check(place: &Place) -> Found {
    let store = place.open().await?;
    let reserved = store.states_of("reservation", "", 100).await.map_err(said)?.len();
    need(reserved >= 2, &format!("{reserved} of two orders have their stock reserved"))?;
    let sent = place.records("orders").await?.len();
    need(reserved <= sent, &format!("{reserved} reservations of {sent} orders"))?;
    let (_, lag) = place.group("reserve-stock").await?;
    need(lag == 0, &format!("the consumer has {lag} records before it"))?;
    Ok(format!("{sent} orders, {reserved} reservations"))
}
