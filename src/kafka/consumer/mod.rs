//! The consumer: reads partitions from where it is told, and keeps one fetch ahead of its reader.
//!
//! ```text
//! leader 1 --fetch--> \
//! leader 2 --fetch-->  fetcher task --Fetched, bounded--> Consumer::next() -> Chunk -> records, borrowed
//! leader 3 --fetch--> /   positions, leaders, retries
//! ```
//!
//! Each leader is asked on a connection of its own, one request at a time; while the reader works on an answer the next
//! one is on its way. What waits is bounded: one answer per leader, and [`QUEUE`] pieces in the queue.
//!
//! Order holds within a partition, never across. A consumer by itself gives no delivery guarantee: it reads what is
//! there from where it was told; what has been handled is its reader's to remember.

mod fetcher;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    batch::Records,
    cluster::Cluster,
    error::{Error, Result},
    list_offsets::Isolation,
    record::TopicPartition,
};

/// Pieces that wait for the reader.
const QUEUE: usize = 2;

/// What to do when the offset to read next is not in the log (any more).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffsetReset {
    /// Go on with the first record that is left.
    #[default]
    Earliest,
    /// Go on with what comes next.
    Latest,
    /// End with [`Error::OffsetOutOfRange`].
    Error,
}

#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    pub isolation: Isolation,
    pub offset_reset: OffsetReset,
    /// How long a broker waits for a record before it answers with none.
    pub max_wait: Duration,
    /// Bytes per partition and answer. A broker sends at least one whole batch, so it is no hard limit; below four
    /// times the batch size each answer ends in a cut batch that is fetched again.
    pub partition_bytes: usize,
    /// Bytes per answer.
    pub answer_bytes: usize,
    /// How long brokers may be away before [`Consumer::next`] says so with an error; `None` waits for ever and says so
    /// with [`Notice::Waiting`].
    pub patience: Option<Duration>,
    /// Topics whose new partitions are read too, from their beginning.
    pub whole_topics: Vec<Arc<str>>,
    /// How often leaders and partitions are asked for when nothing goes wrong.
    pub metadata_age: Duration,
    /// How long a topic may be gone before it is an error: time for it to be made again.
    pub topic_patience: Duration,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            isolation: Isolation::default(),
            offset_reset: OffsetReset::default(),
            max_wait: Duration::from_millis(500),
            partition_bytes: 2 * 1024 * 1024,
            answer_bytes: 8 * 1024 * 1024,
            patience: None,
            whole_topics: Vec::new(),
            metadata_age: Duration::from_secs(30),
            topic_patience: Duration::from_secs(10),
        }
    }
}

/// A partition to read.
#[derive(Clone, Debug)]
pub struct Assignment {
    pub partition: TopicPartition,
    /// The first offset to read.
    pub from: i64,
    /// Read up to, not including; `None` follows.
    pub until: Option<i64>,
}

/// Partitions that come and go while they are read, as a group assigns them.
pub(crate) type Claims = BTreeMap<TopicPartition, Claim>;

/// A partition that is claimed. One that is given up and claimed again has another number, and what was fetched under the
/// old one is known by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub number: u64,
    pub from: i64,
    pub until: Option<i64>,
}

/// What was fetched, and under which claim; 0 where it is about no single partition, or without a group.
#[derive(Debug)]
pub(crate) struct Item {
    pub claim: u64,
    pub fetched: Fetched,
}

/// What a consumer hands out.
#[derive(Debug)]
pub enum Fetched {
    Records(Chunk),
    Notice(Notice),
}

/// A piece of one partition.
#[derive(Debug)]
pub struct Chunk {
    pub partition: TopicPartition,
    /// Behind the last record that readers may see: the partition's end, or its last stable offset.
    pub end: i64,
    /// Where the partition goes on behind this piece.
    pub next_offset: i64,
    pub records: Records,
}

/// What a reader may want to know, and a person to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Offsets that hold nothing were passed: compacted away.
    Gap { partition: TopicPartition, at: i64, missing: u64 },
    /// The wanted offset was not there (any more): retention or truncation took it.
    Reset { partition: TopicPartition, from: i64, to: i64 },
    /// The topic was deleted and made again; reading goes on with the new one.
    Recreated { topic: Arc<str> },
    /// The topic has a partition more; it is read from its beginning.
    NewPartition { partition: TopicPartition },
    /// The partition has been read up to where it was to be read.
    Finished { partition: TopicPartition },
    /// All that was there has been read; what comes now is new. Once per partition.
    CaughtUp { partition: TopicPartition, end: i64 },
    /// Brokers are away; trying again.
    Waiting { cause: String },
    /// They are back.
    Resumed,
}

/// Reads the partitions that it was given. Ends its task when it is dropped.
#[derive(Debug)]
pub struct Consumer {
    fetched: mpsc::Receiver<Result<Item>>,
    fetcher: JoinHandle<()>,
}

impl Consumer {
    /// Begins to read.
    pub fn start(cluster: Cluster, assignments: Vec<Assignment>, config: ConsumerConfig) -> Self {
        let claim = |assignment: Assignment| {
            (assignment.partition, Claim { number: 0, from: assignment.from, until: assignment.until })
        };
        // nobody will change them any more: the fetcher ends with the last one
        let (_, claims) = watch::channel(assignments.into_iter().map(claim).collect());
        Self::follow(cluster, claims, config)
    }

    /// Reads what is claimed, as it changes; ends when nothing is and nobody can change that.
    pub(crate) fn follow(cluster: Cluster, claims: watch::Receiver<Claims>, config: ConsumerConfig) -> Self {
        let (queue, fetched) = mpsc::channel(QUEUE);
        let fetcher = tokio::spawn(fetcher::Fetcher::new(cluster, claims, config, queue).run());
        Self { fetched, fetcher }
    }

    /// The next piece or notice; `None` when every partition is finished.
    ///
    /// # Errors
    /// What cannot be mended by trying again; nothing comes after it.
    pub async fn next(&mut self) -> Result<Option<Fetched>> {
        Ok(self.next_item().await?.map(|item| item.fetched))
    }

    /// The same with its claim. Cancel safe.
    pub(crate) async fn next_item(&mut self) -> Result<Option<Item>> {
        self.fetched.recv().await.transpose()
    }

    /// What is there already, without waiting.
    pub fn try_next(&mut self) -> Result<Option<Fetched>> {
        match self.fetched.try_recv() {
            Ok(item) => item.map(|item| Some(item.fetched)),
            Err(mpsc::error::TryRecvError::Empty) => Ok(None),
            Err(mpsc::error::TryRecvError::Disconnected) => Err(Error::Closed),
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.fetcher.abort();
    }
}
