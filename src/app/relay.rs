//! The relay: takes what was committed to a store and sends it to Kafka. One for every source: the event log, the outbox.
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
//!
//! `shard.rs` has the lease, the fence and the transaction, `turns.rs` whose turn it is; what is read and marked is a [`Source`]'s.

mod shard;
mod turns;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

pub use self::{
    shard::{Batch, Refusal, Shard},
    turns::Turns,
};
use super::{
    crash::{self, Crash},
    produce::{Appended, Door, Ended, Receipt},
};
use crate::{
    kafka::{Cluster, Error, NewRecord, TopicNumber},
    patterns::envelope::Headers,
    store::{Lease, Store, StoreError},
};

/// How long a shard is held without a sign of life. A relay that dies is followed after this time at most.
pub const LEASE: Duration = Duration::from_secs(10);

/// A record on its way out.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub topic: String,
    pub key: String,
    pub value: Vec<u8>,
    pub headers: Headers,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// For whoever follows what goes out: the event's type, and its place in the source.
    pub event_type: String,
    pub place: u64,
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
    Poison { id: Uuid, position: u64, stream: String, version: u64, cause: String },
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

/// What a relay takes its records from, and where it says how far it has come.
pub trait Source: Send {
    /// The shard's name: of its lease, and in its transactional id.
    fn shard(&self) -> &str;

    /// Waits until the shard is wanted here. False: it never will be, or there is nothing to do.
    fn claim(&mut self, stop: &Stop) -> impl Future<Output = Result<bool, RelayError>> + Send;

    /// Whether the shard is still wanted here.
    fn is_wanted(&self) -> bool {
        true
    }

    /// The shard is held and fenced: whoever moved on before cannot any more.
    fn begin(&mut self) -> impl Future<Output = Result<(), RelayError>> + Send;

    /// What goes out next, in order; empty where nothing waits.
    fn next(&mut self, lease: &Lease, limit: usize) -> impl Future<Output = Result<Vec<Outgoing>, RelayError>> + Send;

    /// What [`next`](Self::next) has met and set aside, because it can be no record.
    fn set_aside(&mut self) -> Vec<Told<'static>> {
        Vec::new()
    }

    /// What [`next`](Self::next) gave is in the topics. May be called again where the store was away.
    fn mark(&mut self, lease: &Lease) -> impl Future<Output = Result<(), RelayError>> + Send;

    /// What [`next`](Self::next) gave is not, because of these. Gives what was set aside.
    fn refused(
        &mut self,
        records: &[Outgoing],
        refusals: Vec<Refusal>,
        lease: &Lease,
    ) -> impl Future<Output = Result<Vec<Told<'static>>, RelayError>> + Send;

    /// Waits for something new, for so long at most.
    fn rest(&mut self, pause: Duration, stop: &Stop) -> impl Future<Output = ()> + Send;
}

#[derive(Clone, Debug)]
pub struct Options {
    /// Before the topics' names.
    pub prefix: String,
    /// Records of a transaction at most.
    pub batch: usize,
    /// End when everything is published.
    pub once: bool,
    /// The longest pause between two looks at the source.
    pub every: Duration,
    /// How long a broker or a store may be away with `once`.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let (every, patience) = (Duration::from_millis(200), Duration::from_secs(30));
        Self { prefix: String::new(), batch: 5000, once: false, every, patience }
    }
}

impl Options {
    /// What takes longer than a lease is of no use to whoever held it; and with `once` somebody waits for the end.
    async fn within<T>(
        &self,
        action: &str,
        work: impl Future<Output = Result<T, RelayError>>,
    ) -> Result<T, RelayError> {
        let limit = if self.once { self.patience.min(LEASE) } else { LEASE };
        let late = |_| Error::TimedOut { action: action.to_owned(), limit, last_try: None };
        tokio::time::timeout(limit, work).await.map_err(late)?
    }
}

/// What a relay says while it works.
#[derive(Clone, Debug)]
pub enum Told<'a> {
    /// A record is on Kafka, and the source may not know yet; the offset is the broker's own word.
    Published { record: &'a Outgoing, topic: Arc<str>, partition: i32, offset: Option<i64> },
    /// A row was refused for what it is: parked, or to be tried again.
    SetAside { id: Uuid, reason: String, parked: bool },
    /// Another one holds the lease.
    Waits,
    /// Something is away; it tries again.
    Trouble(String),
}

/// Somebody who listens.
pub type Tell<'a> = &'a (dyn Fn(Told<'_>) + Send + Sync);

/// What all relays of a run share.
#[derive(Clone)]
pub struct Run<'a> {
    pub store: &'a Store,
    pub cluster: &'a Cluster,
    pub options: &'a Options,
    pub crash: &'a Crash,
    pub stop: &'a Stop,
    pub tell: Tell<'a>,
    pub turns: &'a Turns,
}

impl Run<'_> {
    /// Publishes a source until it is told to stop, or with `once` until nothing waits. Gives how many records went out.
    ///
    /// # Errors
    /// What does not pass; with `once` also what lasts longer than [`Options::patience`].
    pub async fn relay(&self, source: &mut impl Source) -> Result<u64, RelayError> {
        let (mut published, mut waits) = (0, false);
        let (mut backoff, mut trouble) = (Backoff::default(), None);
        while !self.stop.is_cancelled() && source.claim(self.stop).await? {
            let held = match Shard::take(self, source.shard()).await {
                Ok(Some(mut shard)) => {
                    waits = false;
                    let before = published;
                    let followed = self.follow(&mut shard, source, &mut published).await;
                    if published > before || followed.is_ok() {
                        (backoff, trouble) = (Backoff::default(), None);
                    }
                    let _ = shard.release().await; // it ends by itself otherwise
                    followed
                }
                Ok(None) if self.stop.is_cancelled() => break,
                Ok(None) => {
                    if !std::mem::replace(&mut waits, true) {
                        (self.tell)(Told::Waits);
                    }
                    rest(backoff.shortest(), self.stop).await;
                    continue;
                }
                Err(error) => Err(error),
            };
            if let Err(error) = held {
                let since = *trouble.get_or_insert_with(Instant::now);
                if !error.is_transient() || (self.options.once && since.elapsed() > self.options.patience) {
                    return Err(error);
                }
                (self.tell)(Told::Trouble(error.to_string()));
                rest(backoff.pause(), self.stop).await;
            }
        }
        Ok(published)
    }

    /// Until it is told to stop, the shard is wanted elsewhere, or with `once` nothing waits.
    async fn follow(&self, shard: &mut Shard, source: &mut impl Source, published: &mut u64) -> Result<(), RelayError> {
        source.begin().await?;
        let (mut polling, mut last) = (Polling::new(self.options.every), 0);
        while !self.stop.is_cancelled() && source.is_wanted() {
            let turn = self.turns.next(last).await; // before the look, so that it finds what came meanwhile
            let records = source.next(shard.lease(), self.options.batch).await?;
            source.set_aside().into_iter().for_each(self.tell);
            if records.is_empty() {
                drop(turn);
                if self.options.once {
                    return Ok(());
                }
                shard.renew().await?;
                source.rest(polling.pause(), self.stop).await;
                continue;
            }
            self.crash.here(crash::RELAY_AFTER_CLAIM);
            polling.found();
            last = records.len();
            let batch = self.options.within("publishing", shard.publish(&records)).await?;
            let _turn = Turns::with_its_mark(last).then_some(turn);
            match batch {
                Batch::Published(receipts) => {
                    self.tell_of(&records, &receipts);
                    self.mark(source, shard).await?;
                    self.crash.here(crash::RELAY_AFTER_MARK);
                    *published += records.len() as u64;
                    shard.renew().await?;
                }
                Batch::Refused(refusals) => {
                    for told in source.refused(&records, refusals, shard.lease()).await? {
                        (self.tell)(told);
                    }
                }
            }
        }
        Ok(())
    }

    /// A mark that fails because the store is away is tried again while the lease is fresh: what is not marked goes out twice.
    async fn mark(&self, source: &mut impl Source, shard: &Shard) -> Result<(), RelayError> {
        let (began, mut backoff) = (Instant::now(), Backoff::default());
        loop {
            match source.mark(shard.lease()).await {
                Err(error @ RelayError::Store(StoreError::LeaseLost { .. })) => return Err(error),
                Err(error) if error.is_transient() && began.elapsed() < LEASE / 2 => {
                    (self.tell)(Told::Trouble(error.to_string()));
                    tokio::time::sleep(backoff.pause()).await; // told to stop or not: the batch in hand is finished
                }
                outcome => return outcome,
            }
        }
    }

    pub(super) fn tell_of(&self, records: &[Outgoing], receipts: &[Receipt]) {
        for receipt in receipts {
            let Some(record) = records.get(receipt.number as usize) else { continue };
            let offset = match receipt.outcome {
                Ended::Acknowledged(offset) => offset,
                _ => None,
            };
            let (topic, partition) = (Arc::clone(&receipt.topic), receipt.partition);
            (self.tell)(Told::Published { record, topic, partition, offset });
        }
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

/// Pauses after trouble: twice as long each time, up to a limit, and never the same for two that failed together.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(Self::SHORTEST)
    }
}

impl Backoff {
    const SHORTEST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(5);

    pub fn pause(&mut self) -> Duration {
        let pause = jitter(self.0);
        self.0 = (self.0 * 2).min(Self::LONGEST);
        pause
    }

    fn shortest(&self) -> Duration {
        jitter(Self::SHORTEST)
    }
}

/// Between half of it and the whole.
pub fn jitter(pause: Duration) -> Duration {
    let (_, random) = Uuid::new_v4().as_u64_pair();
    pause / 2 + pause.mul_f64((random % 1024) as f64 / 2048.0)
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
