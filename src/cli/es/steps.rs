//! The steps of `es`, as lines.

use std::fmt::Write as _;

use crate::{
    app::{
        event_sourcing::Step,
        order::{Order, Status},
    },
    cli::{
        narrator::{Line, Narrate, short},
        terminal::Palette,
    },
};

impl Narrate for Step {
    fn line(&self, out: &Palette) -> Line {
        Line::Plain(match self {
            Step::Part { title } => return Line::Part((*title).to_owned()),
            Step::Lesson { text } => return Line::Lesson(text.clone()),
            Step::Command { command, order_id, actor } => format!("{command} {order_id}, by {actor}"),
            Step::Appended { event, version, position, .. } => {
                format!("  appended   {event:<16} version {version}, position {position}")
            }
            Step::Published { event, topic, partition, offset, .. } => {
                let offset = offset.map_or("offset unknown".to_owned(), |offset| format!("offset {offset}"));
                format!("  published  {:<16} {topic}[{partition}] {offset}", short(event))
            }
            Step::State { version, order, .. } => format!("  state      version {version}: {}", described(order)),
            Step::Refused { code, reason, .. } => format!("  {}    {reason} ({code})", out.warn("refused")),
            Step::Conflict { expected, actual, .. } => format!(
                "  {}   expected version {expected}, and it is at version {actual}: one of the two has lost",
                out.warn("conflict")
            ),
            Step::Replayed { events, orders } => format!("  replayed   {events} events of {orders} orders"),
        })
    }
}

/// An order in a line.
pub fn described(order: &Order) -> String {
    let mut text = order.status().to_string();
    if let Some(placed) = order.placed() {
        let _ = write!(text, ", {} for {}, {}", placed.product_id, placed.user_id, placed.price);
    }
    if let Some(payment) = order.payment() {
        let _ = write!(text, ", paid {}", payment.amount);
    }
    if let Order::Cancelled { reason, refunded, .. } = order {
        let back = refunded.map(|amount| format!(", {amount} given back")).unwrap_or_default();
        let _ = write!(text, "{back} ({reason})");
    }
    debug_assert!(order.status() != Status::NotThere || order.placed().is_none());
    text
}
