//! The write side: a command is decided on the order's own past, and appended. It keeps no read model.
//!
//! A command may carry an id of its own. Its events' ids follow from it, so the same command again finds its events and is
//! answered as the first time, whatever has become of the order since. A refusal is kept under the id, too.

use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use crate::{
    app::event_sourcing::{How, OrderError, Orders, event_id},
    patterns::{
        event_sourcing::{RecordedEvent, Until},
        order::{Order, OrderCommand, OrderEvent, OrderId},
    },
    store::{RefusedCommand, Store, StoreError},
};

/// Between two looks whether the read side has come so far.
const LOOK: Duration = Duration::from_millis(5);

/// What a command has brought about, now or when it came first.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    pub order_id: OrderId,
    /// Of the order, behind the command.
    pub version: u64,
    pub events: Vec<Written>,
    /// Of the last event in the log; `None` where there was nothing to do.
    pub position: Option<u64>,
    /// It was carried out before.
    pub is_repeat: bool,
    pub order: Order,
}

/// An event that was appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    pub event_id: Uuid,
    #[serde(rename = "type")]
    pub event_type: &'static str,
    #[serde(skip)]
    pub name: &'static str,
}

/// Why a command came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Order(#[from] OrderError),
    /// The same command was refused before, and an answer that was given stands.
    #[error("{reason}", reason = .0.reason)]
    Refused(RefusedCommand),
    #[error("command id {command_id:?} was used for {used_for}: take a new id for another command")]
    Taken { command_id: String, used_for: String },
}

impl WriteError {
    /// A stable word for programs, where the rules say no.
    pub fn code(&self) -> Option<&str> {
        match self {
            WriteError::Order(OrderError::Rejected(rejection)) => Some(rejection.code()),
            WriteError::Refused(refused) => Some(&refused.code),
            _ => None,
        }
    }
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        WriteError::Order(error.into())
    }
}

/// Carries a command out: its events are in the log, durably, when this returns.
///
/// # Errors
/// [`WriteError`]
pub async fn write(
    orders: &Orders,
    command: &OrderCommand,
    actor: &str,
    command_id: Option<&str>,
) -> Result<Answer, WriteError> {
    let Some(id) = command_id else { return Ok(carry_out(orders, command, actor, None).await?) };
    if let Some(answer) = earlier(orders, command, id).await? {
        return answer;
    }
    let outcome = carry_out(orders, command, actor, command_id).await;
    // the same command may have come by two ways at once: then it has an answer now
    let has_events = outcome.as_ref().is_ok_and(|answer| !answer.events.is_empty());
    if !has_events && let Some(answer) = earlier(orders, command, id).await? {
        return answer;
    }
    match outcome {
        Err(OrderError::Rejected(rejection)) => {
            let refused = RefusedCommand {
                order_id: command.order_id().to_string(),
                code: rejection.code().to_owned(),
                reason: rejection.to_string(),
            };
            let kept = orders.store().refuse_command(id, &refused).await?;
            Err(if kept == refused { OrderError::Rejected(rejection).into() } else { WriteError::Refused(kept) })
        }
        outcome => Ok(outcome?),
    }
}

async fn carry_out(
    orders: &Orders,
    command: &OrderCommand,
    actor: &str,
    command_id: Option<&str>,
) -> Result<Answer, OrderError> {
    let handled = orders.handle_with(command, actor, None, How { command_id, ..How::default() }).await?;
    Ok(Answer {
        order_id: command.order_id().clone(),
        version: handled.order.version,
        events: handled.events.iter().map(|(id, event)| written(*id, event)).collect(),
        position: handled.appended.map(|appended| appended.last_position),
        is_repeat: handled.events.is_empty() || handled.appended.is_some_and(|appended| appended.duplicate),
        order: handled.order.state,
    })
}

fn written(event_id: Uuid, event: &OrderEvent) -> Written {
    Written { event_id, event_type: event.event_type(), name: event.name() }
}

/// The answer that the command had before, if it had one.
async fn earlier(
    orders: &Orders,
    command: &OrderCommand,
    id: &str,
) -> Result<Option<Result<Answer, WriteError>>, WriteError> {
    let (store, order_id) = (orders.store(), command.order_id());
    let taken = |used_for: String| WriteError::Taken { command_id: id.to_owned(), used_for };
    if let Some(refused) = store.refused_command(id).await? {
        let is_same = refused.order_id == order_id.as_str();
        return match is_same {
            true => Ok(Some(Err(WriteError::Refused(refused)))),
            false => Err(taken(format!("order {}", refused.order_id))),
        };
    }
    let Some(first) = store.event(event_id(id, 0)).await? else { return Ok(None) };
    if first.stream != order_id.stream() {
        return Err(taken(format!("stream {}", first.stream)));
    }
    let events = its_events(store, id, first).await?;
    let decoded: Vec<(&RecordedEvent, OrderEvent)> = events
        .iter()
        .map(|event| Ok((event, OrderEvent::recorded(event)?)))
        .collect::<Result<_, crate::patterns::order::DecodeError>>()
        .map_err(|error| taken(error.to_string()))?;
    if !decoded.first().is_some_and(|(_, event)| is_of(command, event)) {
        return Err(taken(format!("another command on order {order_id}")));
    }
    let (version, position) = events.last().map_or((0, None), |last| (last.version, Some(last.position)));
    let order = orders.load(order_id, Until::Version(version)).await?.state;
    let events = decoded.iter().map(|(recorded, event)| written(recorded.id, event)).collect();
    Ok(Some(Ok(Answer { order_id: order_id.clone(), version, events, position, is_repeat: true, order })))
}

/// Whether the event is what this kind of command brings about.
fn is_of(command: &OrderCommand, event: &OrderEvent) -> bool {
    matches!(
        (command, event),
        (OrderCommand::CreateOrder(_), OrderEvent::OrderCreated(_))
            | (OrderCommand::PayOrder(_), OrderEvent::OrderPaid(_))
            | (OrderCommand::ShipOrder(_), OrderEvent::OrderShipped(_))
            | (OrderCommand::CancelOrder(_), OrderEvent::OrderCancelled(_))
    )
}

/// All events of the command, which stand one behind the other.
async fn its_events(store: &Store, id: &str, first: RecordedEvent) -> Result<Vec<RecordedEvent>, StoreError> {
    let behind = store.read_stream(&first.stream, first.version + 1, 8).await?;
    let its = behind.into_iter().enumerate().take_while(|(nth, event)| event.id == event_id(id, nth + 1));
    Ok(std::iter::once(first.clone()).chain(its.map(|(_, event)| event)).collect())
}

/// Waits until the read side knows these events of an order; false where that took longer than `limit`.
///
/// # Errors
/// A store that fails.
pub async fn applied(store: &Store, order_id: &OrderId, events: &[Uuid], limit: Duration) -> Result<bool, StoreError> {
    let wanted: Vec<String> = events.iter().map(Uuid::to_string).collect();
    let look = async {
        loop {
            let row = store.view_order(order_id.as_str()).await?;
            let knows = |id: &String| row.as_ref().is_some_and(|row| row.known.events().any(|(known, _)| known == id));
            if wanted.iter().all(knows) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    match tokio::time::timeout(limit, look).await {
        Ok(outcome) => outcome.map(|()| true),
        Err(_) => Ok(false),
    }
}
