//! What an order allows.

use super::{
    CancelOrder, CreateOrder, Order, OrderCancelled, OrderCommand, OrderCreated, OrderEvent, OrderId, OrderPaid,
    OrderShipped, PayOrder, Payment, PaymentId, PaymentRefunded, Placed, ShipOrder, ShipmentId, Status,
};
use crate::patterns::money::Money;

/// Why a command is refused: a business failure. Retrying the same command gives the same answer, so nobody retries;
/// each variant says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The command was sent to another order's state: a mistake in the caller's code.
    #[error("the command is for order {asked}, this is order {loaded}")]
    OtherOrder { asked: OrderId, loaded: OrderId },
    /// Nobody created it. Where the creation may still be on its way (another topic), wait and ask again later;
    /// otherwise tell the user that the id is wrong.
    #[error("order {order_id} is not there")]
    NotThere { order_id: OrderId },
    /// Another order has this id already. Take a new id; never overwrite.
    #[error("order {order_id} is there already, with other contents")]
    AlreadyThere { order_id: OrderId },
    /// Correct the input.
    #[error("the price of order {order_id} is {price}, it must be more than zero")]
    PriceNotPositive { order_id: OrderId, price: Money },
    /// The payment is not the price. Whoever took the money gives it back and asks for the right amount.
    #[error("order {order_id} costs {price}, the payment is {amount}")]
    WrongAmount { order_id: OrderId, price: Money, amount: Money },
    /// A second payment for one order: whoever took this one gives it back. The first one stands.
    #[error("order {order_id} is paid already, by payment {by}")]
    AlreadyPaid { order_id: OrderId, by: PaymentId },
    /// Nothing was paid yet. Ship after `OrderPaid`.
    #[error("order {order_id} is not paid")]
    NotPaid { order_id: OrderId },
    /// Another shipment is on its way: call this one back. Cancelling is too late as well; the goods would have to be
    /// returned, which is a new process.
    #[error("order {order_id} is shipped already, by shipment {by}")]
    AlreadyShipped { order_id: OrderId, by: ShipmentId },
    /// The end. Compensate what the caller has done for it (give back a payment, call back a shipment); whoever still
    /// wants the goods creates a new order.
    #[error("order {order_id} is cancelled")]
    Cancelled { order_id: OrderId },
}

impl Rejection {
    /// A stable word for programs: `already_paid`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherOrder { .. } => "other_order",
            Self::NotThere { .. } => "not_there",
            Self::AlreadyThere { .. } => "already_there",
            Self::PriceNotPositive { .. } => "price_not_positive",
            Self::WrongAmount { .. } => "wrong_amount",
            Self::AlreadyPaid { .. } => "already_paid",
            Self::NotPaid { .. } => "not_paid",
            Self::AlreadyShipped { .. } => "already_shipped",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}

/// What happens when `command` meets `order`. No events (`Ok(vec![])`) means that the command was carried out before:
/// the caller answers as it did then.
///
/// | | not there | created | paid | shipped | cancelled |
/// |---|---|---|---|---|---|
/// | `CreateOrder` | created | repeat¹ | repeat¹ | repeat¹ | repeat¹ |
/// | `PayOrder` | `NotThere` | paid² | repeat³, else `AlreadyPaid` | as paid | repeat³, else `Cancelled` |
/// | `ShipOrder` | `NotThere` | `NotPaid` | shipped | repeat³, else `AlreadyShipped` | `Cancelled` |
/// | `CancelOrder` | `NotThere` | cancelled | cancelled, refunded | `AlreadyShipped` | repeat⁴ |
///
/// ¹ where all contents are the same, else `AlreadyThere`. ² where the amount is the price, else `WrongAmount`.
/// ³ of the same payment or shipment. ⁴ whatever the reason: cancelled is what was asked for; the first reason stands.
///
/// # Errors
/// [`Rejection`], with what a caller does about it.
pub fn decide(order: &Order, command: OrderCommand) -> Result<Vec<OrderEvent>, Rejection> {
    if let Some(placed) = order.placed()
        && placed.order_id != *command.order_id()
    {
        return Err(Rejection::OtherOrder { asked: command.order_id().clone(), loaded: placed.order_id.clone() });
    }
    match command {
        OrderCommand::CreateOrder(command) => create(order, command),
        OrderCommand::PayOrder(command) => pay(order, command),
        OrderCommand::ShipOrder(command) => ship(order, command),
        OrderCommand::CancelOrder(command) => cancel(order, command),
    }
}

/// It was carried out before.
const REPEAT: Result<Vec<OrderEvent>, Rejection> = Ok(Vec::new());

fn create(order: &Order, command: CreateOrder) -> Result<Vec<OrderEvent>, Rejection> {
    let CreateOrder { order_id, user_id, product_id, price } = command;
    if let Some(placed) = order.placed() {
        let asked = Placed { order_id: order_id.clone(), user_id, product_id, price };
        return if *placed == asked { REPEAT } else { Err(Rejection::AlreadyThere { order_id }) };
    }
    if !price.is_positive() {
        return Err(Rejection::PriceNotPositive { order_id, price });
    }
    Ok(vec![OrderEvent::OrderCreated(OrderCreated { order_id, user_id, product_id, price })])
}

fn pay(order: &Order, command: PayOrder) -> Result<Vec<OrderEvent>, Rejection> {
    let PayOrder { order_id, payment_id, amount } = command;
    let Some(placed) = order.placed() else { return Err(Rejection::NotThere { order_id }) };
    // The same payment with another amount is no repeat.
    if order.payment() == Some(&Payment { payment_id: payment_id.clone(), amount }) {
        return REPEAT;
    }
    match (order.status(), order.payment()) {
        (Status::Cancelled, _) => Err(Rejection::Cancelled { order_id }),
        (_, Some(payment)) => Err(Rejection::AlreadyPaid { order_id, by: payment.payment_id.clone() }),
        // Money of two currencies is never equal.
        (_, None) if amount != placed.price => Err(Rejection::WrongAmount { order_id, price: placed.price, amount }),
        (_, None) => {
            let user_id = placed.user_id.clone();
            Ok(vec![OrderEvent::OrderPaid(OrderPaid { order_id, user_id, payment_id, amount })])
        }
    }
}

fn ship(order: &Order, command: ShipOrder) -> Result<Vec<OrderEvent>, Rejection> {
    let ShipOrder { order_id, shipment_id } = command;
    match order {
        Order::NotThere => Err(Rejection::NotThere { order_id }),
        Order::Created { .. } => Err(Rejection::NotPaid { order_id }),
        Order::Paid { placed, .. } => {
            let user_id = placed.user_id.clone();
            Ok(vec![OrderEvent::OrderShipped(OrderShipped { order_id, user_id, shipment_id })])
        }
        Order::Shipped { shipment_id: by, .. } if *by == shipment_id => REPEAT,
        Order::Shipped { shipment_id: by, .. } => Err(Rejection::AlreadyShipped { order_id, by: by.clone() }),
        Order::Cancelled { .. } => Err(Rejection::Cancelled { order_id }),
    }
}

fn cancel(order: &Order, command: CancelOrder) -> Result<Vec<OrderEvent>, Rejection> {
    let CancelOrder { order_id, reason } = command;
    let cancelled = |placed: &Placed| {
        let (order_id, user_id) = (placed.order_id.clone(), placed.user_id.clone());
        OrderEvent::OrderCancelled(OrderCancelled { order_id, user_id, reason: reason.clone() })
    };
    match order {
        Order::NotThere => Err(Rejection::NotThere { order_id }),
        Order::Created { placed } => Ok(vec![cancelled(placed)]),
        // Both or neither: they are appended together, so no cancelled order keeps the money.
        Order::Paid { placed, payment } => Ok(vec![cancelled(placed), refunded(placed, payment)]),
        Order::Shipped { shipment_id: by, .. } => Err(Rejection::AlreadyShipped { order_id, by: by.clone() }),
        Order::Cancelled { .. } => REPEAT,
    }
}

fn refunded(placed: &Placed, payment: &Payment) -> OrderEvent {
    OrderEvent::PaymentRefunded(PaymentRefunded {
        order_id: placed.order_id.clone(),
        user_id: placed.user_id.clone(),
        payment_id: payment.payment_id.clone(),
        amount: payment.amount,
    })
}
