//! `grpc-consumer`: the consumers behind the orders' service, and what they keep.

mod look;
mod mend;
mod run;
mod teller;

use clap::Subcommand;
use color_eyre::Result;

use super::{
    exit::Exit,
    pattern::{Options, usage},
    session::Session,
};

/// Consume the orders' events: counts, a notification per order, a search index
///
/// Three handlers, each in a group of its own with its own inbox and dead letters. One that fails does not hold up the
/// others. They read what `grpc-server`, `outbox` and `es` publish; a database or a broker that is away is waited for.
///
/// A notification is queued with its order and sent at least once: `id` in the file's line, or the header
/// `Idempotency-Key`, is the same each time, and whoever heeds it has each once. Without --notify they wait.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab grpc-consumer --notify file:told.jsonl
  kafkalab grpc-consumer --only analytics --only search-index
  kafkalab grpc-consumer --notify https://example.org/hook --attempts 5
  kafkalab grpc-consumer search 'lamp user-1*'
  kafkalab grpc-consumer stats

Guarantees: counts and index are effectively once; notifications are at least once.

Exit codes: 0 done, 1 failed, or with --once notifications are dead, 2 wrong usage,
3 broker unreachable, 4 timed out, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    run: run::Run,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    Stats(look::Stats),
    Search(look::Search),
    Notifications(look::Notifications),
    Retry(mend::Retry),
    Purge(mend::Purge),
    Rebuild(mend::Rebuild),
}

pub async fn run(args: Args, session: &Session) -> Result<Exit> {
    let options = &args.options;
    if args.part.is_some() && args.run != run::Run::default() {
        return Err(usage("what a run is told (--only, --notify, --once and so on) does not go with a subcommand"));
    }
    match args.part {
        None => run::run(args.run, options, session).await,
        Some(Part::Stats(args)) => look::stats(&args, options, session).await,
        Some(Part::Search(args)) => look::search(&args, options, session).await,
        Some(Part::Notifications(args)) => look::notifications(args, options, session).await,
        Some(Part::Retry(args)) => mend::retry(args, options, session).await,
        Some(Part::Purge(args)) => mend::purge(args, options, session).await,
        Some(Part::Rebuild(args)) => mend::rebuild(args, options, session).await,
    }
}
