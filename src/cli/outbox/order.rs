//! `outbox order`: an order and its message, in one transaction.

use color_eyre::{Result, eyre::WrapErr};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use uuid::Uuid;

use crate::{
    app::{
        event_sourcing::{Handled, Orders},
        money::Money,
        order::{CreateOrder, OrderId, ProductId, UserId},
        outbox,
    },
    cli::{
        es::explained,
        exit::Exit,
        pattern::{Options, order_id, usage},
        session::Session,
        stdout,
        words::{counted, next_step},
    },
};

/// Orders that are taken at the same time: they share commits.
const AT_ONCE: usize = 64;

/// Take an order: its event and its message, in one transaction; Kafka is not asked
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab outbox order --price USD:12.99
  kafkalab outbox order --price USD:12.99 -n 1000 -q > ids

Exit codes: 0 done, 1 failed or refused, 2 wrong usage")]
pub struct Args {
    /// The order's id [default: a new one]
    #[arg(long, value_name = "ID", value_parser = order_id, conflicts_with = "count")]
    order: Option<OrderId>,
    #[arg(long, value_name = "ID", default_value = "ada", help = "Who orders")]
    user: UserId,
    #[arg(long, value_name = "ID", default_value = "coffee-mug", help = "What is ordered")]
    product: ProductId,
    /// What it costs, such as USD:12.99
    #[arg(long, value_name = "PRICE")]
    price: Money,
    /// So many orders
    #[arg(short = 'n', long = "num", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
}

pub async fn run(args: Args, options: &Options, session: &Session) -> Result<Exit> {
    let orders = Orders::new(options.open(session).await?);
    let actor = options.actor();
    let mut given = args.order;
    let commands = (0..args.count).map(|_| {
        let order_id = match given.take() {
            Some(order) => order,
            None => OrderId::new(Uuid::now_v7().to_string()).map_err(|error| usage(error.to_string()))?,
        };
        let (user_id, product_id) = (args.user.clone(), args.product.clone());
        Ok(CreateOrder { order_id, user_id, product_id, price: args.price })
    });
    let commands: Vec<CreateOrder> = commands.collect::<Result<_>>()?;
    let mut taken = stream::iter(commands)
        .map(|command| {
            let (orders, actor) = (&orders, &actor);
            async move {
                let order_id = command.order_id.clone();
                let handled = outbox::take(orders, &command.into(), actor, None).await.map_err(explained);
                handled.map(|handled| (order_id, handled))
            }
        })
        .buffered(AT_ONCE);
    let mut count = 0;
    while let Some((order_id, handled)) = taken.try_next().await? {
        say(&order_id, &handled, options, session)?;
        count += 1;
        if session.stop.is_asked() {
            return Ok(session.stop.exit());
        }
    }
    drop(taken);
    let (waiting, ..) = orders.store().outbox_unpublished().await.wrap_err("looking at the outbox")?;
    session.say(&format!("{} taken; {} waiting", counted(count, "order"), counted(waiting, "message")));
    next_step(session, "kafkalab outbox relay --once sends what waits to Kafka");
    Ok(Exit::OK)
}

fn say(order_id: &OrderId, handled: &Handled, options: &Options, session: &Session) -> Result<()> {
    if options.json {
        let event =
            |(id, event): &(Uuid, crate::app::order::OrderEvent)| json!({"event_id": id, "type": event.event_type()});
        return stdout::json(&json!({
            "schema_version": 1,
            "order_id": order_id,
            "version": handled.order.version,
            "events": handled.events.iter().map(event).collect::<Vec<_>>(),
            "last_position": handled.appended.map(|appended| appended.last_position),
        }));
    }
    if session.terminal.is_quiet() {
        return stdout::write(format!("{order_id}\n").as_bytes());
    }
    let line = match (&handled.appended, handled.events.first()) {
        (Some(appended), Some((id, event))) => {
            format!("{order_id}  {} at position {}, message {id}\n", event.name(), appended.last_position)
        }
        _ => format!("{order_id}  was taken before\n"),
    };
    stdout::write(crate::cli::escape::text(&line).as_bytes())
}
