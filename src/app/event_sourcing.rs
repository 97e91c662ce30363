//! Event sourcing: commands on orders, and questions about their past.
//!
//! ```text
//! command --> load the stream (snapshot + rest) --> decide (pure) --> append under the version that was loaded
//!    ^                                                                      |
//!    +------------- somebody was quicker: load and decide again <-----------+
//! ```
//!
//! Try it: `kafkalab es`; its parts are in the README's section "Event sourcing".
//!
//! Nothing here publishes: the log is the only thing that is written, and [`publish`] follows it. To append and to send "at
//! the same time" would be two writes with a crash between them.

pub mod demo;
pub mod publish;
pub mod replay;

use serde::Serialize;
use uuid::Uuid;

use crate::{
    app::relay::Told,
    patterns::{
        event_sourcing::{
            ExpectedVersion, FoldError, Folded, Metadata, NewEvent, RecordedEvent, Snapshot, Until, fold,
        },
        order::{self, DecodeError, Order, OrderCommand, OrderEvent, OrderId, Rejection, evolve},
        outbox,
    },
    store::{AppendError, Appended, FromSnapshot, Store, StoreError},
};

/// A command decides anew so often when others are quicker, before it gives up.
const TRIES: u32 = 10;
/// A stream that has grown by so many events since its snapshot gets a new one.
const SNAPSHOT_EVERY: u64 = 100;

/// Why a command or a question came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The rules of the order say no. Nothing was appended.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The stream is not at the version that the caller named. Nothing was appended.
    #[error("order {order_id}: expected version {expected}, and it is at version {actual}")]
    WrongVersion { order_id: OrderId, expected: u64, actual: u64 },
    #[error("order {order_id} is not there")]
    Unknown { order_id: OrderId },
    /// The order is there, and the time that was asked for lies before it.
    #[error("order {order_id} was not there yet: its first event is of {began}")]
    NotYet { order_id: OrderId, began: String },
    /// Never skipped: a state without an event that is there would be wrong in a way that nobody sees.
    #[error(transparent)]
    Unreadable(#[from] FoldError<DecodeError>),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Append(AppendError),
}

/// What a command has brought about.
#[derive(Clone, Debug)]
pub struct Handled {
    pub order: Folded<Order>,
    /// None: the command was carried out before.
    pub events: Vec<(Uuid, OrderEvent)>,
    pub appended: Option<Appended>,
    /// How often somebody else was quicker.
    pub conflicts: u32,
}

/// An event with what stands beside it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub recorded: RecordedEvent,
    pub event: Result<OrderEvent, DecodeError>,
    pub metadata: Option<Metadata>,
}

/// An order as it is, and its last event: the cause of what comes next.
#[derive(Default)]
struct Now {
    order: Folded<Order>,
    last: Option<Uuid>,
}

/// How a command is carried out.
#[derive(Clone, Copy, Default)]
pub(super) struct How<'a> {
    /// The outbox carries the events: their messages are written in the same transaction.
    pub via: Option<&'a str>,
    /// The command's own id, from which those of its events follow: sent again they are known.
    pub command_id: Option<&'a str>,
    /// The request's, for the events' headers.
    pub traceparent: Option<&'a str>,
    pub request_id: Option<&'a str>,
    /// The order's id was made for this command, so most likely there is no such order: nothing is read before it is tried.
    pub is_new: bool,
}

/// The id of the `nth` event of a command that has an id.
pub(super) fn event_id(command_id: &str, nth: usize) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("kafkalab command {command_id} {nth}").as_bytes())
}

/// The orders of a store.
#[derive(Clone)]
pub struct Orders {
    store: Store,
}

impl Orders {
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Carries a command out: durable when this returns. With `expected` the order must be at that version; without, the
    /// command is decided on whatever version it finds.
    ///
    /// # Errors
    /// [`OrderError::Rejected`], [`OrderError::WrongVersion`], a store that fails. [`StoreError::Unknown`] means that it
    /// may have been written: commands may be repeated with the same ids (of order, payment, shipment), which decides
    /// nothing a second time.
    pub async fn handle(
        &self,
        command: &OrderCommand,
        actor: &str,
        expected: Option<u64>,
    ) -> Result<Handled, OrderError> {
        self.handle_with(command, actor, expected, How::default()).await
    }

    /// The same, in another way.
    pub(super) async fn handle_with(
        &self,
        command: &OrderCommand,
        actor: &str,
        expected: Option<u64>,
        how: How<'_>,
    ) -> Result<Handled, OrderError> {
        let order_id = command.order_id();
        let mut conflicts = 0;
        loop {
            let Now { order: before, last } = match how.is_new && conflicts == 0 {
                true => Now::default(),
                false => self.now(order_id).await?,
            };
            if let Some(expected) = expected.filter(|expected| *expected != before.version) {
                return Err(OrderError::WrongVersion { order_id: order_id.clone(), expected, actual: before.version });
            }
            let events = order::decide(&before.state, command.clone())?;
            if events.is_empty() {
                return Ok(Handled { order: before, events: Vec::new(), appended: None, conflicts });
            }
            let (events, new, metadata) = recorded(order_id, last, events, actor, how);
            let messages = match how.via {
                Some(_) => outbox::messages(&new, &metadata, order_id.as_str(), before.version),
                None => Vec::new(),
            };
            let expected_version = ExpectedVersion::Exact(before.version);
            match self.store.append_with(&order_id.stream(), expected_version, new, messages).await {
                Ok(appended) => {
                    let state = events.iter().fold(before.state, |state, (_, event)| evolve(state, event));
                    let order = Folded { version: appended.last_version, state };
                    self.save_snapshot(order_id, before.version, &order).await;
                    return Ok(Handled { order, events, appended: Some(appended), conflicts });
                }
                Err(AppendError::Conflict { wrong, .. }) if expected.is_some() || conflicts >= TRIES => {
                    let expected = before.version;
                    return Err(OrderError::WrongVersion {
                        order_id: order_id.clone(),
                        expected,
                        actual: wrong.actual,
                    });
                }
                Err(AppendError::Conflict { .. }) => conflicts += 1,
                Err(AppendError::Store(error)) => return Err(error.into()),
                Err(error) => return Err(OrderError::Append(error)),
            }
        }
    }

    /// The order at a point of its past; version 0 where it is not there.
    pub async fn load(&self, order_id: &OrderId, until: Until) -> Result<Folded<Order>, OrderError> {
        if until == Until::End {
            return Ok(self.now(order_id).await?.order);
        }
        let mut pages = self.store.stream_pages(&order_id.stream(), 1);
        let mut order = Folded::default();
        loop {
            let page = pages.next().await?;
            let is_over = |event: &RecordedEvent| match until {
                Until::End => false,
                Until::Version(last) => event.version > last,
                Until::Time(last) => event.recorded_at_ms > last,
            };
            let cut = page.iter().position(is_over);
            let wanted = &page[..cut.unwrap_or(page.len())];
            order = fold(order, wanted, Until::End, OrderEvent::recorded, evolve)?;
            if pages.is_end() || cut.is_some() {
                break;
            }
        }
        match until {
            Until::Version(asked) if order.version < asked => {
                Err(FoldError::NotYet { asked, last: order.version }.into())
            }
            _ => Ok(order),
        }
    }

    /// The order as it is, from its snapshot where it has one.
    async fn now(&self, order_id: &OrderId) -> Result<Now, OrderError> {
        let stream = order_id.stream();
        let FromSnapshot { snapshot, version, mut pages } = self.store.from_snapshot(&stream).await?;
        let mut now = Now::default();
        // a snapshot is a cache: one that does not fit is thrown away
        match snapshot.map(|snapshot| snapshot.open(Order::SCHEMA, version)) {
            None => {}
            Some(Ok(order)) => now.order = order,
            Some(Err(error)) => {
                tracing::warn!(stream, %error, "the snapshot is thrown away, and the stream read from its beginning");
                self.store.delete_snapshot(&stream).await?;
                pages = self.store.stream_pages(&stream, 1);
            }
        }
        loop {
            let page = pages.next().await?;
            // the snapshot's own last event is in it
            let known = page.partition_point(|event| event.version <= now.order.version);
            now.order = fold(now.order, &page[known..], Until::End, OrderEvent::recorded, evolve)?;
            now.last = page.last().map(|event| event.id).or(now.last);
            if pages.is_end() {
                return Ok(now);
            }
        }
    }

    async fn save_snapshot(&self, order_id: &OrderId, before: u64, order: &Folded<Order>) {
        if order.version / SNAPSHOT_EVERY == before / SNAPSHOT_EVERY {
            return;
        }
        // the event is in the log, which is what counts
        if let Ok(snapshot) = Snapshot::take(order, Order::SCHEMA)
            && let Err(error) = self.store.save_snapshot(&order_id.stream(), &snapshot).await
        {
            tracing::warn!(%order_id, %error, "no snapshot was saved");
        }
    }

    /// All that happened to an order, in order.
    pub async fn history(&self, order_id: &OrderId) -> Result<Vec<Entry>, OrderError> {
        let mut pages = self.store.stream_pages(&order_id.stream(), 1);
        let mut entries = Vec::new();
        loop {
            let page = pages.next().await?;
            entries.extend(page.into_iter().map(|recorded| Entry {
                event: OrderEvent::recorded(&recorded),
                metadata: Metadata::from_json(&recorded.metadata).ok(),
                recorded,
            }));
            if pages.is_end() {
                break;
            }
        }
        match entries.is_empty() {
            true => Err(OrderError::Unknown { order_id: order_id.clone() }),
            false => Ok(entries),
        }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }
}

/// The events as they are appended: each with an id, who acted, and the event before it as its cause.
fn recorded(
    order_id: &OrderId,
    last: Option<Uuid>,
    events: Vec<OrderEvent>,
    actor: &str,
    how: How<'_>,
) -> (Vec<(Uuid, OrderEvent)>, Vec<NewEvent>, Vec<Metadata>) {
    let mut cause = last;
    let mut named = Vec::with_capacity(events.len());
    let (mut new, mut beside) = (Vec::with_capacity(events.len()), Vec::with_capacity(events.len()));
    for (nth, event) in events.into_iter().enumerate() {
        let id = how.command_id.map_or_else(Uuid::now_v7, |command_id| event_id(command_id, nth));
        let metadata = Metadata {
            actor: actor.to_owned(),
            correlation_id: Some(order_id.as_str().to_owned()),
            causation_id: cause.map(|id| id.to_string()),
            traceparent: how.traceparent.map(str::to_owned),
            request_id: how.request_id.map(str::to_owned),
            via: how.via.map(str::to_owned),
        };
        new.push(event.to_new_event(id, &metadata));
        beside.push(metadata);
        cause = Some(id);
        named.push((id, event));
    }
    (named, new, beside)
}

/// One line of a narrated run: what happened, and where.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// A part of the demonstration begins.
    Part {
        title: &'static str,
    },
    Command {
        command: &'static str,
        order_id: String,
        actor: String,
    },
    /// In the log, on disk.
    Appended {
        event: &'static str,
        stream: String,
        version: u64,
        position: u64,
        event_id: Uuid,
    },
    /// On Kafka; the offset is the broker's own word.
    Published {
        event: String,
        topic: String,
        partition: i32,
        offset: Option<i64>,
        key: String,
        position: u64,
    },
    State {
        order_id: String,
        version: u64,
        order: Order,
    },
    Refused {
        command: &'static str,
        order_id: String,
        code: &'static str,
        reason: String,
    },
    Conflict {
        order_id: String,
        expected: u64,
        actual: u64,
    },
    Replayed {
        events: u64,
        orders: u64,
    },
    /// What it means.
    Lesson {
        text: String,
    },
}

impl Step {
    /// What a relay says of a record, as a step.
    pub fn published(told: &Told<'_>) -> Option<Self> {
        let Told::Published { record, topic, partition, offset } = told else { return None };
        Some(Step::Published {
            event: record.event_type.clone(),
            topic: topic.to_string(),
            partition: *partition,
            offset: *offset,
            key: record.key.clone(),
            position: record.place,
        })
    }
}
