//! Moving a group: from a wish to offsets, and from offsets to a commit.
//!
//! ```text
//! wish (a place, or offsets) --plan--> each partition: from, to, clamped to what is there --commit--> the coordinator
//! ```
//!
//! A member that joins between the two makes the coordinator refuse the commit. It alone decides.

use std::collections::{BTreeMap, BTreeSet};

use crate::kafka::{Admin, Cluster, Error, Group, Isolation, Offset, TopicPartition};

/// Where a group is to be moved.
#[derive(Clone, Debug)]
pub enum Target {
    /// To one place in each partition.
    Place {
        place: Offset,
        /// Those that the group has offsets for where empty.
        topics: Vec<String>,
        /// All where empty.
        partitions: Vec<i32>,
    },
    /// To an offset for each partition.
    Offsets(BTreeMap<TopicPartition, i64>),
}

/// What a reset would do.
#[derive(Debug)]
pub struct Plan {
    /// `None` where the group does not exist yet.
    pub group: Option<Group>,
    /// In order.
    pub moves: Vec<Move>,
}

/// One partition's part of a reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub partition: TopicPartition,
    /// `None` where the group has committed nothing.
    pub from: Option<i64>,
    pub to: i64,
    /// What was asked for, where the partition does not have it and `to` is its start or end instead.
    pub clamped: Option<i64>,
}

/// Finds out what a reset would do, and changes nothing.
///
/// # Errors
/// [`Error::UnknownGroup`] unless topics or offsets are named, from which a group can be made; [`Error::UnknownTopic`] and
/// [`Error::UnknownPartition`]; what the brokers refuse.
pub async fn plan(cluster: &Cluster, name: &str, target: &Target) -> Result<Plan, Error> {
    let admin = Admin::new(cluster.clone());
    let needs_group = matches!(target, Target::Place { topics, .. } if topics.is_empty());
    let group = match admin.describe_group(name).await {
        Ok(group) => Some(group),
        Err(Error::UnknownGroup { .. }) if !needs_group => None,
        Err(error) => return Err(error),
    };
    let committed = admin.committed_offsets(name).await?;
    let wishes: Vec<(TopicPartition, Offset)> = match target {
        Target::Offsets(offsets) => {
            offsets.iter().map(|(partition, offset)| (partition.clone(), Offset::At(*offset))).collect()
        }
        Target::Place { place, topics, partitions } if topics.is_empty() => {
            let wanted =
                |partition: &&TopicPartition| partitions.is_empty() || partitions.contains(&partition.partition);
            committed.keys().filter(wanted).map(|partition| (partition.clone(), *place)).collect()
        }
        Target::Place { place, topics, partitions } => {
            let named = named(cluster, topics, partitions).await?;
            named.into_iter().map(|partition| (partition, *place)).collect()
        }
    };
    let moves = resolve(cluster, &wishes, &committed).await?;
    Ok(Plan { group, moves })
}

/// The partitions of topics that a person named.
async fn named(cluster: &Cluster, topics: &[String], numbers: &[i32]) -> Result<BTreeSet<TopicPartition>, Error> {
    let mut named = BTreeSet::new();
    for name in topics {
        let topic = cluster.topic(name).await?;
        let all: Vec<i32> = (0..topic.count()).collect();
        for &number in if numbers.is_empty() { &all } else { numbers } {
            if !all.contains(&number) {
                let (topic, count) = (topic.name.clone(), topic.count());
                return Err(Error::UnknownPartition { topic, partition: number, count });
            }
            named.insert(TopicPartition::new(topic.name.clone(), number));
        }
    }
    Ok(named)
}

/// Ends are high watermarks, as for the lag and as for Kafka's own tool.
async fn resolve(
    cluster: &Cluster,
    wishes: &[(TopicPartition, Offset)],
    committed: &BTreeMap<TopicPartition, i64>,
) -> Result<Vec<Move>, Error> {
    let mut places = Vec::with_capacity(3 * wishes.len());
    for (partition, wish) in wishes {
        // a number behind a start or an end may lie outside: that shows here, where both are known
        let asked = match *wish {
            Offset::AfterStart(_) => Offset::Start,
            Offset::BeforeEnd(_) => Offset::End,
            wish => wish,
        };
        places.extend([Offset::Start, Offset::End, asked].map(|place| (partition.clone(), place)));
    }
    let offsets = cluster.resolve(&places, Isolation::ReadUncommitted).await?;
    let moves = wishes.iter().zip(offsets.chunks(3)).filter_map(|((partition, wish), offsets)| {
        let &[start, end, found] = offsets else { return None };
        let wanted = match *wish {
            Offset::AfterStart(count) => found.saturating_add(count),
            Offset::BeforeEnd(count) => found.saturating_sub(count),
            _ => found,
        };
        let to = wanted.clamp(start, end.max(start));
        let from = committed.get(partition).copied();
        Some(Move { partition: partition.clone(), from, to, clamped: (to != wanted).then_some(wanted) })
    });
    Ok(moves.collect())
}

/// Carries out a plan: all of it, or as the coordinator refuses it.
///
/// # Errors
/// [`Error::is_group_in_use`] where a member has joined since; as [`Admin::commit_offsets`].
pub async fn commit(cluster: &Cluster, name: &str, plan: &Plan) -> Result<(), Error> {
    let offsets = plan.moves.iter().map(|step| (step.partition.clone(), step.to)).collect();
    Admin::new(cluster.clone()).commit_offsets(name, &offsets).await
}
