//! The producer: idempotent, in order, bounded.
//!
//! ```text
//! append() -> Accumulator -> sender task -> one Lane per partition -> the leader's connection
//!             open batches   (linger, leaders,   (stamps, order         (at most 5 requests
//!             bounded bytes   retries, time)      through retries)        in flight)
//!                                  |
//!                                  +-> Delivery: acknowledged, failed or unknown, per batch
//! ```
//!
//! Guarantee with [`Acks::All`] (the default): an acknowledged record is in the log of all in-sync replicas, once, and
//! after every record of its partition that was appended before it and acknowledged. A record that ends *unknown* is there
//! once or not at all: the time ran out before the broker said. With `Acks::Leader` retries may repeat records and a
//! leader that fails may lose them; with `Acks::None` nobody looks.
//!
//! The hot path has no future and no allocation per record: [`Appender::append`] copies the bytes into the open batch,
//! and the outcome is reported per batch.

mod accumulator;
mod lane;
mod sender;
mod transaction;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, timeout},
};

pub use self::accumulator::{AppendError, Appender, TopicNumber};
use self::{accumulator::Accumulator, sender::Sender};
use super::{
    batch::{self, BatchBuilder, Compression, Stamp},
    cluster::Cluster,
    error::{Error, Result},
    record::NewRecord,
};

/// Who must have a record before it counts as acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Nobody: at-most-once.
    None,
    /// The leader alone: lost when it fails before the others have copied it.
    Leader,
    /// All in-sync replicas.
    #[default]
    All,
}

#[derive(Clone, Debug)]
pub struct ProducerConfig {
    pub acks: Acks,
    pub compression: Compression,
    /// Bytes of a batch before compression. A larger record gets a batch of its own.
    pub batch_size: usize,
    /// How long an open batch waits for company.
    pub linger: Duration,
    /// Bytes of all batches that have not ended; beyond it appending waits.
    pub memory: usize,
    /// From the first append into a batch to its end: acknowledged, failed or unknown.
    pub delivery_timeout: Duration,
    /// Makes the producer transactional under this id; needs [`Acks::All`].
    pub transactional_id: Option<Arc<str>>,
    /// After this time without an end the coordinator rolls a transaction back.
    pub transaction_timeout: Duration,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            compression: Compression::None,
            batch_size: 512 * 1024,
            linger: Duration::from_millis(5),
            memory: 16 * 1024 * 1024,
            delivery_timeout: Duration::from_secs(30),
            transactional_id: None,
            transaction_timeout: Duration::from_secs(60),
        }
    }
}

/// Names a record until its batch's [`Delivery`] comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    pub batch: u64,
    /// Place within the batch, from 0.
    pub index: u32,
}

/// How the records of a batch ended; reported once for each record.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub topic: Arc<str>,
    pub partition: i32,
    pub batch: u64,
    /// The records `first..first + count` of the batch, by [`Ticket::index`].
    pub first: u32,
    pub count: u32,
    pub outcome: Outcome,
}

#[derive(Clone, Debug)]
pub enum Outcome {
    /// In the log. The offset of the first record, the others follow; `None` where the broker only said that it has the
    /// batch already, or was not asked (acks=0).
    Acknowledged { base_offset: Option<i64> },
    /// Not in the log.
    Failed(Error),
    /// Sent, and nobody said what became of it: in the log once or not at all.
    Unknown(Error),
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub partition: i32,
    pub offset: Option<i64>,
}

type Receipt = Result<Place>;

#[derive(Debug)]
struct Waiter {
    index: u32,
    waiter: oneshot::Sender<Receipt>,
}

/// A closed batch on its way.
#[derive(Debug)]
struct Batch {
    id: u64,
    topic: TopicNumber,
    partition: i32,
    /// Which records of the batch `id`: a batch that was too large for the broker is split.
    first: u32,
    count: u32,
    /// Bytes to give back when it ends.
    held: usize,
    born: Instant,
    payload: Payload,
    stamp: Option<Stamp>,
    /// Sent at least once without an answer that tells whether it is in the log.
    ambiguous: bool,
    waiters: Vec<Waiter>,
}

#[derive(Debug)]
enum Payload {
    Open(BatchBuilder),
    Finished(Vec<u8>),
    Sealed(Bytes),
    Gone,
}

impl Batch {
    #[cfg(test)]
    fn for_test() -> Self {
        Self {
            id: 0,
            topic: TopicNumber(0),
            partition: 0,
            first: 0,
            count: 1,
            held: 0,
            born: Instant::now(),
            payload: Payload::Gone,
            stamp: None,
            ambiguous: false,
            waiters: Vec::new(),
        }
    }

    /// Packs the records: work for the sender, outside the accumulator's lock.
    fn finish(&mut self, compression: Compression) -> Result<()> {
        if let Payload::Open(builder) = std::mem::replace(&mut self.payload, Payload::Gone) {
            let bytes = builder.finish(compression).map_err(|e| Error::Invalid(format!("compressing a batch: {e}")))?;
            self.payload = Payload::Finished(bytes);
        }
        Ok(())
    }

    /// The bytes to send, under the batch's stamp. A batch that leaves again under the stamp that it had is sent as it
    /// was, byte for byte.
    fn seal(&mut self, transactional: bool) -> Bytes {
        let stamp = self.stamp.unwrap_or(Stamp::NONE);
        let bytes = match std::mem::replace(&mut self.payload, Payload::Gone) {
            Payload::Sealed(bytes) => bytes,
            Payload::Finished(bytes) => batch::seal(bytes, stamp, transactional),
            Payload::Open(_) | Payload::Gone => Bytes::new(), // finished before it comes here
        };
        self.payload = Payload::Sealed(bytes.clone());
        bytes
    }

    /// Takes the stamp off again: the batch is certainly not in the log and leaves under a new one.
    fn unstamp(&mut self) {
        self.stamp = None;
        self.payload = match std::mem::replace(&mut self.payload, Payload::Gone) {
            Payload::Sealed(bytes) => Payload::Finished(bytes.into()),
            unsealed => unsealed, // a half that has not left yet
        };
    }

    fn size(&self) -> usize {
        match &self.payload {
            Payload::Open(builder) => builder.len(),
            Payload::Finished(bytes) => bytes.len(),
            Payload::Sealed(bytes) => bytes.len(),
            Payload::Gone => 0,
        }
    }
}

/// What the handle asks of the sender.
enum Command {
    Begin(oneshot::Sender<Result<()>>),
    End { commit: bool, done: oneshot::Sender<Result<()>> },
}

/// Sends records. Close it with [`Producer::close`]; one that is dropped gives up what has not left yet.
#[derive(Debug)]
pub struct Producer {
    cluster: Cluster,
    accumulator: Arc<Accumulator>,
    commands: mpsc::Sender<Command>,
    delivery_timeout: Duration,
    sender: JoinHandle<()>,
}

impl Producer {
    /// Starts a producer; an idempotent one gets its identity from the cluster first, and a transactional one fences
    /// whoever had its id before. `on_delivery` is called by the sender task, per batch: keep it short.
    ///
    /// # Errors
    /// Unreachable brokers, a refused transactional id, or a combination of settings that cannot be.
    pub async fn start(
        cluster: Cluster,
        config: ProducerConfig,
        on_delivery: impl FnMut(Delivery) + Send + 'static,
    ) -> Result<Self> {
        if config.transactional_id.is_some() && config.acks != Acks::All {
            return Err(Error::Invalid("a transactional producer needs acks=all".to_owned()));
        }
        let accumulator = Arc::new(Accumulator::new(&config));
        let (commands, queue) = mpsc::channel(4);
        let delivery_timeout = config.delivery_timeout;
        let sender =
            Sender::new(cluster.clone(), Arc::clone(&accumulator), config, queue, Box::new(on_delivery)).await?;
        let sender = tokio::spawn(sender.run());
        Ok(Self { cluster, accumulator, commands, delivery_timeout, sender })
    }

    /// Makes a topic known to this producer, asking the broker to create it where it does not exist and the broker does
    /// that.
    pub async fn topic(&self, name: &str) -> Result<TopicNumber> {
        let topic = self.cluster.topic_or_create(name).await?;
        Ok(self.accumulator.register(&topic.name, topic.partitions.len()))
    }

    /// Opens the door for a run of records.
    pub fn appender(&self) -> Appender<'_> {
        self.accumulator.appender()
    }

    /// Waits until there may be memory again, within the delivery time-out.
    pub async fn space(&self) -> Result<()> {
        let limit = self.delivery_timeout * 2;
        let freed = self.accumulator.space.notified();
        tokio::pin!(freed);
        freed.as_mut().enable(); // before looking, so that no change falls between
        if self.accumulator.has_room() {
            return Ok(());
        }
        timeout(limit, freed).await.map_err(|_| Error::timed_out("waiting for room to append a record", limit))
    }

    /// Appends one record, waiting while the memory is full.
    pub async fn append(&self, topic: TopicNumber, partition: Option<i32>, record: &NewRecord<'_>) -> Result<Ticket> {
        self.append_waited(topic, partition, record, || None).await
    }

    /// Appends one record and waits for its place in the log: convenient, and as slow as a round trip and the linger
    /// time.
    ///
    /// # Errors
    /// Why the record failed, or that its fate is unknown.
    pub async fn send(&self, topic: TopicNumber, partition: Option<i32>, record: &NewRecord<'_>) -> Receipt {
        let mut receiver = None;
        self.append_waited(topic, partition, record, || {
            let (sender, waiting) = oneshot::channel();
            receiver = Some(waiting);
            Some(sender)
        })
        .await?;
        match receiver {
            Some(receiver) => receiver.await.unwrap_or(Err(Error::Closed)),
            None => Err(Error::Closed),
        }
    }

    async fn append_waited(
        &self,
        topic: TopicNumber,
        partition: Option<i32>,
        record: &NewRecord<'_>,
        mut waiter: impl FnMut() -> Option<oneshot::Sender<Receipt>>,
    ) -> Result<Ticket> {
        loop {
            match self.accumulator.appender().append_waited(topic, partition, record, waiter()) {
                Ok(ticket) => return Ok(ticket),
                Err(AppendError::Refused(error)) => return Err(error),
                Err(AppendError::Full) => {}
            }
            self.space().await?;
        }
    }

    /// Sends what is open, without lingering, and waits until every record so far has ended one way or the other.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when that takes longer than twice the delivery time-out, which it should not.
    pub async fn flush(&self) -> Result<()> {
        let limit = self.delivery_timeout * 2;
        self.accumulator.set_flushing(true);
        let flushed = timeout(limit, async {
            loop {
                let changed = self.accumulator.space.notified();
                tokio::pin!(changed);
                changed.as_mut().enable(); // before looking, so that no change falls between
                if self.accumulator.unfinished() == 0 || self.sender.is_finished() {
                    return;
                }
                changed.await;
            }
        })
        .await;
        self.accumulator.set_flushing(false);
        flushed.map_err(|_| Error::timed_out("flushing the producer", limit))
    }

    /// Begins a transaction. Records appended from here to [`Producer::commit`] become readable together.
    pub async fn begin(&self) -> Result<()> {
        self.command(Command::Begin).await
    }

    /// Ends the transaction: all its records become readable to `read_committed` consumers, or the error says why not.
    ///
    /// # Errors
    /// [`Error::Fenced`] when a newer producer has the id: the transaction was rolled back. Any record that failed:
    /// call [`Producer::abort`]. A time-out: whether it was committed is unknown, and the same call may be made again.
    pub async fn commit(&self) -> Result<()> {
        self.flush().await?;
        self.command(|done| Command::End { commit: true, done }).await
    }

    /// Rolls the transaction back: `read_committed` consumers never see its records.
    pub async fn abort(&self) -> Result<()> {
        self.accumulator.refuse(Some(Error::Invalid("the transaction is being rolled back".to_owned())));
        self.flush().await?;
        self.command(|done| Command::End { commit: false, done }).await
    }

    async fn command(&self, command: impl FnOnce(oneshot::Sender<Result<()>>) -> Command) -> Result<()> {
        let (done, result) = oneshot::channel();
        self.commands.send(command(done)).await.map_err(|_| Error::Closed)?;
        result.await.unwrap_or(Err(Error::Closed))
    }

    /// Flushes and ends the sender.
    pub async fn close(self) -> Result<()> {
        self.flush().await
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.sender.abort();
    }
}
