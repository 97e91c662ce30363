//! How far a group has come, how old what it has not read is, and setting it to another place.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, stream};
use kafka_protocol::messages::{
    BrokerId, FetchRequest,
    fetch_request::{FetchPartition, FetchTopic},
};

use super::Admin;
use crate::kafka::{
    batch::{Records, scan},
    cluster::{Role, topic_name},
    committed::{self, Committer, Stability},
    error::{Error, Result, check},
    record::TopicPartition,
    wire::FetchByName,
};

/// Partitions that are asked for a record at the same time.
const LOOKS_AT_ONCE: usize = 16;
/// Bytes of an answer with one record of interest; a broker sends one whole batch at least.
const LOOK: i32 = 16 * 1024;
/// Answers without a record (markers of transactions, compacted batches) before the look is given up.
const LOOKS: usize = 4;

impl Admin {
    /// The committed offsets of a group: empty where it has none, and where there is no such group. What a transaction
    /// that is still open will commit is not among them.
    ///
    /// # Errors
    /// [`Error::TimedOut`] where the coordinator was loading or moving for all of the request time-out; a missing
    /// permission.
    pub async fn committed_offsets(&self, group: &str) -> Result<BTreeMap<TopicPartition, i64>> {
        let fetched = self.cluster.ask_coordinator(group, |connection| async move {
            committed::fetch_as(&connection, group, None, Stability::AsItIs).await
        });
        fetched.await.map_err(|error| self.waited(error))
    }

    /// Commits offsets for a group that nobody is in; a group that does not exist is there from then on. All of them in
    /// one request: the coordinator takes or refuses the group's commit as a whole, and single partitions only where
    /// they are not there or may not be read.
    ///
    /// # Errors
    /// [`Code::UNKNOWN_MEMBER_ID`](crate::kafka::Code::UNKNOWN_MEMBER_ID) and its like where somebody is in the group; see
    /// [`Error::is_group_in_use`].
    pub async fn commit_offsets(&self, group: &str, offsets: &BTreeMap<TopicPartition, i64>) -> Result<()> {
        let committed = self.cluster.ask_coordinator(group, |connection| async move {
            committed::commit(&connection, group, &Committer::OUTSIDER, offsets).await
        });
        committed.await.map_err(|error| self.waited(error))
    }

    /// When the first record at or behind each place was written, in milliseconds since the Unix epoch: one small fetch
    /// for each. Left out are places without such a record or without a timestamp, and those whose leader does not
    /// answer; `within` bounds them all together.
    pub async fn record_times(
        &self,
        places: Vec<(TopicPartition, i64)>,
        within: Duration,
    ) -> BTreeMap<TopicPartition, i64> {
        let looks = stream::iter(places).map(|(partition, offset)| async move {
            let found = self.record_time(&partition, offset).await;
            let found = found.inspect_err(|error| tracing::debug!(%partition, offset, %error, "no time of a record"));
            (partition, found.ok().flatten())
        });
        let deadline = tokio::time::sleep(within);
        let found = looks.buffer_unordered(LOOKS_AT_ONCE).take_until(deadline);
        found.filter_map(|(partition, time)| async move { Some((partition, time?)) }).collect().await
    }

    async fn record_time(&self, partition: &TopicPartition, mut offset: i64) -> Result<Option<i64>> {
        for _ in 0..LOOKS {
            let bytes = self.look(partition, offset).await?;
            let found = scan(&bytes, offset).map_err(|error| Error::malformed(partition, error))?;
            if found.whole == 0 {
                return Ok(None);
            }
            // what is open or was rolled back is there, and counts, as it does in the lag
            let mut records = Records::new(bytes.slice(..found.whole), offset, i64::MAX, Vec::new());
            if let Some(record) = records.next()? {
                return Ok(Some(record.timestamp).filter(|time| *time >= 0));
            }
            offset = found.next_offset;
        }
        Ok(None)
    }

    /// What a partition has from this offset on, a little of it.
    async fn look(&self, partition: &TopicPartition, offset: i64) -> Result<bytes::Bytes> {
        let action = || format!("looking at offset {offset} of {partition}");
        let leader = self.cluster.leader(&partition.topic, partition.partition);
        let leader = leader.ok_or_else(|| Error::broker(action(), 5))?;
        let wanted = FetchPartition::default()
            .with_partition(partition.partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(offset)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(LOOK);
        let topic = FetchTopic::default().with_topic(topic_name(&partition.topic)).with_partitions(vec![wanted]);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(0)
            .with_min_bytes(1)
            .with_max_bytes(LOOK)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let response = self.cluster.connection(Role::Control, leader).await?.request::<FetchByName>(request).await?;
        check(action, response.error_code)?;
        let data = response.responses.into_iter().flat_map(|topic| topic.partitions).next();
        let data = data.ok_or_else(|| Error::malformed(action(), "the answer leaves the partition out"))?;
        check(action, data.error_code)?;
        Ok(data.records.unwrap_or_default())
    }
}
