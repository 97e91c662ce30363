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
    store::{AppendError, Appended, Store, StoreError},
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
        self.handle_with(command, actor, expected, None).await
    }

    /// The same; with `via` the outbox carries the events: their messages are written in the same transaction.
    pub(super) async fn handle_with(
        &self,
        command: &OrderCommand,
        actor: &str,
        expected: Option<u64>,
        via: Option<&str>,
    ) -> Result<Handled, OrderError> {
        let order_id = command.order_id();
        let mut conflicts = 0;
        loop {
            let before = self.load(order_id, Until::End).await?;
            if let Some(expected) = expected.filter(|expected| *expected != before.version) {
                return Err(OrderError::WrongVersion { order_id: order_id.clone(), expected, actual: before.version });
            }
            let events = order::decide(&before.state, command.clone())?;
            if events.is_empty() {
                return Ok(Handled { order: before, events: Vec::new(), appended: None, conflicts });
            }
            let (events, new, metadata) = self.recorded(order_id, &before, events, actor, via).await?;
            let messages = match via {
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

    /// The events as they are appended: each with an id, who acted, and the event before it as its cause.
    async fn recorded(
        &self,
        order_id: &OrderId,
        before: &Folded<Order>,
        events: Vec<OrderEvent>,
        actor: &str,
        via: Option<&str>,
    ) -> Result<(Vec<(Uuid, OrderEvent)>, Vec<NewEvent>, Vec<Metadata>), StoreError> {
        let last = match before.version {
            0 => None,
            version => self.store.read_stream(&order_id.stream(), version, 1).await?.pop().map(|event| event.id),
        };
        let mut cause = last;
        let mut named = Vec::with_capacity(events.len());
        let (mut new, mut beside) = (Vec::with_capacity(events.len()), Vec::with_capacity(events.len()));
        for event in events {
            let id = Uuid::now_v7();
            let metadata = Metadata {
                actor: actor.to_owned(),
                correlation_id: Some(order_id.as_str().to_owned()),
                causation_id: cause.map(|id| id.to_string()),
                traceparent: None,
                via: via.map(str::to_owned),
            };
            new.push(event.to_new_event(id, &metadata));
            beside.push(metadata);
            cause = Some(id);
            named.push((id, event));
        }
        Ok((named, new, beside))
    }

    /// The order at a point of its past; version 0 where it is not there.
    pub async fn load(&self, order_id: &OrderId, until: Until) -> Result<Folded<Order>, OrderError> {
        let stream = order_id.stream();
        let start = match until {
            Until::End => self.snapshot(&stream).await?,
            Until::Version(_) | Until::Time(_) => Folded::default(),
        };
        let mut pages = self.store.stream_pages(&stream, start.version + 1);
        let mut order = start;
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
            if page.is_empty() || cut.is_some() {
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

    /// A snapshot is a cache: one that does not fit is thrown away.
    async fn snapshot(&self, stream: &str) -> Result<Folded<Order>, StoreError> {
        let Some(snapshot) = self.store.load_snapshot(stream).await? else { return Ok(Folded::default()) };
        match snapshot.open(Order::SCHEMA, self.store.stream_version(stream).await?) {
            Ok(folded) => Ok(folded),
            Err(error) => {
                tracing::warn!(stream, %error, "the snapshot is thrown away, and the stream read from its beginning");
                self.store.delete_snapshot(stream).await?;
                Ok(Folded::default())
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
            if page.is_empty() {
                break;
            }
            entries.extend(page.into_iter().map(|recorded| Entry {
                event: OrderEvent::recorded(&recorded),
                metadata: Metadata::from_json(&recorded.metadata).ok(),
                recorded,
            }));
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
