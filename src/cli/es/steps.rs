//! A narrated run, a line for what happened and one for what it means.

use std::fmt::Write as _;

use color_eyre::Result;

use crate::{
    app::{
        event_sourcing::Step,
        order::{Order, Status},
    },
    cli::{escape, session::Session, stdout},
};

/// Text for people, or JSON Lines with the same content.
pub struct Narrator<'a> {
    session: &'a Session,
    json: bool,
    quiet: bool,
    part: u32,
    failed: Option<color_eyre::Report>,
}

impl<'a> Narrator<'a> {
    pub fn new(session: &'a Session, json: bool) -> Self {
        Self { session, json, quiet: session.terminal.is_quiet(), part: 0, failed: None }
    }

    /// Says a step. A stdout that is gone is said at the end, by [`Narrator::end`].
    pub fn tell(&mut self, step: &Step) {
        if self.failed.is_some() {
            return;
        }
        let told = if self.json {
            serde_json::to_value(step).map_err(Into::into).and_then(|document| stdout::json(&document))
        } else if self.quiet {
            Ok(())
        } else {
            let text = self.text(step);
            stdout::write(text.as_bytes())
        };
        self.failed = told.err();
    }

    pub fn end(self) -> Result<()> {
        self.failed.map_or(Ok(()), Err)
    }

    fn text(&mut self, step: &Step) -> String {
        let out = &self.session.terminal.out.palette;
        let line = match step {
            Step::Part { title } => {
                self.part += 1;
                let gap = if self.part == 1 { "" } else { "\n" };
                format!("{gap}{}", out.emphasis(format!("{}. {title}", self.part)))
            }
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
            Step::Lesson { text } => return wrapped(text, self.session.terminal.width().unwrap_or(100)),
        };
        format!("{}\n", if line.contains('\u{1b}') { line } else { escape::text(&line).into_owned() })
    }
}

/// `orders.v1.OrderPaid` -> `OrderPaid`
fn short(event_type: &str) -> &str {
    event_type.rsplit('.').next().unwrap_or(event_type)
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

/// Words in lines of at most `width` columns, with a bar before them.
fn wrapped(text: &str, width: usize) -> String {
    const BAR: &str = "  | ";
    let room = width.saturating_sub(BAR.len()).clamp(16, 96);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| format!("{BAR}{line}\n")).collect()
}
