//! the inbox: a record that comes twice has its effect once

use std::collections::HashSet;

use futures::FutureExt;

use crate::app::learn::{Found, Lesson, Place, place::need, place::said};

pub(in crate::app::learn) const LESSON: Lesson = Lesson {
    name: "inbox",
    title: "the inbox: a record that comes twice has its effect once",
    text: "\
A relay that dies after the broker has the record and before it has marked the row does not know that it was sent, so the
next one sends it again: records come at least once. A handler with an inbox keeps the id of each message, in the transaction
of its effect, and passes over a message that it has.

Order a mug, kill the relay at just that point, let another one go on (it waits until the dead one's lease is over, 10 s at
most), and let the consumer reserve stock: two records, one mug.",
    commands: &[
        "kafkalab outbox order --price USD:12.99",
        "kafkalab outbox relay --once --crash-at relay.after-ack",
        "kafkalab outbox relay --once",
        "kafkalab consume orders -e -f '%o %k\\n'",
        "kafkalab outbox consume --once",
        "kafkalab outbox stock",
    ],
    hint: "`kafkalab outbox relay --once --crash-at relay.after-ack` dies at the point (kill -9); then relay and consume as usual",
    learned: "effectively once is at-least-once plus a memory of what was done",
    check: |place| check(place).boxed(),
};

async fn check(place: &Place) -> Found {
    let store = place.open().await?;
    let records = place.records("orders").await?;
    let orders = records.iter().filter_map(|record| record.id.as_ref()).collect::<HashSet<_>>().len();
    need(records.len() > orders, &format!("records: {}, orders: {orders}; none came twice yet", records.len()))?;
    let (_, lag) = place.group("reserve-stock").await?;
    need(lag == 0, &format!("the consumer has {lag} records before it"))?;
    let reserved = store.states_of("reservation", "", 100).await.map_err(said)?.len();
    need(reserved == orders, &format!("orders: {orders}, reservations of stock: {reserved}"))?;
    Ok(format!("records: {}, orders: {orders}, reservations of stock: {reserved}", records.len()))
}
