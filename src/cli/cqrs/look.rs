//! `cqrs stats|orders|order|lag`: what the read models say, and how far they are behind.

use std::time::Duration;

use color_eyre::{Result, Section, eyre::eyre};
use serde_json::{Value, json};

use super::report::{Shown, document, page, seconds};
use crate::{
    app::{
        OrderRow,
        cqrs::stats::{Lag as Behind, Stats as Numbers, Total, lag as behind, stats as numbers},
        order::OrderId,
        projection::statuses::Status,
        rfc_3339,
    },
    cli::{
        escape,
        exit::Exit,
        pattern::{Options, order_id},
        session::Session,
        stdout,
        table::{Table, number, text},
        words::counted,
    },
};

/// What makes the store that is looked into here.
const MADE_BY: &str = "cqrs read";

/// The numbers do not wait longer than this for brokers, who know of lag alone.
const SOON: Duration = Duration::from_secs(2);

/// Show what the read models say now
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The answer comes from kept sums: as quick with ten million orders as with ten. Lag is shown
where a broker answers.

Examples:
  kafkalab cqrs stats
  kafkalab cqrs stats -n 5

Exit codes: 0 done, 1 failed, 2 wrong usage")]
pub struct Stats {
    /// Users, products and orders at most
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    rows: u32,
}

/// List orders as the read side knows them, from the highest id on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab cqrs orders --user user-007
  kafkalab cqrs orders --status paid -n 5

Exit codes: 0 done, 1 failed, 2 wrong usage")]
pub struct Orders {
    /// Of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Of this status: awaited, created, paid, shipped, cancelled
    #[arg(long, value_name = "STATUS", value_parser = status)]
    status: Option<Status>,
    /// So many at most
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Go on below this order
    #[arg(long, value_name = "ORDER")]
    before: Option<String>,
}

/// Show an order as the read side knows it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab cqrs order order-42

Exit codes: 0 done, 1 failed or not known, 2 wrong usage")]
pub struct Order {
    #[arg(value_name = "ORDER", value_parser = order_id, help = "The order's id")]
    order: OrderId,
}

/// Show how far the read models are behind the topics, in events and seconds
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab cqrs lag
  kafkalab cqrs lag --json

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable")]
pub struct Lag {}

fn status(text: &str) -> Result<Status, String> {
    Status::named(&text.to_ascii_uppercase())
        .ok_or_else(|| "one of awaited, created, paid, shipped, cancelled".to_owned())
}

pub async fn stats(args: &Stats, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open_to_look(MADE_BY, session).await?;
    let rows = args.rows as usize;
    let stats = numbers(&store, rows, rows).await?;
    let lag = lags(&stats, options, session).await;
    let shown = Shown { stats: &stats, lag: lag.as_deref().map_err(Clone::clone) };
    if options.json {
        stdout::json(&document(&shown))?;
    } else {
        let width = session.terminal.width();
        stdout::write(page(&shown, width, &session.terminal.out.palette).as_bytes())?;
    }
    Ok(Exit::OK)
}

/// Or why they are not known: that is no reason to withhold the numbers.
async fn lags(stats: &Numbers, options: &Options, session: &Session) -> Result<Vec<Behind>, String> {
    let asked = async {
        let cluster = session.connect().await.map_err(|error| format!("{error:#}"))?;
        let prefix = options.prefix(session);
        behind(&cluster, &prefix, &stats.told.checkpoints).await.map_err(|error| error.to_string())
    };
    tokio::time::timeout(SOON, asked).await.unwrap_or_else(|_| Err("no broker answers".to_owned()))
}

pub async fn orders(args: Orders, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open_to_look(MADE_BY, session).await?;
    let status = args.status.map(Status::name);
    let orders = store.view_orders(args.user.as_deref(), status, args.before.as_deref(), args.count as usize).await?;
    if options.json {
        for order in &orders {
            stdout::json(&order_document(order))?;
        }
        return Ok(Exit::OK);
    }
    if orders.is_empty() {
        session.say("no such orders are known; `kafkalab cqrs lag` says whether some are on their way");
        return Ok(Exit::OK);
    }
    let mut table =
        Table::new(&[text("ORDER"), text("STATUS"), text("USER"), text("PRODUCT"), number("PRICE"), text("CREATED")]);
    for order in &orders {
        let created = order.known.created.as_ref();
        let of = |part: Option<String>| part.unwrap_or_default();
        table.row([
            order.order_id.clone(),
            order.status.clone(),
            of(created.map(|created| created.what.user_id.to_string())),
            of(created.map(|created| created.what.product_id.to_string())),
            of(created.map(|created| created.what.price.to_string())),
            of(created.map(|created| rfc_3339(created.time_ms))),
        ]);
    }
    stdout::write(table.render(&session.terminal).as_bytes())?;
    Ok(Exit::OK)
}

pub async fn order(args: Order, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open_to_look(MADE_BY, session).await?;
    let Some(order) = store.view_order(args.order.as_str()).await? else {
        return Err(eyre!("the read side does not know order {}", args.order))
            .suggestion("kafkalab cqrs lag says whether it is on its way; kafkalab es state asks the write side");
    };
    if options.json {
        stdout::json(&order_document(&order))?;
        return Ok(Exit::OK);
    }
    let known = &order.known;
    let mut page = format!("order {}: {}\n", order.order_id, order.status);
    let mut line = |word: &str, time_ms: i64, version: Option<u64>, what: &str| {
        let version = version.map_or(String::new(), |version| format!("version {version}"));
        page.push_str(format!("  {word:<10} {}  {version:<10} {what}", rfc_3339(time_ms)).trim_end());
        page.push('\n');
    };
    if let Some(fact) = &known.created {
        let what = format!("{} of {} for {}", fact.what.product_id, fact.what.price, fact.what.user_id);
        line("created", fact.time_ms, fact.version, &what);
    }
    if let Some(fact) = &known.paid {
        line("paid", fact.time_ms, fact.version, &fact.what.amount.to_string());
    }
    if let Some(fact) = &known.shipped {
        line("shipped", fact.time_ms, fact.version, "");
    }
    if let Some(fact) = &known.cancelled {
        line("cancelled", fact.time_ms, fact.version, "");
    }
    if let Some(fact) = &known.refunded {
        line("refunded", fact.time_ms, fact.version, &fact.what.amount.to_string());
    }
    if known.missing() > 0 {
        page.push_str(&format!("  {} missing; not waited for\n", counted(known.missing(), "event")));
    }
    stdout::write(escape::text(&page).as_bytes())?;
    Ok(Exit::OK)
}

fn order_document(order: &OrderRow) -> Value {
    let known = &order.known;
    json!({
        "schema_version": 1,
        "order_id": order.order_id,
        "status": order.status,
        "created": known.created,
        "paid": known.paid,
        "shipped": known.shipped,
        "cancelled": known.cancelled,
        "refunded": known.refunded,
        "missing": known.missing(),
    })
}

pub async fn lag(_: &Lag, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open_to_look(MADE_BY, session).await?;
    let cluster = session.connect().await?;
    let stats = numbers(&store, 1, 1).await?;
    let lags = behind(&cluster, &options.prefix(session), &stats.told.checkpoints).await?;
    let total = Total::of(&lags);
    if options.json {
        let part = |lag: &Behind| {
            json!({
                "topic": &*lag.partition.topic, "partition": lag.partition.partition, "next": lag.next,
                "start": lag.start, "end": lag.end, "events": lag.events(),
                "seconds": lag.behind.map(|behind| behind.as_secs_f64()), "missing": lag.gone(),
            })
        };
        stdout::json(&json!({
            "schema_version": 1, "events": total.events,
            "seconds": total.behind.map_or(0.0, |behind| behind.as_secs_f64()),
            "missing": total.gone, "unpublished": stats.unpublished,
            "partitions": lags.iter().map(part).collect::<Vec<_>>(),
        }))?;
        return Ok(Exit::OK);
    }
    let mut table = Table::new(&[
        text("TOPIC"),
        number("PARTITION"),
        number("NEXT"),
        number("END"),
        number("EVENTS"),
        number("BEHIND"),
        number("MISSING"),
    ]);
    let or_dash = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    for lag in &lags {
        table.row([
            lag.partition.topic.to_string(),
            lag.partition.partition.to_string(),
            or_dash(lag.next),
            or_dash(lag.end),
            or_dash(lag.events()),
            lag.behind.map(seconds).unwrap_or_default(),
            Some(lag.gone()).filter(|gone| *gone > 0).map(|gone| gone.to_string()).unwrap_or_default(),
        ]);
    }
    stdout::write(table.render(&session.terminal).as_bytes())?;
    let behind = total.behind.map(|behind| format!(", {} behind", seconds(behind))).unwrap_or_default();
    let waiting = counted(stats.unpublished, "event");
    session.say(&format!("{}{behind}; {waiting} not published yet", counted(total.events, "event")));
    if total.gone > 0 {
        session.terminal.hint("what retention took is in the event log: kafkalab cqrs rebuild all");
    }
    Ok(Exit::OK)
}
