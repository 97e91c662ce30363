//! What a store promises, on SQLite always and on PostgreSQL where `KAFKALAB_TEST_POSTGRES` names one.

mod crash;
mod held;
mod lease;
mod log;
mod outbox;
mod races;
mod shared;
mod trouble;

use std::{
    fmt::Debug,
    future::Future,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio_postgres::NoTls;
use uuid::Uuid;

use super::*;
use crate::patterns::event_sourcing::NewEvent;

/// A place for a store that no other test has; gone when dropped.
pub(super) enum Place {
    Folder(PathBuf),
    Schema { server: String, name: String },
}

impl Place {
    pub fn sqlite() -> Self {
        let folder = std::env::temp_dir().join(format!("kafkalab-store-{}", Uuid::new_v4().simple()));
        // a child has its parent's place, and would leave its own behind when it is killed
        if in_child().is_none() {
            std::fs::create_dir(&folder).unwrap();
        }
        Place::Folder(folder)
    }

    pub async fn postgres() -> Self {
        let server = std::env::var("KAFKALAB_TEST_POSTGRES").unwrap_or_default();
        assert!(
            !server.is_empty(),
            "this test needs PostgreSQL: set KAFKALAB_TEST_POSTGRES (`just test-postgres` does)"
        );
        let place = Place::Schema { server, name: format!("test_{}", Uuid::new_v4().simple()) };
        let Place::Schema { name, .. } = &place else { unreachable!() };
        if in_child().is_some() {
            return place;
        }
        place.client().await.batch_execute(&format!("CREATE SCHEMA {name}")).await.unwrap();
        place
    }

    pub fn text(&self) -> String {
        match self {
            Place::Folder(folder) => format!("sqlite:{}", folder.join("store.db").display()),
            Place::Schema { server, name } => format!("{server}?options=-csearch_path%3D{name}"),
        }
    }

    pub fn url(&self) -> StoreUrl {
        self.text().parse().unwrap()
    }

    pub async fn open(&self) -> Store {
        Store::open(&self.url()).await.unwrap()
    }

    /// A connection that is not the store's: somebody at a prompt.
    pub async fn client(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.text(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match self {
            Place::Folder(folder) => drop(std::fs::remove_dir_all(folder)),
            Place::Schema { server, name } => {
                let drop = format!("DROP SCHEMA {name} CASCADE");
                let _ = Command::new("psql").args(["-qX", "-c", &drop, server]).stderr(Stdio::null()).status(); // none in a child
            }
        }
    }
}

/// Makes of each named case a test on SQLite and one on PostgreSQL.
macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(&crate::store::tests::Place::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs PostgreSQL"]
            async fn $case() {
                super::$case(&crate::store::tests::Place::postgres().await).await;
            })*
        }
    };
}
pub(super) use on_both;

pub(super) fn event(data: impl Into<Vec<u8>>) -> NewEvent {
    NewEvent { id: Uuid::now_v7(), event_type: "test.v1.Noted".into(), data: data.into(), metadata: b"{}".to_vec() }
}

pub(super) fn events(count: usize) -> Vec<NewEvent> {
    (0..count).map(|at| event(at.to_string())).collect()
}

/// Waits until the question is answered with something.
#[track_caller]
pub(super) fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> impl Future<Output = T> {
    let began = Instant::now();
    async move {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "no {what} in 30 s");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The test that calls this, once more in a process of its own, where [`in_child`] says what it was given.
pub(super) fn child(given: &str, wrap: &[&str]) -> Command {
    let test = std::thread::current().name().expect("a test's thread has its name").to_owned();
    let exe = std::env::current_exe().unwrap();
    let (program, arguments) = wrap.split_first().map_or((exe.as_os_str(), wrap), |(head, rest)| (head.as_ref(), rest));
    let mut command = Command::new(program);
    command.args(arguments);
    if !wrap.is_empty() {
        command.arg(&exe);
    }
    command.args([&test, "--exact", "--nocapture", "--include-ignored"]).env("KAFKALAB_STORE_CHILD", given);
    command.stdout(Stdio::piped());
    command
}

pub(super) fn in_child() -> Option<String> {
    std::env::var("KAFKALAB_STORE_CHILD").ok()
}

/// A child that is killed with the test.
pub(super) struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything in the log, after checking what always holds: positions without a gap from 1, versions without a gap in
/// each stream from 1, the same events in the streams as in the log.
pub(super) async fn checked_log(store: &Store) -> Vec<crate::patterns::event_sourcing::RecordedEvent> {
    let (mut all, mut pages) = (Vec::new(), store.all_pages(0).of(100));
    loop {
        let page = pages.next().await.unwrap();
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    let mut heads = std::collections::BTreeMap::new();
    for (at, event) in all.iter().enumerate() {
        assert_eq!(event.position, at as u64 + 1, "a gap in the positions");
        let head = heads.entry(event.stream.clone()).or_insert(0);
        *head += 1;
        assert_eq!(event.version, *head, "a gap in the versions of {}", event.stream);
    }
    assert_eq!(store.head().await.unwrap(), all.len() as u64);
    for (stream, head) in &heads {
        assert_eq!(store.stream_version(stream).await.unwrap(), *head);
    }
    all
}

#[track_caller]
pub(super) fn conflict<T: Debug>(outcome: Result<T, AppendError>) -> u64 {
    match outcome {
        Err(AppendError::Conflict { wrong, .. }) => wrong.actual,
        other => panic!("no conflict: {other:?}"),
    }
}
