//! Reading topics: from the places that a person named to offsets, and on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::kafka::{
    Assignment, Cluster, Consumer, ConsumerConfig, Error, Fetched, GroupConfig, GroupConsumer, GroupEvent, Isolation,
    Offset, OffsetRange, OffsetReset, TopicPartition,
};

#[derive(Clone, Debug)]
pub struct Options {
    pub topics: Vec<String>,
    /// Only these; all where empty.
    pub partitions: Vec<i32>,
    pub range: OffsetRange,
    /// Stop at the ends as they are now.
    pub exit_at_end: bool,
    pub isolation: Isolation,
    pub offset_reset: OffsetReset,
    /// How long brokers may be away; `None` waits for ever.
    pub patience: Option<Duration>,
    /// How often leaders and partitions are asked for when nothing goes wrong.
    pub metadata_age: Duration,
}

/// Topics being read, by this reader alone or as a member of a group.
#[derive(Debug)]
pub enum Reading {
    Alone {
        consumer: Consumer,
        /// Where each partition begins, and ends if it does.
        plan: BTreeMap<TopicPartition, (i64, Option<i64>)>,
    },
    Member(GroupConsumer),
}

/// Turns the range into offsets, for every partition, and begins to read.
///
/// # Errors
/// [`Error::UnknownTopic`], [`Error::UnknownPartition`], or what the brokers refuse.
pub async fn open(cluster: &Cluster, options: &Options) -> Result<Reading, Error> {
    let mut partitions = Vec::new();
    for name in &options.topics {
        let topic = cluster.topic(name).await?;
        if options.partitions.is_empty() {
            partitions.extend((0..topic.count()).map(|number| TopicPartition::new(Arc::clone(&topic.name), number)));
            continue;
        }
        for &number in &options.partitions {
            if number < 0 || number >= topic.count() {
                let (topic, count) = (Arc::clone(&topic.name), topic.count());
                return Err(Error::UnknownPartition { topic, partition: number, count });
            }
            partitions.push(TopicPartition::new(Arc::clone(&topic.name), number));
        }
    }
    let to = options.range.to.or(options.exit_at_end.then_some(Offset::End));
    let mut places: Vec<(TopicPartition, Offset)> =
        partitions.iter().map(|partition| (partition.clone(), options.range.from)).collect();
    if let Some(to) = to {
        places.extend(partitions.iter().map(|partition| (partition.clone(), to)));
    }
    if options.exit_at_end && options.range.to.is_some() {
        places.extend(partitions.iter().map(|partition| (partition.clone(), Offset::End)));
    }
    let offsets = cluster.resolve(&places, options.isolation).await?;
    let mut thirds = offsets.chunks(partitions.len().max(1));
    let (from, to, end) = (thirds.next().unwrap_or_default(), thirds.next(), thirds.next());
    let mut plan = BTreeMap::new();
    for (index, partition) in partitions.into_iter().enumerate() {
        let at = |offsets: Option<&[i64]>| offsets.and_then(|offsets| offsets.get(index)).copied();
        let until = [at(to), at(end)].into_iter().flatten().min();
        plan.insert(partition, (from.get(index).copied().unwrap_or(0), until));
    }
    let assignments = plan
        .iter()
        .map(|(partition, &(from, until))| Assignment { partition: partition.clone(), from, until })
        .collect();
    // who follows whole topics follows partitions that are added, too
    let follows_all = options.partitions.is_empty() && options.range.to.is_none() && !options.exit_at_end;
    let config = ConsumerConfig {
        isolation: options.isolation,
        offset_reset: options.offset_reset,
        patience: options.patience,
        metadata_age: options.metadata_age,
        whole_topics: if follows_all { topics(&plan) } else { Vec::new() },
        ..ConsumerConfig::default()
    };
    Ok(Reading::Alone { consumer: Consumer::start(cluster.clone(), assignments, config), plan })
}

/// Begins to read as a member of a group: what the group assigns to it, from where the group has come to. The range's
/// beginning is for partitions for which the group has committed nothing; [`Offset::Stored`] is the start for those.
///
/// # Errors
/// [`Error::UnknownTopic`]; [`Error::Invalid`] for what a group decides and not its member: partitions, an end.
pub async fn join(cluster: &Cluster, options: &Options, mut group: GroupConfig) -> Result<Reading, Error> {
    if !options.partitions.is_empty() {
        return Err(Error::Invalid("a group assigns the partitions: name either a group or partitions".to_owned()));
    }
    if options.range.to.is_some() {
        let why = "a group goes on where it has come to; an end in the offset is for reading without one";
        return Err(Error::Invalid(why.to_owned()));
    }
    for name in &options.topics {
        group.topics.push(Arc::clone(&cluster.topic(name).await?.name));
    }
    group.begin = match options.range.from {
        Offset::Stored => Offset::Start,
        from => from,
    };
    group.until_end = options.exit_at_end;
    group.consumer = ConsumerConfig {
        isolation: options.isolation,
        offset_reset: options.offset_reset,
        patience: options.patience,
        metadata_age: options.metadata_age,
        ..ConsumerConfig::default()
    };
    GroupConsumer::join(cluster.clone(), group).map(Reading::Member)
}

impl Reading {
    /// The next piece or event; `None` when all partitions are read up to where they were to be read. To call it says that
    /// nothing of what came before is being worked on any more.
    pub async fn next(&mut self) -> Result<Option<GroupEvent>, Error> {
        match self {
            Reading::Alone { consumer, .. } => Ok(consumer.next().await?.map(event)),
            Reading::Member(member) => member.next().await,
        }
    }

    /// What is there already.
    pub fn try_next(&mut self) -> Result<Option<GroupEvent>, Error> {
        match self {
            Reading::Alone { consumer, .. } => Ok(consumer.try_next()?.map(event)),
            Reading::Member(member) => member.try_next(),
        }
    }

    /// Records of this partition are done, up to, not including, `next_offset`: a group may commit that.
    pub fn processed(&self, partition: &TopicPartition, next_offset: i64) {
        if let Reading::Member(member) = self {
            member.processed(partition, next_offset);
        }
    }

    /// What this member of a group owns; without a group nothing.
    pub fn owned(&self) -> Vec<TopicPartition> {
        match self {
            Reading::Alone { .. } => Vec::new(),
            Reading::Member(member) => member.owned().cloned().collect(),
        }
    }

    /// Commits and leaves, where there is a group.
    pub async fn close(self) -> Result<(), Error> {
        match self {
            Reading::Alone { .. } => Ok(()),
            Reading::Member(member) => member.close().await,
        }
    }
}

fn event(fetched: Fetched) -> GroupEvent {
    match fetched {
        Fetched::Records(chunk) => GroupEvent::Records(chunk),
        Fetched::Notice(notice) => GroupEvent::Notice(notice),
    }
}

fn topics(plan: &BTreeMap<TopicPartition, (i64, Option<i64>)>) -> Vec<Arc<str>> {
    let mut topics: Vec<Arc<str>> = plan.keys().map(|partition| Arc::clone(&partition.topic)).collect();
    topics.dedup();
    topics
}
