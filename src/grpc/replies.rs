//! From the domain to the wire.

use super::orders as wire;
use crate::patterns::{
    event_sourcing::Folded,
    money::Money,
    order::{Order, Status},
};

/// The order as it is; `None` where it is not there.
pub fn order(folded: &Folded<Order>) -> Option<wire::Order> {
    let placed = folded.state.placed()?;
    let mut order = wire::Order {
        order_id: placed.order_id.to_string(),
        user_id: placed.user_id.to_string(),
        product_id: placed.product_id.to_string(),
        price: Some(money(placed.price)),
        status: status(folded.state.status()).into(),
        version: folded.version,
        payment_id: folded.state.payment().map(|payment| payment.payment_id.to_string()).unwrap_or_default(),
        ..wire::Order::default()
    };
    match &folded.state {
        Order::Shipped { shipment_id, .. } => order.shipment_id = shipment_id.to_string(),
        Order::Cancelled { reason, refunded, .. } => {
            order.cancel_reason = reason.to_string();
            order.refunded = refunded.map(money);
        }
        _ => {}
    }
    Some(order)
}

/// The number nearest to the amount: exactly it, by its shortest decimal, below 10^15 smallest units.
fn money(money: Money) -> wire::Money {
    let amount = money.amount().parse().unwrap_or(f64::NAN); // digits and a point: always a number
    wire::Money { currency: money.currency().code().to_owned(), amount }
}

fn status(status: Status) -> wire::OrderStatus {
    match status {
        Status::NotThere => wire::OrderStatus::Unspecified,
        Status::Created => wire::OrderStatus::Created,
        Status::Paid => wire::OrderStatus::Paid,
        Status::Shipped => wire::OrderStatus::Shipped,
        Status::Cancelled => wire::OrderStatus::Cancelled,
    }
}
