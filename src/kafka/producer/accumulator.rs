//! Where records wait until their batch leaves: one open batch per partition, and the closed ones.
//!
//! The caller's side appends under a lock that it holds for nanoseconds (or, through [`Appender`], for a whole run of
//! records); the sender takes closed batches out. What is held is bounded: beyond the limit appending waits.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::Notify, time::Instant};

use super::{
    super::{
        batch::BatchBuilder,
        cluster::lock,
        error::{Error, Result},
        partitioner::partition_for_key,
        record::NewRecord,
    },
    Batch, Payload, ProducerConfig, Ticket, Waiter,
};

/// Buffers kept for reuse: what can be in flight to one broker, and a little more.
const SPARE: usize = 8;

#[derive(Debug)]
pub(super) struct Accumulator {
    state: Mutex<State>,
    batch_size: usize,
    memory: usize,
    /// The sender has something to look at.
    pub(super) work: Notify,
    /// Memory became free, or everything is out.
    pub(super) space: Notify,
}

#[derive(Debug, Default)]
struct State {
    topics: Vec<OpenTopic>,
    numbers: HashMap<Arc<str>, usize>,
    closed_batches: VecDeque<Batch>,
    /// Bytes of every batch that has not ended.
    held: usize,
    /// Batches that have not ended, the open ones included.
    unfinished: usize,
    next_id: u64,
    flushing: bool,
    /// Why nothing can be appended any more.
    refused: Option<Error>,
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct OpenTopic {
    name: Arc<str>,
    /// A broker that refuses batches of the usual size makes this smaller.
    batch_size: usize,
    partitions: Vec<Option<OpenBatch>>,
    /// Where records without a key go until the batch there is full (KIP-480).
    sticky: usize,
}

#[derive(Debug)]
struct OpenBatch {
    id: u64,
    builder: BatchBuilder,
    since: Instant,
    waiters: Vec<Waiter>,
}

/// A topic that this producer knows, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicNumber(pub(super) usize);

/// Why a record was not appended.
#[derive(Debug)]
pub enum AppendError {
    /// No memory left: wait for [`super::Producer::space`] and try again.
    Full,
    /// The record, or the producer, cannot do it.
    Refused(Error),
}

/// The producer's door, held open: appending through it takes no lock per record. Nothing leaves while it is open, so
/// hold it for a run of records and not across a wait.
#[derive(Debug)]
pub struct Appender<'a> {
    state: MutexGuard<'a, State>,
    accumulator: &'a Accumulator,
    now: i64,
}

impl Accumulator {
    pub(super) fn new(config: &ProducerConfig) -> Self {
        Self {
            state: Mutex::default(),
            batch_size: config.batch_size,
            memory: config.memory.max(config.batch_size * 2),
            work: Notify::new(),
            space: Notify::new(),
        }
    }

    pub(super) fn appender(&self) -> Appender<'_> {
        Appender { state: lock(&self.state), accumulator: self, now: now_ms() }
    }

    /// Makes a topic known, or takes over that it has more partitions now.
    pub(super) fn register(&self, name: &Arc<str>, partitions: usize) -> TopicNumber {
        let mut state = lock(&self.state);
        let number = match state.numbers.get(name) {
            Some(&number) => number,
            None => {
                let number = state.topics.len();
                state.topics.push(OpenTopic {
                    name: Arc::clone(name),
                    batch_size: self.batch_size,
                    partitions: Vec::new(),
                    sticky: now_ms() as usize, // producers that start together do not all begin at partition 0
                });
                state.numbers.insert(Arc::clone(name), number);
                number
            }
        };
        let topic = &mut state.topics[number];
        let partitions = partitions.max(topic.partitions.len());
        topic.partitions.resize_with(partitions, || None);
        TopicNumber(number)
    }

    pub(super) fn topic_name(&self, topic: TopicNumber) -> Arc<str> {
        lock(&self.state).topics.get(topic.0).map_or_else(|| "".into(), |topic| Arc::clone(&topic.name))
    }

    pub(super) fn topic_names(&self) -> Vec<Arc<str>> {
        lock(&self.state).topics.iter().map(|topic| Arc::clone(&topic.name)).collect()
    }

    /// From now on batches of this topic stay below `size` bytes.
    pub(super) fn shrink(&self, topic: TopicNumber, size: usize) {
        if let Some(topic) = lock(&self.state).topics.get_mut(topic.0) {
            topic.batch_size = topic.batch_size.min(size.max(1024));
        }
    }

    /// Closes and takes the batches that are due: the full ones, and those older than `linger` whose way is free.
    /// Gives the time when the next open one is due.
    pub(super) fn take_due(
        &self,
        linger: Duration,
        out: &mut VecDeque<Batch>,
        way_is_free: impl Fn(&Arc<str>, i32) -> bool,
    ) -> Option<Instant> {
        let mut state = lock(&self.state);
        let now = Instant::now();
        let mut next_due: Option<Instant> = None;
        out.append(&mut state.closed_batches);
        let flushing = state.flushing;
        for number in 0..state.topics.len() {
            for partition in 0..state.topics[number].partitions.len() {
                let Some(open) = &state.topics[number].partitions[partition] else { continue };
                let due = open.since + linger;
                if !flushing && due > now {
                    next_due = Some(next_due.map_or(due, |next| next.min(due)));
                } else if way_is_free(&state.topics[number].name, partition as i32) {
                    out.extend(state.close(number, partition));
                }
            }
        }
        next_due
    }

    /// A batch has ended; its memory is free again.
    pub(super) fn ended(&self, held: usize, buffer: Option<Vec<u8>>) {
        let mut state = lock(&self.state);
        state.held = state.held.saturating_sub(held);
        state.unfinished = state.unfinished.saturating_sub(1);
        if let Some(buffer) = buffer
            && state.spare.len() < SPARE
        {
            state.spare.push(buffer);
        }
        drop(state);
        self.space.notify_waiters();
    }

    /// One batch became two.
    pub(super) fn split(&self) {
        lock(&self.state).unfinished += 1;
    }

    pub(super) fn has_room(&self) -> bool {
        let state = lock(&self.state);
        state.held < self.memory || state.refused.is_some()
    }

    pub(super) fn unfinished(&self) -> usize {
        lock(&self.state).unfinished
    }

    pub(super) fn set_flushing(&self, flushing: bool) {
        lock(&self.state).flushing = flushing;
        self.work.notify_one();
    }

    /// Refuses what is appended from now on; `None` opens the door again.
    pub(super) fn refuse(&self, why: Option<Error>) {
        lock(&self.state).refused = why;
        self.space.notify_waiters();
    }

    pub(super) fn refused(&self) -> Option<Error> {
        lock(&self.state).refused.clone()
    }
}

impl State {
    /// Closes the open batch of a partition.
    fn close(&mut self, number: usize, partition: usize) -> Option<Batch> {
        let topic = &mut self.topics[number];
        let open = topic.partitions[partition].take()?;
        if topic.sticky % topic.partitions.len().max(1) == partition {
            topic.sticky = topic.sticky.wrapping_add(1);
        }
        Some(Batch {
            id: open.id,
            topic: TopicNumber(number),
            partition: partition as i32,
            first: 0,
            count: open.builder.count(),
            held: open.builder.len(),
            born: open.since,
            payload: Payload::Open(open.builder),
            stamp: None,
            ambiguous: false,
            waiters: open.waiters,
        })
    }
}

impl Appender<'_> {
    /// How many partitions the topic has.
    pub fn partitions(&self, topic: TopicNumber) -> i32 {
        self.state.topics.get(topic.0).map_or(0, |topic| topic.partitions.len() as i32)
    }

    /// Appends a record to the open batch of `partition`, of its key's partition, or without a key of the sticky one.
    /// At-least-once or better from here on, as the producer was configured; the outcome comes with the batch's
    /// delivery report.
    pub fn append(
        &mut self,
        topic: TopicNumber,
        partition: Option<i32>,
        record: &NewRecord<'_>,
    ) -> Result<Ticket, AppendError> {
        self.append_waited(topic, partition, record, None)
    }

    pub(super) fn append_waited(
        &mut self,
        number: TopicNumber,
        partition: Option<i32>,
        record: &NewRecord<'_>,
        waiter: Option<tokio::sync::oneshot::Sender<super::Receipt>>,
    ) -> Result<Ticket, AppendError> {
        let state = &mut *self.state;
        if let Some(why) = &state.refused {
            return Err(AppendError::Refused(why.clone()));
        }
        if state.held >= self.accumulator.memory {
            return Err(AppendError::Full);
        }
        let topic = state.topics.get_mut(number.0).ok_or(AppendError::Refused(Error::Closed))?;
        let count = topic.partitions.len();
        let partition = match (partition, record.key) {
            (Some(partition), _) if partition >= 0 && (partition as usize) < count => partition as usize,
            (Some(partition), _) => {
                let topic = Arc::clone(&topic.name);
                let error = Error::UnknownPartition { topic, partition, count: count as i32 };
                return Err(AppendError::Refused(error));
            }
            (None, Some(key)) => partition_for_key(key, count as i32) as usize,
            (None, None) => topic.sticky % count.max(1),
        };
        loop {
            let topic = &mut state.topics[number.0];
            if let Some(open) = &mut topic.partitions[partition] {
                let before = open.builder.len();
                if open.builder.append(record, self.now) {
                    state.held += open.builder.len() - before;
                    let index = open.builder.count() - 1;
                    if let Some(waiter) = waiter {
                        open.waiters.push(Waiter { index, waiter });
                    }
                    return Ok(Ticket { batch: open.id, index });
                }
                if let Some(full) = state.close(number.0, partition) {
                    state.closed_batches.push_back(full);
                }
                self.accumulator.work.notify_one();
                continue;
            }
            let buffer = state.spare.pop().unwrap_or_default();
            let builder = BatchBuilder::new(topic.batch_size, buffer);
            topic.partitions[partition] =
                Some(OpenBatch { id: state.next_id, builder, since: Instant::now(), waiters: Vec::new() });
            state.next_id += 1;
            state.unfinished += 1;
            self.accumulator.work.notify_one(); // a new linger time begins
        }
    }
}

pub(super) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
