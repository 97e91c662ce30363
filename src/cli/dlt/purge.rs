//! `dlt purge`

use std::time::{SystemTime, UNIX_EPOCH};

use color_eyre::{Report, Result};
use serde_json::json;

use super::{Options, Place, explained};
use crate::{
    app::{
        Offset,
        dead_letters::{self, Before, Purge},
    },
    cli::{
        ask, complete, escape,
        exit::{Exit, Usage},
        offset::parse_place,
        session::Session,
        slips::topic_name,
        stdout,
        words::counted,
    },
};

/// Delete dead letters: those that were replayed, or others
///
/// Asks first; -y does without. Kafka deletes from the beginning of a partition on, so a letter goes with all before it.
/// Letters that arrive meanwhile stay. They are counted by offsets.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("which"),
    after_help = "\
Examples:
  kafkalab dlt purge orders                what `dlt replay --all` has sent back
  kafkalab dlt purge orders --older-than 30d
  kafkalab dlt purge orders --before 0:12 --before 1:3
  kafkalab dlt purge orders --all -y

Exit codes: 0 done, 1 failed or answered no, 2 wrong usage (-y is missing where
nobody can be asked), 3 broker unreachable, 4 timed out, 130 Ctrl-C, 143 SIGTERM"
)]
pub struct Args {
    /// The topic, by its name or by that of its dead letters
    #[arg(value_name = "TOPIC", value_parser = topic_name, add = complete::topic())]
    topic: String,
    /// All of them, replayed or not
    #[arg(short, long, group = "which")]
    all: bool,
    /// Those before this one, in its partition; may be given more than once
    #[arg(long = "before", value_name = "PARTITION:OFFSET", group = "which")]
    places: Vec<Place>,
    /// Those before the first that is not older, by the time of the record: 12h, 30d, 4w, or @2026-01-31
    #[arg(long, value_name = "AGE", group = "which")]
    older_than: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub async fn run(args: &Args, options: &Options, session: &Session) -> Result<Exit> {
    let before = before(args)?;
    ask::needs_terminal(args.yes, session, "purging dead letters", "-y purges without asking")?;
    let cluster = session.connect().await?;
    let Some(topic) = options.find(&args.topic, &cluster, session).await? else {
        options.none(&args.topic, session);
        return Ok(Exit::OK);
    };
    let plan = match dead_letters::plan_purge(&cluster, &topic.name, &before).await {
        Ok(plan) => plan,
        Err(error) => return Err(explained(error, &cluster).await),
    };
    let letters: i64 = plan.iter().map(|step| step.letters).sum();
    let waiting: i64 = plan.iter().map(|step| step.waiting).sum();
    let name = escape::line(topic.name.as_bytes());
    if letters > 0 {
        let waiting = if waiting > 0 { format!(" ({waiting} of them not replayed)") } else { String::new() };
        let question = format!("delete {} of {name}{waiting}?", counted(letters, "letter"));
        if !args.yes && !ask::yes(&question).await? {
            session.say("nothing was deleted");
            return Ok(Exit::FAILURE);
        }
        if let Err(error) = dead_letters::purge(&cluster, &topic.name, &plan).await {
            return Err(explained(error, &cluster).await);
        }
    }
    if options.json {
        stdout::json(&document(&topic.name, letters, &plan))?;
    } else if letters > 0 {
        stdout::write(format!("deleted {} of {name}\n", counted(letters, "letter")).as_bytes())?;
    } else {
        let which = if before == Before::Replayed { " that were replayed" } else { " to delete" };
        session.say(&format!("{name} has no letters{which}"));
    }
    Ok(Exit::OK)
}

fn before(args: &Args) -> Result<Before> {
    if args.all {
        return Ok(Before::End);
    }
    if !args.places.is_empty() {
        return Ok(Before::Places(args.places.iter().map(|place| place.0).collect()));
    }
    let Some(text) = &args.older_than else { return Ok(Before::Replayed) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
    match parse_place(text, now) {
        Ok(Offset::Timestamp(ms)) => Ok(Before::Time(ms)),
        _ => Err(Report::from(Usage(format!("--older-than {text}: write 12h, 30d, 4w or @2026-01-31")))),
    }
}

fn document(topic: &str, letters: i64, plan: &[Purge]) -> serde_json::Value {
    let step = |step: &Purge| {
        json!({
            "partition": step.partition,
            "before": step.before,
            "letters": step.letters,
            "waiting": step.waiting,
        })
    };
    let partitions: Vec<_> = plan.iter().map(step).collect();
    json!({"schema_version": 1, "topic": topic, "letters": letters, "partitions": partitions})
}
