//! `topics`: what there is, and changing it. Each subcommand is one file; here is what they share.

mod config;
mod create;
mod delete;
mod describe;
mod list;
mod partitions;

use clap::Subcommand;
use color_eyre::{Report, Result, Section};

use super::{
    exit::Exit,
    session::Session,
    table::{Table, text},
    words::{counted, did_you_mean},
};
use crate::app::{self, Cluster, Code, ConfigEntry, ConfigSource, Error, Shape};

/// List, describe, create, configure and delete topics
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab topics list
  kafkalab topics create orders -p 3
  kafkalab topics describe orders
  kafkalab topics config orders --set retention.ms=3600000

Each subcommand's --help has more.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    #[command(subcommand)]
    command: What,
}

#[derive(Debug, Subcommand)]
enum What {
    #[command(alias = "ls")]
    List(list::Args),
    #[command(alias = "desc")]
    Describe(describe::Args),
    Create(create::Args),
    #[command(alias = "rm")]
    Delete(delete::Args),
    Config(config::Args),
    Partitions(partitions::Args),
}

pub async fn run(args: Args, session: &Session) -> Result<Exit> {
    let work = async {
        match args.command {
            What::List(args) => list::run(&args, session).await,
            What::Describe(args) => describe::run(&args, session).await,
            What::Create(args) => create::run(&args, session).await,
            What::Delete(args) => delete::run(&args, session).await,
            What::Config(args) => config::run(&args, session).await,
            What::Partitions(args) => partitions::run(&args, session).await,
        }
    };
    tokio::select! {
        biased;
        () = session.stop.asked() => Ok(session.stop.exit()),
        ended = work => ended,
    }
}

/// The error with what to try next.
async fn explained(error: Error, cluster: &Cluster) -> Report {
    let hint = match &error {
        Error::UnknownTopic { topic } => {
            did_you_mean(&app::near_topics(cluster, topic).await, "`kafkalab topics list` shows what there is")
        }
        error if error.is(Code::INVALID_TOPIC) => {
            "a topic's name has letters, digits, dots, underscores and dashes, 249 of them at most".to_owned()
        }
        error if error.is(Code::INVALID_CONFIG) => {
            "names and values: https://kafka.apache.org/documentation/#topicconfigs".to_owned()
        }
        error if error.is(Code::INVALID_REPLICATION_FACTOR) => {
            format!(
                "a topic can have one replica a broker, and this cluster has {}",
                counted(cluster.brokers().len(), "broker")
            )
        }
        _ => return error.into(),
    };
    let report: Report = error.into();
    report.suggestion(hint)
}

fn shape(shape: Shape) -> String {
    format!("{}, {}", counted(shape.partitions, "partition"), counted(shape.replicas, "replica"))
}

/// `key=value`; the value may be empty or have further signs in it.
fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("write key=value, such as retention.ms=3600000".to_owned()),
    }
}

/// A setting that stands twice is a slip: which one was meant?
fn twice<'a>(keys: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::HashSet::new();
    keys.into_iter().find(|key| !seen.insert(*key))
}

fn configs(entries: &[ConfigEntry], session: &Session) -> String {
    let mut table = Table::new(&[text("SETTING"), text("VALUE"), text("SOURCE")]);
    for entry in entries {
        let value = match &entry.value {
            None if entry.sensitive => "(hidden)",
            None => "-",
            Some(value) => value,
        };
        table.row([entry.name.as_str(), value, &source(entry)]);
    }
    table.render(&session.terminal)
}

/// Who gave the value, and whether it can be changed.
fn source(entry: &ConfigEntry) -> String {
    let read_only = if entry.read_only { ", read-only" } else { "" };
    format!("{}{read_only}", source_name(entry.source))
}

fn source_name(source: ConfigSource) -> String {
    match source {
        ConfigSource::Topic => "topic".to_owned(),
        ConfigSource::Broker => "broker".to_owned(),
        ConfigSource::Brokers => "brokers".to_owned(),
        ConfigSource::BrokerFile => "broker file".to_owned(),
        ConfigSource::Default => "default".to_owned(),
        ConfigSource::Other(number) => format!("source {number}"),
    }
}

fn configs_json(entries: &[ConfigEntry]) -> serde_json::Value {
    let entry = |entry: &ConfigEntry| {
        serde_json::json!({
            "name": entry.name,
            "value": entry.value,
            "source": source_name(entry.source),
            "read_only": entry.read_only,
            "sensitive": entry.sensitive,
        })
    };
    entries.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_split_at_the_first_sign() {
        let pair = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(assignment("a=b=c"), pair("a", "b=c"));
        assert_eq!(assignment("a="), pair("a", ""));
        assert!(assignment("retention.ms").is_err() && assignment("=5").is_err() && assignment(" =5").is_err());
    }
}
