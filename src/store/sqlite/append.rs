//! The writer's thread on SQLite, and the append's transaction.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use tokio::sync::mpsc;

use super::{
    super::{
        AppendError, Appended, outbox,
        sql::bigint,
        writer::{self, Append, BATCH, Place, Seen},
    },
    Work, Writer, explain, run_each,
};
use crate::patterns::outbox::NewMessage;

impl Writer {
    pub fn run(&self, mut connection: Connection, mut queue: mpsc::Receiver<Work>) {
        let (mut work, mut batch) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        while queue.blocking_recv_many(&mut work, BATCH) > 0 {
            for work in work.drain(..) {
                match work {
                    Work::Append(append) => batch.push(append),
                    Work::Run(job) => {
                        self.append(&mut connection, &mut batch);
                        job(&mut connection);
                    }
                }
            }
            self.append(&mut connection, &mut batch);
        }
    }

    fn append(&self, connection: &mut Connection, batch: &mut Vec<Append>) {
        if batch.is_empty() {
            return;
        }
        match self.commit(connection, batch) {
            Ok(outcomes) => writer::answer(std::mem::take(batch), outcomes),
            Err(error) => writer::answer_all(std::mem::take(batch), &explain(&self.at, &error)),
        }
    }

    /// The whole batch in one transaction; dropped before its end it is rolled back.
    fn commit(
        &self,
        connection: &mut Connection,
        batch: &[Append],
    ) -> rusqlite::Result<Vec<Result<Appended, AppendError>>> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut seen = look(&transaction, batch)?;
        let (writer::Inserts { rows, messages }, outcomes) = seen.decide(batch);
        if rows.is_empty() {
            return Ok(outcomes);
        }
        let now = (self.options.clock)();
        let mut insert = transaction.prepare_cached(
            "INSERT INTO events (position, stream_id, version, event_id, event_type, data, metadata, recorded_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        for row in &rows {
            let event = row.event;
            let (position, version) = (bigint(row.position), bigint(row.version));
            let id = event.id.as_bytes().as_slice();
            insert.execute(params![
                position,
                row.stream,
                version,
                id,
                event.event_type,
                event.data,
                event.metadata,
                now
            ])?;
        }
        drop(insert);
        let messages: Vec<NewMessage> = messages.into_iter().cloned().collect();
        run_each(&transaction, &outbox::insert(&messages, now), &self.at)?;
        for point in writer::before_commit(!messages.is_empty()) {
            (self.options.crash_point)(point);
        }
        transaction.commit()?;
        for point in writer::after_commit(!messages.is_empty()) {
            (self.options.crash_point)(point);
        }
        Ok(outcomes)
    }
}

fn look(connection: &Connection, batch: &[Append]) -> rusqlite::Result<Seen> {
    let mut head = connection.prepare_cached("SELECT coalesce(max(version), 0) FROM events WHERE stream_id = ?1")?;
    let mut find = connection.prepare_cached("SELECT stream_id, version, position FROM events WHERE event_id = ?1")?;
    let last: i64 =
        connection.prepare_cached("SELECT coalesce(max(position), 0) FROM events")?.query_row([], |row| row.get(0))?;
    let mut seen = Seen { last_position: last as u64, ..Seen::default() };
    for append in batch {
        if !seen.heads.contains_key(&append.stream) {
            let version: i64 = head.query_row([&append.stream], |row| row.get(0))?;
            seen.heads.insert(append.stream.clone(), version as u64);
        }
        for event in &append.events {
            let place = |row: &rusqlite::Row<'_>| {
                let (version, position): (i64, i64) = (row.get(1)?, row.get(2)?);
                Ok(Place { stream: row.get(0)?, version: version as u64, position: position as u64 })
            };
            if let Some(place) = find.query_row([event.id.as_bytes().as_slice()], place).optional()? {
                seen.ids.insert(event.id, place);
            }
        }
    }
    Ok(seen)
}
