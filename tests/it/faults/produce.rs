//! Producing through broken connections and broken brokers (faults 1 to 5, 12).

use std::time::{Duration, Instant};

use super::{Lab, MINUTE};
use crate::{
    cluster::soak,
    harness::topic,
    load::{Log, Receipts, Running, lines, padded, produce},
    proxy::{ALL_CUTS, Faults},
    random::Random,
    wire::create_topic,
};

/// `count` records in pieces of `each`, for [`Running::feed`].
fn pieces(count: u64, each: u64) -> impl Iterator<Item = String> {
    (0..count / each).map(move |piece| lines(piece * each + 1..=(piece + 1) * each))
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_broker_killed_under_load_and_started_again_loses_and_repeats_nothing() {
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    for round in 0..if soak() { 10 } else { 2 } {
        let topic = topic("killed");
        create_topic(lab.broker(), &topic, 3, 1, &[]);
        let mut running = Running::start(produce(&lab.through, &topic, &["--timeout", "60s"]));
        running.feed(pieces(60_000, 200), Duration::from_millis(10));
        running.lines(random.within(1..20_000), MINUTE);
        lab.kafka.kill(1);
        lab.kafka.restart(1);
        let ended = running.wait(2 * MINUTE);
        let receipts = Receipts::read(&ended.stdout);
        let log = Log::read(&lab.through, &topic);
        log.agrees_with(&receipts);
        assert_eq!(receipts.total(), 60_000, "round {round}: {}", ended.stderr);
        // A single broker loses by kill -9 what it had in memory alone only when its machine goes down with it.
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        log.is_complete(1..=60_000);
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_paused_broker_ends_produce_within_its_limit_and_with_every_record_counted() {
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    let topic = topic("paused");
    create_topic(lab.broker(), &topic, 3, 1, &[]);
    let mut running = Running::start(produce(&lab.through, &topic, &["--timeout", "4s"]));
    running.feed(pieces(40_000, 200), Duration::from_millis(10));
    running.lines(5_000, MINUTE);
    let began = Instant::now();
    lab.kafka.pause(1);
    let ended = running.wait(MINUTE);
    let took = began.elapsed();
    lab.kafka.resume(1);
    assert_eq!(ended.code(), 4, "{}", ended.stderr);
    assert!(took < Duration::from_secs(15), "{took:?}");
    let receipts = Receipts::read(&ended.stdout);
    assert!(!receipts.unknown.is_empty() || !receipts.failed.is_empty(), "{}", ended.stderr);
    Log::read(&lab.through, &topic).agrees_with(&receipts);
    let said = format!("{} acknowledged", receipts.acknowledged.len());
    assert!(ended.stderr.contains(&said), "{said:?} is not in {}", ended.stderr);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_paused_broker_that_comes_back_within_the_limit_costs_nothing_but_time() {
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    let topic = topic("resumed");
    create_topic(lab.broker(), &topic, 3, 1, &[]);
    // shorter than the pause, so that requests are given up and sent again while the first ones are still on their way
    let limits = ["--timeout", "90s", "-X", "request_timeout=2s", "-X", "connect_timeout=1s"];
    let mut running = Running::start(produce(&lab.through, &topic, &limits));
    running.feed(pieces(40_000, 200), Duration::from_millis(10));
    running.lines(5_000, MINUTE);
    lab.kafka.pause(1);
    std::thread::sleep(Duration::from_secs(if soak() { 20 } else { 6 })); // the fault's own duration
    lab.kafka.resume(1);
    let ended = running.wait(2 * MINUTE);
    let receipts = Receipts::read(&ended.stdout);
    let log = Log::read(&lab.through, &topic);
    log.agrees_with(&receipts);
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    log.is_complete(1..=40_000);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn connections_cut_at_every_phase_of_a_produce_request_lose_and_repeat_nothing() {
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    let before = lab.proxy.cuts();
    for places in ALL_CUTS.map(|cut| vec![cut]).into_iter().chain([ALL_CUTS.to_vec()]) {
        let rounds = if soak() { 10 } else { 1 };
        for _ in 0..rounds {
            let topic = topic("cut");
            create_topic(lab.broker(), &topic, 3, 1, &[]);
            lab.proxy.set(Faults { cut: Some((5, places.clone())), ..Faults::default() });
            let mut running = Running::start(produce(&lab.through, &topic, &["--timeout", "120s", "--linger", "1ms"]));
            running.feed(pieces(30_000, 300), Duration::from_millis(5));
            let ended = running.wait(2 * MINUTE);
            lab.proxy.set(Faults::default());
            let receipts = Receipts::read(&ended.stdout);
            let log = Log::read(&lab.through, &topic);
            log.agrees_with(&receipts);
            assert_eq!(ended.code(), 0, "{places:?}: {}", ended.stderr);
            log.is_complete(1..=30_000);
        }
    }
    let cuts = lab.proxy.cuts();
    for cut in ALL_CUTS {
        let count = cuts.get(&cut).unwrap_or(&0) - before.get(&cut).unwrap_or(&0);
        assert!(count > 0, "{cut:?} never happened; the test shows nothing");
        println!("{cut:?}: {count} times");
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn connections_that_live_a_second_carry_everything_in_order() {
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    let topic = topic("short-lives");
    create_topic(lab.broker(), &topic, 3, 1, &[]);
    let before = lab.proxy.connections();
    lab.proxy.set(Faults { lives: Some(500..1500), ..Faults::default() });
    let count = if soak() { 500_000 } else { 100_000 };
    let mut running = Running::start(produce(&lab.through, &topic, &["--timeout", "120s"]));
    running.feed(pieces(count, 1000), Duration::from_millis(40));
    let ended = running.wait(3 * MINUTE);
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    // read through connections that are cut as well
    let log = Log::read(&lab.through, &topic);
    log.agrees_with(&Receipts::read(&ended.stdout));
    log.is_complete(1..=count);
    let connections = lab.proxy.connections() - before;
    assert!(connections > 5, "{connections} connections: nothing was cut");
}

#[test]
#[ignore = "needs Apache Kafka"]
fn slow_and_far_brokers_get_everything_in_order() {
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    let far = Faults { delay: Some(Duration::from_millis(100)), ..Faults::default() }; // each way
    let slow = Faults { throttle: Some(1_000_000), ..Faults::default() };
    for (faults, width) in [(far, 0), (slow, 200)] {
        let topic = topic("slow");
        create_topic(lab.broker(), &topic, 3, 1, &[]);
        lab.proxy.set(faults);
        let count = if soak() { 200_000 } else { 20_000 };
        let ended = produce(&lab.through, &topic, &["--timeout", "120s", "--linger", "1ms"])
            .stdin(padded(1..=count, width))
            .deadline(3 * MINUTE)
            .run();
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        let log = Log::read(&lab.through, &topic);
        log.agrees_with(&Receipts::read(&ended.stdout));
        log.is_complete(1..=count);
        lab.proxy.set(Faults::default());
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_killed_producer_has_promised_no_more_than_what_is_there() {
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    for _ in 0..if soak() { 30 } else { 5 } {
        let topic = topic("killed-producer");
        create_topic(lab.broker(), &topic, 3, 1, &[]);
        let mut running = Running::start(produce(&lab.through, &topic, &[]));
        running.feed(pieces(100_000, 200), Duration::from_millis(2));
        running.lines(random.within(1..30_000), MINUTE);
        let receipts = Receipts::read(&running.kill().stdout);
        assert!(!receipts.acknowledged.is_empty());
        Log::read(&lab.through, &topic).agrees_with(&receipts);
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_consumer_reads_through_cut_connections() {
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    let topic = topic("cut-consumer");
    create_topic(lab.broker(), &topic, 3, 1, &[]);
    produce(&lab.through, &topic, &[]).stdin(padded(1..=50_000, 300)).run().ok();
    // a full answer, 2 MiB of each of three partitions, takes longer than any connection lives
    lab.proxy.set(Faults { lives: Some(500..1500), throttle: Some(2_500_000), ..Faults::default() });
    let before = lab.proxy.connections();
    let log = Log::read(&lab.through, &topic);
    let connections = lab.proxy.connections() - before;
    log.is_complete(1..=50_000);
    assert!(connections > 5, "{connections} connections: nothing was cut");
}
