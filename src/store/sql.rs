//! Small statements, written once for both databases: what is not hot (leases, checkpoints, snapshots, heads).
//!
//! Both understand `$1`, `ON CONFLICT .. DO UPDATE` with `excluded`, and `RETURNING`. What they spell differently:
//!
//! | here | SQLite | PostgreSQL |
//! |---|---|---|
//! | `now_ms()` | `unixepoch('subsec')` | `clock_timestamp()` |
//! | `FOR SHARE` | nothing: there is one writer | a lock on the row |

use std::sync::Arc;

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
    Null,
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

fn in_sqlite(sql: &str) -> String {
    sql.replace("now_ms()", "CAST(unixepoch('subsec') * 1000 AS INTEGER)").replace("FOR SHARE", "")
}

fn in_postgres(sql: &str) -> String {
    sql.replace("now_ms()", "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)")
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
