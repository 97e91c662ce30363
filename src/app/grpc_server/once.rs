//! A change of an order by a key: carried out once, and told from another one by the same key.

use super::{Service, how};
use crate::{
    app::event_sourcing::{How, event_id},
    grpc::{Beside, Code, Status, statuses},
    patterns::{
        event_sourcing::{Folded, RecordedEvent},
        order::{Order, OrderCommand, OrderEvent},
    },
};

impl Service {
    /// The order after it, and whether it was so before.
    ///
    /// By a key the log has the last word, whatever came of the command: what stands there by the event's id is what the key
    /// was used for. So two that use one key at the same time are told apart as well.
    pub(super) async fn once(&self, command: OrderCommand, beside: &Beside) -> Result<(Folded<Order>, bool), Status> {
        let Some(key) = &beside.key else {
            let handled = self.take(&command, how(beside)).await?;
            return Ok((handled.order, handled.events.is_empty()));
        };
        let command_id = format!("grpc {} {key}", command.name());
        let how = How { command_id: Some(&command_id), ..how(beside) };
        let taken = self.take(&command, how).await;
        if let Err(status) = &taken
            && !is_about_the_state(status.code())
        {
            return Err(status.clone());
        }
        let order_id = command.order_id();
        let event = self.orders.store().event(event_id(&command_id, 0)).await.map_err(|error| self.away(&error))?;
        match (event, taken) {
            (Some(event), _) if !is_of(&event, &command) => Err(statuses::key_reused(order_id)),
            (Some(_), Ok(handled)) => {
                let is_new = handled.appended.is_some_and(|appended| !appended.duplicate);
                Ok((handled.order, !is_new))
            }
            // done by this key, and refused now for what came after it
            (Some(_), Err(_)) => Ok((self.now(order_id).await?, true)),
            (None, taken) => taken.map(|handled| (handled.order, handled.events.is_empty())),
        }
    }
}

/// Whether an answer depends on what the log has, so that a key's first use may be behind it.
fn is_about_the_state(code: Code) -> bool {
    matches!(code, Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted)
}

/// Whether the event is what this command asks for.
fn is_of(recorded: &RecordedEvent, command: &OrderCommand) -> bool {
    if recorded.stream != command.order_id().stream() {
        return false;
    }
    match (OrderEvent::recorded(recorded), command) {
        (Ok(OrderEvent::OrderPaid(paid)), OrderCommand::PayOrder(pay)) => {
            paid.payment_id == pay.payment_id && paid.amount == pay.amount
        }
        (Ok(OrderEvent::OrderCancelled(cancelled)), OrderCommand::CancelOrder(cancel)) => {
            cancelled.reason == cancel.reason
        }
        _ => false,
    }
}
