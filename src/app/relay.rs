//! The relay's part that every source shares: a shard that is held, and batches that go out under its fence.
//!
//! ```text
//! acquire the lease --> InitProducerId: whoever held the shard before is fenced --> read --> publish --> mark
//!   (a row in the store)   (kafkalab.<store>.<shard>)                                 |                    |
//!                                                       one Kafka transaction per batch      under the lease's token
//! ```
//!
//! The lease says who should publish; it cannot stop somebody who believes in a lease that is over (a process that was
//! paused). The broker can: a new holder of the shard takes over its transactional id, and from then on refuses whatever
//! the one before still sends. So rows are read only after InitProducerId.
//!
//! # The guarantee
//! At-least-once: a batch that was committed and not marked (a crash in between) is published again, by the same event ids.
//! Consumers that read committed records see no half of a batch. In order: batches of a shard follow each other, and within
//! one the records stand as they were given.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    crash::{self, Crash},
    produce::{Appended, Door, Options, Outbound, Receipt},
};
use crate::{
    kafka::{Acks, Cluster, Compression, Error, NewRecord, TopicNumber},
    store::{Lease, Store, StoreError},
};

/// How long a shard is held without a sign of life. A relay that dies is followed after this time at most.
pub const LEASE: Duration = Duration::from_secs(10);
/// A commit whose answer did not come is asked for again: the coordinator knows a repeat.
const COMMITS: u32 = 3;

/// A record on its way out.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub topic: String,
    pub key: String,
    pub value: Vec<u8>,
    pub headers: Vec<(&'static str, String)>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
}

impl Outgoing {
    /// Through an open door, as `number`.
    pub fn append(&self, door: &mut Door<'_>, topic: TopicNumber, number: u64) -> Result<Appended, Error> {
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            self.headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))).collect();
        let record = NewRecord {
            key: Some(self.key.as_bytes()),
            value: Some(&self.value),
            headers: &headers,
            timestamp: Some(self.timestamp),
        };
        door.append(topic, None, &record, number)
    }
}

/// Why a relay does not go on by itself.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RelayError {
    #[error(transparent)]
    Broker(#[from] Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record can never be published as it is. Those before it are out, this one and those behind it are not.
    #[error("event {id} (position {position}, stream {stream:?}, version {version}) cannot be published: {cause}")]
    Poison { id: uuid::Uuid, position: u64, stream: String, version: u64, cause: String },
}

impl RelayError {
    /// Worth another try after a pause: a broker or a database that is away.
    pub fn is_transient(&self) -> bool {
        match self {
            RelayError::Broker(Error::Fenced { .. }) | RelayError::Store(StoreError::LeaseLost { .. }) => true,
            RelayError::Broker(error) => error.is_transient(),
            RelayError::Store(error) => error.is_transient(),
            RelayError::Poison { .. } => false,
        }
    }
}

/// A shard that this process holds.
pub struct Shard {
    store: Store,
    lease: Lease,
    renewed: Instant,
    outbound: Outbound,
    topics: HashMap<String, TopicNumber>,
    crash: Crash,
    batch: u64,
}

impl Shard {
    /// Takes the shard, if nobody holds it, and fences whoever held it before.
    pub async fn take(store: &Store, cluster: &Cluster, name: &str, crash: &Crash) -> Result<Option<Self>, RelayError> {
        // two relays of one process are two owners as well
        let owner = uuid::Uuid::now_v7().to_string();
        let Some(lease) = store.acquire(name, &owner, LEASE).await? else { return Ok(None) };
        let renewed = Instant::now();
        let options = Options {
            acks: Acks::All,
            compression: Compression::None,
            linger: None,
            delivery_timeout: LEASE,
            receipts: true,
            transactional_id: Some(format!("kafkalab.{}.{name}", store.id()).into()),
        };
        let outbound = match Outbound::open(cluster.clone(), options).await {
            Ok(outbound) => outbound,
            Err(error) => {
                store.release(&lease).await?; // the next try need not wait for its end
                return Err(error.into());
            }
        };
        let (store, crash) = (store.clone(), crash.clone());
        Ok(Some(Self { store, lease, renewed, outbound, topics: HashMap::new(), crash, batch: 0 }))
    }

    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Keeps the lease while there is nothing to do.
    pub async fn renew(&mut self) -> Result<(), RelayError> {
        if self.renewed.elapsed() > LEASE / 3 {
            self.store.renew(&self.lease, LEASE).await?;
            self.renewed = Instant::now();
        }
        Ok(())
    }

    /// Publishes all or none, as one Kafka transaction; the receipts are in the order of the records.
    ///
    /// # Errors
    /// What the broker refuses. The transaction is rolled back then, or will be by the next holder of the shard; this one
    /// is of no use any more.
    pub async fn publish(&mut self, records: &[Outgoing]) -> Result<Vec<Receipt>, RelayError> {
        self.renew().await?;
        for record in records {
            if !self.topics.contains_key(&record.topic) {
                let number = self.outbound.topic(&record.topic).await?;
                self.topics.insert(record.topic.clone(), number);
            }
        }
        self.outbound.begin().await?;
        self.batch += 1;
        if let Err(error) = self.send(records).await {
            let _ = self.outbound.abort().await; // the next holder's InitProducerId does it otherwise
            return Err(error.into());
        }
        self.crash.here(crash::RELAY_AFTER_SEND);
        self.commit().await?;
        self.crash.here(crash::RELAY_AFTER_ACK);
        let mut receipts = self.outbound.receipts();
        receipts.sort_by_key(|receipt| receipt.number);
        Ok(receipts)
    }

    async fn send(&self, records: &[Outgoing]) -> Result<(), Error> {
        let before = self.outbound.tally();
        let mut rest = records.iter().enumerate().peekable();
        while rest.peek().is_some() {
            let full = {
                let mut door = self.outbound.door();
                let mut full = false;
                while let Some((number, record)) = rest.peek() {
                    match record.append(&mut door, self.topics[&record.topic], *number as u64)? {
                        Appended::Yes => drop(rest.next()),
                        Appended::Full => {
                            full = true;
                            break;
                        }
                    }
                }
                full
            };
            if full {
                self.outbound.room().await?;
            }
        }
        self.outbound.flush().await?;
        let after = self.outbound.tally();
        match after.error {
            Some(error) if after.failed + after.unknown > before.failed + before.unknown => Err(error),
            _ => Ok(()),
        }
    }

    async fn commit(&self) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.outbound.commit().await {
                Err(Error::TimedOut { .. }) if tries < COMMITS => {}
                result => return result,
            }
        }
    }

    /// Gives the shard to whoever wants it next.
    pub async fn release(self) -> Result<(), RelayError> {
        Ok(self.store.release(&self.lease).await?)
    }
}

/// The topic's name under the prefix that all of this project's topics have.
pub fn prefixed(prefix: &str, topic: &str) -> String {
    format!("{prefix}{topic}")
}

/// Topics are made with so many partitions, where they are not there.
pub const PARTITIONS: i32 = 3;

/// Makes the topics that are not there.
///
/// # Errors
/// As [`crate::kafka::Admin::create_topic`].
pub async fn make_topics(cluster: &Cluster, topics: &[String]) -> Result<Vec<String>, Error> {
    let mut made = Vec::new();
    for name in topics {
        let topic = crate::kafka::NewTopic { name: name.clone(), partitions: Some(PARTITIONS), ..Default::default() };
        match super::topics::create(cluster, &topic, false, true).await? {
            super::topics::Creation::Made(_) => made.push(name.clone()),
            super::topics::Creation::Existed(_) => {}
        }
    }
    Ok(made)
}

/// Pauses between two looks for something new: short after there was something, up to `every` when nothing comes.
#[derive(Debug)]
pub struct Polling {
    every: Duration,
    pause: Duration,
}

impl Polling {
    const SHORTEST: Duration = Duration::from_millis(5);

    pub fn new(every: Duration) -> Self {
        Self { every, pause: Self::SHORTEST }
    }

    pub fn found(&mut self) {
        self.pause = Self::SHORTEST;
    }

    pub fn pause(&mut self) -> Duration {
        let pause = self.pause.min(self.every);
        self.pause = (self.pause * 2).min(self.every);
        pause
    }
}

/// Shared by everything that must be told to stop.
pub type Stop = tokio_util::sync::CancellationToken;

/// Sleeps, unless it is told to stop; false then.
pub async fn rest(pause: Duration, stop: &Stop) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(pause) => true,
    }
}

/// A reference to what a receipt says of its place.
pub fn place(receipt: &Receipt) -> (Arc<str>, i32, Option<i64>) {
    let offset = match receipt.outcome {
        super::produce::Ended::Acknowledged(offset) => offset,
        _ => None,
    };
    (Arc::clone(&receipt.topic), receipt.partition, offset)
}
