//! Servers that a test writes the words for, over TCP.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsResponse, BrokerId, DescribeQuorumResponse, MetadataResponse, RequestHeader, ResponseHeader,
        SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeResponse, TopicName,
        api_versions_response::ApiVersion,
        describe_quorum_response::{PartitionData, ReplicaState, TopicData},
        metadata_response::MetadataResponseBroker,
    },
    protocol::{Decodable, Encodable, StrBytes},
};

/// Accepts, and lets `serve` talk, each connection on a thread of its own. The threads end with the test binary.
pub fn listen(serve: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || {
                let _ = serve(stream); // the client may end first
            });
        }
    });
    address
}

/// What a broker says to a round of SASL.
pub enum Reply {
    /// These bytes of the mechanism.
    Says(Vec<u8>),
    /// Refused, in these words.
    Refuses(String),
    /// Nothing, for ever.
    Silence,
    Close,
}

/// A broker that takes `mechanism` and leaves the exchange to `sasl`: round 0 is the handshake, whose answer is honest
/// where `sasl` says something. Once the exchange is over it has no topics.
pub fn broker<S>(mechanism: &'static str, sasl: impl Fn() -> S + Send + Sync + 'static) -> String
where
    S: FnMut(usize, &[u8]) -> Reply,
{
    broker_that_says(Told::ItsOwnPort, mechanism, sasl)
}

/// What a broker answers to the question where the brokers are.
pub enum Told {
    ItsOwnPort,
    /// This host and port.
    At(&'static str, u16),
    /// It hangs up: nobody has said who they are.
    Nothing,
    /// Its own port, and a controller whose clock is ahead by so many milliseconds.
    Clock(i64),
}

/// The same, and it says where it is as `told` has it.
pub fn broker_that_says<S>(told: Told, mechanism: &'static str, sasl: impl Fn() -> S + Send + Sync + 'static) -> String
where
    S: FnMut(usize, &[u8]) -> Reply,
{
    listen(move |mut stream| {
        let mut sasl = sasl();
        let mut round = 0;
        let own = stream.local_addr()?;
        while let Some((header, body)) = request(&mut stream)? {
            let version = header.request_api_version;
            let api = ApiKey::try_from(header.request_api_key).expect("a request that is known");
            let mut reply = BytesMut::new();
            ResponseHeader::default()
                .with_correlation_id(header.correlation_id)
                .encode(&mut reply, if api == ApiKey::ApiVersions { 0 } else { api.response_header_version(version) })
                .expect("a header");
            match api {
                ApiKey::ApiVersions => encode(&versions(), version, &mut reply),
                ApiKey::Metadata => match told {
                    Told::ItsOwnPort | Told::Clock(_) => {
                        encode(&nothing_at("127.0.0.1", own.port()), version, &mut reply)
                    }
                    Told::At(host, port) => encode(&nothing_at(host, port), version, &mut reply),
                    Told::Nothing => return Ok(()),
                },
                ApiKey::DescribeQuorum => {
                    let Told::Clock(ahead) = told else { return Ok(()) };
                    encode(&quorum(ahead), version, &mut reply);
                }
                ApiKey::SaslHandshake | ApiKey::SaslAuthenticate => {
                    let message = match api {
                        ApiKey::SaslHandshake => Bytes::new(),
                        _ => SaslAuthenticateRequest::decode(&mut body.clone(), version).expect("a round").auth_bytes,
                    };
                    let says = sasl(round, &message);
                    round += 1;
                    let (code, words, bytes) = match says {
                        Reply::Says(bytes) => (0, None, bytes),
                        Reply::Refuses(words) => (58, Some(StrBytes::from_string(words)), Vec::new()),
                        Reply::Silence => loop {
                            thread::park();
                        },
                        Reply::Close => return Ok(()),
                    };
                    if api == ApiKey::SaslHandshake {
                        let mechanisms = vec![StrBytes::from_static_str(mechanism)];
                        // 33: that mechanism is not among them
                        let answer = SaslHandshakeResponse::default().with_error_code(if code == 0 { 0 } else { 33 });
                        encode(&answer.with_mechanisms(mechanisms), version, &mut reply);
                    } else {
                        let answer = SaslAuthenticateResponse::default().with_error_code(code);
                        let answer = answer.with_error_message(words).with_auth_bytes(bytes.into());
                        encode(&answer, version, &mut reply);
                    }
                }
                _ => return Ok(()),
            }
            stream.write_all(&(reply.len() as u32).to_be_bytes())?;
            stream.write_all(&reply)?;
        }
        Ok(())
    })
}

fn request(stream: &mut TcpStream) -> std::io::Result<Option<(RequestHeader, Bytes)>> {
    let mut length = [0; 4];
    if stream.read_exact(&mut length).is_err() {
        return Ok(None);
    }
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    let field = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
    let api = ApiKey::try_from(field(0)).expect("a request that is known");
    let version = api.request_header_version(field(2));
    let mut frame = Bytes::from(frame);
    let header = RequestHeader::decode(&mut frame, version).expect("a header");
    Ok(Some((header, frame)))
}

fn encode(message: &impl Encodable, version: i16, reply: &mut BytesMut) {
    message.encode(reply, version).expect("an honest message");
}

fn versions() -> ApiVersionsResponse {
    let apis = [
        (ApiKey::ApiVersions, 0, 3),
        (ApiKey::Metadata, 4, 12),
        // said, and not kept: nobody gets as far
        (ApiKey::Produce, 3, 11),
        (ApiKey::Fetch, 4, 12),
        (ApiKey::ListOffsets, 1, 8),
        (ApiKey::FindCoordinator, 1, 4),
        (ApiKey::DescribeQuorum, 0, 2),
        (ApiKey::SaslHandshake, 0, 1),
        (ApiKey::SaslAuthenticate, 0, 2),
    ];
    let apis = apis.map(|(key, min, max)| {
        ApiVersion::default().with_api_key(key as i16).with_min_version(min).with_max_version(max)
    });
    ApiVersionsResponse::default().with_api_keys(apis.to_vec())
}

/// Two controllers, of which the second one leads: a follower's time is that of a fetch, and may be old.
fn quorum(ahead: i64) -> DescribeQuorumResponse {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_millis() as i64;
    let voter = |id, time| ReplicaState::default().with_replica_id(BrokerId(id)).with_last_caught_up_timestamp(time);
    let voters = vec![voter(1, now - 86_400_000), voter(2, now + ahead)];
    let partition = PartitionData::default().with_leader_id(BrokerId(2)).with_current_voters(voters);
    let topic = TopicData::default().with_topic_name(TopicName(StrBytes::from_static_str("__cluster_metadata")));
    DescribeQuorumResponse::default().with_topics(vec![topic.with_partitions(vec![partition])])
}

fn nothing_at(host: &'static str, port: u16) -> MetadataResponse {
    let broker = MetadataResponseBroker::default().with_node_id(BrokerId(1)).with_port(port.into());
    let broker = broker.with_host(StrBytes::from_static_str(host));
    MetadataResponse::default().with_brokers(vec![broker]).with_controller_id(BrokerId(1))
}
