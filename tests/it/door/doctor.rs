//! `doctor` at brokers that are wrong in one way each: that way is named, with what to try, and what stands behind it is not
//! reached.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustls::{
    ServerConfig, ServerConnection, Stream,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::Value;

use super::{
    Door, Listener, PASSWORD,
    certificates::{Authority, Certificate},
    server::{Reply, Told, broker, broker_that_says, listen},
};
use crate::{
    bytes::files::Folder,
    harness::{Program, brokers, kafkalab, kcat, need_kafka, on_kafka, topic},
};

/// What one run of the doctor said.
struct Said(Value);

/// `doctor` at this address with these settings, which ends in time.
fn doctor(address: &str, settings: &[&str]) -> Program {
    let settings = settings.iter().flat_map(|text| ["-X", text]);
    let folder = std::env::temp_dir().join("kafkalab-doctor");
    let program = kafkalab(["doctor", "--json", "-q", "-b", address, "-X", "connect_timeout=2s"]).arguments(settings);
    program.env("XDG_DATA_HOME", &folder.display().to_string()).env("KAFKALAB_SASL_PASSWORD", PASSWORD)
}

#[track_caller]
fn said(program: Program, code: i32) -> Said {
    let began = Instant::now();
    let ended = program.run();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}: {ended:?}", began.elapsed());
    assert_eq!((ended.code(), ended.stderr.as_str()), (code, ""), "{}", ended.text());
    assert!(!ended.text().contains("canary"), "{}", ended.text());
    Said(serde_json::from_slice(&ended.stdout).expect("a document"))
}

impl Said {
    /// The checks with this outcome, by their names.
    fn that_are(&self, outcome: &str) -> Vec<&str> {
        let checks = self.0["checks"].as_array().expect("checks").iter();
        checks.filter(|check| check["outcome"] == outcome).map(|check| check["check"].as_str().unwrap()).collect()
    }

    fn says(&self, check: &str) -> &str {
        let mut checks = self.0["checks"].as_array().expect("checks").iter();
        checks.find(|found| found["check"] == check).expect(check)["says"].as_str().expect("words")
    }

    /// Only this is wrong, in these words, and there is something to try; this many checks are not reached.
    #[track_caller]
    fn only(&self, layer: &str, words: &str, tries: &str, not_reached: usize) {
        assert_eq!((self.that_are("wrong"), &self.0["well"]), (vec![layer], &Value::Bool(false)), "{}", self.0);
        let mut checks = self.0["checks"].as_array().unwrap().iter();
        let check = checks.find(|check| check["outcome"] == "wrong").expect("what is wrong");
        assert!(check["says"].as_str().unwrap().contains(words), "{check}");
        assert!(check["try"].as_str().unwrap().contains(tries), "{check}");
        assert_eq!(self.that_are("not_reached").len(), not_reached, "{}", self.0);
    }
}

/// A listener that speaks TLS with this certificate, and nothing within.
fn tls_server(chain: &str, key: &str) -> String {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).expect("a certificate"));
    listen(move |mut stream: TcpStream| {
        let mut session = ServerConnection::new(Arc::clone(&config)).expect("a session");
        Stream::new(&mut session, &mut stream).read_to_end(&mut Vec::new()).map(|_| ())
    })
}

/// The certificate of a lab's CA, in a file, and that CA.
fn authority(folder: &Folder) -> (Authority, String) {
    let authority = Authority::new("lab");
    let file = folder.file("ca.pem", authority.pem().as_bytes());
    (authority, format!("tls.ca={file}"))
}

fn nobody() -> impl FnMut(usize, &[u8]) -> Reply {
    |_, _| Reply::Close
}

#[test]
fn all_is_well_at_the_broker_under_test() {
    let said = said(doctor(brokers(), &[]), 0);
    assert_eq!((said.that_are("wrong"), said.that_are("not_reached")), (vec![], vec![]), "{}", said.0);
    assert_eq!(said.that_are("ok").len(), 12, "{}", said.0);
}

#[test]
fn a_port_where_nothing_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    said(doctor(&address, &[]), 1).only("port", "nothing listens at", "`kafkalab broker` starts one", 9);
}

#[test]
fn a_host_that_nobody_knows() {
    said(doctor("kafka.invalid:9092", &[]), 1).only("name", "no address for the name \"kafka.invalid\"", "DNS", 10);
    said(doctor("kafka-of-compose:9092", &[]), 1).only("name", "\"kafka-of-compose\"", "name of a container", 10);
}

#[test]
fn tls_at_a_plain_listener_and_plain_text_at_one_with_tls() {
    // Apache Kafka hangs up; this one answers like a web server
    let plain = listen(|mut stream| {
        stream.read_exact(&mut [0; 64])?;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new()).map(|_| ())
    });
    let tls = ["tls.enabled=true", "tls.insecure_skip_verify=true"];
    said(doctor(&plain, &tls), 1).only("encryption", "it does not speak TLS", "the port of a TLS listener?", 8);
    said(doctor(brokers(), &tls), 1).only("encryption", "", "the port of a TLS listener?", 8);

    let (chain, key) = Authority::new("lab").issue(Certificate::Server(&["127.0.0.1"]));
    let speaks = tls_server(&chain, &key);
    said(doctor(&speaks, &[]), 1).only("encryption", "it speaks TLS", "-X tls.enabled=true", 8);
}

#[test]
fn certificates_that_are_not_believed() {
    let folder = Folder::new("doctor-tls");
    let (lab, ca) = authority(&folder);
    let (chain, key) = lab.issue(Certificate::Expired);
    said(doctor(&tls_server(&chain, &key), &[&ca]), 1).only("encryption", "has expired", "renews it", 8);
    let (chain, key) = lab.issue(Certificate::Server(&["kafka.example"]));
    let names = "is not for \"127.0.0.1\"; it names kafka.example";
    said(doctor(&tls_server(&chain, &key), &[&ca]), 1).only("encryption", names, "a name that the certificate has", 8);
    let (chain, key) = Authority::new("stranger").issue(Certificate::Server(&["127.0.0.1"]));
    said(doctor(&tls_server(&chain, &key), &[&ca]), 1).only("encryption", "by nobody who is trusted", "tls.ca=FILE", 8);
}

#[test]
fn a_wrong_password_and_a_user_who_is_asked_for_and_not_given() {
    let refuses = broker("PLAIN", || {
        |round, _: &[u8]| if round == 0 { Reply::Says(Vec::new()) } else { Reply::Refuses("no".to_owned()) }
    });
    let sasl = ["sasl.mechanism=PLAIN", "sasl.username=ada", "sasl.plain_without_tls=true"];
    said(doctor(&refuses, &sasl), 1).only(
        "login",
        "refused the user or the password (PLAIN)",
        "`kafkalab config show`",
        6,
    );

    let asks = broker_that_says(Told::Nothing, "SCRAM-SHA-512", || |_, _: &[u8]| Reply::Refuses("which?".to_owned()));
    said(doctor(&asks, &[]), 1).only("login", "(SASL, by SCRAM-SHA-512)", "set sasl.mechanism", 6);
}

#[test]
fn an_advertised_listener_that_cannot_be_reached() {
    // the name of a container, as in every second question about Kafka and Docker
    let elsewhere = broker_that_says(Told::At("kafka-of-compose", 29092), "PLAIN", nobody);
    let said_there = said(doctor(&elsewhere, &[]), 1);
    let words = "broker 1 advertises kafka-of-compose:29092: this machine knows no address for the name";
    let tries = "advertised.listeners of broker 1 (Docker: KAFKA_ADVERTISED_LISTENERS)";
    said_there.only("advertised", words, tries, 4);
    said_there.only("advertised", words, &format!("such as {elsewhere}"), 4);

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let dead = listener.local_addr().expect("an address").port();
    drop(listener);
    let dead = broker_that_says(Told::At("127.0.0.1", dead), "PLAIN", nobody);
    said(doctor(&dead, &[]), 1).only("advertised", "nothing listens at 127.0.0.1:", tries, 4);
}

#[test]
fn a_clock_that_is_wrong() {
    let at = |ahead_ms| doctor(&broker_that_says(Told::Clock(ahead_ms), "PLAIN", nobody), &[]);
    said(at(3_600_000), 1).only("clock", "s ahead of this machine's", "NTP", 0);
    said(at(-60_000), 1).only("clock", "s behind this machine's", "NTP", 0);
    let near = said(at(5_000), 0);
    assert!(near.says("clock").contains("s ahead of"), "{}", near.0);
    assert_eq!(said(at(0), 0).says("clock"), "the controller's and this machine's tell the same time");
}

#[test]
fn a_server_that_is_no_kafka_and_one_that_says_nothing() {
    let web = listen(|mut stream| {
        stream.read_exact(&mut [0; 16])?;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new()).map(|_| ())
    });
    said(doctor(&web, &[]), 1).only(
        "versions",
        "it speaks HTTP in place of a first answer",
        "the port of a Kafka listener?",
        7,
    );
    let silent = listen(|_stream| {
        loop {
            thread::park();
        }
    });
    said(doctor(&silent, &[]), 1).only("versions", "no answer within 2 s", "the port of a Kafka listener?", 7);
}

#[test]
fn a_store_that_cannot_be_used() {
    let nowhere = doctor(brokers(), &[]).arguments(["--store", "sqlite:/dev/null/store.db"]);
    said(nowhere, 1).only("store", "/dev/null cannot be written", "another store", 0);
    let folder = Folder::new("doctor-store");
    let file =
        folder.file("store.db", b"no database, and long enough to be looked at: ................................");
    let damaged = doctor(brokers(), &[]).arguments(["--store", &format!("sqlite:{file}")]);
    said(damaged, 1).only("store", "is damaged, or is no store", "another store", 0);
    let new = format!("sqlite:{}", folder.0.join("new/store.db").display());
    said(doctor(brokers(), &[]).arguments(["--store", &new]), 0);
    assert!(!folder.0.join("new").exists(), "the doctor makes nothing");
}

/// Root is let through by every permission, but not once its capabilities are gone.
#[test]
fn a_store_in_a_folder_that_can_only_be_read() {
    let folder = Folder::new("doctor-read-only");
    let store = format!("sqlite:{}", folder.0.join("store.db").display());
    kafkalab(["es", "create", "--price", "USD:1.00", "--store", &store]).run().ok();
    let mode = |mode| {
        std::fs::set_permissions(&folder.0, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("a mode");
    };
    mode(0o555);
    let mut wrapped = if rustix::process::getuid().is_root() {
        crate::harness::program("setpriv", ["--bounding-set=-all", "--inh-caps=-all", env!("CARGO_BIN_EXE_kafkalab")])
    } else {
        crate::harness::program(env!("CARGO_BIN_EXE_kafkalab"), Vec::<String>::new())
    };
    wrapped = wrapped.arguments(["doctor", "--json", "-q", "-b", brokers(), "--store", &store]);
    if !on_kafka() {
        wrapped = wrapped.env("KAFKALAB_MAX_ANSWER", &kafkalab::broker::LARGEST_ANSWER.to_string());
    }
    let ended = wrapped.run();
    mode(0o755);
    let document: Value = serde_json::from_slice(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    assert_eq!(ended.code(), 1);
    Said(document).only("store", "cannot be written: Permission denied", "make it writable", 0);
}

#[test]
fn one_of_two_addresses_is_wrong() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let dead = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let said = said(doctor(&format!("{dead},{}", brokers()), &[]), 1);
    assert_eq!(said.that_are("wrong"), ["port"]);
    assert_eq!(said.that_are("not_reached"), ["encryption", "versions", "login", "cluster"]);
}

#[test]
fn the_page_says_it_in_words() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let dead = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let ended = kafkalab(["doctor", "-b", &dead, "--store", "sqlite:/dev/null/store.db"]).run();
    let rest =
        ["encryption", "versions", "login", "cluster", "advertised", "topics", "coordinator", "authorisation", "clock"];
    let rest: String = rest.iter().map(|layer| format!("not reached  {layer}\n")).collect();
    let page = format!(
        "ok           name           {dead}: an IP address, no name\n\
         wrong        port           nothing listens at {dead} (Connection refused (os error 111))\n\
         {0}try: is the broker running, and is the port right? `kafkalab broker` starts one (no Docker needed), `just up` \
         another (Docker)\n{rest}\
         wrong        store          sqlite:/dev/null/store.db: /dev/null cannot be written: Not a directory (os error \
         20)\n{0}try: make it writable, free some space, or name another store: --store sqlite:PATH, KAFKALAB_STORE, or \
         the setting `store`\n",
        " ".repeat(28)
    );
    assert_eq!((ended.code(), ended.text()), (1, page));
    assert_eq!(ended.stderr, "2 things wrong; the brokers come from: flag --brokers\n");
    let narrow = crate::process::on_terminal(kafkalab(["doctor", "-b", &dead, "--no-color"]), 40, b"").text();
    let (page, _) = narrow.split_once("1 thing wrong").expect("the last words");
    assert!(page.lines().all(|line| line.chars().count() <= 40 || !line.trim().contains(' ')), "{narrow}");
}

#[test]
#[ignore = "needs Apache Kafka: the embedded broker keeps no topic for groups"]
fn the_doctor_makes_no_topic() {
    need_kafka();
    let node = crate::cluster::Kafka::with_listeners(&[], &[]);
    let said = said(doctor(&node.brokers, &[]), 0);
    assert!(said.says("coordinator").contains("not asked"), "{}", said.0);
    assert_eq!(said.says("clock"), "the controller's and this machine's tell the same time");
    let listed = crate::harness::program("kcat", ["-b", &node.brokers, "-L", "-J"]).run().ok();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["topics"].as_array().map(Vec::len), Some(0), "{listed}");
}

#[test]
#[ignore = "needs Apache Kafka with TLS and SASL listeners"]
fn guarded_doors_of_apache_kafka() {
    let door = Door::get();
    let folder = PathBuf::from(door.file(""));
    let ca = format!("tls.ca={}", folder.join("ca.pem").display());
    let at = |listener, settings: &[&str], code| said(doctor(&door.address(listener), settings), code);
    let scram = ["sasl.mechanism=SCRAM-SHA-256", "sasl.username=ada"];
    assert!(at(Listener::Password, &[&[&*ca], &scram[..]].concat(), 0).that_are("wrong").is_empty());
    assert!(at(Listener::Tls, &[&ca], 0).that_are("wrong").is_empty());
    at(Listener::Password, &[&ca], 1).only("login", "by PLAIN, SCRAM-SHA-256, SCRAM-SHA-512", "set sasl.mechanism", 6);
    at(Listener::Tls, &[], 1).only("encryption", "it speaks TLS", "tls.enabled=true", 8);
    at(Listener::Expired, &[&ca], 1).only("encryption", "has expired", "renews it", 8);
    at(Listener::Elsewhere, &[&ca], 1).only("encryption", "it names kafka.example", "", 8);
    at(Listener::Mutual, &[&ca], 1).only("versions", "asks for a client certificate", "tls.cert=FILE", 7);
    let wrong = doctor(&door.address(Listener::Password), &[&[&*ca], &scram[..]].concat());
    said(wrong.env("KAFKALAB_SASL_PASSWORD", "wrong"), 1).only("login", "refused the user or the password", "", 6);
}

#[test]
#[ignore = "needs kcat"]
fn a_group_that_has_committed_shows_who_coordinates_it() {
    let topic = topic("doctor");
    kcat(["-P", "-t", &topic]).stdin("x\n").run().ok();
    kafkalab(["consume", &topic, "-g", &topic, "-o", "beginning", "-c", "1"]).run().ok();
    let said = said(doctor(brokers(), &[]), 0);
    assert!(said.says("coordinator").contains("answers for a group"), "{}", said.0);
    assert!(!said.says("topics").contains("none yet"), "{}", said.0);
}
