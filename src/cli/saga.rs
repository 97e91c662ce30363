//! `saga`: a process over several services, with every way to fail.

mod look;
mod participant;
mod resume;
mod run;
mod steps;

use clap::Subcommand;
use color_eyre::{Report, Result, Section};

use super::{
    exit::Exit,
    pattern::{Options, handled, relayed},
    session::Session,
};
use crate::app::saga::{SagaError, ServiceError};

/// Sagas: a long process over several services; when a step fails, what was done is compensated in reverse
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab saga run                        an order is created, paid and shipped
  kafkalab saga run --fail-at 2            the payment is declined, the order is cancelled
  kafkalab saga run --fail-at 2 --fault timeout
  kafkalab saga run --style choreography   the same without an orchestrator
  kafkalab saga show ID                    what happened, a line a message

Exit codes: 0 ended as its definition says (completed, or fully compensated), 1 failed, 2 wrong usage,
3 broker unreachable, 4 timed out, 5 a compensation is parked, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    Run(run::Args),
    List(look::List),
    Show(look::Show),
    Resume(resume::Resume),
    Retry(resume::Retry),
    Participant(participant::Args),
}

pub async fn run(args: Args, session: &Session) -> Result<Exit> {
    let options = &args.options;
    match args.part {
        Part::Run(args) => run::run(args, options, session).await,
        Part::List(args) => look::list(args, options, session).await,
        Part::Show(args) => look::show(args, options, session).await,
        Part::Resume(args) => resume::resume(args, options, session).await,
        Part::Retry(args) => resume::retry(args, options, session).await,
        Part::Participant(args) => participant::run(args, options, session).await,
    }
}

/// The error with what to try next.
fn explained(error: SagaError) -> Report {
    let hint = match &error {
        SagaError::Unknown(_) => "`kafkalab saga list` shows what there is",
        SagaError::Exists(_) => "`kafkalab saga show` shows it; another --order begins another one",
        SagaError::NotParked { .. } => "`kafkalab saga resume` finishes what is open",
        SagaError::NotTaken(_) => {
            "is `kafkalab saga participant order` running on this store? `kafkalab saga resume` finishes what is open"
        }
        _ => return error.into(),
    };
    Report::new(error).suggestion(hint)
}

/// The broker's and the store's errors as themselves: they have exit codes of their own.
fn served(error: ServiceError) -> Report {
    match error {
        ServiceError::Relay(error) => relayed(error),
        ServiceError::Handler(error) => handled(error),
        ServiceError::Broker(error) => error.into(),
    }
}
