//! PostgreSQL: a transaction that is held open in the middle of an append.

use super::*;
use crate::patterns::event_sourcing::ExpectedVersion::*;

/// Somebody at a prompt appends by hand, as `migrations/postgres` says one must: under the lock, and does not end it.
async fn append_by_hand(place: &Place, settings: &str) -> tokio_postgres::Client {
    let client = place.client().await;
    client.batch_execute(settings).await.unwrap();
    client.batch_execute(postgres::LOCK).await.unwrap();
    let by_hand =
        "INSERT INTO events SELECT coalesce(max(position), 0) + 1, 'by-hand', 1, gen_random_uuid(), 't', '', '', 0
                   FROM events";
    client.batch_execute(by_hand).await.unwrap();
    client
}

/// Waits until somebody waits for the lock.
async fn someone_waits(place: &Place) {
    let client = place.client().await;
    let waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                   AND objid = CAST(CAST('events' AS regclass) AS oid)";
    until("waiting append", async || client.query_opt(waiting, &[]).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn an_append_that_is_held_open_holds_the_next_and_nothing_is_skipped() {
    let place = Place::postgres().await;
    let store = place.open().await;
    store.append("s", NoStream, events(1)).await.unwrap();
    let held = append_by_hand(&place, "").await;
    let next = tokio::spawn({
        let store = store.clone();
        async move { store.append("s", Exact(1), events(1)).await }
    });
    someone_waits(&place).await;
    assert!(!next.is_finished());
    // a reader sees neither: the higher position does not overtake the lower one
    assert_eq!(store.read_all(1, 10).await.unwrap(), []);
    held.batch_execute("COMMIT").await.unwrap();
    assert_eq!(next.await.unwrap().unwrap().last_position, 3);
    let streams: Vec<_> = checked_log(&store).await.into_iter().map(|event| event.stream).collect();
    assert_eq!(streams, ["s", "by-hand", "s"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_holder_that_does_nothing_is_ended_and_appends_go_on() {
    let place = Place::postgres().await;
    let store = place.open().await;
    let _held = append_by_hand(&place, "SET idle_in_transaction_session_timeout = '300ms'").await;
    assert_eq!(store.append("s", NoStream, events(1)).await.unwrap().last_position, 1);
    assert_eq!(checked_log(&store).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_store_that_stops_in_an_append_is_overtaken_and_repeats_it_when_it_goes_on() {
    let place = Place::postgres().await;
    let store = place.open().await;
    let (reached, at_point) = std::sync::mpsc::channel();
    let (go, gone_on) = std::sync::mpsc::channel::<()>();
    let (reached, gone_on) = (std::sync::Mutex::new(reached), std::sync::Mutex::new(gone_on));
    let stop = move |point| {
        if point == "append.before-commit" {
            let _ = reached.lock().unwrap().send(());
            let _ = tokio::task::block_in_place(|| gone_on.lock().unwrap().recv());
        }
    };
    let options = StoreOptions {
        crash_point: Arc::new(stop),
        idle_in_transaction: Duration::from_millis(300),
        ..StoreOptions::default()
    };
    let stopped = Store::open_with(&place.url(), options).await.unwrap();
    let first = tokio::spawn(async move { stopped.append("s", NoStream, events(2)).await });
    tokio::task::spawn_blocking(move || at_point.recv()).await.unwrap().unwrap();
    assert_eq!(store.append("other", NoStream, events(1)).await.unwrap().last_position, 1);
    drop(go); // and at each later time it passes
    let late = first.await.unwrap().unwrap();
    assert_eq!(late, Appended { first_version: 1, last_version: 2, last_position: 3, duplicate: false });
    assert_eq!(checked_log(&store).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn whoever_waits_too_long_for_the_lock_is_told_who_is_in_the_way() {
    let place = Place::postgres().await;
    let options = StoreOptions { lock_wait: Duration::from_millis(200), ..StoreOptions::default() };
    let store = Store::open_with(&place.url(), options).await.unwrap();
    let held = append_by_hand(&place, "").await;
    let began = Instant::now();
    let refused = store.append("s", NoStream, events(1)).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(matches!(refused, Err(AppendError::Store(StoreError::Locked { .. }))), "{refused:?}");
    held.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(store.append("s", NoStream, events(1)).await.unwrap().last_position, 1);
}
