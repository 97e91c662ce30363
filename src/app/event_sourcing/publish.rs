//! The publisher: follows the log and sends each event to its topic.
//!
//! ```text
//! log:   1 2 3 4 | 5 6 7         read 5..7 --> one Kafka transaction --> checkpoint 7
//!      checkpoint^                                                          ^ under the lease's token
//! ```
//!
//! It is the relay over the log itself: see [`crate::app::relay`] for its fence and its guarantee (at-least-once, in order
//! per stream). A crash between the commit and the checkpoint publishes the batch again, with the same event ids.

use std::time::Duration;

use uuid::Uuid;

use super::Step;
use crate::{
    app::{
        crash::{self, Crash},
        relay::{LEASE, Outgoing, Polling, RelayError, Shard, Stop, place, prefixed, rest},
    },
    kafka::{Cluster, Error},
    patterns::{
        envelope::{Envelope, REPLAY_HEADER},
        event_sourcing::{Metadata, NewEvent, RecordedEvent},
        order::{OrderEvent, topic_of},
    },
    store::{Store, StoreError},
};

/// The shard's name: of its lease, its checkpoint, and in its transactional id.
pub const SHARD: &str = "event-log";
/// The topics of the events of orders.
pub const TOPICS: [&str; 3] = ["orders", "payments", "shipments"];
/// Who publishes, in the envelope.
const SOURCE: &str = "/kafkalab/es";
/// After trouble the next try waits this long.
const AFTER_TROUBLE: Duration = Duration::from_millis(500);

#[derive(Clone, Debug)]
pub struct Options {
    /// Before the topics' names.
    pub prefix: String,
    /// Events of a transaction at most.
    pub batch: usize,
    /// End when everything is published.
    pub once: bool,
    /// The longest pause between two looks at the log.
    pub every: Duration,
    /// How long a broker or a store may be away with `once`.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let (every, patience) = (Duration::from_millis(200), Duration::from_secs(30));
        Self { prefix: String::new(), batch: 5000, once: false, every, patience }
    }
}

impl Options {
    /// What takes longer than a lease is of no use to whoever held it; and with `once` somebody waits for the end.
    async fn within<T>(
        &self,
        action: &str,
        work: impl Future<Output = Result<T, RelayError>>,
    ) -> Result<T, RelayError> {
        let limit = if self.once { self.patience.min(LEASE) } else { LEASE };
        let late = |_| Error::TimedOut { action: action.to_owned(), limit, last_try: None };
        tokio::time::timeout(limit, work).await.map_err(late)?
    }
}

/// What a publisher says while it works.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "told and dropped; a box would be an allocation per event")]
pub enum Told {
    Step(Step),
    /// Another one holds the lease.
    Waits,
    /// Something is away; it tries again.
    Trouble(String),
}

/// Publishes until it is told to stop, or with `once` until the end of the log. Gives how many events went out.
///
/// # Errors
/// [`RelayError::Poison`] for an event that is not known; what does not pass; with `once` also what lasts longer than
/// [`Options::patience`].
pub async fn publish(
    store: &Store,
    cluster: &Cluster,
    options: &Options,
    crash: &Crash,
    stop: &Stop,
    tell: &mut dyn FnMut(Told),
) -> Result<u64, RelayError> {
    let mut published = 0;
    let mut trouble: Option<std::time::Instant> = None;
    let mut waits = false;
    while !stop.is_cancelled() {
        let taken = options.within("taking over the publishing", Shard::take(store, cluster, SHARD, crash)).await;
        let held = match taken {
            Ok(Some(mut shard)) => {
                waits = false;
                let mut tell = |told| {
                    trouble = None;
                    tell(told);
                };
                match follow(&mut shard, store, options, crash, stop, &mut tell, &mut published).await {
                    Ok(()) => {
                        shard.release().await?;
                        return Ok(published);
                    }
                    Err(error) => Err((error, Some(shard))),
                }
            }
            // whoever holds it has published everything
            Ok(None) if options.once && waiting(store).await.is_ok_and(|waiting| waiting == 0) => return Ok(published),
            Ok(None) => {
                if !std::mem::replace(&mut waits, true) {
                    tell(Told::Waits);
                }
                Ok(())
            }
            Err(error) => Err((error, None)),
        };
        if let Err((error, shard)) = held {
            if let Some(shard) = shard {
                let _ = shard.release().await; // it ends by itself otherwise
            }
            if !error.is_transient() {
                return Err(error);
            }
            let since = *trouble.get_or_insert_with(std::time::Instant::now);
            if options.once && since.elapsed() > options.patience {
                return Err(error);
            }
            tell(Told::Trouble(error.to_string()));
        }
        rest(AFTER_TROUBLE, stop).await;
    }
    Ok(published)
}

async fn follow(
    shard: &mut Shard,
    store: &Store,
    options: &Options,
    crash: &Crash,
    stop: &Stop,
    tell: &mut dyn FnMut(Told),
    published: &mut u64,
) -> Result<(), RelayError> {
    // after the fence: whoever moved it before cannot move it any more
    let mut checkpoint = store.checkpoint(SHARD).await?;
    let mut polling = Polling::new(options.every);
    while !stop.is_cancelled() {
        let events = store.read_all(checkpoint, options.batch).await?;
        if events.is_empty() {
            if options.once {
                return Ok(());
            }
            shard.renew().await?;
            rest(polling.pause(), stop).await;
            continue;
        }
        crash.here(crash::RELAY_AFTER_CLAIM);
        polling.found();
        let (events, records) = readable(events, &options.prefix)?;
        let Some(last) = events.last().map(|event| event.position) else { continue };
        let sent = options.within("publishing", shard.publish(&records)).await;
        let receipts = sent.map_err(|error| blame(error, &events))?;
        store.set_checkpoint(SHARD, last, shard.lease()).await?;
        crash.here(crash::RELAY_AFTER_MARK);
        checkpoint = last;
        *published += events.len() as u64;
        for receipt in &receipts {
            let (Some(event), Some(record)) =
                (events.get(receipt.number as usize), records.get(receipt.number as usize))
            else {
                continue;
            };
            let (topic, partition, offset) = place(receipt);
            tell(Told::Step(Step::Published {
                event: event.event_type.clone(),
                topic: topic.to_string(),
                partition,
                offset,
                key: record.key.clone(),
                position: event.position,
            }));
        }
    }
    Ok(())
}

/// The events up to the first one that cannot be read, as records: what stands before it goes out.
///
/// # Errors
/// [`RelayError::Poison`] where that is the first one.
fn readable(mut events: Vec<RecordedEvent>, prefix: &str) -> Result<(Vec<RecordedEvent>, Vec<Outgoing>), RelayError> {
    let mut records = Vec::with_capacity(events.len());
    for event in &events {
        match outgoing(event, prefix) {
            Ok(record) => records.push(record),
            Err(error) if records.is_empty() => return Err(error),
            Err(_) => break, // it comes first in the next batch
        }
    }
    events.truncate(records.len());
    Ok((events, records))
}

/// A record that is refused for what it is would be refused for ever: the publisher stops, and names the event with which
/// the batch begins, since a refusal does not say which of its records it is about.
fn blame(error: RelayError, events: &[RecordedEvent]) -> RelayError {
    match (error, events.first()) {
        (RelayError::Broker(error @ Error::Invalid(_)), Some(first)) => {
            poison(first, format!("it, or one behind it in its batch, was refused: {error}"))
        }
        (error, _) => error,
    }
}

fn poison(event: &RecordedEvent, cause: String) -> RelayError {
    let (id, position, stream, version) = (event.id, event.position, event.stream.clone(), event.version);
    RelayError::Poison { id, position, stream, version, cause }
}

/// An event as a record: CloudEvents in binary mode, keyed by the order's id. Old shapes go out as today's.
///
/// # Errors
/// [`RelayError::Poison`]: an event of a type that is not known is never skipped.
pub(super) fn outgoing(event: &RecordedEvent, prefix: &str) -> Result<Outgoing, RelayError> {
    let (event_type, value, topic) = match topic_of(&event.event_type) {
        Some(topic) => (event.event_type.clone(), event.data.clone(), topic),
        None => {
            let upcast = OrderEvent::recorded(event).map_err(|error| poison(event, error.to_string()))?;
            (upcast.event_type().to_owned(), upcast.to_json(), upcast.topic())
        }
    };
    let metadata = Metadata::from_json(&event.metadata).unwrap_or_default();
    let subject = event.stream.strip_prefix("order-").unwrap_or(&event.stream);
    let new = NewEvent { id: event.id, event_type, data: Vec::new(), metadata: Vec::new() };
    let envelope = Envelope::of(&new, &metadata, SOURCE, subject, event.version, event.recorded_at_ms);
    Ok(Outgoing {
        topic: prefixed(prefix, topic),
        key: subject.to_owned(),
        value,
        headers: envelope.headers(),
        timestamp: event.recorded_at_ms,
    })
}

/// The same as a repeat: handlers with effects outside of their own store pass it by.
pub(super) fn replayed(event: &RecordedEvent, prefix: &str, replay: Uuid) -> Result<Outgoing, RelayError> {
    let mut record = outgoing(event, prefix)?;
    record.headers.push((REPLAY_HEADER, replay.to_string()));
    Ok(record)
}

/// How many events wait to be published.
pub async fn waiting(store: &Store) -> Result<u64, StoreError> {
    Ok(store.head().await?.saturating_sub(store.checkpoint(SHARD).await?))
}
