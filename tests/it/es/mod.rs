//! Event sourcing by the real program: its log is read with SQL, its topics with kcat.
//!
//! The store is SQLite, or a schema of its own on the PostgreSQL that `KAFKALAB_TEST_POSTGRES` names.

pub mod brokers;
mod crash;
pub mod judge;
mod pipes;
mod races;
mod replay;
mod transcript;
mod trouble;
mod unreadable;
mod wrong;

use std::{process::Command, time::Duration};

use kafkalab::{
    app::{Store, event_sourcing::Orders, order::OrderCommand},
    store::StoreUrl,
};

use rustix::process::Signal;

use crate::{
    bytes::files::Folder,
    harness::{Program, kafkalab, topic},
    process::Running,
};

/// A place for a store that no other test has; gone when dropped. Its topics have a prefix of their own.
pub struct Place {
    folder: Folder,
    schema: Option<Schema>,
    pub prefix: String,
}

struct Schema {
    server: String,
    name: String,
}

impl Place {
    /// On the database under test.
    pub fn new(word: &str) -> Self {
        match std::env::var("KAFKALAB_TEST_POSTGRES").ok().filter(|server| !server.is_empty()) {
            Some(server) => Self::on(word, &server),
            None => Self::sqlite(word),
        }
    }

    /// On that PostgreSQL.
    pub fn on(word: &str, server: &str) -> Self {
        let name = topic("test").replace('-', "_");
        psql(server, &format!("CREATE SCHEMA {name}"));
        let mut place = Self::sqlite(word);
        place.schema = Some(Schema { server: server.to_owned(), name });
        place
    }

    pub fn sqlite(word: &str) -> Self {
        Self { folder: Folder::new(word), schema: None, prefix: format!("{}-", topic(word)) }
    }

    pub fn is_postgres(&self) -> bool {
        self.schema.is_some()
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.folder.0.join("store.db")
    }

    pub fn url(&self) -> String {
        match &self.schema {
            Some(Schema { server, name }) => format!("{server}?options=-csearch_path%3D{name}"),
            None => format!("sqlite:{}", self.path().display()),
        }
    }

    /// The URL as the program shows it.
    pub fn shown(&self) -> String {
        self.url().parse::<StoreUrl>().expect("a store's URL").to_string()
    }

    pub fn topic(&self, word: &str) -> String {
        format!("{}{word}", self.prefix)
    }

    /// `kafkalab es ARGUMENTS` here, by an actor of the tests.
    pub fn es(&self, arguments: &[&str]) -> Program {
        self.pattern("es", arguments)
    }

    /// The same of any pattern.
    pub fn pattern(&self, name: &str, arguments: &[&str]) -> Program {
        let program = kafkalab([name]).arguments(arguments);
        program.env("KAFKALAB_STORE", &self.url()).env("KAFKALAB_TOPIC_PREFIX", &self.prefix).env("USER", "tester")
    }

    /// The same, which must succeed, with a line as its outcome.
    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> String {
        self.es(arguments).arguments(["-q"]).run().ok().text().trim_end().to_owned()
    }

    /// What a statement answers, as text, and NULL as nothing.
    pub fn sql(&self, statement: &str) -> Vec<Vec<String>> {
        match &self.schema {
            Some(Schema { server, name }) => {
                let answer = psql(server, &format!("SET search_path = {name}; {statement}"));
                answer.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
            }
            None => {
                let database = rusqlite::Connection::open(self.path()).expect("the store's file");
                let mut statement = database.prepare(statement).expect("a statement");
                let columns = statement.column_count();
                let row = |row: &rusqlite::Row<'_>| {
                    (0..columns).map(|column| row.get_ref(column).map(shown)).collect::<Result<Vec<_>, _>>()
                };
                statement.query_map([], row).expect("rows").map(|row| row.expect("a row")).collect()
            }
        }
    }

    /// A statement that is there in both dialects but for bytes: `x'..'` as `BYTES(..)`.
    pub fn bytes(&self, text: &str) -> String {
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        if self.schema.is_some() { format!("decode('{hex}', 'hex')") } else { format!("x'{hex}'") }
    }

    /// An event written past the program, as a newer one would write it.
    pub fn insert(&self, stream: &str, version: u64, event_type: &str, data: &str) {
        let id = uuid::Uuid::now_v7();
        let id = if self.schema.is_some() { format!("'{id}'") } else { format!("x'{}'", id.simple()) };
        let (data, metadata) = (self.bytes(data), self.bytes(r#"{"actor":"newer"}"#));
        self.sql(&format!(
            "INSERT INTO events SELECT coalesce(max(position), 0) + 1, '{stream}', {version}, {id}, '{event_type}', \
             {data}, {metadata}, 1769846400000 FROM events WHERE true RETURNING position"
        ));
    }

    /// SIGSTOP. SQLite has one lock, and no server that takes it from somebody who sleeps with it: then nobody writes until
    /// that one goes on. PostgreSQL ends such a transaction.
    pub fn stop(&self, running: &Running) {
        loop {
            running.stop();
            if self.is_postgres() {
                return;
            }
            let file = rusqlite::Connection::open(self.path()).expect("the store's file");
            file.busy_timeout(Duration::from_secs(2)).expect("a time-out");
            match file.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
                Ok(()) => return,
                Err(_) => running.signal(Signal::CONT),
            }
        }
    }

    /// Orders by the library: many in a moment.
    pub fn handle(&self, commands: Vec<OrderCommand>) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let orders = Orders::new(Store::open(&self.url().parse().expect("a URL")).await.expect("the store"));
            for command in commands {
                orders.handle(&command, "tester", None).await.expect("a command that is taken");
            }
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(Schema { server, name }) = &self.schema {
            psql(server, &format!("DROP SCHEMA {name} CASCADE"));
        }
    }
}

fn psql(server: &str, statement: &str) -> String {
    let arguments = ["-qXAt", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", statement, server];
    let ended = Command::new("psql").args(arguments).env("PGOPTIONS", "-c client_min_messages=warning").output();
    let ended = ended.expect("psql");
    assert!(ended.status.success() || std::thread::panicking(), "{statement}: {ended:?}");
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

fn shown(value: rusqlite::types::ValueRef<'_>) -> String {
    use rusqlite::types::ValueRef::{Blob, Integer, Null, Real, Text};
    match value {
        Integer(number) => number.to_string(),
        Text(text) | Blob(text) => String::from_utf8_lossy(text).into_owned(),
        Null | Real(_) => String::new(),
    }
}
