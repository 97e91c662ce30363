//! Snapshots: a stream's state at a version, so that a load need not begin at the first event. Never the truth: whoever
//! finds one damaged, or written by other code (`schema`), rebuilds from the events.

use super::{
    Store, StoreError,
    sql::{Access, Value},
    writer::check_name,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The version of the last event in it.
    pub version: u64,
    /// Which form `state` has: the caller's number, raised when the form changes.
    pub schema: u32,
    pub state: Vec<u8>,
}

const LOAD: &str = "SELECT version, schema, state, checksum FROM snapshots WHERE stream_id = $1";

// Of two savers the one that has seen more wins, unless the form has changed.
const SAVE: &str = "
    INSERT INTO snapshots (stream_id, version, schema, state, checksum) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (stream_id) DO UPDATE SET
        version = excluded.version, schema = excluded.schema, state = excluded.state, checksum = excluded.checksum
        WHERE excluded.version >= snapshots.version OR excluded.schema <> snapshots.schema
    RETURNING version";

const DELETE: &str = "DELETE FROM snapshots WHERE stream_id = $1 RETURNING version";

impl Store {
    /// The stream's snapshot.
    ///
    /// # Errors
    /// [`StoreError::DamagedSnapshot`] where its bytes are not those that were saved: delete it and rebuild.
    pub async fn load_snapshot(&self, stream: &str) -> Result<Option<Snapshot>, StoreError> {
        let Some(row) = self.database().row(Access::Read, LOAD, [stream.into()]).await? else { return Ok(None) };
        let (version, schema, state) = (row.int(0)?, row.int(1)?, row.bytes(2)?);
        let damaged = || StoreError::DamagedSnapshot { stream: stream.to_owned() };
        if row.int(3)? != checksum(stream, version, schema, state) {
            return Err(damaged());
        }
        let version = u64::try_from(version).map_err(|_| damaged())?;
        let schema = u32::try_from(schema).map_err(|_| damaged())?;
        Ok(Some(Snapshot { version, schema, state: state.to_vec() }))
    }

    /// Keeps the snapshot, unless there is one of a later version in the same form.
    pub async fn save_snapshot(&self, stream: &str, snapshot: &Snapshot) -> Result<(), StoreError> {
        check_name("a stream", stream).map_err(|cause| self.invalid(&cause))?;
        let (version, schema) = (super::sql::bigint(snapshot.version), i64::from(snapshot.schema));
        let checksum = checksum(stream, version, schema, &snapshot.state);
        let values: [Value; 5] =
            [stream.into(), version.into(), schema.into(), snapshot.state.as_slice().into(), checksum.into()];
        self.database().row(Access::Write, SAVE, values).await.map(drop)
    }

    /// Forgets the snapshot; one that is not there is no error.
    pub async fn delete_snapshot(&self, stream: &str) -> Result<(), StoreError> {
        self.database().row(Access::Write, DELETE, [stream.into()]).await.map(drop)
    }
}

fn checksum(stream: &str, version: i64, schema: i64, state: &[u8]) -> i64 {
    let sum = crc32c::crc32c(stream.as_bytes());
    let sum = crc32c::crc32c_append(sum, &version.to_be_bytes());
    let sum = crc32c::crc32c_append(sum, &schema.to_be_bytes());
    i64::from(crc32c::crc32c_append(sum, state))
}
