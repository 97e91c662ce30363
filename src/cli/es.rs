//! `es`: event sourcing, as a narrated demonstration and in its parts. Each part is one file; here is what they share.

mod commands;
mod demo;
mod look;
mod publish;
mod replay;
pub(super) mod steps;

use clap::Subcommand;
use color_eyre::{Report, Result, Section};

use super::{
    exit::Exit,
    pattern::{Options, order_id, relayed, usage},
    session::Session,
};
use crate::app::{event_sourcing::OrderError, log::FoldError, order::Rejection};

/// Event sourcing: what happened is kept, what is follows from it
///
/// Alone it is a narrated demonstration that needs nothing: the events of orders go into a log (SQLite, or PostgreSQL with
/// --store), a publisher follows the log to Kafka, and the log answers what was, refuses what must not be, and lets one of
/// two writers win. With a subcommand it is one part of that.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab es                              the demonstration
  kafkalab es --crash-at relay.after-ack   the same, killed between publishing and remembering it
  kafkalab es create --price USD:12.99     and then: es pay ORDER, es ship ORDER, es cancel ORDER
  kafkalab es state ORDER --version 2      as it was then; --at 2026-01-31T08:30:00Z too
  kafkalab es history ORDER                what happened, when, and who did it
  kafkalab es publish                      follow the log to Kafka

Each subcommand's --help has more.

Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 3 broker unreachable, 4 timed out,
130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    Create(commands::Create),
    Pay(commands::Pay),
    Ship(commands::Ship),
    Cancel(commands::Cancel),
    State(look::State),
    History(look::History),
    Diff(look::Diff),
    Streams(look::Streams),
    Publish(publish::Args),
    Replay(replay::Args),
}

pub async fn run(args: Args, session: &Session) -> Result<Exit> {
    let options = &args.options;
    match args.part {
        None => demo::run(options, session).await,
        Some(Part::Create(args)) => commands::create(args, options, session).await,
        Some(Part::Pay(args)) => commands::pay(args, options, session).await,
        Some(Part::Ship(args)) => commands::ship(args, options, session).await,
        Some(Part::Cancel(args)) => commands::cancel(args, options, session).await,
        Some(Part::State(args)) => look::state(args, options, session).await,
        Some(Part::History(args)) => look::history(args, options, session).await,
        Some(Part::Diff(args)) => look::diff(args, options, session).await,
        Some(Part::Streams(args)) => look::streams(args, options, session).await,
        Some(Part::Publish(args)) => publish::run(args, options, session).await,
        Some(Part::Replay(args)) => replay::run(args, options, session).await,
    }
}

/// The error with what to try next.
pub(super) fn explained(error: OrderError) -> Report {
    let hint = match &error {
        OrderError::WrongVersion { actual, .. } => {
            format!("somebody was quicker: look at it with `kafkalab es history`, and decide on version {actual}")
        }
        OrderError::Unknown { .. } | OrderError::Rejected(Rejection::NotThere { .. }) => {
            "`kafkalab es streams` shows what there is; `kafkalab es create --price USD:9.99` makes one".to_owned()
        }
        OrderError::NotYet { order_id, .. } => format!("`kafkalab es history {order_id}` shows what happened when"),
        OrderError::Unreadable(FoldError::Unreadable { .. }) => {
            "nothing is skipped: is there a newer kafkalab that knows it?".to_owned()
        }
        _ => return error.into(),
    };
    let report: Report = error.into();
    report.suggestion(hint)
}
