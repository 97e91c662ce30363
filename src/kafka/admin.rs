//! Administration of topics: making and deleting them, adding partitions, reading and changing their configuration. That
//! of groups is in [`groups`] and [`group_offsets`], that of records in [`records`].
//!
//! ```text
//! create, delete, add partitions  --> controller --> each broker's metadata, a moment later
//! read, change configuration      --> any broker
//! ```
//!
//! The controller answers when a change is decided, not when every broker knows of it. A program that produces to a topic
//! right after making it would be told that there is none, so each change here waits until the metadata show it.
//!
//! A connection can break between a change and its answer. The change is then asked for again, and a refusal that says
//! "done already" counts as success, because it is our own first try that did it.

mod config;
mod group_offsets;
mod groups;
mod records;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kafka_protocol::{
    messages::{
        CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, TopicName,
        create_partitions_request::CreatePartitionsTopic,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
    },
    protocol::StrBytes,
};
use tokio::time::{Instant, sleep};

use super::{
    backoff::Backoff,
    cluster::{Cluster, Topic, retry, topic_name},
    error::{Code, Error, Result},
    wire::{Api, CreatePartitions, CreateTopics, DeleteTopics},
};

pub use config::{ConfigEntry, ConfigSource};
pub use groups::{Group, GroupKind, GroupList, GroupSummary, Member};

/// Asks a cluster about its topics and groups, and to change them. Every call ends within about twice the request time-out.
#[derive(Clone, Debug)]
pub struct Admin {
    cluster: Cluster,
}

/// A topic to be made.
#[derive(Clone, Debug, Default)]
pub struct NewTopic {
    pub name: String,
    /// As many as the broker's `num.partitions` says where `None`.
    pub partitions: Option<i32>,
    /// Copies of each partition; as many as the broker's `default.replication.factor` says where `None`.
    pub replicas: Option<i16>,
    /// Settings that differ from the broker's, such as `("retention.ms", "60000")`.
    pub configs: Vec<(String, String)>,
}

/// How many partitions a topic has, and how many copies each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub partitions: i32,
    pub replicas: i16,
}

impl From<&Topic> for Shape {
    fn from(topic: &Topic) -> Self {
        let replicas = topic.partitions.iter().map(|partition| partition.replicas.len()).max().unwrap_or(0);
        Self { partitions: topic.count(), replicas: i16::try_from(replicas).unwrap_or(i16::MAX) }
    }
}

impl Admin {
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Makes a topic, and waits until all its partitions have leaders. With `validate_only` the broker says whether it
    /// would, and nothing changes. The shape is what the broker decided; `None` where it did not say (a validation on
    /// a broker before 2.4).
    ///
    /// # Errors
    /// [`Error::Broker`] with the broker's words: [`Code::TOPIC_ALREADY_EXISTS`], [`Code::INVALID_CONFIG`],
    /// [`Code::INVALID_PARTITIONS`], an invalid name, too few brokers for the replicas, a policy, a missing permission.
    /// [`Error::TimedOut`] where the topic was accepted and its leaders did not come.
    pub async fn create_topic(&self, topic: &NewTopic, validate_only: bool) -> Result<Option<Shape>> {
        const FEATURE: &str = "making topics";
        /// From here on a broker fills in what is left open (KIP-464).
        const DEFAULTS: i16 = 4;
        let action = || format!("creating topic {:?}", topic.name);
        let version = self.cluster.controller().await?.require::<CreateTopics>(FEATURE)?;
        if version < DEFAULTS && (topic.partitions.is_none() || topic.replicas.is_none()) {
            let why = "this broker has no default for the number of partitions or replicas; name both";
            return Err(Error::Invalid(format!("{}: {why}", action())));
        }
        let request = create_request(topic, self.broker_limit(), validate_only);
        let (made, unheard) = self
            .change::<CreateTopics, _>(FEATURE, request, |response| {
                let result = response.topics.into_iter().find(|result| named(&result.name, &topic.name));
                let result = result.ok_or_else(|| left_out(&action()))?;
                match result.error_code {
                    0 => Ok((result.num_partitions, result.replication_factor)),
                    code => Err(Error::refused(action(), code, result.error_message.as_deref())),
                }
            })
            .await;
        let decided = match made {
            Ok((partitions, replicas)) => Some(Shape { partitions, replicas }),
            Err(error) if unheard && !validate_only && error.is(Code::TOPIC_ALREADY_EXISTS) => None,
            Err(error) => return Err(error),
        };
        let decided = decided.filter(|shape| shape.partitions > 0); // -1: an old broker, or one that may not say
        if validate_only {
            return Ok(decided);
        }
        let wanted = topic.partitions.or(decided.map(|shape| shape.partitions)).unwrap_or(1);
        let made = self
            .settled(&topic.name, "its partitions have leaders", |topic| {
                topic.is_some_and(|topic| is_led(topic, wanted))
            })
            .await?;
        Ok(made.as_deref().map(Shape::from))
    }

    /// A topic that a broker says is there already. Somebody else may have made it a moment ago, so the metadata are asked
    /// until they have it.
    ///
    /// # Errors
    /// [`Error::TimedOut`] where they never do.
    pub async fn existing_topic(&self, name: &str) -> Result<Arc<Topic>> {
        let topic = self.settled(name, "it is there", |topic| topic.is_some_and(|topic| topic.count() > 0)).await?;
        topic.ok_or_else(|| Error::UnknownTopic { topic: name.into() })
    }

    /// Deletes a topic with all its records, and waits until the metadata are without it.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::Broker`] with the broker's words (a missing permission, `delete.topic.enable`
    /// being off), [`Error::TimedOut`] where the deletion was accepted and the topic is still there.
    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        let _ = self.cluster.refresh(&[name], false).await; // for its id; whether it is there the controller says
        let id = self.cluster.known(name).map(|topic| topic.id);
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![topic_name(name)])
            .with_timeout_ms(millis(self.broker_limit()));
        let (deleted, unheard) = self
            .change::<DeleteTopics, _>("deleting topics", request, |response| {
                let action = format!("deleting topic {name:?}");
                let mut results = response.responses.into_iter();
                let result = results.find(|result| result.name.as_ref().is_some_and(|found| named(found, name)));
                let result = result.ok_or_else(|| left_out(&action))?;
                verdict(action, name, result.error_code, result.error_message.as_deref())
            })
            .await;
        match deleted {
            Err(Error::UnknownTopic { .. }) if unheard => {}
            deleted => deleted?,
        }
        // Somebody who makes it again at once makes another one.
        let gone = |topic: Option<&Topic>| topic.is_none_or(|topic| id.is_some_and(|id| topic.id != id));
        self.settled(name, "it is gone", gone).await.map(drop)
    }

    /// Adds partitions up to `total`, and waits until all have leaders. Records stay where they are, and most keys
    /// belong to another partition from now on: the order of a key's records holds no longer across this change.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Code::INVALID_PARTITIONS`] where `total` is not more than there are, and as for
    /// [`Admin::create_topic`].
    pub async fn add_partitions(&self, name: &str, total: i32) -> Result<()> {
        let topic =
            CreatePartitionsTopic::default().with_name(topic_name(name)).with_count(total).with_assignments(None);
        let request =
            CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(millis(self.broker_limit()));
        let (added, unheard) = self
            .change::<CreatePartitions, _>("adding partitions", request, |response| {
                let action = format!("adding partitions to topic {name:?}");
                let result = response.results.into_iter().find(|result| named(&result.name, name));
                let result = result.ok_or_else(|| left_out(&action))?;
                verdict(action, name, result.error_code, result.error_message.as_deref())
            })
            .await;
        if let Err(error) = added {
            let ours = unheard && error.is(Code::INVALID_PARTITIONS) && self.count(name).await == Some(total);
            if !ours {
                return Err(error);
            }
        }
        let led = |topic: Option<&Topic>| topic.is_some_and(|topic| is_led(topic, total));
        self.settled(name, "its new partitions have leaders", led).await.map(drop)
    }

    async fn count(&self, name: &str) -> Option<i32> {
        self.cluster.refresh(&[name], false).await.ok()?;
        self.cluster.known(name).map(|topic| topic.count())
    }

    /// Asks the controller for a change, again after what passes. Gives what `read` made of the answer, and whether a
    /// try before it may have been carried out although no answer came.
    async fn change<A: Api, T>(
        &self,
        feature: &str,
        request: A::Request,
        read: impl Fn(A::Response) -> Result<T>,
    ) -> (Result<T>, bool)
    where
        A::Request: Clone,
    {
        let unheard = AtomicBool::new(false);
        let result = retry(self.cluster.options().request_timeout, || async {
            let connection = self.cluster.controller().await?;
            connection.require::<A>(feature)?;
            let result = match connection.request::<A>(request.clone()).await {
                Ok(response) => read(response),
                Err(error) => {
                    unheard.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            };
            if let Err(error) = &result
                && error.is_transient()
            {
                // 7, REQUEST_TIMED_OUT: the controller goes on with it
                unheard.fetch_or(error.is(Code(7)), Ordering::Relaxed);
                self.cluster.refresh(&[], false).await?; // the controller may be another one now
            }
            result
        })
        .await;
        (result, unheard.into_inner())
    }

    /// Asks for metadata until `done`, for a request time-out at most.
    async fn settled(
        &self,
        name: &str,
        what: &str,
        done: impl Fn(Option<&Topic>) -> bool,
    ) -> Result<Option<Arc<Topic>>> {
        let limit = self.cluster.options().request_timeout;
        let deadline = Instant::now() + limit;
        let mut backoff = Backoff::default();
        loop {
            match self.cluster.refresh(&[name], false).await {
                Ok(()) => {
                    let topic = self.cluster.known(name);
                    if done(topic.as_deref()) {
                        return Ok(topic);
                    }
                }
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error),
            }
            if Instant::now() >= deadline {
                return Err(Error::timed_out(format!("waiting until topic {name:?} shows that {what}"), limit));
            }
            sleep(backoff.pause()).await;
        }
    }

    /// How long the broker may take: half of our own patience, so that its answer comes before that ends.
    fn broker_limit(&self) -> Duration {
        self.cluster.options().request_timeout / 2
    }
}

fn create_request(topic: &NewTopic, limit: Duration, validate_only: bool) -> CreateTopicsRequest {
    let text = |text: &String| StrBytes::from_string(text.clone());
    let configs = topic
        .configs
        .iter()
        .map(|(name, value)| CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value))));
    let topic = CreatableTopic::default()
        .with_name(topic_name(&topic.name))
        .with_num_partitions(topic.partitions.unwrap_or(-1))
        .with_replication_factor(topic.replicas.unwrap_or(-1))
        .with_configs(configs.collect());
    CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(millis(limit))
        .with_validate_only(validate_only)
}

/// What the broker's answer for one topic means. That it is unknown is no passing state here: the controller knows.
fn verdict(action: String, topic: &str, code: i16, message: Option<&str>) -> Result<()> {
    match Code(code) {
        Code(0) => Ok(()),
        Code::UNKNOWN_TOPIC => Err(Error::UnknownTopic { topic: topic.into() }),
        Code(code) => Err(Error::refused(action, code, message)),
    }
}

fn left_out(action: &str) -> Error {
    Error::malformed(format_args!("the broker, {action}"), "its answer leaves the topic out")
}

fn named(found: &TopicName, name: &str) -> bool {
    found.as_str() == name
}

fn is_led(topic: &Topic, count: i32) -> bool {
    topic.count() >= count && topic.partitions.iter().all(|partition| partition.leader.is_some())
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
