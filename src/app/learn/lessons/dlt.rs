//! dead letters: what cannot be handled does not hold up the rest

use futures::FutureExt;

use crate::app::learn::{Found, Lesson, Place, place::need, place::said};

pub(in crate::app::learn) const LESSON: Lesson = Lesson {
    name: "dlt",
    title: "dead letters: what cannot be handled does not hold up the rest",
    text: "\
A record that a handler can never read would come again and again, and all behind it would wait. So it is put aside, in the
topic of dead letters, with headers that say where it came from and why; the handler goes on with the next one. Somebody
looks at the letters, mends the cause, and sends them back or deletes them.

Append to `orders` what is no order, then a real one, and let the consumer handle both.",
    commands: &[
        "echo 'two mugs, please' | kafkalab produce orders",
        "kafkalab outbox order --price USD:12.99",
        "kafkalab outbox relay --once",
        "kafkalab outbox consume --once",
        "kafkalab dlt list",
        "kafkalab dlt list orders",
    ],
    hint: "any text that is no event of an order will do; `kafkalab outbox consume --once` puts it aside",
    learned: "what is put aside is not lost: `kafkalab dlt replay orders --all` sends it back once its cause is mended",
    check: |place| check(place).boxed(),
};

async fn check(place: &Place) -> Found {
    let store = place.open().await?;
    let (_, lag) = place.group("reserve-stock").await?;
    need(lag == 0, &format!("the consumer has {lag} records before it"))?;
    let letters = place.records("orders.dlt").await?.len();
    need(letters > 0, "there is no dead letter")?;
    let reserved = store.states_of("reservation", "", 100).await.map_err(said)?.len();
    need(reserved > 0, "no order was handled beside it")?;
    Ok(format!("dead letters: {letters}; orders that were handled all the same: {reserved}"))
}
