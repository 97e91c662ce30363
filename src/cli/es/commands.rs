//! `es create|pay|ship|cancel`: commands on an order.

use color_eyre::Result;
use serde_json::json;
use uuid::Uuid;

use super::{Options, explained, order_id, steps, usage};
use crate::{
    app::{
        event_sourcing::{Orders, demo::appended, publish},
        log::Until,
        money::Money,
        order::{
            CancelOrder, CreateOrder, OrderCommand, OrderId, PayOrder, PaymentId, ProductId, Reason, ShipOrder,
            ShipmentId, UserId,
        },
    },
    cli::{
        escape,
        exit::Exit,
        narrator::Narrator,
        session::Session,
        stdout,
        words::{folded, next_step},
    },
};

/// Create an order: appends OrderCreated
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab es create --price USD:12.99
  order=$(kafkalab es create --price USD:12.99 -q) && kafkalab es pay $order

Exit codes: 0 done, 1 failed or refused, 2 wrong usage")]
pub struct Create {
    /// The order's id [default: a new one]
    #[arg(long, value_name = "ID", value_parser = order_id)]
    order: Option<OrderId>,
    #[arg(long, value_name = "ID", default_value = "ada", help = "Who orders")]
    user: UserId,
    #[arg(long, value_name = "ID", default_value = "coffee-mug", help = "What is ordered")]
    product: ProductId,
    /// What it costs, such as USD:12.99
    #[arg(long, value_name = "PRICE")]
    price: Money,
}

/// Pay an order: appends OrderPaid
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab es pay mug-1
  kafkalab es pay mug-1 --expect 1             refused where somebody was quicker

Exit codes: 0 done, 1 failed or refused, 2 wrong usage")]
pub struct Pay {
    /// The order's id
    #[arg(value_name = "ORDER", value_parser = order_id)]
    order: OrderId,
    /// The payment's id: by it a repeat is told from a second payment [default: payment-ORDER]
    #[arg(long, value_name = "ID")]
    payment: Option<PaymentId>,
    /// What was paid [default: the order's price]
    #[arg(long, value_name = "AMOUNT")]
    amount: Option<Money>,
    #[command(flatten)]
    expect: Expect,
}

/// Ship an order: appends OrderShipped
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab es ship mug-1

Exit codes: 0 done, 1 failed or refused, 2 wrong usage")]
pub struct Ship {
    /// The order's id
    #[arg(value_name = "ORDER", value_parser = order_id)]
    order: OrderId,
    /// The shipment's id [default: shipment-ORDER]
    #[arg(long, value_name = "ID")]
    shipment: Option<ShipmentId>,
    #[command(flatten)]
    expect: Expect,
}

/// Cancel an order: appends OrderCancelled, and PaymentRefunded where it was paid
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab es cancel mug-1 --reason out_of_stock

Exit codes: 0 done, 1 failed or refused, 2 wrong usage")]
pub struct Cancel {
    /// The order's id
    #[arg(value_name = "ORDER", value_parser = order_id)]
    order: OrderId,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "changed_mind")]
    reason: Reason,
    #[command(flatten)]
    expect: Expect,
}

#[derive(Debug, clap::Args)]
struct Expect {
    /// Refuse where the order is not at this version: somebody has changed it since you looked
    #[arg(long = "expect", value_name = "VERSION")]
    version: Option<u64>,
}

pub async fn create(args: Create, options: &Options, session: &Session) -> Result<Exit> {
    let order_id = match args.order {
        Some(order) => order,
        None => OrderId::new(Uuid::now_v7().to_string())?,
    };
    let Create { user: user_id, product: product_id, price, .. } = args;
    let command = CreateOrder { order_id, user_id, product_id, price }.into();
    carry_out(command, None, options, session).await
}

pub async fn pay(args: Pay, options: &Options, session: &Session) -> Result<Exit> {
    let orders = Orders::new(options.open(session).await?);
    let amount = match args.amount {
        Some(amount) => amount,
        None => {
            let order = orders.load(&args.order, Until::End).await.map_err(explained)?.state;
            let placed = order.placed().cloned();
            let unknown = || crate::app::event_sourcing::OrderError::Unknown { order_id: args.order.clone() };
            placed.ok_or_else(|| explained(unknown()))?.price
        }
    };
    let payment_id = match args.payment {
        Some(payment) => payment,
        None => PaymentId::new(format!("payment-{}", args.order)).map_err(|error| usage(error.to_string()))?,
    };
    let command = PayOrder { order_id: args.order, payment_id, amount }.into();
    carry_out_on(&orders, command, args.expect.version, options, session).await
}

pub async fn ship(args: Ship, options: &Options, session: &Session) -> Result<Exit> {
    let shipment_id = match args.shipment {
        Some(shipment) => shipment,
        None => ShipmentId::new(format!("shipment-{}", args.order)).map_err(|error| usage(error.to_string()))?,
    };
    let command = ShipOrder { order_id: args.order, shipment_id }.into();
    carry_out(command, args.expect.version, options, session).await
}

pub async fn cancel(args: Cancel, options: &Options, session: &Session) -> Result<Exit> {
    let command = CancelOrder { order_id: args.order, reason: args.reason }.into();
    carry_out(command, args.expect.version, options, session).await
}

async fn carry_out(command: OrderCommand, expected: Option<u64>, options: &Options, session: &Session) -> Result<Exit> {
    let orders = Orders::new(options.open(session).await?);
    carry_out_on(&orders, command, expected, options, session).await
}

async fn carry_out_on(
    orders: &Orders,
    command: OrderCommand,
    expected: Option<u64>,
    options: &Options,
    session: &Session,
) -> Result<Exit> {
    let order_id = command.order_id().clone();
    let handled = orders.handle(&command, &options.actor(), expected).await.map_err(explained)?;
    if options.json {
        let event =
            |(id, event): &(Uuid, crate::app::order::OrderEvent)| json!({"event_id": id, "type": event.event_type()});
        let document = json!({
            "schema_version": 1,
            "order_id": order_id,
            "version": handled.order.version,
            "events": handled.events.iter().map(event).collect::<Vec<_>>(),
            "last_position": handled.appended.map(|appended| appended.last_position),
            "order": handled.order.state,
        });
        stdout::json(&document)?;
        return Ok(Exit::OK);
    }
    if session.terminal.is_quiet() {
        stdout::write(format!("{order_id}\n").as_bytes())?;
        return Ok(Exit::OK);
    }
    let mut narrator = Narrator::new(session, false);
    appended(&handled, &order_id, &mut |step| narrator.tell(&step));
    narrator.end()?;
    if handled.events.is_empty() {
        session.say("nothing to do: this was carried out before");
    }
    let (version, order) = (handled.order.version, steps::described(&handled.order.state));
    let line = format!("order {order_id}, version {version}: {order}");
    stdout::write((folded(&escape::text(&line), session.terminal.width()) + "\n").as_bytes())?;
    let waiting = publish::waiting(orders.store()).await?;
    next_step(session, &format!("kafkalab es publish sends it to Kafka ({waiting} waiting)"));
    Ok(Exit::OK)
}
