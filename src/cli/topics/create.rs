//! `topics create`

use color_eyre::{Report, Result, Section};

use super::{assignment, explained, shape, twice};
use crate::{
    app::{
        Cluster, Code, Error, NewTopic, Shape,
        topics::{self, Creation},
    },
    cli::{
        each::each,
        escape,
        exit::{Exit, Usage},
        session::Session,
        slips::topic_name,
        stdout,
        words::{counted, folded, next_step},
    },
};

/// Create topics
///
/// Ends when the brokers show the topic with a leader for each partition: the next command finds it. More partitions let
/// more consumers of a group share the work; the order of records holds within a partition only.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab topics create orders
  kafkalab topics create orders payments -p 6 -r 3
  kafkalab topics create events -c retention.ms=3600000 -c cleanup.policy=compact,delete
  kafkalab topics create orders -p 3 --if-not-exists && kafkalab produce orders -l orders.txt

Exit codes: 0 done, 1 failed (it exists, or the broker refuses), 2 wrong usage, 3 broker unreachable, 4 timed out,
130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// Names of the topics
    #[arg(value_name = "TOPIC", value_parser = topic_name, required = true)]
    topics: Vec<String>,
    /// Partitions of each [default: the broker's num.partitions]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Copies of each partition, on as many brokers [default: the broker's default.replication.factor]
    #[arg(short, long, visible_alias = "replication-factor", value_name = "N",
          value_parser = clap::value_parser!(i16).range(1..))]
    replicas: Option<i16>,
    /// A setting that differs from the broker's; may be given more than once
    #[arg(short, long = "config", visible_alias = "topic-config", value_name = "KEY=VALUE", value_parser = assignment)]
    configs: Vec<(String, String)>,
    /// A topic that exists is left as it is, and no failure
    #[arg(long)]
    if_not_exists: bool,
    /// Have the broker check it all, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit> {
    if let Some(key) = twice(args.configs.iter().map(|(key, _)| key.as_str())) {
        return Err(Usage(format!("-c {key} stands twice")).into());
    }
    let cluster = session.connect().await?;
    let exit = each(&args.topics, session, async |name| one(name, args, &cluster, session).await).await?;
    if let (Exit::OK, false, [name, ..]) = (exit, args.dry_run, args.topics.as_slice()) {
        next_step(session, &format!("kafkalab produce {name} sends lines to it, kafkalab consume {name} shows them"));
    }
    Ok(exit)
}

async fn one(name: &str, args: &Args, cluster: &Cluster, session: &Session) -> Result<()> {
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: args.partitions,
        replicas: args.replicas,
        configs: args.configs.clone(),
    };
    let created = topics::create(cluster, &topic, args.dry_run, args.if_not_exists).await;
    let created = match created {
        Ok(created) => created,
        Err(error) => return Err(refused(error, name, cluster).await),
    };
    let name = escape::line(name.as_bytes());
    let sentence = match created {
        Creation::Made(made) => {
            let verb = if args.dry_run { "would create" } else { "created" };
            format!("{verb} {name}{}", made.map(|made| format!(": {}", shape(made))).unwrap_or_default())
        }
        Creation::Existed(found) => {
            differs(&name, args, found, session);
            format!("{name} exists: {}", shape(found))
        }
    };
    stdout::write((folded(&sentence, session.terminal.width()) + "\n").as_bytes())
}

async fn refused(error: Error, name: &str, cluster: &Cluster) -> Report {
    if error.is(Code::TOPIC_ALREADY_EXISTS) {
        let report: Report = error.into();
        return report
            .suggestion(format!("--if-not-exists takes it as it is; kafkalab topics describe {name} shows it"));
    }
    explained(error, cluster).await
}

/// Said even to scripts: what was asked for is not what is there.
fn differs(name: &str, args: &Args, found: Shape, session: &Session) {
    if let Some(wanted) = args.partitions.filter(|wanted| *wanted != found.partitions) {
        session.say(&format!("{name} has {}, not {wanted}", counted(found.partitions, "partition")));
    }
    if let Some(wanted) = args.replicas.filter(|wanted| *wanted != found.replicas) {
        session.say(&format!("{name} has {}, not {wanted}", counted(found.replicas, "replica")));
    }
}
