//! The three consumers: what each makes of the order's record, and what it keeps of the order then.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use super::{Demo, DemoError, Step, Tell, USER_ID};
use crate::{
    app::{
        grpc_consumer::{self, Consumer, send},
        handler::{self, What},
        outbox::demo::{gather, gathered},
    },
    kafka::{Admin, Cluster, TopicPartition},
    notify::{Notifier, Target},
    patterns::{
        analytics::{self, EVENT, USER},
        order::OrderId,
        search::{self, Found, Query},
    },
};

/// Until what was published is read.
const PATIENCE: Duration = Duration::from_secs(60);
/// With these the order is looked for.
const WORDS: &str = "user-123 prod* 99.99";

impl Demo {
    /// The three consumers, until each has met the order's message, which must be `what` to it. Gives the effects of others.
    ///
    /// Kafka shows the records of a transaction when its markers are written, which may be a moment after it has said that the
    /// transaction is committed: hence again and again.
    pub(super) async fn consume(
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
    pub(super) async fn kept(&self, order: &OrderId) -> Result<Vec<Step>, DemoError> {
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
