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

use crate::{
    app::{
        crash::Crash,
        relay::{Options, Outgoing, Refusal, RelayError, Run, Source, Stop, Tell, Told, Turns, prefixed, rest},
    },
    kafka::Cluster,
    patterns::{
        envelope::{Envelope, REPLAY_HEADER},
        event_sourcing::{Metadata, NewEvent, RecordedEvent},
        order::{OrderEvent, topic_of},
        outbox,
    },
    store::{Lease, Store, StoreError},
};

/// The shard's name: of its lease, its checkpoint, and in its transactional id.
pub const SHARD: &str = "event-log";
/// The topics of the events of orders.
pub const TOPICS: [&str; 3] = ["orders", "payments", "shipments"];
/// Who publishes, in the envelope.
const SOURCE: &str = "/kafkalab/es";

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
    tell: Tell<'_>,
) -> Result<u64, RelayError> {
    let mut log = Log {
        store: store.clone(),
        prefix: options.prefix.clone(),
        once: options.once,
        checkpoint: 0,
        events: Vec::new(),
        last: 0,
    };
    Run { store, cluster, options, crash, stop, tell, turns: &Turns::default() }.relay(&mut log).await
}

/// The log behind a checkpoint.
struct Log {
    store: Store,
    prefix: String,
    once: bool,
    checkpoint: u64,
    /// The batch that is on its way, and up to where it goes.
    events: Vec<RecordedEvent>,
    last: u64,
}

impl Source for Log {
    fn shard(&self) -> &str {
        SHARD
    }

    async fn claim(&mut self, _: &Stop) -> Result<bool, RelayError> {
        // whoever holds it may have published everything
        Ok(!self.once || waiting(&self.store).await? > 0)
    }

    async fn begin(&mut self) -> Result<(), RelayError> {
        self.checkpoint = self.store.checkpoint(SHARD).await?;
        Ok(())
    }

    async fn next(&mut self, lease: &Lease, limit: usize) -> Result<Vec<Outgoing>, RelayError> {
        loop {
            let events = self.store.read_all(self.checkpoint, limit).await?;
            if events.is_empty() {
                return Ok(Vec::new());
            }
            let (last, records) = readable(&events, &self.prefix)?;
            (self.events, self.last) = (events, last);
            if !records.is_empty() {
                return Ok(records);
            }
            self.mark(lease).await?; // the outbox carries all of them
        }
    }

    async fn mark(&mut self, lease: &Lease) -> Result<(), RelayError> {
        self.store.set_checkpoint(SHARD, self.last, lease).await?;
        self.checkpoint = self.last;
        Ok(())
    }

    /// None behind it may go before it: the publisher stops, and says at which event.
    async fn refused(
        &mut self,
        _: &[Outgoing],
        refusals: Vec<Refusal>,
        _: &Lease,
    ) -> Result<Vec<Told<'static>>, RelayError> {
        let refused = |refusal: Refusal| {
            let event = self.events.iter().find(|event| event.position == refusal.place);
            event.map(|event| poison(event, refusal.reason))
        };
        refusals.into_iter().find_map(refused).map_or(Ok(Vec::new()), Err)
    }

    async fn rest(&mut self, pause: Duration, stop: &Stop) {
        rest(pause, stop).await;
    }
}

/// The events up to the first one that cannot be read, as records: what stands before it goes out. With the position up to
/// which they go; events that the outbox carries are passed by.
///
/// # Errors
/// [`RelayError::Poison`] where that is the first one.
fn readable(events: &[RecordedEvent], prefix: &str) -> Result<(u64, Vec<Outgoing>), RelayError> {
    let (mut records, mut last) = (Vec::with_capacity(events.len()), None);
    for event in events {
        match outgoing(event, prefix) {
            Ok((record, metadata)) if !outbox::is_carried(&metadata) => records.push(record),
            Ok(_) => {}
            Err(error) if last.is_none() => return Err(error),
            Err(_) => break, // it comes first in the next batch
        }
        last = Some(event.position);
    }
    Ok((last.unwrap_or_default(), records))
}

fn poison(event: &RecordedEvent, cause: String) -> RelayError {
    let (id, position, stream, version) = (event.id, event.position, event.stream.clone(), event.version);
    RelayError::Poison { id, position, stream, version, cause }
}

/// An event as a record: CloudEvents in binary mode, keyed by the order's id. Old shapes go out as today's.
///
/// # Errors
/// [`RelayError::Poison`]: an event of a type that is not known is never skipped.
pub(in crate::app) fn outgoing(event: &RecordedEvent, prefix: &str) -> Result<(Outgoing, Metadata), RelayError> {
    let (event_type, value, topic) = match topic_of(&event.event_type) {
        Some(topic) => (event.event_type.clone(), event.data.clone(), topic),
        None => {
            let upcast = OrderEvent::recorded(event).map_err(|error| poison(event, error.to_string()))?;
            (upcast.event_type().to_owned(), upcast.to_json(), upcast.topic())
        }
    };
    let metadata = Metadata::from_json(&event.metadata).unwrap_or_default();
    let subject = event.stream.strip_prefix("order-").unwrap_or(&event.stream);
    let new = NewEvent { id: event.id, event_type: event_type.clone(), data: Vec::new(), metadata: Vec::new() };
    let envelope = Envelope::of(&new, &metadata, SOURCE, subject, event.version, event.recorded_at_ms);
    let headers = envelope.headers().into_iter().collect();
    let record = Outgoing {
        topic: prefixed(prefix, topic),
        key: subject.to_owned(),
        value,
        headers,
        timestamp: event.recorded_at_ms,
        event_type,
        place: event.position,
    };
    Ok((record, metadata))
}

/// The same as a repeat: handlers with effects outside of their own store pass it by.
pub(super) fn replayed(event: &RecordedEvent, prefix: &str, replay: Uuid) -> Result<Outgoing, RelayError> {
    let (mut record, _) = outgoing(event, prefix)?;
    record.headers.push(REPLAY_HEADER, replay);
    Ok(record)
}

/// How many events wait to be published.
pub async fn waiting(store: &Store) -> Result<u64, StoreError> {
    Ok(store.head().await?.saturating_sub(store.checkpoint(SHARD).await?))
}
