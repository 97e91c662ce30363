//! `grpc-consumer retry|rebuild`: dead notifications once more, counts and index anew.

use color_eyre::{Result, Section, eyre::eyre};
use serde_json::json;
use uuid::Uuid;

use super::{look::MADE_BY, run::explained};
use crate::{
    app::{
        grpc_consumer::{Consumer, TOPICS, rebuild},
        handler::{self, HandlerError, Told},
        relay::make_topics,
    },
    cli::{
        exit::Exit,
        pattern::{Options, row_id, usage},
        session::Session,
        stdout,
        words::{counted, next_step},
    },
};

/// Let dead notifications be sent again, with the ids that they had
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab grpc-consumer retry --all
  kafkalab grpc-consumer notifications --status dead

Exit codes: 0 done, 1 failed or not dead, 2 wrong usage")]
pub struct Retry {
    /// The notifications' ids
    #[arg(value_name = "ID", value_parser = row_id)]
    ids: Vec<Uuid>,
    /// All that are dead
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

/// Make counts or index anew, from all that the topics still have
///
/// It is cleared, its group goes back to the start, and everything is read again; until the end of that it is incomplete. It
/// must not run meanwhile: its group would refuse. Stopped on the way, the consumer or the same command goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab grpc-consumer rebuild analytics
  kafkalab grpc-consumer rebuild search-index

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out,
130 Ctrl-C, 143 SIGTERM")]
pub struct Rebuild {
    /// analytics or search-index
    #[arg(value_name = "NAME", value_parser = rebuilt)]
    name: Consumer,
}

fn rebuilt(text: &str) -> Result<Consumer, String> {
    match text.parse() {
        Ok(Consumer::Notifications) => {
            Err("what was sent cannot be taken back; retry sends dead ones again".to_owned())
        }
        Ok(one) => Ok(one),
        Err(_) => Err("write analytics or search-index".to_owned()),
    }
}

pub async fn retry(args: Retry, options: &Options, session: &Session) -> Result<Exit> {
    if !args.all && args.ids.is_empty() {
        return Err(usage("name the notifications, or --all"));
    }
    let store = options.open_to_look(MADE_BY, session).await?;
    let mut done = Vec::new();
    if args.all {
        done = store.retry_notifications().await?;
    }
    for id in args.ids {
        if !store.retry_notification(id).await? {
            return Err(eyre!("there is no dead notification {id}"))
                .suggestion("`kafkalab grpc-consumer notifications --status dead` lists them");
        }
        done.push(id);
    }
    if options.json {
        stdout::json(&json!({"schema_version": 1, "status": "waiting", "ids": done}))?;
        return Ok(Exit::OK);
    }
    session.say(&format!("{} now waiting", counted(done.len() as u64, "notification")));
    next_step(session, "kafkalab grpc-consumer --notify TARGET sends them");
    Ok(Exit::OK)
}

pub async fn rebuild(args: Rebuild, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open(session).await?;
    let cluster = session.connect().await?;
    make_topics(&cluster, &options.topics(session, &TOPICS)).await?;
    let handler_options = handler::Options { prefix: options.prefix(session), ..handler::Options::default() };
    let stop = session.stop.token();
    let tell = |told: Told<'_>| {
        if let Told::Trouble(cause) = told {
            session.say(&crate::cli::escape::text(&format!("trying again: {cause}")));
        }
    };
    let outcome = rebuild::rebuild(&store, &cluster, args.name, &handler_options, &stop, &tell).await;
    let report = match outcome {
        Err(HandlerError::Broker(error)) if error.is_group_in_use() => {
            return Err(explained(args.name, error.into()))
                .suggestion("end `kafkalab grpc-consumer` first; one that was killed is gone within a minute");
        }
        outcome => outcome.map_err(|error| explained(args.name, error))?,
    };
    if session.stop.is_asked() {
        return Ok(session.stop.exit());
    }
    if options.json {
        stdout::json(&json!({
            "schema_version": 1, "name": args.name.name(), "records": report.records, "events": report.effects,
            "dead_letters": report.dead,
        }))?;
        return Ok(Exit::OK);
    }
    session.say(&format!("{}: rebuilt from {}", args.name, counted(report.effects, "event")));
    Ok(Exit::OK)
}
