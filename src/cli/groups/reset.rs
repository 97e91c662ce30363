//! `groups reset`

use std::{
    io::Read,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use color_eyre::{Report, Result, Section, eyre::eyre};
use serde_json::{Value, json};

use super::{document, explained, in_use, shown_name};
use crate::{
    app::{
        Cluster,
        groups::{self, Move, Plan, Target},
    },
    cli::{
        ask, complete,
        exit::{Exit, Usage},
        offset,
        session::Session,
        stdout,
        table::{Table, number, text},
        words::counted,
    },
};

/// A document of a thousand groups is far smaller.
const LARGEST_FILE: u64 = 64 * 1024 * 1024;

/// Move a group: let it go on from another place
///
/// Shows what would change, and asks; -y does without. The group is moved in the partitions that it has offsets for, or in those
/// of the topics that are named, which may be new to it; a group that does not exist is made by that. Places outside of
/// what a partition has are moved to its start or end, with a word. Ends are high watermarks, as in `groups describe`.
///
/// A group that somebody is in is left alone: stop its consumers first. The broker that coordinates the group has the last
/// word; where a consumer joins while you are being asked, it refuses.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("where").required(true),
    after_help = "\
Examples:
  kafkalab groups reset billing --to start --dry-run
  kafkalab groups reset billing --to @-1h
  kafkalab groups reset billing --to -10 -t orders -p 0
  kafkalab groups reset audit --to end -t orders -y     a new group, behind what is there
  kafkalab groups describe billing -J > billing.json     where it is now, and later back to it:
  kafkalab groups reset billing --from-file billing.json

Exit codes: 0 done, 1 failed, members are in, or answered no, 2 wrong usage (-y is missing where
nobody can be asked), 3 broker unreachable, 4 timed out, 130 Ctrl-C, 143 SIGTERM. With --dry-run the
same: 1 where members are in now."
)]
pub struct Args {
    /// The group
    #[arg(value_name = "GROUP", add = complete::group())]
    group: String,
    /// The place in each partition
    ///
    /// start, end, N (this offset), +N (N after the start), -N (N before the end), @TIME (the first record not older). A time
    /// is 2026-01-31, 2026-01-31T08:30:00Z, seconds or milliseconds since 1970, or -1h (before now); @ may be left out
    /// before a duration.
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true, group = "where")]
    to: Option<String>,
    /// To the offsets in a document of `groups describe -J`; - is stdin
    ///
    /// Of the group of this name in it, or of the only one, whose offsets are copied so.
    #[arg(long, value_name = "FILE", group = "where", conflicts_with_all = ["topics", "partitions"])]
    from_file: Option<PathBuf>,
    /// Only this topic; may be given more than once [default: those that the group has offsets for]
    #[arg(short, long = "topic", value_name = "TOPIC", add = complete::topic())]
    topics: Vec<String>,
    /// Only this partition; may be given more than once, or with commas
    #[arg(short, long = "partition", value_name = "N", value_delimiter = ',',
          value_parser = clap::value_parser!(i32).range(0..))]
    partitions: Vec<i32>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The plan as a JSON document, after it was carried out
    #[arg(short = 'J', long)]
    json: bool,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit> {
    let target = target(args)?;
    let hint = "-y resets without asking, --dry-run only shows what would change";
    ask::needs_terminal(args.yes || args.dry_run, session, "resetting a group", hint)?;
    let cluster = session.connect().await?;
    let plan = match groups::plan(&cluster, &args.group, &target).await {
        Ok(plan) => plan,
        Err(error) => return Err(explained(error, &cluster).await),
    };
    if plan.moves.is_empty() {
        return Err(nothing_to_move(args));
    }
    let refusal = plan.group.as_ref().and_then(|group| in_use(group, "its offsets can be changed"));
    if args.dry_run {
        show(args, &plan, session)?;
        return refusal.map_or(Ok(Exit::OK), Err);
    }
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    carry_out(args, &plan, &cluster, session).await
}

async fn carry_out(args: &Args, plan: &Plan, cluster: &Cluster, session: &Session) -> Result<Exit> {
    let name = shown_name(&args.group);
    if !args.json {
        show(args, plan, session)?;
    }
    if plan.moves.iter().all(|step| step.from == Some(step.to)) {
        session.say(&format!("{name} is there already"));
    } else {
        let partitions = counted(plan.moves.len(), "partition");
        if !args.yes && !ask::yes(&format!("move {name} in {partitions}?")).await? {
            session.say("nothing was changed");
            return Ok(Exit::FAILURE);
        }
        if let Err(error) = groups::commit(cluster, &args.group, plan).await {
            let joined = error.is_group_in_use();
            let report = explained(error, cluster).await;
            return Err(if joined {
                report.wrap_err("a member joined in between, and the broker refuses")
            } else {
                report
            });
        }
        session.say(&format!("moved {name} in {partitions}"));
    }
    if args.json {
        show(args, plan, session)?;
    }
    Ok(Exit::OK)
}

fn target(args: &Args) -> Result<Target> {
    if let Some(text) = &args.to {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
        let place = offset::parse_place(text, now).map_err(|error| Usage(error.to_string()))?;
        return Ok(Target::Place { place, topics: args.topics.clone(), partitions: args.partitions.clone() });
    }
    let path = args.from_file.clone().unwrap_or_default();
    let wrong = |why: String| Report::from(Usage(format!("{}: {why}", path.display())));
    let bytes = contents(&path).map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(wrong("larger than any document of `kafkalab groups describe -J`".to_owned()));
    }
    Ok(Target::Offsets(document::read(&bytes, &args.group).map_err(wrong)?))
}

/// A byte more than the limit where it is too large.
fn contents(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn nothing_to_move(args: &Args) -> Report {
    let which = if args.partitions.is_empty() { "" } else { " in these partitions" };
    let report: Report = eyre!("group {:?} has committed no offsets{which}", args.group);
    report.suggestion("-t TOPIC names the topic to move it in")
}

fn show(args: &Args, plan: &Plan, session: &Session) -> Result<()> {
    if args.json {
        return stdout::json(&plan_json(args, plan));
    }
    let mut table =
        Table::new(&[text("TOPIC"), number("PARTITION"), number("FROM"), number("TO"), number("CHANGE"), text("NOTE")]);
    for step in &plan.moves {
        table.row([
            step.partition.topic.to_string(),
            step.partition.partition.to_string(),
            step.from.map_or_else(|| "-".to_owned(), |from| from.to_string()),
            step.to.to_string(),
            step.from.map_or_else(|| "-".to_owned(), |from| format!("{:+}", step.to.saturating_sub(from))),
            note(step),
        ]);
    }
    stdout::write(table.render(&session.terminal).as_bytes())
}

fn note(step: &Move) -> String {
    match step.clamped {
        Some(asked) if asked < step.to => format!("{asked} is before the start"),
        Some(asked) => format!("{asked} is behind the end"),
        None => String::new(),
    }
}

fn plan_json(args: &Args, plan: &Plan) -> Value {
    let step = |step: &Move| {
        json!({
            "topic": &*step.partition.topic,
            "partition": step.partition.partition,
            "from": step.from,
            "to": step.to,
            "change": step.from.map(|from| step.to.saturating_sub(from)),
            "asked_for": step.clamped.unwrap_or(step.to),
        })
    };
    let moves: Vec<Value> = plan.moves.iter().map(step).collect();
    json!({"schema_version": 1, "group": args.group, "dry_run": args.dry_run, "moves": moves})
}
