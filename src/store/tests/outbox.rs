//! The outbox and the inbox, on both databases.

use std::{collections::HashSet, time::Duration};

use uuid::Uuid;

use super::{super::*, Place, event, events, on_both};
use crate::patterns::{
    event_sourcing::ExpectedVersion::{Any, Exact, NoStream},
    inbox::Entity,
    outbox::NewMessage,
};

on_both!(
    a_message_is_there_with_its_event_or_not_at_all,
    rows_wait_in_order_until_they_are_marked,
    only_the_holder_of_the_lease_marks,
    a_parked_row_holds_its_aggregate_until_somebody_retries_it,
    a_row_that_is_to_be_tried_again_holds_its_aggregate_until_its_time,
    a_discarded_row_lets_its_aggregate_go,
    rows_by_hand_are_found_and_what_is_deleted_by_hand_is_not,
    a_store_of_before_keeps_what_became_of_its_rows,
    a_batch_takes_effect_once,
    an_id_with_a_nul_byte_is_refused_whole,
    a_state_that_somebody_has_changed_is_a_conflict,
    whoever_waits_for_the_outbox_is_woken,
    a_state_is_due_at_its_time,
    what_is_old_is_purged,
    relays_that_are_alive_know_each_other,
);

fn message(aggregate: &str) -> NewMessage {
    NewMessage {
        id: Uuid::now_v7(),
        aggregate_type: "order".into(),
        aggregate_id: aggregate.into(),
        event_type: "orders.v1.OrderCreated".into(),
        payload: b"{}".to_vec(),
        topic: Some("orders".into()),
        headers: "{}".into(),
    }
}

async fn put(store: &Store, messages: &[NewMessage]) {
    for message in messages {
        let stream = format!("order-{}", message.aggregate_id);
        store.append_with(&stream, Any, events(1), vec![message.clone()]).await.unwrap();
    }
}

async fn lease(store: &Store, shard: u64) -> Lease {
    store.acquire(&format!("outbox-{shard}"), "me", Duration::from_secs(60)).await.unwrap().unwrap()
}

async fn waiting(store: &Store, shard: u64) -> Vec<Uuid> {
    store.outbox_waiting(shard, 100).await.unwrap().iter().filter(|row| !row.is_blocked).map(|row| row.row.id).collect()
}

async fn seq_of(store: &Store, message: &NewMessage) -> i64 {
    store.outbox_row(message.id).await.unwrap().unwrap().seq
}

async fn a_message_is_there_with_its_event_or_not_at_all(place: &Place) {
    let store = place.open().await;
    let (first, second) = (message("a"), message("a"));
    let made = vec![event("1")];
    store.append_with("order-a", NoStream, made.clone(), vec![first.clone()]).await.unwrap();
    // refused: no message either
    store.append_with("order-a", NoStream, events(1), vec![second.clone()]).await.unwrap_err();
    // a repeat adds none
    assert!(store.append_with("order-a", Exact(1), made, vec![second]).await.unwrap().duplicate);
    assert_eq!(waiting(&store, first.shard()).await, [first.id]);
    assert_eq!(store.outbox_busy().await.unwrap(), [first.shard()]);
    let depth = store.outbox_depth().await.unwrap();
    assert_eq!((depth.waiting, depth.published, depth.parked), (1, 0, 0));
}

async fn rows_wait_in_order_until_they_are_marked(place: &Place) {
    let store = place.open().await;
    let all: Vec<NewMessage> = (0..5).map(|_| message("a")).collect();
    put(&store, &all).await;
    let shard = all[0].shard();
    let ids: Vec<Uuid> = all.iter().map(|message| message.id).collect();
    assert_eq!(waiting(&store, shard).await, ids);
    let held = lease(&store, shard).await;
    let published = vec![seq_of(&store, &all[0]).await, seq_of(&store, &all[2]).await];
    store.outbox_mark(shard, Marks { published, ..Marks::default() }, &held).await.unwrap();
    assert_eq!(waiting(&store, shard).await, [ids[1], ids[3], ids[4]]);
    let row = store.outbox_row(ids[2]).await.unwrap().unwrap();
    assert_eq!(row.status, Status::Published);
    let listed = store.outbox_list(Status::Published, (0, 0), 10).await.unwrap();
    assert_eq!(listed.iter().map(|row| row.row.id).collect::<Vec<_>>(), [ids[0], ids[2]]);
}

async fn only_the_holder_of_the_lease_marks(place: &Place) {
    let store = place.open().await;
    let one = message("a");
    put(&store, std::slice::from_ref(&one)).await;
    let old = lease(&store, one.shard()).await;
    store.release(&old).await.unwrap();
    let new = lease(&store, one.shard()).await;
    let marks = Marks { published: vec![seq_of(&store, &one).await], ..Marks::default() };
    let refused = store.outbox_mark(one.shard(), marks.clone(), &old).await.unwrap_err();
    assert!(matches!(refused, StoreError::LeaseLost { .. }), "{refused}");
    assert_eq!(waiting(&store, one.shard()).await, [one.id]);
    store.outbox_mark(one.shard(), marks, &new).await.unwrap();
    assert!(waiting(&store, one.shard()).await.is_empty());
}

/// Three rows of one aggregate, and one of another in the same shard.
async fn four(store: &Store) -> (u64, Vec<NewMessage>) {
    let mut all = vec![message("a"), message("a"), message("a")];
    let shard = all[0].shard();
    let other = (0..).map(|n| format!("b{n}")).find(|id| outbox_shard(id) == shard).unwrap();
    all.push(message(&other));
    put(store, &all).await;
    (shard, all)
}

fn outbox_shard(id: &str) -> u64 {
    crate::patterns::outbox::shard_of(id)
}

async fn set_aside(store: &Store, shard: u64, seq: i64, again: Option<Duration>, lease: &Lease) {
    let aside = SetAside { seq, reason: "too large".into(), again };
    store.outbox_mark(shard, Marks { set_aside: vec![aside], ..Marks::default() }, lease).await.unwrap();
}

/// As a relay does: what is blocked is held.
async fn hold(store: &Store, shard: u64, lease: &Lease) {
    let rows = store.outbox_waiting(shard, 100).await.unwrap();
    let held = rows.iter().filter(|row| row.is_blocked).map(|row| row.seq).collect();
    store.outbox_mark(shard, Marks { held, ..Marks::default() }, lease).await.unwrap();
}

async fn a_parked_row_holds_its_aggregate_until_somebody_retries_it(place: &Place) {
    let store = place.open().await;
    let (shard, all) = four(&store).await;
    let held = lease(&store, shard).await;
    set_aside(&store, shard, seq_of(&store, &all[0]).await, None, &held).await;
    assert_eq!(waiting(&store, shard).await, [all[3].id]);
    hold(&store, shard, &held).await;
    assert_eq!(store.outbox_unpublished().await.unwrap(), (1, 1, 2));
    let parked = store.outbox_list(Status::Parked, (0, 0), 10).await.unwrap();
    assert_eq!((parked[0].row.id, parked[0].attempts, parked[0].reason.as_deref()), (all[0].id, 1, Some("too large")));
    assert_eq!(store.outbox_unblock().await.unwrap(), None, "nothing goes by itself");
    assert!(store.outbox_retry(&parked[0]).await.unwrap());
    assert!(!store.outbox_retry(&parked[0]).await.unwrap());
    assert_eq!(waiting(&store, shard).await, all.iter().map(|message| message.id).collect::<Vec<_>>());
}

async fn a_row_that_is_to_be_tried_again_holds_its_aggregate_until_its_time(place: &Place) {
    let store = place.open().await;
    let (shard, all) = four(&store).await;
    let held = lease(&store, shard).await;
    set_aside(&store, shard, seq_of(&store, &all[0]).await, Some(Duration::from_millis(300)), &held).await;
    hold(&store, shard, &held).await;
    assert_eq!(waiting(&store, shard).await, [all[3].id]);
    let left = store.outbox_unblock().await.unwrap().unwrap();
    assert!(left <= Duration::from_millis(300), "{left:?}");
    let gone = super::until("time", || async { store.outbox_unblock().await.unwrap().is_none().then_some(()) });
    gone.await;
    assert_eq!(waiting(&store, shard).await, all.iter().map(|message| message.id).collect::<Vec<_>>());
    assert_eq!(store.outbox_row(all[0].id).await.unwrap().unwrap().attempts, 1);
}

async fn a_discarded_row_lets_its_aggregate_go(place: &Place) {
    let store = place.open().await;
    let (shard, all) = four(&store).await;
    let held = lease(&store, shard).await;
    set_aside(&store, shard, seq_of(&store, &all[0]).await, None, &held).await;
    hold(&store, shard, &held).await;
    let row = store.outbox_row(all[0].id).await.unwrap().unwrap();
    assert!(store.outbox_discard(&row).await.unwrap());
    assert_eq!(waiting(&store, shard).await, all[1..].iter().map(|message| message.id).collect::<Vec<_>>());
}

/// At a prompt; bytes are written `x'..'`, as SQLite has them.
async fn by_hand(place: &Place, sql: &str) {
    match place {
        Place::Folder(folder) => {
            rusqlite::Connection::open(folder.join("store.db")).unwrap().execute_batch(sql).unwrap();
        }
        Place::Schema { .. } => place.client().await.batch_execute(&sql.replace("x'", "'\\x")).await.unwrap(),
    }
}

async fn rows_by_hand_are_found_and_what_is_deleted_by_hand_is_not(place: &Place) {
    let store = place.open().await;
    let id = match place {
        Place::Folder(_) => "x'0198c5a2d3e47f00a1b2c3d4e5f60718'",
        Place::Schema { .. } => "'0198c5a2-d3e4-7f00-a1b2-c3d4e5f60718'",
    };
    let sql = "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload) VALUES";
    by_hand(place, &format!("{sql} ({id}, 'order', '7', 'orders.v1.OrderCreated', x'7b7d')")).await;
    let rows = store.outbox_waiting(0, 10).await.unwrap();
    let row = &rows[0].row;
    assert_eq!(row.id.to_string(), "0198c5a2-d3e4-7f00-a1b2-c3d4e5f60718");
    assert_eq!((row.payload.as_slice(), &row.topic, &row.headers), (&b"{}"[..], &None, &None));
    assert!(row.created_at_ms > 1_700_000_000_000);
    let letter = row.letter().unwrap();
    assert_eq!(letter.topic, "orders");
    by_hand(place, "DELETE FROM outbox").await;
    assert!(store.outbox_busy().await.unwrap().is_empty());
    assert_eq!(store.outbox_unpublished().await.unwrap(), (0, 0, 0));
}

/// Rows of each status, as the second version of the tables had them.
async fn a_store_of_before_keeps_what_became_of_its_rows(place: &Place) {
    let target = refinery::Target::Version(2);
    match place {
        Place::Folder(folder) => {
            let mut file = rusqlite::Connection::open(folder.join("store.db")).unwrap();
            super::super::sqlite::migrations::runner().set_target(target).run(&mut file).unwrap();
        }
        Place::Schema { .. } => {
            let mut client = place.client().await;
            super::super::postgres::migrations::runner().set_target(target).run_async(&mut client).await.unwrap();
        }
    }
    let ids: Vec<Uuid> = (0..5).map(|_| Uuid::now_v7()).collect();
    for (status, id) in ids.iter().enumerate() {
        let id = match place {
            Place::Folder(_) => format!("x'{}'", id.simple()),
            Place::Schema { .. } => format!("'{id}'"),
        };
        let columns = "shard, id, aggregatetype, aggregateid, type, payload, status, attempts, reason";
        let reason = if status == 2 { "'too large'" } else { "NULL" };
        let values =
            format!("3, {id}, 'order', 'a{status}', 'orders.v1.OrderCreated', x'7b7d', {status}, {status}, {reason}");
        by_hand(place, &format!("INSERT INTO outbox ({columns}) VALUES ({values})")).await;
    }
    let store = place.open().await;
    for (at, status) in Status::ALL.into_iter().enumerate() {
        let listed = store.outbox_list(status, (0, 0), 10).await.unwrap();
        assert_eq!(listed.iter().map(|row| row.row.id).collect::<Vec<_>>(), [ids[at]], "{status:?}");
        // what is published was no trouble
        let tries = if status == Status::Published { 0 } else { at as u64 };
        let reason = (status == Status::Parked).then_some("too large");
        assert_eq!((listed[0].attempts, listed[0].reason.as_deref()), (tries, reason), "{status:?}");
    }
    assert_eq!(waiting(&store, 3).await, [ids[0]]);
    let new = message("new");
    put(&store, std::slice::from_ref(&new)).await;
    assert_eq!(waiting(&store, new.shard()).await.last(), Some(&new.id));
}

fn handled(messages: &[&str], read: u64, data: &str) -> Handled {
    let entity = Entity { kind: "stock", id: "lamp".into() };
    Handled {
        consumer: "c".into(),
        points: None,
        messages: messages.iter().map(ToString::to_string).collect(),
        states: vec![StateWrite { entity, read, data: data.into(), due_in: None }],
        outbox: vec![message("a")],
        changes: Vec::new(),
    }
}

async fn a_batch_takes_effect_once(place: &Place) {
    let store = place.open().await;
    store.handle(handled(&["1", "2"], 0, "a")).await.unwrap();
    let seen = store.inbox_seen("c", vec!["1".into(), "2".into(), "3".into()]).await.unwrap();
    assert_eq!(seen, HashSet::from(["1".to_owned(), "2".to_owned()]));
    assert!(store.inbox_seen("d", vec!["1".into()]).await.unwrap().is_empty(), "another consumer has not");
    // one of them again: nothing of the batch happens
    let again = store.handle(handled(&["3", "2"], 1, "b")).await.unwrap_err();
    assert!(matches!(again, HandledError::Conflict), "{again}");
    assert!(store.inbox_seen("c", vec!["3".into()]).await.unwrap().is_empty());
    let states = store.states("stock", vec!["lamp".into(), "pot".into()]).await.unwrap();
    assert_eq!(states.into_iter().collect::<Vec<_>>(), [("lamp".to_owned(), (1, b"a".to_vec()))]);
    assert_eq!(store.outbox_depth().await.unwrap().waiting, 1);
}

/// PostgreSQL's texts have no NUL: on either database the batch is refused for what it is, and not tried for ever.
async fn an_id_with_a_nul_byte_is_refused_whole(place: &Place) {
    let store = place.open().await;
    let refused = store.handle(handled(&["nul\0"], 0, "a")).await.unwrap_err();
    assert!(matches!(&refused, HandledError::Store(error) if !error.is_transient()), "{refused:?}");
    assert!(refused.to_string().contains("has a name with a NUL"), "{refused}");
    assert_eq!(store.outbox_depth().await.unwrap().waiting, 0);
    assert!(store.states("stock", vec!["lamp".into()]).await.unwrap().is_empty());
}

async fn a_state_that_somebody_has_changed_is_a_conflict(place: &Place) {
    let store = place.open().await;
    store.handle(handled(&["1"], 0, "a")).await.unwrap();
    for read in [0, 2] {
        let stale = store.handle(handled(&["2"], read, "b")).await;
        // a state of a version that is not there is written by nobody but a hand: told apart only where there is one
        assert!(matches!(stale, Err(HandledError::Conflict)), "{read}");
    }
    store.handle(handled(&["2"], 1, "b")).await.unwrap();
    assert_eq!(store.states("stock", vec!["lamp".into()]).await.unwrap()["lamp"], (2, b"b".to_vec()));
}

async fn a_state_is_due_at_its_time(place: &Place) {
    let store = place.open().await;
    let with = |id: &str, due_in| StateWrite {
        entity: Entity { kind: "stock", id: id.into() },
        read: 0,
        data: b"{}".to_vec(),
        due_in,
    };
    let states =
        vec![with("now", Some(Duration::ZERO)), with("later", Some(Duration::from_secs(3600))), with("never", None)];
    store.handle(Handled { consumer: "c".into(), states, ..Handled::default() }).await.unwrap();
    let due = store.states_due("stock", 10).await.unwrap();
    assert_eq!(due.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), ["now"]);
    assert_eq!(store.next_due("stock").await.unwrap(), Some(Duration::ZERO));
    // written again it is not
    let again = StateWrite { read: 1, ..with("now", None) };
    store.handle(Handled { consumer: "c".into(), states: vec![again], ..Handled::default() }).await.unwrap();
    assert!(store.states_due("stock", 10).await.unwrap().is_empty());
    let left = store.next_due("stock").await.unwrap().unwrap();
    assert!(left > Duration::from_secs(3500) && left <= Duration::from_secs(3600), "{left:?}");
    assert_eq!(store.next_due("none").await.unwrap(), None);
}

async fn whoever_waits_for_the_outbox_is_woken(place: &Place) {
    let (store, other) = (place.open().await, place.open().await);
    let mut signal = store.outbox_signal();
    signal.mark_unchanged();
    let by = match place {
        Place::Folder(_) => &store, // another process is not heard of
        Place::Schema { .. } => {
            // listens once the first word has come
            signal.changed().await.unwrap();
            &other
        }
    };
    put(by, &[message("a")]).await;
    tokio::time::timeout(Duration::from_secs(10), signal.changed()).await.expect("nobody was woken").unwrap();
}

async fn what_is_old_is_purged(place: &Place) {
    let store = place.open().await;
    let (shard, all) = four(&store).await;
    store.handle(handled(&["1"], 0, "a")).await.unwrap();
    let held = lease(&store, shard).await;
    let published = vec![seq_of(&store, &all[0]).await];
    store.outbox_mark(shard, Marks { published, ..Marks::default() }, &held).await.unwrap();
    let hour = Duration::from_secs(3600);
    assert_eq!(store.outbox_purge(Status::Published, hour).await.unwrap(), 0);
    assert_eq!(store.outbox_purge(Status::Published, Duration::ZERO).await.unwrap(), 1);
    assert_eq!(store.outbox_depth().await.unwrap().waiting, 4, "what waits stays");
    assert_eq!(store.inbox_purge(hour).await.unwrap(), 0);
    assert_eq!(store.inbox_purge(Duration::ZERO).await.unwrap(), 1);
}

async fn relays_that_are_alive_know_each_other(place: &Place) {
    let store = place.open().await;
    let minute = Duration::from_secs(60);
    assert_eq!(store.relay_is_alive("b", minute).await.unwrap(), ["b"]);
    assert_eq!(store.relay_is_alive("dead", Duration::ZERO).await.unwrap(), ["b", "dead"]);
    assert_eq!(store.relay_is_alive("a", minute).await.unwrap(), ["a", "b"]);
    store.relay_is_gone("b").await.unwrap();
    assert_eq!(store.relay_is_alive("a", minute).await.unwrap(), ["a"]);
}
