//! `outbox`: the transactional outbox, as a narrated demonstration and in its parts.

mod consume;
pub(super) mod demo;
mod look;
mod mend;
mod order;
mod relay;

use clap::Subcommand;
use color_eyre::Result;

use super::{exit::Exit, pattern::Options, session::Session};

/// The transactional outbox: saved and published, or neither; and in effect once
///
/// Alone it is a narrated demonstration that needs nothing: orders are taken while Kafka is away, rows wait, Kafka comes,
/// the relay drains, and a consumer applies the effect once although a record arrives twice. With a subcommand it is one
/// part of that.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab outbox                          the demonstration
  kafkalab outbox order --price USD:12.99  an order and its message, in one transaction
  kafkalab outbox relay                    send what waits, and what comes
  kafkalab outbox consume                  the idempotent consumer: reserves stock
  kafkalab outbox list                     what waits, what is parked and why

Guarantees: at-least-once publishing, in order per aggregate; with the consumer's inbox the
effect is there once. An outbox alone is never exactly-once.

Exit codes: 0 done, 1 failed, refused or rows are parked, 2 wrong usage, 3 broker unreachable,
4 timed out, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    Order(order::Args),
    Relay(relay::Args),
    List(look::List),
    Show(look::Show),
    Retry(mend::Retry),
    Discard(mend::Discard),
    Purge(mend::Purge),
    Consume(consume::Args),
    Stock(consume::Stock),
}

pub async fn run(args: Args, session: &Session) -> Result<Exit> {
    let options = &args.options;
    match args.part {
        None => demo::run(options, session).await,
        Some(Part::Order(args)) => order::run(args, options, session).await,
        Some(Part::Relay(args)) => relay::run(args, options, session).await,
        Some(Part::List(args)) => look::list(args, options, session).await,
        Some(Part::Show(args)) => look::show(args, options, session).await,
        Some(Part::Retry(args)) => mend::retry(args, options, session).await,
        Some(Part::Discard(args)) => mend::discard(args, options, session).await,
        Some(Part::Purge(args)) => mend::purge(args, options, session).await,
        Some(Part::Consume(args)) => consume::run(args, options, session).await,
        Some(Part::Stock(args)) => consume::stock(&args, options, session).await,
    }
}
