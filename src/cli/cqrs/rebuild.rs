//! `cqrs rebuild`: a read model anew, beside the one that serves.

use clap::ValueEnum;
use color_eyre::{Report as Trouble, Result, Section};
use serde_json::json;

use crate::{
    app::{
        cqrs::rebuild::{Rebuild, RebuildError},
        projection::Models,
    },
    cli::{exit::Exit, pattern::Options, session::Session, stdout, terminal::Unit, words::counted},
};

/// Build a read model anew beside the one that serves, and switch to it in one transaction
///
/// The old one serves meanwhile, and readers feed both. A rebuild that dies leaves the old one as it was; the same command
/// again goes on where it ended. Nothing but the models is changed: no event is sent, no handler is run.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab cqrs rebuild users
  kafkalab cqrs rebuild all --compare      and count the rows that differ from the old ones
  kafkalab cqrs rebuild all --from topics  for events that others sent, past the log

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// users, products, recent, statuses, revenue, or all
    #[arg(value_name = "NAME", value_parser = models)]
    models: Models,
    /// Where the events come from
    #[arg(long, value_enum, default_value_t = From::Log)]
    from: From,
    /// Compare with the old one before the switch: the same, row by row, where nothing comes in meanwhile
    #[arg(long)]
    compare: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// The event log: all commands' events, whatever became of the topics
    Log,
    /// The topics, which must still be whole
    Topics,
}

fn models(text: &str) -> Result<Models, String> {
    text.parse().map_err(|error: crate::app::projection::NoModel| error.to_string())
}

pub async fn run(args: Args, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open(session).await?;
    let cluster = match args.from {
        From::Log => None,
        From::Topics => Some(session.connect().await?),
    };
    let prefix = options.prefix(session);
    let stop = session.stop.token();
    let rebuild = Rebuild {
        store: &store,
        models: args.models,
        topics: cluster.as_ref().map(|cluster| (cluster, prefix.as_str())),
        compare: args.compare,
        stop: &stop,
    };
    let bar = session.terminal.bar("rebuilding", 0, Unit::Records);
    let mut progress = |done: u64, of: u64| {
        bar.set_length(of);
        bar.set_position(done);
    };
    let outcome = rebuild.run(&mut progress).await;
    bar.finish_and_clear();
    let Some(report) = outcome.map_err(explained)? else {
        session.say("stopped; the old model serves on, and the same command goes on from here");
        return Ok(session.stop.exit());
    };
    if options.json {
        stdout::json(&json!({
            "schema_version": 1, "models": args.models.iter().map(|model| model.name()).collect::<Vec<_>>(),
            "generation": report.generation, "resumed_at": report.resumed_at, "events": report.events,
            "unreadable": report.unreadable, "differences": report.differences,
        }))?;
    } else if !session.terminal.is_quiet() {
        let resumed = match report.resumed_at {
            0 => String::new(),
            at => format!(" (resumed at {at})"),
        };
        let compared = report.differences.map(|rows| format!("; {rows} rows differ from before")).unwrap_or_default();
        let events = counted(report.events, "event");
        let line = format!("{}: rebuilt from {events}{resumed}{compared}, and switched\n", args.models);
        stdout::write(line.as_bytes())?;
    }
    if report.unreadable > 0 {
        session.say(&format!("{} could not be read and are in no model", counted(report.unreadable, "event")));
    }
    Ok(Exit::OK)
}

fn explained(error: RebuildError) -> Trouble {
    match error {
        RebuildError::Store(error) => error.into(),
        RebuildError::Broker(error) => error.into(),
        error @ RebuildError::Gone { .. } => Trouble::new(error).suggestion("kafkalab cqrs rebuild NAME --from log"),
        error @ RebuildError::Busy => error.into(),
    }
}
