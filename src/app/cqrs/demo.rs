//! The demonstration: both sides in one process, what is sent wrongly on purpose, a reader that dies, and a rebuild.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use uuid::Uuid;

use super::{
    TOPICS,
    read::read,
    rebuild::{Rebuild, RebuildError},
    stats::stats,
    write::{WriteError, write},
};
use crate::{
    app::{
        crash::Crash,
        event_sourcing::{OrderError, Orders, publish},
        handler::{self, HandlerError},
        produce::{Appended, Options as Sending, Outbound, Receipts},
        relay::{Options, Outgoing, RelayError, Stop, Told, make_topics, prefixed},
    },
    kafka::{Acks, Cluster, Compression, Error},
    patterns::{
        money::{Currency, Money},
        order::{
            CreateOrder, InvalidText, OrderCommand, OrderId, PayOrder, PaymentId, ProductId, ShipOrder, ShipmentId,
            UserId,
        },
        projection::Models,
    },
    store::StoreError,
};

/// Why the demonstration did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Relay(#[from] RelayError),
    #[error(transparent)]
    Handler(#[from] HandlerError),
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    #[error(transparent)]
    Broker(#[from] Error),
    #[error(transparent)]
    Store(#[from] StoreError),
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
    Written {
        command: &'static str,
        order_id: String,
        version: u64,
        events: Vec<&'static str>,
    },
    Refused {
        command: &'static str,
        order_id: String,
        code: String,
        reason: String,
    },
    Published {
        event: String,
        topic: String,
        partition: i32,
        offset: Option<i64>,
        key: String,
    },
    /// The read side has come to the end of what is there.
    Read {
        records: u64,
        orders: i64,
    },
    /// An order, as the read side knows it.
    Known {
        order_id: String,
        status: String,
        events: usize,
    },
    Died {
        records: u64,
    },
    Users {
        users: Vec<(String, i64)>,
    },
    Revenue {
        currency: String,
        paid: String,
        payments: i64,
    },
    Rebuilt {
        events: u64,
        differences: u64,
    },
    Lesson {
        text: String,
    },
}

type Tell<'a> = &'a mut dyn FnMut(Step);

/// What the demonstration works on.
pub struct Demo {
    pub orders: Orders,
    pub cluster: Cluster,
    pub prefix: String,
    pub actor: String,
    pub crash: Crash,
    pub stop: Stop,
}

/// The reader's name, so that the one that comes after a dead one need not wait.
const INSTANCE: &str = "cqrs-demo";
/// Of a reader that is to die in the middle.
const FEW: usize = 3;
/// Until what was published is read.
const PATIENCE: Duration = Duration::from_secs(60);

impl Demo {
    /// The flow, and what would make a careless read side wrong.
    pub async fn run(&self, tell: Tell<'_>) -> Result<(), DemoError> {
        let topics: Vec<String> = TOPICS.iter().map(|topic| prefixed(&self.prefix, topic)).collect();
        make_topics(&self.cluster, &topics).await?;
        self.both_sides(tell).await?;
        self.out_of_order(tell).await?;
        self.killed(tell).await?;
        self.rebuilt(tell).await
    }

    async fn both_sides(&self, tell: Tell<'_>) -> Result<(), DemoError> {
        tell(Step::Part { title: "One side writes, the other reads" });
        let mug = self.create("ada", "coffee-mug", 1299, tell).await?;
        self.command(&self.pay(&mug, 1299)?, tell).await?;
        self.command(&ShipOrder { order_id: mug, shipment_id: ShipmentId::new("shipment-1")? }.into(), tell).await?;
        let lamp = self.create("bob", "lamp", 7900, tell).await?;
        self.command(&self.pay(&lamp, 7800)?, tell).await?;
        lesson(
            tell,
            "The write side decides on the order's own past, in the log. It has no read model, and a refusal is an answer: \
             nothing was appended.",
        );
        self.publish(tell).await?;
        self.read_on(4, tell).await?;
        self.show(tell).await?;
        lesson(tell, "The read side takes no command: it follows the topics, and keeps what is asked for.");
        Ok(())
    }

    async fn out_of_order(&self, tell: Tell<'_>) -> Result<(), DemoError> {
        tell(Step::Part { title: "OrderPaid comes before OrderCreated, and comes twice" });
        let order = self.create("ada", "tea-pot", 4500, tell).await?;
        self.command(&self.pay(&order, 4500)?, tell).await?;
        let events = self.orders.store().read_stream(&order.stream(), 1, 10).await?;
        let Some(paid) = events.last() else { return Err(DemoError::Broken("an order has no events")) };
        let (record, _) = publish::outgoing(paid, &self.prefix)?;
        self.send_by_hand(&record, tell).await?;
        self.read_on(1, tell).await?;
        self.known(&order, "AWAITED", 1, tell).await?;
        lesson(tell, "Two topics, no order between them. What is known is kept, and the rest awaited.");
        self.publish(tell).await?;
        self.read_on(2, tell).await?;
        self.known(&order, "PAID", 2, tell).await?;
        lesson(
            tell,
            "OrderPaid was in the topic twice, with one id. Merged by its id it counts once; a counter that adds one for \
             each record would be wrong from now on.",
        );
        Ok(())
    }

    async fn killed(&self, tell: Tell<'_>) -> Result<(), DemoError> {
        tell(Step::Part { title: "The read side is killed, and goes on" });
        for (user, product) in [("ada", "lamp"), ("bob", "tea-pot"), ("eve", "lamp"), ("eve", "coffee-mug")] {
            let order = self.create(user, product, 2500, tell).await?;
            self.command(&self.pay(&order, 2500)?, tell).await?;
        }
        self.publish(&mut |_| ()).await?;
        let before = self.counted().await?;
        tell(Step::Died { records: self.read_and_die().await? });
        let between = self.counted().await?;
        lesson(
            tell,
            "It died after a commit of the database and before Kafka was told. The records come again, and change nothing.",
        );
        self.read_on(8, tell).await?;
        self.show(tell).await?;
        if self.counted().await? != before + 4 || between < before {
            return Err(DemoError::Broken("a reader that was killed has lost or doubled an order"));
        }
        Ok(())
    }

    async fn rebuilt(&self, tell: Tell<'_>) -> Result<(), DemoError> {
        tell(Step::Part { title: "A rebuild, beside the one that serves" });
        let (store, stop) = (self.orders.store(), &self.stop);
        let rebuild = Rebuild { store, models: Models::ALL, topics: None, compare: true, stop };
        let Some(report) = rebuild.run(&mut |_, _| ()).await? else { return Ok(()) };
        let differences = report.differences.unwrap_or(u64::MAX);
        tell(Step::Rebuilt { events: report.events, differences });
        if differences != 0 {
            return Err(DemoError::Broken("a rebuild differs from the live models"));
        }
        lesson(
            tell,
            "From the log, in its own order, without a repeat: and every row is the same as those that came out of a \
             duplicate, a wrong order and a kill. A model that can be rebuilt can be changed, too.",
        );
        Ok(())
    }

    async fn create(&self, user: &str, product: &str, minor: i64, tell: Tell<'_>) -> Result<OrderId, DemoError> {
        let order_id = OrderId::new(Uuid::now_v7().to_string())?;
        let command = CreateOrder {
            order_id: order_id.clone(),
            user_id: UserId::new(user)?,
            product_id: ProductId::new(product)?,
            price: Money::new(minor, Currency::USD),
        };
        self.command(&command.into(), tell).await?;
        Ok(order_id)
    }

    fn pay(&self, order_id: &OrderId, minor: i64) -> Result<OrderCommand, DemoError> {
        let payment_id = PaymentId::new(format!("payment-{order_id}"))?;
        let amount = Money::new(minor, Currency::USD);
        Ok(PayOrder { order_id: order_id.clone(), payment_id, amount }.into())
    }

    async fn command(&self, command: &OrderCommand, tell: Tell<'_>) -> Result<(), DemoError> {
        let order_id = command.order_id().to_string();
        match write(&self.orders, command, &self.actor, None).await {
            Ok(answer) => {
                let events = answer.events.iter().map(|event| event.name).collect();
                tell(Step::Written { command: command.name(), order_id, version: answer.version, events });
                Ok(())
            }
            Err(WriteError::Order(OrderError::Rejected(rejection))) => {
                let (code, reason) = (rejection.code().to_owned(), rejection.to_string());
                tell(Step::Refused { command: command.name(), order_id, code, reason });
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn publish(&self, tell: Tell<'_>) -> Result<(), DemoError> {
        let options = Options { prefix: self.prefix.clone(), once: true, ..Options::default() };
        let steps = Mutex::new(Vec::new());
        let say = |told: Told<'_>| {
            let Told::Published { record, topic, partition, offset } = told else { return };
            let (event, topic, key) = (record.event_type.clone(), topic.to_string(), record.key.clone());
            let step = Step::Published { event, topic, partition, offset, key };
            steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
        };
        publish::publish(self.orders.store(), &self.cluster, &options, &self.crash, &self.stop, &say).await?;
        steps.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().for_each(tell);
        Ok(())
    }

    /// A record past the publisher: what a relay that was killed leaves.
    async fn send_by_hand(&self, record: &Outgoing, tell: Tell<'_>) -> Result<(), DemoError> {
        let options = Sending {
            acks: Acks::All,
            compression: Compression::None,
            linger: None,
            delivery_timeout: Duration::from_secs(30),
            receipts: Receipts::None,
            transactional_id: None,
        };
        let outbound = Outbound::open(self.cluster.clone(), options).await?;
        let topic = outbound.topic(&record.topic).await?;
        loop {
            let appended = record.append(&mut outbound.door(), topic, 0)?;
            match appended {
                Appended::Yes => break,
                Appended::Full => outbound.room().await?,
            }
        }
        outbound.flush().await?;
        if let Some(error) = outbound.tally().error {
            return Err(error.into());
        }
        let (event, topic, key) = (record.event_type.clone(), record.topic.clone(), record.key.clone());
        tell(Step::Published { event, topic, partition: -1, offset: None, key });
        Ok(())
    }

    fn reader(&self) -> handler::Options {
        handler::Options {
            prefix: self.prefix.clone(),
            instance: Some(INSTANCE.to_owned()),
            once: true,
            ..handler::Options::default()
        }
    }

    /// Until so many records are read. Kafka shows those of a transaction when its markers are written, which may be a moment
    /// after it has said that the transaction is committed.
    async fn read_on(&self, wanted: u64, tell: Tell<'_>) -> Result<(), DemoError> {
        let (store, began, mut records) = (self.orders.store(), Instant::now(), 0);
        while records < wanted && !self.stop.is_cancelled() {
            let report = read(store, &self.cluster, &self.reader(), &self.stop, &|_| (), &|_, _| ()).await?;
            records += report.records;
            if began.elapsed() > PATIENCE {
                return Err(DemoError::Broken("records that were published are not there to be read"));
            }
        }
        tell(Step::Read { records, orders: self.counted().await? });
        Ok(())
    }

    /// Its first batch is in the models, and then it is no more: nobody leaves the group, no offset is committed.
    async fn read_and_die(&self) -> Result<u64, DemoError> {
        let (records, died, began) = (AtomicU64::new(0), Stop::new(), Instant::now());
        let tell = |told: handler::Told<'_>| {
            if let handler::Told::Committed { records: some @ 1.., .. } = told {
                records.fetch_add(some as u64, Ordering::Relaxed);
                died.cancel();
            }
        };
        let options = handler::Options { batch: FEW, ..self.reader() };
        while !died.is_cancelled() && !self.stop.is_cancelled() {
            let reading = read(self.orders.store(), &self.cluster, &options, &self.stop, &tell, &|_, _| ());
            tokio::select! {
                biased;
                () = died.cancelled() => {}
                ended = reading => drop(ended?),
            }
            if began.elapsed() > PATIENCE {
                return Err(DemoError::Broken("a reader reads nothing"));
            }
        }
        Ok(records.load(Ordering::Relaxed))
    }

    async fn counted(&self) -> Result<i64, DemoError> {
        let told = stats(self.orders.store(), 100, 1).await?.told;
        Ok(told.users.iter().map(|user| user.orders).sum())
    }

    async fn known(&self, order: &OrderId, status: &str, events: usize, tell: Tell<'_>) -> Result<(), DemoError> {
        let Some(row) = self.orders.store().view_order(order.as_str()).await? else {
            return Err(DemoError::Broken("the read side does not know an order that it has read"));
        };
        let count = row.known.events().count();
        tell(Step::Known { order_id: row.order_id, status: row.status.clone(), events: count });
        match row.status == status && count == events {
            true => Ok(()),
            false => Err(DemoError::Broken("an order has another status than its events say")),
        }
    }

    async fn show(&self, tell: Tell<'_>) -> Result<(), DemoError> {
        let told = stats(self.orders.store(), 5, 1).await?.told;
        tell(Step::Users { users: told.users.into_iter().map(|user| (user.key, user.orders)).collect() });
        for row in told.revenue {
            let paid = Money::new(row.paid, Currency::USD).amount();
            tell(Step::Revenue { currency: row.currency, paid, payments: row.payments });
        }
        Ok(())
    }
}

fn lesson(tell: Tell<'_>, text: &str) {
    tell(Step::Lesson { text: text.to_owned() });
}
