//! Shared commits: concurrent appends of one process go through one writer, which puts up to 256 of them in a transaction.
//!
//! ```text
//! append ──┐
//! append ──┼─> queue ──> writer: look up ──> decide (pure) ──> insert, commit ──> each its own answer
//! append ──┘
//! ```
//!
//! A commit costs one wait for the disk, however many appends share it. What an append gets is decided here and not by
//! the database's refusal, so a conflict of one costs the others nothing. While a transaction is on its way the next
//! batch gathers; nobody waits for a timer.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use uuid::Uuid;

use super::{AppendError, Appended, StoreError};
use crate::patterns::{
    event_sourcing::{ExpectedVersion, NewEvent},
    outbox::NewMessage,
};

/// Appends in one transaction.
pub(super) const BATCH: usize = 256;
/// Appends that wait; who comes later waits before the queue.
const QUEUE: usize = 1024;
/// Bytes of all appends that wait or are being written.
const ROOM: usize = 64 << 20;
/// Bytes of one append.
pub(super) const LARGEST_APPEND: usize = 16 << 20;
/// What an event costs beside its bytes.
const EVENT_OVERHEAD: usize = 128;

/// One caller's append, on its way.
pub(super) struct Append {
    pub stream: String,
    pub expected: ExpectedVersion,
    pub events: Vec<NewEvent>,
    /// Go into the outbox beside the events, or not at all.
    pub messages: Vec<NewMessage>,
    /// An earlier attempt may have committed it: found in the log, it is no duplicate of somebody else's.
    pub tried: bool,
    answer: oneshot::Sender<Result<Appended, AppendError>>,
    _room: OwnedSemaphorePermit,
}

/// The callers' end of the queue. `W` is what the writer takes beside appends.
pub(super) struct Appends<W> {
    queue: mpsc::Sender<W>,
    room: Arc<Semaphore>,
    at: Arc<str>,
}

impl<W: From<Append>> Appends<W> {
    pub fn new(at: Arc<str>) -> (Self, mpsc::Receiver<W>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (Appends { queue, room: Arc::new(Semaphore::new(ROOM)), at }, receiver)
    }

    /// Another way into the same queue.
    pub fn queue(&self) -> &mpsc::Sender<W> {
        &self.queue
    }

    pub fn closed(&self) -> StoreError {
        StoreError::Closed { at: Arc::clone(&self.at) }
    }

    /// Waits for room, hands the append over, and waits for what became of it. A caller that stops waiting may find
    /// its events written.
    pub async fn append(
        &self,
        stream: &str,
        expected: ExpectedVersion,
        events: Vec<NewEvent>,
        messages: Vec<NewMessage>,
    ) -> Result<Appended, AppendError> {
        let size = check(stream, &events, &messages).map_err(AppendError::Invalid)?;
        let permits = u32::try_from(size).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| self.closed())?;
        let (answer, answered) = oneshot::channel();
        let append =
            Append { stream: stream.to_owned(), expected, events, messages, tried: false, answer, _room: room };
        self.queue.send(append.into()).await.map_err(|_| self.closed())?;
        answered.await.map_err(|_| self.closed())?
    }
}

/// The size of an append that may share a transaction: nothing in it can fail the others.
fn check(stream: &str, events: &[NewEvent], messages: &[NewMessage]) -> Result<usize, String> {
    check_name("a stream", stream)?;
    if events.is_empty() {
        return Err(format!("an append to stream {stream:?} without events"));
    }
    let mut size = stream.len();
    let mut ids = HashSet::with_capacity(events.len());
    for event in events {
        if !ids.insert(event.id) {
            return Err(format!("event id {} stands twice in one append to stream {stream:?}", event.id));
        }
        check_name("an event's type", &event.event_type)?;
        size += event.event_type.len() + event.data.len() + event.metadata.len() + EVENT_OVERHEAD;
    }
    for message in messages {
        check_name("an aggregate", &message.aggregate_id)?;
        check_name("an aggregate's type", &message.aggregate_type)?;
        size += message.payload.len() + message.headers.len() + 2 * EVENT_OVERHEAD;
    }
    if size > LARGEST_APPEND {
        return Err(format!(
            "an append of {size} bytes to stream {stream:?}; the limit is {LARGEST_APPEND}: append fewer events at once"
        ));
    }
    Ok(size)
}

/// Names go into keys of indexes: PostgreSQL takes no NUL, and no key of more than 2,700 bytes.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), String> {
    match name {
        "" => Err(format!("{what} needs a name")),
        name if name.len() > 1000 => Err(format!("{what} has a name of {} bytes; the limit is 1000", name.len())),
        name if name.contains('\0') => Err(format!("{what} has a name with a NUL: {name:?}")),
        _ => Ok(()),
    }
}

/// The crash points of a transaction, with messages for the outbox in it or without.
pub(super) fn before_commit(has_messages: bool) -> &'static [&'static str] {
    if has_messages { &["append.before-commit", "outbox.before-commit"] } else { &["append.before-commit"] }
}

pub(super) fn after_commit(has_messages: bool) -> &'static [&'static str] {
    if has_messages { &["append.after-commit", "outbox.after-commit"] } else { &["append.after-commit"] }
}

/// Tells each caller what became of its append.
pub(super) fn answer(batch: Vec<Append>, outcomes: Vec<Result<Appended, AppendError>>) {
    for (append, outcome) in batch.into_iter().zip(outcomes) {
        let _ = append.answer.send(outcome); // the caller may have gone
    }
}

/// Tells each caller that the transaction failed.
pub(super) fn answer_all(batch: Vec<Append>, error: &StoreError) {
    for append in batch {
        let _ = append.answer.send(Err(error.clone().into()));
    }
}

/// Where an event is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub stream: String,
    pub version: u64,
    pub position: u64,
}

/// What the log had when the transaction began, as far as the batch needs it, and what the batch adds to it.
#[derive(Default)]
pub(super) struct Seen {
    pub last_position: u64,
    /// The version of each stream of the batch; absent: 0.
    pub heads: HashMap<String, u64>,
    /// Where each id of the batch is that is in the log.
    pub ids: HashMap<Uuid, Place>,
}

/// An event with its place, to be inserted.
pub(super) struct Row<'a> {
    pub position: u64,
    pub stream: &'a str,
    pub version: u64,
    pub event: &'a NewEvent,
}

/// What a batch adds.
pub(super) struct Inserts<'a> {
    pub rows: Vec<Row<'a>>,
    pub messages: Vec<&'a NewMessage>,
}

impl Seen {
    /// What to insert, in order of position, and each caller's outcome once that is committed. Pure.
    pub fn decide<'a>(&mut self, batch: &'a [Append]) -> (Inserts<'a>, Vec<Result<Appended, AppendError>>) {
        let mut inserts = Inserts { rows: Vec::with_capacity(batch.len()), messages: Vec::new() };
        let outcomes = batch.iter().map(|append| self.decide_one(append, &mut inserts)).collect();
        (inserts, outcomes)
    }

    fn decide_one<'a>(&mut self, append: &'a Append, inserts: &mut Inserts<'a>) -> Result<Appended, AppendError> {
        if let Some(earlier) = self.earlier(append)? {
            return Ok(earlier);
        }
        let actual = self.heads.get(&append.stream).copied().unwrap_or(0);
        let conflict = |wrong| AppendError::Conflict { stream: append.stream.clone(), wrong };
        append.expected.check(actual).map_err(conflict)?;
        let mut version = actual;
        for event in &append.events {
            version += 1;
            self.last_position += 1;
            let place = Place { stream: append.stream.clone(), version, position: self.last_position };
            self.ids.insert(event.id, place);
            inserts.rows.push(Row { position: self.last_position, stream: &append.stream, version, event });
        }
        inserts.messages.extend(&append.messages);
        self.heads.insert(append.stream.clone(), version);
        Ok(Appended {
            first_version: actual + 1,
            last_version: version,
            last_position: self.last_position,
            duplicate: false,
        })
    }

    /// The same events once more: the answer of the first time. `None`: none of them is in the log.
    fn earlier(&self, append: &Append) -> Result<Option<Appended>, AppendError> {
        let places: Vec<_> = append.events.iter().map(|event| self.ids.get(&event.id)).collect();
        let Some((at, known)) = places.iter().enumerate().find_map(|(at, place)| Some((at, (*place)?))) else {
            return Ok(None);
        };
        let taken = |at: usize, place: &Place| AppendError::IdTaken {
            id: append.events[at].id,
            stream: place.stream.clone(),
            version: place.version,
        };
        let first = known.version.checked_sub(at as u64).ok_or_else(|| taken(at, known))?;
        for (at, place) in places.iter().enumerate() {
            let same = place.is_some_and(|place| place.stream == append.stream && place.version == first + at as u64);
            if !same {
                return Err(place.map_or_else(|| taken(0, known), |place| taken(at, place)));
            }
        }
        let last = places.last().copied().flatten().unwrap_or(known);
        Ok(Some(Appended {
            first_version: first,
            last_version: last.version,
            last_position: last.position,
            duplicate: !append.tried,
        }))
    }
}
