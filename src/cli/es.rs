//! `es`: event sourcing, as a narrated demonstration and in its parts. Each part is one file; here is what they share.

mod commands;
mod demo;
mod look;
mod publish;
mod replay;
mod steps;

use clap::Subcommand;
use color_eyre::{Report, Result, Section, eyre::WrapErr};

use super::{
    exit::{Exit, Usage},
    session::Session,
};
use crate::app::{
    Store, StoreOptions, StoreUrl, UrlError,
    crash::Crash,
    event_sourcing::OrderError,
    log::FoldError,
    order::{OrderId, Rejection},
    relay::RelayError,
};

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

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of es and its parts")]
pub struct Options {
    /// The event log: sqlite:PATH or postgres://USER@HOST/DATABASE [default: a file in the user's data folder]
    ///
    /// The demonstration takes a temporary file where none is named. KAFKALAB_STORE and the setting `store` name one too; a
    /// password belongs there, or into ~/.pgpass, and not into the command line.
    #[arg(long, global = true, value_name = "URL")]
    store: Option<String>,
    /// Before the names of all topics
    #[arg(long, global = true, value_name = "PREFIX")]
    topic_prefix: Option<String>,
    /// Who acts, for the audit [default: the user's name]
    #[arg(long, global = true, value_name = "NAME")]
    actor: Option<String>,
    /// JSON, a line per step or one document
    #[arg(short = 'J', long, global = true)]
    json: bool,
    /// Die here by SIGKILL: POINT[:NTH]; `kafkalab crash-points` lists them
    #[arg(long, global = true, value_name = "POINT", env = "KAFKALAB_CRASH_AT")]
    crash_at: Option<Crash>,
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

impl Options {
    /// Read here and not by clap, which repeats what it cannot read: a password may be in it.
    fn url(&self, session: &Session) -> Result<StoreUrl> {
        match &self.store {
            Some(text) => text.parse().map_err(|error: UrlError| usage(format!("--store: {error}"))),
            None => Ok(session.settings.store.value.clone()),
        }
    }

    async fn open(&self, session: &Session) -> Result<Store> {
        self.open_at(&self.url(session)?).await
    }

    async fn open_at(&self, url: &StoreUrl) -> Result<Store> {
        let options = StoreOptions { crash_point: self.crash().hook(), ..StoreOptions::default() };
        Store::open_with(url, options).await.wrap_err("opening the store")
    }

    fn crash(&self) -> Crash {
        self.crash_at.clone().unwrap_or_default()
    }

    fn prefix(&self, session: &Session) -> String {
        self.topic_prefix.clone().unwrap_or_else(|| session.settings.topic_prefix.value.clone())
    }

    fn actor(&self) -> String {
        let user = || ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
        let named = self.actor.clone().or_else(user).filter(|name| !name.is_empty());
        named.unwrap_or_else(|| "unknown".to_owned())
    }
}

/// The error with what to try next.
fn explained(error: OrderError) -> Report {
    let hint = match &error {
        OrderError::WrongVersion { actual, .. } => {
            format!("somebody was quicker: look at it with `kafkalab es history`, and decide on version {actual}")
        }
        OrderError::Unknown { .. } | OrderError::Rejected(Rejection::NotThere { .. }) => {
            "`kafkalab es streams` shows what there is; `kafkalab es create --price USD:9.99` makes one".to_owned()
        }
        OrderError::Unreadable(FoldError::Unreadable { .. }) => {
            "nothing is skipped: is there a newer kafkalab that knows it?".to_owned()
        }
        _ => return error.into(),
    };
    let report: Report = error.into();
    report.suggestion(hint)
}

/// The broker's errors as themselves: they have exit codes of their own.
fn relayed(error: RelayError) -> Report {
    match error {
        RelayError::Broker(error) => error.into(),
        RelayError::Store(error) => error.into(),
        error @ RelayError::Poison { .. } => {
            let report: Report = error.into();
            report
                .suggestion("nothing behind it is published until it can be: is there a newer kafkalab that knows it?")
        }
    }
}

fn order_id(text: &str) -> Result<OrderId, String> {
    OrderId::new(text).map_err(|error| error.to_string())
}

fn usage(text: impl Into<String>) -> Report {
    Usage(text.into()).into()
}
