//! Snapshots, as they lie beside the log: a cache that may be thrown away at any time. Whether one fits is said by
//! [`Snapshot::open`], which checks its bytes, its schema and the stream's version; who is refused folds the whole
//! stream.

use super::{
    Store, StoreError,
    sql::{Access, Value, bigint},
    writer::check_name,
};
use crate::patterns::event_sourcing::{RecordedEvent, Snapshot};

pub(super) const LOAD: &str = "SELECT version, schema, checksum, state FROM snapshots WHERE stream_id = $1";

// Of two savers the one that has seen more wins, unless the form has changed.
const SAVE: &str = "
    INSERT INTO snapshots (stream_id, version, schema, checksum, state) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (stream_id) DO UPDATE SET
        version = excluded.version, schema = excluded.schema, checksum = excluded.checksum, state = excluded.state
        WHERE excluded.version >= snapshots.version OR excluded.schema <> snapshots.schema
    RETURNING version";

const DELETE: &str = "DELETE FROM snapshots WHERE stream_id = $1 RETURNING version";

/// What a read of a stream's end finds: its snapshot, and events from the snapshot's last one on; all of them where
/// there is no snapshot. So the first event shows that the stream goes as far as its snapshot says.
#[derive(Default)]
pub(super) struct Latest {
    pub snapshot: Option<Snapshot>,
    pub events: Vec<RecordedEvent>,
}

/// A number that somebody damaged is taken as it is: the checksum will not fit.
pub(super) fn stored(version: i64, schema: i64, checksum: i64, state: Vec<u8>) -> Snapshot {
    Snapshot { version: version as u64, schema: schema as u32, checksum: checksum as u32, state }
}

impl Store {
    /// The stream's snapshot as it was saved; [`Snapshot::open`] says whether it still is what was saved.
    pub async fn load_snapshot(&self, stream: &str) -> Result<Option<Snapshot>, StoreError> {
        let Some(row) = self.database().row(Access::Read, LOAD, [stream.into()]).await? else { return Ok(None) };
        Ok(Some(stored(row.int(0)?, row.int(1)?, row.int(2)?, row.bytes(3)?.to_vec())))
    }

    /// Keeps the snapshot, unless there is one of a later version with the same schema.
    pub async fn save_snapshot(&self, stream: &str, snapshot: &Snapshot) -> Result<(), StoreError> {
        check_name("a stream", stream).map_err(StoreError::Invalid)?;
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
