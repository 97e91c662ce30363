//! Topics: what there is, what is in them, and changing it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::kafka::{
    Address, Admin, Cluster, Code, ConfigEntry, ConnectOptions, Error, Isolation, NewTopic, Offset, Partition, Shape,
    Topic, TopicPartition,
};

/// A broker that is down must not hold up the description of what the others know: that is when it is asked for.
const OFFSETS_WITHIN: Duration = Duration::from_secs(5);

/// A topic in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub name: Arc<str>,
    pub internal: bool,
    pub shape: Shape,
    /// Partitions that nobody leads: they can be neither read nor written.
    pub without_leader: usize,
    /// Partitions with replicas that are behind.
    pub under_replicated: usize,
}

impl From<&Topic> for Summary {
    fn from(topic: &Topic) -> Self {
        let count = |is: fn(&Partition) -> bool| topic.partitions.iter().filter(|partition| is(partition)).count();
        Self {
            name: Arc::clone(&topic.name),
            internal: topic.internal,
            shape: Shape::from(topic),
            without_leader: count(|partition| partition.leader.is_none()),
            under_replicated: count(|partition| partition.in_sync.len() < partition.replicas.len()),
        }
    }
}

/// All topics, by name; those that Kafka keeps for itself only with `internal`.
pub async fn list(cluster: &Cluster, internal: bool) -> Result<Vec<Summary>, Error> {
    let topics = cluster.topics().await?;
    Ok(topics.iter().filter(|topic| internal || !topic.internal).map(|topic| Summary::from(&**topic)).collect())
}

/// Names of topics for a person who is typing one: within the time, or none.
pub async fn names(brokers: Vec<Address>, options: ConnectOptions, internal: bool, within: Duration) -> Vec<String> {
    let asked = timeout(within, async { list(&super::connect(brokers, options).await?, internal).await }).await;
    let topics = asked.ok().and_then(Result::ok).unwrap_or_default();
    topics.into_iter().map(|topic| topic.name.to_string()).collect()
}

/// What is known of one topic. Offsets and configuration are asked for on their own; a broker may be away, or not say.
#[derive(Debug)]
pub struct Description {
    pub topic: Arc<Topic>,
    /// First offset and the offset after the last, by partition; partitions without a leader are left out.
    pub offsets: Result<HashMap<i32, (i64, i64)>, Error>,
    /// What is not as Kafka has it by default.
    pub configs: Result<Vec<ConfigEntry>, Error>,
}

impl Description {
    /// How many records there are at most: offsets of compacted records and of transaction markers count too.
    pub fn records(&self) -> Option<i64> {
        let offsets = self.offsets.as_ref().ok()?;
        Some(offsets.values().map(|(start, end)| end - start).sum())
    }
}

/// # Errors
/// [`Error::UnknownTopic`]; other trouble is in the parts of the description.
pub async fn describe(cluster: &Cluster, name: &str) -> Result<Description, Error> {
    let topic = cluster.topic(name).await?;
    let offsets = offsets(cluster, &topic).await;
    let configs = Admin::new(cluster.clone()).topic_config(name).await;
    let configs = configs.map(|entries| entries.into_iter().filter(|entry| !entry.is_default()).collect());
    Ok(Description { topic, offsets, configs })
}

async fn offsets(cluster: &Cluster, topic: &Topic) -> Result<HashMap<i32, (i64, i64)>, Error> {
    let led: Vec<i32> = topic
        .partitions
        .iter()
        .filter(|partition| partition.leader.is_some())
        .map(|partition| partition.number)
        .collect();
    let place = |number: &i32, offset| (TopicPartition::new(Arc::clone(&topic.name), *number), offset);
    let mut places: Vec<_> = led.iter().map(|number| place(number, Offset::Start)).collect();
    places.extend(led.iter().map(|number| place(number, Offset::End)));
    // What is there, not what is committed: an open transaction's records take room too.
    let resolved = timeout(OFFSETS_WITHIN, cluster.resolve(&places, Isolation::ReadUncommitted)).await;
    let resolved = resolved.unwrap_or_else(|_| {
        Err(Error::timed_out(format!("asking for the offsets of topic {:?}", topic.name), OFFSETS_WITHIN))
    })?;
    let (starts, ends) = resolved.split_at(led.len().min(resolved.len()));
    Ok(led.iter().zip(starts.iter().zip(ends)).map(|(number, (start, end))| (*number, (*start, *end))).collect())
}

/// How many records a topic has, at most; `None` where its brokers do not say.
pub async fn records(cluster: &Cluster, topic: &Topic) -> Option<i64> {
    Some(offsets(cluster, topic).await.ok()?.values().map(|(start, end)| end - start).sum())
}

/// How the wish for a topic ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It was made, or with `validate_only` it would be. The shape where the broker said it.
    Made(Option<Shape>),
    /// It was there before, and nothing about it was changed.
    Existed(Shape),
}

/// Makes a topic; one that exists is an error only without `if_not_exists`.
///
/// # Errors
/// As [`Admin::create_topic`].
pub async fn create(
    cluster: &Cluster,
    topic: &NewTopic,
    validate_only: bool,
    if_not_exists: bool,
) -> Result<Creation, Error> {
    let admin = Admin::new(cluster.clone());
    match admin.create_topic(topic, validate_only).await {
        Ok(shape) => Ok(Creation::Made(shape)),
        Err(error) if if_not_exists && error.is(Code::TOPIC_ALREADY_EXISTS) => {
            Ok(Creation::Existed(Shape::from(&*admin.existing_topic(&topic.name).await?)))
        }
        Err(error) => Err(error),
    }
}

/// Deletes a topic with its records.
pub async fn delete(cluster: &Cluster, name: &str) -> Result<(), Error> {
    Admin::new(cluster.clone()).delete_topic(name).await
}

/// How the wish for more partitions ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    Grew {
        from: i32,
    },
    AsManyAlready,
    /// There are more than were asked for, and Kafka takes none away.
    TooMany {
        count: i32,
    },
}

/// Brings a topic to `total` partitions.
pub async fn grow(cluster: &Cluster, name: &str, total: i32) -> Result<Growth, Error> {
    let from = cluster.topic(name).await?.count();
    match from.cmp(&total) {
        std::cmp::Ordering::Greater => Ok(Growth::TooMany { count: from }),
        std::cmp::Ordering::Equal => Ok(Growth::AsManyAlready),
        std::cmp::Ordering::Less => {
            Admin::new(cluster.clone()).add_partitions(name, total).await?;
            Ok(Growth::Grew { from })
        }
    }
}

/// All settings of a topic, by name.
pub async fn configs(cluster: &Cluster, name: &str) -> Result<Vec<ConfigEntry>, Error> {
    Admin::new(cluster.clone()).topic_config(name).await
}

/// Sets settings, or gives them back to the default where the value is `None`: all of them, or none.
pub async fn configure(cluster: &Cluster, name: &str, changes: &[(String, Option<String>)]) -> Result<(), Error> {
    Admin::new(cluster.clone()).alter_topic_config(name, changes).await
}
