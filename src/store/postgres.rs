//! PostgreSQL: one task appends, on a connection of its own; a small pool does the rest.
//!
//! A batch is two looks, one insert by arrays and one commit, however many appends it has. Positions are given under an
//! advisory lock that is held to the commit, so that all processes' appends stand in one line:
//!
//! ```text
//! A: lock ─ look: last position 7 ─ insert 8, 9 ─ commit      B: lock ....... waits ....... look: 9 ─ insert 10 ─ commit
//! ```
//!
//! - A lock on the table would do the same and stop autovacuum with it; a counter's row would leave a dead one per batch.
//! - Who holds the lock and does nothing is ended by the server (`idle_in_transaction_session_timeout`).
//! - A connection that is lost on the way leaves it open whether the batch was committed. It is tried again: the event
//!   ids say what is there. The second attempt gets the lock only after the first has ended, one way or the other.

use std::{
    collections::HashSet,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType};
use futures::{TryStreamExt, future::try_join4, pin_mut};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_postgres::{
    Config, Error, NoTls,
    types::{FromSql, IsNull, ToSql, Type, private::BytesMut, to_sql_checked},
};
use uuid::Uuid;

use super::{
    AppendError, Appended, StoreError, StoreOptions,
    error::causes,
    event_log::{PAGE_BYTES, Scope},
    sql::{Access, Row, Value, bigint},
    writer::{self, Append, Appends, BATCH, Place, Seen},
};
use crate::patterns::event_sourcing::RecordedEvent;

refinery::embed_migrations!("migrations/postgres");

/// Connections beside the one that appends.
const CONNECTIONS: usize = 8;
/// Until a connection is made.
const CONNECT: Duration = Duration::from_secs(10);
/// One statement, by the server's clock; ours adds the time for a server that does not answer at all.
const STATEMENT: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(35);

/// `kl`, and the table: two stores in two schemas of one database do not wait for each other.
const LOCK: &str = "BEGIN; SELECT pg_advisory_xact_lock(27500, CAST(CAST('events' AS regclass) AS oid)::int)";
/// The same for opening, when there may be no table yet.
const LOCK_SCHEMA: &str = "SELECT pg_advisory_lock(27501, hashtext(current_schema()))";
const UNLOCK_SCHEMA: &str = "SELECT pg_advisory_unlock_all()";

const LAST: &str = "SELECT coalesce(max(position), 0) FROM events";
const HEADS: &str = "
    SELECT s.stream_id, (SELECT coalesce(max(e.version), 0) FROM events e WHERE e.stream_id = s.stream_id)
    FROM unnest($1::text[]) s (stream_id)";
const FIND: &str = "SELECT event_id, stream_id, version, position FROM events WHERE event_id = ANY ($1::uuid[])";
const INSERT: &str = "
    INSERT INTO events (position, stream_id, version, event_id, event_type, data, metadata, recorded_at_ms)
    SELECT e.*, $8::bigint
    FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::uuid[], $5::text[], $6::bytea[], $7::bytea[]) e";

const STREAM_PAGE: &str = "
    SELECT position, version, event_id, event_type, data, metadata, recorded_at_ms, stream_id
    FROM events WHERE stream_id = $1 AND version >= $2 ORDER BY version LIMIT $3";
const ALL_PAGE: &str = "
    SELECT position, version, event_id, event_type, data, metadata, recorded_at_ms, stream_id
    FROM events WHERE position > $1 ORDER BY position LIMIT $2";

pub(super) struct Postgres {
    pub appends: Appends<Append>,
    connections: Connections,
}

/// A pool, and the address for errors.
struct Connections {
    pool: Pool,
    at: Arc<str>,
}

impl Postgres {
    pub async fn open(config: &Config, at: Arc<str>, options: StoreOptions) -> Result<Self, StoreError> {
        let connections = Connections::new(config, &at, &options, CONNECTIONS)?;
        connections.migrate().await?;
        let (appends, queue) = Appends::new(Arc::clone(&at));
        let writer = Writer { connection: Connections::new(config, &at, &options, 1)?, options };
        tokio::spawn(writer.run(queue)); // ends with the last clone of the store
        Ok(Postgres { appends, connections })
    }

    pub async fn rows(&self, access: Access, sql: String, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let parameters: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        let query = async |client: &Object| {
            let statement = client.prepare_cached(&sql).await?;
            client.query(&statement, &parameters).await
        };
        let found = self.connections.run(access, query).await?;
        let row = |row: tokio_postgres::Row| {
            let values = (0..row.len()).map(|column| row.try_get(column)).collect::<Result<_, Error>>();
            Ok(Row { values: values.map_err(|error| self.connections.explain(&error))?, at: self.at() })
        };
        found.into_iter().map(row).collect()
    }

    pub async fn page(&self, scope: Scope, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        self.connections.run(Access::Read, async |client: &Object| page(client, &scope, limit).await).await
    }

    fn at(&self) -> Arc<str> {
        Arc::clone(&self.connections.at)
    }
}

// --- connections --------------------------------------------------------------------------------------------------------

impl Connections {
    fn new(config: &Config, at: &Arc<str>, options: &StoreOptions, size: usize) -> Result<Self, StoreError> {
        let mut config = config.clone();
        let millis = |time: Duration| time.as_millis().max(1);
        // Plans: every statement here walks an index, and none is planned anew. A table that has just been made has no
        // statistics, by which a full scan looks cheap. What the URL says stands last, and holds.
        let settings = format!(
            "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={} \
             -c synchronous_commit=on -c client_min_messages=warning -c plan_cache_mode=force_generic_plan \
             -c enable_seqscan=off -c enable_bitmapscan=off -c jit=off {}",
            millis(STATEMENT),
            millis(options.lock_wait),
            millis(options.idle_in_transaction),
            config.get_options().unwrap_or_default(),
        );
        config.options(settings).connect_timeout(CONNECT);
        if config.get_application_name().is_none() {
            config.application_name("kafkalab");
        }
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config, NoTls, manager))
            .max_size(size)
            .create_timeout(Some(CONNECT))
            .wait_timeout(Some(ANSWER))
            .runtime(Runtime::Tokio1)
            .build();
        let cannot = |error| StoreError::Database { at: Arc::clone(at), cause: causes(&error).into() };
        Ok(Connections { pool: pool.map_err(cannot)?, at: Arc::clone(at) })
    }

    async fn get(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => match self.explain(&error) {
                // before anything was sent nothing is unknown
                StoreError::Unknown { at, cause } => StoreError::Unreachable { at, cause },
                other => other,
            },
            PoolError::Timeout(TimeoutType::Wait) => {
                StoreError::Locked { at: Arc::clone(&self.at), cause: "all connections are in use".into() }
            }
            error => StoreError::Unreachable { at: Arc::clone(&self.at), cause: causes(&error).into() },
        })
    }

    /// Runs on a connection of the pool. A read whose connection breaks is tried once more: the connection may have
    /// been dead since the server's restart.
    async fn run<T>(&self, access: Access, query: impl AsyncFn(&Object) -> Result<T, Error>) -> Result<T, StoreError> {
        let mut again = access == Access::Read;
        loop {
            let client = self.get().await?;
            let error = match self.within(query(&client)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if matches!(error, StoreError::Unknown { .. }) {
                drop(Object::take(client)); // never back into the pool
                if again {
                    again = false;
                    continue;
                }
            }
            return Err(error);
        }
    }

    async fn within<T>(&self, query: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
        match timeout(ANSWER, query).await {
            Ok(answer) => answer.map_err(|error| self.explain(&error)),
            Err(_) => {
                let cause = format!("no answer within {} s", ANSWER.as_secs()).into();
                Err(StoreError::Unknown { at: Arc::clone(&self.at), cause })
            }
        }
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let mut client = self.get().await?;
        self.within(client.batch_execute(LOCK_SCHEMA)).await?;
        let runner = migrations::runner().set_grouped(true);
        let error = match runner.run_async(&mut **client.as_mut()).await {
            Ok(_) => return self.within(client.batch_execute(UNLOCK_SCHEMA)).await,
            Err(error) => error,
        };
        let last = runner.get_last_applied_migration_async(&mut **client.as_mut()).await.ok().flatten();
        drop(Object::take(client)); // and the lock with it
        let database = match error.kind() {
            refinery::error::Kind::Connection(_, cause) => cause.downcast_ref().map(|error| self.explain(error)),
            _ => None,
        };
        Err(match database {
            None | Some(StoreError::Database { .. }) => super::error::schema(&self.at, &error, &runner, last.as_ref()),
            Some(trouble) => trouble,
        })
    }

    fn explain(&self, error: &Error) -> StoreError {
        let (at, cause) = (Arc::clone(&self.at), Arc::from(causes(error)));
        let Some(code) = error.code() else {
            // Not the server's words. The driver tells its kinds apart by theirs alone; what is none of these is the
            // connection's end.
            let text = error.to_string();
            return match text.split(':').next().unwrap_or_default() {
                "invalid configuration" | "authentication error" | "error performing TLS handshake" => {
                    StoreError::Refused { at, cause }
                }
                text if text.starts_with("error serializing") || text.starts_with("error deserializing") => {
                    StoreError::Database { at, cause }
                }
                _ => StoreError::Unknown { at, cause },
            };
        };
        match code.code() {
            "53100" => StoreError::DiskFull { at, cause },
            "55P03" | "57014" | "40001" | "40P01" => StoreError::Locked { at, cause },
            "25006" => StoreError::ReadOnly { at, cause },
            "3D000" => StoreError::Refused { at, cause },
            "25P03" | "57P01" | "57P02" => StoreError::Unknown { at, cause },
            "57P03" | "53300" => StoreError::Unreachable { at, cause },
            other => match &other[..2] {
                "28" => StoreError::Refused { at, cause },
                "08" => StoreError::Unknown { at, cause },
                "XX" => StoreError::Damaged { at, cause },
                _ => StoreError::Database { at, cause },
            },
        }
    }
}

// --- the writer ---------------------------------------------------------------------------------------------------------

struct Writer {
    connection: Connections,
    options: StoreOptions,
}

/// An attempt that failed: by what, and may it have been committed all the same?
struct Failed {
    error: StoreError,
    sent: bool,
}

impl Writer {
    async fn run(self, mut queue: mpsc::Receiver<Append>) {
        let mut batch = Vec::with_capacity(BATCH);
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            match self.append(&mut batch).await {
                Ok(outcomes) => writer::answer(std::mem::take(&mut batch), outcomes),
                Err(error) => writer::answer_all(std::mem::take(&mut batch), &error),
            }
        }
    }

    /// Tries until the database is there again, within `retry_for`.
    async fn append(&self, batch: &mut [Append]) -> Result<Vec<Result<Appended, AppendError>>, StoreError> {
        let (began, mut pause, mut sent) = (Instant::now(), Duration::from_millis(20), false);
        loop {
            let failed = match self.attempt(batch).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(failed) => failed,
            };
            sent |= failed.sent;
            let lost = matches!(failed.error, StoreError::Unknown { .. } | StoreError::Unreachable { .. });
            if !lost || began.elapsed() + pause > self.options.retry_for {
                return Err(match failed.error {
                    StoreError::Unknown { at, cause } if !sent => StoreError::Unreachable { at, cause },
                    other if sent => {
                        StoreError::Unknown { at: Arc::clone(&self.connection.at), cause: other.to_string().into() }
                    }
                    other => other,
                });
            }
            tracing::debug!("append to be tried again: {}", failed.error);
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    async fn attempt(&self, batch: &mut [Append]) -> Result<Vec<Result<Appended, AppendError>>, Failed> {
        let client = self.connection.get().await.map_err(|error| Failed { error, sent: false })?;
        let outcome = self.transaction(&client, batch).await;
        if outcome.is_err() {
            drop(Object::take(client)); // its transaction ends with it
        }
        outcome
    }

    async fn transaction(
        &self,
        client: &Object,
        batch: &mut [Append],
    ) -> Result<Vec<Result<Appended, AppendError>>, Failed> {
        let unsent = |error| Failed { error, sent: false };
        let mut seen = self.connection.within(look(client, batch)).await.map_err(unsent)?;
        let (rows, outcomes) = seen.decide(batch);
        if rows.is_empty() {
            self.connection.within(client.batch_execute("ROLLBACK")).await.map_err(unsent)?;
            return Ok(outcomes);
        }
        self.connection.within(insert(client, &rows, (self.options.clock)())).await.map_err(unsent)?;
        drop(rows);
        for (append, outcome) in batch.iter_mut().zip(&outcomes) {
            append.tried |= outcome.as_ref().is_ok_and(|appended| !appended.duplicate);
        }
        (self.options.crash_point)("append.before-commit");
        let committed = self.connection.within(client.batch_execute("COMMIT")).await;
        committed.map_err(|error| Failed { sent: matches!(error, StoreError::Unknown { .. }), error })?;
        (self.options.crash_point)("append.after-commit");
        Ok(outcomes)
    }
}

/// Begins, waits for the lock, and looks: one way there and back, because the four are sent in this order without
/// waiting. The looks come after the lock, and each sees what is committed when it begins.
async fn look(client: &Object, batch: &[Append]) -> Result<Seen, Error> {
    let last = client.prepare_cached(LAST).await?;
    let heads = client.prepare_cached(HEADS).await?;
    let find = client.prepare_cached(FIND).await?;
    let streams: HashSet<&str> = batch.iter().map(|append| append.stream.as_str()).collect();
    let streams: Vec<&str> = streams.into_iter().collect();
    let ids: Vec<Uuid> = batch.iter().flat_map(|append| append.events.iter().map(|event| event.id)).collect();
    let (_, last, heads, found) = try_join4(
        client.batch_execute(LOCK),
        client.query_one(&last, &[]),
        client.query(&heads, &[&streams]),
        client.query(&find, &[&ids]),
    )
    .await?;
    let mut seen = Seen { last_position: unsigned(&last, 0)?, ..Seen::default() };
    for row in heads {
        seen.heads.insert(row.try_get(0)?, unsigned(&row, 1)?);
    }
    for row in found {
        let place = Place { stream: row.try_get(1)?, version: unsigned(&row, 2)?, position: unsigned(&row, 3)? };
        seen.ids.insert(row.try_get(0)?, place);
    }
    Ok(seen)
}

async fn insert(client: &Object, rows: &[writer::Row<'_>], now: i64) -> Result<u64, Error> {
    fn column<'a, T>(rows: &'a [writer::Row<'a>], of: impl Fn(&'a writer::Row<'a>) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    let insert = client.prepare_cached(INSERT).await?;
    let positions = column(rows, |row| bigint(row.position));
    let streams = column(rows, |row| row.stream);
    let versions = column(rows, |row| bigint(row.version));
    let ids = column(rows, |row| row.event.id);
    let types = column(rows, |row| row.event.event_type.as_str());
    let data = column(rows, |row| row.event.data.as_slice());
    let metadata = column(rows, |row| row.event.metadata.as_slice());
    client.execute(&insert, &[&positions, &streams, &versions, &ids, &types, &data, &metadata, &now]).await
}

// --- reading ------------------------------------------------------------------------------------------------------------

async fn page(client: &Object, scope: &Scope, limit: usize) -> Result<Vec<RecordedEvent>, Error> {
    let limit = bigint(limit as u64);
    let rows = match scope {
        Scope::Stream { stream, from } => {
            let statement = client.prepare_cached(STREAM_PAGE).await?;
            let parameters: [&(dyn ToSql + Sync); 3] = [stream, &bigint(*from), &limit];
            client.query_raw(&statement, parameters).await?
        }
        Scope::All { after } => {
            let statement = client.prepare_cached(ALL_PAGE).await?;
            client.query_raw(&statement, [bigint(*after), limit]).await?
        }
    };
    pin_mut!(rows);
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        let event = event(&row)?;
        bytes += event.data.len() + event.metadata.len();
        events.push(event);
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(events)
}

fn event(row: &tokio_postgres::Row) -> Result<RecordedEvent, Error> {
    Ok(RecordedEvent {
        position: unsigned(row, 0)?,
        stream: row.try_get(7)?,
        version: unsigned(row, 1)?,
        id: row.try_get(2)?,
        event_type: row.try_get(3)?,
        data: row.try_get(4)?,
        metadata: row.try_get(5)?,
        recorded_at_ms: row.try_get(6)?,
    })
}

fn unsigned(row: &tokio_postgres::Row, column: usize) -> Result<u64, Error> {
    Ok(row.try_get::<_, i64>(column)? as u64)
}

impl ToSql for Value {
    fn to_sql(&self, of: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Value::Int(int) => int.to_sql_checked(of, out),
            Value::Text(text) => text.to_sql_checked(of, out),
            Value::Bytes(bytes) => bytes.to_sql_checked(of, out),
            Value::Null => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true // the values' own `to_sql_checked` judges
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        match *of {
            Type::INT8 => i64::from_sql(of, raw).map(Value::Int),
            Type::BYTEA => Ok(Value::Bytes(raw.to_owned())),
            _ => String::from_sql(of, raw).map(Value::Text),
        }
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Value::Null)
    }

    fn accepts(of: &Type) -> bool {
        matches!(*of, Type::INT8 | Type::BYTEA | Type::TEXT)
    }
}
