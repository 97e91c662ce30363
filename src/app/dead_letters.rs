//! Dead letters at work: a handler's loop puts records aside, a person looks at them, sends them back, or deletes them.
//!
//! ```text
//! handler's loop --send--> orders.dlt --list, show--> a person --replay--> orders
//!                 acks=all     |                                            |
//!                then commits  +--purge--> gone        the group kafkalab-dlt-replay has committed how far
//! ```
//!
//! # The guarantees
//! [`DeadLetters::send`] is at-least-once: it returns when all in-sync replicas have every letter, and only then may the
//! records' offsets be committed; a crash between the two repeats the letters. [`replay()`] is at-least-once as well: what was
//! sent and not remembered is sent again, and the consumer's inbox drops the repeat.

mod purge;
mod read;
mod replay;

use std::{collections::HashMap, sync::Arc, time::Duration};

pub use self::{
    purge::{Before, Purge, Purged, plan_purge, purge},
    read::{At, Letter, Waiting, letters, one, waiting},
    replay::{GROUP, Replay, Replayed, Which, replay},
};
use crate::{
    app::{
        produce::{Appended, Options, Outbound, Receipts},
        topics,
    },
    kafka::{
        Acks, Admin, Cluster, Compression, Error, NewRecord, NewTopic, Record, RecordRef, TopicNumber, TopicPartition,
    },
    patterns::dead_letter::{self, DeadLetter, Pair},
};

/// From the first try of a letter to its end.
const DELIVERY: Duration = Duration::from_secs(30);
/// What the note may add to a record that is as large as its topic allows.
const NOTE: u64 = 16 * 1024;

/// A record that could not be handled, and why. Borrowed from wherever it lies.
#[derive(Clone, Debug)]
pub struct Dead<'a> {
    pub partition: &'a TopicPartition,
    pub offset: i64,
    /// Milliseconds since the Unix epoch; -1 where it has none.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Vec<Pair<'a>>,
    /// The kind of error.
    pub exception: &'a str,
    pub reason: &'a str,
    /// How often it was tried; from 1.
    pub attempts: u32,
}

impl<'a> Dead<'a> {
    /// Of a record that one keeps; refused by a handler at its first try.
    pub fn record(partition: &'a TopicPartition, record: &'a Record, reason: &'a str) -> Self {
        let headers = record.headers.iter().map(|header| (&header.key[..], header.value.as_deref())).collect();
        let (offset, timestamp) = (record.offset, record.timestamp);
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let exception = dead_letter::POISON;
        Self { partition, offset, timestamp, key, value, headers, exception, reason, attempts: 1 }
    }

    /// The same of a borrowed one.
    pub fn borrowed(partition: &'a TopicPartition, record: &RecordRef<'a>, reason: &'a str) -> Self {
        let (offset, timestamp, key, value) = (record.offset, record.timestamp, record.key, record.value);
        let (headers, exception) = (record.headers.iter().collect(), dead_letter::POISON);
        Self { partition, offset, timestamp, key, value, headers, exception, reason, attempts: 1 }
    }
}

/// Why records could not be put aside. Their offsets must not be committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SendError {
    #[error("topic {topic:?}, where dead letters are to go, cannot be made or reached")]
    Topic { topic: Box<str>, source: Error },
    #[error(
        "not all of {count} dead letters are acknowledged, the first of them {first}: do not commit their offsets, and \
         send them again (some may be there twice then)"
    )]
    NotAcknowledged { count: usize, first: Box<str>, source: Error },
}

impl SendError {
    /// Worth another try after a pause: a broker that is away.
    pub fn is_transient(&self) -> bool {
        self.cause().is_transient()
    }

    pub fn cause(&self) -> &Error {
        match self {
            SendError::Topic { source, .. } | SendError::NotAcknowledged { source, .. } => source,
        }
    }
}

/// Puts records aside for one consumer group.
#[derive(Debug)]
pub struct DeadLetters {
    cluster: Cluster,
    group: String,
    outbound: Outbound,
    /// By the original's name.
    topics: HashMap<Arc<str>, Aside>,
}

/// Where the dead letters of a topic go.
#[derive(Clone, Copy, Debug)]
struct Aside {
    number: TopicNumber,
    partitions: i32,
    is_append_time: bool,
}

impl DeadLetters {
    /// Opens an idempotent producer with acks=all; `group` is whose records will be put aside.
    ///
    /// # Errors
    /// As [`Outbound::open`].
    pub async fn open(cluster: Cluster, group: &str) -> Result<Self, Error> {
        let outbound = Outbound::open(cluster.clone(), sending()).await?;
        Ok(Self { cluster, group: group.to_owned(), outbound, topics: HashMap::new() })
    }

    /// Puts records aside, and returns when all in-sync replicas have every one: then their offsets may be committed.
    /// At-least-once: a crash before that commit repeats them. Each goes to the partition of its original's number, where
    /// there is one, and otherwise by its key.
    ///
    /// # Errors
    /// [`SendError`]: the offsets must not be committed. Where [`SendError::is_transient`] says so, the same call may be
    /// made again.
    pub async fn send(&mut self, records: &[Dead<'_>]) -> Result<(), SendError> {
        let Some(first) = records.first() else { return Ok(()) };
        for record in records {
            self.prepare(&record.partition.topic).await?;
        }
        let sent = self.append(records).await;
        sent.map_err(|source| {
            self.topics.clear(); // one may have been deleted: the next call looks, and makes it again
            let first = format!("{} at offset {}", first.partition, first.offset);
            SendError::NotAcknowledged { count: records.len(), first: first.into(), source }
        })
    }

    async fn append(&self, records: &[Dead<'_>]) -> Result<(), Error> {
        let before = self.outbound.tally();
        for record in records {
            let Some(aside) = self.topics.get(&record.partition.topic) else { continue };
            let note = self.note(record, *aside).headers();
            let mut headers = record.headers.clone();
            headers.extend(note.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_slice()))));
            let number = record.partition.partition;
            let partition = (0..aside.partitions).contains(&number).then_some(number);
            let (key, value, timestamp) = (record.key, record.value, Some(record.timestamp));
            let letter = NewRecord { key, value, headers: &headers, timestamp };
            append(&self.outbound, aside.number, partition, &letter).await?;
        }
        acknowledged(&self.outbound, &before).await
    }

    fn note(&self, record: &Dead<'_>, aside: Aside) -> DeadLetter {
        DeadLetter {
            topic: record.partition.topic.to_string(),
            partition: Some(record.partition.partition),
            offset: Some(record.offset),
            timestamp: Some(record.timestamp),
            timestamp_type: Some(dead_letter::timestamp_type(record.timestamp, aside.is_append_time).to_owned()),
            group: Some(self.group.clone()),
            exception: Some(record.exception.to_owned()),
            reason: Some(record.reason.to_owned()),
            attempts: Some(record.attempts),
        }
    }

    /// Finds the topic for the dead letters of a topic, or makes it.
    async fn prepare(&mut self, original: &Arc<str>) -> Result<(), SendError> {
        if self.topics.contains_key(original) {
            return Ok(());
        }
        let topic = dead_letter::topic_of(original);
        let prepared = self.aside(original, &topic).await;
        let aside = prepared.map_err(|source| SendError::Topic { topic: topic.into(), source })?;
        self.topics.insert(Arc::clone(original), aside);
        Ok(())
    }

    async fn aside(&self, original: &str, name: &str) -> Result<Aside, Error> {
        let admin = Admin::new(self.cluster.clone());
        // a topic whose settings may not be read has letters all the same
        let settings = admin.topic_config(original).await.unwrap_or_default();
        let setting =
            |name: &str| settings.iter().find(|entry| entry.name == name).and_then(|entry| entry.value.clone());
        // asked anew: what was known of it may be of before its deletion
        let is_there = self.cluster.topics().await?.iter().any(|topic| &*topic.name == name);
        if !is_there {
            let largest = setting("max.message.bytes").and_then(|bytes| bytes.parse::<u64>().ok());
            let partitions = self.cluster.topic(original).await.ok().map(|topic| topic.count());
            let wanted = NewTopic { name: name.to_owned(), partitions, replicas: None, configs: configs(largest) };
            topics::create(&self.cluster, &wanted, false, true).await?;
        }
        let number = self.outbound.topic(name).await?;
        let partitions = self.cluster.topic(name).await?.count();
        let is_append_time = setting("message.timestamp.type").is_some_and(|kind| kind == "LogAppendTime");
        Ok(Aside { number, partitions, is_append_time })
    }
}

/// What somebody has to look at stays until somebody has; and what fits into the original's topic fits here with its note.
fn configs(largest: Option<u64>) -> Vec<(String, String)> {
    let own = |(name, value): (&str, String)| (name.to_owned(), value);
    let largest =
        largest.map(|bytes| ("max.message.bytes", bytes.saturating_add(NOTE).min(i32::MAX as u64).to_string()));
    let keep = [
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", "-1".to_owned()),
        ("retention.bytes", "-1".to_owned()),
        ("message.timestamp.type", "CreateTime".to_owned()),
    ];
    keep.into_iter().chain(largest).map(own).collect()
}

fn sending() -> Options {
    Options {
        acks: Acks::All,
        compression: Compression::None,
        linger: None,
        delivery_timeout: DELIVERY,
        receipts: Receipts::None,
        transactional_id: None,
    }
}

/// Appends one record, waiting while the memory is full.
async fn append(
    outbound: &Outbound,
    topic: TopicNumber,
    partition: Option<i32>,
    record: &NewRecord<'_>,
) -> Result<(), Error> {
    loop {
        let appended = outbound.door().append(topic, partition, record, 0)?;
        match appended {
            Appended::Yes => return Ok(()),
            Appended::Full => outbound.room().await?,
        }
    }
}

/// Waits until all that was appended since `before` has ended, well.
async fn acknowledged(outbound: &Outbound, before: &super::produce::Tally) -> Result<(), Error> {
    outbound.flush().await?;
    let after = outbound.tally();
    match after.error {
        Some(error) if after.failed + after.unknown > before.failed + before.unknown => Err(error),
        _ => Ok(()),
    }
}
