//! Snapshots, as they lie beside the log: a cache that may be thrown away at any time. Whether one fits is said by
//! [`Snapshot::open`], which checks its bytes, its schema and the stream's version; who is refused folds the whole
//! stream.

use super::{
    Store, StoreError,
    sql::{Access, Value, bigint},
    writer::check_name,
};
use crate::patterns::event_sourcing::Snapshot;

const LOAD: &str = "SELECT version, schema, checksum, state FROM snapshots WHERE stream_id = $1";

// Of two savers the one that has seen more wins, unless the form has changed.
const SAVE: &str = "
    INSERT INTO snapshots (stream_id, version, schema, checksum, state) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (stream_id) DO UPDATE SET
        version = excluded.version, schema = excluded.schema, checksum = excluded.checksum, state = excluded.state
        WHERE excluded.version >= snapshots.version OR excluded.schema <> snapshots.schema
    RETURNING version";

const DELETE: &str = "DELETE FROM snapshots WHERE stream_id = $1 RETURNING version";

impl Store {
    /// The stream's snapshot as it was saved; [`Snapshot::open`] says whether it still is what was saved.
    pub async fn load_snapshot(&self, stream: &str) -> Result<Option<Snapshot>, StoreError> {
        let Some(row) = self.database().row(Access::Read, LOAD, [stream.into()]).await? else { return Ok(None) };
        // a number that somebody damaged is taken as it is: the checksum will not fit
        let (version, schema, checksum) = (row.int(0)? as u64, row.int(1)? as u32, row.int(2)? as u32);
        Ok(Some(Snapshot { version, schema, checksum, state: row.bytes(3)?.to_vec() }))
    }

    /// Keeps the snapshot, unless there is one of a later version with the same schema.
    pub async fn save_snapshot(&self, stream: &str, snapshot: &Snapshot) -> Result<(), StoreError> {
        check_name("a stream", stream).map_err(|cause| self.invalid(cause))?;
        let (version, schema, checksum) = (bigint(snapshot.version), snapshot.schema.into(), snapshot.checksum.into());
        let values: [Value; 5] = [
            stream.into(),
            Value::Int(version),
            Value::Int(schema),
            Value::Int(checksum),
            snapshot.state.as_slice().into(),
        ];
        self.database().row(Access::Write, SAVE, values).await.map(drop)
    }

    /// Forgets the snapshot; one that is not there is no error.
    pub async fn delete_snapshot(&self, stream: &str) -> Result<(), StoreError> {
        self.database().row(Access::Write, DELETE, [stream.into()]).await.map(drop)
    }
}
