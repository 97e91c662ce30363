//! Statements for both databases, and transactions of several.
//!
//! What is not hot (leases, checkpoints, snapshots, heads) is one text. What handles a batch ([`Each`]) is two, side by side,
//! because the shape decides the speed: SQLite runs a prepared statement per row on the writer's thread (no hop between
//! threads), PostgreSQL one statement that takes the columns as arrays (no way there and back per row).
//!
//! Both understand `$1`, `ON CONFLICT .. DO UPDATE` with `excluded`, and `RETURNING`. What they spell differently:
//!
//! | here | SQLite | PostgreSQL |
//! |---|---|---|
//! | `now_ms()` | `unixepoch('subsec')` | `clock_timestamp()` |
//! | `FOR SHARE` | nothing: there is one writer | a lock on the row |
//! | `FOR UPDATE SKIP LOCKED` | nothing, too | rows that somebody else is just taking are passed by |

use std::sync::Arc;

use uuid::Uuid;

use super::{StoreError, postgres::Postgres, sqlite::Sqlite};

pub(super) enum Database {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// Reads run beside the writer; writes wait for their turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// A parameter or a column: integers are bigint in both databases.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    Uuid(Uuid),
    Null,
}

/// The values of one column, a row each.
#[derive(Clone, Debug)]
pub(super) enum Column {
    Ints(Vec<i64>),
    OptionalInts(Vec<Option<i64>>),
    Texts(Vec<String>),
    /// With rows that have none.
    Options(Vec<Option<String>>),
    Bytes(Vec<Vec<u8>>),
    Uuids(Vec<Uuid>),
}

/// One step of a transaction.
#[derive(Clone, Debug)]
pub(super) enum Step {
    One { sql: &'static str, values: Vec<Value> },
    Each(Each),
}

impl Step {
    /// How many rows it is about, as far as it says.
    pub fn rows(&self) -> usize {
        match self {
            Step::One { .. } => 1,
            Step::Each(each) => each.rows(),
        }
    }
}

/// The same for many rows. `$1` and so on are `values`, the numbers behind them the columns: one value of the row in
/// SQLite's text, the whole column in PostgreSQL's.
#[derive(Clone, Debug)]
pub(super) struct Each {
    pub sqlite: &'static str,
    pub postgres: &'static str,
    pub values: Vec<Value>,
    pub columns: Vec<Column>,
}

pub(super) type Decode<T> = fn(Row) -> Result<T, StoreError>;
/// Looks at what the steps have answered, before the commit: an error rolls back.
pub(super) type Check = Box<dyn FnOnce(&[Vec<Row>]) -> Result<(), StoreError> + Send>;
/// Where a process can be told to die: before the commit and behind it.
pub(super) type Points = [&'static str; 2];

impl Column {
    pub fn len(&self) -> usize {
        match self {
            Column::Ints(values) => values.len(),
            Column::OptionalInts(values) => values.len(),
            Column::Texts(values) => values.len(),
            Column::Options(values) => values.len(),
            Column::Bytes(values) => values.len(),
            Column::Uuids(values) => values.len(),
        }
    }
}

impl Each {
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, Column::len)
    }
}

pub(super) struct Row {
    pub values: Vec<Value>,
    pub at: Arc<str>,
}

impl Database {
    /// Runs one statement, in a transaction of its own.
    pub async fn rows(
        &self,
        access: Access,
        sql: &'static str,
        values: impl Into<Vec<Value>>,
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Database::Sqlite(database) => database.rows(access, in_sqlite(sql), values.into()).await,
            Database::Postgres(database) => database.rows(access, in_postgres(sql), values.into()).await,
        }
    }

    /// The same, for reading many (SQLite's text and PostgreSQL's): each row is decoded as it comes, and after so many bytes
    /// (by `size`) there is an end.
    pub async fn read<T: Send + 'static>(
        &self,
        [sqlite, postgres]: [&'static str; 2],
        values: Vec<Value>,
        decode: Decode<T>,
        size: fn(&T) -> usize,
    ) -> Result<Vec<T>, StoreError> {
        match self {
            Database::Sqlite(database) => database.decoded(in_sqlite(sqlite), values, decode, size).await,
            Database::Postgres(database) => database.decoded(&in_postgres(postgres), &values, decode, size).await,
        }
    }

    /// The first row, of a statement that answers with one or none.
    pub async fn row(
        &self,
        access: Access,
        sql: &'static str,
        values: impl Into<Vec<Value>>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(access, sql, values).await?.into_iter().next())
    }
}

impl Database {
    /// Reads, for many keys at once.
    pub async fn each(&self, each: Each) -> Result<Vec<Row>, StoreError> {
        match self {
            Database::Sqlite(database) => database.each(each).await,
            Database::Postgres(database) => database.each(each).await,
        }
    }

    /// Runs the steps in one transaction: all of them or none.
    ///
    /// # Errors
    /// What a step or `check` says; nothing is written then. [`StoreError::Unknown`] where the commit's answer was lost.
    pub async fn transaction(
        &self,
        points: Option<Points>,
        steps: Vec<Step>,
        check: Check,
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        match self {
            Database::Sqlite(database) => database.transaction(points, steps, check).await,
            Database::Postgres(database) => database.transaction(points, steps, check).await,
        }
    }
}

pub(super) fn in_sqlite(sql: &str) -> String {
    sql.replace("now_ms()", "CAST(unixepoch('subsec') * 1000 AS INTEGER)")
        .replace("FOR SHARE", "")
        .replace("FOR UPDATE SKIP LOCKED", "")
}

pub(super) fn in_postgres(sql: &str) -> String {
    // PostgreSQL keeps statistics, and knows no such hint
    sql.replace("now_ms()", "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)")
        .replace("INDEXED BY view_orders_user", "")
}

impl Row {
    pub fn int(&self, column: usize) -> Result<i64, StoreError> {
        match self.values.get(column) {
            Some(Value::Int(int)) => Ok(*int),
            other => Err(self.damaged(column, other)),
        }
    }

    pub fn count(&self, column: usize) -> Result<u64, StoreError> {
        let int = self.int(column)?;
        u64::try_from(int).map_err(|_| self.damaged(column, Some(&Value::Int(int))))
    }

    pub fn text(&self, column: usize) -> Result<&str, StoreError> {
        match self.values.get(column) {
            Some(Value::Text(text)) => Ok(text),
            other => Err(self.damaged(column, other)),
        }
    }

    pub fn bytes(&self, column: usize) -> Result<&[u8], StoreError> {
        match self.values.get(column) {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            other => Err(self.damaged(column, other)),
        }
    }

    pub fn optional_text(&self, column: usize) -> Result<Option<String>, StoreError> {
        match self.values.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.text(column).map(|text| Some(text.to_owned())),
        }
    }

    pub fn optional_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match self.values.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.int(column).map(Some),
        }
    }

    pub fn uuid(&self, column: usize) -> Result<Uuid, StoreError> {
        let uuid = match self.values.get(column) {
            Some(Value::Uuid(id)) => Some(*id),
            Some(Value::Bytes(bytes)) => Uuid::from_slice(bytes).ok(),
            _ => None,
        };
        uuid.ok_or_else(|| self.damaged(column, self.values.get(column)))
    }

    /// Takes it out: a large value is not copied.
    pub fn take_bytes(&mut self, column: usize) -> Result<Vec<u8>, StoreError> {
        match self.values.get_mut(column) {
            Some(Value::Bytes(bytes)) => Ok(std::mem::take(bytes)),
            other => {
                let other = other.cloned();
                Err(self.damaged(column, other.as_ref()))
            }
        }
    }

    /// Takes it out, as [`take_bytes`](Self::take_bytes).
    pub fn take_text(&mut self, column: usize) -> Result<String, StoreError> {
        match self.values.get_mut(column) {
            Some(Value::Text(text)) => Ok(std::mem::take(text)),
            other => {
                let other = other.cloned();
                Err(self.damaged(column, other.as_ref()))
            }
        }
    }

    pub fn take_optional_text(&mut self, column: usize) -> Result<Option<String>, StoreError> {
        match self.values.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.take_text(column).map(Some),
        }
    }

    /// Only somebody else's hand puts such a value there.
    fn damaged(&self, column: usize, value: Option<&Value>) -> StoreError {
        let cause = format!("column {column} of an answer has {value:?}");
        StoreError::Damaged { at: Arc::clone(&self.at), cause: cause.into() }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Value::Bytes(bytes.to_owned())
    }
}

impl From<Uuid> for Value {
    fn from(id: Uuid) -> Self {
        Value::Uuid(id)
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Self {
        Value::Int(int)
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Value::Int(bigint(count))
    }
}

/// Databases count in i64. No log has more events than that: what is above stands for "past the end".
pub(super) fn bigint(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
