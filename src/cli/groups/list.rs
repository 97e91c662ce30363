//! `groups list`

use color_eyre::{Report, Result, eyre::WrapErr};
use serde_json::{Value, json};

use crate::{
    app::{GroupSummary, groups},
    cli::{
        exit::{self, Exit},
        session::Session,
        stdout,
        table::{Table, number, text},
        words::next_step,
    },
};

/// Kafka's names of states: of classic groups, then those that only KIP-848 groups have.
const STATES: [&str; 7] =
    ["Stable", "Empty", "PreparingRebalance", "CompletingRebalance", "Dead", "Assigning", "Reconciling"];

/// List the groups
///
/// Every broker is asked for the groups that it coordinates. KIND is classic or consumer (KIP-848, where the broker shares
/// out the partitions). PROTOCOL is what the members do, where it is not consuming: Kafka Connect's workers are a group too.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab groups list
  kafkalab groups list --state empty       those that nobody is in
  kafkalab groups list -J | jq -r '.groups[] | select(.members == 0).name'

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out, 130 Ctrl-C,
143 SIGTERM. Where some brokers do not answer, the groups of the others are listed, and the exit code
is that of the first failure.")]
pub struct Args {
    /// Only groups in this state, such as stable or empty; may be given more than once, or with commas
    #[arg(short, long = "state", value_name = "STATE", value_delimiter = ',', value_parser = state)]
    states: Vec<&'static str>,
    /// As a JSON document
    #[arg(short = 'J', long)]
    json: bool,
}

/// Whatever its case and dashes: nobody remembers them.
fn state(text: &str) -> Result<&'static str, String> {
    let plain = |name: &str| name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    let found = STATES.into_iter().find(|state| plain(state) == plain(text));
    found.ok_or_else(|| format!("states are {}", STATES.join(", ")))
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit> {
    let cluster = session.connect().await?;
    let list = groups::list(&cluster).await.wrap_err("listing groups")?;
    let wanted = |group: &GroupSummary| args.states.is_empty() || args.states.contains(&group.state.as_str());
    let shown: Vec<&GroupSummary> = list.groups.iter().filter(|group| wanted(group)).collect();
    if args.json {
        let groups: Vec<Value> = shown.iter().map(|group| group_json(group)).collect();
        stdout::json(&json!({"schema_version": 1, "groups": groups}))?;
    } else if !shown.is_empty() {
        stdout::write(table(&shown).render(&session.terminal).as_bytes())?;
    } else if !list.groups.is_empty() {
        session.say(&format!("no groups in this state; {} in others", list.groups.len()));
    } else if list.missing.is_empty() {
        session.say("no groups yet");
        next_step(session, "a group is there from its first member or commit on, and as long as it has either");
    }
    let missing: Vec<Report> =
        list.missing.into_iter().map(|error| Report::from(error).wrap_err("listing groups")).collect();
    for report in &missing {
        exit::print(report, &session.terminal);
    }
    Ok(missing.first().map_or(Exit::OK, exit::code))
}

fn table(groups: &[&GroupSummary]) -> Table {
    let mut table = Table::new(&[text("GROUP"), text("STATE"), text("KIND"), number("MEMBERS"), text("PROTOCOL")]);
    for group in groups {
        let members = group.members.map_or_else(|| "-".to_owned(), |members| members.to_string());
        let protocol = if group.protocol_type == "consumer" { "" } else { &group.protocol_type };
        table.row([&*group.name, &group.state, group.kind.name(), &members, protocol]);
    }
    table
}

fn group_json(group: &GroupSummary) -> Value {
    json!({
        "name": &*group.name,
        "state": group.state,
        "kind": group.kind.name(),
        "protocol_type": group.protocol_type,
        "members": group.members,
    })
}

#[cfg(test)]
mod tests {
    use super::state;

    #[test]
    fn states_are_known_however_they_are_written() {
        assert_eq!(state("stable"), Ok("Stable"));
        assert_eq!(state("preparing-rebalance"), Ok("PreparingRebalance"));
        assert!(state("stabel").is_err() && state("").is_err());
    }
}
