//! `topics delete`

use std::sync::Arc;

use color_eyre::Result;

use super::explained;
use crate::{
    app::{Cluster, Error, Topic, topics},
    cli::{
        ask, complete,
        each::{each, unique},
        escape,
        exit::{self, Exit},
        session::Session,
        slips::topic_name,
        stdout,
        words::counted,
    },
};

/// Delete topics with all their records
///
/// Asks first; -y does without. Where one of the topics does not exist, none is deleted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab topics delete orders
  kafkalab topics delete orders payments -y
  kafkalab topics delete orders -y --if-exists

Exit codes: 0 done, 1 failed or answered no, 2 wrong usage (-y is missing where nobody can be asked), 3 broker
unreachable, 4 timed out, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// The topics
    #[arg(value_name = "TOPIC", value_parser = topic_name, required = true, add = complete::topic())]
    topics: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// A topic that does not exist is no failure
    #[arg(long)]
    if_exists: bool,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit> {
    ask::needs_terminal(args.yes, session, "deleting topics", "-y deletes without asking")?;
    let cluster = session.connect().await?;
    let Some(found) = find(args, &cluster, session).await? else {
        session.say("nothing was deleted");
        return Ok(Exit::FAILURE);
    };
    if found.is_empty() {
        return Ok(Exit::OK);
    }
    if !args.yes && !ask::yes(&question(&found, &cluster).await).await? {
        session.say("nothing was deleted");
        return Ok(Exit::FAILURE);
    }
    let names: Vec<String> = found.iter().map(|topic| topic.name.to_string()).collect();
    each(&names, session, async |name| one(name, args, &cluster).await).await
}

/// All topics that are to go. `None` where one does not exist and should; which one has been said.
async fn find(args: &Args, cluster: &Cluster, session: &Session) -> Result<Option<Vec<Arc<Topic>>>> {
    let (mut found, mut unknown) = (Vec::new(), 0);
    for name in unique(&args.topics) {
        match cluster.topic(name).await {
            Ok(topic) => found.push(topic),
            Err(Error::UnknownTopic { topic }) if args.if_exists => {
                session.say(&format!("{} does not exist", escape::line(topic.as_bytes())));
            }
            Err(error @ Error::UnknownTopic { .. }) => {
                unknown += 1;
                exit::print(&explained(error, cluster).await, &session.terminal);
            }
            Err(error) => return Err(explained(error, cluster).await),
        }
    }
    Ok((unknown == 0).then_some(found))
}

async fn one(name: &str, args: &Args, cluster: &Cluster) -> Result<()> {
    match topics::delete(cluster, name).await {
        Ok(()) => stdout::write(format!("deleted {}\n", escape::line(name.as_bytes())).as_bytes()),
        // somebody else was faster
        Err(Error::UnknownTopic { .. }) if args.if_exists => Ok(()),
        Err(error) => Err(explained(error, cluster).await),
    }
}

/// What would be lost, by name and number.
async fn question(found: &[Arc<Topic>], cluster: &Cluster) -> String {
    let mut parts = Vec::new();
    for topic in found {
        let records = topics::records(cluster, topic).await;
        let records = records.map(|records| format!(", {}", counted(records, "record"))).unwrap_or_default();
        parts.push(format!(
            "{} ({}{records})",
            escape::line(topic.name.as_bytes()),
            counted(topic.count(), "partition")
        ));
    }
    format!("delete {}?", parts.join(", "))
}
