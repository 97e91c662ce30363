//! A snapshot saves the reading of a long stream's beginning. It is a cache: it may be thrown away at any time.
//!
//! ```text
//!   1 2 3 ... 1000 | 1001 1002        without: read 1002 events
//!          snapshot^                  with:    read the snapshot and 2
//! ```
//!
//! What can go wrong: the state's shape changes and old snapshots say something else with the same words. So a snapshot
//! carries the number of its shape (`schema`), which the program raises whenever `State` or `evolve` changes meaning.

use serde::{Serialize, de::DeserializeOwned};

use super::Folded;

/// A state as it was at `version`, as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last event that is in it.
    pub version: u64,
    /// The shape of `state`, a number of the aggregate's code.
    pub schema: u32,
    /// CRC32C over version, schema and state.
    pub checksum: u32,
    /// The state as JSON.
    pub state: Vec<u8>,
}

/// Why a snapshot is not used. The caller deletes it and folds the whole stream.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("the snapshot has schema {found}, this program {expected}")]
    OtherSchema { expected: u32, found: u32 },
    #[error("the snapshot's checksum does not fit its content")]
    Damaged,
    /// The stream was restored from an older backup, say.
    #[error("the snapshot is at version {snapshot}, the stream ends with {stream}")]
    BeyondStream { snapshot: u64, stream: u64 },
    /// The checksum fits and the state does not: the shape changed and `schema` was not raised.
    #[error("the snapshot cannot be read: {0}")]
    Unreadable(#[source] serde_json::Error),
}

impl Snapshot {
    /// # Errors
    /// The state cannot be said in JSON (a map whose keys are no text).
    pub fn take<S: Serialize>(folded: &Folded<S>, schema: u32) -> Result<Self, serde_json::Error> {
        let state = serde_json::to_vec(&folded.state)?;
        let checksum = checksum(folded.version, schema, &state);
        Ok(Self { version: folded.version, schema, checksum, state })
    }

    /// The state to go on from, if it can be trusted. `schema` is this program's, `stream_version` the version of the
    /// stream's last event.
    ///
    /// # Errors
    /// [`SnapshotError`]: throw it away and fold the whole stream.
    pub fn open<S: DeserializeOwned>(&self, schema: u32, stream_version: u64) -> Result<Folded<S>, SnapshotError> {
        if self.checksum != checksum(self.version, self.schema, &self.state) {
            return Err(SnapshotError::Damaged);
        }
        if self.schema != schema {
            return Err(SnapshotError::OtherSchema { expected: schema, found: self.schema });
        }
        if self.version > stream_version {
            return Err(SnapshotError::BeyondStream { snapshot: self.version, stream: stream_version });
        }
        let state = serde_json::from_slice(&self.state).map_err(SnapshotError::Unreadable)?;
        Ok(Folded { version: self.version, state })
    }
}

fn checksum(version: u64, schema: u32, state: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(crc32c::crc32c(&version.to_be_bytes()), &schema.to_be_bytes());
    crc32c::crc32c_append(head, state)
}
