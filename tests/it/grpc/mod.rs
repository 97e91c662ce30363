//! `kafkalab grpc`: the demonstration as it is kept in `transcript.txt` (`KAFKALAB_BLESS=1` writes it anew), its places on
//! Kafka, what it leaves behind, and its ends.

use std::{collections::BTreeSet, net::TcpListener, os::unix::process::ExitStatusExt, path::Path};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    bytes::files::Folder,
    cli::{expect, screen::without_styles},
    es::{
        Place,
        judge::{Sent, sent},
        transcript::{nobody_listens, uuid_in},
    },
    harness::{Program, kafkalab, on_kafka},
    process::{on_terminal, start},
};

const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/grpc/transcript.txt");
const CONSUMERS: [&str; 3] = ["analytics", "notifications", "search-index"];

/// `kafkalab grpc ARGUMENTS` here; what it writes beside the store is in the store's folder.
fn demo(place: &Place, arguments: &[&str]) -> Program {
    place.pattern("grpc", arguments).env("TMPDIR", &folder(place).display().to_string())
}

fn folder(place: &Place) -> std::path::PathBuf {
    place.path().parent().expect("a folder").to_owned()
}

/// With nothing named.
fn bare(folder: &Folder, arguments: &[&str]) -> Program {
    let temporary = folder.0.to_str().expect("a path");
    let program = kafkalab(arguments).env_remove("KAFKALAB_BROKERS").in_folder(&folder.0);
    program.env("TMPDIR", temporary).env("HOME", temporary).env("USER", "tester")
}

/// Ids by the order in which they come; the port, partitions and offsets are the run's business.
fn normal(text: &str, prefix: &str) -> String {
    let mut ids: Vec<String> = Vec::new();
    let mut normal = String::new();
    for line in text.lines() {
        let mut line = line.replace(prefix, "");
        while let Some(at) = uuid_in(&line) {
            let id = line[at..at + 36].to_owned();
            let number = ids.iter().position(|known| *known == id).unwrap_or_else(|| {
                ids.push(id);
                ids.len() - 1
            });
            line.replace_range(at..at + 36, &format!("ID-{}", number + 1));
        }
        if let Some((what, port)) = line.rsplit_once(" on 127.0.0.1:") {
            assert!(port.parse::<u16>().is_ok(), "{line}");
            line = format!("{what} on 127.0.0.1:PORT");
        }
        if let Some((what, place)) = line.split_once("orders[") {
            let numbers: Vec<&str> =
                place.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).collect();
            let masked = place.replace(|c: char| c.is_ascii_digit(), "");
            assert!(
                matches!((numbers.len(), &*masked), (2, "] offset ") | (3, "] offset , committed offset ")),
                "{line}"
            );
            line = format!("{what}orders[P]{}", masked.trim_start_matches(']').replace("offset ", "offset N"));
        }
        normal.push_str(&line);
        normal.push('\n');
    }
    normal
}

fn kept() -> String {
    std::fs::read_to_string(KEPT).unwrap_or_default()
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
    let ended = demo(&place, &[]).run().ok();
    let found = normal(&ended.text(), &place.prefix);
    if std::env::var_os("KAFKALAB_BLESS").is_some() {
        std::fs::write(KEPT, &found).expect("writing the transcript");
    }
    assert_eq!(found, kept(), "KAFKALAB_BLESS=1 keeps what is now");
    // a second one in the same store, and this time in silence
    let quiet = demo(&place, &["-q"]).run().ok();
    assert_eq!((quiet.text(), quiet.stderr), ("done\n".to_owned(), String::new()));
}

#[test]
fn with_nothing_named_it_hosts_a_broker_and_leaves_nothing_behind() {
    nobody_listens();
    let folder = Folder::new("self-contained");
    let ended = bare(&folder, &["grpc"]).run().ok();
    assert_eq!(normal(&ended.text(), "no prefix"), kept());
    let said: Vec<_> = ended.stderr.lines().collect();
    assert!(said[0].starts_with("store: sqlite:") && said[0].ends_with("/store.db (temporary)"), "{said:?}");
    let hosts = "no broker named and none on localhost:9092: one runs in this process, on 127.0.0.1:";
    assert!(said[1].starts_with(hosts), "{said:?}");
    let ended = bare(&folder, &["grpc", "--quiet"]).run().ok();
    assert_eq!((ended.text(), ended.stderr), ("done\n".to_owned(), String::new()));
    let left: Vec<_> = std::fs::read_dir(&folder.0).expect("the folder").collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The committed record at the place that a step names.
fn at(step: &Value) -> Sent {
    let here = |record: &Sent| {
        (Some(i64::from(record.partition)), Some(record.offset))
            == (step["partition"].as_i64(), step["offset"].as_i64())
    };
    let records = sent(step["topic"].as_str().expect("a topic"));
    records.into_iter().find(here).unwrap_or_else(|| panic!("not where it is said to be: {step}"))
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
    let json = demo(&place, &["--json"]).run().ok().text();
    let steps: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut told_kinds: Vec<&str> = Vec::new();
    let kept = kept();
    for line in kept.lines().filter(|line| !line.is_empty() && !line.starts_with("             ")) {
        told_kinds.push(match line.split_whitespace().next().unwrap_or_default() {
            "|" if told_kinds.last() == Some(&"lesson") => continue,
            "|" => "lesson",
            "calls" => "called",
            "OK" => "answered",
            "outbox" => "depth",
            "effect" | "repeat" => "handled",
            "told" => "notified",
            word @ ("serves" | "away" | "refused" | "published" | "counted" | "found") => word,
            word if word.ends_with('.') => "part",
            _ => panic!("{line}"),
        });
    }
    assert_eq!(steps.iter().map(|step| step["step"].as_str().unwrap_or_default()).collect::<Vec<_>>(), told_kinds);
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
    nobody_listens();
    let folder = Folder::new("resumed");
    let run = |words: &[String]| bare(&folder, &words.iter().map(String::as_str).collect::<Vec<_>>()).run();
    let ended = bare(&folder, &["grpc", "--crash-at", "grpc.before-reply"]).run();
    assert_eq!(ended.status.signal(), Some(9), "{ended:?}");
    assert!(ended.text().contains("  calls      CreateOrder user-123") && !ended.text().contains("  OK "), "{ended:?}");
    let command = |word: &str| {
        let line = ended.stderr.lines().find(|line| line.trim().starts_with(word));
        let line = line.unwrap_or_else(|| panic!("no {word}: {ended:?}"));
        line.trim().split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let commands = ["outbox relay --once", "grpc-consumer --once", "grpc-consumer search"]
        .map(|it| command(&format!("kafkalab {it}")));
    let clear = ended.stderr.split("clear up: kill ").nth(1).and_then(|pid| pid.trim().parse().ok()).expect("a pid");
    let resumed = commands.map(|words| run(&words));
    let pid = rustix::process::Pid::from_raw(clear).expect("a pid");
    rustix::process::kill_process(pid, Signal::TERM).expect("the broker lives on");
    let [relayed, consumed, found] = resumed.map(crate::harness::Ended::ok);
    assert!(relayed.stderr.ends_with("1 message published\n"), "{relayed:?}");
    assert!(consumed.stderr.ends_with("1 notification sent, 0 dead\n"), "{consumed:?}");
    assert!(found.text().contains("prod-456  USD:99.99"), "{found:?}");
    assert_eq!(told(&folder.0).len(), 1);
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
    let words = |text: &str, wanted: bool| {
        let lines = text.lines().filter(|line| line.starts_with("  | ") == wanted && !line.is_empty());
        let beside = |line: &&str| ["hint:", "store:", "told.jsonl:"].iter().any(|word| line.starts_with(word));
        let lines = lines.filter(|line| !beside(line)).map(|line| line.trim_start_matches("  | "));
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect::<Vec<_>>()
    };
    // with the tests' long names of topics a fact takes two lines of 80 columns
    let widths: &[u16] = if on_kafka() { &[200] } else { &[200, 40] };
    for columns in widths {
        let place = Place::new("narrow");
        let shown = on_terminal(demo(&place, &[]), *columns, b"").ok().text();
        let shown = without_styles(&shown);
        for line in shown.lines().filter(|line| line.starts_with("  | ")) {
            assert!(line.chars().count() <= usize::from(*columns), "{columns}: {line}");
        }
        assert_eq!(words(&shown, true), words(&kept(), true), "{columns}");
        if *columns == 200 {
            assert_eq!(words(&normal(&shown, &place.prefix), false), words(&kept(), false));
        }
    }
}
