//! Consumer groups: members that share the partitions of their topics, one owner each.
//!
//! ```text
//!   membership (pure)  <-- events --  member task  -- requests -->  coordinator
//!        |                             ^   |
//!        +----- Give, Take, Ask -------+   | claims          what is handled
//!                                          v                       ^
//!                                       fetcher -- records -->  GroupConsumer::next() -> handler
//! ```
//!
//! The member task heartbeats and commits whatever the handler does; a slow handler holds up fetching (its queue is full),
//! never a heartbeat. Before a partition goes to another member its handler has let go of it, and what it has handled is
//! committed. Records that were fetched under an older claim are dropped.
//!
//! # The guarantee
//! At-least-once. What is committed is what the handler has called [`GroupConsumer::processed`] for, never more: a member
//! that dies repeats what it had handled since its last commit, and skips nothing. In each generation a partition has one
//! owner. A member that was thrown out without knowing it may still handle what it holds, beside the new owner, until it
//! hears of it; its commits are refused.
//!
//! Protocols: the classic one (KIP-429, KIP-345, KIP-394) and KIP-848. Read next: [`classic`], [`kip848`], then `member.rs`.

mod assignor;
mod classic;
mod kip848;
mod member;
mod membership;
mod progress;
mod protocol;
mod requests;
#[cfg(test)]
mod simulation;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use kafka_protocol::protocol::StrBytes;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{
    classic::Classic,
    kip848::Kip848,
    member::{Member, Order},
    membership::Membership,
    progress::Progress,
    requests::Asker,
};
use super::{
    cluster::Cluster,
    consumer::{Chunk, Claims, Consumer, ConsumerConfig, Fetched, Item, Notice},
    error::{Error, Result},
    offset::Offset,
    record::TopicPartition,
};

pub use assignor::Assignor;
pub(crate) use protocol::decode_assignment;

/// How long a member that reads to the end and owns nothing waits for a share: two heartbeats of KIP-848, whose coordinator
/// may take its time to divide (`group.consumer.assignment.interval.ms`).
const WAIT_FOR_A_SHARE: Duration = Duration::from_secs(11);

/// Who divides the partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The members, by an assignor that all of them know. Every broker has it.
    #[default]
    Classic,
    /// The coordinator (KIP-848). Apache Kafka 4.0 and newer.
    Consumer,
}

/// How to be a member. The defaults are those of Kafka's own consumer, with two exceptions. Commits are made every second
/// where there is something to commit, and not every five: a member that dies repeats less. Heartbeats go out every second,
/// and not every three: partitions wait for their new owner until everybody has heard of the change.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    pub group: String,
    pub topics: Vec<Arc<str>>,
    pub protocol: GroupProtocol,
    /// Those that this member offers, in the order of its preference; the group takes one that all offer. With one eager
    /// assignor among them everything is given up in each rebalance.
    pub assignors: Vec<Assignor>,
    /// A name that outlives the process: a member that comes back with it within a session finds its partitions as it left
    /// them (KIP-345). By KIP-848 that holds after an orderly end; one that was killed holds its place until its session
    /// ends, and whoever comes with its name waits for that.
    pub instance_id: Option<Arc<str>>,
    /// A member that is not heard of for so long is dead. KIP-848: the broker's to say.
    pub session_timeout: Duration,
    /// The longest pause between heartbeats; after a change they come quicker. KIP-848: the broker's to say.
    pub heartbeat_interval: Duration,
    /// How long a handler may take for what one [`GroupConsumer::next`] gave it. One that takes longer is taken for dead: its
    /// partitions go to others. Also how long a rebalance waits for it.
    pub max_handling: Duration,
    /// Time between commits.
    pub commit_every: Duration,
    /// Where partitions begin for which the group has committed nothing.
    pub begin: Offset,
    /// Read each partition up to the end that it had when it was assigned.
    pub until_end: bool,
    pub consumer: ConsumerConfig,
}

impl GroupConfig {
    pub fn new(group: impl Into<String>, topics: Vec<Arc<str>>) -> Self {
        Self {
            group: group.into(),
            topics,
            protocol: GroupProtocol::default(),
            assignors: vec![Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky],
            instance_id: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(1),
            max_handling: Duration::from_secs(300),
            commit_every: Duration::from_secs(1),
            begin: Offset::Start,
            until_end: false,
            consumer: ConsumerConfig::default(),
        }
    }
}

/// What a member hands out.
#[derive(Debug)]
pub enum GroupEvent {
    Records(Chunk),
    Notice(Notice),
    /// These are this member's from now on. Also comes when a rebalance has brought it none.
    Assigned {
        generation: i32,
        partitions: Vec<TopicPartition>,
    },
    /// These go to another member. What was handled of them is committed before they go, where the group takes the commit;
    /// what it does not take is handled by their new owner again.
    Revoked(Vec<TopicPartition>),
    /// These belong to somebody else already: the group took this member for dead. What was handled since the last commit is
    /// handled by their new owner again.
    Lost(Vec<TopicPartition>),
}

/// A member of a consumer group: reads its share of the topics' partitions.
///
/// Ends its tasks when it is dropped, without a commit and without a word to the group; [`GroupConsumer::close`] does it in
/// order.
#[derive(Debug)]
pub struct GroupConsumer {
    consumer: Consumer,
    orders: mpsc::Receiver<Result<Order>>,
    progress: Arc<Progress>,
    /// What the reader may be handed, by claim.
    owned: HashMap<TopicPartition, u64>,
    /// Of it, what has not been read to its end; only with [`GroupConfig::until_end`].
    unfinished: HashSet<TopicPartition>,
    until_end: bool,
    /// Until when a member that owns nothing waits for a share, once it was told so.
    share_by: Option<Instant>,
    stop: CancellationToken,
    member: JoinHandle<Result<()>>,
}

impl GroupConsumer {
    /// Begins to join; [`GroupConsumer::next`] says what comes of it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a group without a name, topics or assignors.
    pub fn join(cluster: Cluster, config: GroupConfig) -> Result<Self> {
        if config.group.is_empty() || config.topics.is_empty() || config.assignors.is_empty() {
            return Err(Error::Invalid("a member needs a group's name, topics and an assignor".to_owned()));
        }
        let config = Arc::new(config);
        let (claims, claimed) = watch::channel(Claims::new());
        let consumer = Consumer::follow(cluster.clone(), claimed, config.consumer.clone());
        let (orders_in, orders) = mpsc::channel(member::ORDERS);
        let (progress, stop) = (Arc::new(Progress::default()), CancellationToken::new());
        let until_end = config.until_end;
        let membership = membership(&config);
        let member = Member::new(Asker { cluster, config }, membership, claims, orders_in, Arc::clone(&progress));
        let member = tokio::spawn(member.run(stop.clone()));
        let (owned, unfinished) = (HashMap::new(), HashSet::new());
        Ok(Self { consumer, orders, progress, owned, unfinished, until_end, share_by: None, stop, member })
    }

    /// The next piece or event. To call it says: of what was handed out before, nothing is being handled any more.
    ///
    /// Cancel safe. The answers `None` only with [`GroupConfig::until_end`], when all that this member owns has been read.
    ///
    /// # Errors
    /// What no further try mends: the member has left the group, or was never let in. Nothing comes after it.
    pub async fn next(&mut self) -> Result<Option<GroupEvent>> {
        self.progress.reader_waits();
        let event = self.wait().await;
        self.progress.reader_works();
        event
    }

    /// What is there already, without waiting.
    pub fn try_next(&mut self) -> Result<Option<GroupEvent>> {
        use futures::FutureExt;
        self.next().now_or_never().transpose().map(Option::flatten)
    }

    /// Says that records of a partition are handled, up to, not including, `next_offset`: the next commit may have it.
    pub fn processed(&self, partition: &TopicPartition, next_offset: i64) {
        if let Some(&claim) = self.owned.get(partition) {
            self.progress.handled(partition, claim, next_offset);
        }
    }

    /// The partitions that this member owns.
    pub fn owned(&self) -> impl Iterator<Item = &TopicPartition> {
        self.owned.keys()
    }

    /// Commits what was handled, and leaves: the others need not wait for the session's end. A static member commits and
    /// says nothing. To call it says that nothing is being handled any more.
    ///
    /// # Errors
    /// What kept the last commit from being made: those records will be handled again.
    pub async fn close(mut self) -> Result<()> {
        self.progress.reader_waits();
        self.stop.cancel();
        (&mut self.member).await.unwrap_or(Err(Error::Closed))
    }

    async fn wait(&mut self) -> Result<Option<GroupEvent>> {
        loop {
            if self.has_read_all() {
                return Ok(None);
            }
            tokio::select! {
                biased;
                order = self.orders.recv() => {
                    if let Some(event) = self.carry_out(order.ok_or(Error::Closed)??) {
                        return Ok(Some(event));
                    }
                }
                item = self.consumer.next_item() => {
                    let item = item?.ok_or(Error::Closed)?;
                    if let Some(event) = self.take_in(item) {
                        return Ok(Some(event));
                    }
                }
                () = sleep_until(self.share_by.unwrap_or_else(Instant::now)), if self.share_by.is_some() => {
                    return Ok(None);
                }
            }
        }
    }

    fn has_read_all(&self) -> bool {
        self.until_end && !self.owned.is_empty() && self.unfinished.is_empty()
    }

    fn carry_out(&mut self, order: Order) -> Option<GroupEvent> {
        match order {
            Order::Give { generation, partitions } => {
                self.owned.extend(partitions.iter().cloned());
                let partitions: Vec<TopicPartition> = partitions.into_iter().map(|(partition, _)| partition).collect();
                if self.until_end {
                    self.unfinished.extend(partitions.iter().cloned());
                    self.share_by = self.owned.is_empty().then(|| Instant::now() + WAIT_FOR_A_SHARE);
                }
                Some(GroupEvent::Assigned { generation, partitions })
            }
            Order::Take { partitions, lost, done } => {
                let mut held = partitions;
                held.retain(|partition| self.owned.remove(partition).is_some());
                self.unfinished.retain(|partition| !held.contains(partition));
                self.share_by = None;
                let _ = done.send(()); // a member that has ended does not wait for it
                match (held.is_empty(), lost) {
                    (true, _) => None,
                    (false, false) => Some(GroupEvent::Revoked(held)),
                    (false, true) => Some(GroupEvent::Lost(held)),
                }
            }
            Order::Notice(notice) => Some(GroupEvent::Notice(notice)),
        }
    }

    /// `None` for what was fetched under a claim that is over.
    fn take_in(&mut self, item: Item) -> Option<GroupEvent> {
        let holds = |partition: &TopicPartition| self.owned.get(partition) == Some(&item.claim);
        match item.fetched {
            Fetched::Records(chunk) => holds(&chunk.partition).then_some(GroupEvent::Records(chunk)),
            Fetched::Notice(Notice::Finished { partition }) => {
                if !holds(&partition) {
                    return None;
                }
                self.unfinished.remove(&partition);
                Some(GroupEvent::Notice(Notice::Finished { partition }))
            }
            Fetched::Notice(notice) => {
                match &notice {
                    Notice::Recreated { topic } => self.progress.moved(|partition| partition.topic == *topic, 0),
                    Notice::Reset { partition, to, .. } => self.progress.moved(|moved| moved == partition, *to),
                    _ => {}
                }
                Some(GroupEvent::Notice(notice))
            }
        }
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        self.member.abort();
    }
}

fn membership(config: &GroupConfig) -> Box<dyn Membership> {
    match config.protocol {
        GroupProtocol::Classic => Box::new(Classic::new(classic::Config {
            assignors: config.assignors.clone(),
            instance_id: config.instance_id.clone(),
            heartbeat_interval: config.heartbeat_interval,
        })),
        GroupProtocol::Consumer => {
            let member_id = uuid::Uuid::new_v4().to_string();
            Box::new(Kip848::new(member_id.into(), config.instance_id.clone(), config.session_timeout))
        }
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
