//! The demonstration of the service: a server, a call, three consumers, in one process; and Kafka comes late.
//!
//! ```text
//! caller --> server --> one transaction { event log, outbox } --> reply
//!                                              |
//!                    Kafka comes: relay <------+ --> orders --> analytics, notifications, search-index
//! ```
//!
//! All of it is what serves elsewhere: [`super::grpc_server`] behind a real port, the relay of [`super::outbox`], the
//! consumers of [`super::grpc_consumer`].

mod calls;
mod consumers;
mod step;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join;
use tokio::net::TcpListener;
use uuid::Uuid;

use self::calls::{a_wrong_request, call, refused, request};
pub use self::step::Step;
use super::{
    Address, ConnectOptions,
    crash::Crash,
    event_sourcing::Orders,
    grpc_consumer::Consumer,
    grpc_server::{self, Place, ServerMetrics, Service},
    handler::{self, HandlerError},
    outbox::{
        self, RELAYED,
        demo::{gather, gathered, publish_and_forget},
    },
    relay::{self, Options, RelayError, Stop, make_topics, prefixed},
};
use crate::{
    grpc::{
        Code, Limits,
        client::{Caller, Refused},
        orders::Order,
    },
    kafka::{Cluster, Error},
    notify::NotHeard,
    patterns::{
        order::{InvalidText, OrderId},
        search::NoQuery,
    },
    store::StoreError,
};

/// Why the demonstration did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("CreateOrder: {0}")]
    Call(#[from] Refused),
    #[error("{0}")]
    Handler(Consumer, #[source] HandlerError),
    #[error(transparent)]
    Outbox(#[from] outbox::demo::DemoError),
    #[error(transparent)]
    Relay(#[from] RelayError),
    #[error(transparent)]
    Broker(#[from] Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NotHeard(#[from] NotHeard),
    #[error(transparent)]
    Text(#[from] InvalidText),
    #[error(transparent)]
    Query(#[from] NoQuery),
    #[error("reading {path}: {cause}")]
    File { path: String, cause: String },
    /// They are meant for somebody, and would go to the demonstration's file.
    #[error("{} to be sent, and not to a demonstration", match .0 {
        1 => "1 notification of this store waits".to_owned(),
        count => format!("{count} notifications of this store wait"),
    })]
    NotOurs(u64),
    /// Something that the pattern promises did not hold: a defect of this program.
    #[error("{0}: this should not be; please report it")]
    Broken(&'static str),
}

type Tell<'a> = &'a mut dyn FnMut(Step);

/// What the demonstration works on.
pub struct Demo {
    pub orders: Orders,
    pub prefix: String,
    pub actor: String,
    pub crash: Crash,
    pub stop: Stop,
    /// The file for notifications.
    pub told: PathBuf,
    /// Hears what keeps the server from answering.
    pub trouble: grpc_server::Tell,
}

/// For a broker that is known to be away.
const IN_VAIN: Duration = Duration::from_secs(1);
/// Who orders.
const USER_ID: &str = "user-123";

impl Demo {
    /// Serves as long as the story is told.
    pub async fn serving<T>(&self, listener: TcpListener, story: impl Future<Output = T>) -> T {
        let service = Service {
            orders: self.orders.clone(),
            actor: self.actor.clone(),
            crash: self.crash.clone(),
            tell: Arc::clone(&self.trouble),
        };
        let (metrics, done) = (ServerMetrics::default(), self.stop.child_token());
        let place = Place { listener, tls: None, limits: Limits::default() };
        let story = async {
            let ended = story.await;
            done.cancel();
            ended
        };
        join(story, grpc_server::serve(service, place, &metrics, &done)).await.0
    }

    /// Calls, and their answers, before Kafka is there. Gives the order.
    pub async fn kafka_is_away(&self, address: SocketAddr, tell: Tell<'_>) -> Result<OrderId, DemoError> {
        let waiting = self.orders.store().notifications().await?.waiting;
        if waiting > 0 {
            return Err(DemoError::NotOurs(waiting));
        }
        let (mut caller, key) = (Caller::of(address)?, Uuid::now_v7().to_string());
        tell(Step::Part { title: "The server answers, although Kafka is away" });
        tell(Step::Serves { service: crate::grpc::SERVICE, address });
        self.look_in_vain(tell).await?;
        let first = call(&mut caller, request(99.99), Some(&key), tell).await?;
        self.depth(tell).await?;
        lesson(
            tell,
            "Who is answered OK has the order and its message on disk, in one transaction. Kafka was not asked; the message \
             waits for the relay.",
        );
        self.the_same_call_again(&mut caller, &first, &key, tell).await?;
        a_wrong_request(&mut caller, tell).await?;
        Ok(OrderId::new(first.order_id)?)
    }

    /// Kafka is there.
    pub async fn kafka_comes(&self, cluster: &Cluster, order: &OrderId, tell: Tell<'_>) -> Result<(), DemoError> {
        let topics: Vec<String> = RELAYED.iter().map(|topic| prefixed(&self.prefix, topic)).collect();
        make_topics(cluster, &topics).await?;
        for consumer in Consumer::ALL {
            let store = self.orders.store();
            let begun = handler::begin_at_end_if_new(store, cluster, &consumer.group(store), &topics).await;
            begun.map_err(|error| DemoError::Handler(consumer, error))?;
        }
        tell(Step::Part { title: "Kafka comes: the relay sends, three consumers apply" });
        let steps = Mutex::new(Vec::new());
        let say = |told: relay::Told<'_>| gather(&steps, published(&told));
        publish_and_forget(self.orders.store(), cluster, &self.relay(), &self.crash, order, &say).await?;
        gathered(steps).into_iter().for_each(&mut *tell);
        self.consume(cluster, order, "effect", tell).await?;
        let kept = self.kept(order).await?;
        kept.iter().cloned().for_each(&mut *tell);
        lesson(
            tell,
            "Each has a group and an inbox of its own: its effect and the message's id are one transaction, its offset is \
             committed behind that, and one that fails holds up none of the others. To tell somebody is no matter of the \
             database: it is queued in that transaction, and sent at least once, with the id.",
        );
        self.it_comes_twice(cluster, order, &kept, tell).await
    }

    /// What the relay of a server meets that is started before Kafka.
    async fn look_in_vain(&self, tell: Tell<'_>) -> Result<(), DemoError> {
        let nobody: Address = "127.0.0.1:9".parse()?; // the discard port, which no broker has
        let options = ConnectOptions { connect_timeout: IN_VAIN, ..ConnectOptions::default() };
        if let Err(error) = super::connect(vec![nobody], options).await {
            tell(Step::Away { reason: error.to_string() });
        }
        Ok(())
    }

    async fn the_same_call_again(
        &self,
        caller: &mut Caller,
        first: &Order,
        key: &str,
        tell: Tell<'_>,
    ) -> Result<(), DemoError> {
        tell(Step::Part { title: "The same call again, by its idempotency-key" });
        let again = call(caller, request(99.99), Some(key), tell).await?;
        if again != *first {
            return Err(DemoError::Broken("the same call by the same key is another order"));
        }
        refused(call(caller, request(1.0), Some(key), tell).await, Code::AlreadyExists)?;
        self.depth(tell).await?;
        lesson(
            tell,
            "Who is not answered does not know, and asks again: the order's id follows from the key, so there is one. The \
             key with another order is refused, and nothing is written.",
        );
        Ok(())
    }

    /// What a relay that was killed before it marked the row leaves to the next one.
    async fn it_comes_twice(
        &self,
        cluster: &Cluster,
        order: &OrderId,
        before: &[Step],
        tell: Tell<'_>,
    ) -> Result<(), DemoError> {
        tell(Step::Part { title: "That relay died before it marked the row: the record comes twice" });
        self.depth(tell).await?;
        let (store, steps) = (self.orders.store(), Mutex::new(Vec::new()));
        let say = |told: relay::Told<'_>| gather(&steps, published(&told));
        let options = Options { once: true, ..self.relay() };
        outbox::relay(store, cluster, &options, None, &self.crash, &self.stop, &say).await?;
        gathered(steps).into_iter().for_each(&mut *tell);
        let others = self.consume(cluster, order, "repeat", tell).await?;
        let after = self.kept(order).await?;
        after.iter().cloned().for_each(&mut *tell);
        // in a store that is used beside this, others may have ordered
        if others == 0 && after != before {
            return Err(DemoError::Broken("a record that came twice has changed something"));
        }
        lesson(
            tell,
            "Its id is in each inbox: nothing is counted, told or indexed a second time. At-least-once and idempotent \
             consumers: effectively once.",
        );
        Ok(())
    }

    fn relay(&self) -> Options {
        Options { prefix: self.prefix.clone(), ..Options::default() }
    }

    async fn depth(&self, tell: Tell<'_>) -> Result<(), DemoError> {
        let (waiting, parked, held) = self.orders.store().outbox_unpublished().await?;
        tell(Step::Depth { waiting, parked, held });
        Ok(())
    }
}

fn published(told: &relay::Told<'_>) -> Option<Step> {
    let relay::Told::Published { record, topic, partition, offset } = told else { return None };
    let id = record.headers.iter().find(|(name, _)| *name == "ce_id");
    Some(Step::Published {
        event: record.event_type.clone(),
        topic: topic.to_string(),
        partition: *partition,
        offset: *offset,
        key: record.key.clone(),
        message_id: id.map(|(_, id)| id.to_string()).unwrap_or_default(),
    })
}

fn lesson(tell: Tell<'_>, text: &'static str) {
    tell(Step::Lesson { text });
}
