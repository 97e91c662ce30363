//! Committed offsets: how far a group has come in each partition, as its coordinator keeps it.
//!
//! What is committed is the offset to go on with: that of the last record that was handled, plus one.

use std::collections::BTreeMap;

use kafka_protocol::{
    messages::{
        GroupId, OffsetCommitRequest, OffsetFetchRequest,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics},
    },
    protocol::StrBytes,
};

use super::{
    cluster::topic_name,
    connection::Connection,
    error::{Error, Result, check},
    record::TopicPartition,
    wire::{OffsetCommit, OffsetFetch},
};

/// Who commits. A group takes offsets from its own members of the current generation; from an outsider only while it has
/// no members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committer {
    /// The generation (classic) or the member's epoch (KIP-848); -1 for an outsider.
    pub generation: i32,
    pub member_id: StrBytes,
    pub instance_id: Option<StrBytes>,
}

impl Committer {
    pub(crate) const OUTSIDER: Committer =
        Committer { generation: -1, member_id: StrBytes::from_static_str(""), instance_id: None };
}

pub(crate) fn group_id(group: &str) -> GroupId {
    GroupId(StrBytes::from_string(group.to_owned()))
}

/// Whether an open transaction that commits offsets of the group is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stability {
    /// Who goes on from an offset must know how the transaction ended.
    Stable,
    /// Who looks on sees what was committed before it.
    AsItIs,
}

/// What a group has committed: of these partitions, or of all. Partitions without a commit are left out.
///
/// # Errors
/// UNSTABLE_OFFSET_COMMIT, transient, while a transaction that commits offsets of the group is open.
pub(crate) async fn fetch(
    connection: &Connection,
    group: &str,
    of: Option<&[TopicPartition]>,
) -> Result<BTreeMap<TopicPartition, i64>> {
    fetch_as(connection, group, of, Stability::Stable).await
}

/// The same, stable or as it is.
pub(crate) async fn fetch_as(
    connection: &Connection,
    group: &str,
    of: Option<&[TopicPartition]>,
    stability: Stability,
) -> Result<BTreeMap<TopicPartition, i64>> {
    let action = || format!("asking for the committed offsets of group {group:?}");
    let version = connection.require::<OffsetFetch>("committed offsets")?;
    let topics = of.map(by_topic);
    let request = OffsetFetchRequest::default().with_require_stable(version >= 7 && stability == Stability::Stable);
    let response = if version >= 8 {
        let topics = topics.map(|topics| {
            let topic = |(name, partitions)| {
                OffsetFetchRequestTopics::default().with_name(topic_name(name)).with_partition_indexes(partitions)
            };
            topics.into_iter().map(topic).collect()
        });
        let group = OffsetFetchRequestGroup::default().with_group_id(group_id(group)).with_topics(topics);
        connection.request::<OffsetFetch>(request.with_groups(vec![group])).await?
    } else {
        let topics = topics.map(|topics| {
            let topic = |(name, partitions)| {
                OffsetFetchRequestTopic::default().with_name(topic_name(name)).with_partition_indexes(partitions)
            };
            topics.into_iter().map(topic).collect()
        });
        connection.request::<OffsetFetch>(request.with_group_id(group_id(group)).with_topics(topics)).await?
    };
    check(action, response.error_code)?;
    let mut found = BTreeMap::new();
    let mut take = |topic: &str, partition: i32, offset: i64, code: i16| -> Result<()> {
        check(action, code)?;
        if offset >= 0 {
            found.insert(TopicPartition::new(topic, partition), offset);
        }
        Ok(())
    };
    for topic in &response.topics {
        for answer in &topic.partitions {
            take(&topic.name, answer.partition_index, answer.committed_offset, answer.error_code)?;
        }
    }
    for group in &response.groups {
        check(action, group.error_code)?;
        for topic in &group.topics {
            for answer in &topic.partitions {
                take(&topic.name, answer.partition_index, answer.committed_offset, answer.error_code)?;
            }
        }
    }
    Ok(found)
}

/// Commits: all of these offsets or, where the error names a partition, those before it may be committed too.
///
/// # Errors
/// The group's refusal: a generation that is over, a member that it does not know, a rebalance that has begun.
pub(crate) async fn commit(
    connection: &Connection,
    group: &str,
    by: &Committer,
    offsets: &BTreeMap<TopicPartition, i64>,
) -> Result<()> {
    let partitions: Vec<TopicPartition> = offsets.keys().cloned().collect();
    let mut next = offsets.values();
    let topics = by_topic(&partitions)
        .into_iter()
        .map(|(name, partitions)| {
            let partition = |index| {
                OffsetCommitRequestPartition::default()
                    .with_partition_index(index)
                    .with_committed_offset(next.next().copied().unwrap_or(-1))
                    .with_committed_leader_epoch(-1)
                    .with_committed_metadata(Some(StrBytes::from_static_str("")))
            };
            OffsetCommitRequestTopic::default()
                .with_name(topic_name(name))
                .with_partitions(partitions.into_iter().map(partition).collect())
        })
        .collect();
    let mut request = OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(by.generation)
        .with_member_id(by.member_id.clone())
        .with_retention_time_ms(-1)
        .with_topics(topics);
    if connection.require::<OffsetCommit>("committing offsets")? >= 7 {
        request = request.with_group_instance_id(by.instance_id.clone());
    }
    let response = connection.request::<OffsetCommit>(request).await?;
    for topic in &response.topics {
        for answer in &topic.partitions {
            let partition = TopicPartition::new(topic.name.as_str(), answer.partition_index);
            check(|| format!("committing offsets of {partition} for group {group:?}"), answer.error_code)?;
        }
    }
    let answered: usize = response.topics.iter().map(|topic| topic.partitions.len()).sum();
    if answered < offsets.len() {
        let origin = format_args!("the coordinator of group {group:?}");
        return Err(Error::malformed(origin, "its answer to a commit leaves partitions out"));
    }
    Ok(())
}

/// Partitions in their order, gathered by topic.
fn by_topic(partitions: &[TopicPartition]) -> Vec<(&str, Vec<i32>)> {
    let mut topics: Vec<(&str, Vec<i32>)> = Vec::new();
    for partition in partitions {
        match topics.last_mut() {
            Some((name, numbers)) if *name == &*partition.topic => numbers.push(partition.partition),
            _ => topics.push((&partition.topic, vec![partition.partition])),
        }
    }
    topics
}
