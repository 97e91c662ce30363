//! `cqrs write`: commands, one by one or as a stream.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use clap::Subcommand;
use color_eyre::{Report, Result, eyre::eyre};
use serde_json::json;
use uuid::Uuid;

use crate::{
    app::{
        Store,
        cqrs::{
            TOPICS,
            traffic::{self, TrafficError, write_and_publish},
            write::{Answer, WriteError, applied, write},
        },
        event_sourcing::{OrderError, Orders, publish},
        log::Until,
        money::Money,
        order::{
            CancelOrder, CreateOrder, OrderCommand, OrderId, PayOrder, PaymentId, ProductId, Reason, ShipOrder,
            ShipmentId, UserId,
        },
        relay::{self, Told, make_topics},
    },
    cli::{
        es::{explained, steps::described},
        escape,
        exit::{Exit, Quiet},
        pattern::{Options, order_id, relayed, usage},
        session::{Session, duration},
        stdout,
        words::{counted, next_step},
    },
};

/// For a broker that is not there: the command is in the log, and goes out later.
const A_MOMENT: Duration = Duration::from_secs(5);

/// Carry out commands: decided on the order's own past, appended to the event log, published
///
/// Alone it is a stream of plausible commands, some of which must be refused; it ends when Kafka has acknowledged all of
/// their events. With a subcommand it is one command: its events are durable when it returns; where no broker is reached
/// they wait in the log for the next publisher.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab cqrs write -n 1000 --seed 7     the same orders with the same stories each time
  kafkalab cqrs write --rate 50            until Ctrl-C
  kafkalab cqrs write create --price USD:12.99 --command-id 5c1f --wait
  kafkalab cqrs write pay ORDER

Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 3 broker unreachable,
4 the read side did not come so far in time, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// Commands of the stream [default: until Ctrl-C]
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// Commands a second
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// What the stream follows from [default: a new one, which is said]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Return when the read side knows it, or fail after this time
    #[arg(
        long, global = true, value_name = "TIME", num_args = 0..=1, require_equals = true,
        default_missing_value = "10s", value_parser = duration
    )]
    wait: Option<Duration>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(Create),
    Pay(Pay),
    Ship(Ship),
    Cancel(Cancel),
}

#[derive(Debug, clap::Args)]
struct Id {
    /// The command's own id: the same again gives the same answer, and no new event
    #[arg(long, value_name = "ID", value_parser = command_id)]
    command_id: Option<String>,
}

/// CreateOrder: appends OrderCreated
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 4 timed out")]
struct Create {
    /// The order's id [default: a new one, which follows from the command's id if that has one]
    #[arg(long, value_name = "ID", value_parser = order_id)]
    order: Option<OrderId>,
    #[arg(long, value_name = "ID", default_value = "ada", help = "Who orders")]
    user: UserId,
    #[arg(long, value_name = "ID", default_value = "coffee-mug", help = "What is ordered")]
    product: ProductId,
    /// What it costs, such as USD:12.99
    #[arg(long, value_name = "PRICE")]
    price: Money,
    #[command(flatten)]
    id: Id,
}

/// ProcessPayment: appends OrderPaid
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 4 timed out")]
struct Pay {
    #[arg(value_name = "ORDER", value_parser = order_id, help = "The order's id")]
    order: OrderId,
    /// The payment's id: by it a repeat is told from a second payment [default: payment-ORDER]
    #[arg(long, value_name = "ID")]
    payment: Option<PaymentId>,
    /// What was paid [default: the order's price]
    #[arg(long, value_name = "AMOUNT")]
    amount: Option<Money>,
    #[command(flatten)]
    id: Id,
}

/// ShipOrder: appends OrderShipped
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 4 timed out")]
struct Ship {
    #[arg(value_name = "ORDER", value_parser = order_id, help = "The order's id")]
    order: OrderId,
    /// The shipment's id [default: shipment-ORDER]
    #[arg(long, value_name = "ID")]
    shipment: Option<ShipmentId>,
    #[command(flatten)]
    id: Id,
}

/// CancelOrder: appends OrderCancelled, and PaymentRefunded where it was paid
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 4 timed out")]
struct Cancel {
    #[arg(value_name = "ORDER", value_parser = order_id, help = "The order's id")]
    order: OrderId,
    #[arg(long, value_name = "TEXT", default_value = "changed_mind", help = "Why")]
    reason: Reason,
    #[command(flatten)]
    id: Id,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "a number of commands a second".to_owned())?;
    if (0.001..=1e6).contains(&rate) { Ok(rate) } else { Err("between 0.001 and 1000000 a second".to_owned()) }
}

fn command_id(text: &str) -> Result<String, String> {
    match text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
        true => Err("1 to 128 bytes without control characters".to_owned()),
        false => Ok(text.to_owned()),
    }
}

pub async fn run(args: Args, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open(session).await?;
    let orders = Orders::new(store);
    let Some(command) = &args.command else { return stream(args, &orders, options, session).await };
    if args.count.is_some() || args.rate.is_some() || args.seed.is_some() {
        return Err(usage("-n, --rate and --seed are the stream's; one command has none of them"));
    }
    let (command, id) = made(command, &orders).await?;
    let answer = write(&orders, &command, &options.actor(), id.as_deref()).await.map_err(refused)?;
    say(&answer, options, session)?;
    match publish_now(orders.store(), options, session).await {
        Ok(()) => {}
        Err(error) if args.wait.is_none() => {
            session.say(&escape::text(&format!("it waits in the log for a publisher: {error:#}")));
        }
        Err(error) => return Err(error),
    }
    if let Some(limit) = args.wait {
        let events: Vec<Uuid> = answer.events.iter().map(|event| event.event_id).collect();
        wait(orders.store(), [(&answer.order_id, events.as_slice())], limit, session).await?;
    }
    next_step(session, "kafkalab cqrs read keeps the read models, kafkalab cqrs stats shows them");
    Ok(Exit::OK)
}

async fn made(command: &Command, orders: &Orders) -> Result<(OrderCommand, Option<String>)> {
    let text = |made: Result<_, crate::app::order::InvalidText>| made.map_err(|error| usage(error.to_string()));
    Ok(match command {
        Command::Create(Create { order, user, product, price, id }) => {
            let new = || match &id.command_id {
                Some(id) => Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("kafkalab order {id}").as_bytes()),
                None => Uuid::now_v7(),
            };
            let order_id = order.clone().map_or_else(|| OrderId::new(new().to_string()), Ok)?;
            let (user_id, product_id) = (user.clone(), product.clone());
            (CreateOrder { order_id, user_id, product_id, price: *price }.into(), id.command_id.clone())
        }
        Command::Pay(Pay { order, payment, amount, id }) => {
            let amount = match amount {
                Some(amount) => *amount,
                None => {
                    let loaded = orders.load(order, Until::End).await.map_err(explained)?.state;
                    let unknown = || explained(OrderError::Unknown { order_id: order.clone() });
                    loaded.placed().ok_or_else(unknown)?.price
                }
            };
            let payment_id = match payment {
                Some(payment) => payment.clone(),
                None => PaymentId::new(format!("payment-{order}")).map_err(|error| usage(error.to_string()))?,
            };
            (PayOrder { order_id: order.clone(), payment_id, amount }.into(), id.command_id.clone())
        }
        Command::Ship(Ship { order, shipment, id }) => {
            let shipment_id =
                shipment.clone().map_or_else(|| text(ShipmentId::new(format!("shipment-{order}"))), Ok)?;
            (ShipOrder { order_id: order.clone(), shipment_id }.into(), id.command_id.clone())
        }
        Command::Cancel(Cancel { order, reason, id }) => {
            (CancelOrder { order_id: order.clone(), reason: reason.clone() }.into(), id.command_id.clone())
        }
    })
}

/// The broker's and the store's errors as themselves.
fn refused(error: WriteError) -> Report {
    match error {
        WriteError::Order(error) => explained(error),
        error => error.into(),
    }
}

fn say(answer: &Answer, options: &Options, session: &Session) -> Result<()> {
    if options.json {
        let mut document = serde_json::to_value(answer)?;
        document["schema_version"] = json!(1);
        return stdout::json(&document);
    }
    if session.terminal.is_quiet() {
        return stdout::write(format!("{}\n", answer.order_id).as_bytes());
    }
    if answer.is_repeat {
        session.say("nothing to do: this was carried out before");
    }
    let events: Vec<&str> = answer.events.iter().map(|event| event.name).collect();
    let events = if events.is_empty() { String::new() } else { format!("{}; ", events.join(", ")) };
    let (order, version) = (&answer.order_id, answer.version);
    let line = format!("{events}order {order}, version {version}: {}\n", described(&answer.order));
    stdout::write(escape::text(&line).as_bytes())
}

/// What waits in the log goes out, where a broker is there.
async fn publish_now(store: &Store, options: &Options, session: &Session) -> Result<()> {
    let cluster = session.connect().await?;
    make_topics(&cluster, &options.topics(session, &TOPICS)).await?;
    let relay =
        relay::Options { prefix: options.prefix(session), once: true, patience: A_MOMENT, ..relay::Options::default() };
    let stop = session.stop.token();
    publish::publish(store, &cluster, &relay, &options.crash(), &stop, &|_| ()).await.map_err(relayed)?;
    Ok(())
}

async fn wait<'a>(
    store: &Store,
    orders: impl IntoIterator<Item = (&'a OrderId, &'a [Uuid])>,
    limit: Duration,
    session: &Session,
) -> Result<()> {
    let until = std::time::Instant::now() + limit;
    for (order, events) in orders {
        let left = until.saturating_duration_since(std::time::Instant::now());
        let known = tokio::select! {
            known = applied(store, order, events, left) => known?,
            () = session.stop.asked() => return Err(Quiet(session.stop.exit()).into()),
        };
        if !known {
            let error = eyre!("the read side does not know order {order} yet, after {limit:?}");
            crate::cli::exit::print(&error, &session.terminal);
            session.terminal.hint("does `kafkalab cqrs read` run? kafkalab cqrs lag says how far it is behind");
            return Err(Quiet(Exit::TIMED_OUT).into());
        }
    }
    Ok(())
}

async fn stream(args: Args, orders: &Orders, options: &Options, session: &Session) -> Result<Exit> {
    let Some(cluster) = session.connect_or_wait(true).await? else { return Ok(session.stop.exit()) };
    make_topics(&cluster, &options.topics(session, &TOPICS)).await?;
    let seed = args.seed.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().1 & 0xffff_ffff);
    session.say(&format!("seed {seed}"));
    let traffic = traffic::Options {
        seed,
        count: args.count,
        rate: args.rate,
        actor: options.actor(),
        remember: args.wait.is_some(),
    };
    let relay = relay::Options { prefix: options.prefix(session), ..relay::Options::default() };
    let trouble = Mutex::new(false);
    let tell = |told: Told<'_>| {
        let mut in_trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match told {
            Told::Trouble(cause) if !std::mem::replace(&mut *in_trouble, true) => {
                session.say(&escape::text(&format!("trying again: {cause}")));
            }
            Told::Published { .. } => *in_trouble = false,
            _ => {}
        }
    };
    let stop = session.stop.token();
    let written = write_and_publish(orders, &cluster, &traffic, &relay, &options.crash(), &stop, &tell).await;
    let tally = written.map_err(|error| match error {
        TrafficError::Write(error) => refused(error),
        TrafficError::Relay(error) => relayed(error),
    })?;
    let refusals = tally.refusals();
    if options.json {
        stdout::json(&json!({
            "schema_version": 1, "seed": seed, "commands": tally.commands, "events": tally.events,
            "repeats": tally.repeats, "refused": tally.refused,
        }))?;
    } else if !session.terminal.is_quiet() {
        let kinds: Vec<String> = tally.refused.iter().map(|(code, count)| format!("{code} {count}")).collect();
        let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        let repeats = if tally.repeats > 0 { format!(", {}", counted(tally.repeats, "repeat")) } else { String::new() };
        let (commands, events) = (counted(tally.commands, "command"), counted(tally.events, "event"));
        let line = format!("{commands}: {events} published, {refusals} refused{kinds}{repeats}\n");
        stdout::write(line.as_bytes())?;
    }
    if session.stop.is_asked() {
        return Ok(session.stop.exit());
    }
    if let Some(limit) = args.wait {
        let all = tally.events_of.iter().map(|(order, events)| (order, events.as_slice()));
        wait(orders.store(), all, limit, session).await?;
    }
    Ok(Exit::OK)
}
