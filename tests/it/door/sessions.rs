//! Sessions that the broker ends (KIP-368): one authenticates again before, on the same connection.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use super::{Door, Listener, PASSING_USER, PASSWORD};
use crate::{harness::topic, process};

#[test]
#[ignore = "needs Apache Kafka with SASL listeners"]
fn a_consumer_outlives_its_session_without_losing_a_connection() {
    let door = Door::get();
    let topic = topic("session");
    let settings = ["sasl.mechanism=SCRAM-SHA-256", "sasl.username=ada"];
    let kafkalab = |arguments: &[&str]| {
        door.kafkalab(Listener::Open, &settings, arguments).env("KAFKALAB_SASL_PASSWORD", PASSWORD)
    };
    kafkalab(&["topics", "create", &topic]).run().ok();
    let mut running = process::start(kafkalab(&["consume", &topic, "-n", "2", "-vv"]));
    kafkalab(&["produce", &topic]).stdin("first\n").run().ok();
    running.until_stdout_has("first");
    std::thread::sleep(Duration::from_secs(9)); // what is measured: two sessions of four seconds, and some
    kafkalab(&["produce", &topic]).stdin("second\n").run().ok();
    running.until_stdout_has("second");
    let ended = running.end();
    assert_eq!((ended.code(), ended.text()), (0, "first\nsecond\n".to_owned()), "{}", ended.stderr);
    assert!(ended.stderr.matches("authenticated again").count() >= 2, "{}", ended.stderr);
    assert!(!ended.stderr.contains("connection broken"), "{}", ended.stderr);
}

/// Neither goes on trying for as long as it would wait for a broker that is away.
#[test]
#[ignore = "needs Apache Kafka with SASL listeners"]
fn who_loses_the_password_in_the_middle_is_told_so_at_once() {
    let door = Door::get();
    let topic = topic("dismissed");
    let user = format!("sasl.username={PASSING_USER}");
    let settings = ["sasl.mechanism=SCRAM-SHA-256", &user];
    let kafkalab = |arguments: &[&str]| {
        door.kafkalab(Listener::Open, &settings, arguments).env("KAFKALAB_SASL_PASSWORD", PASSWORD)
    };
    kafkalab(&["topics", "create", &topic]).run().ok();
    let mut consumer = process::start(kafkalab(&["consume", &topic]));
    let mut producer = process::start(kafkalab(&["produce", &topic, "-vv"]));
    producer.stdin.as_mut().expect("a pipe").write_all(b"before\n").expect("a line");
    consumer.until_stdout_has("before");
    producer.until_stderr_has("authenticated again"); // so that its session is known to be young
    door.alter_user(PASSING_USER, &["--delete-config", "SCRAM-SHA-256"]);
    let began = Instant::now();
    let ended = consumer.end();
    assert_eq!((ended.code(), ended.text().as_str()), (3, "before\n"), "{ended:?}");
    assert!(ended.stderr.contains("it refused the user or the password (SCRAM-SHA-256)"), "{ended:?}");
    producer.until_stderr_has("authenticating again: it refused the user");
    let mut stdin = producer.stdin.take().expect("a pipe");
    stdin.write_all(b"after\n").expect("a line");
    drop(stdin);
    let ended = producer.end();
    assert_eq!(ended.code(), 3, "{ended:?}");
    assert!(ended.stderr.contains("it refused the user or the password (SCRAM-SHA-256)"), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
