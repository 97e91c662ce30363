//! Rows that handlers change beside their states, in the transaction of the inbox: counts, and what can be searched.
//!
//! What a batch changes is folded first: of ten thousand orders of one user the database sees one row. Notifications are in
//! `notifications.rs`.

use std::collections::BTreeMap;

use super::{
    Store, StoreError, notifications,
    sql::{Column, Each, Row, Step, Value},
};
use crate::patterns::{
    inbox::{Change, Document},
    search::Query,
};

/// How often something was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    pub name: String,
    pub key: String,
    pub count: i64,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentRow {
    pub id: String,
    pub time_ms: i64,
    /// As JSON; see [`crate::patterns::search::Found`].
    pub data: Vec<u8>,
}

// ORDER BY, here and below: two transactions that write the same keys in another order would wait for each other.
const COUNT: [&str; 2] = [
    "INSERT INTO counts (consumer_id, name, key, count) VALUES ($1, $2, $3, $4)
     ON CONFLICT (consumer_id, name, key) DO UPDATE SET count = counts.count + excluded.count",
    "INSERT INTO counts (consumer_id, name, key, count)
     SELECT $1, c.name, c.key, c.count FROM unnest($2::text[], $3::text[], $4::bigint[]) c (name, key, count)
     ORDER BY c.name, c.key
     ON CONFLICT (consumer_id, name, key) DO UPDATE SET count = counts.count + excluded.count",
];
const DOCUMENT: [&str; 2] = [
    "INSERT INTO documents (consumer_id, id, time_ms, words, data) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (consumer_id, id) DO UPDATE
     SET time_ms = excluded.time_ms, words = excluded.words, data = excluded.data",
    "INSERT INTO documents (consumer_id, id, time_ms, words, data)
     SELECT $1, d.id, d.time_ms, d.words, d.data
     FROM unnest($2::text[], $3::bigint[], $4::text[], $5::bytea[]) d (id, time_ms, words, data) ORDER BY d.id
     ON CONFLICT (consumer_id, id) DO UPDATE
     SET time_ms = excluded.time_ms, words = excluded.words, data = excluded.data",
];
const TOP: &str = "
    SELECT name, key, count FROM counts WHERE consumer_id = $1 AND name = $2 AND count <> 0
    ORDER BY count DESC, key LIMIT $3";
const SEARCH: [&str; 2] = [
    "SELECT d.id, d.time_ms, d.data FROM document_words w CROSS JOIN documents d ON d.seq = w.rowid
     WHERE document_words MATCH $2 AND d.consumer_id = $1 ORDER BY d.time_ms DESC, d.id DESC LIMIT $3",
    "SELECT id, time_ms, data FROM documents
     WHERE consumer_id = $1 AND lexemes @@ CAST(CAST($2 AS text) AS tsquery) ORDER BY time_ms DESC, id DESC LIMIT $3",
];
const FORGET: [&str; 4] = [
    "DELETE FROM inbox WHERE consumer_id = $1",
    "DELETE FROM counts WHERE consumer_id = $1",
    "DELETE FROM documents WHERE consumer_id = $1",
    "DELETE FROM states WHERE kind = $1",
];

/// The counts last: all writers share a few rows, which are held for the shortest time so.
pub(super) fn steps(consumer: &str, changes: Vec<Change>) -> Vec<Step> {
    let mut counts: BTreeMap<(&'static str, String), i64> = BTreeMap::new();
    let mut documents: BTreeMap<String, Document> = BTreeMap::new();
    let mut waiting = Vec::new();
    for change in changes {
        match change {
            Change::Count { name, key, by } => {
                let count = counts.entry((name, key)).or_default();
                *count = count.saturating_add(by);
            }
            Change::Document(document) => drop(documents.insert(document.id.clone(), document)),
            Change::Notify(notification) => waiting.push(notification),
        }
    }
    let mut steps = Vec::new();
    let mut add = |[sqlite, postgres]: [&'static str; 2], columns: Vec<Column>| {
        if columns.first().is_some_and(|column| column.len() > 0) {
            steps.push(Step::Each(Each { sqlite, postgres, values: vec![consumer.into()], columns }));
        }
    };
    add(DOCUMENT, texts(documents.into_values()));
    add(notifications::QUEUE, notifications::columns(waiting));
    let (keys, counts): (Vec<_>, Vec<_>) = counts.into_iter().unzip();
    let (names, keys) = keys.into_iter().map(|(name, key)| (name.to_owned(), key)).unzip();
    add(COUNT, vec![Column::Texts(names), Column::Texts(keys), Column::Ints(counts)]);
    steps
}

fn texts(documents: impl Iterator<Item = Document>) -> Vec<Column> {
    let mut rows = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for document in documents {
        rows.0.push(document.id);
        rows.1.push(document.time_ms);
        rows.2.push(document.words);
        rows.3.push(document.data);
    }
    vec![Column::Texts(rows.0), Column::Ints(rows.1), Column::Texts(rows.2), Column::Bytes(rows.3)]
}

impl Store {
    /// What a consumer has counted most under a name.
    pub async fn top_counts(&self, consumer: &str, name: &str, limit: usize) -> Result<Vec<Count>, StoreError> {
        let values = vec![consumer.into(), name.into(), (limit as u64).into()];
        self.database().read([TOP, TOP], values, count, |_| 0).await
    }

    /// What a consumer keeps that has all of these words, the newest first.
    pub async fn search(&self, consumer: &str, query: &Query, limit: usize) -> Result<Vec<DocumentRow>, StoreError> {
        let words = match self.is_sqlite() {
            true => fts5(query),
            false => tsquery(query),
        };
        let values: Vec<Value> = vec![consumer.into(), words.as_str().into(), (limit as u64).into()];
        self.database().read(SEARCH, values, document, |row| row.data.len()).await
    }

    /// Lets a consumer begin anew: its inbox, its counts, what can be searched of it, and the states of `kind`, all or
    /// nothing. Whatever it reads from then on takes effect again.
    pub async fn forget(&self, consumer: &str, kind: &str) -> Result<(), StoreError> {
        let [inbox, counts, documents, states] = FORGET;
        let one = |sql, value: &str| Step::One { sql, values: vec![value.into()] };
        let steps = vec![one(inbox, consumer), one(states, kind), one(documents, consumer), one(counts, consumer)];
        self.database().transaction(None, steps, Box::new(|_| Ok(()))).await.map(drop)
    }
}

/// SQLite's query: words in quotes, a blank between them says "and". A [`Query`] has no quote in its words.
fn fts5(query: &Query) -> String {
    let term = |term: &crate::patterns::search::Term| {
        format!("\"{}\"{}", term.word, if term.is_beginning { " *" } else { "" })
    };
    query.terms().iter().map(term).collect::<Vec<_>>().join(" ")
}

/// PostgreSQL's: lexemes as they are, past its parser.
fn tsquery(query: &Query) -> String {
    let term =
        |term: &crate::patterns::search::Term| format!("'{}'{}", term.word, if term.is_beginning { ":*" } else { "" });
    query.terms().iter().map(term).collect::<Vec<_>>().join(" & ")
}

fn count(mut row: Row) -> Result<Count, StoreError> {
    Ok(Count { name: row.take_text(0)?, key: row.take_text(1)?, count: row.int(2)? })
}

fn document(mut row: Row) -> Result<DocumentRow, StoreError> {
    Ok(DocumentRow { id: row.take_text(0)?, time_ms: row.int(1)?, data: row.take_bytes(2)? })
}
