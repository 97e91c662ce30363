//! Leases and the checkpoints that they guard: one owner at a time, and one that is over can do no harm.
//!
//! ```text
//! A: acquire, token 1 ──── stopped ────────────────── goes on: checkpoint under token 1 ──> LeaseLost
//! B:                    expired: acquire, token 2 ─── checkpoint under token 2 ──> ok
//! ```
//!
//! A lease is a row that expires by the database's clock, never a held lock: who dies frees it by doing nothing. No
//! clock can stop a holder that believes in its lease, so every acquisition has a higher token, and what is done under a
//! lease is refused once a higher one was given (a fencing token: Kleppmann, "How to do distributed locking", 2016).

use std::time::Duration;

use super::{
    Store, StoreError,
    sql::{Access, Value},
    writer::check_name,
};

/// Proof of having acquired a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub name: String,
    pub owner: String,
    /// Rises with each acquisition of this name.
    pub token: u64,
}

const ACQUIRE: &str = "
    INSERT INTO leases (name, owner, token, expires_at_ms) VALUES ($1, $2, 1, now_ms() + $3)
    ON CONFLICT (name) DO UPDATE
        SET owner = excluded.owner, token = leases.token + 1, expires_at_ms = excluded.expires_at_ms
        WHERE leases.expires_at_ms <= now_ms()
    RETURNING token";

const RENEW: &str = "
    UPDATE leases SET expires_at_ms = now_ms() + $4 WHERE name = $1 AND owner = $2 AND token = $3 RETURNING token";

const RELEASE: &str = "
    UPDATE leases SET expires_at_ms = 0, owner = '' WHERE name = $1 AND owner = $2 AND token = $3 RETURNING token";

// FOR SHARE: whoever would take the lease over waits until this is committed.
const SET_CHECKPOINT: &str = "
    INSERT INTO checkpoints (name, position)
    SELECT CAST($1 AS text), CAST($2 AS bigint) FROM leases WHERE name = $3 AND owner = $4 AND token = $5 FOR SHARE
    ON CONFLICT (name) DO UPDATE SET position = excluded.position
    RETURNING position";

const CHECKPOINT: &str = "SELECT position FROM checkpoints WHERE name = $1";

impl Store {
    /// Takes the lease if nobody has it, for `ttl` by the database's clock. `None`: somebody has it, and be it an owner
    /// of the same name.
    pub async fn acquire(&self, name: &str, owner: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        check_name("a lease", name).and(check_name("a lease's owner", owner)).map_err(StoreError::Invalid)?;
        let values = [name.into(), owner.into(), millis(ttl)];
        let row = self.database().row(Access::Write, ACQUIRE, values).await?;
        let lease = |token| Lease { name: name.to_owned(), owner: owner.to_owned(), token };
        row.map(|row| row.count(0).map(lease)).transpose()
    }

    /// Holds the lease for another `ttl` from now. One that has expired comes back to life if nobody took it meanwhile.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] where somebody did.
    pub async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<(), StoreError> {
        let mut values = Vec::from(lease.values());
        values.push(millis(ttl));
        let renewed = self.database().row(Access::Write, RENEW, values).await?;
        renewed.map(drop).ok_or_else(|| lease.lost())
    }

    /// Gives the lease back before it expires. One that was lost is no error: it is given back already.
    pub async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.database().row(Access::Write, RELEASE, lease.values()).await.map(drop)
    }

    /// How far a reader of the log has come; 0 where it never said so.
    pub async fn checkpoint(&self, name: &str) -> Result<u64, StoreError> {
        let row = self.database().row(Access::Read, CHECKPOINT, [name.into()]).await?;
        row.map_or(Ok(0), |row| row.count(0))
    }

    /// Says how far a reader has come, while its lease is the newest of that name. The check and the write are one
    /// statement: a reader that was overtaken moves nothing.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] where another owner has acquired the lease since, or it was given back.
    pub async fn set_checkpoint(&self, name: &str, position: u64, lease: &Lease) -> Result<(), StoreError> {
        check_name("a checkpoint", name).map_err(StoreError::Invalid)?;
        let mut values = vec![name.into(), position.into()];
        values.extend(lease.values());
        let set = self.database().row(Access::Write, SET_CHECKPOINT, values).await?;
        set.map(drop).ok_or_else(|| lease.lost())
    }
}

impl Lease {
    pub(super) fn values(&self) -> [Value; 3] {
        [self.name.as_str().into(), self.owner.as_str().into(), self.token.into()]
    }

    pub(super) fn lost(&self) -> StoreError {
        StoreError::LeaseLost { name: self.name.clone() }
    }
}

fn millis(ttl: Duration) -> Value {
    // a hundred years are enough, and added to the clock they still fit
    Value::Int(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX).min(100 * 365 * 86_400_000))
}
