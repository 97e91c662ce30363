//! The store or the brokers go away under a reader: it says so, waits, and has everything once when they are back.

use std::{thread, time::Duration};

use rustix::process::Signal;

use super::{judged, judged_on, read_on, stats, write};
use crate::{
    es::Place,
    faults::Lab,
    harness::need_kafka,
    membership::until,
    outbox::database::Server,
    process::{Running, start},
    random::Random,
};

fn stop(mut running: Running, code: i32) {
    let signal = if code == 130 { Signal::INT } else { Signal::TERM };
    running.signal(signal);
    let ended = running.end();
    assert_eq!(ended.code(), code, "{ended:?}");
}

/// How many there are in the log.
fn orders(place: &Place) -> i64 {
    place.sql("SELECT count(DISTINCT stream_id) FROM events")[0][0].parse().expect("a number")
}

fn until_it_has(place: &Place, orders: i64) {
    until("orders in the models", Duration::from_secs(90), || match stats(place)["orders"].as_i64() {
        Some(there) if there >= orders => Ok(()),
        there => Err(format!("{there:?} of {orders}")),
    });
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_store_that_is_restarted_or_killed_is_waited_for() {
    let server = Server::start();
    let place = Place::on("cqrs-restarted", &server.url);
    write(&place, 100, 31);
    let mut reader = start(place.cqrs(&["read", "--batch", "5", "--instance-id", "one"]));
    until_it_has(&place, 10);
    server.run("restart");
    write(&place, 100, 32);
    server.run("kill");
    reader.until_stderr_has("trying again: ");
    server.run("restart");
    until_it_has(&place, orders(&place));
    reader.signal(Signal::TERM);
    let ended = reader.end();
    assert_eq!(ended.code(), 143, "{ended:?}");
    assert!(!ended.stderr.contains("dead letter: "), "{ended:?}");
    read_on(&place, &["-q", "--instance-id", "one"]);
    judged(&place);
}

#[test]
#[ignore = "needs kcat"]
fn a_store_that_somebody_has_locked_is_waited_for() {
    let place = Place::sqlite("cqrs-locked");
    write(&place, 60, 33);
    let database = rusqlite::Connection::open(place.path()).expect("the store's file");
    database.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let reader = start(place.cqrs(&["read", "--batch", "5"]));
    reader.until_stderr_has("assigned: ");
    thread::sleep(Duration::from_secs(2)); // how long it is locked, not a wait for anything
    assert_eq!(stats(&place)["orders"], 0, "who only looks is not held up");
    database.execute_batch("ROLLBACK").expect("unlocking");
    until_it_has(&place, orders(&place));
    stop(reader, 130);
    judged(&place);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn brokers_that_are_killed_are_waited_for() {
    need_kafka();
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    let place = Place::new("cqrs-away");
    let on_lab = |arguments: &[&str]| place.cqrs(arguments).env("KAFKALAB_BROKERS", &lab.through);
    let until_no_lag = || {
        until("no lag", Duration::from_secs(90), || {
            let lag = on_lab(&["lag", "--json"]).run().ok().text();
            if lag.contains("\"events\":0") { Ok(()) } else { Err(lag) }
        });
    };
    on_lab(&["write", "-n", "200", "--seed", "34", "-q"]).run().ok();
    let reader = start(on_lab(&["read", "--batch", "5"]));
    // who has read all of it has passed the markers: Kafka 4.3.1 may lose some with its only broker (KAFKA-20734)
    until_no_lag();
    lab.kafka.kill(1);
    reader.until_stderr_has("trying again: ");
    lab.kafka.restart(1);
    on_lab(&["write", "-n", "200", "--seed", "35", "-q"]).run().ok();
    until_it_has(&place, orders(&place));
    until_no_lag();
    stop(reader, 143);
    judged_on(&place, lab.broker());
}
