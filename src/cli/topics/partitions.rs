//! `topics partitions`

use color_eyre::{Report, Result, Section, eyre::eyre};

use super::explained;
use crate::{
    app::topics::{self, Growth},
    cli::{
        complete, escape,
        exit::Exit,
        session::Session,
        slips::topic_name,
        stdout,
        words::{counted, next_step},
    },
};

/// Add partitions to a topic
///
/// Keys move: a key's partition depends on the number of partitions, so from now on most keys go to another one, behind
/// which their older records are not. Consumers that count on the order of a key's records should have read all there is
/// before. Kafka takes no partitions away.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab topics partitions orders 6      six from now on

Exit codes: 0 done (or as many already), 1 failed (it has more), 2 wrong usage, 3 broker unreachable, 4 timed out,
130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// The topic
    #[arg(value_name = "TOPIC", value_parser = topic_name, add = complete::topic())]
    topic: String,
    /// How many partitions it shall have
    #[arg(value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    total: i32,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit> {
    let cluster = session.connect().await?;
    let growth = match topics::grow(&cluster, &args.topic, args.total).await {
        Ok(growth) => growth,
        Err(error) => return Err(explained(error, &cluster).await),
    };
    let name = escape::line(args.topic.as_bytes());
    match growth {
        Growth::Grew { from } => {
            let now = counted(args.total, "partition");
            stdout::write(format!("{name} has {now} now, {from} before\n").as_bytes())?;
            next_step(session, "keys go to other partitions from now on; their older records stay where they are");
        }
        Growth::AsManyAlready => {
            stdout::write(format!("{name} has {} already\n", counted(args.total, "partition")).as_bytes())?;
        }
        Growth::TooMany { count } => {
            let has = counted(count, "partition");
            let report: Report = eyre!("topic {:?} has {has}, and Kafka takes none away", args.topic);
            let (from, total) = (&args.topic, args.total);
            return Err(report.suggestion(format!(
                "a new topic can have fewer: kafkalab topics create NEW -p {total} && \
                 kafkalab consume {from} -eJ | kafkalab produce NEW --input json"
            )));
        }
    }
    Ok(Exit::OK)
}
