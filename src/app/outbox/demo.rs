//! The demonstration: orders are taken while Kafka is away, and what comes of them when it is back.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use uuid::Uuid;

use super::{relay, shard::OutboxShard, take};
use crate::{
    app::{
        crash::Crash,
        event_sourcing::{OrderError, Orders},
        handler::{self, HandlerError, What},
        relay::{self, Batch, Options, RelayError, Run, Shard, Source, Stop, Told, Turns, make_topics, prefixed},
    },
    kafka::{Cluster, Error},
    patterns::{
        money::{Currency, Money},
        order::{CreateOrder, InvalidText, OrderId, ProductId, UserId},
        outbox::NewMessage,
        stock::{self, ReserveStock},
    },
    store::{AppendError, OutboxRow, Status, StoreError},
};

/// Why the demonstration did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error(transparent)]
    Relay(#[from] RelayError),
    #[error(transparent)]
    Handler(#[from] HandlerError),
    #[error(transparent)]
    Broker(#[from] Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Text(#[from] InvalidText),
    /// Something that the pattern promises did not hold: a defect of this program.
    #[error("{0}: this should not be; please report it")]
    Broken(&'static str),
}

/// One line of the run.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    Part {
        title: &'static str,
    },
    /// An order and its message, in one transaction.
    Taken {
        order_id: String,
        event: &'static str,
        position: u64,
        message_id: Uuid,
    },
    /// What the outbox has.
    Depth {
        waiting: u64,
        parked: u64,
        held: u64,
    },
    /// The relay cannot reach Kafka.
    Away {
        reason: String,
    },
    Published {
        event: String,
        topic: String,
        partition: i32,
        offset: Option<i64>,
        key: String,
    },
    /// A record, as the handler met it.
    Handled {
        topic: String,
        partition: i32,
        offset: i64,
        message_id: String,
        what: &'static str,
    },
    /// A row that cannot be published.
    Parked {
        message_id: Uuid,
        reason: String,
    },
    Stock {
        product_id: String,
        reserved: u64,
    },
    Lesson {
        text: String,
    },
}

type Tell<'a> = &'a mut dyn FnMut(Step);

/// What the demonstration works on.
pub struct Demo {
    pub orders: Orders,
    pub prefix: String,
    pub actor: String,
    pub crash: Crash,
    pub stop: Stop,
}

/// Where the events of this demonstration go.
pub const TOPICS: [&str; 2] = ["orders", stock::TOPIC];

impl Demo {
    /// Before Kafka is there.
    pub async fn take_orders(&self, tell: Tell<'_>) -> Result<(), DemoError> {
        tell(Step::Part { title: "Orders are taken while Kafka is away" });
        lesson(tell, "An order and its message are written in one transaction of the database: both, or neither.");
        for product in ["coffee-mug", "tea-pot", "lamp"] {
            self.take(product, tell).await?;
        }
        self.depth(tell).await
    }

    /// What came of the try to reach it.
    pub fn kafka_is_away(&self, error: &Error, tell: Tell<'_>) {
        tell(Step::Away { reason: error.to_string() });
        lesson(tell, "Nobody who orders has noticed. The rows wait, and orders go on being taken.");
    }

    /// Kafka is there.
    pub async fn kafka_is_back(&self, cluster: &Cluster, tell: Tell<'_>) -> Result<(), DemoError> {
        let topics: Vec<String> = TOPICS.iter().map(|topic| prefixed(&self.prefix, topic)).collect();
        make_topics(cluster, &topics).await?;
        handler::begin_at_end(cluster, &self.group(), &topics).await?;
        tell(Step::Part { title: "Kafka comes back, and the relay drains" });
        self.relay(cluster, tell).await?;
        self.depth(tell).await?;
        self.a_record_comes_twice(cluster, tell).await?;
        self.a_row_that_cannot_go(cluster, tell).await?;
        self.one_effect(cluster, tell).await
    }

    /// Of this store, and not of another demonstration's.
    fn group(&self) -> String {
        format!("reserve-stock-{}", self.orders.store().id())
    }

    async fn take(&self, product: &str, tell: Tell<'_>) -> Result<OrderId, DemoError> {
        let order_id = OrderId::new(Uuid::now_v7().to_string())?;
        let command = CreateOrder {
            order_id: order_id.clone(),
            user_id: UserId::new("ada")?,
            product_id: ProductId::new(product)?,
            price: Money::new(1299, Currency::USD),
        };
        let handled = take(&self.orders, &command.into(), &self.actor, None).await?;
        let (Some((message_id, event)), Some(appended)) = (handled.events.first(), handled.appended) else {
            return Err(DemoError::Broken("a new order has no event"));
        };
        let (order, position) = (order_id.to_string(), appended.last_position);
        tell(Step::Taken { order_id: order, event: event.name(), position, message_id: *message_id });
        Ok(order_id)
    }

    async fn depth(&self, tell: Tell<'_>) -> Result<(), DemoError> {
        let (waiting, parked, held) = self.orders.store().outbox_unpublished().await?;
        tell(Step::Depth { waiting, parked, held });
        Ok(())
    }

    /// The relay, as `outbox relay --once`.
    async fn relay(&self, cluster: &Cluster, tell: Tell<'_>) -> Result<(), DemoError> {
        let options = Options { prefix: self.prefix.clone(), once: true, ..Options::default() };
        let steps = Mutex::new(Vec::new());
        let say = |told: Told<'_>| gather(&steps, published(&told));
        relay(self.orders.store(), cluster, &options, None, &self.crash, &self.stop, &say).await?;
        gathered(steps).into_iter().for_each(tell);
        Ok(())
    }

    /// What a crash between Kafka's commit and the mark leaves: published, and not known to be.
    async fn a_record_comes_twice(&self, cluster: &Cluster, tell: Tell<'_>) -> Result<(), DemoError> {
        tell(Step::Part { title: "A relay dies between publishing and remembering it" });
        let order = self.take("umbrella", tell).await?;
        let options = Options { prefix: self.prefix.clone(), ..Options::default() };
        let steps = Mutex::new(Vec::new());
        let say = |told: Told<'_>| gather(&steps, published(&told));
        publish_and_forget(self.orders.store(), cluster, &options, &self.crash, &order, &say).await?;
        gathered(steps).into_iter().for_each(&mut *tell);
        lesson(tell, "It is in the topic, and its row still waits: the next relay cannot know, and sends it again.");
        self.relay(cluster, tell).await?;
        lesson(
            tell,
            "At-least-once: the same message with the same id, twice. To lose it would have been the other way.",
        );
        Ok(())
    }

    async fn a_row_that_cannot_go(&self, cluster: &Cluster, tell: Tell<'_>) -> Result<(), DemoError> {
        tell(Step::Part { title: "A row that cannot be published" });
        let broken = NewMessage {
            id: Uuid::now_v7(),
            aggregate_type: "order".into(),
            aggregate_id: format!("broken-{}", Uuid::now_v7().simple()),
            event_type: "orders.v1.OrderCreated".into(),
            payload: b"no JSON".to_vec(),
            topic: None,
            headers: "{}".into(),
        };
        let store = self.orders.store();
        let handled =
            crate::store::Handled { consumer: "demo".into(), outbox: vec![broken.clone()], ..Default::default() };
        store.handle(handled).await.map_err(|error| match error {
            crate::store::HandledError::Store(error) => DemoError::Store(error),
            crate::store::HandledError::Conflict => DemoError::Broken("a new row is in conflict"),
        })?;
        self.take("lamp", tell).await?;
        self.relay(cluster, tell).await?;
        let parked = store.outbox_row(broken.id).await?.filter(|row| row.status == Status::Parked);
        let Some(OutboxRow { reason: Some(reason), .. }) = &parked else {
            return Err(DemoError::Broken("a row that is no JSON was not parked"));
        };
        tell(Step::Parked { message_id: broken.id, reason: reason.clone() });
        lesson(
            tell,
            "It is parked, with its reason, and holds up its own aggregate alone. Somebody looks, and lets it go:",
        );
        if let Some(row) = &parked {
            store.outbox_discard(row).await?;
        }
        self.depth(tell).await
    }

    /// The consumer: a record twice, the effect once.
    async fn one_effect(&self, cluster: &Cluster, tell: Tell<'_>) -> Result<(), DemoError> {
        tell(Step::Part { title: "The consumer: a record twice, the effect once" });
        let store = self.orders.store();
        let options = handler::Options {
            prefix: self.prefix.clone(),
            group: Some(self.group()),
            once: true,
            ..handler::Options::default()
        };
        let before = reserved(store).await?;
        let steps = Mutex::new(Vec::new());
        let say = |told: handler::Told<'_>| {
            let handler::Told::Record { partition, offset, message, what } = told else { return };
            let what = match what {
                What::Effect { .. } => "effect",
                What::Repeat => "repeat",
                What::PassedBy => "passed by",
                What::Dead(_) => "dead letter",
            };
            let (topic, partition) = (partition.topic.to_string(), partition.partition);
            let step = Step::Handled { topic, partition, offset, message_id: message.to_owned(), what };
            gather(&steps, Some(step));
        };
        let report = handler::run(&ReserveStock, store, cluster, &options, &self.stop, &say).await?;
        gathered(steps).into_iter().for_each(&mut *tell);
        let after = reserved(store).await?;
        for (product_id, reserved) in &after {
            tell(Step::Stock { product_id: product_id.clone(), reserved: *reserved });
        }
        let total = |stock: &[(String, u64)]| stock.iter().map(|(_, reserved)| reserved).sum::<u64>();
        if report.repeats == 0 || total(&after) - total(&before) != report.effects {
            return Err(DemoError::Broken("a record that came twice had no single effect"));
        }
        lesson(
            tell,
            "Its inbox has the message's id, inserted in the transaction of the effect. At-least-once and an idempotent \
             consumer: effectively once. No setting of Kafka does that alone, since the effect is in a database.",
        );
        Ok(())
    }
}

/// What a relay does that dies between Kafka's word and the mark: the rows of this order's shard are sent, and still wait.
pub(in crate::app) async fn publish_and_forget(
    store: &crate::store::Store,
    cluster: &Cluster,
    options: &Options,
    crash: &Crash,
    order: &OrderId,
    tell: relay::Tell<'_>,
) -> Result<(), DemoError> {
    let number = crate::patterns::outbox::shard_of(order.as_str());
    let mut source = OutboxShard::alone(store.clone(), number, options);
    let run = Run { store, cluster, options, crash, stop: &Stop::new(), tell, turns: &Turns::default() };
    let Some(mut shard) = Shard::take(&run, source.shard()).await? else {
        return Err(DemoError::Broken("somebody else holds the shard"));
    };
    let records = source.next(shard.lease(), options.batch).await?;
    let Batch::Published(receipts) = shard.publish(&records).await? else {
        return Err(DemoError::Broken("the broker refuses an order"));
    };
    run.tell_of(&records, &receipts);
    shard.release().await?; // a relay that died would be waited for until its lease has ended
    Ok(())
}

/// What is reserved, by product.
pub async fn reserved(store: &crate::store::Store) -> Result<Vec<(String, u64)>, StoreError> {
    let (mut all, mut after) = (std::collections::BTreeMap::new(), String::new());
    loop {
        let page = store.states_of(stock::RESERVATION, &after, 1000).await?;
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        for (_, (_, json)) in page {
            let Ok(state) = serde_json::from_slice::<stock::Reservation>(&json) else { continue };
            let product = state.product_id.map_or_else(|| "(unknown)".to_owned(), |product| product.to_string());
            *all.entry(product).or_default() += state.reserved.saturating_sub(state.released);
        }
    }
    Ok(all.into_iter().collect())
}

/// Steps that come from within something that borrows who tells; they are told behind it.
pub(in crate::app) fn gather<S>(steps: &Mutex<Vec<S>>, step: Option<S>) {
    steps.lock().unwrap_or_else(PoisonError::into_inner).extend(step);
}

pub(in crate::app) fn gathered<S>(steps: Mutex<Vec<S>>) -> Vec<S> {
    steps.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn published(told: &Told<'_>) -> Option<Step> {
    let Told::Published { record, topic, partition, offset } = told else { return None };
    Some(Step::Published {
        event: record.event_type.clone(),
        topic: topic.to_string(),
        partition: *partition,
        offset: *offset,
        key: record.key.clone(),
    })
}

fn lesson(tell: Tell<'_>, text: &str) {
    tell(Step::Lesson { text: text.to_owned() });
}
