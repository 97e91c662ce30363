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

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::future::join;
use serde::Serialize;
use tokio::net::TcpListener;
use uuid::Uuid;

use super::{
    Address, ConnectOptions,
    crash::Crash,
    event_sourcing::Orders,
    grpc_consumer::{self, Consumer, send},
    grpc_server::{self, Place, ServerMetrics, Service},
    handler::{self, HandlerError, What},
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
        orders::{CreateOrderRequest, Money, Order},
        statuses,
    },
    kafka::{Admin, Cluster, Error, TopicPartition},
    notify::{NotHeard, Notifier, Target},
    patterns::{
        analytics::{self, EVENT, USER},
        order::{InvalidText, OrderId},
        search::{self, Found, NoQuery, Query},
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

/// One line of the run.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    Part {
        title: &'static str,
    },
    Serves {
        service: &'static str,
        address: SocketAddr,
    },
    /// The relay cannot reach Kafka.
    Away {
        reason: String,
    },
    Called {
        method: &'static str,
        user_id: String,
        product_id: String,
        currency: String,
        amount: f64,
        idempotency_key: Option<String>,
    },
    Answered {
        code: &'static str,
        order_id: String,
        status: &'static str,
        already_done: bool,
    },
    Refused {
        code: &'static str,
        message: String,
        reason: Option<String>,
        fields: BTreeMap<String, String>,
    },
    /// What the outbox has.
    Depth {
        waiting: u64,
        parked: u64,
        held: u64,
    },
    Published {
        event: String,
        topic: String,
        partition: i32,
        offset: Option<i64>,
        key: String,
        message_id: String,
    },
    /// A record, as a consumer met it, and where its group goes on in this partition: that is what it has committed.
    Handled {
        consumer: &'static str,
        group: String,
        what: &'static str,
        topic: String,
        partition: i32,
        offset: i64,
        message_id: String,
        committed: Option<i64>,
    },
    /// Of analytics.
    Counted {
        name: &'static str,
        key: String,
        count: i64,
    },
    /// Of notifications: a line of the file.
    Notified {
        id: String,
        text: String,
    },
    /// Of the search index.
    Found {
        words: &'static str,
        order_id: String,
        status: String,
        price: Option<String>,
    },
    Lesson {
        text: &'static str,
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
    /// The file for notifications.
    pub told: PathBuf,
    /// Hears what keeps the server from answering.
    pub trouble: grpc_server::Tell,
}

/// For a broker that is known to be away.
const IN_VAIN: Duration = Duration::from_secs(1);
/// Until what was published is read.
const PATIENCE: Duration = Duration::from_secs(60);
const USER_ID: &str = "user-123";
/// With these the order is looked for.
const WORDS: &str = "user-123 prod* 99.99";

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
            handler::begin_at_end_if_new(cluster, &consumer.group(self.orders.store()), &topics).await?;
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
        if others == 0 && shown(&after) != shown(before) {
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

    /// The three consumers, until each has met the order's message, which must be `what` to it. Gives the effects of others.
    ///
    /// Kafka shows the records of a transaction when its markers are written, which may be a moment after it has said that the
    /// transaction is committed: hence again and again.
    async fn consume(
        &self,
        cluster: &Cluster,
        order: &OrderId,
        what: &'static str,
        tell: Tell<'_>,
    ) -> Result<usize, DemoError> {
        let store = self.orders.store();
        let events = store.read_stream(&order.stream(), 1, 1).await?;
        let Some(id) = events.first().map(|event| event.id.to_string()) else {
            return Err(DemoError::Broken("an order has no event"));
        };
        let notifier = Notifier::open(&Target::File(self.told.clone())).await?;
        let sending =
            send::Sending { notifier, attempts: 10, pause: Duration::from_millis(500), crash: self.crash.clone() };
        let options = handler::Options { prefix: self.prefix.clone(), once: true, ..handler::Options::default() };
        let consumers = &Consumer::ALL;
        let run = grpc_consumer::Run { store, cluster, consumers, options: &options, sending: Some(&sending) };
        let (mut met, mut others, began) = (Vec::new(), 0, Instant::now());
        while met.len() < consumers.len() && !self.stop.is_cancelled() {
            let records = Mutex::new(Vec::new());
            let ended = run.run(&self.stop, &|told| gather(&records, Met::of(&told))).await?;
            for (consumer, outcome) in ended.handled {
                outcome.map_err(|error| DemoError::Handler(consumer, error))?;
            }
            let (ours, theirs): (Vec<Met>, _) = gathered(records).into_iter().partition(|met| met.message_id == id);
            met.extend(ours);
            others += theirs.iter().filter(|met| met.what == "effect").count();
            if began.elapsed() > PATIENCE {
                return Err(DemoError::Broken("a record that was published is not there to be read"));
            }
        }
        met.sort_by_key(|met| met.consumer);
        if met.iter().any(|met| met.what != what) {
            return Err(DemoError::Broken("a message took effect twice, or not at all"));
        }
        for met in met {
            tell(met.step(cluster, met.consumer.group(store)).await?);
        }
        Ok(others)
    }

    /// What the consumers keep of the order.
    async fn kept(&self, order: &OrderId) -> Result<Vec<Step>, DemoError> {
        let (store, mut kept) = (self.orders.store(), Vec::new());
        for (name, key) in [(EVENT, "OrderCreated"), (USER, USER_ID)] {
            let counts = store.top_counts(analytics::NAME, name, 1000).await?;
            let count = counts.iter().find(|count| count.key == key).map_or(0, |count| count.count);
            kept.push(Step::Counted { name, key: key.to_owned(), count });
        }
        let lines = std::fs::read_to_string(&self.told)
            .map_err(|cause| DemoError::File { path: self.told.display().to_string(), cause: cause.to_string() })?;
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let lines = lines.filter(|line| line.order_id == order.as_str());
        kept.extend(lines.map(|Line { id, text, .. }| Step::Notified { id, text }));
        let rows = store.search(search::NAME, &Query::parse(WORDS)?, 100).await?;
        let found = rows.iter().filter_map(|row| serde_json::from_slice::<Found>(&row.data).ok());
        let found = found.filter(|found| found.order_id == order.as_str());
        kept.extend(found.map(|Found { order_id, status, price, .. }| Step::Found {
            words: WORDS,
            order_id,
            status,
            price,
        }));
        let count = |is: fn(&Step) -> bool| kept.iter().filter(|step| is(step)).count();
        let (told, found) =
            (count(|step| matches!(step, Step::Notified { .. })), count(|step| matches!(step, Step::Found { .. })));
        match (told, found) {
            (1, 1) => Ok(kept),
            (1, _) => Err(DemoError::Broken("an order is not found")),
            _ => Err(DemoError::Broken("of an order somebody is told once, where nobody dies")),
        }
    }
}

/// As far as it is looked at here, a notification's line.
#[derive(serde::Deserialize)]
struct Line {
    id: String,
    order_id: String,
    text: String,
}

/// A record, as a consumer met it.
struct Met {
    consumer: Consumer,
    what: &'static str,
    partition: TopicPartition,
    offset: i64,
    message_id: String,
}

impl Met {
    fn of(told: &grpc_consumer::Told<'_>) -> Option<Self> {
        let grpc_consumer::Told::Handler { consumer, told } = told else { return None };
        let handler::Told::Record { partition, offset, message, what } = told else { return None };
        let what = match what {
            What::Effect { .. } => "effect",
            What::Repeat => "repeat",
            What::PassedBy => "passed by",
            What::Dead(_) => "dead letter",
        };
        let (partition, message_id) = ((*partition).clone(), (*message).to_owned());
        Some(Self { consumer: *consumer, what, partition, offset: *offset, message_id })
    }

    async fn step(&self, cluster: &Cluster, group: String) -> Result<Step, DemoError> {
        let committed = Admin::new(cluster.clone()).committed_offsets(&group).await?.get(&self.partition).copied();
        Ok(Step::Handled {
            consumer: self.consumer.name(),
            group,
            what: self.what,
            topic: self.partition.topic.to_string(),
            partition: self.partition.partition,
            offset: self.offset,
            message_id: self.message_id.clone(),
            committed,
        })
    }
}

fn request(amount: f64) -> CreateOrderRequest {
    let price = Some(Money { currency: "USD".to_owned(), amount });
    CreateOrderRequest { user_id: USER_ID.to_owned(), product_id: "prod-456".to_owned(), price }
}

/// A call, and how it was answered.
async fn call(
    caller: &mut Caller,
    request: CreateOrderRequest,
    key: Option<&str>,
    tell: Tell<'_>,
) -> Result<Order, Refused> {
    let price = request.price.clone().unwrap_or_default();
    tell(Step::Called {
        method: "CreateOrder",
        user_id: request.user_id.clone(),
        product_id: request.product_id.clone(),
        currency: price.currency,
        amount: price.amount,
        idempotency_key: key.map(str::to_owned),
    });
    match caller.create_order(request, key).await {
        Ok(answer) => {
            let (order, already_done) = (answer.order.unwrap_or_default(), answer.already_done);
            let status = order.status().as_str_name();
            let status = status.strip_prefix("ORDER_STATUS_").unwrap_or(status);
            let code = statuses::name(Code::Ok);
            tell(Step::Answered { code, order_id: order.order_id.clone(), status, already_done });
            Ok(order)
        }
        Err(refused) => {
            let Refused { code, message, reason, fields } = refused.clone();
            let (code, fields) = (statuses::name(code), fields.into_iter().collect());
            tell(Step::Refused { code, message, reason, fields });
            Err(refused)
        }
    }
}

async fn a_wrong_request(caller: &mut Caller, tell: Tell<'_>) -> Result<(), DemoError> {
    tell(Step::Part { title: "A request that is wrong" });
    let price = Some(Money { currency: "usd".to_owned(), amount: -1.0 });
    let wrong = CreateOrderRequest { price, product_id: "prod-456".to_owned(), ..CreateOrderRequest::default() };
    refused(call(caller, wrong, None, tell).await, Code::InvalidArgument)?;
    lesson(
        tell,
        "All that is wrong is said in one answer, each field by its name, in details that a program can read.",
    );
    Ok(())
}

/// It must be, and with this code.
fn refused(answer: Result<Order, Refused>, code: Code) -> Result<(), DemoError> {
    match answer {
        Err(refused) if refused.code == code => Ok(()),
        Err(refused) => Err(refused.into()),
        Ok(_) => Err(DemoError::Broken("a call that is wrong was answered OK")),
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

fn shown(steps: &[Step]) -> String {
    format!("{steps:?}")
}

fn lesson(tell: Tell<'_>, text: &'static str) {
    tell(Step::Lesson { text });
}
