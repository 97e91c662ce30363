//! What a test asks of a broker beside the program under test: a request, an answer, one connection each.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, MetadataRequest, MetadataResponse,
        RequestHeader, TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
        metadata_request::MetadataRequestTopic,
    },
    protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes},
};

const LIMIT: Duration = Duration::from_secs(20);

/// Sends one request to one broker.
pub fn ask<R: Request + Encodable + HeaderVersion>(broker: &str, request: &R, version: i16) -> io::Result<R::Response>
where
    R::Response: Decodable + HeaderVersion,
{
    let mut bytes = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(1)
        .with_client_id(Some(StrBytes::from_static_str("test")));
    header.encode(&mut bytes, R::header_version(version)).map_err(io::Error::other)?;
    request.encode(&mut bytes, version).map_err(io::Error::other)?;

    let mut stream = TcpStream::connect(broker)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(&(bytes.len() as u32).to_be_bytes())?;
    stream.write_all(&bytes)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer)?;
    let mut answer = Bytes::from(answer);
    let header = R::Response::header_version(version);
    kafka_protocol::messages::ResponseHeader::decode(&mut answer, header).map_err(io::Error::other)?;
    R::Response::decode(&mut answer, version).map_err(io::Error::other)
}

/// Asks again until `good` finds what it looks for; fails at the deadline.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut good: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = good() {
            return found;
        }
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// The first broker of a list.
pub fn first(brokers: &str) -> &str {
    brokers.split(',').next().unwrap_or(brokers)
}

/// Makes a topic, and waits until every broker of the list knows the leaders of all its partitions.
#[track_caller]
pub fn create_topic(brokers: &str, name: &str, partitions: i32, replicas: i16, configs: &[(&str, &str)]) {
    let configs = configs
        .iter()
        .map(|(key, value)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string((*key).to_owned()))
                .with_value(Some(StrBytes::from_string((*value).to_owned())))
        })
        .collect();
    let topic = CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(replicas)
        .with_configs(configs);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(15_000);
    let answer = ask(first(brokers), &request, 5).expect("CreateTopics");
    let made = &answer.topics[0];
    assert_eq!(made.error_code, 0, "making {name}: {:?}", made.error_message);
    for broker in brokers.split(',') {
        until(&format!("{broker} knows {name}"), LIMIT, || {
            let leaders = leaders(broker, name)?;
            (leaders.len() == partitions as usize && leaders.iter().all(|&leader| leader >= 0)).then_some(())
        });
    }
}

pub fn metadata(broker: &str, topic: &str) -> io::Result<MetadataResponse> {
    let wanted = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
    let request = MetadataRequest::default().with_topics(Some(vec![wanted])).with_allow_auto_topic_creation(false);
    ask(broker, &request, 8)
}

/// The leader of each partition as this broker sees it, -1 where there is none.
pub fn leaders(broker: &str, topic: &str) -> Option<Vec<i32>> {
    let answer = metadata(broker, topic).ok()?;
    let topic = answer.topics.into_iter().next().filter(|topic| topic.error_code == 0 || topic.error_code == 5)?;
    let mut partitions = topic.partitions;
    partitions.sort_by_key(|partition| partition.partition_index);
    Some(partitions.iter().map(|partition| partition.leader_id.0).collect())
}

/// Deletes a topic, and waits until the broker has forgotten it.
#[track_caller]
pub fn delete_topic(broker: &str, name: &str) {
    let request = DeleteTopicsRequest::default().with_topic_names(vec![topic_name(name)]).with_timeout_ms(15_000);
    let answer = ask(broker, &request, 4).expect("DeleteTopics");
    assert_eq!(answer.responses[0].error_code, 0, "deleting {name}");
    until(&format!("{name} is gone"), LIMIT, || {
        (metadata(broker, name).ok()?.topics.first()?.error_code == 3).then_some(())
    });
}

/// Deletes the records before `offset` of partition 0; -1 is all.
#[track_caller]
pub fn delete_records(broker: &str, topic: &str, offset: i64) {
    let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(15_000);
    let answer = ask(broker, &request, 2).expect("DeleteRecords");
    assert_eq!(answer.topics[0].partitions[0].error_code, 0, "deleting records");
}
