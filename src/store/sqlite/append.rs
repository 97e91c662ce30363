//! Appends on SQLite.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    super::{
        outbox,
        sql::bigint,
        writer::{self, Append, Place, Seen},
    },
    Writer, run_each,
    share::Outcomes,
};
use crate::patterns::outbox::NewMessage;

impl Writer {
    /// The whole batch, in the writer's transaction.
    pub(super) fn append(&self, transaction: &Connection, batch: &[Append]) -> rusqlite::Result<Outcomes> {
        let mut seen = look(transaction, batch)?;
        let (writer::Inserts { rows, messages }, outcomes) = seen.decide(batch);
        if rows.is_empty() {
            return Ok((outcomes, &[]));
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
        run_each(transaction, &outbox::insert(&messages, now), &self.at)?;
        for point in writer::before_commit(!messages.is_empty()) {
            (self.options.crash_point)(point);
        }
        Ok((outcomes, writer::after_commit(!messages.is_empty())))
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
