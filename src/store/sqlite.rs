//! SQLite: one connection on a thread of its own writes, a few others read beside it (WAL).
//!
//! Statements run row by row on the writer's thread, prepared: a hop between threads costs 30 us, an insert two.

mod append;
mod read;
mod share;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{
    CachedStatement, Connection, ErrorCode, OpenFlags, ToSql, TransactionBehavior,
    types::{ToSqlOutput, ValueRef},
};
use tokio::sync::{Semaphore, oneshot};

use self::share::{Job, Work};
use super::{
    StoreError, StoreOptions,
    event_log::{PAGE_BYTES, Scope},
    snapshot::Latest,
    sql::{Access, Check, Column, Decode, Each, Points, Row, Step, Value, in_sqlite},
    writer::Appends,
};
use crate::patterns::event_sourcing::RecordedEvent;

refinery::embed_migrations!("migrations/sqlite");

/// Pages that are read at the same time.
const READERS: usize = 4;
/// Pages that the writer keeps, in KiB.
const CACHE_KIB: i32 = 16 << 10;

pub(super) struct Sqlite {
    pub appends: Appends<Work>,
    path: PathBuf,
    at: Arc<str>,
    options: StoreOptions,
    /// Connections that no reader uses just now.
    idle: Arc<Mutex<Vec<Connection>>>,
    readers: Semaphore,
}

impl Sqlite {
    pub async fn open(path: PathBuf, at: Arc<str>, options: StoreOptions) -> Result<Self, StoreError> {
        let (appends, work) = Appends::new(Arc::clone(&at));
        let (opened, outcome) = oneshot::channel();
        let writer = Writer { at: Arc::clone(&at), options: options.clone() };
        let file = path.clone();
        let run = move || match writer.open(&file) {
            Ok(connection) => {
                if opened.send(Ok(())).is_ok() {
                    writer.run(connection, work);
                }
            }
            Err(error) => drop(opened.send(Err(error))),
        };
        let cannot = |error| StoreError::Database { at: Arc::clone(&at), cause: format!("no thread: {error}").into() };
        thread::Builder::new().name("store".into()).spawn(run).map_err(cannot)?;
        outcome.await.map_err(|_| appends.closed())??;
        Ok(Sqlite { appends, path, at, options, idle: Arc::default(), readers: Semaphore::new(READERS) })
    }

    /// Runs on the writer's thread, in a transaction that others share unless it changes many rows. `committed` comes before
    /// the caller's answer.
    pub async fn write<T: Send + 'static>(
        &self,
        rows: usize,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        committed: impl FnOnce() + Send + 'static,
    ) -> Result<T, StoreError> {
        let (work, answered) = Job::work(rows, job, Box::new(committed));
        self.appends.queue().send(work).await.map_err(|_| self.appends.closed())?;
        answered.await.map_err(|_| self.appends.closed())?
    }

    /// Runs on a reader's connection, beside the writer.
    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _turn = self.readers.acquire().await.map_err(|_| self.appends.closed())?;
        let (path, at, options, idle) =
            (self.path.clone(), Arc::clone(&self.at), self.options.clone(), Arc::clone(&self.idle));
        let run = move || {
            let free = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match free {
                Some(connection) => connection,
                None => connect(&path, &options).and_then(|connection| {
                    connection.pragma_update(None, "query_only", true)?;
                    Ok(connection)
                })?,
            };
            let outcome = job(&connection)?;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            Ok(outcome)
        };
        let outcome = tokio::task::spawn_blocking(run).await.map_err(|_| self.appends.closed())?;
        outcome.map_err(|error| explain(&at, &error))
    }

    pub async fn rows(&self, access: Access, sql: String, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let at = Arc::clone(&self.at);
        match access {
            Access::Read => self.read(move |connection| rows(connection, &sql, &values, &at)).await,
            Access::Write => {
                let run = move |connection: &Connection| {
                    rows(connection, &sql, &values, &at).map_err(|error| explain(&at, &error))
                };
                self.write(1, run, || ()).await
            }
        }
    }

    /// Rows are decoded beside whoever waits for them.
    pub async fn decoded<T: Send + 'static>(
        &self,
        sql: String,
        values: Vec<Value>,
        decode: Decode<T>,
        size: fn(&T) -> usize,
    ) -> Result<Vec<T>, StoreError> {
        let at = Arc::clone(&self.at);
        let run = move |connection: &Connection| {
            let mut statement = prepared(connection, &sql, &values)?;
            let columns = statement.column_count();
            let (mut found, mut bytes, mut rows) = (Vec::new(), 0, statement.raw_query());
            while bytes < PAGE_BYTES
                && let Some(row) = rows.next()?
            {
                let decoded = row_of(row, columns, &at).map(decode)?;
                bytes += decoded.as_ref().map_or(0, size);
                found.push(decoded);
            }
            Ok(found)
        };
        self.read(run).await?.into_iter().collect()
    }

    pub async fn each(&self, each: Each) -> Result<Vec<Row>, StoreError> {
        let at = Arc::clone(&self.at);
        self.read(move |connection| {
            // one look for all rows: without it SQLite takes and gives back its locks for each
            let look = connection.unchecked_transaction()?;
            run_each(&look, &each, &at)
        })
        .await
    }

    /// The steps on the writer's thread, with one way there and back for all of them.
    pub async fn transaction(
        &self,
        points: Option<Points>,
        steps: Vec<Step>,
        check: Check,
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        let (at, crash_point) = (Arc::clone(&self.at), Arc::clone(&self.options.crash_point));
        let (reached, changed) = (Arc::clone(&crash_point), steps.iter().map(Step::rows).sum());
        let run = move |connection: &Connection| {
            let answers = run_steps(connection, &steps, check, &at)?;
            if let Some([before, _]) = points {
                crash_point(before);
            }
            Ok(answers)
        };
        let committed = move || {
            if let Some([_, behind]) = points {
                reached(behind);
            }
        };
        self.write(changed, run, committed).await
    }

    pub async fn page(&self, scope: Scope, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        self.read(move |connection| read::page(connection, &scope, limit)).await
    }

    pub async fn latest(&self, stream: &str, limit: usize) -> Result<Latest, StoreError> {
        let stream = stream.to_owned();
        self.read(move |connection| read::latest(connection, &stream, limit)).await
    }
}

fn run_steps(
    connection: &Connection,
    steps: &[Step],
    check: Check,
    at: &Arc<str>,
) -> Result<Vec<Vec<Row>>, StoreError> {
    let mut answers = Vec::with_capacity(steps.len());
    for step in steps {
        let ran = match step {
            Step::One { sql, values } => rows(connection, &in_sqlite(sql), values, at),
            Step::Each(each) => run_each(connection, each, at),
        };
        answers.push(ran.map_err(|error| explain(at, &error))?);
    }
    check(&answers)?;
    Ok(answers)
}

fn run_each(connection: &Connection, each: &Each, at: &Arc<str>) -> rusqlite::Result<Vec<Row>> {
    let sql = in_sqlite(each.sqlite);
    let mut statement = connection.prepare_cached(&sql)?;
    let number = |nth: usize| format!("${nth}");
    for (nth, value) in (1..).zip(&each.values) {
        if let Some(index) = statement.parameter_index(&number(nth))? {
            statement.raw_bind_parameter(index, value)?;
        }
    }
    let mut places = Vec::with_capacity(each.columns.len());
    for nth in (each.values.len() + 1..).take(each.columns.len()) {
        places.push(statement.parameter_index(&number(nth))?);
    }
    let mut found = Vec::new();
    for row in 0..each.rows() {
        for (column, place) in each.columns.iter().zip(&places) {
            if let Some(place) = *place {
                statement.raw_bind_parameter(place, Cell { column, row })?;
            }
        }
        collect(&mut statement, &mut found, at)?;
    }
    Ok(found)
}

/// A row's value in a column.
struct Cell<'a> {
    column: &'a Column,
    row: usize,
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.column {
            Column::Ints(values) => ValueRef::Integer(values[self.row]),
            Column::OptionalInts(values) => values[self.row].map_or(ValueRef::Null, ValueRef::Integer),
            Column::Texts(values) => ValueRef::Text(values[self.row].as_bytes()),
            Column::Options(values) => {
                values[self.row].as_ref().map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes()))
            }
            Column::Bytes(values) => ValueRef::Blob(&values[self.row]),
            Column::Uuids(values) => ValueRef::Blob(values[self.row].as_bytes()),
        }))
    }
}

fn connect(path: &Path, options: &StoreOptions) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(options.lock_wait)?;
    set_wal(&connection, options.lock_wait)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // pages that several transactions change are carried from the log into the file once, with fewer waits for the disk
    connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
    Ok(connection)
}

/// SQLite asks no busy handler while it turns a new file to WAL (it holds a read lock by then): of several that open it
/// at once, all but one are refused right away.
fn set_wal(connection: &Connection, lock_wait: Duration) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && began.elapsed() < lock_wait => {
                thread::sleep(Duration::from_millis(5));
            }
            outcome => return outcome,
        }
    }
}

// --- opening ---------------------------------------------------------------------------------------------------------

#[derive(Clone)]
struct Writer {
    at: Arc<str>,
    options: StoreOptions,
}

impl Writer {
    fn open(&self, path: &Path) -> Result<Connection, StoreError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| StoreError::NoFolder {
                at: Arc::clone(&self.at),
                folder: folder.display().to_string().into(),
                cause: error.to_string().into(),
            })?;
        }
        let mut connection = connect(path, &self.options).map_err(|error| explain(&self.at, &error))?;
        // SQLite opens what it may not write for reading, and would say so only at the first append.
        if connection.is_readonly("main").is_ok_and(|readonly| readonly) {
            let cause = "its permissions or its disk allow no more".into();
            return Err(StoreError::ReadOnly { at: Arc::clone(&self.at), cause });
        }
        // by reading alone: who opens a store that is as it should be waits for no writer
        let is_up_to_date = is_up_to_date(&mut connection);
        connection.set_transaction_behavior(TransactionBehavior::Immediate);
        // ids of messages lie anywhere in their index: what a busy second changes is to fit
        connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(|error| explain(&self.at, &error))?;
        match is_up_to_date {
            true => self.check_writable(&mut connection)?,
            false => self.migrate(&mut connection)?,
        }
        Ok(connection)
    }

    /// What can only be read is told when it is opened, and not at the first append. Where somebody writes, it can be
    /// written.
    fn check_writable(&self, connection: &mut Connection) -> Result<(), StoreError> {
        let look = |connection: &mut Connection| {
            connection.busy_timeout(Duration::ZERO)?;
            let begun = connection.transaction().map(drop);
            connection.busy_timeout(self.options.lock_wait)?;
            begun
        };
        match look(connection) {
            Err(error) if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) => Err(explain(&self.at, &error)),
            _ => Ok(()),
        }
    }

    fn migrate(&self, connection: &mut Connection) -> Result<(), StoreError> {
        let runner = migrations::runner().set_grouped(true);
        let error = match runner.run(connection) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        // Another process may have made the tables between our look and our transaction: then a second look is content.
        match runner.run(connection) {
            Ok(_) => Ok(()),
            Err(_) => {
                let last = runner.get_last_applied_migration(connection).ok().flatten();
                Err(migration_failed(&self.at, &error, &runner, last.as_ref()))
            }
        }
    }
}

/// The schema's history is that of this program, step by step.
fn is_up_to_date(connection: &mut Connection) -> bool {
    let runner = migrations::runner();
    let steps = |steps: &[refinery::Migration]| {
        steps.iter().map(|step| (step.version(), step.name().to_owned(), step.checksum())).collect::<Vec<_>>()
    };
    runner.get_applied_migrations(connection).is_ok_and(|applied| steps(&applied) == steps(runner.get_migrations()))
}

// --- reading ------------------------------------------------------------------------------------------------------------

fn rows(connection: &Connection, sql: &str, values: &[Value], at: &Arc<str>) -> rusqlite::Result<Vec<Row>> {
    let (mut statement, mut found) = (prepared(connection, sql, values)?, Vec::new());
    collect(&mut statement, &mut found, at)?;
    Ok(found)
}

fn prepared<'a>(connection: &'a Connection, sql: &str, values: &[Value]) -> rusqlite::Result<CachedStatement<'a>> {
    let mut statement = connection.prepare_cached(sql)?;
    for (at, value) in values.iter().enumerate() {
        // by name: SQLite numbers `$n` in the order in which they first stand
        if let Some(index) = statement.parameter_index(&format!("${}", at + 1))? {
            statement.raw_bind_parameter(index, value)?;
        }
    }
    Ok(statement)
}

/// Runs what is bound, and adds its rows.
fn collect(statement: &mut rusqlite::Statement<'_>, found: &mut Vec<Row>, at: &Arc<str>) -> rusqlite::Result<()> {
    let columns = statement.column_count();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        found.push(row_of(row, columns, at)?);
    }
    Ok(())
}

fn row_of(row: &rusqlite::Row<'_>, columns: usize, at: &Arc<str>) -> rusqlite::Result<Row> {
    let value = |column| {
        Ok(match row.get_ref(column)? {
            ValueRef::Integer(int) => Value::Int(int),
            ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Value::Bytes(bytes.to_owned()),
            ValueRef::Null | ValueRef::Real(_) => Value::Null,
        })
    };
    let values = (0..columns).map(value).collect::<rusqlite::Result<_>>()?;
    Ok(Row { values, at: Arc::clone(at) })
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Int(int) => ValueRef::Integer(*int),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
            Value::Uuid(id) => ValueRef::Blob(id.as_bytes()),
            Value::Null => ValueRef::Null,
        }))
    }
}

// --- trouble ------------------------------------------------------------------------------------------------------------

fn is_sync(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_FSYNC)
}

fn explain(at: &Arc<str>, error: &rusqlite::Error) -> StoreError {
    // the cause under an SQLite error says the same once more
    let (at, cause) = (Arc::clone(at), Arc::from(error.to_string()));
    match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreError::ReadOnly { at, cause },
        Some(ErrorCode::DiskFull) => StoreError::DiskFull { at, cause },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked { at, cause },
        // a commit whose sync failed may still be found after a crash
        Some(ErrorCode::SystemIoFailure) if is_sync(error) => StoreError::Unknown { at, cause },
        Some(ErrorCode::SystemIoFailure) => StoreError::Disk { at, cause },
        Some(ErrorCode::CannotOpen) => StoreError::CannotOpen { at, cause },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged { at, cause },
        _ => match error {
            rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..) => {
                StoreError::Damaged { at, cause }
            }
            _ => StoreError::Database { at, cause },
        },
    }
}

fn migration_failed(
    at: &Arc<str>,
    error: &refinery::Error,
    runner: &refinery::Runner,
    last: Option<&refinery::Migration>,
) -> StoreError {
    let database = match error.kind() {
        refinery::error::Kind::Connection(_, cause) => cause.downcast_ref().map(|error| explain(at, error)),
        _ => None,
    };
    match database {
        None | Some(StoreError::Database { .. }) => super::error::schema(at, error, runner, last),
        Some(trouble) => trouble,
    }
}
