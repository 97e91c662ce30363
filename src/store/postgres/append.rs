//! The append's transaction on PostgreSQL.
//!
//! A batch is two looks, one insert by arrays and one commit, however many appends it has, and twice the way there and back:
//! for the lock and the looks, and for the insert and the commit. Positions are given under an advisory lock that is held
//! to the commit, so that all processes' appends stand in one line:
//!
//! ```text
//! A: lock ─ look: last position 7 ─ insert 8, 9 ─ commit      B: lock ....... waits ....... look: 9 ─ insert 10 ─ commit
//! ```
//!
//! - A lock on the table would do the same and stop autovacuum with it; a counter's row would leave a dead one per batch.
//! - Who holds the lock and does nothing is ended by the server (`idle_in_transaction_session_timeout`).
//! - A connection that is lost on the way leaves it open whether the batch was committed. It is tried again: the event
//!   ids say what is there. The second attempt gets the lock only after the first has ended, one way or the other.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_postgres::Object;
use futures::future::{join, try_join, try_join3};
use tokio::{sync::mpsc, time::sleep};
use tokio_postgres::{Error, Statement};
use uuid::Uuid;

use super::{
    super::{
        AppendError, Appended, StoreError, StoreOptions, outbox,
        sql::{Step, bigint},
        writer::{self, Append, BATCH, Place, Seen},
    },
    Connections, run_steps, unsigned,
};
use crate::patterns::outbox::NewMessage;

/// `kl`, and the table: two stores in two schemas of one database do not wait for each other.
pub(in crate::store) const LOCK: &str =
    "BEGIN; SELECT pg_advisory_xact_lock(27500, CAST(CAST('events' AS regclass) AS oid)::int)";
/// The last position of the log, and the version of each stream; the first is computed once.
const HEADS: &str = "
    SELECT (SELECT coalesce(max(position), 0) FROM events), s.stream_id,
        (SELECT coalesce(max(e.version), 0) FROM events e WHERE e.stream_id = s.stream_id)
    FROM unnest($1::text[]) s (stream_id)";
const FIND: &str = "SELECT event_id, stream_id, version, position FROM events WHERE event_id = ANY ($1::uuid[])";
const INSERT: &str = "
    INSERT INTO events (position, stream_id, version, event_id, event_type, data, metadata, recorded_at_ms)
    SELECT e.*, $8::bigint
    FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::uuid[], $5::text[], $6::bytea[], $7::bytea[]) e";

pub(super) struct Writer {
    pub connection: Connections,
    pub options: StoreOptions,
}

/// An attempt that failed: by what, and may it have been committed all the same?
struct Failed {
    error: StoreError,
    sent: bool,
}

impl Writer {
    pub async fn run(self, mut queue: mpsc::Receiver<Append>) {
        let mut batch = Vec::with_capacity(BATCH);
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            match self.append(&mut batch).await {
                Ok(outcomes) => writer::answer(std::mem::take(&mut batch), outcomes),
                Err(error) => writer::answer_all(std::mem::take(&mut batch), &error),
            }
            // Those who were just answered run first: what they append next goes into the next batch, not the one after.
            tokio::task::yield_now().await;
        }
    }

    /// Tries until the database is there again, within `retry_for`.
    async fn append(&self, batch: &mut [Append]) -> Result<Vec<Result<Appended, AppendError>>, StoreError> {
        let (began, mut pause, mut sent) = (Instant::now(), Duration::from_millis(20), false);
        loop {
            let failed = match self.attempt(batch).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(failed) => failed,
            };
            sent |= failed.sent;
            let lost = matches!(failed.error, StoreError::Unknown { .. } | StoreError::Unreachable { .. });
            if !lost || began.elapsed() + pause > self.options.retry_for {
                return Err(match failed.error {
                    StoreError::Unknown { at, cause } if !sent => StoreError::Unreachable { at, cause },
                    other if sent => {
                        StoreError::Unknown { at: Arc::clone(&self.connection.at), cause: other.to_string().into() }
                    }
                    other => other,
                });
            }
            tracing::debug!("append to be tried again: {}", failed.error);
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    async fn attempt(&self, batch: &mut [Append]) -> Result<Vec<Result<Appended, AppendError>>, Failed> {
        let client = self.connection.get().await.map_err(|error| Failed { error, sent: false })?;
        let outcome = self.transaction(&client, batch).await;
        if outcome.is_err() {
            drop(Object::take(client)); // its transaction ends with it
        }
        outcome
    }

    async fn transaction(
        &self,
        client: &Object,
        batch: &mut [Append],
    ) -> Result<Vec<Result<Appended, AppendError>>, Failed> {
        let unsent = |error| Failed { error, sent: false };
        let mut seen = self.connection.within(look(client, batch)).await.map_err(unsent)?;
        let (writer::Inserts { rows, messages }, outcomes) = seen.decide(batch);
        if rows.is_empty() {
            self.connection.within(client.batch_execute("ROLLBACK")).await.map_err(unsent)?;
            return Ok(outcomes);
        }
        let messages: Vec<NewMessage> = messages.into_iter().cloned().collect();
        let now = (self.options.clock)();
        let insert_events = self.connection.within(client.prepare_cached(INSERT)).await.map_err(unsent)?;
        let commit = async {
            for point in writer::before_commit(!messages.is_empty()) {
                (self.options.crash_point)(point);
            }
            client.batch_execute("COMMIT").await
        };
        let written = async {
            let inserted = insert(client, &insert_events, &rows, now);
            if messages.is_empty() {
                // One way there and back for both: polled in this order, and so sent in it. Where the insert fails there
                // is nothing to commit, and the server rolls back.
                let (inserted, committed) = join(inserted, commit).await;
                inserted.and(committed)
            } else {
                let step = [Step::Each(outbox::insert(&messages, now))];
                try_join(inserted, run_steps(client, &step, None)).await?;
                commit.await
            }
        };
        let written = self.connection.within(written).await;
        drop(rows);
        for (append, outcome) in batch.iter_mut().zip(&outcomes) {
            append.tried |= outcome.as_ref().is_ok_and(|appended| !appended.duplicate);
        }
        written.map_err(|error| Failed { sent: matches!(error, StoreError::Unknown { .. }), error })?;
        for point in writer::after_commit(!messages.is_empty()) {
            (self.options.crash_point)(point);
        }
        Ok(outcomes)
    }
}

/// Begins, waits for the lock, and looks: one way there and back, because the three are sent in this order without
/// waiting. The looks come after the lock, and each sees what is committed when it begins.
async fn look(client: &Object, batch: &[Append]) -> Result<Seen, Error> {
    let heads = client.prepare_cached(HEADS).await?;
    let find = client.prepare_cached(FIND).await?;
    let streams: HashSet<&str> = batch.iter().map(|append| append.stream.as_str()).collect();
    let streams: Vec<&str> = streams.into_iter().collect();
    let ids: Vec<Uuid> = batch.iter().flat_map(|append| append.events.iter().map(|event| event.id)).collect();
    let (_, heads, found) =
        try_join3(client.batch_execute(LOCK), client.query(&heads, &[&streams]), client.query(&find, &[&ids])).await?;
    let mut seen = Seen::default();
    for row in heads {
        seen.last_position = unsigned(&row, 0)?;
        seen.heads.insert(row.try_get(1)?, unsigned(&row, 2)?);
    }
    for row in found {
        let place = Place { stream: row.try_get(1)?, version: unsigned(&row, 2)?, position: unsigned(&row, 3)? };
        seen.ids.insert(row.try_get(0)?, place);
    }
    Ok(seen)
}

/// The statement is prepared before: whoever polls this has sent it.
async fn insert(client: &Object, statement: &Statement, rows: &[writer::Row<'_>], now: i64) -> Result<(), Error> {
    fn column<'a, T>(rows: &'a [writer::Row<'a>], of: impl Fn(&'a writer::Row<'a>) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    let positions = column(rows, |row| bigint(row.position));
    let streams = column(rows, |row| row.stream);
    let versions = column(rows, |row| bigint(row.version));
    let ids = column(rows, |row| row.event.id);
    let types = column(rows, |row| row.event.event_type.as_str());
    let data = column(rows, |row| row.event.data.as_slice());
    let metadata = column(rows, |row| row.event.metadata.as_slice());
    client.execute(statement, &[&positions, &streams, &versions, &ids, &types, &data, &metadata, &now]).await.map(drop)
}
