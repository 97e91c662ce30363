//! A fetch as a request.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kafka_protocol::messages::{
    BrokerId, FetchRequest, FetchResponse,
    fetch_request::{FetchPartition, FetchTopic},
};
use uuid::Uuid;

use crate::kafka::{
    cluster::topic_name,
    connection::Connection,
    consumer::ConsumerConfig,
    error::Result,
    record::TopicPartition,
    wire::{FetchById, FetchByName},
};

/// One fetch. Topics go by id where all have one and the broker takes them so, by name otherwise.
pub(super) async fn fetch_once(
    connection: &Connection,
    limit: Duration,
    config: &ConsumerConfig,
    asked: &[(TopicPartition, i64)],
    ids: &HashMap<Arc<str>, Uuid>,
) -> Result<FetchResponse> {
    let by_id = connection.version::<FetchById>().is_some() && ids.values().all(|id| !id.is_nil());
    let mut topics: Vec<FetchTopic> = Vec::new();
    let mut last: Option<&Arc<str>> = None;
    for (key, position) in asked {
        if last != Some(&key.topic) {
            let topic = FetchTopic::default();
            topics.push(if by_id {
                topic.with_topic_id(ids.get(&key.topic).copied().unwrap_or_default())
            } else {
                topic.with_topic(topic_name(&key.topic))
            });
            last = Some(&key.topic);
        }
        let partition = FetchPartition::default()
            .with_partition(key.partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(*position)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(i32::try_from(config.partition_bytes).unwrap_or(i32::MAX));
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(partition);
        }
    }
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(i32::try_from(config.max_wait.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(1)
        .with_max_bytes(i32::try_from(config.answer_bytes).unwrap_or(i32::MAX))
        .with_isolation_level(config.isolation.code())
        .with_session_epoch(-1) // no fetch session: each request says all
        .with_topics(topics);
    if by_id {
        connection.start_within::<FetchById>(request, limit).await?.await
    } else {
        connection.start_within::<FetchByName>(request, limit).await?.await
    }
}
