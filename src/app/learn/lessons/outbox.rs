//! the outbox: saved and published, or neither

use futures::FutureExt;

use crate::app::learn::{Found, Lesson, Place, place::need, place::said};

pub(in crate::app::learn) const LESSON: Lesson = Lesson {
    name: "outbox",
    title: "the outbox: saved and published, or neither",
    text: "\
Whoever writes to a database and then to Kafka can die in between, and one of the two does not know of the other. With an
outbox the message is a row, in the transaction of what it tells of. A relay sends the rows, and marks them.

Take an order, look at the row that waits, and let the relay send it.",
    commands: &[
        "kafkalab outbox order --price USD:12.99",
        "kafkalab outbox list",
        "kafkalab outbox relay --once",
        "kafkalab outbox list",
    ],
    hint: "a row waits until `kafkalab outbox relay --once` has sent it",
    learned: "a relay that dies between sending and marking sends again: at least once, never lost",
    check: |place| check(place).boxed(),
};

async fn check(place: &Place) -> Found {
    let store = place.open().await?;
    let depth = store.outbox_depth().await.map_err(said)?;
    need(depth.waiting == 0, &format!("{} rows wait for the relay", depth.waiting))?;
    need(depth.published > 0, "no row was published")?;
    let sent = place.records("orders").await?.len();
    need(sent > 0, "the topic orders has no record")?;
    Ok(format!("{} rows published, {sent} records in the topic orders", depth.published))
}
