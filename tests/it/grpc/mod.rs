//! `kafkalab grpc`: the demonstration as it is kept in `transcript.txt`, its places on
//! Kafka, what it leaves behind, and its ends.

use std::{collections::BTreeSet, net::TcpListener, path::Path};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    cli::expect,
    es::{Place, judge::sent},
    harness::{Program, kafkalab},
    process::start,
    transcript::{Killed, Transcript, at},
};

const TRANSCRIPT: Transcript = Transcript { name: "grpc", unordered: &[] };
const CONSUMERS: [&str; 3] = ["analytics", "notifications", "search-index"];

/// `kafkalab grpc ARGUMENTS` here; what it writes beside the store is in the store's folder.
fn demo(place: &Place, arguments: &[&str]) -> Program {
    place.pattern("grpc", arguments).env("TMPDIR", &folder(place).display().to_string())
}

fn folder(place: &Place) -> std::path::PathBuf {
    place.path().parent().expect("a folder").to_owned()
}

/// The lines of the file for notifications, of which there is one in the folder.
fn told(folder: &Path) -> Vec<Value> {
    let entries = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let files: Vec<_> = entries.map(|entry| entry.join("told.jsonl")).filter(|file| file.exists()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    let text = std::fs::read_to_string(file).expect("the file");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn it_is_as_it_is_kept() {
    let place = Place::new("transcript");
    TRANSCRIPT.holds(&place, &demo(&place, &[]).run().ok());
    // a second one in the same store, and this time in silence
    let quiet = demo(&place, &["-q"]).run().ok();
    assert_eq!((quiet.text(), quiet.stderr), ("done\n".to_owned(), String::new()));
}

#[test]
fn with_nothing_named_it_hosts_a_broker_and_leaves_nothing_behind() {
    TRANSCRIPT.stands_alone();
}

/// What a group has committed of a partition, as another command says it.
fn committed(step: &Value) -> Value {
    let group = step["group"].as_str().expect("a group");
    let said = kafkalab(["groups", "describe", group, "--json"]).run().ok().text();
    let document: Value = serde_json::from_str(&said).expect("a document");
    let mut offsets = document["groups"][0]["offsets"].as_array().expect("offsets").iter();
    let found = offsets.find(|one| (&one["topic"], &one["partition"]) == (&step["topic"], &step["partition"]));
    found.unwrap_or_else(|| panic!("{document}"))["committed"].clone()
}

#[test]
#[ignore = "needs kcat"]
fn json_lines_tell_the_same_and_each_word_is_true() {
    let place = Place::new("transcript-json");
    let steps = TRANSCRIPT.steps(&demo(&place, &["--json"]).run().ok().text(), |word| match word {
        "calls" => Some("called"),
        "OK" => Some("answered"),
        "outbox" => Some("depth"),
        "effect" | "repeat" => Some("handled"),
        "told" => Some("notified"),
        // a refusal's fields, a line each
        field if field.ends_with(':') => None,
        word => Some(word),
    });
    let of = |kind: &'static str| steps.iter().filter(move |step| step["step"] == kind).collect::<Vec<_>>();

    let (calls, answers) = (of("called"), of("answered"));
    assert_eq!(calls[0], calls[1], "the same call, by the same key");
    let (order, done) = (&answers[0]["order_id"], [&answers[0]["already_done"], &answers[1]["already_done"]]);
    assert_eq!((order, done), (&answers[1]["order_id"], [&false.into(), &true.into()]));
    let refused = of("refused");
    assert_eq!(refused[0]["reason"], "IDEMPOTENCY_KEY_REUSED");
    let fields: Vec<&String> = refused[1]["fields"].as_object().expect("fields").keys().collect();
    assert_eq!(fields, ["price.amount", "price.currency", "user_id"]);

    // once in the log, twice in the topic, and each consumer has met both
    let events = place.sql("SELECT stream_id FROM events");
    assert_eq!(events, [[format!("order-{}", order.as_str().expect("an id"))]]);
    let records = sent(&place.topic("orders"));
    assert_eq!((records.len(), records[0].id()), (2, records[1].id()));
    for step in of("published") {
        let record = at(step);
        assert_eq!((step["key"].as_str(), step["message_id"].as_str()), (Some(&*record.key), Some(record.id())));
        assert_eq!((&step["key"], step["event"].as_str()), (order, Some(&*record.headers["ce_type"])));
    }
    let handled = of("handled");
    for (round, what) in handled.chunks(3).zip(["effect", "repeat"]) {
        assert_eq!(round.iter().map(|step| step["consumer"].as_str().expect("a name")).collect::<Vec<_>>(), CONSUMERS);
        for step in round {
            assert_eq!((step["what"].as_str(), step["message_id"].as_str()), (Some(what), Some(at(step).id())));
            assert!(step["committed"].as_i64() > step["offset"].as_i64(), "{step}");
        }
    }
    let last = &handled[3..];
    assert!(last.iter().all(|step| step["committed"] == committed(step)), "{last:?}");
    assert_eq!(last.iter().map(|step| step["group"].as_str()).collect::<BTreeSet<_>>().len(), 3, "a group each");

    // counted, told and found once, as tables and file have it
    let counts = "SELECT name, key, count FROM counts WHERE name IN ('event', 'user') ORDER BY name";
    assert_eq!(place.sql(counts), [["event", "OrderCreated", "1"], ["user", "user-123", "1"]]);
    let lines = told(&folder(&place));
    assert_eq!(lines.len(), 1, "{lines:?}");
    for step in of("notified") {
        assert_eq!((&step["id"], &step["text"], order), (&lines[0]["id"], &lines[0]["text"], &lines[0]["order_id"]));
    }
    assert_eq!(place.sql("SELECT id FROM documents"), [[order.as_str().expect("an id")]]);
}

#[test]
fn killed_before_it_answers_it_says_how_to_go_on_and_that_goes_on() {
    let killed = Killed::at("grpc.before-reply", "grpc");
    let told_so_far = killed.ended.text();
    assert!(
        told_so_far.contains("  calls      CreateOrder user-123") && !told_so_far.contains("  OK "),
        "{told_so_far}"
    );
    let relayed = killed.run("kafkalab outbox relay --once");
    assert!(relayed.stderr.ends_with("1 message published\n"), "{relayed:?}");
    let consumed = killed.run("kafkalab grpc-consumer --once");
    assert!(consumed.stderr.ends_with("1 notification sent, 0 dead\n"), "{consumed:?}");
    let found = killed.run("kafkalab grpc-consumer search");
    assert!(found.text().contains("prod-456  USD:99.99"), "{found:?}");
    assert_eq!(told(&killed.folder.0).len(), 1);
}

#[test]
fn kafka_that_never_comes_is_an_error_behind_the_orders_that_were_taken() {
    let place = Place::new("never");
    let ended = demo(&place, &["-b", "127.0.0.1:9"]).run();
    assert_eq!(ended.code(), 3, "{ended:?}");
    assert!(ended.text().contains("  OK         order "), "{ended:?}");
    assert!(ended.stderr.contains("error: connecting: no broker reachable at 127.0.0.1:9"), "{ended:?}");
    assert_eq!(place.sql("SELECT count(*) FROM outbox_unpublished"), [["1"]]);
}

#[test]
fn an_interrupt_ends_it() {
    let place = Place::new("interrupted");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port"); // takes connections, and says nothing
    let brokers = silent.local_addr().expect("an address").to_string();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut running = start(demo(&place, &["-b", &brokers]));
        running.until_stdout_has("details that a program can");
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code(), code, "{ended:?}");
        assert!(!ended.text().contains("4. "), "{ended:?}");
    }
}

#[test]
fn notifications_that_wait_for_somebody_else_are_left_to_wait() {
    let place = Place::new("theirs");
    place.outbox(&["order", "--order", "theirs", "--price", "USD:9.99", "-q"]).run().ok();
    place.outbox(&["relay", "--once", "-q"]).run().ok();
    place.consumer(&["--once", "-q"]).run().ok();
    let said = "error: 1 notification of this store waits to be sent, and not to a demonstration\n\
                hint: send what waits with `kafkalab grpc-consumer --notify`, or leave --store out\n";
    expect(demo(&place, &["-q"]), 1, "", said);
    assert_eq!(place.sql("SELECT subject, status FROM notifications"), [["theirs", "0"]]);
    assert_eq!(place.sql("SELECT count(*) FROM events"), [["1"]], "no order was taken");
}

#[test]
fn what_is_typed_wrongly() {
    let place = Place::new("wrong");
    let ended = demo(&place, &["--crash-at", "nowhere"]).run();
    assert_eq!((ended.code(), ended.text().as_str()), (2, ""), "{ended:?}");
    let ended = demo(&place, &["now"]).run();
    assert_eq!(ended.code(), 2, "{ended:?}");
    assert!(ended.stderr.contains("unexpected argument 'now'"), "{ended:?}");
}

#[test]
fn on_narrow_terminals_lessons_are_wrapped_and_facts_are_the_same() {
    TRANSCRIPT.is_wrapped(|place| demo(place, &[]));
}
