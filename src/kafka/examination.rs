//! What is asked of a broker to find out what is wrong with it. Nothing here changes anything on it.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use kafka_protocol::messages::{
    DescribeQuorumRequest, DescribeQuorumResponse, MetadataRequest, describe_quorum_request,
};

use super::{
    cluster::{Cluster, topic_name, topic_text},
    connection::{Address, ConnectOptions, Connection, Stage},
    coordinator::Coordinated,
    error::{Error, Result, check},
    wire::{
        AddPartitionsToTxn, Api, ConsumerGroupHeartbeat, DescribeQuorum, FetchById, FetchByName, FindCoordinator,
        ListOffsets, Metadata, Produce,
    },
};

/// What a broker says of itself on the way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// How many APIs it has.
    pub apis: usize,
    /// APIs without which nothing works here, by name.
    pub missing: Vec<&'static str>,
    /// What it lacks and much works without, in words.
    pub without: Vec<&'static str>,
}

/// Goes the whole way in, once: TCP, TLS, versions, SASL.
///
/// # Errors
/// As of every connection, with where it stood.
pub async fn knock(address: &Address, options: &ConnectOptions) -> Result<Spoken, (Stage, Error)> {
    let connection = Connection::open_staged(address, options).await?;
    fn lacks<A: Api>(connection: &Connection, name: &'static str) -> Option<&'static str> {
        connection.version::<A>().is_none().then_some(name)
    }
    let fetch = lacks::<FetchById>(&connection, FetchById::NAME).and(lacks::<FetchByName>(&connection, "Fetch"));
    let missing = [
        lacks::<Metadata>(&connection, Metadata::NAME),
        lacks::<Produce>(&connection, Produce::NAME),
        fetch,
        lacks::<ListOffsets>(&connection, ListOffsets::NAME),
        lacks::<FindCoordinator>(&connection, FindCoordinator::NAME),
    ];
    let without = [
        lacks::<AddPartitionsToTxn>(&connection, "transactions"),
        lacks::<FetchById>(&connection, "topic ids"),
        lacks::<ConsumerGroupHeartbeat>(&connection, "groups by KIP-848"),
    ];
    let given = |list: [Option<&'static str>; 5]| list.into_iter().flatten().collect();
    let without = without.into_iter().flatten().collect();
    Ok(Spoken { apis: connection.apis(), missing: given(missing), without })
}

/// What this user may do with a topic that it may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    pub topic: Arc<str>,
    pub read: bool,
    pub write: bool,
}

/// `AclOperation` of Kafka's clients: the number of an operation is its bit.
const READ: u8 = 3;
const WRITE: u8 = 4;

impl Cluster {
    /// What may be done with each topic that is not Kafka's own (KIP-430). `None` where the broker does not tell.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn allowed(&self) -> Result<Option<Vec<Allowed>>> {
        /// From here on metadata can tell.
        const TELLS: i16 = 8;
        if self.any().await?.version::<Metadata>().is_none_or(|version| version < TELLS) {
            return Ok(None);
        }
        let request = MetadataRequest::default().with_topics(None).with_include_topic_authorized_operations(true);
        let response = self.request::<Metadata>(request).await?;
        let told = response.topics.iter().filter(|topic| !topic.is_internal && topic.error_code == 0);
        let allowed: Option<Vec<Allowed>> = told
            .map(|topic| {
                let bits = topic.topic_authorized_operations;
                let may = |operation: u8| bits & (1 << operation) != 0;
                // the least number there is stands for "not told"
                (bits != i32::MIN).then(|| Allowed {
                    topic: topic_text(&topic.name).into(),
                    read: may(READ),
                    write: may(WRITE),
                })
            })
            .collect();
        Ok(allowed)
    }

    /// By how many milliseconds the clock of the cluster's controller is ahead of this machine's (behind it: below 0); 0 is
    /// as near as one can tell. Of the metadata's replicas the leader is told with its current time (KIP-836), so this
    /// writes nothing. `None` where nobody tells: with ZooKeeper, before 3.3, or to who may not describe the cluster.
    ///
    /// # Errors
    /// What a broker refuses for another reason, and those of the connection.
    pub async fn clock_ahead(&self) -> Result<Option<i64>> {
        /// Cluster authorisation failed.
        const NOT_ALLOWED: i16 = 31;
        if self.any().await?.version::<DescribeQuorum>().is_none() {
            return Ok(None);
        }
        let partition = describe_quorum_request::PartitionData::default();
        let topic = describe_quorum_request::TopicData::default().with_topic_name(topic_name("__cluster_metadata"));
        let request = DescribeQuorumRequest::default().with_topics(vec![topic.with_partitions(vec![partition])]);
        let before = now_ms();
        let response = self.request::<DescribeQuorum>(request).await?;
        let after = now_ms();
        if response.error_code == NOT_ALLOWED {
            return Ok(None);
        }
        check(|| "describing the quorum of controllers".to_owned(), response.error_code)?;
        // it was read somewhere between the question and the answer
        Ok(leaders_time(&response).map(|told| told - told.clamp(before, after.max(before))))
    }

    /// The broker that coordinates the group of this name, whether there is one or not. On Apache Kafka the question makes
    /// the topic `__consumer_offsets` where it is not there yet.
    ///
    /// # Errors
    /// A coordinator that is not to be had, a missing permission, and those of the connection.
    pub async fn group_coordinator(&self, group: &str) -> Result<i32> {
        self.coordinator(Coordinated::Group, group).await
    }
}

/// The current time of the metadata's leader, which is the active controller, in milliseconds since 1970.
fn leaders_time(response: &DescribeQuorumResponse) -> Option<i64> {
    let partition = response.topics.first()?.partitions.first()?;
    let leader = partition.current_voters.iter().find(|voter| voter.replica_id == partition.leader_id)?;
    // -1 stands for "not known"
    Some(leader.last_caught_up_timestamp).filter(|&time| time > 0)
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
