//! SQLite: what waits for the writer together shares a transaction.

use std::sync::mpsc;

use rusqlite::Connection;

use super::*;
use crate::{patterns::event_sourcing::ExpectedVersion::*, store::sqlite::Sqlite};

fn database(store: &Store) -> &Sqlite {
    let Database::Sqlite(database) = store.database() else { unreachable!() };
    database
}

/// Keeps the writer busy until it is dropped: what is asked for meanwhile waits, and is taken together.
async fn busy(database: &Sqlite) -> (mpsc::Sender<()>, impl Future<Output = Result<(), StoreError>> + '_) {
    let (end, ended) = mpsc::channel();
    let (begin, begun) = tokio::sync::oneshot::channel();
    let wait = move |_: &Connection| {
        begin.send(()).unwrap();
        let _ = ended.recv();
        Ok(())
    };
    let mut waiting = Box::pin(database.write(1, wait, || ()));
    tokio::select! {
        _ = begun => {}
        _ = &mut waiting => unreachable!(),
    }
    (end, waiting)
}

/// Asks for all of it while the writer is busy, so that it is taken together; gives what became of it.
async fn together<T>(database: &Sqlite, all: impl Future<Output = T>) -> T {
    let (end, wait) = busy(database).await;
    let mut all = Box::pin(all);
    assert!(futures::poll!(&mut all).is_pending());
    end.send(()).unwrap();
    wait.await.unwrap();
    all.await
}

fn insert(name: &'static str) -> impl FnOnce(&Connection) -> Result<(), StoreError> + Send {
    move |connection| {
        connection.execute("INSERT INTO checkpoints (name, position) VALUES (?1, 1)", [name]).unwrap();
        Ok(())
    }
}

/// As SQLite does when the disk is full: it rolls back more than the statement.
fn given_up(connection: &Connection) -> Result<(), StoreError> {
    connection.execute_batch("ROLLBACK").unwrap();
    Err(StoreError::DiskFull { at: "here".into(), cause: "full".into() })
}

#[tokio::test]
async fn one_that_fails_takes_nothing_of_the_others_away() {
    let place = Place::sqlite();
    let store = place.open().await;
    let fails = |connection: &Connection| {
        insert("fails")(connection)?;
        Err::<(), _>(StoreError::LeaseLost { name: "its own".into() })
    };
    let (first, failed, last) = (insert("first"), fails, insert("last"));
    let database = database(&store);
    let all = async {
        tokio::join!(
            database.write(1, first, || ()),
            store.append("s", NoStream, events(1)),
            database.write(1, failed, || ()),
            store.append("s", Exact(7), events(1)),
            database.write(1, last, || ()),
        )
    };
    let (first, appended, failed, refused, last) = together(database, all).await;
    assert_eq!((first.is_ok(), appended.is_ok(), last.is_ok()), (true, true, true));
    assert!(matches!(failed, Err(StoreError::LeaseLost { .. })), "{failed:?}");
    assert!(matches!(refused, Err(AppendError::Conflict { .. })), "{refused:?}");
    let found = [store.checkpoint("first").await, store.checkpoint("fails").await, store.checkpoint("last").await];
    assert_eq!(found.map(Result::unwrap), [1, 0, 1]);
    assert_eq!(checked_log(&store).await.len(), 1);
}

/// Nobody is told that something of it stays.
#[tokio::test]
async fn a_transaction_that_the_database_gives_up_is_nobodys() {
    let place = Place::sqlite();
    let store = place.open().await;
    let database = database(&store);
    let all = async {
        tokio::join!(
            database.write(1, insert("first"), || panic!("not committed")),
            database.write(1, given_up, || ()),
            store.append("s", NoStream, events(1)),
        )
    };
    let (first, failed, appended) = together(database, all).await;
    assert!(matches!(first, Err(StoreError::DiskFull { .. })), "{first:?}");
    assert!(matches!(failed, Err(StoreError::DiskFull { .. })), "{failed:?}");
    assert!(matches!(appended, Err(AppendError::Store(StoreError::DiskFull { .. }))), "{appended:?}");
    assert_eq!(store.checkpoint("first").await.unwrap(), 0);
    // and the next one finds all as it should be
    store.append("s", NoStream, events(1)).await.unwrap();
    assert_eq!(checked_log(&store).await.len(), 1);
}

/// A commit is a wait for the disk: that many fewer is what sharing is for.
#[tokio::test]
async fn what_waits_together_is_one_transaction() {
    let place = Place::sqlite();
    let store = place.open().await;
    let database = database(&store);
    let before = commits(&place);
    let all = async {
        tokio::join!(
            database.write(1, insert("one"), || ()),
            store.append("s", NoStream, events(1)),
            database.write(1, insert("two"), || ()),
            store.append("t", NoStream, events(1)),
        )
    };
    let (one, appended, two, also) = together(database, all).await;
    assert_eq!((one.is_ok(), appended.is_ok(), two.is_ok(), also.is_ok()), (true, true, true, true));
    // what kept the writer busy has changed nothing
    assert_eq!(commits(&place) - before, 1);
}

/// It would be copied for its savepoint; so it is alone, and what happens to it is its own.
#[tokio::test]
async fn what_changes_many_rows_has_a_transaction_of_its_own() {
    let place = Place::sqlite();
    let store = place.open().await;
    let database = database(&store);
    let all = async {
        tokio::join!(
            database.write(1, insert("first"), || ()),
            database.write(100, given_up, || panic!("not committed")),
            store.append("s", NoStream, events(100)),
            database.write(1, insert("last"), || ()),
        )
    };
    let before = commits(&place);
    let (first, failed, appended, last) = together(database, all).await;
    assert_eq!((first.is_ok(), appended.is_ok(), last.is_ok()), (true, true, true));
    assert!(matches!(failed, Err(StoreError::DiskFull { .. })), "{failed:?}");
    assert_eq!(commits(&place) - before, 2, "the small ones together, and the appended events");
}

/// Frames of the log that end a transaction (sqlite.org/fileformat2.html, section 4.1: the size behind a commit, or 0).
fn commits(place: &Place) -> usize {
    let log = std::fs::read(format!("{}-wal", place.url().path().unwrap().display())).unwrap();
    log[32..].chunks_exact(24 + 4096).filter(|frame| frame[4..8] != [0; 4]).count()
}
