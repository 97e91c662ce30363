//! Deleting records: a partition's beginning is moved forward, and what is before it is gone for every reader.
//!
//! ```text
//! before:   start 0 |--------- 40 ---------| end 100      delete before 40
//! after:            start 40 |-------------| end 100
//! ```
//!
//! Each partition's leader does its own part, so of several partitions some may be done when another one fails. A repeat
//! does no harm: what is gone already is gone.

use std::collections::{BTreeMap, HashMap};

use kafka_protocol::messages::{
    DeleteRecordsRequest,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
};

use super::{Admin, millis};
use crate::kafka::{
    cluster::{NodeId, Role, retry, topic_name},
    error::{Error, Result, check},
    record::TopicPartition,
    wire::DeleteRecords,
};

impl Admin {
    /// Deletes what lies before each offset, and gives the first offset that is left. An offset before the partition's
    /// start changes nothing.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`] and [`Error::UnknownPartition`]; [`Error::Unsupported`] by a broker that does not know the
    /// request; [`Error::Broker`] with `OFFSET_OUT_OF_RANGE` for one behind the end, `POLICY_VIOLATION` for a topic that
    /// is compacted only, or a missing permission. Partitions of other leaders may be done then.
    pub async fn delete_records(
        &self,
        before: &BTreeMap<TopicPartition, i64>,
    ) -> Result<BTreeMap<TopicPartition, i64>> {
        retry(self.cluster.options().request_timeout, || async {
            let mut done = BTreeMap::new();
            for (leader, partitions) in self.by_leader(before).await? {
                let answered = self.delete_on(leader, &partitions).await;
                if answered.as_ref().is_err_and(Error::is_transient) {
                    let names: Vec<&str> = partitions.iter().map(|(partition, _)| &*partition.topic).collect();
                    self.cluster.refresh(&names, false).await?; // it may have moved
                }
                done.extend(answered?);
            }
            Ok(done)
        })
        .await
    }

    async fn by_leader<'a>(
        &self,
        before: &'a BTreeMap<TopicPartition, i64>,
    ) -> Result<HashMap<NodeId, Vec<(&'a TopicPartition, i64)>>> {
        let mut leaders: HashMap<NodeId, Vec<_>> = HashMap::new();
        for (partition, offset) in before {
            let topic = self.cluster.topic(&partition.topic).await?;
            if partition.partition < 0 || partition.partition >= topic.count() {
                let (topic, count) = (topic.name.clone(), topic.count());
                return Err(Error::UnknownPartition { topic, partition: partition.partition, count });
            }
            let Some(leader) = self.cluster.leader(&partition.topic, partition.partition) else {
                self.cluster.refresh(&[&partition.topic], false).await?;
                return Err(Error::broker(action(partition), 5)); // nobody leads it at the moment
            };
            leaders.entry(leader).or_default().push((partition, *offset));
        }
        Ok(leaders)
    }

    async fn delete_on(
        &self,
        leader: NodeId,
        partitions: &[(&TopicPartition, i64)],
    ) -> Result<Vec<(TopicPartition, i64)>> {
        let mut topics: BTreeMap<&str, Vec<DeleteRecordsPartition>> = BTreeMap::new();
        for (partition, offset) in partitions {
            let wanted =
                DeleteRecordsPartition::default().with_partition_index(partition.partition).with_offset(*offset);
            topics.entry(&partition.topic).or_default().push(wanted);
        }
        let topics = topics.into_iter().map(|(name, partitions)| {
            DeleteRecordsTopic::default().with_name(topic_name(name)).with_partitions(partitions)
        });
        let request =
            DeleteRecordsRequest::default().with_topics(topics.collect()).with_timeout_ms(millis(self.broker_limit()));
        let connection = self.cluster.connection(Role::Control, leader).await?;
        connection.require::<DeleteRecords>("deleting records")?;
        let response = connection.request::<DeleteRecords>(request).await?;
        let mut left = Vec::new();
        for topic in &response.topics {
            for answer in &topic.partitions {
                let partition = TopicPartition::new(topic.name.as_str(), answer.partition_index);
                check(|| action(&partition), answer.error_code)?;
                left.push((partition, answer.low_watermark));
            }
        }
        match partitions.iter().find(|(asked, _)| !left.iter().any(|(found, _)| found == *asked)) {
            None => Ok(left),
            Some((forgotten, _)) => Err(Error::malformed(action(forgotten), "the answer leaves the partition out")),
        }
    }
}

fn action(partition: &TopicPartition) -> String {
    format!("deleting records of {partition}")
}
