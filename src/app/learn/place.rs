//! Where a lesson takes place, and what checks see there.

use std::fmt::Display;

use crate::{
    app::groups,
    kafka::{Assignment, Cluster, Consumer, ConsumerConfig, Fetched, Offset, TopicPartition},
    store::{Store, StoreUrl},
};

/// A record as a check sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub partition: i32,
    pub key: Option<String>,
    /// The id of a CloudEvent: a repeat has the same one.
    pub id: Option<String>,
}

/// A broker and a store.
pub struct Place {
    pub cluster: Cluster,
    pub store: StoreUrl,
}

impl Place {
    /// How many partitions the topic has.
    pub(super) async fn partitions(&self, topic: &str) -> Result<i32, String> {
        Ok(self.cluster.topic(topic).await.map_err(said)?.count())
    }

    /// All records that the topic has now, those of rolled back transactions left out.
    pub(super) async fn records(&self, topic: &str) -> Result<Vec<Seen>, String> {
        let config = ConsumerConfig::default();
        let mut assignments = Vec::new();
        for number in 0..self.partitions(topic).await? {
            let partition = TopicPartition::new(topic, number);
            let places = [(partition.clone(), Offset::Start), (partition.clone(), Offset::End)];
            let ends = self.cluster.resolve(&places, config.isolation).await.map_err(said)?;
            assignments.push(Assignment { partition, from: ends[0], until: Some(ends[1]) });
        }
        let mut consumer = Consumer::start(self.cluster.clone(), assignments, config);
        let mut seen = Vec::new();
        while let Some(fetched) = consumer.next().await.map_err(said)? {
            let Fetched::Records(mut chunk) = fetched else { continue };
            let partition = chunk.partition.partition;
            while let Some(record) = chunk.records.next().map_err(said)? {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let id =
                    record.headers.iter().find(|(name, _)| *name == b"ce_id").and_then(|(_, value)| value.map(text));
                seen.push(Seen { partition, key: record.key.map(text), id });
            }
        }
        Ok(seen)
    }

    /// What the group has committed of all partitions together, and how far it is behind.
    pub(super) async fn group(&self, name: &str) -> Result<(i64, i64), String> {
        let group = groups::describe(&self.cluster, name).await.map_err(said)?;
        let committed = group.partitions.iter().filter_map(|partition| partition.committed).sum();
        let lag = group.lag().ok_or_else(|| format!("the group {name:?} has committed nothing yet"))?;
        Ok((committed, lag))
    }

    /// The store, where a command has made it.
    pub(super) async fn open(&self) -> Result<Store, String> {
        if self.store.path().is_some_and(|path| !path.exists()) {
            return Err("the store has nothing in it yet".to_owned());
        }
        Store::open(&self.store).await.map_err(said)
    }
}

/// Of a check, every trouble is something that is not there yet.
pub(super) fn said(error: impl Display) -> String {
    error.to_string()
}

/// What is there, or what is missing.
pub(super) fn need(is_there: bool, missing: &str) -> Result<(), String> {
    if is_there { Ok(()) } else { Err(missing.to_owned()) }
}
