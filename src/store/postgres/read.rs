//! Events out of PostgreSQL.

use deadpool_postgres::Object;
use futures::{TryStreamExt, pin_mut};
use tokio_postgres::{Error, Row, RowStream, types::ToSql};

use super::{
    super::{
        event_log::{PAGE_BYTES, Scope},
        snapshot::{self, Latest},
        sql::bigint,
    },
    unsigned,
};
use crate::patterns::event_sourcing::{RecordedEvent, Snapshot};

// Without the stream: who asks knows its name.
const STREAM_PAGE: &str = "
    SELECT position, version, event_id, event_type, data, metadata, recorded_at_ms
    FROM events WHERE stream_id = $1 AND version >= $2 ORDER BY version LIMIT $3";
const ALL_PAGE: &str = "
    SELECT position, version, event_id, event_type, data, metadata, recorded_at_ms, stream_id
    FROM events WHERE position > $1 ORDER BY position LIMIT $2";

// One statement, because a way there and back is most of what a command's read costs. The snapshot is the row without an
// event id.
const LATEST: &str = "
    WITH s AS (SELECT version, schema, checksum, state FROM snapshots WHERE stream_id = $1)
    SELECT schema, version, CAST(NULL AS uuid), CAST(NULL AS text), state, CAST(NULL AS bytea), checksum FROM s
    UNION ALL (
        SELECT position, version, event_id, event_type, data, metadata, recorded_at_ms
        FROM events WHERE stream_id = $1 AND version >= coalesce((SELECT version FROM s), 1) ORDER BY version LIMIT $2
    )";

pub async fn page(client: &Object, scope: &Scope, limit: usize) -> Result<Vec<RecordedEvent>, Error> {
    let many = bigint(limit as u64);
    let rows = match scope {
        Scope::Stream { stream, from } => {
            let statement = client.prepare_cached(STREAM_PAGE).await?;
            let parameters: [&(dyn ToSql + Sync); 3] = [stream, &bigint(*from), &many];
            client.query_raw(&statement, parameters).await?
        }
        Scope::All { after } => {
            let statement = client.prepare_cached(ALL_PAGE).await?;
            client.query_raw(&statement, [bigint(*after), many]).await?
        }
    };
    let mut events = Vec::new();
    collect(rows, &mut events, |row| match scope {
        Scope::Stream { stream, .. } => event(row, stream.clone()).map(Some),
        Scope::All { .. } => event(row, row.try_get(7)?).map(Some),
    })
    .await?;
    Ok(events)
}

pub async fn latest(client: &Object, stream: &str, limit: usize) -> Result<Latest, Error> {
    let statement = client.prepare_cached(LATEST).await?;
    let parameters: [&(dyn ToSql + Sync); 2] = [&stream, &bigint(limit as u64)];
    let rows = client.query_raw(&statement, parameters).await?;
    let mut latest = Latest::default();
    collect(rows, &mut latest.events, |row| match row.try_get::<_, Option<uuid::Uuid>>(2)? {
        Some(_) => event(row, stream.to_owned()).map(Some),
        None => {
            latest.snapshot = Some(snapshot_of(row)?);
            Ok(None)
        }
    })
    .await?;
    Ok(latest)
}

/// Up to the event that reaches [`PAGE_BYTES`].
async fn collect(
    rows: RowStream,
    events: &mut Vec<RecordedEvent>,
    mut event: impl FnMut(&Row) -> Result<Option<RecordedEvent>, Error>,
) -> Result<(), Error> {
    pin_mut!(rows);
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await? {
        let Some(event) = event(&row)? else { continue };
        bytes += event.data.len() + event.metadata.len();
        events.push(event);
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(())
}

fn event(row: &Row, stream: String) -> Result<RecordedEvent, Error> {
    Ok(RecordedEvent {
        position: unsigned(row, 0)?,
        stream,
        version: unsigned(row, 1)?,
        id: row.try_get(2)?,
        event_type: row.try_get(3)?,
        data: row.try_get(4)?,
        metadata: row.try_get(5)?,
        recorded_at_ms: row.try_get(6)?,
    })
}

fn snapshot_of(row: &Row) -> Result<Snapshot, Error> {
    let (schema, version, checksum): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(6)?);
    Ok(snapshot::stored(version, schema, checksum, row.try_get(4)?))
}
