//! Topics with several partitions, made by a request of the tests' own, so that no command of the program is needed
//! for it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use bytes::{Buf, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, CreateTopicsRequest, CreateTopicsResponse, RequestHeader, ResponseHeader, TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
    },
    protocol::{Decodable, Encodable, StrBytes},
};

use crate::harness::{brokers, topic};

/// Both brokers speak it.
const VERSION: i16 = 4;

/// A new topic that keeps its records whatever their times.
pub fn topic_with(word: &str, partitions: i32) -> String {
    let name = topic(word);
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let keep = CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("-1")));
    let wanted = CreatableTopic::default()
        .with_name(TopicName(text(&name)))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(vec![keep]);
    let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(30_000);
    let header = RequestHeader::default()
        .with_request_api_key(ApiKey::CreateTopics as i16)
        .with_request_api_version(VERSION)
        .with_correlation_id(1)
        .with_client_id(Some(text("tests")));
    let mut frame = BytesMut::new();
    header.encode(&mut frame, 1).expect("a request's header");
    request.encode(&mut frame, VERSION).expect("a request");

    let address = brokers().split(',').next().expect("a broker");
    let mut stream = TcpStream::connect(address).expect("the broker under test");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
    stream.write_all(&(frame.len() as u32).to_be_bytes()).expect("sending");
    stream.write_all(&frame).expect("sending");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("an answer");
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).expect("an answer");
    let mut answer = answer.as_slice();
    ResponseHeader::decode(&mut answer, 0).expect("an answer's header");
    let response = CreateTopicsResponse::decode(&mut answer, VERSION).expect("an answer");
    assert!(!answer.has_remaining());
    for made in &response.topics {
        assert_eq!(made.error_code, 0, "making {name}: {:?}", made.error_message);
    }
    name
}
