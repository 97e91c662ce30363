//! The inbox: a record may come twice, its effect happens once. And the shape that every handler here has.
//!
//! # The problem
//!
//! Kafka gives a record again after a crash, after a rebalance, after a relay that could not remember what it had sent. A
//! handler that counts, reserves or charges does it again, too. "Exactly-once" settings of Kafka do not help where the
//! effect is in a database: no transaction spans both.
//!
//! # The idea
//!
//! Remember the message's id in the transaction of the effect:
//!
//! ```text
//!   records --> drop what the inbox has seen, load the states they are about
//!           --> handle: pure, (state, message) -> state and new messages, as data
//!           --> BEGIN  insert the ids into `inbox`       somebody had one already: roll back, look again
//!                      write the states                  guarded by their versions
//!                      insert the new messages into `outbox`
//!                      change rows               counts, what can be searched, notifications that wait
//!               COMMIT
//!           --> commit the offsets                       a crash before this repeats the records: the inbox drops them
//! ```
//!
//! Inbox and outbox together are *effectively once*, from one service's database through Kafka into another's.
//!
//! # A handler
//!
//! Is a [`Handler`]: which topics, whose state, and what follows from a message. It has no database, no clock and no ids of
//! its own, so it can be tested as a function; [`stock`](super::stock) is one on a page, `examples/04-handler.rs` one to
//! begin with.
//!
//! # What can go wrong
//!
//! | what | and what is done |
//! |---|---|
//! | The record is no message (bad JSON, an unknown type that should be known) | [`Poison`]: it goes to the dead letters, the next one proceeds |
//! | The database is away | nothing is lost: the loop waits, the member's heartbeats go on |
//! | Two members handle one record (one was taken for dead) | the second one's inbox row is refused, its transaction rolled back |
//! | An effect outside of the database (a mail) | cannot be in the transaction: queue it there, send it at least once with the id as its key; [`notifications`](super::notifications) |
//! | The inbox is purged earlier than the topic | what is repeated from behind the purge is handled twice: keep it longer than the topic's retention |
//!
//! # Read next
//!
//! [`outbox`](super::outbox), the half before it; [`envelope`](super::envelope), where the id comes from.

use std::time::Duration;

use uuid::Uuid;

use super::{envelope::Envelope, outbox::NewMessage};

/// A message as a handler sees it: a record's envelope and its event.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Without the prefix of topics.
    pub topic: &'a str,
    pub envelope: &'a Envelope,
    /// The event, as JSON.
    pub data: &'a [u8],
    /// The record repeats an event that was published before (a replay). Its effect is wanted, its new messages are not.
    pub is_replay: bool,
}

/// What a handler is about: the state is found by kind and id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entity {
    /// `stock`
    pub kind: &'static str,
    pub id: String,
}

/// What follows from a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// The entity's new state, as JSON; `None` leaves it as it is.
    pub state: Option<Vec<u8>>,
    /// With a state: ask again after this time, if nothing has come; see [`Handler::due`]. It is in the store, and outlives
    /// whoever asked for it.
    pub timer: Option<Duration>,
    /// New messages. They go into the outbox in the same transaction.
    pub messages: Vec<NewMessage>,
    /// Rows beside the state, in the same transaction.
    pub changes: Vec<Change>,
}

/// A row that a handler changes beside its state. Those of a batch are folded: a statement for each table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds to the count of a key under a name. Not idempotent, and need not be: the inbox is.
    Count { name: &'static str, key: String, by: i64 },
    /// What can be searched for an entity, in place of what could be before.
    Document(Document),
    /// Tells somebody outside of the database. Queued here, and sent at least once by its id.
    Notify(Notification),
}

/// What can be searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The entity's.
    pub id: String,
    /// By which newer ones are shown first; in milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// With a blank between them; see [`search`](super::search).
    pub words: String,
    /// What is shown, as JSON.
    pub data: Vec<u8>,
}

/// What somebody outside is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The idempotency key: the same each time, so that whoever is told twice can know it. See [`id_of`].
    pub id: Uuid,
    /// Whom it is about.
    pub subject: String,
    /// A JSON object.
    pub body: Vec<u8>,
}

/// A message that fails again whenever it is handled: put it aside and go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Poison(pub String);

impl Poison {
    pub fn new(reason: impl ToString) -> Self {
        Self(reason.to_string())
    }
}

/// An idempotent consumer. All methods are pure: what they are given is all they know.
pub trait Handler: Send + Sync {
    /// Its name, in the inbox and of its group.
    fn name(&self) -> &str;

    /// The topics that it reads, without a prefix.
    fn topics(&self) -> &[&'static str];

    /// Whose state the message is about; `None`: the message is not for this handler.
    ///
    /// # Errors
    /// [`Poison`] where that cannot be told.
    fn entity(&self, message: &Message<'_>) -> Result<Option<Entity>, Poison>;

    /// What follows. `state` is what the handler last gave for this entity, `None` for a new one. Messages of one entity
    /// come one after the other, each with the state that the one before left.
    ///
    /// # Errors
    /// [`Poison`] where nothing ever can.
    fn handle(&self, state: Option<&[u8]>, message: &Message<'_>) -> Result<Effects, Poison>;

    /// Where its process can be told to die: before the commit of a batch and behind it.
    fn crash_points(&self) -> [&'static str; 2] {
        ["handler.before-commit", "handler.after-commit"]
    }

    /// The kind of the states whose timers this handler sets; `None`: it sets none.
    fn timers(&self) -> Option<&'static str> {
        None
    }

    /// The timer of a state has run out, and nothing has come meanwhile. At-least-once, and guarded by the state's version:
    /// of two that are asked at once one takes effect.
    ///
    /// # Errors
    /// [`Poison`]: the state stays as it is, and is asked about again after a minute.
    fn due(&self, entity: &Entity, state: &[u8]) -> Result<Effects, Poison> {
        let _ = (entity, state);
        Ok(Effects::default())
    }
}

/// The id of the `nth` message that follows from a message: the same each time, so that a repeat is known as one.
pub fn id_of(handler: &str, cause: &Envelope, nth: usize) -> Uuid {
    let name = format!("{handler} {} {} {nth}", cause.source, cause.id);
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}

/// The envelope of what follows from a message: the same conversation, the message as its cause.
pub fn answer(handler: &str, cause: &Envelope, event_type: &str) -> Envelope {
    Envelope {
        id: String::new(), // the row's
        source: format!("/kafkalab/{handler}"),
        event_type: event_type.to_owned(),
        time_ms: None,
        subject: cause.subject.clone(),
        sequence: None,
        correlation_id: cause.correlation_id.clone().or_else(|| cause.subject.clone()),
        causation_id: Some(cause.id.clone()),
        traceparent: cause.traceparent.clone(),
    }
}

/// By what an inbox knows a message: source and id are unique together (CloudEvents 1.0.2, "id").
pub fn message_id(envelope: &Envelope) -> String {
    match Uuid::try_parse(&envelope.id) {
        // unique by itself, whoever says it: the log's publisher and the outbox name one event by one id
        Ok(id) => id.to_string(),
        Err(_) => format!("{} {}", envelope.source, envelope.id),
    }
}
