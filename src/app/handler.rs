//! The loop of every handler: records in, one transaction of inbox, states and outbox, then the offsets.
//!
//! ```text
//! member of a group --> batch.rs: decode, drop what the inbox has, load the states, handle (pure)
//!                             --> one transaction --> offsets
//!                             --> poison --> <topic>.dlt, acknowledged before the offsets
//! ```
//!
//! What a handler is stands in [`crate::patterns::inbox`]; to write one is one file and a call of [`run`].
//!
//! # The guarantee
//! The effect of a message happens once, however often its record comes: its id is inserted in the transaction of the
//! effect. Records are at-least-once, dead letters too. Order: the messages of one entity take effect in the order of their
//! partition. Nothing is promised between partitions.

pub(super) mod batch;
mod timers;

use std::{
    collections::VecDeque,
    future::Future,
    time::{Duration, Instant},
};

use futures::future::join;

use self::{batch::Batch, timers::Timers};
use super::{
    dead_letters::{DeadLetters, SendError},
    relay::{Backoff, Stop, prefixed, rest},
};
use crate::{
    kafka::{
        Admin, Chunk, Cluster, ConsumerConfig, Error, GroupConfig, GroupConsumer, GroupEvent, Isolation, Notice,
        Offset, Records, TopicPartition,
    },
    patterns::inbox::Handler,
    store::{Store, StoreError},
};

/// How long a member's last commit and its leave may take.
const FAREWELL: Duration = Duration::from_secs(5);
/// Between two looks whether another process has set a group to its beginning.
const TURN: Duration = Duration::from_millis(50);
/// A member that died is followed after this time, as a relay is.
const SESSION: Duration = super::relay::LEASE;

#[derive(Clone, Debug)]
pub struct Options {
    /// Before the topics' names.
    pub prefix: String,
    /// The group; the handler's name where none is given.
    pub group: Option<String>,
    /// A name that outlives the process: one that is started again with it goes on at once, and is not waited for as a member
    /// that may still come back.
    pub instance: Option<String>,
    /// Records of a transaction at most.
    pub batch: usize,
    /// End when everything that is there now is handled.
    pub once: bool,
    /// How long brokers or the store may be away with `once`.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            group: None,
            instance: None,
            batch: 2000,
            once: false,
            patience: Duration::from_secs(30),
        }
    }
}

/// Why a handler does not go on by itself. What was not committed comes again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HandlerError {
    #[error(transparent)]
    Broker(#[from] Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    DeadLetters(Box<SendError>),
}

impl From<SendError> for HandlerError {
    fn from(error: SendError) -> Self {
        HandlerError::DeadLetters(Box::new(error))
    }
}

impl HandlerError {
    /// Worth another try after a pause.
    pub fn is_transient(&self) -> bool {
        match self {
            HandlerError::Broker(error) => error.is_transient(),
            // a disk that is full is somebody's to clear, and no record's fault
            HandlerError::Store(error) => {
                error.is_transient() || matches!(error, StoreError::DiskFull { .. } | StoreError::Disk { .. })
            }
            HandlerError::DeadLetters(error) => error.is_transient(),
        }
    }
}

/// What a handler says while it works.
#[derive(Clone, Debug)]
pub enum Told<'a> {
    /// The member has these now.
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
    /// A record, as it was handled.
    Record {
        partition: &'a TopicPartition,
        offset: i64,
        message: &'a str,
        what: What<'a>,
    },
    /// A transaction is committed.
    Committed {
        records: usize,
        effects: usize,
    },
    /// Something is away; it tries again.
    Trouble(String),
    Notice(Notice),
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// Took effect, and brought so many new messages.
    Effect { messages: usize },
    /// The inbox had it.
    Repeat,
    /// Not for this handler.
    PassedBy,
    /// Put aside, for this reason.
    Dead(&'a str),
}

/// Somebody who listens.
pub type Tell<'a> = &'a (dyn Fn(Told<'_>) + Send + Sync);

/// What was handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub records: u64,
    pub effects: u64,
    pub repeats: u64,
    pub dead: u64,
}

/// Runs a handler as a member of its group until it is told to stop, or with `once` until the end of what is there.
///
/// # Errors
/// What does not pass; with `once` also what lasts longer than [`Options::patience`].
pub async fn run(
    handler: &dyn Handler,
    store: &Store,
    cluster: &Cluster,
    options: &Options,
    stop: &Stop,
    tell: Tell<'_>,
) -> Result<Report, HandlerError> {
    let group = options.group.clone().unwrap_or_else(|| handler.name().to_owned());
    let work = Handling { handler, store, prefix: &options.prefix, timers: Timers::of(handler) };
    follow(work, &group, handler.topics(), cluster, options, stop, tell).await
}

/// What the loop does with the records that it is handed.
pub(super) trait Work: Send + Sync {
    type Batch<'a>: Pending + Send
    where
        Self: 'a;

    /// At most `limit` records of what is left in `sources`, decoded; empty at their end.
    fn read<'a>(
        &'a self,
        sources: &mut VecDeque<(&'a Chunk, Records)>,
        limit: usize,
    ) -> impl Future<Output = Result<Self::Batch<'a>, HandlerError>> + Send;

    /// All of it takes effect in one transaction, or is put aside. May be called again after an error.
    fn commit<'a>(
        &'a self,
        batch: &mut Self::Batch<'a>,
        dead: &mut DeadLetters,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;

    /// Does what is due by time, and gives how long nothing will be.
    fn due(&mut self) -> impl Future<Output = Result<Duration, HandlerError>> + Send {
        async { Ok(Timers::NEVER) }
    }

    /// These partitions are somebody else's now.
    fn revoked(&self, _: &[TopicPartition]) {}
}

/// A batch of records on its way.
pub(super) trait Pending {
    fn is_empty(&self) -> bool;

    /// Says what became of each record.
    fn tell(&self, tell: Tell<'_>, report: &mut Report);
}

/// Follows topics as a member of a group: the loop under [`run`], for whatever work.
pub(super) async fn follow<W: Work>(
    work: W,
    group: &str,
    topics: &[&str],
    cluster: &Cluster,
    options: &Options,
    stop: &Stop,
    tell: Tell<'_>,
) -> Result<Report, HandlerError> {
    let mut names = Vec::new();
    for topic in topics {
        names.push(cluster.topic(&prefixed(&options.prefix, topic)).await?.name.clone());
    }
    let mut config = GroupConfig::new(group, names);
    config.until_end = options.once;
    config.instance_id = options.instance.as_deref().map(Into::into);
    config.session_timeout = SESSION;
    config.consumer =
        ConsumerConfig { patience: options.once.then_some(options.patience), ..ConsumerConfig::default() };
    let dead = DeadLetters::open(cluster.clone(), group).await?;
    let mut member = GroupConsumer::join(cluster.clone(), config)?;
    let mut following = Loop { work, options, stop, tell, dead, report: Report::default() };
    let outcome = following.run(&mut member).await;
    let closed = tokio::time::timeout(FAREWELL, member.close()).await;
    outcome?;
    // the coordinator is away, or has taken this member for dead: what was not committed comes again, and its effect is known
    if let Ok(Err(error)) = closed {
        tell(Told::Trouble(error.to_string()));
    }
    Ok(following.report)
}

/// Lets a group begin behind everything that is there now: a fresh inbox is not to meet the records of an older run.
///
/// # Errors
/// A group that somebody is in; what the brokers refuse.
pub async fn begin_at_end(cluster: &Cluster, group: &str, topics: &[String]) -> Result<(), Error> {
    let mut ends = Vec::new();
    for topic in topics {
        let topic = cluster.topic(topic).await?;
        ends.extend((0..topic.count()).map(|number| (TopicPartition::new(topic.name.clone(), number), Offset::End)));
    }
    let offsets = cluster.resolve(&ends, Isolation::ReadUncommitted).await?;
    let offsets = ends.into_iter().map(|(partition, _)| partition).zip(offsets).collect();
    Admin::new(cluster.clone()).commit_offsets(group, &offsets).await
}

/// The same for a group that has committed nothing; one that has goes on where it was. Processes of one store that begin at
/// the same time take turns, by a lease: whoever came second would move the group past what the first has sent meanwhile, or be
/// refused because the first is in the group already. One that stands still beyond its lease while it has its turn may still
/// do either: offsets have no fence.
///
/// # Errors
/// As [`begin_at_end`], and those of the store.
pub async fn begin_at_end_if_new(
    store: &Store,
    cluster: &Cluster,
    group: &str,
    topics: &[String],
) -> Result<(), HandlerError> {
    let admin = Admin::new(cluster.clone());
    let (name, owner) = (format!("begin-{group}"), uuid::Uuid::now_v7().to_string());
    while admin.committed_offsets(group).await?.is_empty() {
        // it ends by itself where its owner died, so this ends too
        let Some(lease) = store.acquire(&name, &owner, super::relay::LEASE).await? else {
            tokio::time::sleep(TURN).await;
            continue;
        };
        // whoever had it may have been done between the look and the lease
        let begun = match admin.committed_offsets(group).await {
            Ok(committed) if committed.is_empty() => begin_at_end(cluster, group, topics).await,
            looked => looked.map(drop),
        };
        store.release(&lease).await?;
        return Ok(begun?);
    }
    Ok(())
}

/// The work of a [`Handler`].
struct Handling<'h> {
    handler: &'h dyn Handler,
    store: &'h Store,
    prefix: &'h str,
    timers: Timers,
}

impl Work for Handling<'_> {
    type Batch<'a>
        = Batch<'a>
    where
        Self: 'a;

    async fn read<'a>(
        &'a self,
        sources: &mut VecDeque<(&'a Chunk, Records)>,
        limit: usize,
    ) -> Result<Batch<'a>, HandlerError> {
        Batch::read(self.handler, self.prefix, sources, limit).await
    }

    async fn commit<'a>(&'a self, batch: &mut Batch<'a>, dead: &mut DeadLetters) -> Result<(), HandlerError> {
        batch.commit(self.handler, self.store, dead).await
    }

    async fn due(&mut self) -> Result<Duration, HandlerError> {
        match self.timers.fire(self.handler, self.store).await {
            // the records have their own way of waiting for a store
            Err(error) if error.is_transient() => Ok(Timers::AGAIN),
            outcome => outcome,
        }
    }
}

struct Loop<'a, W> {
    work: W,
    options: &'a Options,
    stop: &'a Stop,
    tell: Tell<'a>,
    dead: DeadLetters,
    report: Report,
}

impl<W: Work> Loop<'_, W> {
    async fn run(&mut self, member: &mut GroupConsumer) -> Result<(), HandlerError> {
        loop {
            let pause = self.work.due().await?;
            let Some(chunks) = self.gather(member, pause).await? else { return Ok(()) };
            if !self.handle(&chunks).await? {
                return Ok(()); // told to stop: nothing of this was committed
            }
            for chunk in &chunks {
                member.processed(&chunk.partition, chunk.next_offset);
            }
        }
    }

    /// What is there, up to a batch; nothing where nothing has come for so long; `None` at the end.
    async fn gather(&self, member: &mut GroupConsumer, pause: Duration) -> Result<Option<Vec<Chunk>>, HandlerError> {
        let (mut chunks, mut bytes): (Vec<Chunk>, usize) = (Vec::new(), 0);
        // a few batches of ordinary records: how many there are is known when they are read
        let enough = self.options.batch.saturating_mul(1000);
        let over = tokio::time::sleep(pause);
        tokio::pin!(over);
        loop {
            let event = if chunks.is_empty() {
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return Ok(None),
                    () = &mut over => return Ok(Some(chunks)),
                    event = member.next() => match event? {
                        Some(event) => event,
                        None => return Ok(None),
                    },
                }
            } else {
                match member.try_next()? {
                    Some(event) => event,
                    None => return Ok(Some(chunks)),
                }
            };
            match event {
                GroupEvent::Records(chunk) => {
                    bytes += chunk.records.bytes();
                    chunks.push(chunk);
                    if bytes >= enough {
                        return Ok(Some(chunks));
                    }
                }
                GroupEvent::Revoked(partitions) | GroupEvent::Lost(partitions) => {
                    // their new owner reads them
                    chunks.retain(|chunk| !partitions.contains(&chunk.partition));
                    self.work.revoked(&partitions);
                    (self.tell)(Told::Revoked(partitions));
                }
                GroupEvent::Assigned { partitions, .. } => (self.tell)(Told::Assigned(partitions)),
                // no batch is in hand that could say so
                GroupEvent::Notice(Notice::Waiting { cause }) => (self.tell)(Told::Trouble(cause)),
                GroupEvent::Notice(notice) => (self.tell)(Told::Notice(notice)),
            }
        }
    }

    /// Until all of it has taken effect or is put aside; false where it was told to stop before.
    async fn handle(&mut self, chunks: &[Chunk]) -> Result<bool, HandlerError> {
        let mut records = chunks.iter().map(|chunk| (chunk, chunk.records.clone())).collect();
        let Self { work, options, stop, tell, dead, report } = self;
        let (work, limit) = (&*work, options.batch);
        let mut batch = work.read(&mut records, limit).await?;
        while !batch.is_empty() {
            // the next one is read while the database has this one
            let settled = settle(work, batch, options, stop, *tell, dead, report);
            let (settled, next) = join(settled, work.read(&mut records, limit)).await;
            if !settled? {
                return Ok(false);
            }
            batch = next?;
        }
        Ok(true)
    }
}

/// Tries until it is done.
async fn settle<'a, W: Work + 'a>(
    work: &'a W,
    mut batch: W::Batch<'a>,
    options: &Options,
    stop: &Stop,
    tell: Tell<'_>,
    dead: &mut DeadLetters,
    report: &mut Report,
) -> Result<bool, HandlerError> {
    let (mut backoff, mut since) = (Backoff::default(), None);
    loop {
        let error = match work.commit(&mut batch, dead).await {
            Ok(()) => {
                batch.tell(tell, report);
                return Ok(true);
            }
            Err(error) => error,
        };
        let since = *since.get_or_insert_with(Instant::now);
        if !error.is_transient() || (options.once && since.elapsed() > options.patience) {
            return Err(error);
        }
        tell(Told::Trouble(error.to_string()));
        if !rest(backoff.pause(), stop).await {
            return Ok(false);
        }
    }
}
