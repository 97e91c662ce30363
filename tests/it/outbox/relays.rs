//! Several relays on one store: they share the work, one is stopped or killed, and the order holds.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{
    PUBLISHED, create,
    judge::{judged, rows},
    published, relay, relay_in_threes, two_each,
};
use crate::{cluster::soak, es::Place, harness::need_kafka, membership::until, process::Running, random::Random};

/// Of [`relay_in_threes`].
const BATCH: usize = 3;
/// A relay's lease, and the rhythm in which relays look at each other.
const LEASE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_secs(2);

fn stopped(mut relay: Running, signal: Signal, code: i32) -> crate::harness::Ended {
    relay.signal(signal);
    let ended = relay.end();
    assert_eq!(ended.code(), code, "{ended:?}");
    ended
}

fn all_published(place: &Place, count: u64, limit: Duration) {
    until("all of it published", limit, || match place.count(PUBLISHED) {
        found if found == count => Ok(()),
        found => Err(format!("{found} of {count}")),
    });
}

#[test]
#[ignore = "needs kcat"]
fn two_and_five_relays_at_once_publish_nothing_twice() {
    for relays in [2, 5] {
        let place = Place::new("at-once");
        two_each(&place, 100);
        let mut all: Vec<_> = (0..relays).map(|_| relay_in_threes(&place, &["--once"])).collect();
        let ended: Vec<_> = all.iter_mut().map(|one| one.end().ok()).collect();
        assert_eq!(judged(&place), [].into());
        assert_eq!(ended.iter().map(published).sum::<usize>(), 200, "{ended:?}");
    }
}

#[test]
#[ignore = "needs kcat"]
fn relays_that_come_and_go_publish_nothing_twice() {
    let place = Place::new("come-and-go");
    let mut relays: Vec<Running> = Vec::new();
    let mut published_by_all = 0;
    for (number, signal, code) in [(0, Signal::TERM, 143), (1, Signal::INT, 130), (2, Signal::TERM, 143)] {
        relays.push(relay_in_threes(&place, &[]));
        relays.push(relay_in_threes(&place, &[]));
        for relay in &relays {
            relay.until_stderr_has("relaying from ");
        }
        place.take((0..60).map(|order| create(&format!("o{number}-{order}"))).collect());
        // in the middle of it
        published_by_all += published(&stopped(relays.remove(0), signal, code));
    }
    all_published(&place, 180, Duration::from_secs(30));
    for relay in relays {
        published_by_all += published(&stopped(relay, Signal::TERM, 143));
    }
    assert_eq!(judged(&place), [].into());
    assert_eq!(published_by_all, 180);
}

/// Others lose or repeat here: what is in hand is finished, marked, and the leases are given back.
#[test]
#[ignore = "needs kcat"]
fn a_clean_stop_sends_nothing_twice_and_the_next_relay_starts_at_once() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = Place::new("clean-stop");
        two_each(&place, 150);
        let first = relay_in_threes(&place, &[]);
        first.until_stdout_has("published");
        let first = published(&stopped(first, signal, code));
        assert!(first < 300, "it was stopped too late to tell anything");
        assert_eq!(place.sql("SELECT count(*) FROM leases WHERE name LIKE 'outbox-%' AND owner <> ''"), [["0"]]);
        assert_eq!(place.sql("SELECT count(*) FROM relays"), [["0"]]);
        let next = place.outbox(&["relay", "--once"]).deadline(LEASE - LOOK).run().ok();
        assert_eq!((judged(&place), first + published(&next)), ([].into(), 300));
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_killed_relay_is_followed_within_its_lease() {
    need_kafka();
    let place = Place::new("takeover");
    two_each(&place, 32);
    let mut relays: Vec<_> = (0..2).map(|_| relay(&place, &["-q"])).collect();
    all_published(&place, 64, Duration::from_secs(30));
    // each has its half by now, or will soon
    until("two that share", Duration::from_secs(30), || {
        let owners = place.sql("SELECT count(DISTINCT owner) FROM leases WHERE name LIKE 'outbox-%' AND owner <> ''");
        let held = place.sql("SELECT count(*) FROM leases WHERE name LIKE 'outbox-%' AND owner <> ''");
        let alive = place.sql("SELECT count(*) FROM relays");
        (alive == [["2"]] && held == [["16"]]).then_some(()).ok_or(format!("{alive:?} {held:?} {owners:?}"))
    });
    relays[0].signal(Signal::KILL);
    relays[0].end();
    let began = Instant::now();
    place.take((0..64).map(|order| create(&format!("late-{order}"))).collect());
    all_published(&place, 128, Duration::from_secs(60));
    let took = began.elapsed();
    println!("taken over after {took:?}");
    // its shards' leases end, it is forgotten, and the other one has looked since; and a busy machine
    assert!(took < LEASE + LOOK + Duration::from_secs(4), "{took:?}");
    // of an idle relay nothing was in flight
    assert_eq!(judged(&place), [].into());
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_relay_that_is_stopped_beyond_its_lease_sends_nothing_old_when_it_goes_on() {
    need_kafka();
    let mut random = Random::from_seed_or_new();
    for _ in 0..if soak() { 5 } else { 1 } {
        for relays in [2, 5] {
            stopped_beyond_its_lease(relays, random.fork());
        }
    }
}

fn stopped_beyond_its_lease(relays: usize, mut random: Random) {
    println!("{relays} relays, {random:?}");
    let place = Place::new("stopped");
    two_each(&place, 300);
    let mut relays: Vec<_> = (0..relays).map(|_| relay_in_threes(&place, &["--json"])).collect();
    // in the middle of it
    let (victim, some) = (random.below(relays.len()), random.within(10..200) as u64);
    until("some of it", Duration::from_secs(30), || {
        (place.count(PUBLISHED) > some).then_some(()).ok_or("nothing yet".to_owned())
    });
    place.stop(&relays[victim]);
    all_published(&place, 600, Duration::from_secs(60));
    place.take((0..50).map(|order| create(&format!("meanwhile-{order}"))).collect());
    all_published(&place, 650, Duration::from_secs(30));
    relays[victim].signal(Signal::CONT);
    place.take((0..50).map(|order| create(&format!("late-{order}"))).collect());
    all_published(&place, 700, Duration::from_secs(30));
    for relay in relays.drain(..) {
        stopped(relay, Signal::TERM, 143);
    }
    let twice = judged(&place);
    println!("twice: {twice:?}");
    assert!(twice.values().all(|twice| *twice <= BATCH), "{twice:?}");
    assert_eq!(rows(&place).len(), 700);
}
