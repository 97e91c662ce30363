//! Many writers and readers at once.

use super::*;
use crate::patterns::event_sourcing::ExpectedVersion::*;
use proptest::test_runner::{RngAlgorithm, TestRng};

on_both!(
    of_two_writers_at_one_version_one_wins,
    concurrent_appenders_are_each_answered_right,
    a_reader_during_writes_sees_each_position_once_and_in_order,
);

async fn of_two_writers_at_one_version_one_wins(place: &Place) {
    let (one, two) = (place.open().await, place.open().await);
    for version in 0..60 {
        // by one process (most likely one batch), and by two
        let other = if version % 2 == 0 { &one } else { &two };
        let mine = one.append("s", Exact(version), events(1));
        let outcomes = tokio::join!(mine, other.append("s", Exact(version), events(1)));
        let (won, lost) = if outcomes.0.is_ok() { (outcomes.0, outcomes.1) } else { (outcomes.1, outcomes.0) };
        assert_eq!(won.unwrap().last_version, version + 1);
        assert_eq!(conflict(lost), version + 1);
    }
    assert_eq!(checked_log(&one).await.len(), 60);
}

async fn concurrent_appenders_are_each_answered_right(place: &Place) {
    let stores = [place.open().await, place.open().await];
    let appender = |task: usize| {
        let store = stores[task % 2].clone();
        tokio::spawn(async move {
            let (own, mut made) = (format!("own-{task}"), Vec::new());
            for round in 0..12_u64 {
                // a stream of one's own, one that all append to, one that all want at the version that they saw
                let (stream, expected) = match round % 3 {
                    0 => (own.as_str(), Exact(round / 3 * 2)),
                    1 => ("shared", Any),
                    _ => ("wanted", Exact(store.stream_version("wanted").await.unwrap())),
                };
                let events = events(2);
                let ids: Vec<_> = events.iter().map(|event| event.id).collect();
                match store.append(stream, expected, events).await {
                    Ok(appended) => made.push((stream.to_owned(), ids, appended)),
                    Err(AppendError::Conflict { .. }) if stream == "wanted" => {}
                    Err(error) => panic!("{stream}: {error}"),
                }
            }
            made
        })
    };
    let answers = futures::future::join_all((0..64).map(appender)).await;
    let made: Vec<_> = answers.into_iter().flat_map(|answer| answer.unwrap()).collect();
    let log = checked_log(&stores[0]).await;
    assert_eq!(log.len(), made.len() * 2);
    assert!(made.iter().any(|(stream, ..)| stream == "wanted"));
    for (stream, ids, appended) in made {
        assert!(!appended.duplicate);
        assert_eq!(appended.last_version, appended.first_version + 1);
        for (at, id) in ids.iter().enumerate() {
            let event = &log[appended.last_position as usize - 2 + at];
            assert_eq!((&event.stream, &event.id), (&stream, id));
            assert_eq!(event.version, appended.first_version + at as u64);
        }
    }
}

async fn a_reader_during_writes_sees_each_position_once_and_in_order(place: &Place) {
    const WRITERS: usize = 8;
    const APPENDS: usize = 40;
    let seed = rand_seed();
    println!("seed {seed}");
    let stores = [place.open().await, place.open().await, place.open().await];
    let writer = |task: usize| {
        let store = stores[task % 2].clone();
        let mut pauses = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.wrapping_add(task as u8); 32]);
        tokio::spawn(async move {
            for _ in 0..APPENDS {
                use proptest::prelude::Rng;
                tokio::time::sleep(Duration::from_micros(pauses.next_u64() % 3000)).await;
                let count = 1 + pauses.next_u64() as usize % 3;
                store.append(&format!("s{}", task % 5), Any, events(count)).await.unwrap();
            }
        })
    };
    let writers: Vec<_> = (0..WRITERS).map(writer).collect();
    let reader = |limit: usize, store: &Store| {
        let store = store.clone();
        tokio::spawn(async move {
            let (began, mut seen, mut polls) = (Instant::now(), Vec::new(), 0);
            loop {
                polls += 1;
                let after = seen.len() as u64;
                for event in store.read_all(after, limit).await.unwrap() {
                    assert_eq!(event.position, seen.len() as u64 + 1, "after {after}");
                    seen.push(event.id);
                }
                // the writers' last word is a stream of its own
                let end = store.stream_version("end").await.unwrap() > 0;
                if end && seen.len() as u64 == store.head().await.unwrap() {
                    break;
                }
                assert!(began.elapsed() < Duration::from_secs(60), "no end of the log in 60 s");
            }
            (seen, polls)
        })
    };
    let readers = [reader(1000, &stores[0]), reader(3, &stores[2])];
    for writer in writers {
        writer.await.unwrap();
    }
    stores[0].append("end", NoStream, events(1)).await.unwrap();
    let log: Vec<_> = checked_log(&stores[1]).await.iter().map(|event| event.id).collect();
    assert!(log.len() > WRITERS * APPENDS);
    for reader in readers {
        let (seen, polls) = reader.await.unwrap();
        assert_eq!(seen, log);
        assert!(polls > 10, "the reader came only {polls} times: it met no writer");
    }
}

fn rand_seed() -> u8 {
    std::env::var("KAFKALAB_SEED").map_or_else(|_| Uuid::new_v4().as_bytes()[0], |seed| seed.parse().unwrap())
}
