//! The order: the aggregate whose rules the other patterns carry around.
//!
//! # The problem
//!
//! "A paid order cannot be paid again, a shipped one cannot be cancelled" is easy to say and easily scattered: a check
//! in a handler, a `WHERE` in an update, a flag in a consumer. Then nobody can read the rules in one place, and no test
//! can try them without a database and a broker.
//!
//! # The idea
//!
//! All rules are two functions over plain data. Commands ask (imperative), events tell (past tense):
//!
//! ```text
//!                 CreateOrder           PayOrder             ShipOrder
//!   (not there) ---------------> Created ---------> Paid ----------------> Shipped
//!                OrderCreated      |     OrderPaid    |    OrderShipped
//!                                  | CancelOrder      | CancelOrder
//!                                  v                  v
//!                              Cancelled          Cancelled     OrderCancelled, and after a payment PaymentRefunded
//! ```
//!
//! ```
//! use kafkalab::patterns::order::{CancelOrder, CreateOrder, Order, OrderId, PayOrder, Rejection, decide};
//!
//! let order_id: OrderId = "order-7".parse()?;
//! let price = "USD:99.99".parse()?;
//! let create = CreateOrder { order_id: order_id.clone(), user_id: "ada".parse()?, product_id: "lamp".parse()?, price };
//! let mut history = decide(&Order::NotThere, create.into())?;
//!
//! let pay = PayOrder { order_id: order_id.clone(), payment_id: "p-1".parse()?, amount: price };
//! history.extend(decide(&Order::after(&history), pay.clone().into())?);
//!
//! // The same command again: nothing happens, because it has happened. Another payment: refused.
//! assert_eq!(decide(&Order::after(&history), pay.clone().into()), Ok(vec![]));
//! let again = PayOrder { payment_id: "p-2".parse()?, ..pay };
//! assert!(matches!(decide(&Order::after(&history), again.into()), Err(Rejection::AlreadyPaid { .. })));
//!
//! // A paid order's money goes back when it is cancelled.
//! let cancelled = decide(&Order::after(&history), CancelOrder { order_id, reason: "changed_mind".parse()? }.into())?;
//! assert_eq!(cancelled.iter().map(|event| event.name()).collect::<Vec<_>>(), ["OrderCancelled", "PaymentRefunded"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What can go wrong
//!
//! - **A command comes twice.** Kafka and every retry deliver at least once. So a command names what it makes
//!   (`payment_id`, `shipment_id`): the same one again is a repeat and gives no events; another one is refused. A caller
//!   that makes a new id for each attempt has no protection.
//! - **Two commands decide on one state.** Both see "Created", one pays, one cancels. [`decide`] cannot see the other; the
//!   append's expected version does, and the loser decides again
//!   ([`ExpectedVersion`](super::event_sourcing::ExpectedVersion)).
//! - **A rule changes.** [`decide`] may become stricter at any time; [`evolve`] must go on to bear everything that was
//!   ever decided, so it never refuses. An event that fits no arrow changes nothing.
//! - **A shape changes.** Events are kept for ever, and old ones are read by an upcaster: see [`OrderEvent::decode`]. A
//!   type that is not known is an error and never skipped, because a state without it would be wrong.
//!
//! # What is not decided here
//!
//! Whether the card has cover, whether the lamp is in stock: that asks somebody else and takes time. A saga does it, and
//! gives the outcome back as a command.
//!
//! # Read next
//!
//! [`event_sourcing`](super::event_sourcing) keeps the events; [`envelope`](super::envelope) carries them. Jérémie
//! Chassaing, *Functional Event Sourcing Decider* (2021).

mod command;
mod decide;
mod event;
mod ids;
mod state;
mod upcast;

pub use command::{CancelOrder, CreateOrder, OrderCommand, PayOrder, ShipOrder};
pub use decide::{Rejection, decide};
pub use event::{OrderCancelled, OrderCreated, OrderEvent, OrderPaid, OrderShipped, PaymentRefunded, topic_of};
pub use ids::{InvalidText, OrderId, PaymentId, ProductId, Reason, ShipmentId, UserId};
pub use state::{Order, Payment, Placed, Status, evolve};
pub use upcast::DecodeError;

#[cfg(test)]
mod tests;
