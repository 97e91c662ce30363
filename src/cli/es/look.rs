//! `es state|history|diff|streams`: what was, and what is.

use std::time::{SystemTime, UNIX_EPOCH};

use color_eyre::Result;
use serde_json::{Value, json};

use super::{Options, explained, order_id, steps::described, usage};
use crate::{
    app::{
        Offset,
        event_sourcing::{Entry, OrderError, Orders},
        log::{Folded, Until, diff as differences, unreadable as unreadable_event},
        order::{Order, OrderId},
    },
    cli::{
        escape,
        exit::Exit,
        offset::parse_place,
        session::Session,
        stdout,
        table::{Table, number, text},
        words::folded,
    },
};

/// What makes the store that is looked into here.
pub const MADE_BY: &str = "es create --price USD:9.99";

/// Show an order as it is, or as it was
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab es state ORDER
  kafkalab es state ORDER --version 2
  kafkalab es state ORDER --at -1h

Exit codes: 0 done, 1 failed or not there, 2 wrong usage")]
pub struct State {
    /// The order's id
    #[arg(value_name = "ORDER", value_parser = order_id)]
    order: OrderId,
    /// After this version
    #[arg(long, value_name = "N", conflicts_with = "at")]
    version: Option<u64>,
    /// At this time: 2026-01-31T08:30:00Z, 2026-01-31, seconds or milliseconds since 1970, -1h
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<String>,
}

/// Show what happened to an order: when, what, and who did it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab es history mug-1
  kafkalab es history mug-1 --json

Exit codes: 0 done, 1 failed or not there, 2 wrong usage")]
pub struct History {
    /// The order's id
    #[arg(value_name = "ORDER", value_parser = order_id)]
    order: OrderId,
}

/// Show what changed in an order between two versions
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab es diff mug-1 1 2

Exit codes: 0 done, 1 failed or not there, 2 wrong usage")]
pub struct Diff {
    /// The order's id
    #[arg(value_name = "ORDER", value_parser = order_id)]
    order: OrderId,
    /// The version before; 0 is before the first event
    #[arg(value_name = "N")]
    from: u64,
    /// The version after
    #[arg(value_name = "M")]
    to: u64,
}

/// List the streams of the log
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab es streams
  kafkalab es streams -n 10

Exit codes: 0 done, 1 failed, 2 wrong usage")]
pub struct Streams {
    /// At most so many
    #[arg(short = 'n', long = "num", value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// Only those behind this name
    #[arg(long, value_name = "STREAM", default_value = "")]
    after: String,
}

pub async fn state(args: State, options: &Options, session: &Session) -> Result<Exit> {
    let until = match (args.version, &args.at) {
        (Some(version), _) => Until::Version(version),
        (None, Some(at)) => Until::Time(time(at)?),
        (None, None) => Until::End,
    };
    let orders = Orders::new(options.open_to_look(MADE_BY, session).await?);
    let order = load(&orders, &args.order, until).await?;
    if options.json {
        let (version, state) = (order.version, &order.state);
        let document = json!({"schema_version": 1, "order_id": args.order, "version": version, "order": state});
        stdout::json(&document)?;
    } else if session.terminal.is_quiet() {
        stdout::write(format!("{}\n", order.state.status()).as_bytes())?;
    } else {
        let line = format!("order {}, version {}: {}", args.order, order.version, described(&order.state));
        stdout::write((folded(&escape::text(&line), session.terminal.width()) + "\n").as_bytes())?;
    }
    Ok(Exit::OK)
}

/// The order, which must be there at all, and at that time already.
async fn load(orders: &Orders, order_id: &OrderId, until: Until) -> Result<Folded<Order>> {
    let order = orders.load(order_id, until).await.map_err(explained)?;
    if order.version > 0 {
        return Ok(order);
    }
    let first = orders.store().read_stream(&order_id.stream(), 1, 1).await?.pop();
    match (first, until) {
        (None, _) => Err(explained(OrderError::Unknown { order_id: order_id.clone() })),
        (Some(first), Until::Time(_)) => {
            let began = crate::app::rfc_3339(first.recorded_at_ms);
            Err(explained(OrderError::NotYet { order_id: order_id.clone(), began }))
        }
        (Some(_), _) => Ok(order),
    }
}

fn time(text: &str) -> Result<i64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
    match parse_place(&format!("@{text}"), now) {
        Ok(Offset::Timestamp(ms)) => Ok(ms),
        _ => Err(usage(format!("--at {text}: write 2026-01-31T08:30:00Z, 2026-01-31, 1769846400 or -1h"))),
    }
}

pub async fn history(args: History, options: &Options, session: &Session) -> Result<Exit> {
    let orders = Orders::new(options.open_to_look(MADE_BY, session).await?);
    let entries = orders.history(&args.order).await.map_err(explained)?;
    if options.json {
        let events: Vec<Value> = entries.iter().map(document).collect();
        stdout::json(&json!({"schema_version": 1, "order_id": args.order, "events": events}))?;
        return all_readable(&entries);
    }
    let columns = [number("VERSION"), text("TIME"), text("EVENT"), text("BY"), number("POSITION"), text("EVENT ID")];
    let mut table = Table::new(&columns);
    for entry in &entries {
        let recorded = &entry.recorded;
        let event = recorded.event_type.rsplit('.').next().unwrap_or(&recorded.event_type);
        let event = match &entry.event {
            Ok(_) => escape::text(event).into_owned(),
            Err(_) => escape::text(&format!("{} (unreadable)", recorded.event_type)).into_owned(),
        };
        let actor = entry.metadata.as_ref().map_or("?", |metadata| &metadata.actor);
        table.row([
            recorded.version.to_string(),
            crate::app::rfc_3339(recorded.recorded_at_ms),
            event,
            escape::line(actor.as_bytes()).into_owned(),
            recorded.position.to_string(),
            recorded.id.to_string(),
        ]);
    }
    stdout::write(table.render(&session.terminal).as_bytes())?;
    all_readable(&entries)
}

/// What is there was shown; that some of it cannot be read is a failure all the same.
fn all_readable(entries: &[Entry]) -> Result<Exit> {
    let unreadable = entries.iter().find_map(|entry| Some((&entry.recorded, entry.event.as_ref().err()?)));
    match unreadable {
        Some((recorded, cause)) => Err(explained(unreadable_event(recorded, cause.clone()).into())),
        None => Ok(Exit::OK),
    }
}

fn document(entry: &Entry) -> Value {
    let recorded = &entry.recorded;
    let json = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or(Value::Null);
    json!({
        "version": recorded.version,
        "position": recorded.position,
        "event_id": recorded.id,
        "type": recorded.event_type,
        "time": crate::app::rfc_3339(recorded.recorded_at_ms),
        "ts": recorded.recorded_at_ms,
        "data": json(&recorded.data),
        "metadata": json(&recorded.metadata),
    })
}

pub async fn diff(args: Diff, options: &Options, session: &Session) -> Result<Exit> {
    let orders = Orders::new(options.open_to_look(MADE_BY, session).await?);
    let before = load(&orders, &args.order, Until::Version(args.from)).await?;
    let after = load(&orders, &args.order, Until::Version(args.to)).await?;
    let changes = differences(&before.state, &after.state)?;
    if options.json {
        let (from, to) = (args.from, args.to);
        let document = json!({"schema_version": 1, "order_id": args.order, "from": from, "to": to, "changes": changes});
        stdout::json(&document)?;
        return Ok(Exit::OK);
    }
    if changes.is_empty() {
        session.say("nothing changed");
    }
    let mut table = Table::new(&[text("FIELD"), text("BEFORE"), text("AFTER")]);
    let shown = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), Value::to_string);
    for change in &changes {
        let cells = [change.path.clone(), shown(&change.before), shown(&change.after)];
        table.row(cells.map(|cell| escape::line(cell.as_bytes()).into_owned()));
    }
    if !changes.is_empty() {
        stdout::write(table.render(&session.terminal).as_bytes())?;
    }
    Ok(Exit::OK)
}

pub async fn streams(args: Streams, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open_to_look(MADE_BY, session).await?;
    let streams = store.streams(&args.after, args.limit).await?;
    if options.json {
        let stream = |stream: &crate::app::StreamInfo| {
            json!({
                "stream": stream.stream,
                "version": stream.version,
                "last_position": stream.last_position,
                "last_time": crate::app::rfc_3339(stream.last_recorded_at_ms),
            })
        };
        let streams: Vec<Value> = streams.iter().map(stream).collect();
        stdout::json(&json!({"schema_version": 1, "streams": streams}))?;
        return Ok(Exit::OK);
    }
    if streams.is_empty() {
        session.say("no streams; `kafkalab es create --price USD:9.99` makes one");
        return Ok(Exit::OK);
    }
    let mut table = Table::new(&[text("STREAM"), number("VERSION"), number("POSITION"), text("LAST EVENT")]);
    for stream in &streams {
        table.row([
            escape::line(stream.stream.as_bytes()).into_owned(),
            stream.version.to_string(),
            stream.last_position.to_string(),
            crate::app::rfc_3339(stream.last_recorded_at_ms),
        ]);
    }
    stdout::write(table.render(&session.terminal).as_bytes())?;
    if streams.len() == args.limit {
        let last = streams.last().map(|stream| stream.stream.as_str()).unwrap_or_default();
        session.say(&format!("there may be more: --after {last}"));
    }
    Ok(Exit::OK)
}
