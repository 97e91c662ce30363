//! The inbox, the states of handlers, and the one transaction in which a batch of records takes effect.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{
    Store, StoreError, changes,
    outbox::insert,
    sql::{Access, Check, Column, Each, Points, Row, Step, bigint},
    writer::check_name,
};
use crate::patterns::{
    inbox::{Change, Entity},
    outbox::NewMessage,
};

/// A state that a handler has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateWrite {
    pub entity: Entity,
    /// The version that was read; 0 where there was none. Written is the next one.
    pub read: u64,
    pub data: Vec<u8>,
    /// When it is due, from now on: see [`Store::states_due`].
    pub due_in: Option<Duration>,
}

/// What a batch of records has brought about.
#[derive(Clone, Debug, Default)]
pub struct Handled {
    pub consumer: String,
    /// Where a process can be told to die: before the commit and behind it. Where none is given, those of handlers.
    pub points: Option<[&'static str; 2]>,
    /// Ids of the messages, none twice.
    pub messages: Vec<String>,
    /// One per entity at most.
    pub states: Vec<StateWrite>,
    pub outbox: Vec<NewMessage>,
    pub changes: Vec<Change>,
}

/// Why a batch has had no effect.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HandledError {
    /// Somebody else has handled one of the messages, or changed one of the states, since they were read: look again.
    #[error("somebody else was quicker with one of the messages or states")]
    Conflict,
    #[error(transparent)]
    Store(#[from] StoreError),
}

// Row by row, by the index (LIMIT leaves the planner no other way): of a table that was small when the statement was planned
// it would walk all of the consumer's rows instead, and hold each against the array.
const SEEN: [&str; 2] = [
    "SELECT message_id FROM inbox WHERE consumer_id = $1 AND message_id = $2",
    "SELECT i.message_id FROM unnest($2::text[]) m (id),
     LATERAL (SELECT message_id FROM inbox WHERE consumer_id = $1 AND message_id = m.id LIMIT 1) i",
];
const STATES: [&str; 2] = [
    "SELECT id, version, data FROM states WHERE kind = $1 AND id = $2",
    "SELECT s.* FROM unnest($2::text[]) m (id),
     LATERAL (SELECT id, version, data FROM states WHERE kind = $1 AND id = m.id LIMIT 1) s",
];
// ORDER BY: two transactions that insert the same keys in another order would wait for each other.
const RECEIVE: [&str; 2] = [
    "INSERT INTO inbox (consumer_id, message_id, received_at_ms) VALUES ($1, $2, now_ms())
     ON CONFLICT DO NOTHING RETURNING message_id",
    "INSERT INTO inbox (consumer_id, message_id, received_at_ms)
     SELECT $1, m.id, now_ms() FROM unnest($2::text[]) m (id) ORDER BY m.id
     ON CONFLICT DO NOTHING RETURNING message_id",
];
const SAVE: [&str; 2] = [
    "INSERT INTO states (kind, id, version, data, due_ms) VALUES ($1, $2, $3, $4, now_ms() + $5)
     ON CONFLICT (kind, id) DO UPDATE
     SET version = excluded.version, data = excluded.data, due_ms = excluded.due_ms
     WHERE states.version = excluded.version - 1 RETURNING id",
    "INSERT INTO states (kind, id, version, data, due_ms)
     SELECT s.kind, s.id, s.version, s.data, now_ms() + s.due_in
     FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::bigint[]) s (kind, id, version, data, due_in)
     ORDER BY s.kind, s.id
     ON CONFLICT (kind, id) DO UPDATE
     SET version = excluded.version, data = excluded.data, due_ms = excluded.due_ms
     WHERE states.version = excluded.version - 1 RETURNING id",
];
const KINDS: &str = "SELECT id, version, data FROM states WHERE kind = $1 AND id > $2 ORDER BY kind, id LIMIT $3";

const DUE: &str = "
    SELECT id, version, data FROM states WHERE kind = $1 AND due_ms <= now_ms() ORDER BY kind, due_ms LIMIT $2";
const NEXT_DUE: &str = "SELECT min(due_ms) - now_ms() FROM states WHERE kind = $1 AND due_ms IS NOT NULL";

/// Where a process can be told to die.
const POINTS: Points = ["handler.before-commit", "handler.after-commit"];

impl Store {
    /// Which of the messages the consumer has handled already.
    pub async fn inbox_seen(&self, consumer: &str, messages: Vec<String>) -> Result<HashSet<String>, StoreError> {
        let [sqlite, postgres] = SEEN;
        let each = Each { sqlite, postgres, values: vec![consumer.into()], columns: vec![Column::Texts(messages)] };
        self.database().each(each).await?.into_iter().map(|mut row| row.take_text(0)).collect()
    }

    /// The states of these, each with its version; what is absent has none.
    pub async fn states(&self, kind: &str, ids: Vec<String>) -> Result<HashMap<String, (u64, Vec<u8>)>, StoreError> {
        let [sqlite, postgres] = STATES;
        let each = Each { sqlite, postgres, values: vec![kind.into()], columns: vec![Column::Texts(ids)] };
        self.database().each(each).await?.into_iter().map(state).collect()
    }

    /// At most `limit` states of a kind in the order of their ids, after that one.
    pub async fn states_of(
        &self,
        kind: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, (u64, Vec<u8>))>, StoreError> {
        let values = [kind.into(), after.into(), (limit as u64).into()];
        self.database().rows(Access::Read, KINDS, values).await?.into_iter().map(state).collect()
    }

    /// At most `limit` states of a kind that are due, the one that has been so longest first.
    pub async fn states_due(&self, kind: &str, limit: usize) -> Result<Vec<(String, (u64, Vec<u8>))>, StoreError> {
        let values = [kind.into(), (limit as u64).into()];
        self.database().rows(Access::Read, DUE, values).await?.into_iter().map(state).collect()
    }

    /// How long it is until a state of a kind is due; `None` where none is to be.
    pub async fn next_due(&self, kind: &str) -> Result<Option<Duration>, StoreError> {
        let row = self.database().row(Access::Read, NEXT_DUE, [kind.into()]).await?;
        let left = row.map_or(Ok(None), |row| row.optional_int(0))?;
        Ok(left.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or(0))))
    }

    /// The batch takes effect: the inbox's rows, the states, the new messages, the changed rows, all or none, durably.
    ///
    /// # Errors
    /// [`HandledError::Conflict`]; a database that refuses. Nothing was written, but for [`StoreError::Unknown`]: then ask
    /// the inbox.
    pub async fn handle(&self, handled: Handled) -> Result<(), HandledError> {
        check_name("a consumer", &handled.consumer).map_err(StoreError::Invalid)?;
        for name in handled.messages.iter().chain(handled.states.iter().map(|state| &state.entity.id)) {
            check_name("a message or a state", name).map_err(StoreError::Invalid)?;
        }
        let expected = [handled.messages.len(), handled.states.len()];
        let mut steps = Vec::with_capacity(6);
        let [sqlite, postgres] = RECEIVE;
        let values = vec![handled.consumer.as_str().into()];
        steps.push(Step::Each(Each { sqlite, postgres, values, columns: vec![Column::Texts(handled.messages)] }));
        steps.push(Step::Each(save(handled.states)));
        let had_outbox = !handled.outbox.is_empty();
        if had_outbox {
            steps.push(Step::Each(insert(&handled.outbox, self.now_ms())));
        }
        steps.extend(changes::steps(&handled.consumer, handled.changes));
        let conflict = || StoreError::Invalid(CONFLICT.to_owned());
        let check: Check = Box::new(move |answers| {
            let as_expected = answers.iter().zip(expected).all(|(rows, expected)| rows.len() == expected);
            if as_expected { Ok(()) } else { Err(conflict()) }
        });
        match self.database().transaction(Some(handled.points.unwrap_or(POINTS)), steps, check).await {
            Ok(_) => {
                if had_outbox {
                    self.outbox_changed();
                }
                Ok(())
            }
            Err(StoreError::Invalid(why)) if why == CONFLICT => Err(HandledError::Conflict),
            Err(error) => Err(error.into()),
        }
    }
}

/// Between the check within the transaction and its caller.
const CONFLICT: &str = "conflict";

fn save(states: Vec<StateWrite>) -> Each {
    let [sqlite, postgres] = SAVE;
    let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for state in states {
        columns.0.push(state.entity.kind.to_owned());
        columns.1.push(state.entity.id);
        columns.2.push(bigint(state.read + 1));
        columns.3.push(state.data);
        columns.4.push(state.due_in.map(|due| i64::try_from(due.as_millis()).unwrap_or(i64::MAX / 2)));
    }
    let (kinds, ids, versions, data, due) = columns;
    let columns = vec![
        Column::Texts(kinds),
        Column::Texts(ids),
        Column::Ints(versions),
        Column::Bytes(data),
        Column::OptionalInts(due),
    ];
    Each { sqlite, postgres, values: Vec::new(), columns }
}

fn state(mut row: Row) -> Result<(String, (u64, Vec<u8>)), StoreError> {
    Ok((row.take_text(0)?, (row.count(1)?, row.take_bytes(2)?)))
}
