//! `topics config`

use color_eyre::{Report, Result, Section, eyre::eyre};
use serde_json::json;

use super::{assignment, configs, configs_json, explained, twice};
use crate::{
    app::{Cluster, ConfigEntry, Error, topics},
    cli::{
        complete, escape,
        exit::{Exit, Usage},
        session::Session,
        slips::topic_name,
        stdout,
        words::next_step,
    },
};

/// Show a topic's settings, or change them
///
/// Shows the settings that somebody set, on the topic or on the brokers; --all shows the defaults too. Changes come all or,
/// where the broker refuses one, not at all; the settings are shown as they are then.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab topics config orders
  kafkalab topics config orders --all
  kafkalab topics config orders --set retention.ms=3600000 --set cleanup.policy=compact
  kafkalab topics config orders --delete retention.ms

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// The topic
    #[arg(value_name = "TOPIC", value_parser = topic_name, add = complete::topic())]
    topic: String,
    /// Set a setting on the topic; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Give a setting back to its default; may be given more than once
    #[arg(long, value_name = "KEY")]
    delete: Vec<String>,
    /// With the defaults
    #[arg(short, long)]
    all: bool,
    /// As a JSON document
    #[arg(short = 'J', long)]
    json: bool,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit> {
    let keys = args.set.iter().map(|(key, _)| key).chain(&args.delete);
    if let Some(key) = twice(keys.map(String::as_str)) {
        return Err(Usage(format!("the setting {key} stands twice")).into());
    }
    let cluster = session.connect().await?;
    if let Some(key) = unknown(args, &cluster).await? {
        let report: Report = eyre!("topic {:?} has no setting {key:?}", args.topic);
        return Err(report.suggestion(format!("kafkalab topics config {} --all shows what it has", args.topic)));
    }
    let entries = match changed(args, &cluster).await {
        Ok(entries) => entries,
        Err(error) => return Err(explained(error, &cluster).await),
    };
    let shown: Vec<ConfigEntry> = entries.into_iter().filter(|entry| args.all || !entry.is_default()).collect();
    if args.json {
        let document = json!({"schema_version": 1, "topic": args.topic, "configs": configs_json(&shown)});
        stdout::write(format!("{document}\n").as_bytes())?;
    } else if shown.is_empty() {
        session.say(&format!("{} has Kafka's defaults", escape::line(args.topic.as_bytes())));
        next_step(session, "--all shows them, --set KEY=VALUE changes one");
    } else {
        stdout::write(configs(&shown, session).as_bytes())?;
    }
    Ok(Exit::OK)
}

/// A setting to be given back that no topic has. Brokers take such a wish without a word, and a slip would not show.
async fn unknown<'a>(args: &'a Args, cluster: &Cluster) -> Result<Option<&'a str>> {
    if args.delete.is_empty() {
        return Ok(None);
    }
    let known = async {
        cluster.topic(&args.topic).await?;
        topics::configs(cluster, &args.topic).await
    };
    let known = match known.await {
        Ok(known) => known,
        Err(error) => return Err(explained(error, cluster).await),
    };
    let mut wanted = args.delete.iter().map(|key| key.trim());
    Ok(wanted.find(|key| known.iter().all(|entry| entry.name != *key)))
}

/// The settings after the changes, if any were asked for.
async fn changed(args: &Args, cluster: &Cluster) -> Result<Vec<ConfigEntry>, Error> {
    let set = args.set.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
    let changes: Vec<_> = set.chain(args.delete.iter().map(|key| (key.trim().to_owned(), None))).collect();
    cluster.topic(&args.topic).await?; // one place where an unknown name shows, whatever the broker says
    if !changes.is_empty() {
        topics::configure(cluster, &args.topic, &changes).await?;
    }
    topics::configs(cluster, &args.topic).await
}
