//! Reading topics: from the places that a person named to offsets, and on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::kafka::{
    Assignment, Cluster, Consumer, ConsumerConfig, Error, Fetched, Isolation, Offset, OffsetRange, OffsetReset,
    TopicPartition,
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
}

/// Topics being read.
#[derive(Debug)]
pub struct Reading {
    consumer: Consumer,
    /// Where each partition begins, and ends if it does.
    pub plan: BTreeMap<TopicPartition, (i64, Option<i64>)>,
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
        whole_topics: if follows_all { topics(&plan) } else { Vec::new() },
        ..ConsumerConfig::default()
    };
    Ok(Reading { consumer: Consumer::start(cluster.clone(), assignments, config), plan })
}

impl Reading {
    /// The next piece or notice; `None` when all partitions are read up to where they were to be read.
    pub async fn next(&mut self) -> Result<Option<Fetched>, Error> {
        self.consumer.next().await
    }

    /// What is there already.
    pub fn try_next(&mut self) -> Result<Option<Fetched>, Error> {
        self.consumer.try_next()
    }
}

fn topics(plan: &BTreeMap<TopicPartition, (i64, Option<i64>)>) -> Vec<Arc<str>> {
    let mut topics: Vec<Arc<str>> = plan.keys().map(|partition| Arc::clone(&partition.topic)).collect();
    topics.dedup();
    topics
}
