//! What members of a group tell each other through the coordinator, which passes it on unread.
//!
//! ```text
//! member   -- Subscription (topics, what it owns) -->  coordinator  -->  leader
//! leader   -- assignment (partitions), one a member -> coordinator  -->  member
//! ```
//!
//! The bytes are those of Kafka's `ConsumerProtocol.java`: a version, then the fields. A newer version only adds fields
//! at the end, so it is read as far as it is known, and bytes behind the known fields are borne.

use std::{collections::BTreeMap, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName, consumer_protocol_assignment,
        consumer_protocol_subscription,
    },
    protocol::{Decodable, Encodable, Message, StrBytes},
};

use super::{
    super::{
        error::{Error, Result},
        guard::Guarded,
        record::TopicPartition,
    },
    assignor::Assignor,
};

/// The first version that carries the generation of what is owned. Java since 0.9 and librdkafka read it: who knows an
/// older version only stops earlier.
const SUBSCRIPTION_VERSION: i16 = 2;
/// All versions so far have the same fields.
const ASSIGNMENT_VERSION: i16 = 0;
const NO_GENERATION: i32 = -1;

/// What a member wants and has, as JoinGroup carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub topics: Vec<Arc<str>>,
    pub owned: Vec<TopicPartition>,
    /// In which `owned` was assigned; -1 without one.
    pub generation: i32,
}

impl Subscription {
    pub(crate) fn encode(&self, assignor: Assignor) -> Bytes {
        let mut topics = self.topics.clone();
        topics.sort_unstable();
        let owned = by_topic(&self.owned).map(|(topic, partitions)| {
            consumer_protocol_subscription::TopicPartition::default().with_topic(topic).with_partitions(partitions)
        });
        // Java's assignor before 3.3 looks for the generation here. Empty and not null, which Kafka 0.9 could not read.
        let user_data = if assignor.is_cooperative() {
            Bytes::copy_from_slice(&self.generation.to_be_bytes())
        } else {
            Bytes::new()
        };
        let message = ConsumerProtocolSubscription::default()
            .with_topics(topics.iter().filter_map(on_the_wire).collect())
            .with_user_data(Some(user_data))
            .with_owned_partitions(owned.collect())
            .with_generation_id(self.generation);
        with_version(SUBSCRIPTION_VERSION, &message)
    }

    /// # Errors
    /// `Malformed`: the bytes are no subscription of a consumer. The coordinator does not check what members send.
    pub(crate) fn decode(bytes: Bytes) -> Result<Self> {
        let message: ConsumerProtocolSubscription = read(bytes, "a group member's subscription")?;
        let owned = message.owned_partitions.into_iter().flat_map(|of| spread(of.topic, of.partitions));
        // As CooperativeStickyAssignor.java does: the field is believed; where it is missing, the user data.
        let generation = match message.generation_id {
            0.. => message.generation_id,
            _ => message.user_data.map_or(NO_GENERATION, generation_in),
        };
        Ok(Self {
            topics: message.topics.iter().map(|topic| Arc::from(topic.as_str())).collect(),
            owned: owned.collect(),
            generation,
        })
    }
}

/// Java's cooperative-sticky has the generation there and nothing else; what is longer belongs to another assignor.
fn generation_in(user_data: Bytes) -> i32 {
    <[u8; 4]>::try_from(&*user_data).map_or(NO_GENERATION, i32::from_be_bytes).max(NO_GENERATION)
}

/// A member's partitions, as the leader sends them with SyncGroup.
pub(crate) fn encode_assignment(partitions: &[TopicPartition]) -> Bytes {
    let assigned = by_topic(partitions).map(|(topic, partitions)| {
        consumer_protocol_assignment::TopicPartition::default().with_topic(topic).with_partitions(partitions)
    });
    let message = ConsumerProtocolAssignment::default()
        .with_assigned_partitions(assigned.collect())
        .with_user_data(Some(Bytes::new()));
    with_version(ASSIGNMENT_VERSION, &message)
}

/// No bytes at all are no partitions: what a coordinator sends to a member that the leader left out.
///
/// # Errors
/// `Malformed`: the bytes are no assignment of a consumer.
pub(crate) fn decode_assignment(bytes: Bytes) -> Result<Vec<TopicPartition>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let message: ConsumerProtocolAssignment = read(bytes, "the group leader's assignment")?;
    Ok(message.assigned_partitions.into_iter().flat_map(|of| spread(of.topic, of.partitions)).collect())
}

fn with_version(version: i16, message: &impl Encodable) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    message.encode(&mut bytes, version).expect("names that the wire can carry, fields that the version has");
    bytes.freeze()
}

/// Behind the guard, as answers are: a lie about a length is an error before memory is asked for.
fn read<M: Message + Decodable>(bytes: Bytes, origin: &str) -> Result<M> {
    let mut bytes = Guarded::new(bytes, false);
    let version = bytes::Buf::try_get_i16(&mut bytes).map_err(|error| Error::malformed(origin, error))?;
    if version < M::VERSIONS.min {
        return Err(Error::malformed(origin, format_args!("version {version}")));
    }
    M::decode(&mut bytes, version.min(M::VERSIONS.max)).map_err(|error| Error::malformed(origin, error))
}

fn spread(topic: TopicName, partitions: Vec<i32>) -> impl Iterator<Item = TopicPartition> {
    let topic: Arc<str> = topic.as_str().into();
    partitions.into_iter().map(move |partition| TopicPartition::new(topic.clone(), partition))
}

/// Each topic once, in order: Java reads the list into a map.
fn by_topic(partitions: &[TopicPartition]) -> impl Iterator<Item = (TopicName, Vec<i32>)> {
    let mut topics = BTreeMap::<&Arc<str>, Vec<i32>>::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    topics.into_iter().filter_map(|(topic, partitions)| Some((TopicName(on_the_wire(topic)?), partitions)))
}

/// A name too long for its 16-bit length is no topic's name: Kafka's have 249 characters at most.
fn on_the_wire(name: &Arc<str>) -> Option<StrBytes> {
    i16::try_from(name.len()).is_ok().then(|| StrBytes::from_string(name.to_string()))
}
