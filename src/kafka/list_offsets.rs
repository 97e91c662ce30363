//! Turning places (start, end, a time) into offsets, each asked of its partition's leader.

use std::collections::HashMap;

use kafka_protocol::messages::{
    BrokerId, ListOffsetsRequest,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};

use super::{
    cluster::{Cluster, NodeId, Role, retry, topic_name},
    error::{Error, Result},
    offset::Offset,
    record::TopicPartition,
    wire::ListOffsets,
};

/// Whether records of transactions that are open or were rolled back are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    #[default]
    ReadCommitted,
}

impl Isolation {
    pub(crate) fn code(self) -> i8 {
        match self {
            Isolation::ReadUncommitted => 0,
            Isolation::ReadCommitted => 1,
        }
    }
}

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

impl Cluster {
    /// The offset of each place, in the order in which they were given. A time behind the last record is the end.
    ///
    /// # Errors
    /// A partition that is not there, a leader that does not come back within the request time-out, and
    /// [`Offset::Stored`], which only a group knows.
    pub async fn resolve(&self, places: &[(TopicPartition, Offset)], isolation: Isolation) -> Result<Vec<i64>> {
        let mut asked = Vec::new();
        for (partition, offset) in places {
            match *offset {
                Offset::Start | Offset::AfterStart(_) => asked.push((partition.clone(), EARLIEST)),
                Offset::End => asked.push((partition.clone(), LATEST)),
                Offset::BeforeEnd(_) => {
                    asked.extend([(partition.clone(), EARLIEST), (partition.clone(), LATEST)]);
                }
                Offset::Timestamp(ms) => {
                    asked.extend([(partition.clone(), ms.max(0)), (partition.clone(), LATEST)]);
                }
                Offset::At(_) => {}
                Offset::Stored => {
                    return Err(Error::Invalid("the stored offset belongs to a group; none was named".to_owned()));
                }
            }
        }
        asked.sort();
        asked.dedup();
        let found = retry(self.options().request_timeout, || self.list_offsets(&asked, isolation)).await?;
        let at = |partition: &TopicPartition, what: i64| found.get(&(partition.clone(), what)).copied().unwrap_or(0);
        Ok(places
            .iter()
            .map(|(partition, offset)| match *offset {
                Offset::At(offset) => offset,
                Offset::Start | Offset::Stored => at(partition, EARLIEST),
                Offset::AfterStart(count) => at(partition, EARLIEST).saturating_add(count),
                Offset::End => at(partition, LATEST),
                Offset::BeforeEnd(count) => at(partition, LATEST).saturating_sub(count).max(at(partition, EARLIEST)),
                Offset::Timestamp(ms) => match at(partition, ms.max(0)) {
                    -1 => at(partition, LATEST),
                    offset => offset,
                },
            })
            .collect())
    }

    async fn list_offsets(
        &self,
        asked: &[(TopicPartition, i64)],
        isolation: Isolation,
    ) -> Result<HashMap<(TopicPartition, i64), i64>> {
        let mut found = HashMap::new();
        // A leader refuses a partition that stands twice in one request, so each kind of question goes by itself.
        let mut rounds: HashMap<(NodeId, usize), Vec<&(TopicPartition, i64)>> = HashMap::new();
        let mut seen: HashMap<&TopicPartition, usize> = HashMap::new();
        for question in asked {
            let partition = &question.0;
            let topic = self.topic(&partition.topic).await?;
            if partition.partition < 0 || partition.partition >= topic.count() {
                let (topic, count) = (topic.name.clone(), topic.count());
                return Err(Error::UnknownPartition { topic, partition: partition.partition, count });
            }
            let Some(leader) = self.leader(&partition.topic, partition.partition) else {
                self.refresh(&[&partition.topic], false).await?;
                return Err(Error::broker(format!("asking for the offsets of {partition}"), 5));
            };
            let round = seen.entry(partition).or_default();
            rounds.entry((leader, *round)).or_default().push(question);
            *round += 1;
        }
        for ((leader, _), questions) in rounds {
            self.ask_leader(leader, &questions, isolation, &mut found).await?;
        }
        Ok(found)
    }

    async fn ask_leader(
        &self,
        leader: NodeId,
        questions: &[&(TopicPartition, i64)],
        isolation: Isolation,
        found: &mut HashMap<(TopicPartition, i64), i64>,
    ) -> Result<()> {
        let mut topics: HashMap<&str, Vec<ListOffsetsPartition>> = HashMap::new();
        for (partition, what) in questions {
            topics.entry(&partition.topic).or_default().push(
                ListOffsetsPartition::default()
                    .with_partition_index(partition.partition)
                    .with_current_leader_epoch(-1)
                    .with_timestamp(*what),
            );
        }
        let topics: Vec<_> = topics
            .into_iter()
            .map(|(name, partitions)| {
                ListOffsetsTopic::default().with_name(topic_name(name)).with_partitions(partitions)
            })
            .collect();
        let connection = self.connection(Role::Control, leader).await;
        let connection = match connection {
            Ok(connection) => connection,
            Err(error) => {
                let names: Vec<&str> = questions.iter().map(|(partition, _)| &*partition.topic).collect();
                self.refresh(&names, false).await?; // it may have moved
                return Err(error);
            }
        };
        let mut request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics);
        if connection.require::<ListOffsets>("asking for offsets")? >= 2 {
            request = request.with_isolation_level(isolation.code());
        }
        let response = connection.request::<ListOffsets>(request).await?;
        for topic in &response.topics {
            for answer in &topic.partitions {
                let partition = TopicPartition::new(topic.name.as_str(), answer.partition_index);
                if answer.error_code != 0 {
                    self.refresh(&[&partition.topic], false).await?;
                    return Err(Error::broker(format!("asking for the offsets of {partition}"), answer.error_code));
                }
                let asked = questions.iter().find(|(asked, _)| *asked == partition);
                if let Some((_, what)) = asked {
                    found.insert((partition, *what), answer.offset);
                }
            }
        }
        Ok(())
    }
}
