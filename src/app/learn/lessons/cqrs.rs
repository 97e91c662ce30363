//! CQRS: what is written and what is asked are two models

use futures::FutureExt;

use crate::app::learn::{Found, Lesson, Place, place::need, place::said};

pub(in crate::app::learn) const LESSON: Lesson = Lesson {
    name: "cqrs",
    title: "CQRS: what is written and what is asked are two models",
    text: "\
What decides (the write side) and what answers questions (the read side) want different tables. Events go from the one to
the other, over Kafka, so answers are a moment behind: that is the price.

Write a stream of commands, bring the read side up to date, and ask it.",
    commands: &[
        "kafkalab cqrs write -n 50 --seed 7",
        "kafkalab cqrs read --once",
        "kafkalab cqrs stats",
    ],
    hint: "`kafkalab cqrs read --once` ends when all that is there now is in the models",
    learned: "the read side can be thrown away and built anew from the events: kafkalab cqrs rebuild",
    check: |place| check(place).boxed(),
};

async fn check(place: &Place) -> Found {
    let store = place.open().await?;
    let told = store.tell(1, 1).await.map_err(said)?;
    let orders: i64 = told.statuses.iter().map(|tally| tally.orders).sum();
    need(orders > 0, "the read side knows of no order")?;
    Ok(format!("the read side knows {orders} orders"))
}
