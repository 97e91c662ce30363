//! `groups`: which there are, how far they have come, and moving them. Each subcommand is one file; here is what they share.

mod delete;
mod describe;
mod document;
mod list;
mod page;
mod reset;
mod watch;

use std::{collections::BTreeSet, time::Duration};

use clap::Subcommand;
use color_eyre::{Report, Result, Section, eyre::eyre};

use super::{
    escape,
    exit::Exit,
    session::Session,
    words::{counted, did_you_mean},
};
use crate::app::{self, Cluster, Error, Group, groups};

/// List, describe, move and delete consumer groups
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab groups list
  kafkalab groups describe billing         members, committed offsets, lag
  kafkalab groups describe billing --watch
  kafkalab groups reset billing --to start --dry-run
  kafkalab groups delete billing

Each subcommand's --help has more.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    #[command(subcommand)]
    command: What,
}

#[derive(Debug, Subcommand)]
enum What {
    #[command(alias = "ls")]
    List(list::Args),
    #[command(alias = "desc")]
    Describe(describe::Args),
    Reset(reset::Args),
    #[command(alias = "rm")]
    Delete(delete::Args),
}

pub async fn run(args: Args, session: &Session) -> Result<Exit> {
    let work = async {
        match args.command {
            What::List(args) => list::run(&args, session).await,
            What::Describe(args) => describe::run(&args, session).await,
            What::Reset(args) => reset::run(&args, session).await,
            What::Delete(args) => delete::run(&args, session).await,
        }
    };
    tokio::select! {
        biased;
        () = session.stop.asked() => Ok(session.stop.exit()),
        ended = work => ended,
    }
}

/// The error with what to try next.
async fn explained(error: Error, cluster: &Cluster) -> Report {
    let hint = match &error {
        Error::UnknownGroup { group } => {
            let near: Vec<String> = groups::near(cluster, group).await.iter().map(|name| shown_name(name)).collect();
            did_you_mean(&near, "`kafkalab groups list` shows what there is")
        }
        Error::UnknownTopic { topic } => {
            did_you_mean(&app::near_topics(cluster, topic).await, "`kafkalab topics list` shows what there is")
        }
        error if error.is_group_in_use() => {
            "somebody is in the group; `kafkalab groups describe` shows who, and its offsets can be changed, and it can \
             be deleted, only when all have left"
                .to_owned()
        }
        _ => return error.into(),
    };
    let report: Report = error.into();
    report.suggestion(hint)
}

/// Why a group that somebody is in is left alone; `None` where nobody is.
fn in_use(group: &Group, what: &str) -> Option<Report> {
    if group.members.is_empty() {
        return None;
    }
    let hosts: BTreeSet<&str> = group.members.iter().map(|member| member.host.trim_start_matches('/')).collect();
    let (count, hosts) = (counted(group.members.len(), "member"), listed(hosts.into_iter().map(str::to_owned)));
    let report: Report = eyre!("group {:?} has {count}, on {hosts}; {what} only while nobody is in", &*group.name);
    Some(report.suggestion(format!(
        "stop its consumers first; `kafkalab groups describe {}` shows them. One that was killed is in until its session \
         time-out is over (45 s by default)",
        shown_name(&group.name)
    )))
}

/// The first few, and how many more there are.
fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let mut shown = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 {
        shown.push_str(&format!(" and {more} more"));
    }
    shown
}

fn shown_name(name: &str) -> String {
    escape::line(name.as_bytes()).into_owned()
}

/// As short as it can be told apart: `0.4s`, `12s`, `3m20s`, `5h10m`, `2d4h`.
fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large}{large_unit}"),
        _ => format!("{large}{large_unit}{small}{small_unit}"),
    };
    match seconds {
        0..10 => format!("{:.1}s", time.as_millis() as f64 / 1000.0),
        10..60 => format!("{seconds}s"),
        60..3600 => two(seconds / 60, "m", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_two_units_at_most() {
        for (ms, shown) in [
            (0, "0.0s"),
            (420, "0.4s"),
            (9_990, "10.0s"),
            (12_700, "12s"),
            (60_000, "1m"),
            (200_000, "3m20s"),
            (18_610_000, "5h10m"),
            (187_200_000, "2d4h"),
        ] {
            assert_eq!(time(Duration::from_millis(ms)), shown, "{ms}");
        }
    }

    #[test]
    fn long_lists_are_cut() {
        let names = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().into_iter();
        assert_eq!(listed(names(2)), "0, 1");
        assert_eq!(listed(names(7)), "0, 1, 2, 3, 4 and 2 more");
    }
}
