//! gRPC: the reply waits for no Kafka

use futures::FutureExt;

use crate::{
    app::learn::{Found, Lesson, Place, place::need, place::said},
    patterns::analytics::{self, EVENT},
};

pub(in crate::app::learn) const LESSON: Lesson = Lesson {
    name: "grpc",
    title: "gRPC: the reply waits for no Kafka",
    text: "\
A service answers its caller when the order and its message are on disk; the relay sends the message, and three consumers
make of it a count, a notification and an entry of a search index. Whoever calls again by the same idempotency-key gets the
same order, and a record that comes twice changes nothing.

Let the consumers look at topics in which there is nothing, see the whole of it, and ask them what they keep.",
    commands: &[
        "kafkalab grpc-consumer --once",
        "kafkalab grpc",
        "kafkalab grpc-consumer stats",
        "kafkalab grpc-consumer search user-123",
    ],
    hint: "`kafkalab grpc` is all of it in one process; its parts are grpc-server, a caller such as grpcurl, and grpc-consumer",
    learned: "what waits for nobody is durable first, and what comes twice is known by its id",
    check: |place| check(place).boxed(),
};

async fn check(place: &Place) -> Found {
    let store = place.open().await?;
    let counts = store.top_counts(analytics::NAME, EVENT, 100).await.map_err(said)?;
    let counted = counts.iter().find(|count| count.key == "OrderCreated").map_or(0, |count| count.count);
    need(counted > 0, "the consumers have counted no order")?;
    let waiting = store.notifications().await.map_err(said)?.waiting;
    need(waiting == 0, &format!("notifications that wait to be sent: {waiting}"))?;
    let sent = place.records("orders").await?.len();
    Ok(format!("orders counted: {counted}; records in the topic orders: {sent}"))
}
