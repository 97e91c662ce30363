//! `groups describe`

use std::time::Duration;

use color_eyre::{Report, Result};

use super::{document, explained, page::page, watch};
use crate::{
    app::groups::{self, Description},
    cli::{
        complete,
        each::unique,
        exit::{self, Exit},
        session::{self, Session},
        stdout,
    },
};

/// Describe groups: members, committed offsets, and how far behind they are
///
/// END is behind the last record (the high watermark, as in Kafka's own kafka-consumer-groups), and LAG is END minus
/// COMMITTED: so many records at most, for offsets of transaction markers and of compacted records hold nothing, and
/// records of open transactions count. What a group has read since its last commit counts as lag, too.
///
/// BEHIND is the lag in time: how long ago the oldest record that is not consumed was written, which is the timestamp of the
/// first record at or behind the committed offset, against this machine's clock. It is - where nothing is behind, the record
/// has no timestamp, or its leader does not answer within 5 s.
///
/// --watch draws it again in place, and in a pipe writes a block, or with -J a line, each time. RATE/S is how many records
/// were committed a second in the last half minute, UNTIL the time until nothing is behind if it goes on like this, new
/// records included; - where the lag does not shrink.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab groups describe billing
  kafkalab groups describe billing --watch 1s
  kafkalab groups describe billing -J | jq '.groups[].lag'
  kafkalab groups describe billing -J > billing.json    `groups reset --from-file` reads it back

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// The groups
    #[arg(value_name = "GROUP", required = true, add = complete::group())]
    groups: Vec<String>,
    /// As a JSON document
    #[arg(short = 'J', long)]
    json: bool,
    /// Again and again, until Ctrl-C
    #[arg(short, long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "2s", value_parser = interval)]
    watch: Option<Duration>,
}

/// Each look asks the brokers several times.
fn interval(text: &str) -> Result<Duration, String> {
    match session::duration(text)? {
        interval if interval < Duration::from_millis(100) => Err("every 100ms is the most often".to_owned()),
        interval => Ok(interval),
    }
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit> {
    let cluster = session.connect().await?;
    let names = unique(&args.groups);
    if let Some(interval) = args.watch {
        return watch::run(&names, interval, args.json, &cluster, session).await;
    }
    let (mut described, mut failed) = (Vec::new(), Vec::new());
    for name in names {
        match groups::describe(&cluster, name).await {
            Ok(description) => described.push(description),
            Err(error) => failed.push(explained(error, &cluster).await),
        }
    }
    if args.json {
        stdout::json(&document::write(described.iter().map(|description| (description, None))))?;
    } else {
        let pages: Vec<String> =
            described.iter().map(|description| page(description, None, &session.terminal)).collect();
        stdout::write(pages.join("\n").as_bytes())?;
    }
    failed.extend(described.into_iter().flat_map(gaps));
    // What could be found stands above; what could not be found decides how this ends.
    for report in &failed {
        exit::print(report, &session.terminal);
    }
    Ok(failed.first().map_or(Exit::OK, exit::code))
}

/// What could not be had.
fn gaps(description: Description) -> Vec<Report> {
    description.gaps.into_iter().map(Report::from).collect()
}
