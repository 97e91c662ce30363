//! Appending and reading, one after the other.

use super::*;
use crate::patterns::event_sourcing::{ExpectedVersion::*, Snapshot, SnapshotError};
use crate::store::sql::Access;

on_both!(
    each_expected_version_is_held_against_the_stream,
    the_same_events_again_are_answered_as_the_first_time,
    an_event_id_that_is_taken_is_refused,
    an_append_is_all_or_nothing,
    any_bytes_and_any_name_come_back_as_they_went_in,
    arguments_that_would_fail_a_whole_batch_are_refused_before_it,
    pages_give_each_event_once_and_go_on_later,
    a_page_that_was_read_ahead_hides_nothing_that_came_meanwhile,
    a_stream_is_read_from_its_snapshots_last_event_on,
    a_page_ends_where_its_bytes_are_enough,
    streams_are_listed_with_their_ends,
    a_clock_that_goes_back_changes_no_order,
    a_store_keeps_its_id_and_no_other_has_it,
    snapshots_are_kept_replaced_and_forgotten,
    a_damaged_snapshot_is_told_from_a_good_one,
    a_scan_of_many_events_needs_no_more_memory,
);

async fn each_expected_version_is_held_against_the_stream(place: &Place) {
    let store = place.open().await;
    for (expected, actual) in [(StreamExists, 0), (Exact(1), 0)] {
        assert_eq!(conflict(store.append("s", expected, events(1)).await), actual);
    }
    let made = store.append("s", NoStream, events(2)).await.unwrap();
    assert_eq!(made, Appended { first_version: 1, last_version: 2, last_position: 2, duplicate: false });
    for expected in [NoStream, Exact(0), Exact(1), Exact(3)] {
        assert_eq!(conflict(store.append("s", expected, events(1)).await), 2, "{expected}");
    }
    for (expected, version) in [(Exact(2), 3), (StreamExists, 4), (Any, 5)] {
        assert_eq!(store.append("s", expected, events(1)).await.unwrap().last_version, version, "{expected}");
    }
    assert_eq!(store.append("t", Any, events(1)).await.unwrap().first_version, 1);
    assert_eq!(store.append("u", Exact(0), events(1)).await.unwrap().last_position, 7);
    checked_log(&store).await;
}

async fn the_same_events_again_are_answered_as_the_first_time(place: &Place) {
    let store = place.open().await;
    let made = events(3);
    store.append("before", NoStream, events(1)).await.unwrap();
    let first = store.append("s", NoStream, made.clone()).await.unwrap();
    store.append("s", Exact(3), events(2)).await.unwrap();
    for expected in [NoStream, Any, Exact(3), Exact(99)] {
        let again = store.append("s", expected, made.clone()).await.unwrap();
        assert_eq!(again, Appended { duplicate: true, ..first }, "{expected}");
    }
    // the same append twice at once: most likely in one batch
    let made = events(2);
    let (one, two) = tokio::join!(store.append("s", Any, made.clone()), store.append("s", Any, made.clone()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.duplicate != two.duplicate, "{one:?} {two:?}");
    assert_eq!(one.last_position, two.last_position);
    assert_eq!(checked_log(&store).await.len(), 8);
}

async fn an_event_id_that_is_taken_is_refused(place: &Place) {
    let store = place.open().await;
    let made = events(3);
    store.append("s", NoStream, made.clone()).await.unwrap();
    let fresh = event("fresh");
    let taken = [
        ("other", made.clone()),
        ("s", vec![made[0].clone(), fresh.clone()]),
        ("s", vec![fresh.clone(), made[0].clone()]),
        ("s", vec![made[1].clone(), made[0].clone()]),
        ("s", [made.clone(), vec![fresh.clone()]].concat()),
    ];
    for (stream, events) in taken {
        let refused = store.append(stream, Any, events).await;
        assert!(matches!(&refused, Err(AppendError::IdTaken { stream, .. }) if stream == "s"), "{refused:?}");
    }
    assert_eq!(checked_log(&store).await.len(), 3);
}

async fn an_append_is_all_or_nothing(place: &Place) {
    let store = place.open().await;
    let many = events(700);
    let made = store.append("s", NoStream, many.clone()).await.unwrap();
    assert_eq!((made.first_version, made.last_version), (1, 700));
    assert_eq!(conflict(store.append("s", Exact(699), events(300)).await), 700);
    let log = checked_log(&store).await;
    assert!(log.iter().map(|event| event.id).eq(many.iter().map(|event| event.id)));
}

async fn any_bytes_and_any_name_come_back_as_they_went_in(place: &Place) {
    let store = place.open().await;
    let name = "o'rder \"Ä\" 🦀 $1 ?1 %s\n";
    let all: Vec<u8> = (0..=255).collect();
    let made = vec![
        NewEvent { data: all.clone(), metadata: Vec::new(), event_type: name.into(), id: Uuid::from_u128(0) },
        NewEvent { data: Vec::new(), metadata: all, event_type: "t".into(), id: Uuid::max() },
    ];
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    store.append(name, NoStream, made.clone()).await.unwrap();
    let read = store.read_stream(name, 1, 10).await.unwrap();
    let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    for (made, read) in made.iter().zip(&read) {
        assert_eq!((read.id, &read.event_type, &read.data), (made.id, &made.event_type, &made.data));
        assert_eq!((&read.metadata, read.stream.as_str()), (&made.metadata, name));
        assert!((before..=after).contains(&read.recorded_at_ms));
    }
    assert_eq!(read, store.read_all(0, 10).await.unwrap());
}

async fn arguments_that_would_fail_a_whole_batch_are_refused_before_it(place: &Place) {
    let store = place.open().await;
    let twice = event("twice");
    let typed = |event_type: &str| vec![NewEvent { event_type: event_type.into(), ..event("x") }];
    let wrong = [
        ("", events(1)),
        ("nul\0", events(1)),
        (&*"x".repeat(1001), events(1)),
        ("s", Vec::new()),
        ("s", vec![twice.clone(), twice]),
        ("s", typed("")),
        ("s", typed("nul\0")),
        ("s", vec![event(vec![0; 17 << 20])]),
    ];
    for (stream, events) in wrong {
        let refused = store.append(stream, Any, events).await;
        assert!(matches!(refused, Err(AppendError::Invalid(_))), "{refused:?}");
    }
    store.append(&"x".repeat(1000), NoStream, events(1)).await.unwrap();
    assert!(matches!(store.acquire("", "a", Duration::ZERO).await, Err(StoreError::Invalid(_))));
    assert_eq!(checked_log(&store).await.len(), 1);
}

async fn pages_give_each_event_once_and_go_on_later(place: &Place) {
    let store = place.open().await;
    for at in 0..50 {
        store.append(&format!("s{}", at % 3), Any, events(10)).await.unwrap();
    }
    let mut stream = store.stream_pages("s1", 6).of(7);
    let mut versions = Vec::new();
    loop {
        let page = stream.next().await.unwrap();
        assert!(page.len() <= 7 && page.iter().all(|event| event.stream == "s1"));
        if page.is_empty() {
            break;
        }
        versions.extend(page.iter().map(|event| event.version));
    }
    assert!(versions.iter().copied().eq(6..=170), "{versions:?}");
    store.append("s1", Exact(170), events(1)).await.unwrap();
    assert_eq!(stream.next().await.unwrap()[0].version, 171);
    assert_eq!(store.read_stream("s1", 0, 3).await.unwrap(), store.read_stream("s1", 1, 3).await.unwrap());
    assert!(store.read_stream("none", 0, 3).await.unwrap().is_empty());
    assert!(store.read_all(u64::MAX, 3).await.unwrap().is_empty());
    assert!(store.read_stream("s1", u64::MAX, usize::MAX).await.unwrap().is_empty());
    assert_eq!(store.read_all(0, usize::MAX).await.unwrap().len(), 501);
}

/// The page behind a full one is read before it is asked for.
async fn a_page_that_was_read_ahead_hides_nothing_that_came_meanwhile(place: &Place) {
    let store = place.open().await;
    store.append("s", NoStream, events(6)).await.unwrap();
    for version in 6..16 {
        let mut pages = store.stream_pages("s", version - 5).of(3);
        for _ in 0..2 {
            assert_eq!(pages.next().await.unwrap().len(), 3);
            assert!(!pages.is_end());
        }
        store.append("s", Exact(version), events(1)).await.unwrap();
        let last = pages.next().await.unwrap();
        assert_eq!(last.iter().map(|event| event.version).collect::<Vec<_>>(), [version + 1]);
        assert!(pages.is_end());
    }
}

async fn a_stream_is_read_from_its_snapshots_last_event_on(place: &Place) {
    let store = place.open().await;
    store.append("s", NoStream, events(7)).await.unwrap();
    store.append("other", NoStream, events(9)).await.unwrap();
    for (saved, version, versions) in [(None, 7, 1..8), (Some(5), 7, 5..8), (Some(7), 7, 7..8), (Some(9), 7, 0..0)] {
        if let Some(saved) = saved {
            store.save_snapshot("s", &snapshot(saved, 1)).await.unwrap();
        }
        let mut found = store.from_snapshot("s").await.unwrap();
        assert_eq!((found.snapshot, found.version), (saved.map(|saved| snapshot(saved, 1)), version));
        let page = found.pages.next().await.unwrap();
        assert!(page.iter().map(|event| event.version).eq(versions), "{saved:?}: {page:?}");
        assert_eq!(page, store.read_stream("s", page.first().map_or(99, |first| first.version), 9).await.unwrap());
        assert!(found.pages.is_end());
        store.append("s2", Any, events(1)).await.unwrap();
    }
    let mut none = store.from_snapshot("none").await.unwrap();
    assert_eq!((none.snapshot, none.version, none.pages.next().await.unwrap()), (None, 0, vec![]));
}

async fn a_page_ends_where_its_bytes_are_enough(place: &Place) {
    let store = place.open().await;
    for _ in 0..6 {
        store.append("s", Any, vec![event(vec![7; 6 << 20])]).await.unwrap();
    }
    assert_eq!(store.read_all(0, 100).await.unwrap().len(), 3);
    assert_eq!(checked_log(&store).await.len(), 6);
}

async fn streams_are_listed_with_their_ends(place: &Place) {
    let store = place.open().await;
    assert_eq!((store.streams("", 10).await.unwrap(), store.head().await.unwrap()), (vec![], 0));
    assert_eq!(store.stream_version("b").await.unwrap(), 0);
    for (stream, count) in [("b", 2), ("a", 1), ("ä", 3), ("B", 1), ("b", 2)] {
        store.append(stream, Any, events(count)).await.unwrap();
    }
    let listed = store.streams("", 10).await.unwrap();
    let ends: Vec<_> = listed.iter().map(|info| (info.stream.as_str(), info.version, info.last_position)).collect();
    assert_eq!(ends, [("B", 1, 7), ("a", 1, 3), ("b", 4, 9), ("ä", 3, 6)]);
    let log = checked_log(&store).await;
    assert!(listed.iter().all(|i| i.last_recorded_at_ms == log[i.last_position as usize - 1].recorded_at_ms));
    assert_eq!(store.streams("a", 1).await.unwrap(), listed[2..3]);
    assert_eq!(store.streams("ä", 10).await.unwrap(), []);
    assert_eq!(store.streams("", 0).await.unwrap(), []);
}

async fn a_clock_that_goes_back_changes_no_order(place: &Place) {
    let at = |clock| StoreOptions { clock, ..StoreOptions::default() };
    let now = Store::open_with(&place.url(), at(|| 7_200_000)).await.unwrap();
    let hour_off = Store::open_with(&place.url(), at(|| 3_600_000)).await.unwrap();
    for store in [&now, &hour_off, &now, &hour_off] {
        store.append("s", Any, events(1)).await.unwrap();
    }
    let read = checked_log(&now).await;
    let times: Vec<_> = read.iter().map(|event| event.recorded_at_ms).collect();
    assert_eq!(times, [7_200_000, 3_600_000, 7_200_000, 3_600_000]);
    assert_eq!(now.read_stream("s", 1, 10).await.unwrap(), read);
}

async fn a_store_keeps_its_id_and_no_other_has_it(place: &Place) {
    let opened = futures::future::join_all((0..16).map(|_| place.open())).await; // all of them make the tables
    let id = opened[0].id();
    assert!(opened.iter().all(|store| store.id() == id));
    drop(opened);
    assert_eq!(place.open().await.id(), id);
    assert_ne!(Place::sqlite().open().await.id(), id);
}

fn snapshot(version: u64, schema: u32) -> Snapshot {
    let folded = crate::patterns::event_sourcing::Folded { version, state: format!("state {version}") };
    Snapshot::take(&folded, schema).unwrap()
}

async fn snapshots_are_kept_replaced_and_forgotten(place: &Place) {
    let store = place.open().await;
    assert_eq!(store.load_snapshot("s").await.unwrap(), None);
    for (saved, found) in [((5, 1), (5, 1)), ((4, 1), (5, 1)), ((6, 1), (6, 1)), ((2, 2), (2, 2))] {
        store.save_snapshot("s", &snapshot(saved.0, saved.1)).await.unwrap();
        assert_eq!(store.load_snapshot("s").await.unwrap(), Some(snapshot(found.0, found.1)));
    }
    assert_eq!(store.load_snapshot("other").await.unwrap(), None);
    for _ in 0..2 {
        store.delete_snapshot("s").await.unwrap();
        assert_eq!(store.load_snapshot("s").await.unwrap(), None);
    }
}

async fn a_damaged_snapshot_is_told_from_a_good_one(place: &Place) {
    let store = place.open().await;
    let damage = [
        "UPDATE snapshots SET state = $1 RETURNING version",
        "UPDATE snapshots SET version = 3, state = $1 RETURNING version",
        "UPDATE snapshots SET version = -3 WHERE $1 <> state RETURNING version",
        "UPDATE snapshots SET schema = 99999999999 WHERE $1 <> state RETURNING version",
        "UPDATE snapshots SET checksum = -1 WHERE $1 <> state RETURNING version",
    ];
    for sql in damage {
        store.delete_snapshot("s").await.unwrap();
        store.save_snapshot("s", &snapshot(5, 1)).await.unwrap();
        let found = store.load_snapshot("s").await.unwrap().unwrap();
        assert_eq!(found.open::<String>(1, 5).unwrap().state, "state 5");
        let hit = store.database().rows(Access::Write, sql, [b"other".as_slice().into()]).await.unwrap();
        assert_eq!(hit.len(), 1, "{sql}");
        let found = store.load_snapshot("s").await.unwrap().unwrap();
        let opened = found.open::<String>(1, 5);
        assert!(matches!(opened, Err(SnapshotError::Damaged)), "{sql}");
    }
}

/// In a process of its own, because the others' memory is not this test's.
async fn a_scan_of_many_events_needs_no_more_memory(place: &Place) {
    const EVENTS: usize = 100_000;
    const MIB: u64 = 1 << 20;
    if let Some(url) = in_child() {
        let store = Store::open(&url.parse().unwrap()).await.unwrap();
        let (mut pages, mut count, before) = (store.all_pages(0), 0, peak_memory());
        loop {
            let page = pages.next().await.unwrap();
            if page.is_empty() {
                break;
            }
            count += page.len();
        }
        println!("scanned {count} {before} {}", peak_memory());
        return;
    }
    let store = place.open().await;
    for _ in 0..EVENTS / 1000 {
        let many = (0..1000).map(|_| event(vec![b'x'; 1000])).collect();
        store.append("s", Any, many).await.unwrap();
    }
    let said = child(&place.text(), &[]).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let line = said.lines().find_map(|line| line.split_once("scanned ")).unwrap_or_else(|| panic!("{said}")).1;
    let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers[0], EVENTS as u64);
    // the kernel counts in per-CPU pieces: a peak may seem to have fallen
    let grown = numbers[2].saturating_sub(numbers[1]);
    assert!(grown < 32 * MIB, "a scan of 100 MB took {} MiB", grown / MIB);
}

/// The most that this process has had, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
