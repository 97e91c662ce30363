//! What an answer to a fetch means for each partition: records, a gap, an end, or trouble.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::FutureExt;
use kafka_protocol::{
    error::ResponseError as E,
    messages::fetch_response::{AbortedTransaction, PartitionData},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Answered, Event, Fetcher, IDLE_PAUSE, STUCK, WHOLE};
use crate::kafka::{
    batch::{Aborted, Records, scan},
    consumer::{Chunk, Fetched, Item, Notice, OffsetReset},
    error::{Code, Error, Result},
    list_offsets::Isolation,
    offset::Offset,
    record::TopicPartition,
};

impl Fetcher {
    pub(super) async fn answered(&mut self, answered: Answered) -> Result<(), Option<Error>> {
        self.busy.remove(&answered.node);
        match (&answered.result, &answered.connection) {
            (Ok(_), _) => self.portion = (self.portion + 1).min(WHOLE),
            (Err(_), Some(_)) => self.portion = (self.portion / 2).max(1),
            (Err(_), None) => {} // nothing was asked for
        }
        self.connections.extend(answered.connection.map(|connection| (answered.node, connection)));
        let response = match answered.result {
            Ok(response) if response.error_code == 0 => response,
            Ok(response) => return self.trouble(Error::broker("fetching", response.error_code)).await,
            Err(error) => return self.trouble(error).await,
        };
        self.works().await?;
        let any = response.responses.iter().flat_map(|topic| &topic.partitions).any(has_bytes);
        if !any {
            let at_once = answered.began.elapsed() < self.config.max_wait / 2;
            let throttled = Duration::from_millis(response.throttle_time_ms.max(0) as u64);
            if at_once || !throttled.is_zero() {
                self.resting.insert(answered.node, Instant::now() + IDLE_PAUSE.max(throttled));
            }
        }
        let quiet = !any && response.throttle_time_ms == 0;
        let mut by_id: HashMap<Uuid, Arc<str>> = HashMap::new();
        for (key, _) in &answered.asked {
            if let Some(partition) = self.partitions.get(key) {
                by_id.insert(partition.topic_id, Arc::clone(&key.topic));
            }
        }
        let positions: HashMap<TopicPartition, i64> = answered.asked.into_iter().collect();
        let mut pieces = Vec::new();
        for topic in response.responses {
            let name: Arc<str> = match by_id.get(&topic.topic_id) {
                Some(name) if topic.topic.is_empty() => Arc::clone(name),
                _ => topic.topic.as_str().into(),
            };
            pieces.extend(
                topic
                    .partitions
                    .into_iter()
                    .map(|data| (TopicPartition::new(Arc::clone(&name), data.partition_index), data)),
            );
        }
        // All positions move before the first piece is handed on, so that the next fetch is on its way while the
        // reader works on this one.
        let mut ready = Vec::new();
        for (key, data) in pieces {
            let asked_at = positions.get(&key).copied();
            let still_there = self.partitions.get(&key).is_some_and(|p| Some(p.position) == asked_at);
            if still_there {
                self.take(key, data, quiet, &mut ready).await?;
            }
        }
        self.fetch();
        self.hand_out_all(ready).await
    }

    /// One partition's part of an answer.
    async fn take(
        &mut self,
        key: TopicPartition,
        data: PartitionData,
        quiet: bool,
        ready: &mut Vec<Item>,
    ) -> Result<(), Option<Error>> {
        if data.error_code != 0 {
            return self.partition_trouble(key, data.error_code, ready).await;
        }
        let Some(partition) = self.partitions.get_mut(&key) else { return Ok(()) };
        let claim = partition.claim;
        partition.gone_since = None;
        let from = partition.position;
        let end = match self.config.isolation {
            Isolation::ReadCommitted if data.last_stable_offset >= 0 => data.last_stable_offset,
            _ => data.high_watermark,
        };
        let until = partition.until.unwrap_or(i64::MAX);
        let bytes = data.records.unwrap_or_default();
        let found = scan(&bytes, from).map_err(|error| Some(Error::malformed(&key, error)))?;
        if found.missing > 0 {
            ready.push(Item::notice(claim, Notice::Gap { partition: key.clone(), at: from, missing: found.missing }));
        }
        if found.whole > 0 {
            partition.empty = 0;
            partition.position = found.next_offset;
            let aborted = match self.config.isolation {
                Isolation::ReadUncommitted => Vec::new(),
                Isolation::ReadCommitted => aborted(&data.aborted_transactions.unwrap_or_default()),
            };
            let records = Records::new(bytes.slice(..found.whole), from, until, aborted);
            let next_offset = found.next_offset.min(until);
            let chunk = Chunk { partition: key.clone(), end, next_offset, records };
            ready.push(Item { claim, fetched: Fetched::Records(chunk) });
        } else if !bytes.is_empty() {
            // a cut batch and nothing else: brokers send at least one whole batch
            return Err(Some(Error::malformed(&key, "a fetch answer without one whole batch")));
        } else if quiet && from < end {
            // Compaction may have emptied the log's tail: nothing will ever come from here.
            partition.empty += 1;
            if partition.empty >= STUCK {
                partition.empty = 0;
                partition.position = end;
                let missing = from.abs_diff(end);
                ready.push(Item::notice(claim, Notice::Gap { partition: key.clone(), at: from, missing }));
            }
        }
        if partition.position >= end && !partition.caught_up {
            partition.caught_up = true;
            ready.push(Item::notice(claim, Notice::CaughtUp { partition: key.clone(), end }));
        }
        if partition.is_finished() {
            self.partitions.remove(&key);
            ready.push(Item::notice(claim, Notice::Finished { partition: key }));
        }
        Ok(())
    }

    async fn partition_trouble(
        &mut self,
        key: TopicPartition,
        code: i16,
        ready: &mut Vec<Item>,
    ) -> Result<(), Option<Error>> {
        let pause = Instant::now() + self.backoff.pause();
        let Some(partition) = self.partitions.get_mut(&key) else { return Ok(()) };
        partition.not_before = pause;
        match Code(code).known() {
            Some(E::OffsetOutOfRange) => {
                // until the answer comes it must not be fetched again
                partition.not_before = Instant::now() + self.cluster.options().request_timeout;
                self.ask_reset(key);
                Ok(())
            }
            Some(E::UnknownTopicOrPartition | E::UnknownTopicId | E::InconsistentTopicId) => {
                self.metadata_wanted = true;
                self.topic_gone(key, ready)
            }
            Some(error) if error.is_retriable() => {
                tracing::debug!(partition = %key, %error, "looking for the leader");
                self.metadata_wanted = true;
                Ok(())
            }
            _ => Err(Some(Error::broker(format!("fetching {key}"), code))),
        }
    }

    /// The broker does not know the topic: deleted, or deleted and made again.
    pub(super) fn topic_gone(&mut self, key: TopicPartition, ready: &mut Vec<Item>) -> Result<(), Option<Error>> {
        let known = self.cluster.known(&key.topic);
        let patience = self.config.topic_patience;
        let Some(partition) = self.partitions.get_mut(&key) else { return Ok(()) };
        let since = *partition.gone_since.get_or_insert_with(Instant::now);
        match known {
            Some(topic) if topic.id != partition.topic_id => {
                if key.partition >= topic.count() {
                    let (topic, count) = (Arc::clone(&topic.name), topic.count());
                    return Err(Some(Error::UnknownPartition { topic, partition: key.partition, count }));
                }
                // the offsets of the old topic mean nothing in the new one
                partition.topic_id = topic.id;
                partition.gone_since = None;
                partition.position = 0;
                partition.not_before = Instant::now();
                let notice = Notice::Recreated { topic: Arc::clone(&key.topic) };
                let is_it = |item: &Item| matches!(&item.fetched, Fetched::Notice(told) if *told == notice);
                if !ready.iter().any(is_it) {
                    ready.push(Item::notice(0, notice));
                }
                if self.config.offset_reset != OffsetReset::Earliest {
                    self.ask_reset(key);
                }
                Ok(())
            }
            _ if since.elapsed() > patience => Err(Some(Error::UnknownTopic { topic: key.topic })),
            _ => Ok(()),
        }
    }

    fn ask_reset(&mut self, key: TopicPartition) {
        let (cluster, isolation) = (self.cluster.clone(), self.config.isolation);
        let place = match self.config.offset_reset {
            OffsetReset::Latest => Offset::End,
            OffsetReset::Earliest | OffsetReset::Error => Offset::Start,
        };
        self.events.push(
            async move {
                let resolved = cluster.resolve(&[(key.clone(), place)], isolation).await;
                Event::Reset(key, resolved.map(|offsets| offsets.first().copied().unwrap_or(0)))
            }
            .boxed(),
        );
    }

    pub(super) async fn reset(&mut self, key: TopicPartition, result: Result<i64>) -> Result<(), Option<Error>> {
        let to = match result {
            Ok(to) => to,
            Err(error) if error.is_transient() => {
                self.ask_reset(key);
                return self.trouble(error).await;
            }
            Err(error) => return Err(Some(error)),
        };
        let Some(partition) = self.partitions.get_mut(&key) else { return Ok(()) };
        let from = std::mem::replace(&mut partition.position, to);
        partition.not_before = Instant::now();
        if self.config.offset_reset == OffsetReset::Error {
            let end = self.cluster.resolve(&[(key.clone(), Offset::End)], self.config.isolation).await.map_err(Some)?;
            let end = end.first().copied().unwrap_or(to);
            return Err(Some(Error::OffsetOutOfRange { partition: key, offset: from, start: to, end }));
        }
        let (claim, finished) = (partition.claim, partition.is_finished());
        self.hand_out(Item::notice(claim, Notice::Reset { partition: key.clone(), from, to })).await?;
        if finished {
            self.partitions.remove(&key);
            self.hand_out(Item::notice(claim, Notice::Finished { partition: key })).await?;
        }
        Ok(())
    }
}

fn has_bytes(data: &PartitionData) -> bool {
    data.records.as_ref().is_some_and(|bytes| !bytes.is_empty())
}

fn aborted(list: &[AbortedTransaction]) -> Vec<Aborted> {
    list.iter()
        .map(|aborted| Aborted { producer_id: aborted.producer_id.0, first_offset: aborted.first_offset })
        .collect()
}
