//! Events out of SQLite.

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::super::{
    event_log::{PAGE_BYTES, Scope},
    snapshot::{self, Latest},
    sql::bigint,
};
use crate::patterns::event_sourcing::RecordedEvent;

const STREAM_PAGE: &str = "
    SELECT position, version, event_id, event_type, data, metadata, recorded_at_ms, stream_id
    FROM events WHERE stream_id = ?1 AND version >= ?2 ORDER BY version LIMIT ?3";
const ALL_PAGE: &str = "
    SELECT position, version, event_id, event_type, data, metadata, recorded_at_ms, stream_id
    FROM events WHERE position > ?1 ORDER BY position LIMIT ?2";

/// Up to the event that reaches [`PAGE_BYTES`].
pub fn page(connection: &Connection, scope: &Scope, limit: usize) -> rusqlite::Result<Vec<RecordedEvent>> {
    let limit = bigint(limit as u64);
    let mut statement;
    let mut rows = match scope {
        Scope::Stream { stream, from } => {
            statement = connection.prepare_cached(STREAM_PAGE)?;
            statement.query(params![stream, bigint(*from), limit])?
        }
        Scope::All { after } => {
            statement = connection.prepare_cached(ALL_PAGE)?;
            statement.query(params![bigint(*after), limit])?
        }
    };
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let event = event(row)?;
        bytes += event.data.len() + event.metadata.len();
        events.push(event);
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(events)
}

/// The page begins with what the snapshot says, so it fits whatever is saved between the two statements.
pub fn latest(connection: &Connection, stream: &str, limit: usize) -> rusqlite::Result<Latest> {
    let stored = |row: &Row<'_>| Ok(snapshot::stored(row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let snapshot = connection.prepare_cached(snapshot::LOAD)?.query_row([stream], stored).optional()?;
    let from = snapshot.as_ref().map_or(1, |snapshot| snapshot.version);
    let events = page(connection, &Scope::Stream { stream: stream.to_owned(), from }, limit)?;
    Ok(Latest { snapshot, events })
}

fn event(row: &Row<'_>) -> rusqlite::Result<RecordedEvent> {
    let (position, version): (i64, i64) = (row.get(0)?, row.get(1)?);
    let id = row.get_ref(2)?.as_blob()?;
    let id = Uuid::from_slice(id)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Blob, Box::new(error)))?;
    Ok(RecordedEvent {
        position: position as u64,
        stream: row.get(7)?,
        version: version as u64,
        id,
        event_type: row.get(3)?,
        data: row.get(4)?,
        metadata: row.get(5)?,
        recorded_at_ms: row.get(6)?,
    })
}
