//! `topics describe`

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use color_eyre::{Report, Result};
use serde_json::{Value, json};

use super::{configs, configs_json, explained, shape};
use crate::{
    app::{
        Partition, Shape, Topic,
        topics::{Description, describe},
    },
    cli::{
        complete,
        each::unique,
        escape,
        exit::{self, Exit},
        session::Session,
        slips::topic_name,
        stdout,
        table::{Table, number, text},
        words::{counted, folded},
    },
};

/// Describe topics: leaders, replicas, offsets, and the settings that are not Kafka's default
///
/// RECORDS is END minus START: so many at most, for offsets of compacted records and of transaction markers hold nothing.
/// ISR are the replicas that are in sync.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab topics describe orders
  kafkalab topics describe orders payments -J | jq '.topics[].partitions[].end'

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// The topics
    #[arg(value_name = "TOPIC", value_parser = topic_name, required = true, add = complete::topic())]
    topics: Vec<String>,
    /// As a JSON document
    #[arg(short = 'J', long)]
    json: bool,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit> {
    let cluster = session.connect().await?;
    let (mut described, mut failed) = (Vec::new(), Vec::new());
    for name in unique(&args.topics) {
        match describe(&cluster, name).await {
            Ok(description) => described.push(description),
            Err(error) => failed.push(explained(error, &cluster).await),
        }
    }
    let out = if args.json {
        let topics: Vec<Value> = described.iter().map(topic_json).collect();
        format!("{}\n", json!({"schema_version": 1, "topics": topics}))
    } else {
        described.iter().map(|description| page(description, session)).collect::<Vec<_>>().join("\n")
    };
    stdout::write(out.as_bytes())?;
    failed.extend(described.into_iter().flat_map(gaps));
    // What could be found stands above; what could not be found decides how this ends.
    for report in &failed {
        exit::print(report, &session.terminal);
    }
    Ok(failed.first().map_or(Exit::OK, exit::code))
}

/// The parts that could not be had.
fn gaps(description: Description) -> Vec<Report> {
    let errors = [description.offsets.err(), description.configs.err()];
    errors.into_iter().flatten().map(Report::from).collect()
}

fn page(description: &Description, session: &Session) -> String {
    let topic = &description.topic;
    let mut head = format!("{}: {}", escape::line(topic.name.as_bytes()), shape(Shape::from(&**topic)));
    if let Some(records) = description.records() {
        head.push_str(&format!(", {}", counted(records, "record")));
    }
    let mut table = Table::new(&[
        number("PARTITION"),
        number("LEADER"),
        text("REPLICAS"),
        text("ISR"),
        number("START"),
        number("END"),
        number("RECORDS"),
    ]);
    for partition in &topic.partitions {
        let offsets = offsets(description, partition);
        let shown = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        table.row([
            partition.number.to_string(),
            partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
            list(&partition.replicas),
            list(&partition.in_sync),
            shown(offsets.map(|(start, _)| start)),
            shown(offsets.map(|(_, end)| end)),
            shown(offsets.map(|(start, end)| end - start)),
        ]);
    }
    let mut page = format!(
        "{}\n{}",
        session.terminal.out.palette.emphasis(folded(&head, session.terminal.width())),
        table.render(&session.terminal)
    );
    if let Ok(entries) = &description.configs
        && !entries.is_empty()
    {
        page.push('\n');
        page.push_str(&configs(entries, session));
    }
    page
}

fn offsets(description: &Description, partition: &Partition) -> Option<(i64, i64)> {
    description.offsets.as_ref().ok()?.get(&partition.number).copied()
}

fn list(nodes: &[i32]) -> String {
    nodes.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

fn topic_json(description: &Description) -> Value {
    let topic = &description.topic;
    let partition = |partition: &Partition| {
        let offsets = offsets(description, partition);
        json!({
            "partition": partition.number,
            "leader": partition.leader,
            "replicas": partition.replicas,
            "isr": partition.in_sync,
            "start": offsets.map(|(start, _)| start),
            "end": offsets.map(|(_, end)| end),
            "records": offsets.map(|(start, end)| end - start),
        })
    };
    json!({
        "name": &*topic.name,
        "id": id(topic),
        "internal": topic.internal,
        "partitions": topic.partitions.iter().map(partition).collect::<Vec<_>>(),
        "configs": description.configs.as_deref().ok().map(configs_json),
    })
}

/// As Kafka's own tools write it; the embedded broker gives none.
fn id(topic: &Topic) -> Option<String> {
    (!topic.id.is_nil()).then(|| URL_SAFE_NO_PAD.encode(topic.id.as_bytes()))
}
