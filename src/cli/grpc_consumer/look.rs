//! `grpc-consumer stats|search|notifications`: what the consumers keep.

use color_eyre::{Result, eyre::WrapErr};
use serde_json::{Value, json};

use crate::{
    app::{
        Count, DocumentRow, NotificationRow, NotificationStatus as Status, Store,
        analytics::{self, DAY, EVENT, PRODUCT, USER},
        rfc_3339,
        search::{self, Found, Query},
    },
    cli::{
        exit::Exit,
        pattern::{Options, usage},
        session::Session,
        stdout,
        table::{Table, number, text},
        words::counted,
    },
};

/// What makes the store that is looked into here.
pub const MADE_BY: &str = "grpc-consumer";

/// Of a table of counts so many rows are looked at, for the newest days.
const DAYS: usize = 100_000;

/// Show what was counted: events, and orders per user, product and day
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab grpc-consumer stats
  kafkalab grpc-consumer stats -n 100 --json

Exit codes: 0 done, 1 failed, 2 wrong usage")]
pub struct Stats {
    /// Users, products and days at most
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rows: u32,
}

/// Find orders by words: ids of orders, users and products, statuses, prices
///
/// All words must be there. Upper and lower case are the same, and so are letters with and without marks; whatever is
/// no letter and no digit only divides. A word that ends in * stands for all that begin with it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab grpc-consumer search user-123
  kafkalab grpc-consumer search 'lamp paid'
  kafkalab grpc-consumer search 'user-1*' -n 5 --json

Exit codes: 0 done (found or not), 1 failed, 2 wrong usage")]
pub struct Search {
    #[arg(value_name = "WORDS", required = true, help = "What to look for", allow_hyphen_values = false)]
    words: Vec<String>,
    /// So many at most, the newest first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
}

/// List notifications: what waits, what is dead and why
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab grpc-consumer notifications
  kafkalab grpc-consumer notifications --status dead --json

Exit codes: 0 done, 1 failed, 2 wrong usage")]
pub struct Notifications {
    /// Only these: waiting, sent, dead [default: dead and waiting]
    #[arg(long, value_name = "STATUS", value_parser = status, value_delimiter = ',')]
    status: Vec<Status>,
    /// At most so many of each, the oldest first
    #[arg(short = 'n', long = "num", value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
}

fn status(text: &str) -> Result<Status, String> {
    let names = || Status::ALL.map(Status::name).join(", ");
    Status::ALL.into_iter().find(|status| status.name() == text).ok_or_else(|| format!("write one of {}", names()))
}

pub async fn stats(args: &Stats, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open_to_look(MADE_BY, session).await?;
    let rows = args.rows as usize;
    let top = |name, limit| store.top_counts(analytics::NAME, name, limit);
    let (events, users, products) =
        (top(EVENT, rows.max(10)).await?, top(USER, rows).await?, top(PRODUCT, rows).await?);
    let mut days = top(DAY, DAYS).await?;
    days.sort_by(|a, b| b.key.cmp(&a.key));
    days.truncate(rows);
    let queue = store.notifications().await?;
    let orders = events.iter().find(|count| count.key == "OrderCreated").map_or(0, |count| count.count);
    if options.json {
        let listed = |counts: &[Count], key: &str| -> Value {
            counts.iter().map(|count| json!({key: count.key, "orders": count.count})).collect()
        };
        let events: serde_json::Map<_, _> =
            events.iter().map(|count| (count.key.clone(), count.count.into())).collect();
        stdout::json(&json!({
            "schema_version": 1, "orders": orders, "events": events, "users": listed(&users, "user_id"),
            "products": listed(&products, "product_id"), "days": listed(&days, "day"),
            "notifications": {"waiting": queue.waiting, "dead": queue.dead},
        }))?;
        return Ok(Exit::OK);
    }
    if events.is_empty() {
        session.say("nothing is counted yet; `kafkalab grpc-consumer` counts what is published");
        return Ok(Exit::OK);
    }
    let mut page = String::new();
    let parts = [
        ("EVENT", "COUNT", &events),
        ("USER", "ORDERS", &users),
        ("PRODUCT", "ORDERS", &products),
        ("DAY", "ORDERS", &days),
    ];
    for (title, count, rows) in parts.into_iter().filter(|(.., rows)| !rows.is_empty()) {
        let mut table = Table::new(&[text(title), number(count)]);
        for row in rows {
            table.row([row.key.clone(), row.count.to_string()]);
        }
        if !page.is_empty() {
            page.push('\n');
        }
        page.push_str(&table.render(&session.terminal));
    }
    stdout::write(page.as_bytes())?;
    say_queue(&store, session).await?;
    Ok(Exit::OK)
}

pub async fn search(args: &Search, options: &Options, session: &Session) -> Result<Exit> {
    let query = Query::parse(&args.words.join(" ")).map_err(|error| usage(error.to_string()))?;
    let store = options.open_to_look(MADE_BY, session).await?;
    let rows = store.search(search::NAME, &query, args.count as usize).await?;
    let found = rows.iter().map(|row| Ok((row, shown(row)?))).collect::<Result<Vec<_>>>()?;
    if options.json {
        for (row, found) in &found {
            let mut document = serde_json::to_value(found)?;
            document["schema_version"] = 1.into();
            document["created"] = Some(row.time_ms).filter(|time| *time > 0).map(rfc_3339).into();
            stdout::json(&document)?;
        }
        return Ok(Exit::OK);
    }
    if found.is_empty() {
        session.say("nothing is found");
        return Ok(Exit::OK);
    }
    let mut table =
        Table::new(&[text("ORDER"), text("STATUS"), text("USER"), text("PRODUCT"), number("PRICE"), text("CREATED")]);
    for (row, found) in found {
        let created = Some(row.time_ms).filter(|time| *time > 0).map(rfc_3339);
        let of = |part: Option<String>| part.unwrap_or_default();
        let (user, product, price) = (of(found.user_id), of(found.product_id), of(found.price));
        table.row([found.order_id, found.status, user, product, price, of(created)]);
    }
    stdout::write(table.render(&session.terminal).as_bytes())?;
    Ok(Exit::OK)
}

fn shown(row: &DocumentRow) -> Result<Found> {
    serde_json::from_slice(&row.data).wrap_err_with(|| format!("what is kept of order {}", row.id))
}

pub async fn notifications(args: Notifications, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open_to_look(MADE_BY, session).await?;
    let wanted = if args.status.is_empty() { vec![Status::Dead, Status::Waiting] } else { args.status };
    let mut rows = Vec::new();
    for status in wanted {
        rows.extend(store.list_notifications(status, args.limit as usize).await?);
    }
    if options.json {
        for row in &rows {
            stdout::json(&document(row))?;
        }
        return Ok(Exit::OK);
    }
    let columns = [text("ID"), text("STATUS"), text("ORDER"), text("SINCE"), number("FAILED"), text("REASON")];
    let mut table = Table::new(&columns).cutting_the_last();
    for row in &rows {
        table.row([
            row.id.to_string(),
            row.status.name().to_owned(),
            row.subject.clone(),
            rfc_3339(row.sent_at_ms.unwrap_or(row.created_at_ms)),
            if row.attempts == 0 { String::new() } else { row.attempts.to_string() },
            row.reason.clone().unwrap_or_default(),
        ]);
    }
    if !rows.is_empty() {
        stdout::write(table.render(&session.terminal).as_bytes())?;
    }
    say_queue(&store, session).await?;
    Ok(Exit::OK)
}

fn document(row: &NotificationRow) -> Value {
    json!({
        "schema_version": 1, "id": row.id, "status": row.status.name(), "order_id": row.subject,
        "body": serde_json::from_slice::<Value>(&row.body).unwrap_or(Value::Null),
        "queued": rfc_3339(row.created_at_ms), "sent": row.sent_at_ms.map(rfc_3339), "failed": row.attempts,
        "reason": row.reason,
    })
}

async fn say_queue(store: &Store, session: &Session) -> Result<()> {
    let queue = store.notifications().await?;
    let oldest = queue.oldest_ms.map(|time| format!(", the oldest of {}", rfc_3339(time))).unwrap_or_default();
    session.say(&format!("{} waiting{oldest}; {} dead", counted(queue.waiting, "notification"), queue.dead));
    Ok(())
}
