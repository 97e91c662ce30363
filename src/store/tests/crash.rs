//! A process that dies, at a crash point or anywhere: what is left is a valid prefix with everything that was answered.

use std::io::{BufRead, BufReader};

use super::*;
use crate::patterns::event_sourcing::ExpectedVersion::*;

on_both!(
    killed_before_a_commit_nothing_of_the_batch_is_there,
    killed_after_a_commit_all_of_the_batch_is_there,
    killed_anywhere_all_that_was_answered_is_there_and_appends_are_whole,
);

async fn killed_before_a_commit_nothing_of_the_batch_is_there(place: &Place) {
    dies_at("append.before-commit", place, 4).await;
}

async fn killed_after_a_commit_all_of_the_batch_is_there(place: &Place) {
    dies_at("append.after-commit", place, 5).await;
}

/// Dies at the point for the fifth time; `appends` of three events each are left.
async fn dies_at(point: &'static str, place: &Place, appends: usize) {
    if let Some(url) = in_child() {
        let passed = std::sync::atomic::AtomicUsize::new(0);
        let die = move |at| {
            if at == point && passed.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 4 {
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
            }
        };
        let options = StoreOptions { crash_point: Arc::new(die), ..StoreOptions::default() };
        let store = Store::open_with(&url.parse().unwrap(), options).await.unwrap();
        for _ in 0..9 {
            let appended = store.append("s", Any, events(3)).await.unwrap();
            println!("answered {}", appended.last_version);
        }
        return;
    }
    let ended = child(&place.text(), &[]).output().unwrap();
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(ended.status.signal(), Some(9), "{ended:?}");
    let answered = String::from_utf8_lossy(&ended.stdout).matches("answered ").count();
    assert_eq!(answered, 4);
    let store = place.open().await;
    assert_eq!(checked_log(&store).await.len(), appends * 3);
    store.append("s", Exact(appends as u64 * 3), events(1)).await.unwrap();
    checked_log(&store).await;
}

async fn killed_anywhere_all_that_was_answered_is_there_and_appends_are_whole(place: &Place) {
    if let Some(url) = in_child() {
        let store = Store::open(&url.parse().unwrap()).await.unwrap();
        let task = |task: usize| {
            let store = store.clone();
            tokio::spawn(async move {
                loop {
                    let events = events(3);
                    let id = events[2].id;
                    store.append(&format!("s{}", task % 5), Any, events).await.unwrap();
                    println!("answered {id}");
                }
            })
        };
        futures::future::join_all((0..8).map(task)).await;
        return;
    }
    let mut answered = Vec::new();
    for round in 0..8 {
        let mut running = Killed(child(&place.text(), &[]).spawn().unwrap());
        // killed while it writes, after another number of answers each time
        let lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
        let mut heard = 0;
        for line in lines {
            let line = line.unwrap_or_default();
            if let Some((_, id)) = line.split_once("answered ") {
                heard += 1;
                // the last line may be cut off
                answered.extend(id.parse::<Uuid>().ok());
                if heard == 10 + round * 7 {
                    running.0.kill().unwrap();
                }
            }
        }
        assert!(heard >= 10, "the writer ended by itself");
    }
    let log = checked_log(&place.open().await).await;
    let stored: std::collections::HashSet<_> = log.iter().map(|event| event.id).collect();
    let lost = answered.iter().filter(|id| !stored.contains(id)).count();
    assert_eq!(lost, 0, "of {} answered", answered.len());
    // three by three, each in one stream
    assert_eq!(log.len() % 3, 0);
    for append in log.chunks(3) {
        assert!(append.iter().all(|event| event.stream == append[0].stream));
        assert!(append.iter().map(|event| event.data.as_slice()).eq([b"0", b"1", b"2"]));
    }
}
