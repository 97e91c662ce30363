//! Each right way in: topics, produce and consume, and somebody else by the same way.

use std::time::{Duration, Instant};

use super::{Door, Listener, ODD_PASSWORD, ODD_USER, PASSWORD};
use crate::harness::{program, topic};

/// Who shows that the listener is right.
enum Oracle<'a> {
    /// kcat, with librdkafka's settings.
    Kcat(&'a [&'a str]),
    /// Kafka's own consumer, with its properties. librdkafka before 2.6.1 repeats its nonce in SCRAM's last message
    /// (librdkafka pull request 4895), which Kafka 4 refuses; Debian's kcat stands on 2.0.2.
    Java(&'a str),
}

/// Makes a topic, writes by us and by kcat, reads by us and by the other one.
fn goes_in(listener: Listener, ours: &[&str], oracle: &Oracle<'_>) {
    let door = Door::get();
    let topic = topic("door");
    let kafkalab =
        |arguments: &[&str]| door.kafkalab(listener, ours, arguments).env("KAFKALAB_SASL_PASSWORD", PASSWORD);
    kafkalab(&["topics", "create", &topic, "-p", "2"]).run().ok();
    let listed = kafkalab(&["topics", "list"]).run().ok().text();
    assert!(listed.contains(&topic), "{listed}");
    let mut expected: Vec<String> = (0..5000).map(|n| n.to_string()).collect();
    kafkalab(&["produce", &topic]).stdin(expected.join("\n")).run().ok();
    kafkalab(&["produce", &topic, "--acks", "0"]).stdin("unanswered\n").run().ok();
    expected.push("unanswered".to_owned());
    if let Oracle::Kcat(settings) = oracle {
        door.kcat(listener, settings, &["-P", "-t", &topic]).stdin("by kcat\n").run().ok();
        expected.push("by kcat".to_owned());
    }
    expected.sort();
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(kafkalab(&["consume", &topic, "-e"]).run().ok().text()), expected);
    assert_eq!(sorted(kafkalab(&["consume", &topic, "-g", &topic, "-e"]).run().ok().text()), expected);
    let theirs = match oracle {
        Oracle::Kcat(settings) => door.kcat(listener, settings, &["-C", "-e", "-t", &topic]).run().ok().text(),
        Oracle::Java(properties) => console_consumer(door, listener, properties, &topic, expected.len()),
    };
    assert_eq!(sorted(theirs), expected);
}

fn console_consumer(door: &Door, listener: Listener, properties: &str, topic: &str, count: usize) -> String {
    let file = door.file(&format!("{topic}.properties"));
    let trust = format!("ssl.truststore.type=PEM\nssl.truststore.location={}\n", door.file("ca.pem"));
    std::fs::write(&file, trust + properties).expect("a file");
    let class = "org.apache.kafka.tools.consumer.ConsoleConsumer";
    program("bash", ["dev/kafka/kafka.sh", "tool", class, "--bootstrap-server", &door.address(listener)])
        .arguments(["--command-config", &file, "--topic", topic, "--from-beginning"])
        .arguments(["--timeout-ms", "20000", "--max-messages", &count.to_string()])
        .run()
        .ok()
        .text()
}

/// What Java needs to be told of a user.
fn jaas(protocol: &str, mechanism: &str) -> String {
    let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
    format!(
        "security.protocol={protocol}\nsasl.mechanism={mechanism}\n\
         sasl.jaas.config={module} required username=\"ada\" password=\"{PASSWORD}\";\n"
    )
}

const TLS: [&str; 2] = ["security.protocol=ssl", "ssl.ca.location={}/ca.pem"];

#[test]
#[ignore = "needs Apache Kafka with TLS listeners"]
fn by_tls() {
    goes_in(Listener::Tls, &["tls.ca={}/ca.pem"], &Oracle::Kcat(&TLS));
}

#[test]
#[ignore = "needs Apache Kafka with TLS listeners"]
fn by_a_client_certificate() {
    let ours = ["tls.ca={}/ca.pem", "tls.cert={}/client.crt", "tls.key={}/client.key"];
    let theirs = [TLS[0], TLS[1], "ssl.certificate.location={}/client.crt", "ssl.key.location={}/client.key"];
    goes_in(Listener::Mutual, &ours, &Oracle::Kcat(&theirs));
}

#[test]
#[ignore = "needs Apache Kafka with SASL listeners"]
fn by_plain_within_tls() {
    let password = format!("sasl.password={PASSWORD}");
    let theirs = ["security.protocol=sasl_ssl", TLS[1], "sasl.mechanism=PLAIN", "sasl.username=ada", &password];
    let ours = ["tls.ca={}/ca.pem", "sasl.mechanism=PLAIN", "sasl.username=ada"];
    goes_in(Listener::Password, &ours, &Oracle::Kcat(&theirs));
}

#[test]
#[ignore = "needs Apache Kafka with SASL listeners"]
fn by_scram_within_tls() {
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let sasl = format!("sasl.mechanism={mechanism}");
        let ours = ["tls.ca={}/ca.pem", &sasl, "sasl.username=ada"];
        goes_in(Listener::Password, &ours, &Oracle::Java(&jaas("SASL_SSL", mechanism)));
    }
}

#[test]
#[ignore = "needs Apache Kafka with SASL listeners"]
fn without_tls_by_scram() {
    let ours = ["sasl.mechanism=scram-sha-256", "sasl.username=ada"];
    goes_in(Listener::Open, &ours, &Oracle::Java(&jaas("SASL_PLAINTEXT", "SCRAM-SHA-256")));
}

#[test]
#[ignore = "needs Apache Kafka with SASL listeners"]
fn without_tls_by_plain_where_that_is_asked_for() {
    let password = format!("sasl.password={PASSWORD}");
    let theirs = ["security.protocol=sasl_plaintext", "sasl.mechanism=PLAIN", "sasl.username=ada", &password];
    let ours = ["sasl.mechanism=PLAIN", "sasl.username=ada", "sasl.plain_without_tls=true"];
    goes_in(Listener::Open, &ours, &Oracle::Kcat(&theirs));
}

#[test]
#[ignore = "needs Apache Kafka with SASL listeners"]
fn a_name_and_a_password_with_what_scram_writes_otherwise() {
    let door = Door::get();
    let user = format!("sasl.username={ODD_USER}");
    let settings = ["tls.ca={}/ca.pem", "sasl.mechanism=SCRAM-SHA-512", &user];
    let program = door.kafkalab(Listener::Password, &settings, &["topics", "list"]);
    program.env("KAFKALAB_SASL_PASSWORD", ODD_PASSWORD).run().ok();
}

#[test]
#[ignore = "needs Apache Kafka with TLS listeners"]
fn whom_to_trust_may_be_one_of_several_or_the_systems_choice() {
    let door = Door::get();
    door.kafkalab(Listener::Tls, &["tls.ca={}/both.pem"], &["topics", "list"]).run().ok();
    let system = door.kafkalab(Listener::Tls, &["tls.enabled=true"], &["topics", "list"]);
    system.env("SSL_CERT_FILE", &door.file("ca.pem")).run().ok();
    // by name for the first contact, by number for the broker itself
    let by_name = door.address(Listener::Tls).replace("127.0.0.1", "localhost");
    door.kafkalab_at(&by_name, &["tls.ca={}/ca.pem"], &["topics", "list"]).run().ok();
}

#[test]
#[ignore = "needs Apache Kafka with TLS listeners"]
fn without_checks_everybody_is_believed_and_that_is_said() {
    let door = Door::get();
    for listener in [Listener::Tls, Listener::Expired, Listener::Elsewhere] {
        let settings = ["tls.enabled=true", "tls.insecure_skip_verify=true"];
        let ended = door.kafkalab(listener, &settings, &["topics", "list"]).run().ok();
        let said = "warning: tls.insecure_skip_verify (flag -X tls.insecure_skip_verify): the broker's certificate is \
                    not checked; whoever answers can read and change everything\n";
        assert_eq!(ended.stderr, said);
    }
}

#[test]
#[ignore = "needs Apache Kafka with SASL listeners"]
fn names_of_topics_complete_behind_the_door_too() {
    let door = Door::get();
    let topic = topic("complete");
    let settings = ["tls.ca={}/ca.pem", "sasl.mechanism=SCRAM-SHA-256", "sasl.username=ada"];
    let make = door.kafkalab(Listener::Password, &settings, &["topics", "create", &topic]);
    make.env("KAFKALAB_SASL_PASSWORD", PASSWORD).run().ok();
    let begun = &topic[..topic.len() - 4];
    let ask = || {
        let asked = door.kafkalab(Listener::Password, &[], &["--", "kafkalab", "consume", begun]);
        let asked = asked.env("KAFKALAB_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "2").env("_CLAP_IFS", "\n");
        let asked = asked.env("KAFKALAB_TLS_CA", &door.file("ca.pem")).env("KAFKALAB_SASL_USERNAME", "ada");
        let asked = asked.env("KAFKALAB_SASL_MECHANISM", "SCRAM-SHA-256").env("KAFKALAB_SASL_PASSWORD", PASSWORD);
        asked.run().ok().text()
    };
    // it gives up after half a second, which a machine with much to do may need for less
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut answer = ask();
    while answer.is_empty() && Instant::now() < deadline {
        answer = ask();
    }
    assert_eq!(answer, topic);
}
