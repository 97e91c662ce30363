//! `es replay`: events of the log once more.

use color_eyre::Result;
use serde_json::json;

use super::{Options, relayed};
use crate::{
    app::event_sourcing::replay::{self, Target, replay},
    cli::{
        exit::Exit,
        session::Session,
        slips::topic_name,
        stdout,
        table::{Table, number, text},
        terminal::Unit,
        words::counted,
    },
};

/// Send events of the log once more, marked as a replay
///
/// Each record has the header kafkalab-replay: handlers with effects outside of their own store pass it by, and inboxes
/// know the event ids. No checkpoint moves.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab es replay --dry-run             what there is, and that all of it can be read
  kafkalab es replay --topic rebuild       all of it to one topic
  kafkalab es replay --from 100 --to 200   these positions, to the topics where they were published

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// The first position
    #[arg(long, value_name = "N", default_value_t = 1)]
    from: u64,
    /// The last position [default: the log's end]
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// All to this topic, and not to those where they were published
    #[arg(long, value_name = "TOPIC", value_parser = topic_name, conflicts_with = "dry_run")]
    topic: Option<String>,
    /// Send nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(args: Args, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open_to_look(super::look::MADE_BY, session).await?;
    let target = match (args.topic, args.dry_run) {
        (_, true) => Target::Nowhere,
        (Some(topic), false) => Target::Topic(topic),
        (None, false) => Target::OwnTopics,
    };
    let cluster = if target == Target::Nowhere { None } else { Some(session.connect().await?) };
    let head = args.to.unwrap_or(store.head().await?);
    let bar = session.terminal.bar("replaying", head.saturating_sub(args.from.saturating_sub(1)), Unit::Records);
    let options_of = replay::Options { from: args.from, to: args.to, target, prefix: options.prefix(session) };
    let mut progress = |position: u64| bar.set_position(position.saturating_sub(args.from.saturating_sub(1)));
    let stop = session.stop.token();
    let report = replay(&store, cluster.as_ref(), &options_of, &stop, &mut progress).await.map_err(relayed)?;
    bar.finish_and_clear();
    if options.json {
        let mut document = json!({"schema_version": 1});
        if let (Some(document), serde_json::Value::Object(report)) =
            (document.as_object_mut(), serde_json::to_value(&report)?)
        {
            document.extend(report);
        }
        stdout::json(&document)?;
    } else {
        let mut table = Table::new(&[text("EVENT TYPE"), number("EVENTS")]);
        for (event_type, count) in &report.by_type {
            table.row([crate::cli::escape::line(event_type.as_bytes()).into_owned(), count.to_string()]);
        }
        if report.events > 0 {
            stdout::write(table.render(&session.terminal).as_bytes())?;
        }
        let what = if report.replay_id.is_some() { "sent once more" } else { "read" };
        session.say(&format!("{} {what}", counted(report.events, "event")));
    }
    if session.stop.is_asked() {
        return Ok(session.stop.exit());
    }
    Ok(Exit::OK)
}
