//! `topics list`

use color_eyre::{Result, eyre::WrapErr};
use serde_json::json;

use crate::{
    app::{self, topics::Summary},
    cli::{
        exit::Exit,
        session::Session,
        stdout,
        table::{Table, number, text},
        words::{counted, next_step},
    },
};

/// List the topics
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab topics list
  kafkalab topics list --all               Kafka's own too
  kafkalab topics list -J | jq -r '.topics[].name'

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// With the topics that Kafka keeps for itself, such as __consumer_offsets
    #[arg(short, long, visible_alias = "internal")]
    all: bool,
    /// As a JSON document
    #[arg(short = 'J', long)]
    json: bool,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit> {
    let cluster = session.connect().await?;
    let topics = app::topics::list(&cluster, args.all).await.wrap_err("listing topics")?;
    if args.json {
        stdout::write(format!("{}\n", document(&topics)).as_bytes())?;
        return Ok(Exit::OK);
    }
    if topics.is_empty() {
        session.say("no topics yet");
        next_step(session, "kafkalab produce --sample 10 makes one, with ten order events in it");
        return Ok(Exit::OK);
    }
    let mut table = Table::new(&[text("TOPIC"), number("PARTITIONS"), number("REPLICAS"), text("NOTE")]);
    for topic in &topics {
        let (partitions, replicas) = (topic.shape.partitions.to_string(), topic.shape.replicas.to_string());
        table.row([&*topic.name, &partitions, &replicas, &note(topic)]);
    }
    stdout::write(table.render(&session.terminal).as_bytes())?;
    Ok(Exit::OK)
}

/// What a person should know before using it.
fn note(topic: &Summary) -> String {
    let mut notes = Vec::new();
    if topic.internal {
        notes.push("internal".to_owned());
    }
    if topic.without_leader > 0 {
        notes.push(format!("{} without leader", counted(topic.without_leader, "partition")));
    }
    if topic.under_replicated > 0 {
        notes.push(format!("{} under-replicated", counted(topic.under_replicated, "partition")));
    }
    notes.join(", ")
}

fn document(topics: &[Summary]) -> serde_json::Value {
    let topic = |topic: &Summary| {
        json!({
            "name": &*topic.name,
            "internal": topic.internal,
            "partitions": topic.shape.partitions,
            "replicas": topic.shape.replicas,
            "without_leader": topic.without_leader,
            "under_replicated": topic.under_replicated,
        })
    };
    json!({"schema_version": 1, "topics": topics.iter().map(topic).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Shape;

    #[test]
    fn a_note_says_what_is_wrong() {
        let healthy = Summary {
            name: "orders".into(),
            internal: false,
            shape: Shape { partitions: 3, replicas: 3 },
            without_leader: 0,
            under_replicated: 0,
        };
        assert_eq!(note(&healthy), "");
        let ill = Summary { internal: true, without_leader: 1, under_replicated: 2, ..healthy };
        assert_eq!(note(&ill), "internal, 1 partition without leader, 2 partitions under-replicated");
    }
}
