//! event sourcing: what happened is kept, what is follows from it

use futures::FutureExt;

use crate::app::learn::{Found, Lesson, Place, place::need, place::said};

pub(in crate::app::learn) const LESSON: Lesson = Lesson {
    name: "es",
    title: "event sourcing: what happened is kept, what is follows from it",
    text: "\
An order is not a row that is changed: it is what happened to it, event by event, in a log. Its state is what follows from
the events, so the past can be asked too. A publisher follows the log to Kafka.

Make an order, pay it, look at what was and what is, and publish it.",
    commands: &[
        "kafkalab es create --order mug-1 --price USD:12.99",
        "kafkalab es pay mug-1",
        "kafkalab es state mug-1 --version 1",
        "kafkalab es history mug-1",
        "kafkalab es publish --once",
    ],
    hint: "two events make it: the order is created, then paid; `es publish --once` sends them",
    learned: "nothing was overwritten: version 1 of the order can still be asked for",
    check: |place| check(place).boxed(),
};

async fn check(place: &Place) -> Found {
    let store = place.open().await?;
    let events = store.head().await.map_err(said)?;
    need(events >= 2, &format!("the log has {events} of two events"))?;
    let mut published = 0;
    for topic in ["orders", "payments"] {
        published += place.records(topic).await.map_or(0, |records| records.len());
    }
    need(published >= 2, &format!("{published} of the events are on Kafka"))?;
    Ok(format!("{events} events in the log, {published} on Kafka"))
}
