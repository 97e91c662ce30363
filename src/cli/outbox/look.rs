//! `outbox list|show`: what is in the outbox.

use color_eyre::{Result, Section, eyre::eyre};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    app::{OutboxRow, OutboxStatus as Status, Store, rfc_3339},
    cli::{
        escape,
        exit::Exit,
        pattern::{Options, row_id},
        session::Session,
        stdout,
        table::{Table, number, text},
    },
};

/// What makes the store that is looked into here.
pub const MADE_BY: &str = "outbox order --price USD:9.99";

/// List messages: what waits, what is parked and why
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab outbox list
  kafkalab outbox list --status published -n 10
  kafkalab outbox list --json | jq -r 'select(.status == \"parked\") | .id'

Exit codes: 0 done, 1 failed, 2 wrong usage")]
pub struct List {
    /// Only these: waiting, parked, held, published, discarded [default: all but published and discarded]
    #[arg(long, value_name = "STATUS", value_parser = status, value_delimiter = ',')]
    status: Vec<Status>,
    /// At most so many of each
    #[arg(short = 'n', long = "num", value_name = "N", default_value_t = 100)]
    limit: usize,
}

/// Show all of a message
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab outbox show 01a2b3c4-0000-7000-8000-000000000001

Exit codes: 0 done, 1 failed or not there, 2 wrong usage")]
pub struct Show {
    /// The message's id
    #[arg(value_name = "ID", value_parser = row_id)]
    id: Uuid,
}

fn status(text: &str) -> Result<Status, String> {
    let names = || Status::ALL.map(Status::name).join(", ");
    let found = Status::ALL.into_iter().find(|status| status.name() == text);
    found.ok_or_else(|| format!("write one of {}", names()))
}

pub async fn list(args: List, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open_to_look(MADE_BY, session).await?;
    let wanted = if args.status.is_empty() { vec![Status::Parked, Status::Held, Status::Waiting] } else { args.status };
    let mut rows = Vec::new();
    for status in wanted {
        rows.extend(store.outbox_list(status, (0, 0), args.limit).await?);
    }
    if options.json {
        for row in &rows {
            stdout::json(&document(row, false))?;
        }
        return Ok(Exit::OK);
    }
    let columns = [
        text("ID"),
        text("STATUS"),
        text("EVENT"),
        text("AGGREGATE"),
        text("SINCE"),
        number("ATTEMPTS"),
        text("REASON"),
    ];
    let mut table = Table::new(&columns);
    for row in &rows {
        let attempts = if row.attempts == 0 { String::new() } else { row.attempts.to_string() };
        let (what, whose) = (&row.row, format!("{} {}", row.row.aggregate_type, row.row.aggregate_id));
        table.row([
            what.id.to_string(),
            row.status.name().to_owned(),
            what.event_type.clone(),
            whose,
            rfc_3339(what.created_at_ms),
            attempts,
            row.reason.clone().unwrap_or_default(),
        ]);
    }
    if !rows.is_empty() {
        stdout::write(table.render(&session.terminal).as_bytes())?;
    }
    say_depth(&store, session).await?;
    Ok(Exit::OK)
}

async fn say_depth(store: &Store, session: &Session) -> Result<()> {
    let depth = store.outbox_depth().await?;
    let counts = [
        (depth.waiting, Status::Waiting),
        (depth.parked, Status::Parked),
        (depth.held, Status::Held),
        (depth.published, Status::Published),
        (depth.discarded, Status::Discarded),
    ];
    let words: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, status)| format!("{count} {}", status.name()))
        .collect();
    let words = if words.is_empty() { "the outbox is empty".to_owned() } else { words.join(", ") };
    let oldest = depth.oldest_ms.map(|ms| format!("; the oldest that is not published is of {}", rfc_3339(ms)));
    session.say(&format!("{words}{}", oldest.unwrap_or_default()));
    Ok(())
}

pub async fn show(args: Show, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open_to_look(MADE_BY, session).await?;
    let row = found(&store, args.id).await?;
    if options.json {
        stdout::json(&document(&row, true))?;
        return Ok(Exit::OK);
    }
    let letter = row.row.letter();
    let mut lines = vec![
        ("id", row.row.id.to_string()),
        ("status", row.status.name().to_owned()),
        ("reason", row.reason.clone().unwrap_or_default()),
        ("attempts", row.attempts.to_string()),
        ("shard, seq", format!("{}, {}", row.shard, row.seq)),
        ("aggregate", format!("{} {}", row.row.aggregate_type, row.row.aggregate_id)),
        ("written", rfc_3339(row.row.created_at_ms)),
    ];
    match &letter {
        Ok(letter) => {
            lines.push(("topic", letter.topic.to_owned()));
            lines.extend(letter.headers.iter().map(|(name, value)| ("header", format!("{name}: {value}"))));
        }
        Err(error) => lines.push(("cannot go", error.to_string())),
    }
    lines.push(("payload", String::from_utf8_lossy(&row.row.payload).into_owned()));
    let lines = lines.iter().filter(|(_, value)| !value.is_empty());
    let text: String = lines.map(|(name, value)| format!("{name:<11} {}\n", escape::line(value.as_bytes()))).collect();
    stdout::write(text.as_bytes())?;
    Ok(Exit::OK)
}

pub async fn found(store: &Store, id: Uuid) -> Result<OutboxRow> {
    let row = store.outbox_row(id).await?;
    row.ok_or_else(|| eyre!("message {id} is not in the outbox"))
        .suggestion("`kafkalab outbox list` shows what is there")
}

fn document(row: &OutboxRow, whole: bool) -> Value {
    let what = &row.row;
    let mut document = json!({
        "schema_version": 1,
        "id": what.id,
        "status": row.status.name(),
        "shard": row.shard,
        "seq": row.seq,
        "aggregate_type": what.aggregate_type,
        "aggregate_id": what.aggregate_id,
        "type": what.event_type,
        "topic": what.letter().ok().map(|letter| letter.topic),
        "written": rfc_3339(what.created_at_ms),
        "attempts": row.attempts,
        "reason": row.reason,
    });
    if whole {
        let payload = String::from_utf8_lossy(&what.payload);
        document["payload"] = serde_json::from_slice(&what.payload).unwrap_or_else(|_| payload.into());
        document["headers"] =
            what.headers.as_ref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
    }
    document
}
