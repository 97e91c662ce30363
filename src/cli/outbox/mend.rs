//! `outbox retry|discard|purge`: what a person does with rows.

use std::time::Duration;

use color_eyre::{Result, eyre::eyre};
use serde_json::json;
use uuid::Uuid;

use super::look::{MADE_BY, found};
use crate::{
    app::{OutboxRow, OutboxStatus as Status, Store},
    cli::{
        ask,
        exit::Exit,
        pattern::{Options, age, row_id, usage},
        session::Session,
        stdout,
        words::{counted, next_step},
    },
};

/// Let parked messages be tried again, and those of their aggregates behind them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab outbox retry 01a2b3c4-0000-7000-8000-000000000001
  kafkalab outbox retry --all

Exit codes: 0 done, 1 failed or not parked, 2 wrong usage")]
pub struct Retry {
    /// The messages' ids
    #[arg(value_name = "ID", value_parser = row_id)]
    ids: Vec<Uuid>,
    /// All that are parked
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

/// Give parked messages up: their aggregates go on without them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab outbox discard 01a2b3c4-0000-7000-8000-000000000001

Exit codes: 0 done, 1 failed or not parked, 2 wrong usage")]
pub struct Discard {
    /// The messages' ids
    #[arg(value_name = "ID", required = true, value_parser = row_id)]
    ids: Vec<Uuid>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Remove old messages that are published, and what the inbox needs no more
///
/// What comes again from before the inbox's purge is handled twice: keep it longer than the topics keep their records.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab outbox purge --older-than 30d

Exit codes: 0 done, 1 failed, 2 wrong usage")]
pub struct Purge {
    /// Published or discarded, and written so long ago
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = age)]
    older_than: Duration,
    /// Inbox rows that are so old; none are removed without it
    #[arg(long, value_name = "TIME", value_parser = age)]
    inbox_older_than: Option<Duration>,
}

pub async fn retry(args: Retry, options: &Options, session: &Session) -> Result<Exit> {
    if !args.all && args.ids.is_empty() {
        return Err(usage("name the messages, or --all"));
    }
    let store = options.open_to_look(MADE_BY, session).await?;
    let rows = if args.all { parked(&store).await? } else { named(&store, &args.ids).await? };
    let mut done = Vec::new();
    for row in &rows {
        if store.outbox_retry(row).await? {
            done.push(row.row.id);
        }
    }
    say("waiting", &done, options, session)?;
    next_step(session, "kafkalab outbox relay --once tries them");
    Ok(Exit::OK)
}

pub async fn discard(args: Discard, options: &Options, session: &Session) -> Result<Exit> {
    ask::needs_terminal(args.yes, session, "discarding messages", "-y discards without asking")?;
    let store = options.open_to_look(MADE_BY, session).await?;
    let rows = named(&store, &args.ids).await?;
    let question = format!("give up {}, never to be published?", counted(rows.len() as u64, "message"));
    if !args.yes && !ask::yes(&question).await? {
        session.say("nothing was discarded");
        return Ok(Exit::FAILURE);
    }
    let mut done = Vec::new();
    for row in &rows {
        if store.outbox_discard(row).await? {
            done.push(row.row.id);
        }
    }
    say("discarded", &done, options, session)?;
    Ok(Exit::OK)
}

/// All of them are parked, or nothing is done.
async fn named(store: &Store, ids: &[Uuid]) -> Result<Vec<OutboxRow>> {
    let mut rows = Vec::new();
    for id in ids {
        let row = found(store, *id).await?;
        if row.status != Status::Parked {
            return Err(eyre!("message {id} is {}, not parked; nothing was changed", row.status.name()));
        }
        rows.push(row);
    }
    Ok(rows)
}

async fn parked(store: &Store) -> Result<Vec<OutboxRow>> {
    let (mut all, mut after) = (Vec::new(), (0, 0));
    loop {
        let page = store.outbox_list(Status::Parked, after, 1000).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = (last.shard, last.seq);
        all.extend(page);
    }
}

fn say(now: &str, ids: &[Uuid], options: &Options, session: &Session) -> Result<()> {
    if options.json {
        return stdout::json(&json!({"schema_version": 1, "status": now, "ids": ids}));
    }
    session.say(&format!("{} now {now}", counted(ids.len() as u64, "message")));
    Ok(())
}

pub async fn purge(args: Purge, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open_to_look(MADE_BY, session).await?;
    let mut messages = 0;
    for status in [Status::Published, Status::Discarded] {
        messages += store.outbox_purge(status, args.older_than).await?;
    }
    let inbox = match args.inbox_older_than {
        Some(age) => store.inbox_purge(age).await?,
        None => 0,
    };
    if options.json {
        stdout::json(&json!({"schema_version": 1, "messages": messages, "inbox": inbox}))?;
    } else {
        let inbox = if inbox > 0 { format!(", {} of the inbox", counted(inbox, "row")) } else { String::new() };
        session.say(&format!("{} removed{inbox}", counted(messages, "message")));
    }
    Ok(Exit::OK)
}
