//! Kafka goes away, hangs, or is cut off in the middle of a batch: orders are taken all the same, and all of it drains in
//! order when it is back.

use std::{thread, time::Duration};

use rustix::process::Signal;

use super::{
    PUBLISHED, create,
    judge::{effects, judged_on},
    relay, relay_in_threes, two_each,
};
use crate::{
    bytes::files::Folder,
    cluster::soak,
    es::{Place, brokers::Broker},
    faults::Lab,
    harness::need_kafka,
    membership::until,
    process::Running,
    proxy::{ALL_CUTS, Faults},
    random::Random,
};

fn seconds(sample: u64, full: u64) -> Duration {
    Duration::from_secs(if soak() { full } else { sample })
}

fn order(place: &Place, count: u64) {
    place.outbox(&["order", "--price", "USD:1", "-q", "-n", &count.to_string()]).run().ok();
}

fn drained(place: &Place) {
    until("all of it published", Duration::from_secs(120), || {
        let (all, published) = (place.sql("SELECT count(*) FROM outbox"), place.count(PUBLISHED));
        (all == [[published.to_string()]]).then_some(()).ok_or(format!("{published} of {all:?}"))
    });
}

fn stop(mut relay: Running) {
    relay.signal(Signal::TERM);
    let ended = relay.end();
    assert_eq!(ended.code(), 143, "{ended:?}");
}

/// Memory that a process has, in kilobytes.
pub fn resident(relay: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.pid())).expect("a process that runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse().ok()).expect("a number")
}

#[test]
#[ignore = "needs kcat"]
fn a_relay_waits_for_a_kafka_that_comes_late_and_orders_are_taken_meanwhile() {
    let (place, folder) = (Place::new("late"), Folder::new("late-broker"));
    // an address that was a broker's once, and is nobody's now
    let mut broker = Broker::start("0", &folder);
    let address = broker.address.clone();
    broker.running.signal(Signal::TERM);
    broker.running.end();
    let waiting = super::start(place.outbox(&["relay"]).env("KAFKALAB_BROKERS", &address));
    waiting.until_stderr_has("waiting for Kafka: ");
    order(&place, 20);
    assert_eq!(place.count(super::WAITING), 20);
    let _broker = Broker::start(address.split(':').nth(1).expect("a port"), &folder);
    drained(&place);
    stop(waiting);
    assert_eq!(judged_on(&place, &address), [].into());
}

#[test]
fn a_relay_that_waits_for_kafka_ends_soon_when_told_to() {
    let (place, folder) = (Place::new("told"), Folder::new("told-broker"));
    let mut broker = Broker::start("0", &folder);
    let mut relay = relay(&place, &["--brokers", &broker.address]);
    order(&place, 5);
    drained(&place);
    broker.running.signal(Signal::KILL);
    broker.running.end();
    order(&place, 1);
    relay.until_stderr_has("trying again: ");
    // in the middle of that
    until("the shard taken once more", Duration::from_secs(20), || {
        let taken = place.sql("SELECT name FROM leases WHERE token > 1 AND expires_at_ms > 0");
        (taken.len() == 1).then_some(()).ok_or(format!("{taken:?}"))
    });
    let began = std::time::Instant::now();
    relay.signal(Signal::INT);
    let ended = relay.end();
    assert_eq!(ended.code(), 130, "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}: {ended:?}", began.elapsed());
    assert_eq!(place.count(super::WAITING), 1);
    // nothing is lost by that, and whoever comes next need not wait for the end of a lease
    assert_eq!(place.sql("SELECT name FROM leases WHERE expires_at_ms > 0"), Vec::<Vec<String>>::new());
    place.outbox(&["relay", "--once", "-q"]).run().ok();
    assert_eq!(place.count(PUBLISHED), 6);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn while_kafka_is_away_orders_are_taken_and_all_of_it_drains_in_order_in_bounded_memory() {
    need_kafka();
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    let place = Place::new("away");
    let relay = super::start(place.outbox(&["relay"]).env("KAFKALAB_BROKERS", &lab.through));
    let group = place.topic("group");
    let consumer = super::start(place.outbox(&["consume", "-g", &group, "--brokers", &lab.through]));
    order(&place, 500);
    drained(&place);
    let before = resident(&relay);
    // the markers of all transactions are there, too: Kafka 4.3.1 may lose them with a broker (KAFKA-20734)
    until("all effects, each once", Duration::from_secs(60), || effects(&place));
    drained(&place);
    judged_on(&place, lab.broker());
    lab.kafka.kill(1);
    let began = std::time::Instant::now();
    let (away, mut rounds) = (seconds(6, 60), 0);
    while began.elapsed() < away {
        order(&place, 500);
        rounds += 1;
    }
    two_each(&place, 100);
    relay.until_stderr_has("trying again: ");
    assert!(place.count(super::WAITING) > rounds * 300, "orders are taken while Kafka is away");
    lab.kafka.restart(1);
    drained(&place);
    let after = resident(&relay);
    println!("{} messages meanwhile; {before} kB before, {after} kB after", rounds * 500);
    // what it may hold: 2,000 rows in each of 16 shards, as rows and as records, whatever waits
    assert!(after < before + 128 * 1024, "{before} kB before, {after} kB after");
    // the consumer has waited as well: each effect once, and what follows from them is published
    until("all effects, each once", Duration::from_secs(120), || effects(&place));
    drained(&place);
    for mut running in [relay, consumer] {
        running.signal(Signal::TERM);
        let ended = running.end();
        assert_eq!(ended.code(), 143, "{}", ended.stderr);
    }
    println!("twice: {:?}", judged_on(&place, lab.broker()));
}

/// Where Watermill's forwarder loses: publishing fails in the middle of a batch for longer than any lease.
#[test]
#[ignore = "needs Apache Kafka"]
fn a_kafka_that_hangs_in_the_middle_of_a_batch_for_longer_than_any_lease_loses_nothing() {
    need_kafka();
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    let place = Place::new("hangs");
    two_each(&place, 300);
    let arguments = ["--brokers", &lab.through];
    let relays = [relay_in_threes(&place, &arguments), relay_in_threes(&place, &arguments)];
    let some = random.within(20..200) as u64;
    until("some of it", Duration::from_secs(30), || {
        (place.count(PUBLISHED) > some).then_some(()).ok_or("nothing yet".to_owned())
    });
    lab.kafka.pause(1);
    // a lease is 10 s
    thread::sleep(seconds(15, 45));
    assert!(place.count(super::WAITING) > 0, "it hung too late");
    lab.kafka.resume(1);
    drained(&place);
    relays.into_iter().for_each(stop);
    println!("twice: {:?}", judged_on(&place, lab.broker()));
}

#[test]
#[ignore = "needs Apache Kafka"]
fn connections_that_are_cut_lose_nothing_and_keep_the_order() {
    need_kafka();
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    for round in 0..if soak() { 10 } else { 1 } {
        let place = Place::new("cut");
        two_each(&place, 150);
        // topics first: to make them is not what is tried here
        relay(&place, &["--once", "--batch", "50", "--brokers", &lab.through]).end().ok();
        let before: u64 = lab.proxy.cuts().values().sum();
        lab.proxy.set(Faults { cut: Some((4, ALL_CUTS.to_vec())), lives: Some(500..1500), ..Faults::default() });
        let arguments = ["--brokers", &lab.through];
        let relays = [(); 2].map(|()| relay_in_threes(&place, &arguments));
        place.take((0..150).map(|order| create(&format!("late-{order}"))).collect());
        until("cuts", Duration::from_secs(60), || {
            let cuts = lab.proxy.cuts().values().sum::<u64>() - before;
            (cuts >= 8 || place.count(PUBLISHED) == 450).then_some(()).ok_or(format!("{cuts} cuts"))
        });
        lab.proxy.set(Faults::default());
        drained(&place);
        relays.into_iter().for_each(stop);
        let twice = judged_on(&place, lab.broker());
        let cuts = lab.proxy.cuts().values().sum::<u64>() - before;
        println!("round {round}: {cuts} cuts; twice: {twice:?}");
        assert!(cuts > 0, "nothing was cut");
    }
}
