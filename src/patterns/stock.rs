//! Stock: a handler that reserves what is ordered, and gives it back when the order is cancelled.
//!
//! # The problem
//!
//! `reserved = reserved + 1` is what must not happen twice: the record that comes again after a crash would take a second
//! lamp from the shelf.
//!
//! # The idea
//!
//! ```text
//!   OrderCreated   --> reserved + 1, StockReserved
//!   OrderCancelled --> reserved - 1, StockReleased     for an order that is reserved here
//! ```
//!
//! It counts, and does not remember which messages it has seen: that is the [`inbox`](super::inbox)'s part, in the same
//! transaction. One function, a page: what a handler is.
//!
//! # What can go wrong
//!
//! `OrderCancelled` does not say which product. So the state is one per order, not one per product: two numbers would have
//! to be changed at once otherwise. The sum over orders is a read model.
//!
//! # Try it
//!
//! `kafkalab outbox consume`, and `kafkalab outbox stock` for what came of it.

use serde::{Deserialize, Serialize};

use super::{
    inbox::{Effects, Entity, Handler, Message, Poison, answer, id_of},
    order::{OrderEvent, OrderId, ProductId},
    outbox::NewMessage,
};

/// Reserves what is ordered.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReserveStock;

/// What is known of an order's goods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    pub product_id: Option<ProductId>,
    /// How often goods were taken from the shelf: one, unless an effect happened twice.
    pub reserved: u64,
    pub released: u64,
}

/// The state's kind.
pub const RESERVATION: &str = "reservation";
/// Where [`StockReserved`] and [`StockReleased`] go.
pub const TOPIC: &str = "stock";
pub const STOCK_RESERVED: &str = "stock.v1.StockReserved";
pub const STOCK_RELEASED: &str = "stock.v1.StockReleased";

/// What both events of the stock say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockMoved {
    pub order_id: OrderId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_id: Option<ProductId>,
}

impl Handler for ReserveStock {
    fn name(&self) -> &str {
        "reserve-stock"
    }

    fn topics(&self) -> &[&'static str] {
        &["orders"]
    }

    fn entity(&self, message: &Message<'_>) -> Result<Option<Entity>, Poison> {
        let event = OrderEvent::decode(&message.envelope.event_type, message.data).map_err(Poison::new)?;
        let wanted = matches!(event, OrderEvent::OrderCreated(_) | OrderEvent::OrderCancelled(_));
        Ok(wanted.then(|| Entity { kind: RESERVATION, id: event.order_id().to_string() }))
    }

    fn handle(&self, state: Option<&[u8]>, message: &Message<'_>) -> Result<Effects, Poison> {
        let mut state = match state {
            Some(json) => serde_json::from_slice(json).map_err(Poison::new)?,
            None => Reservation { product_id: None, reserved: 0, released: 0 },
        };
        let event = OrderEvent::decode(&message.envelope.event_type, message.data).map_err(Poison::new)?;
        let what = match &event {
            OrderEvent::OrderCreated(created) => {
                state.product_id = Some(created.product_id.clone());
                state.reserved += 1;
                STOCK_RESERVED
            }
            // also before the order was created, which another producer may bring about: then the two cancel out
            OrderEvent::OrderCancelled(_) => {
                state.released += 1;
                STOCK_RELEASED
            }
            _ => return Ok(Effects::default()),
        };
        let moved = StockMoved { order_id: event.order_id().clone(), product_id: state.product_id.clone() };
        let envelope = answer(self.name(), message.envelope, what);
        let payload = serde_json::to_vec(&moved).map_err(Poison::new)?;
        let id = id_of(self.name(), message.envelope, 0);
        let messages = vec![NewMessage::by(&envelope, "stock", id, TOPIC, payload)];
        Ok(Effects { state: Some(serde_json::to_vec(&state).map_err(Poison::new)?), messages, ..Effects::default() })
    }
}
