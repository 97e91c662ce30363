//! Groups: which there are, how far they have come, and moving them to another place.

mod pace;
mod reset;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::future::join_all;
use tokio::time::timeout;

pub use self::{
    pace::{Pace, Paces},
    reset::{Move, Plan, Target, commit, plan},
};
use crate::kafka::{
    Address, Admin, Cluster, ConnectOptions, Error, Group, GroupList, Isolation, Offset, TopicPartition,
};

/// A broker that is down must not hold up what the others know.
pub(super) const WITHIN: Duration = Duration::from_secs(5);

/// All groups, by name, each with how many members it has.
///
/// # Errors
/// Where no broker told of its groups.
pub async fn list(cluster: &Cluster) -> Result<GroupList, Error> {
    Admin::new(cluster.clone()).list_groups().await
}

/// Names of groups for a person who is typing one: within the time, or none.
pub async fn names(brokers: Vec<Address>, options: ConnectOptions, within: Duration) -> Vec<String> {
    let asked = timeout(within, async { list(&super::connect(brokers, options).await?).await }).await;
    let list = asked.ok().and_then(Result::ok).unwrap_or_default();
    list.groups.into_iter().map(|group| group.name.to_string()).collect()
}

/// The groups whose names are nearest to `name`, for "did you mean".
pub async fn near(cluster: &Cluster, name: &str) -> Vec<String> {
    let list = list(cluster).await.unwrap_or_default();
    super::nearest(name, list.groups.iter().map(|group| &*group.name))
}

/// Kafka's code for a partition that nobody leads.
const LEADERLESS: i16 = 5;

/// A group, and how far it has come in each partition.
#[derive(Debug)]
pub struct Description {
    pub group: Group,
    /// In order: what it has committed, and what its members read without a commit yet.
    pub partitions: Vec<Progress>,
    /// When it was so, in milliseconds since the Unix epoch.
    pub at: i64,
    /// What some brokers answered instead of offsets.
    pub gaps: Vec<Error>,
}

/// How far a group has come in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub partition: TopicPartition,
    /// Where it goes on; `None` where it has never committed.
    pub committed: Option<i64>,
    /// The first offset that is there; `None` where the leader does not say, as for `end`.
    pub start: Option<i64>,
    /// Behind the last record: the high watermark, to which Kafka's own tool counts too.
    pub end: Option<i64>,
    /// When the oldest record that is not consumed was written, in milliseconds since the Unix epoch.
    pub oldest: Option<i64>,
    /// Whose it is, by place in the list of members.
    pub member: Option<usize>,
}

impl Progress {
    /// Offsets between what is committed and the end; below zero where the topic was made anew with fewer records.
    pub fn lag(&self) -> Option<i64> {
        Some(self.end? - self.committed?)
    }

    /// How long ago the oldest record that is not consumed was written.
    pub fn behind(&self, now: i64) -> Option<Duration> {
        Some(Duration::from_millis(u64::try_from(now - self.oldest?).unwrap_or(0)))
    }
}

impl Description {
    /// Of all partitions together; one that is ahead of its end makes up for none that is behind. `None` where it is
    /// known of no partition.
    pub fn lag(&self) -> Option<i64> {
        self.partitions
            .iter()
            .filter_map(Progress::lag)
            .map(|lag| lag.max(0))
            .reduce(|sum, lag| sum.saturating_add(lag))
    }

    /// The longest of all partitions.
    pub fn behind(&self) -> Option<Duration> {
        self.partitions.iter().filter_map(|partition| partition.behind(self.at)).max()
    }
}

/// Describes a group: its members, what it has committed, the partitions' ends, and the age of what it has not read.
///
/// # Errors
/// [`Error::UnknownGroup`], or what its coordinator refuses; trouble with the leaders of partitions is in the gaps.
pub async fn describe(cluster: &Cluster, name: &str) -> Result<Description, Error> {
    let admin = Admin::new(cluster.clone());
    let group = admin.describe_group(name).await?;
    // before the ends, so that a consumer that keeps up is not seen ahead of them
    let committed = admin.committed_offsets(name).await?;
    let members: HashMap<&TopicPartition, usize> = group
        .members
        .iter()
        .enumerate()
        .flat_map(|(at, member)| member.assigned.iter().map(move |partition| (partition, at)))
        .collect();
    let all: BTreeSet<&TopicPartition> = committed.keys().chain(members.keys().copied()).collect();
    let (bounds, gaps) = bounds(cluster, all.iter().copied()).await;
    let mut partitions: Vec<Progress> = all
        .into_iter()
        .map(|partition| Progress {
            partition: partition.clone(),
            committed: committed.get(partition).copied(),
            start: bounds.get(partition).map(|(start, _)| *start),
            end: bounds.get(partition).map(|(_, end)| *end),
            oldest: None,
            member: members.get(partition).copied(),
        })
        .collect();
    let behind = partitions.iter().filter(|partition| partition.lag().is_some_and(|lag| lag > 0));
    let places = behind.map(|progress| {
        // what retention took is not there to be consumed any more
        let place = progress.committed.max(progress.start).unwrap_or(0);
        (progress.partition.clone(), place)
    });
    let times = admin.record_times(places.collect(), WITHIN).await;
    for progress in &mut partitions {
        progress.oldest = times.get(&progress.partition).copied();
    }
    Ok(Description { group, partitions, at: now(), gaps })
}

/// Start and end of each partition that is there and whose leader answers; what the others' leaders said instead.
pub(super) async fn bounds(
    cluster: &Cluster,
    partitions: impl Iterator<Item = &TopicPartition>,
) -> (HashMap<TopicPartition, (i64, i64)>, Vec<Error>) {
    let mut by_leader: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
    let mut gaps = Vec::new();
    let mut unknown: BTreeSet<&str> = BTreeSet::new();
    for partition in partitions {
        if unknown.contains(&*partition.topic) {
            continue;
        }
        match cluster.topic(&partition.topic).await {
            Ok(topic) => {
                let number = usize::try_from(partition.partition).ok();
                match number.and_then(|number| topic.partitions.get(number)).map(|known| known.leader) {
                    Some(Some(leader)) => by_leader.entry(leader).or_default().push(partition.clone()),
                    Some(None) => {
                        gaps.push(Error::broker(format!("asking for the offsets of {partition}"), LEADERLESS))
                    }
                    // offsets of a topic that was made anew with fewer partitions
                    None => {}
                }
            }
            // offsets outlive a deleted topic for a while
            Err(Error::UnknownTopic { topic }) => {
                tracing::debug!(%topic, "the group has offsets of a topic that is gone");
                unknown.insert(&partition.topic);
            }
            Err(error) => gaps.push(error),
        }
    }
    let asked = by_leader.values().map(|partitions| async move {
        let places = [Offset::Start, Offset::End].map(|place| partitions.iter().map(move |p| (p.clone(), place)));
        let places: Vec<_> = places.into_iter().flatten().collect();
        let resolved = timeout(WITHIN, cluster.resolve(&places, Isolation::ReadUncommitted)).await;
        let resolved = resolved.unwrap_or_else(|_| {
            let action = format!("asking for the offsets of {} and others of its leader", partitions[0]);
            Err(Error::TimedOut { action, limit: WITHIN, last_try: None })
        });
        (partitions, resolved)
    });
    let mut bounds = HashMap::new();
    for (partitions, resolved) in join_all(asked).await {
        match resolved {
            Ok(offsets) => {
                let (starts, ends) = offsets.split_at(partitions.len().min(offsets.len()));
                let pairs = starts.iter().copied().zip(ends.iter().copied());
                bounds.extend(partitions.iter().cloned().zip(pairs));
            }
            Err(error) => gaps.push(error),
        }
    }
    (bounds, gaps)
}

/// Deletes a group with its committed offsets.
///
/// # Errors
/// As [`Admin::delete_group`].
pub async fn delete(cluster: &Cluster, name: &str) -> Result<(), Error> {
    Admin::new(cluster.clone()).delete_group(name).await
}

/// What a group would lose by a deletion: its members, who prevent it, and its committed offsets.
pub async fn at_stake(cluster: &Cluster, name: &str) -> Result<(Group, BTreeMap<TopicPartition, i64>), Error> {
    let admin = Admin::new(cluster.clone());
    let group = admin.describe_group(name).await?;
    Ok((group, admin.committed_offsets(name).await?))
}

pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
