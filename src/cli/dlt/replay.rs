//! `dlt replay`

use color_eyre::{Report, Result, Section};
use serde_json::json;

use super::{Options, Place, explained};
use crate::{
    app::{
        Error,
        dead_letters::{Replay, Replayed, Which, replay},
    },
    cli::{
        complete, escape,
        exit::{Exit, Usage},
        session::Session,
        slips::topic_name,
        stdout,
        words::{counted, next_step},
    },
};

/// Send dead letters back to where they came from
///
/// Each goes to the topic and partition that it came from, without the headers that say so, and otherwise byte for byte the
/// record that it was. At-least-once: it is acknowledged by all in-sync replicas before it counts as replayed, and after a
/// crash in between it is sent again; the consumer's inbox drops the repeat. Behind newer records of its key it may come.
///
/// --all sends, in order, what no --all before has sent: the group kafkalab-dlt-replay remembers how far it came, for as
/// long as the brokers keep the offsets of a group without members (seven days by default). The letters stay in their topic;
/// `dlt purge` deletes what was replayed.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("which").required(true),
    after_help = "\
Examples:
  kafkalab dlt replay orders --all --dry-run
  kafkalab dlt replay orders --all
  kafkalab dlt replay orders --offset 0:12 --offset 2:7
  kafkalab dlt replay orders --offset 0:12 --to orders-test

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out,
130 Ctrl-C, 143 SIGTERM"
)]
pub struct Args {
    /// The topic, by its name or by that of its dead letters
    #[arg(value_name = "TOPIC", value_parser = topic_name, add = complete::topic())]
    topic: String,
    /// All that wait
    #[arg(short, long, group = "which")]
    all: bool,
    /// Just this letter, again if need be; may be given more than once
    #[arg(long = "offset", value_name = "PARTITION:OFFSET", group = "which")]
    places: Vec<Place>,
    /// To this topic, and not to where they came from
    #[arg(long, value_name = "TOPIC", value_parser = topic_name, add = complete::topic())]
    to: Option<String>,
    /// Send nothing, and say what would be sent
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(args: &Args, options: &Options, session: &Session) -> Result<Exit> {
    let cluster = session.connect().await?;
    let Some(topic) = options.find(&args.topic, &cluster, session).await? else {
        options.none(&args.topic, session);
        return Ok(if args.all { Exit::OK } else { Exit::FAILURE });
    };
    let to = args.to.as_ref().map(|to| options.name(to, session));
    if to.as_deref() == Some(&*topic.name) {
        return Err(Usage(format!("--to {}: that is where they are", topic.name)).into());
    }
    let which = match args.all {
        true => Which::All,
        false => Which::These(args.places.iter().map(|place| place.0).collect()),
    };
    let wanted = Replay { topic: topic.name.to_string(), which, to, dry_run: args.dry_run };
    let report = match replay(&cluster, &wanted, &session.stop.token()).await {
        Ok(report) => report,
        Err(error) => {
            let is_unknown = matches!(error, Error::UnknownTopic { .. });
            let report = explained(error, &cluster).await;
            return Err(if is_unknown && wanted.to.is_none() { elsewhere(report) } else { report });
        }
    };
    say(&report, &wanted, options, session)?;
    Ok(session.stop.exit())
}

fn elsewhere(report: Report) -> Report {
    report.wrap_err("the topic that letters came from").suggestion("--to TOPIC sends them elsewhere")
}

fn say(report: &Replayed, wanted: &Replay, options: &Options, session: &Session) -> Result<()> {
    if options.json {
        let to = report.to.iter().map(|(topic, letters)| json!({"topic": topic, "letters": letters}));
        return stdout::json(&json!({
            "schema_version": 1,
            "topic": wanted.topic,
            "dry_run": wanted.dry_run,
            "letters": report.count(),
            "without_note": report.without_note,
            "to": to.collect::<Vec<_>>(),
        }));
    }
    if report.count() == 0 {
        session.say(&format!("no letters wait in {}", wanted.topic));
        return Ok(());
    }
    let word = if wanted.dry_run { "would replay" } else { "replayed" };
    for (topic, letters) in &report.to {
        let line = format!("{word} {} to {}\n", counted(*letters as i64, "letter"), escape::line(topic.as_bytes()));
        stdout::write(line.as_bytes())?;
    }
    if report.without_note > 0 && wanted.to.is_none() {
        let (letters, topic) = (counted(report.without_note as i64, "letter"), &wanted.topic);
        session
            .say(&format!("{letters} of no sender of dead letters: the topic is the one that {topic} is named after"));
    }
    if wanted.which == Which::All && !wanted.dry_run {
        next_step(session, &format!("kafkalab dlt purge {} deletes what was replayed", wanted.topic));
    }
    Ok(())
}
