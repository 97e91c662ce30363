//! The configuration of topics: reading it, and changing single settings (KIP-339).

use std::time::Duration;

use kafka_protocol::{
    messages::{
        DescribeConfigsRequest, IncrementalAlterConfigsRequest,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::DescribeConfigsResourceResult,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    },
    protocol::StrBytes,
};
use tokio::time::{Instant, sleep};

use super::{Admin, left_out, verdict};
use crate::kafka::{
    backoff::Backoff,
    cluster::retry,
    error::Result,
    wire::{DescribeConfigs, IncrementalAlterConfigs},
};

/// The protocol's number for "this resource is a topic".
const TOPIC: i8 = 2;
const SET: i8 = 0;
const DELETE: i8 = 1;
/// How long a change is looked for after the broker acknowledged it. It may write the value in another form, and then
/// no look will find it.
const LOOK: Duration = Duration::from_secs(1);

/// One setting of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    /// `None` where it has no value or the broker keeps it to itself.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub read_only: bool,
    /// A password or the like: the broker does not tell the value.
    pub sensitive: bool,
}

/// Who gave a setting its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic itself.
    Topic,
    /// Set at run time on one broker.
    Broker,
    /// Set at run time for all brokers.
    Brokers,
    /// From the broker's own file.
    BrokerFile,
    /// Nobody set it.
    Default,
    /// One that this client does not know, by its number in the protocol.
    Other(i8),
}

impl ConfigEntry {
    /// Nobody set it: neither on the topic nor on the brokers.
    pub fn is_default(&self) -> bool {
        self.source == ConfigSource::Default
    }
}

impl From<i8> for ConfigSource {
    fn from(number: i8) -> Self {
        match number {
            1 => Self::Topic,
            2 => Self::Broker,
            3 => Self::Brokers,
            4 => Self::BrokerFile,
            5 => Self::Default,
            other => Self::Other(other),
        }
    }
}

impl Admin {
    /// All settings of a topic, by name.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`](crate::kafka::Error::UnknownTopic), a missing permission.
    pub async fn topic_config(&self, topic: &str) -> Result<Vec<ConfigEntry>> {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(StrBytes::from_string(topic.to_owned()))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        retry(self.cluster.options().request_timeout, || async {
            let connection = self.cluster.any().await?;
            connection.require::<DescribeConfigs>("reading a topic's configuration")?;
            let response = connection.request::<DescribeConfigs>(request.clone()).await?;
            let action = format!("reading the configuration of topic {topic:?}");
            let result = response.results.into_iter().find(|result| result.resource_name.as_str() == topic);
            let result = result.ok_or_else(|| left_out(&action))?;
            verdict(action, topic, result.error_code, result.error_message.as_deref())?;
            let mut entries: Vec<ConfigEntry> = result.configs.into_iter().map(entry).collect();
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(entries)
        })
        .await
    }

    /// Sets settings of a topic (`Some`), or gives them back to the default (`None`): all of them, or none where one is
    /// refused. Settings that are not named stay as they are.
    ///
    /// # Errors
    /// [`Code::INVALID_CONFIG`](crate::kafka::Code::INVALID_CONFIG) with the broker's words,
    /// [`Error::UnknownTopic`](crate::kafka::Error::UnknownTopic), a missing permission;
    /// [`Error::Unsupported`](crate::kafka::Error::Unsupported) by brokers before 2.3.
    pub async fn alter_topic_config(&self, topic: &str, changes: &[(String, Option<String>)]) -> Result<()> {
        let configs = changes.iter().map(|(name, value)| {
            AlterableConfig::default()
                .with_name(StrBytes::from_string(name.clone()))
                .with_config_operation(if value.is_some() { SET } else { DELETE })
                .with_value(value.clone().map(StrBytes::from_string))
        });
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(StrBytes::from_string(topic.to_owned()))
            .with_configs(configs.collect());
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        retry(self.cluster.options().request_timeout, || async {
            let connection = self.cluster.any().await?;
            connection.require::<IncrementalAlterConfigs>("changing single settings of a topic")?;
            let response = connection.request::<IncrementalAlterConfigs>(request.clone()).await?;
            let action = format!("changing the configuration of topic {topic:?}");
            let result = response.responses.into_iter().find(|result| result.resource_name.as_str() == topic);
            let result = result.ok_or_else(|| left_out(&action))?;
            verdict(action, topic, result.error_code, result.error_message.as_deref())
        })
        .await?;
        self.look_for(topic, changes).await
    }

    /// Waits a little until the brokers show the change, so that who asks next is told of it.
    async fn look_for(&self, topic: &str, changes: &[(String, Option<String>)]) -> Result<()> {
        let deadline = Instant::now() + LOOK;
        let mut backoff = Backoff::default();
        loop {
            let entries = self.topic_config(topic).await?;
            if changes.iter().all(|change| shows(&entries, change)) || Instant::now() >= deadline {
                return Ok(());
            }
            sleep(backoff.pause()).await;
        }
    }
}

fn entry(answer: DescribeConfigsResourceResult) -> ConfigEntry {
    ConfigEntry {
        name: answer.name.to_string(),
        value: answer.value.map(|value| value.to_string()),
        source: ConfigSource::from(answer.config_source),
        read_only: answer.read_only,
        sensitive: answer.is_sensitive,
    }
}

fn shows(entries: &[ConfigEntry], (name, wanted): &(String, Option<String>)) -> bool {
    let set = entries.iter().find(|entry| entry.name == *name && entry.source == ConfigSource::Topic);
    match (set, wanted) {
        (None, None) => true,
        (Some(entry), Some(wanted)) => {
            entry.sensitive || entry.value.as_deref().is_some_and(|value| value.trim() == wanted.trim())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_shows_when_value_and_source_are_as_asked() {
        let entry = |source, value: &str| ConfigEntry {
            name: "retention.ms".to_owned(),
            value: Some(value.to_owned()),
            source,
            read_only: false,
            sensitive: false,
        };
        let set = ("retention.ms".to_owned(), Some(" 5".to_owned()));
        let deleted = ("retention.ms".to_owned(), None);
        assert!(shows(&[entry(ConfigSource::Topic, "5")], &set));
        assert!(!shows(&[entry(ConfigSource::Topic, "4")], &set));
        assert!(!shows(&[entry(ConfigSource::Default, "5")], &set));
        assert!(shows(&[entry(ConfigSource::Default, "5")], &deleted));
        assert!(!shows(&[entry(ConfigSource::Topic, "5")], &deleted));
    }

    #[test]
    fn sources_are_kafkas_numbers() {
        assert_eq!(ConfigSource::from(1), ConfigSource::Topic);
        assert_eq!(ConfigSource::from(5), ConfigSource::Default);
        assert_eq!(ConfigSource::from(9), ConfigSource::Other(9));
    }
}
