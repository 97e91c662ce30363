//! A broker of few words: honest up to the answer under test.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsResponse, BrokerId, FetchResponse, InitProducerIdResponse, ListOffsetsResponse,
        MetadataResponse, ProduceResponse, ProducerId, TopicName,
        api_versions_response::ApiVersion,
        fetch_response::{FetchableTopicResponse, PartitionData},
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
    protocol::{Encodable, StrBytes},
};

/// What it says.
#[derive(Clone, Debug)]
pub enum Speech {
    /// Accepts and never answers.
    Silence,
    Close,
    /// These bytes, whatever was asked.
    Raw(Vec<u8>),
    /// Honest about its versions; then this body to a metadata request.
    Metadata {
        max_version: i16,
        answer: Vec<u8>,
    },
    /// A topic of this name with an error.
    TopicError(String),
    /// Honest, with these records in partition 0 of topic `t`.
    Fetch(Vec<u8>),
    /// Honest, but for this body to a produce request.
    Produce(Vec<u8>),
    /// Honest, and refuses whatever is produced with this code.
    Refuse(i16),
}

pub struct Broker {
    pub address: String,
}

impl Broker {
    /// Its thread ends with the test binary.
    pub fn start(speech: Speech) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let speech = speech.clone();
                thread::spawn(move || {
                    let _ = serve(stream, &speech, port); // the client may end first
                });
            }
        });
        Self { address: format!("127.0.0.1:{port}") }
    }
}

fn serve(mut stream: TcpStream, speech: &Speech, port: u16) -> std::io::Result<()> {
    if matches!(speech, Speech::Close) {
        return Ok(());
    }
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request)?;
        let field = |at: usize| i16::from_be_bytes([request[at], request[at + 1]]);
        let (key, version) = (field(0), field(2));
        match speech {
            Speech::Silence => continue,
            Speech::Raw(bytes) => {
                stream.write_all(bytes)?;
                continue;
            }
            _ => {}
        }
        let mut frame = BytesMut::new();
        frame.put_slice(&request[4..8]); // the correlation id
        let body = answer(speech, key, version, &request, port);
        if flexible(key, version) {
            frame.put_u8(0); // no tagged fields in the header
        }
        frame.put_slice(&body);
        stream.write_all(&(frame.len() as u32).to_be_bytes())?;
        stream.write_all(&frame)?;
    }
}

/// Whether the answer's header has tagged fields.
fn flexible(key: i16, version: i16) -> bool {
    match ApiKey::try_from(key) {
        Ok(ApiKey::ApiVersions) | Err(()) => false,
        Ok(api) => api.response_header_version(version) > 0,
    }
}

fn answer(speech: &Speech, key: i16, version: i16, request: &[u8], port: u16) -> Bytes {
    match ApiKey::try_from(key) {
        Ok(ApiKey::ApiVersions) => encode(&versions(speech), version),
        Ok(ApiKey::Metadata) => match speech {
            Speech::Metadata { answer, .. } => answer.clone().into(),
            Speech::TopicError(name) => encode(&metadata(port, name, 17), version),
            _ => encode(&metadata(port, "t", 0), version),
        },
        Ok(ApiKey::ListOffsets) => encode(&offsets(request), version),
        Ok(ApiKey::InitProducerId) => {
            encode(&InitProducerIdResponse::default().with_producer_id(ProducerId(1)).with_producer_epoch(0), version)
        }
        Ok(ApiKey::Produce) => match speech {
            Speech::Produce(answer) => answer.clone().into(),
            Speech::Refuse(code) => encode(&refusal(*code), version),
            _ => Bytes::new(),
        },
        Ok(ApiKey::Fetch) => match speech {
            Speech::Fetch(records) => encode(&fetched(records), version),
            _ => Bytes::new(),
        },
        _ => Bytes::new(),
    }
}

fn encode(message: &impl Encodable, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes, version).expect("an honest message");
    bytes.freeze()
}

fn versions(speech: &Speech) -> ApiVersionsResponse {
    let max_metadata = match speech {
        Speech::Metadata { max_version, .. } => *max_version,
        _ => 12,
    };
    let apis = [
        (ApiKey::Produce, 3, 9),
        (ApiKey::Fetch, 4, 12),
        (ApiKey::ListOffsets, 1, 7),
        (ApiKey::Metadata, 4, max_metadata),
        (ApiKey::ApiVersions, 0, 3),
        (ApiKey::InitProducerId, 0, 4),
    ];
    let apis = apis.map(|(key, min, max)| {
        ApiVersion::default().with_api_key(key as i16).with_min_version(min).with_max_version(max)
    });
    ApiVersionsResponse::default().with_api_keys(apis.to_vec())
}

fn metadata(port: u16, topic: &str, error: i16) -> MetadataResponse {
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(1))
        .with_host(StrBytes::from_static_str("127.0.0.1"))
        .with_port(port.into());
    let partition = MetadataResponsePartition::default().with_leader_id(BrokerId(1));
    let topic = MetadataResponseTopic::default()
        .with_error_code(error)
        .with_name(Some(name(topic)))
        .with_partitions(if error == 0 { vec![partition] } else { Vec::new() });
    MetadataResponse::default().with_brokers(vec![broker]).with_controller_id(BrokerId(1)).with_topics(vec![topic])
}

fn name(text: &str) -> TopicName {
    TopicName(StrBytes::from_string(text.to_owned()))
}

/// From 0 to 1,000,000. The end is asked for by timestamp -1 behind leader epoch -1: twelve bytes of 0xff, one more than
/// the start's -2 has.
fn offsets(request: &[u8]) -> ListOffsetsResponse {
    let end = request.windows(12).any(|window| window == [0xff; 12]);
    let offset = if end { 1_000_000 } else { 0 };
    let partition = ListOffsetsPartitionResponse::default().with_offset(offset);
    let topic = ListOffsetsTopicResponse::default().with_name(name("t"));
    ListOffsetsResponse::default().with_topics(vec![topic.with_partitions(vec![partition])])
}

fn fetched(records: &[u8]) -> FetchResponse {
    let partition = PartitionData::default()
        .with_high_watermark(1_000_000)
        .with_last_stable_offset(1_000_000)
        .with_records(Some(Bytes::copy_from_slice(records)));
    let topic = FetchableTopicResponse::default().with_topic(name("t")).with_partitions(vec![partition]);
    FetchResponse::default().with_responses(vec![topic])
}

fn refusal(code: i16) -> ProduceResponse {
    let partition = PartitionProduceResponse::default().with_error_code(code).with_base_offset(-1);
    let topic = TopicProduceResponse::default().with_name(name("t")).with_partition_responses(vec![partition]);
    ProduceResponse::default().with_responses(vec![topic])
}

/// A batch at offset 0 with these values, by hand: nothing of the code under test made it.
pub fn batch(values: &[&[u8]]) -> Vec<u8> {
    let mut records = Vec::new();
    for (index, value) in values.iter().enumerate() {
        // attributes, two deltas, null key, value, no headers; all lengths here fit into one varint byte
        let body = [&[0, 0, (index * 2) as u8, 1, (value.len() * 2) as u8][..], value, &[0]].concat();
        records.push((body.len() * 2) as u8);
        records.extend(body);
    }
    assemble(0, values.len() as i32, &records)
}

/// A batch that claims one record and unpacks to `size` zeros.
pub fn compressed(codec: i16, size: usize) -> Vec<u8> {
    let zeros = vec![0; size];
    let packed = match codec {
        1 => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&zeros).expect("memory");
            encoder.finish().expect("memory")
        }
        2 => snap::raw::Encoder::new().compress_vec(&zeros).expect("memory"),
        3 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(&zeros).expect("memory");
            encoder.finish().expect("memory")
        }
        _ => zstd::encode_all(&zeros[..], 1).expect("memory"),
    };
    assemble(codec, 1, &packed)
}

fn assemble(attributes: i16, count: i32, records: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_i64(0);
    bytes.put_i32(49 + records.len() as i32);
    bytes.put_i32(-1);
    bytes.put_i8(2);
    bytes.put_u32(0);
    bytes.put_i16(attributes);
    bytes.put_i32(count - 1);
    bytes.put_i64(1_700_000_000_000);
    bytes.put_i64(1_700_000_000_000);
    bytes.put_i64(-1);
    bytes.put_i16(-1);
    bytes.put_i32(-1);
    bytes.put_i32(count);
    bytes.extend_from_slice(records);
    with_crc(bytes)
}

pub fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}
