//! A publisher whose broker goes away.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{
    Place,
    judge::{judged, sent_on},
};
use crate::{
    bytes::files::Folder,
    cli::expect,
    cluster::Kafka,
    harness::{kafkalab, need_kafka},
    membership::until,
    process::{Running, start},
};

/// An embedded broker that is a process.
pub struct Broker {
    pub running: Running,
    pub address: String,
}

impl Broker {
    pub fn start(port: &str, folder: &Folder) -> Self {
        let running =
            start(kafkalab(["broker", "--port", port, "--dir"]).arguments([folder.0.to_str().expect("a path")]));
        running.until_stderr_has("; Ctrl-C stops it");
        let said = running.stderr_so_far();
        let address = said.split("embedded broker on ").nth(1).and_then(|rest| rest.split(';').next());
        Self { address: address.expect("an address").to_owned(), running }
    }
}

fn published(place: &Place, brokers: &str) -> usize {
    ["orders", "payments", "shipments"].iter().map(|word| sent_on(brokers, &place.topic(word)).len()).sum()
}

#[test]
#[ignore = "needs kcat"]
fn without_a_broker_it_says_so_and_nothing_is_lost() {
    let place = Place::new("nowhere");
    place.done(&["create", "--price", "USD:9.99"]);
    let said = "error: connecting: no broker reachable at localhost:1: Connection refused (os error 111)\n\
                hint: is the broker running, and is the address right? It comes from environment KAFKALAB_BROKERS; `kafkalab doctor` looks closer\n";
    for arguments in [&["publish", "--once"][..], &["replay"], &[]] {
        expect(place.es(arguments).env("KAFKALAB_BROKERS", "localhost:1"), 3, "", said);
    }
    // who stays waits for it, and says so
    let mut publisher = start(place.es(&["publish"]).env("KAFKALAB_BROKERS", "localhost:1"));
    publisher.until_stderr_has("waiting for Kafka: connecting: no broker reachable at localhost:1: ");
    publisher.signal(Signal::TERM);
    assert_eq!(publisher.end().code(), 143);
    place.es(&["publish", "--once"]).run().ok();
    assert_eq!(judged(&place), 0);
}

#[test]
#[ignore = "needs kcat"]
fn it_waits_for_a_broker_that_comes_back_and_goes_on() {
    let (place, folder) = (Place::new("away"), Folder::new("away-broker"));
    place.done(&["create", "--price", "USD:9.99", "--order", "one"]);
    let mut broker = Broker::start("0", &folder);
    let address = broker.address.clone();
    let mut publisher = start(place.es(&["publish", "--every", "50ms"]).env("KAFKALAB_BROKERS", &address));
    publisher.until_stdout_has("OrderCreated");
    broker.running.signal(Signal::TERM);
    broker.running.end();
    place.done(&["pay", "one"]);
    publisher.until_stderr_has("trying again: ");
    let port = address.split(':').nth(1).expect("a port");
    let _broker = Broker::start(port, &folder);
    publisher.until_stdout_has("OrderPaid");
    publisher.signal(Signal::TERM);
    assert_eq!(publisher.end().code(), 143);
    assert_eq!(published(&place, &address), 2);
}

#[test]
fn once_it_gives_up_on_a_broker_that_stays_away() {
    let (place, folder) = (Place::new("gone"), Folder::new("gone-broker"));
    let broker = Broker::start("0", &folder);
    for order in ["a", "b", "c", "d"] {
        place.done(&["create", "--price", "USD:9.99", "--order", order]);
    }
    // it stands before its second transaction when its broker dies
    let once = ["publish", "--once", "--batch", "1", "--give-up-after", "1s"];
    let mut publisher = start(place.es(&once).env("KAFKALAB_BROKERS", &broker.address));
    publisher.until_stdout_has("OrderCreated");
    broker.running.signal(Signal::KILL);
    let began = Instant::now();
    let ended = publisher.end();
    assert!([3, 4].contains(&ended.code()) && ended.stderr.contains("\nerror: "), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // all of it is still there for the next one
    place.es(&["publish", "--once"]).run().ok();
    assert_eq!(place.sql("SELECT position FROM checkpoints"), [["4"]]);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_killed_cluster_is_waited_for_and_nothing_is_lost_or_doubled() {
    need_kafka();
    let kafka = Kafka::start(1, &[]);
    let place = Place::new("killed");
    place.done(&["create", "--price", "USD:9.99", "--order", "one"]);
    let mut publisher = start(place.es(&["publish"]).env("KAFKALAB_BROKERS", &kafka.brokers));
    publisher.until_stdout_has("OrderCreated");
    let for_readers = |all| {
        let found = || Some(published(&place, &kafka.brokers)).filter(|found| *found == all).ok_or("fewer".to_owned());
        until("all of it for readers of what is committed", Duration::from_secs(90), found);
    };
    // Kafka 4.3.1 may lose the marker of a transaction that it has promised to commit (KAFKA-20734): not what this is about
    for_readers(1);
    kafka.kill(1);
    place.done(&["pay", "one"]);
    publisher.until_stderr_has("trying again: ");
    kafka.restart(1);
    place.done(&["ship", "one"]);
    publisher.until_stdout_has("OrderShipped");
    publisher.signal(Signal::TERM);
    assert_eq!(publisher.end().code(), 143);
    for_readers(3);
}
