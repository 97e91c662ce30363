//! The store is away, locked or full; Kafka is away.

use std::{
    thread,
    time::{Duration, Instant},
};

use prost::Message;
use rustix::process::Signal;

use super::{DEADLINE_EXCEEDED, ORDER, Refused, Server, UNAVAILABLE, client, ordering, relayed, runtime, serving};
use crate::{
    bytes::files::Folder,
    cluster::soak,
    es::{Place, brokers::Broker, judge::sent_on},
    faults::Lab,
    harness::{need_kafka, program},
    membership::until,
    outbox::{database, judge::judged_on},
    random::Random,
};

const KEY: &str = "idempotency-key: k-1";
const METHOD: &str = "orders.v1.OrdersService/CreateOrder";

#[test]
#[ignore = "needs grpcurl"]
fn a_call_whose_time_is_over_is_told_so_and_nothing_is_half_written() {
    let place = Place::sqlite("late");
    let server = Server::start(&place, &["--relay", "external"]);
    let holder = rusqlite::Connection::open(place.path()).expect("the store's file");
    holder.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let began = Instant::now();
    let late = Refused::of(&server.grpcurl(&["-max-time", "1", "-format-error", "-H", KEY, "-d", ORDER], METHOD).run());
    assert_eq!(late.code, DEADLINE_EXCEEDED, "{late:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    holder.execute_batch("ROLLBACK").expect("unlocking");
    // it was on its way: whole or not at all, and the next attempt finds it or takes it
    let answer = until("an answer", Duration::from_secs(20), || {
        let ended = server.calling("CreateOrder", &[KEY], ORDER).run();
        (ended.code() == 0).then(|| ended.text()).ok_or(ended.stderr)
    });
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("an answer");
    let (events, messages) = (place.sql("SELECT event_id FROM events"), place.sql("SELECT id FROM outbox"));
    assert_eq!((events.len(), messages.len()), (1, 1), "{answer}");
    server.stop();
}

/// grpcurl and tonic keep a call's time on their own side as well; curl knows nothing of it, so what it hears the server says.
#[test]
#[ignore = "needs curl"]
fn the_time_of_a_call_is_kept_by_the_server_too() {
    let place = Place::sqlite("deadline");
    let server = Server::start(&place, &["--relay", "external"]);
    let holder = rusqlite::Connection::open(place.path()).expect("the store's file");
    holder.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let message = ordering("k-1").into_inner().encode_to_vec();
    // gRPC over HTTP/2, "Length-Prefixed-Message"
    let frame = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
    let url = format!("http://{}/{METHOD}", server.address);
    let heard = |timeout: &str| {
        let timeout = format!("grpc-timeout: {timeout}");
        let curl =
            program("curl", ["-sS", "--max-time", "8", "--http2-prior-knowledge", "-o", "/dev/null", "-D", "-", &url]);
        let headers = ["content-type: application/grpc", "te: trailers", KEY, &timeout];
        let curl = curl.arguments(headers.iter().flat_map(|header| ["-H", header]));
        curl.arguments(["--data-binary", "@-"]).stdin(frame.clone()).run().ok().text()
    };
    let began = Instant::now();
    let said = heard("300m");
    assert!(said.contains("grpc-status: 4\r\n") && said.contains("grpc-status-details-bin: "), "{said}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    holder.execute_batch("ROLLBACK").expect("unlocking");
    let said = heard("7S");
    assert!(said.contains("grpc-status: 0\r\n"), "{said}");
    server.stop();
    assert_eq!(place.sql("SELECT id FROM outbox").len(), 1);
}

#[test]
#[ignore = "needs grpcurl"]
fn a_store_that_stays_locked_is_unavailable_with_a_time_to_try_again() {
    let place = Place::sqlite("locked");
    let server = Server::start(&place, &["--relay", "external"]);
    let holder = rusqlite::Connection::open(place.path()).expect("the store's file");
    holder.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let locked = server.refused("CreateOrder", &[KEY], ORDER);
    assert_eq!((locked.code, &locked.detail("RetryInfo")["retryDelay"]), (UNAVAILABLE, &"1s".into()), "{locked:?}");
    assert!(!locked.message.contains(&place.path().display().to_string()), "{locked:?}");
    server.running.until_stderr_has(" is locked by another process: ");
    holder.execute_batch("ROLLBACK").expect("unlocking");
    assert_eq!(server.call("CreateOrder", &[KEY], ORDER)["alreadyDone"], false);
    server.stop();
}

/// With files of a limited size: a disk that is full, as far as the program sees it.
#[test]
fn a_store_without_space_is_unavailable_and_who_was_answered_is_there() {
    let place = Place::sqlite("full");
    Server::start(&place, &["--relay", "external"]).stop();
    let size = std::fs::metadata(place.path()).expect("the file").len();
    let script = format!("ulimit -f {}; trap '' XFSZ; exec \"$0\" grpc-server \"$@\"", size / 512 + 1000);
    let shell = program("sh", ["-c", &script, env!("CARGO_BIN_EXE_kafkalab"), "--listen", "127.0.0.1:0"]);
    let shell = shell.arguments(["--relay", "external", "--store", &place.url()]);
    let server = Server::by(shell.env("KAFKALAB_BROKERS", "localhost:1").env("HOME", "/tmp"));
    let (mut taken, mut refused) = (0, None);
    runtime().block_on(async {
        let mut client = client(&server.address);
        while refused.is_none() && taken < 5000 {
            match client.create_order(ordering(&format!("k-{taken}"))).await {
                Ok(_) => taken += 1,
                Err(status) => refused = Some(status),
            }
        }
    });
    let refused = refused.expect("a disk that is full");
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
    drop(server);
    assert!(taken > 0, "{taken} taken");
    let (events, messages) = (place.sql("SELECT event_id FROM events"), place.sql("SELECT id FROM outbox"));
    assert_eq!((events.len(), messages.len()), (taken, taken));
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_postgresql_that_is_stopped_is_unavailable_and_comes_back() {
    let postgres = database::Server::start();
    let place = Place::on("stopped", &postgres.url);
    let server = Server::start(&place, &["--relay", "external"]);
    server.call("CreateOrder", &[KEY], ORDER);
    postgres.run("stop");
    let away = server.refused("CreateOrder", &["idempotency-key: k-2"], ORDER);
    assert_eq!((away.code, &away.detail("RetryInfo")["retryDelay"]), (UNAVAILABLE, &"1s".into()), "{away:?}");
    let away = server.refused("GetOrder", &[], r#"{"order_id":"o"}"#);
    assert_eq!(away.code, UNAVAILABLE, "{away:?}");
    postgres.run("restart");
    until("the store is back", Duration::from_secs(30), || {
        let ended = server.calling("CreateOrder", &["idempotency-key: k-2"], ORDER).run();
        (ended.code() == 0).then_some(()).ok_or(ended.stderr)
    });
    assert_eq!(server.call("CreateOrder", &[KEY], ORDER)["alreadyDone"], true);
    server.stop();
    assert_eq!(place.sql("SELECT id FROM outbox").len(), 2);
}

/// So many callers for a time; gives how many orders were taken. Each call must be answered OK.
fn load(address: &str, callers: usize, time: Duration, name: &str) -> usize {
    let taken = runtime().block_on(async {
        let client = client(address);
        let callers = (0..callers).map(|caller| {
            let mut client = client.clone();
            async move {
                let (began, mut count) = (Instant::now(), 0);
                while began.elapsed() < time {
                    let key = format!("{name}-{caller}-{count}");
                    client.create_order(ordering(&key)).await.expect("an order that is taken");
                    count += 1;
                }
                count
            }
        });
        futures::future::join_all(callers).await
    });
    taken.into_iter().sum()
}

#[test]
#[ignore = "needs kcat"]
fn a_kafka_that_comes_late_costs_no_order() {
    let (place, folder) = (Place::new("late-kafka"), Folder::new("late-kafka"));
    let mut broker = Broker::start("0", &folder);
    let address = broker.address.clone();
    broker.running.signal(Signal::TERM);
    broker.running.end();
    let program = serving(&place, &["--listen", "127.0.0.1:0"]).env("KAFKALAB_BROKERS", &address);
    let server = Server::by(program);
    server.running.until_stderr_has("waiting for Kafka: ");
    let taken = load(&server.address, 8, Duration::from_secs(1), "late");
    let _broker = Broker::start(address.split(':').nth(1).expect("a port"), &folder);
    until("all of it on Kafka", Duration::from_secs(60), || {
        let waiting = place.sql("SELECT count(*) FROM outbox_unpublished")[0][0].clone();
        (waiting == "0").then_some(()).ok_or(waiting)
    });
    server.stop();
    assert_eq!(judged_on(&place, &address), [].into());
    assert_eq!(sent_on(&address, &place.topic("orders")).len(), taken);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn while_kafka_is_away_under_load_no_call_fails_and_all_events_arrive() {
    need_kafka();
    let mut random = Random::from_seed_or_new();
    let lab = Lab::take(&mut random);
    let place = Place::new("kafka-away");
    let program = serving(&place, &["--listen", "127.0.0.1:0"]).env("KAFKALAB_BROKERS", &lab.through);
    let server = Server::by(program);
    let away = Duration::from_secs(if soak() { 60 } else { 6 });
    let taken = thread::scope(|scope| {
        let load = scope.spawn(|| load(&server.address, 64, away + Duration::from_secs(4), "away"));
        server.running.until_stderr_has("made ");
        until("some of it on Kafka", Duration::from_secs(20), || {
            let all = place.sql("SELECT count(*) FROM outbox")[0][0].parse::<u64>().expect("a count");
            let waiting = place.sql("SELECT count(*) FROM outbox_unpublished")[0][0].parse::<u64>().expect("a count");
            (all > waiting).then_some(()).ok_or(format!("{all}, {waiting} waiting"))
        });
        lab.kafka.kill(1);
        thread::sleep(away); // so long it is away
        lab.kafka.restart(1);
        load.join().expect("no call fails")
    });
    server.running.until_stderr_has("trying again: ");
    server.stop();
    relayed(&place, &lab.through);
    let twice = judged_on(&place, lab.broker());
    let mut keys: Vec<_> = sent_on(lab.broker(), &place.topic("orders")).into_iter().map(|sent| sent.key).collect();
    keys.sort();
    keys.dedup();
    println!("{taken} orders in {:?}, {away:?} of it without Kafka; twice: {twice:?}", away + Duration::from_secs(4));
    assert_eq!(keys.len(), taken);
}
