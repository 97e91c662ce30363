//! `dlt`: dead letters, looked at, sent back, deleted. Each subcommand is one file; here is what they share.

mod document;
mod list;
mod purge;
mod replay;
mod show;

use std::{str::FromStr, sync::Arc};

use clap::Subcommand;
use color_eyre::{Report, Result, Section};

use super::{escape, exit::Exit, session::Session, words::did_you_mean};
use crate::app::{
    self, Cluster, Code, Error, Topic,
    dead_letters::{At, GROUP, Letter},
    letters,
    relay::prefixed,
};

/// Dead letters: list, show, replay and purge what handlers put aside
///
/// A record that a handler can never handle goes to TOPIC.dlt, with headers that say where it came from and why, and the
/// handler goes on. The headers are those of Spring Kafka (kafka_dlt-*), whose own letters (TOPIC-dlt, TOPIC.DLT) are read
/// here as well.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab dlt list                        the topics that have some
  kafkalab dlt list orders                 a line for each letter
  kafkalab dlt show orders 0:12            all about one
  kafkalab dlt replay orders --all         back to where they came from
  kafkalab dlt purge orders                delete what was replayed

Each subcommand's --help has more.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out,
130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: What,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of dlt's commands")]
pub struct Options {
    /// Before the names of all topics
    #[arg(long, global = true, value_name = "PREFIX")]
    topic_prefix: Option<String>,
    /// JSON, a document or, of a list, a line for each
    #[arg(short = 'J', long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    #[command(alias = "ls")]
    List(list::Args),
    Show(show::Args),
    Replay(replay::Args),
    Purge(purge::Args),
}

pub async fn run(args: Args, session: &Session) -> Result<Exit> {
    let options = &args.options;
    let work = async {
        match &args.command {
            What::List(args) => list::run(args, options, session).await,
            What::Show(args) => show::run(args, options, session).await,
            // it heeds a stop itself: what it has sent is remembered first
            What::Replay(args) => replay::run(args, options, session).await,
            What::Purge(args) => purge::run(args, options, session).await,
        }
    };
    let heeds_itself = matches!(args.command, What::Replay(_));
    tokio::select! {
        biased;
        () = session.stop.asked(), if !heeds_itself => Ok(session.stop.exit()),
        ended = work => ended,
    }
}

impl Options {
    fn prefix(&self, session: &Session) -> String {
        self.topic_prefix.clone().unwrap_or_else(|| session.settings.topic_prefix.value.clone())
    }

    /// The name with the prefix, which may stand there already: names are copied from a list.
    fn name(&self, name: &str, session: &Session) -> String {
        let prefix = self.prefix(session);
        if name.starts_with(&prefix) { name.to_owned() } else { prefixed(&prefix, name) }
    }

    /// The topic of dead letters that is meant: by its own name or by the original's. `None` where the original is there and
    /// has none.
    async fn find(&self, name: &str, cluster: &Cluster, session: &Session) -> Result<Option<Arc<Topic>>> {
        let name = self.name(name, session);
        let of_letters = letters::original_of(&name);
        let candidates = match of_letters {
            Some(_) => vec![name.clone()],
            None => letters::topics_of(&name).into(),
        };
        for candidate in &candidates {
            match cluster.topic(candidate).await {
                Ok(topic) => return Ok(Some(topic)),
                Err(Error::UnknownTopic { .. }) => {}
                Err(error) => return Err(explained(error, cluster).await),
            }
        }
        match cluster.topic(of_letters.unwrap_or(&name)).await {
            Ok(_) => Ok(None),
            Err(Error::UnknownTopic { .. }) => {
                Err(explained(Error::UnknownTopic { topic: name.as_str().into() }, cluster).await)
            }
            Err(error) => Err(explained(error, cluster).await),
        }
    }

    /// Says that a topic has no dead letters.
    fn none(&self, name: &str, session: &Session) {
        let name = self.name(name, session);
        let original = letters::original_of(&name).unwrap_or(&name);
        session.say(&format!("{} has no dead letters", escape::line(original.as_bytes())));
    }
}

/// The error with what to try next.
async fn explained(error: Error, cluster: &Cluster) -> Report {
    const POLICY_VIOLATION: Code = Code(44);
    let hint = match &error {
        Error::UnknownTopic { topic } => did_you_mean(
            &app::near_topics(cluster, topic).await,
            "`kafkalab dlt list` shows which topics have dead letters",
        ),
        Error::OffsetOutOfRange { partition, .. } => {
            format!("`kafkalab dlt list {} --all` shows what there is", escape::line(partition.topic.as_bytes()))
        }
        error if error.is_group_in_use() => {
            format!("the group {GROUP} remembers what was replayed, and a consumer is in it: let it use another group")
        }
        error if error.is(POLICY_VIOLATION) => {
            "the topic is compacted only; records can be deleted where cleanup.policy has `delete`".to_owned()
        }
        _ => return error.into(),
    };
    let report: Report = error.into();
    report.suggestion(hint)
}

/// A letter's place as it is typed: `0:12`.
#[derive(Clone, Copy, Debug)]
struct Place(At);

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (partition, offset) = text.split_once(':')?;
            let at = At { partition: partition.parse().ok()?, offset: offset.parse().ok()? };
            (at.partition >= 0 && at.offset >= 0).then_some(Self(at))
        };
        read().ok_or_else(|| "write PARTITION:OFFSET, such as 0:12, as `kafkalab dlt list` shows it".to_owned())
    }
}

/// `orders[0]@42`; as much of it as the letter says.
fn origin(letter: &Letter) -> String {
    let Some(note) = &letter.note else { return String::new() };
    let partition = note.partition.map(|number| format!("[{number}]")).unwrap_or_default();
    let offset = note.offset.map(|offset| format!("@{offset}")).unwrap_or_default();
    format!("{}{partition}{offset}", note.topic)
}

/// Why it was put aside, in words.
fn reason(letter: &Letter) -> String {
    match &letter.note {
        None => "(not by a sender of dead letters)".to_owned(),
        Some(note) => note.reason.clone().or_else(|| note.exception.clone()).unwrap_or_default(),
    }
}

/// When the record was written; nothing where it does not say.
fn when(letter: &Letter) -> String {
    if letter.record.timestamp < 0 { String::new() } else { app::rfc_3339(letter.record.timestamp) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_partition_and_an_offset() {
        let at = |text: &str| text.parse::<Place>().map(|place| (place.0.partition, place.0.offset)).ok();
        assert_eq!((at("0:12"), at("7:0")), (Some((0, 12)), Some((7, 0))));
        for wrong in ["", "0", "0:", ":1", "-1:0", "0:-1", "a:1", "1:2:3", "0:12 "] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }
}
