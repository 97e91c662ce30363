//! Kafka or the store is away for a while.

use std::time::Duration;

use rustix::process::Signal;

use super::{
    consuming,
    receiver::{Mode, Receiver},
    stats, until_counted,
};
use crate::{
    bytes::files::Folder,
    es::{Place, brokers::Broker},
    membership::until,
    outbox::database::Server,
};

fn order(place: &Place, brokers: Option<&str>, count: u32) {
    place.outbox(&["order", "--price", "USD:1", "-q", "-n", &count.to_string()]).run().ok();
    let relay = place.outbox(&["relay", "--once", "-q"]);
    match brokers {
        Some(brokers) => relay.env("KAFKALAB_BROKERS", brokers).run().ok(),
        None => relay.run().ok(),
    };
}

#[test]
fn a_kafka_that_is_away_is_waited_for_and_all_arrives() {
    let (place, folder) = (Place::new("kafka-away"), Folder::new("kafka-away-broker"));
    let mut broker = Broker::start("0", &folder);
    let address = broker.address.clone();
    let receiver = Receiver::start(Mode::Heeds);
    let mut consumers = consuming(&place, &["--notify", &receiver.url(), "-b", &address, "--instance-id", "one"]);
    order(&place, Some(&address), 20);
    until_counted(&place, 20);
    broker.running.signal(Signal::TERM);
    broker.running.end();
    // counts and words are asked for in the store: they are there
    assert_eq!(stats(&place)["orders"], 20);
    let port = address.split(':').nth(1).expect("a port");
    let _broker = Broker::start(port, &folder);
    order(&place, Some(&address), 20);
    until_counted(&place, 40);
    until("all are told", Duration::from_secs(60), || match receiver.heard().len() {
        40 => Ok(()),
        heard => Err(heard.to_string()),
    });
    consumers.signal(Signal::TERM);
    assert_eq!(consumers.end().code(), 143);
}

#[test]
fn a_sqlite_that_somebody_holds_is_waited_for() {
    let place = Place::sqlite("held");
    let receiver = Receiver::start(Mode::Heeds);
    order(&place, None, 10);
    let file = rusqlite::Connection::open(place.path()).expect("the store's file");
    let mut consumers = consuming(&place, &["--notify", &receiver.url()]);
    consumers.until_stderr_has("groups: ");
    file.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    order_is_refused(&place);
    consumers.until_stderr_has("trying again: ");
    file.execute_batch("ROLLBACK").expect("the lock");
    until_counted(&place, 10);
    until("all are told", Duration::from_secs(60), || match receiver.heard().len() {
        10 => Ok(()),
        heard => Err(heard.to_string()),
    });
    consumers.signal(Signal::TERM);
    assert_eq!(consumers.end().code(), 143);
}

/// The lock is one that others see.
fn order_is_refused(place: &Place) {
    let other = rusqlite::Connection::open(place.path()).expect("the store's file");
    other.busy_timeout(Duration::ZERO).expect("no time");
    other.execute_batch("BEGIN IMMEDIATE").expect_err("somebody holds it");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_postgresql_that_is_restarted_or_killed_is_waited_for_and_nothing_is_lost() {
    let server = Server::start();
    let place = Place::on("restarted", &server.url);
    let receiver = Receiver::start(Mode::Heeds);
    order(&place, None, 100);
    let mut consumers = consuming(&place, &["--notify", &receiver.url(), "--batch", "3"]);
    for commands in [&["restart"][..], &["kill", "restart"]] {
        let before = receiver.heard().len();
        until("more of it", Duration::from_secs(60), || {
            let now = receiver.heard().len();
            (now > before).then_some(()).ok_or(format!("{before}, {now}"))
        });
        commands.iter().for_each(|command| drop(server.run(command)));
        order(&place, None, 100);
    }
    until_counted(&place, 300);
    until("all are told", Duration::from_secs(90), || match receiver.orders().len() {
        300 => Ok(()),
        heard => Err(heard.to_string()),
    });
    consumers.signal(Signal::TERM);
    assert_eq!(consumers.end().code(), 143);
}
