//! `cqrs`: one side that writes, one that reads, as a narrated demonstration and in its parts.

mod demo;
mod look;
mod read;
mod rebuild;
mod report;
mod write;

use clap::Subcommand;
use color_eyre::Result;

use super::{exit::Exit, pattern::Options, session::Session};

/// CQRS: a write side without read models, and a read side that can be trusted and rebuilt
///
/// Alone it is a narrated demonstration that needs nothing: both sides in one process, a duplicate and an out-of-order pair
/// sent on purpose, the read side killed and resumed, a rebuild compared with the live models. With a subcommand it is one
/// part of that.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab cqrs                            the demonstration
  kafkalab cqrs write -n 100               a hundred plausible commands, some of which are refused
  kafkalab cqrs write create --price USD:12.99
  kafkalab cqrs read                       keep the read models; a report every 10 s
  kafkalab cqrs stats                      what they say now
  kafkalab cqrs rebuild users              one of them anew, beside the one that serves

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
    Write(write::Args),
    Read(read::Args),
    Stats(look::Stats),
    Orders(look::Orders),
    Order(look::Order),
    Lag(look::Lag),
    Rebuild(rebuild::Args),
}

pub async fn run(args: Args, session: &Session) -> Result<Exit> {
    let options = &args.options;
    match args.part {
        None => demo::run(options, session).await,
        Some(Part::Write(args)) => write::run(args, options, session).await,
        Some(Part::Read(args)) => read::run(args, options, session).await,
        Some(Part::Stats(args)) => look::stats(&args, options, session).await,
        Some(Part::Orders(args)) => look::orders(args, options, session).await,
        Some(Part::Order(args)) => look::order(args, options, session).await,
        Some(Part::Lag(args)) => look::lag(&args, options, session).await,
        Some(Part::Rebuild(args)) => rebuild::run(args, options, session).await,
    }
}
