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

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName, consumer_protocol_assignment,
        consumer_protocol_subscription,
    },
    protocol::{Decodable, Encodable, Message, StrBytes, buf::ByteBuf},
};

use super::{
    super::{
        error::{Error, Result},
        guard::Guarded,
        record::TopicPartition,
    },
    assignor::Assignor,
};

/// The first version that carries the generation of what is owned. Java and librdkafka read it whatever they know
/// themselves: who knows an older version stops earlier.
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
        // Java's assignor looks for the generation here where it does not know version 2. Empty and not null, as librdkafka
        // writes it: Kafka 0.9 cannot read null.
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
        let origin = "a group member's subscription";
        // without the generation: the guard would take a number as high as one may become for a lie about a length
        let (message, version, mut rest) = read::<ConsumerProtocolSubscription>(bytes, 1, origin)?;
        let field = match version {
            2.. => generation_in(&rest.try_get_bytes(4).map_err(|error| Error::malformed(origin, error))?),
            _ => NO_GENERATION,
        };
        // As CooperativeStickyAssignor.java does: the field is believed; where it is missing, the user data.
        let generation = match field {
            NO_GENERATION => message.user_data.as_ref().map_or(NO_GENERATION, generation_in),
            known => known,
        };
        let owned = message.owned_partitions.into_iter().flat_map(|of| spread(of.topic, of.partitions));
        Ok(Self {
            topics: message.topics.iter().map(|topic| Arc::from(topic.as_str())).collect(),
            owned: owned.collect(),
            generation,
        })
    }
}

/// Java's cooperative-sticky has it in the user data and nothing else; what is longer belongs to another assignor.
fn generation_in(bytes: &Bytes) -> i32 {
    <[u8; 4]>::try_from(&**bytes).map_or(NO_GENERATION, i32::from_be_bytes).max(NO_GENERATION)
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
    let highest = ConsumerProtocolAssignment::VERSIONS.max;
    let (message, ..) = read::<ConsumerProtocolAssignment>(bytes, highest, "the group leader's assignment")?;
    Ok(message.assigned_partitions.into_iter().flat_map(|of| spread(of.topic, of.partitions)).collect())
}

fn with_version(version: i16, message: &impl Encodable) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    message.encode(&mut bytes, version).expect("names that the wire can carry, fields that the version has");
    bytes.freeze()
}

/// The fields up to those of version `highest`, the version that the bytes are of, and the bytes that are left. Behind
/// the guard, as answers are: a lie about a length is an error before memory is asked for.
fn read<M: Decodable>(bytes: Bytes, highest: i16, origin: &str) -> Result<(M, i16, Guarded)> {
    let mut bytes = Guarded::new(bytes, false);
    let version = bytes.try_get_i16().map_err(|error| Error::malformed(origin, error))?;
    if version < 0 {
        return Err(Error::malformed(origin, format_args!("version {version}")));
    }
    let message = M::decode(&mut bytes, version.min(highest)).map_err(|error| Error::malformed(origin, error))?;
    Ok((message, version, bytes))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subscription(topics: &[&str], owned: &[(&str, i32)], generation: i32) -> Subscription {
        Subscription {
            topics: topics.iter().map(|&topic| topic.into()).collect(),
            owned: owned.iter().map(|&(topic, partition)| TopicPartition::new(topic, partition)).collect(),
            generation,
        }
    }

    fn decoded(bytes: &[u8]) -> Result<Subscription> {
        Subscription::decode(Bytes::copy_from_slice(bytes))
    }

    /// By hand, after ConsumerProtocolSubscription.json; each field is there from a version on.
    const TOPICS: &[u8] = b"\0\0\0\x02\0\x01a\0\x02bc";
    const NULL: &[u8] = b"\xff\xff\xff\xff";
    const OWNED: &[u8] = b"\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07";
    const GENERATION: &[u8] = b"\0\0\0\x05";
    const RACK: &[u8] = b"\0\x01r";

    #[test]
    fn each_version_is_read_as_kafka_writes_it() {
        let owned = [("a", 0), ("a", 7)];
        let cases: [(&[&[u8]], _); 4] = [
            (&[b"\0\0", TOPICS, NULL], subscription(&["a", "bc"], &[], -1)),
            (&[b"\0\x01", TOPICS, NULL, OWNED], subscription(&["a", "bc"], &owned, -1)),
            (&[b"\0\x02", TOPICS, NULL, OWNED, GENERATION], subscription(&["a", "bc"], &owned, 5)),
            (&[b"\0\x03", TOPICS, NULL, OWNED, GENERATION, RACK], subscription(&["a", "bc"], &owned, 5)),
        ];
        for (parts, expected) in cases {
            assert_eq!(decoded(&parts.concat()).expect("a version"), expected);
        }
    }

    #[test]
    fn a_newer_version_is_read_as_far_as_it_is_known_and_bytes_behind_are_borne() {
        let expected = subscription(&["a", "bc"], &[("a", 0), ("a", 7)], 5);
        let newer = [b"\x01\0", TOPICS, NULL, OWNED, GENERATION, RACK, b"new"].concat();
        assert_eq!(decoded(&newer).expect("version 256"), expected);
        // librdkafka writes all the fields that it knows under version 1
        let older = [b"\0\x01", TOPICS, NULL, OWNED, GENERATION, NULL].concat();
        assert_eq!(decoded(&older).expect("version 1"), Subscription { generation: -1, ..expected });
        assert!(decoded(&[b"\xff\xff", TOPICS, NULL].concat()).is_err());
    }

    #[test]
    fn the_generation_in_the_user_data_counts_where_the_field_is_missing() {
        let user_data = b"\0\0\0\x04\0\0\0\x09";
        let generation = |parts: &[&[u8]]| decoded(&parts.concat()).expect("a subscription").generation;
        assert_eq!(generation(&[b"\0\x01", TOPICS, user_data, OWNED]), 9);
        assert_eq!(generation(&[b"\0\x02", TOPICS, user_data, OWNED, GENERATION]), 5);
        assert_eq!(generation(&[b"\0\x02", TOPICS, user_data, OWNED, NULL]), 9);
        // another assignor's: the eager sticky one begins with a count
        assert_eq!(generation(&[b"\0\x01", TOPICS, b"\0\0\0\x08\0\0\0\0\0\0\0\x09", OWNED]), -1);
        assert_eq!(generation(&[b"\0\x01", TOPICS, b"\0\0\0\x04\x80\0\0\0", OWNED]), -1);
    }

    #[test]
    fn what_is_written_is_version_two_sorted_with_each_topic_once() {
        let given = subscription(&["bc", "a"], &[("a", 0), ("b", 1), ("a", 7)], 5);
        let owned = b"\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07\0\x01b\0\0\0\x01\0\0\0\x01";
        let cooperative = [b"\0\x02", TOPICS, b"\0\0\0\x04", GENERATION, owned, GENERATION].concat();
        assert_eq!(given.encode(Assignor::CooperativeSticky), cooperative);
        let eager = [b"\0\x02", TOPICS, b"\0\0\0\0", owned, GENERATION].concat();
        assert_eq!(given.encode(Assignor::Range), eager);
    }

    #[test]
    fn an_assignment_comes_back_and_no_bytes_are_no_partitions() {
        let given = [TopicPartition::new("a", 3), TopicPartition::new("b", 1), TopicPartition::new("a", 0)];
        let bytes = encode_assignment(&given);
        assert_eq!(bytes, &b"\0\0\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\x03\0\0\0\0\0\x01b\0\0\0\x01\0\0\0\x01\0\0\0\0"[..]);
        let back = decode_assignment(bytes).expect("an assignment");
        assert_eq!(back, [given[0].clone(), given[2].clone(), given[1].clone()]);
        assert_eq!(decode_assignment(Bytes::new()).expect("nothing"), []);
        // Java: version 3, null user data
        let java = [b"\0\x03", OWNED, NULL].concat();
        let java = decode_assignment(java.into()).expect("Java's");
        assert_eq!(java, [TopicPartition::new("a", 0), TopicPartition::new("a", 7)]);
    }

    #[test]
    fn a_lie_about_a_length_is_an_error() {
        let most = b"\x7f\xff\xff\xff";
        assert!(decoded(&[b"\0\0", &most[..]].concat()).is_err());
        assert!(decoded(&[b"\0\x01", TOPICS, most, OWNED].concat()).is_err());
        assert!(decoded(&[b"\0\x01", TOPICS, NULL, most, b"\0\x01a"].concat()).is_err());
        assert!(decoded(&[b"\0\x01", TOPICS, NULL, b"\0\0\0\x01\0\x01a", most].concat()).is_err());
        assert!(decoded(&[b"\0\0", NULL].concat()).is_err(), "topics cannot be null");
        assert!(decode_assignment([b"\0\0", &most[..]].concat().into()).is_err());
    }

    #[test]
    fn a_name_that_the_wire_cannot_carry_is_left_out() {
        let long = "x".repeat(40_000);
        let given = subscription(&[&long, "a"], &[(&long, 1)], 1);
        let read = Subscription::decode(given.encode(Assignor::Range)).expect("a subscription");
        assert_eq!(read, subscription(&["a"], &[], 1));
    }

    proptest! {
        #[test]
        fn any_subscription_comes_back(
            topics in proptest::collection::btree_set("[a-z]{1,9}", 0..6),
            owned in proptest::collection::btree_set(("[a-z]{1,3}", 0..50i32), 0..20),
            generation in -1..i32::MAX,
            cooperative: bool,
        ) {
            let given = Subscription {
                topics: topics.iter().map(|topic| topic.as_str().into()).collect(),
                owned: owned.iter().map(|(topic, partition)| TopicPartition::new(topic.as_str(), *partition)).collect(),
                generation,
            };
            let assignor = if cooperative { Assignor::CooperativeSticky } else { Assignor::RoundRobin };
            prop_assert_eq!(Subscription::decode(given.encode(assignor)).expect("our own bytes"), given);
        }

        #[test]
        fn any_bytes_are_an_answer_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0..60usize) {
            let _ = decoded(&bytes);
            let _ = decode_assignment(bytes.into());
            let whole = [b"\0\x03", TOPICS, NULL, OWNED, GENERATION].concat();
            let cut = cut.min(whole.len() - 1);
            prop_assert!(decoded(&whole[..cut]).is_err(), "cut at {}", cut);
        }
    }
}
