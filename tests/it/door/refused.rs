//! Each wrong way: exit 3, quickly, with the cause and the next thing to try, held as exact text.

use std::time::{Duration, Instant};

use super::{Door, Listener, PASSWORD};
use crate::harness::Ended;

/// `topics list`, which must end at once although it might try for a minute.
fn knock(address: &str, settings: &[&str], password: &str) -> Ended {
    let door = Door::get();
    let slow = [settings, &["connect_timeout=20s", "request_timeout=60s"]].concat();
    let program = door.kafkalab_at(address, &slow, &["topics", "list"]);
    let began = Instant::now();
    let ended = program.env("KAFKALAB_SASL_PASSWORD", password).run();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}: {ended:?}", began.elapsed());
    ended
}

/// Exit 3 with this cause and this hint.
#[track_caller]
fn refused(listener: Listener, settings: &[&str], cause: &str, hint: &str) {
    let address = Door::get().address(listener);
    let ended = knock(&address, settings, PASSWORD);
    let said = format!("error: connecting: broker at {address}: {cause}\nhint: {hint}\n");
    assert_eq!((ended.code(), ended.text().as_str(), ended.stderr.as_str()), (3, "", said.as_str()));
}

const CA: &str = "tls.ca={}/ca.pem";

#[test]
#[ignore = "needs Apache Kafka with TLS listeners"]
fn a_broker_that_cannot_be_believed() {
    refused(
        Listener::Tls,
        &["tls.ca={}/stranger.pem"],
        "its certificate is signed by nobody who is trusted here",
        "name the CA that signed it: -X tls.ca=FILE (PEM)",
    );
    refused(
        Listener::Elsewhere,
        &[CA],
        "its certificate is not for \"127.0.0.1\"; it names kafka.example",
        "use a name that the certificate has, or have it made with this one among its subject alternative names",
    );
    refused(
        Listener::Expired,
        &[CA],
        "its certificate has expired",
        "whoever runs the broker renews it; this machine's clock counts too",
    );
}

#[test]
#[ignore = "needs Apache Kafka with TLS listeners"]
fn a_listener_that_asks_for_a_client_certificate() {
    refused(
        Listener::Mutual,
        &[CA],
        "it asks for a client certificate, and none is configured",
        "name one: -X tls.cert=FILE -X tls.key=FILE (PEM)",
    );
    let foreign = [CA, "tls.cert={}/foreign.crt", "tls.key={}/foreign.key"];
    let address = Door::get().address(Listener::Mutual);
    let ended = knock(&address, &foreign, "");
    assert_eq!(ended.code(), 3, "{ended:?}");
    assert!(ended.stderr.contains("it refused the client certificate"), "{ended:?}");
    assert!(ended.stderr.contains("hint: tls.cert must be valid now"), "{ended:?}");
}

#[test]
#[ignore = "needs Apache Kafka with TLS listeners"]
fn plain_text_and_tls_mixed_up() {
    refused(
        Listener::Tls,
        &[],
        "it speaks TLS, and TLS is not switched on here",
        "switch TLS on: -X tls.enabled=true, with -X tls.ca=FILE where the CA is your own",
    );
    let address = Door::get().plain_address();
    let said = format!(
        "error: connecting: broker at {address}: it closed the connection in the TLS handshake; a listener without TLS \
         does that\nhint: is this the port of a TLS listener? `kafkalab config show` tells who switched TLS on \
         (tls.enabled)\n"
    );
    let ended = knock(address, &[CA], "");
    assert_eq!((ended.code(), ended.stderr), (3, said));
}

#[test]
#[ignore = "needs Apache Kafka with SASL listeners"]
fn a_listener_that_asks_for_a_user_and_one_that_does_not() {
    let hint = "set sasl.mechanism and sasl.username (-X), and KAFKALAB_SASL_PASSWORD";
    let asks =
        |offered: &str| format!("it asks for a user and a password (SASL, by {offered}), and none is configured");
    refused(Listener::Open, &[], &asks("PLAIN, SCRAM-SHA-256"), hint);
    refused(Listener::Password, &[CA], &asks("PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"), hint);
    refused(
        Listener::Tls,
        &[CA, "sasl.mechanism=PLAIN", "sasl.username=ada"],
        "it does not ask for a user (SASL), and one is configured",
        "is this the port of a SASL listener? `kafkalab config show` tells who set sasl.mechanism",
    );
}

#[test]
#[ignore = "needs Apache Kafka with SASL listeners"]
fn a_mechanism_that_is_not_offered() {
    refused(
        Listener::Open,
        &["sasl.mechanism=SCRAM-SHA-512", "sasl.username=ada"],
        "it does not take the SASL mechanism SCRAM-SHA-512; it offers PLAIN, SCRAM-SHA-256",
        "-X sasl.mechanism=NAME, with one that the broker offers",
    );
}

#[test]
#[ignore = "needs Apache Kafka with SASL listeners"]
fn a_wrong_password_or_user_in_each_mechanism() {
    let address = Door::get().address(Listener::Password);
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        for (user, password) in [("ada", "wrong-canary"), ("grace", PASSWORD)] {
            let (sasl, user) = (format!("sasl.mechanism={mechanism}"), format!("sasl.username={user}"));
            let ended = knock(&address, &[CA, &sasl, &user], password);
            let cause = format!("broker at {address}: it refused the user or the password ({mechanism}): \"");
            assert_eq!(ended.code(), 3, "{ended:?}");
            assert!(ended.stderr.contains(&cause), "{ended:?}");
            assert!(ended.stderr.contains("\nhint: `kafkalab config show` tells where user and password"), "{ended:?}");
            assert!(!ended.stderr.contains("canary"), "{ended:?}");
        }
    }
}

#[test]
#[ignore = "needs Apache Kafka with SASL listeners"]
fn a_wrong_password_ends_every_command_at_once() {
    let door = Door::get();
    let settings = [CA, "sasl.mechanism=SCRAM-SHA-256", "sasl.username=ada"];
    for command in [&["produce", "t"][..], &["consume", "t"], &["topics", "describe", "t"], &["topics", "create", "t"]]
    {
        let began = Instant::now();
        let program = door.kafkalab(Listener::Password, &settings, command).stdin("x\n");
        let ended = program.env("KAFKALAB_SASL_PASSWORD", "wrong").run();
        assert_eq!(ended.code(), 3, "{command:?}: {ended:?}");
        assert!(ended.stderr.contains("it refused the user or the password"), "{command:?}: {ended:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{command:?} took {:?}", began.elapsed());
    }
}
