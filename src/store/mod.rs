//! The store: the event log and what stands beside it, on SQLite or PostgreSQL. All SQL of the crate is here.
//!
//! | file | what is in it |
//! |---|---|
//! | `event_log.rs` | append and read: what the log promises |
//! | `writer.rs` | concurrent appends share commits; what each gets, decided in one pure place |
//! | `lease.rs` | leases with fencing tokens, and the checkpoints that they guard |
//! | `snapshot.rs` | snapshots |
//! | `outbox.rs` | messages that wait, and what becomes of them |
//! | `inbox.rs` | what was handled, the states of handlers, and the transaction of a batch |
//! | `changes.rs` | rows that handlers change beside: counts, what can be searched; handling anew |
//! | `notifications.rs` | what somebody outside is told: claimed, sent, tried again, dead |
//! | `command.rs` | commands that were refused, so that the same one again has the same answer |
//! | `views.rs` | read models: what a batch changes in them, what they answer, building one beside another |
//! | `sqlite.rs`, `postgres.rs` | the two databases: connections, errors; in their folders `append.rs`: the append's transaction, `read.rs`: reading a page |
//! | `sql.rs` | small statements, written once for both |
//! | `url.rs`, `error.rs` | where a store is, and what can go wrong with it |
//!
//! The tables are in `migrations/sqlite` and `migrations/postgres`, the same numbered files in both; opening a store
//! brings its schema up to date.
//!
//! ```text
//!              append ──> queue ──> the writer: a thread (SQLite) or a task (PostgreSQL), one transaction at a time
//! lease, checkpoint ... ──┘  on SQLite the same thread, on PostgreSQL any connection of the pool
//!                read ──> a connection of its own: readers wait for nobody, and nobody for them
//! ```

mod changes;
mod command;
mod error;
mod event_log;
mod inbox;
mod lease;
mod notifications;
mod outbox;
mod postgres;
mod snapshot;
mod sql;
mod sqlite;
mod url;
mod views;
mod writer;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;
use uuid::Uuid;

pub use self::{
    changes::{Count, DocumentRow},
    command::RefusedCommand,
    error::{AppendError, StoreError},
    event_log::{Appended, FromSnapshot, PAGE, Pages, StreamInfo},
    inbox::{Handled, HandledError, StateWrite},
    lease::Lease,
    notifications::{Claimed, NotificationRow, NotificationStatus, Notifications, Outcome},
    outbox::{Depth, Marks, OutboxRow, SetAside, Status},
    url::{StoreUrl, UrlError},
    views::{
        Checkpoint, CheckpointRow, OrderRow, Projected, RecentRow, RevenueRow, Tally, Tellings, View, Views, Writer,
    },
};
use self::{
    sql::{Access, Database},
    url::Kind,
};

/// An open store. Cheap to clone; the last clone that is dropped ends the writer once it has written what it holds.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    id: Uuid,
    url: StoreUrl,
    database: Database,
    clock: fn() -> i64,
    /// Counts what went into the outbox from here, or was heard of.
    outbox: watch::Sender<u64>,
}

/// Called with the name of a place that is reached.
pub type CrashPoint = Arc<dyn Fn(&'static str) + Send + Sync>;

/// What a store can be told when it is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// Called at the crash points `append.before-commit` and `append.after-commit` (committed, nobody answered yet). Who
    /// gives it decides what happens there.
    pub crash_point: CrashPoint,
    /// How long another process's lock is waited for.
    pub lock_wait: Duration,
    /// PostgreSQL: a transaction in which nothing happens for so long is ended, so that a stopped process holds nobody
    /// up. Shorter than `lock_wait`, or those who wait give up first.
    pub idle_in_transaction: Duration,
    /// PostgreSQL: how long appends are tried again while the database is not there.
    pub retry_for: Duration,
    /// `recorded_at_ms` of events, in milliseconds since 1970.
    pub clock: fn() -> i64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            crash_point: Arc::new(|_| ()),
            lock_wait: Duration::from_secs(15),
            idle_in_transaction: Duration::from_secs(5),
            retry_for: Duration::from_secs(15),
            clock: || {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            },
        }
    }
}

const ID: &str = "SELECT id FROM store";
const MAKE_ID: &str = "INSERT INTO store (only_row, id) VALUES (1, $1) ON CONFLICT DO NOTHING RETURNING id";

impl Store {
    /// Opens the store, makes it where there is none (file, folder, tables), and brings its schema up to date.
    ///
    /// # Errors
    /// A schema that a newer kafkalab made is refused, and nothing is changed.
    pub async fn open(url: &StoreUrl) -> Result<Self, StoreError> {
        Self::open_with(url, StoreOptions::default()).await
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(url: &StoreUrl, options: StoreOptions) -> Result<Self, StoreError> {
        let at = Arc::from(url.to_string());
        let clock = options.clock;
        let database = match &url.0 {
            Kind::Sqlite(path) => Database::Sqlite(sqlite::Sqlite::open(path.clone(), at, options).await?),
            Kind::Postgres(config, _) => Database::Postgres(postgres::Postgres::open(config, at, options).await?),
        };
        let id = match database.row(Access::Read, ID, []).await? {
            Some(row) => row,
            None => {
                let new = Uuid::new_v4().to_string();
                database.row(Access::Write, MAKE_ID, [new.as_str().into()]).await?;
                // another process may have been first
                let row = database.row(Access::Read, ID, []).await?;
                row.ok_or_else(|| StoreError::Damaged { at: url.to_string().into(), cause: "it has no id".into() })?
            }
        };
        let text = id.text(0)?;
        let damaged =
            |_| StoreError::Damaged { at: url.to_string().into(), cause: format!("its id is {text:?}").into() };
        let id = text.parse().map_err(damaged)?;
        Ok(Store(Arc::new(Inner { id, url: url.clone(), database, clock, outbox: watch::Sender::new(0) })))
    }

    /// The store's own id, made when it was opened for the first time. Transactional ids on Kafka carry it, so that two
    /// stores never fence each other.
    pub fn id(&self) -> Uuid {
        self.0.id
    }

    /// Where it is; shown without its password.
    pub fn url(&self) -> &StoreUrl {
        &self.0.url
    }

    fn now_ms(&self) -> i64 {
        (self.0.clock)()
    }

    /// Something was put into the outbox.
    fn outbox_changed(&self) {
        self.0.outbox.send_modify(|count| *count += 1);
    }

    /// Changes when something was put into the outbox: by this process at once; by others at once on PostgreSQL, whose
    /// server says so, and not at all on SQLite. So whoever waits for it looks by itself, too, from time to time.
    pub fn outbox_signal(&self) -> watch::Receiver<u64> {
        if let Database::Postgres(database) = &self.0.database {
            database.listen(&self.0.outbox);
        }
        self.0.outbox.subscribe()
    }

    fn is_sqlite(&self) -> bool {
        matches!(self.0.database, Database::Sqlite(_))
    }

    fn database(&self) -> &Database {
        &self.0.database
    }
}

#[cfg(test)]
mod tests;
