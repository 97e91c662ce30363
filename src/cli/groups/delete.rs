//! `groups delete`

use color_eyre::Result;

use super::{explained, in_use, shown_name};
use crate::{
    app::{Cluster, Error, groups},
    cli::{
        ask, complete,
        each::{each, unique},
        exit::{self, Exit},
        session::Session,
        stdout,
        words::counted,
    },
};

/// Delete groups with their committed offsets
///
/// Asks first; -y does without. A group that somebody is in is not deleted. Where one of the groups does not exist or is in
/// use, none is deleted. Consumers that come again under the name start where their settings say (auto.offset.reset).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab groups delete billing
  kafkalab groups delete billing audit -y
  kafkalab groups delete billing -y --if-exists

Exit codes: 0 done, 1 failed, members are in, or answered no, 2 wrong usage (-y is missing where
nobody can be asked), 3 broker unreachable, 4 timed out, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// The groups
    #[arg(value_name = "GROUP", required = true, add = complete::group())]
    groups: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// A group that does not exist is no failure
    #[arg(long)]
    if_exists: bool,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit> {
    ask::needs_terminal(args.yes, session, "deleting groups", "-y deletes without asking")?;
    let cluster = session.connect().await?;
    let Some(found) = find(args, &cluster, session).await? else {
        session.say("nothing was deleted");
        return Ok(Exit::FAILURE);
    };
    if found.is_empty() {
        return Ok(Exit::OK);
    }
    let stakes: Vec<&str> = found.iter().map(|(_, stake)| stake.as_str()).collect();
    if !args.yes && !ask::yes(&format!("delete {}?", stakes.join(", "))).await? {
        session.say("nothing was deleted");
        return Ok(Exit::FAILURE);
    }
    let names: Vec<String> = found.into_iter().map(|(name, _)| name).collect();
    each(&names, session, async |name| one(name, args, &cluster).await).await
}

/// The groups that are to go, each with what would be lost. `None` where one cannot go; which one has been said.
async fn find(args: &Args, cluster: &Cluster, session: &Session) -> Result<Option<Vec<(String, String)>>> {
    let (mut found, mut refused) = (Vec::new(), 0);
    for name in unique(&args.groups) {
        let report = match groups::at_stake(cluster, name).await {
            Ok((group, offsets)) => match in_use(&group, "a group is deleted") {
                Some(report) => report,
                None => {
                    let offsets = counted(offsets.len(), "committed offset");
                    found.push((name.to_owned(), format!("{} ({offsets})", shown_name(name))));
                    continue;
                }
            },
            Err(Error::UnknownGroup { .. }) if args.if_exists => {
                session.say(&format!("{} does not exist", shown_name(name)));
                continue;
            }
            Err(error @ Error::UnknownGroup { .. }) => explained(error, cluster).await,
            Err(error) => return Err(explained(error, cluster).await),
        };
        refused += 1;
        exit::print(&report, &session.terminal);
    }
    Ok((refused == 0).then_some(found))
}

async fn one(name: &str, args: &Args, cluster: &Cluster) -> Result<()> {
    match groups::delete(cluster, name).await {
        Ok(()) => stdout::write(format!("deleted {}\n", shown_name(name)).as_bytes()),
        // somebody else was faster
        Err(Error::UnknownGroup { .. }) if args.if_exists => Ok(()),
        Err(error) => Err(explained(error, cluster).await),
    }
}
