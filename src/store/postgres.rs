//! PostgreSQL: one task appends, on a connection of its own (`append.rs`); a small pool does the rest, reading events
//! (`read.rs`) among it.

mod append;
mod listen;
mod read;

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::BytesMut;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType};
use futures::{
    TryStreamExt,
    future::{join, join_all},
    pin_mut,
};
use tokio::{sync::watch, time::timeout};
use tokio_postgres::{
    Config, Error, NoTls,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};
use uuid::Uuid;

#[cfg(test)]
pub(super) use self::append::LOCK;
use super::{
    CrashPoint, StoreError, StoreOptions,
    error::causes,
    event_log::{PAGE_BYTES, Scope},
    snapshot::Latest,
    sql::{Access, Check, Column, Decode, Each, Points, Row, Step, Value, in_postgres},
    writer::{Append, Appends},
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

/// While one process makes the tables, the others wait.
const LOCK_SCHEMA: &str = "SELECT pg_advisory_lock(27501, hashtext(current_schema()))";
const UNLOCK_SCHEMA: &str = "SELECT pg_advisory_unlock_all()";

pub(super) struct Postgres {
    pub appends: Appends<Append>,
    connections: Connections,
    crash_point: CrashPoint,
    config: Config,
    /// While this lives somebody may listen; the task that does is started once.
    listening: OnceLock<Arc<()>>,
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
        let crash_point = Arc::clone(&options.crash_point);
        let writer = append::Writer { connection: Connections::new(config, &at, &options, 1)?, options };
        tokio::spawn(writer.run(queue)); // ends with the last clone of the store
        let mut config = config.clone();
        config.connect_timeout(CONNECT).application_name("kafkalab outbox");
        Ok(Postgres { appends, connections, crash_point, config, listening: OnceLock::new() })
    }

    /// Adds to `signal` when the server says that the outbox has got something.
    pub fn listen(&self, signal: &watch::Sender<u64>) {
        self.listening.get_or_init(|| {
            let held = Arc::new(());
            let (config, at) = (self.config.clone(), Arc::clone(&self.connections.at));
            tokio::spawn(listen::listen(config, at, signal.clone(), Arc::downgrade(&held)));
            held
        });
    }

    pub async fn rows(&self, access: Access, sql: String, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        match self.try_rows(&sql, &values).await {
            Err(StoreError::Unknown { .. }) if access == Access::Read => self.try_rows(&sql, &values).await,
            outcome => outcome,
        }
    }

    /// A read whose connection breaks is tried once more: it may have been dead since the server's restart.
    pub async fn page(&self, scope: Scope, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        match self.try_page(&scope, limit).await {
            Err(StoreError::Unknown { .. }) => self.try_page(&scope, limit).await,
            outcome => outcome,
        }
    }

    pub async fn latest(&self, stream: &str, limit: usize) -> Result<Latest, StoreError> {
        match self.try_latest(stream, limit).await {
            Err(StoreError::Unknown { .. }) => self.try_latest(stream, limit).await,
            outcome => outcome,
        }
    }

    pub async fn decoded<T>(
        &self,
        sql: &str,
        values: &[Value],
        decode: Decode<T>,
        size: fn(&T) -> usize,
    ) -> Result<Vec<T>, StoreError> {
        match self.try_decoded(sql, values, decode, size).await {
            Err(StoreError::Unknown { .. }) => self.try_decoded(sql, values, decode, size).await,
            outcome => outcome,
        }
    }

    async fn try_decoded<T>(
        &self,
        sql: &str,
        values: &[Value],
        decode: Decode<T>,
        size: fn(&T) -> usize,
    ) -> Result<Vec<T>, StoreError> {
        let client = self.connections.get().await?;
        let decode = |values| decode(Row { values, at: Arc::clone(&self.connections.at) });
        let outcome = self.connections.within(decoded(&client, sql, values, decode, size)).await;
        keep(client, outcome)?.into_iter().collect()
    }

    async fn try_rows(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let client = self.connections.get().await?;
        let outcome = self.connections.within(rows(&client, sql, values)).await;
        let row = |values| Row { values, at: Arc::clone(&self.connections.at) };
        Ok(keep(client, outcome)?.into_iter().map(row).collect())
    }

    async fn try_page(&self, scope: &Scope, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        let client = self.connections.get().await?;
        let outcome = self.connections.within(read::page(&client, scope, limit)).await;
        keep(client, outcome)
    }

    async fn try_latest(&self, stream: &str, limit: usize) -> Result<Latest, StoreError> {
        let client = self.connections.get().await?;
        let outcome = self.connections.within(read::latest(&client, stream, limit)).await;
        keep(client, outcome)
    }
}

impl Postgres {
    pub async fn each(&self, each: Each) -> Result<Vec<Row>, StoreError> {
        let step = [Step::Each(each)];
        match self.try_each(&step).await {
            Err(StoreError::Unknown { .. }) => self.try_each(&step).await,
            outcome => outcome,
        }
    }

    async fn try_each(&self, step: &[Step]) -> Result<Vec<Row>, StoreError> {
        let client = self.connections.get().await?;
        let outcome = self.connections.within(run_steps(&client, step, None)).await;
        let row = |values| Row { values, at: Arc::clone(&self.connections.at) };
        Ok(keep(client, outcome)?.into_iter().flatten().map(row).collect())
    }

    /// The steps are sent one behind the other without waiting: one way there and back for all, and one for the commit.
    pub async fn transaction(
        &self,
        points: Option<Points>,
        steps: Vec<Step>,
        check: Check,
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        let client = self.connections.get().await?;
        let outcome = self.try_transaction(&client, points, &steps, check).await;
        if outcome.is_err() {
            drop(Object::take(client)); // its transaction ends with it
        }
        outcome
    }

    async fn try_transaction(
        &self,
        client: &Object,
        points: Option<Points>,
        steps: &[Step],
        check: Check,
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        let at = &self.connections.at;
        // nothing is committed yet: a connection that is lost here has written nothing
        let unsent = |error| match error {
            StoreError::Unknown { at, cause } => StoreError::Unreachable { at, cause },
            other => other,
        };
        let answers = self.connections.within(run_steps(client, steps, Some("BEGIN"))).await.map_err(unsent)?;
        let row = |values| Row { values, at: Arc::clone(at) };
        let answers: Vec<Vec<Row>> = answers.into_iter().map(|rows| rows.into_iter().map(row).collect()).collect();
        if let Err(error) = check(&answers) {
            self.connections.within(client.batch_execute("ROLLBACK")).await.map_err(unsent)?;
            return Err(error);
        }
        if let Some([before, _]) = points {
            (self.crash_point)(before);
        }
        self.connections.within(client.batch_execute("COMMIT")).await?;
        if let Some([_, behind]) = points {
            (self.crash_point)(behind);
        }
        Ok(answers)
    }
}

async fn run_steps(client: &Object, steps: &[Step], begin: Option<&str>) -> Result<Vec<Vec<Vec<Value>>>, Error> {
    let mut prepared = Vec::with_capacity(steps.len());
    for step in steps {
        prepared.push(match step {
            Step::One { sql, .. } => client.prepare_cached(&in_postgres(sql)).await?,
            Step::Each(each) => client.prepare_cached(&in_postgres(each.postgres)).await?,
        });
    }
    // polled in this order, and so sent in it
    let begin = async {
        match begin {
            Some(begin) => client.batch_execute(begin).await,
            None => Ok(()),
        }
    };
    let answers = join_all(steps.iter().zip(&prepared).map(|(step, statement)| async move {
        let parameters: Vec<&(dyn ToSql + Sync)> = match step {
            Step::One { values, .. } => values.iter().map(|value| value as _).collect(),
            Step::Each(Each { values, columns, .. }) => {
                values.iter().map(|value| value as _).chain(columns.iter().map(|column| column as _)).collect()
            }
        };
        let found = client.query(statement, &parameters).await?;
        found.iter().map(values_of).collect()
    }));
    let (begun, answers) = join(begin, answers).await;
    begun?;
    // the first error is the cause, those behind it only say that the transaction has failed
    answers.into_iter().collect()
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
        config.options(settings);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
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

/// Back into the pool, unless it is not known what the connection still does.
fn keep<T>(client: Object, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
    if matches!(outcome, Err(StoreError::Unknown { .. })) {
        drop(Object::take(client));
    }
    outcome
}

// --- reading ------------------------------------------------------------------------------------------------------------

async fn rows(client: &Object, sql: &str, values: &[Value]) -> Result<Vec<Vec<Value>>, Error> {
    let statement = client.prepare_cached(sql).await?;
    let parameters: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
    let found = client.query(&statement, &parameters).await?;
    found.iter().map(values_of).collect()
}

async fn decoded<T>(
    client: &Object,
    sql: &str,
    values: &[Value],
    decode: impl Fn(Vec<Value>) -> Result<T, StoreError>,
    size: fn(&T) -> usize,
) -> Result<Vec<Result<T, StoreError>>, Error> {
    let statement = client.prepare_cached(sql).await?;
    let rows = client.query_raw(&statement, values).await?;
    pin_mut!(rows);
    let (mut found, mut bytes) = (Vec::new(), 0);
    while bytes < PAGE_BYTES
        && let Some(row) = rows.try_next().await?
    {
        let decoded = decode(values_of(&row)?);
        bytes += decoded.as_ref().map_or(0, size);
        found.push(decoded);
    }
    Ok(found)
}

fn values_of(row: &tokio_postgres::Row) -> Result<Vec<Value>, Error> {
    (0..row.len()).map(|column| row.try_get(column)).collect()
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
            Value::Uuid(id) => id.to_sql_checked(of, out),
            Value::Null => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true // the values' own `to_sql_checked` judges
    }

    to_sql_checked!();
}

impl ToSql for Column {
    fn to_sql(&self, of: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Column::Ints(values) => values.to_sql_checked(of, out),
            Column::OptionalInts(values) => values.to_sql_checked(of, out),
            Column::Texts(values) => values.to_sql_checked(of, out),
            Column::Options(values) => values.to_sql_checked(of, out),
            Column::Bytes(values) => values.to_sql_checked(of, out),
            Column::Uuids(values) => values.to_sql_checked(of, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true // as above
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        match *of {
            Type::INT8 => i64::from_sql(of, raw).map(Value::Int),
            Type::BYTEA => Ok(Value::Bytes(raw.to_owned())),
            Type::UUID => Uuid::from_sql(of, raw).map(Value::Uuid),
            _ => String::from_sql(of, raw).map(Value::Text),
        }
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Value::Null)
    }

    fn accepts(of: &Type) -> bool {
        matches!(*of, Type::INT8 | Type::BYTEA | Type::UUID | Type::TEXT)
    }
}
