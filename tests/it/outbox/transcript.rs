//! The demonstration, as it is kept in `transcript.txt`; `KAFKALAB_BLESS=1` writes it anew.

use std::path::Path;

use serde_json::Value;

use super::judge::effects;
use crate::{
    cli::screen::without_styles,
    es::{
        Place,
        judge::{Sent, sent},
        transcript::{nobody_listens, uuid_in},
    },
    harness::{kafkalab, on_kafka},
    process::on_terminal,
};

const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/outbox/transcript.txt");

/// What is told of a record at a place. Which partition comes first is the cluster's business.
const PLACED: [&str; 3] = ["published", "effect", "repeat"];

/// Ids by the order in which they come; places without their numbers, and those that are told in a row in one order.
fn normal(text: &str, prefix: &str) -> String {
    let mut ids: Vec<String> = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    let mut row = 0;
    for line in text.lines() {
        let mut line = line.replace(prefix, "");
        while let Some(at) = uuid_in(&line) {
            let id = line[at..at + 36].to_owned();
            let number = ids.iter().position(|known| *known == id).unwrap_or_else(|| {
                ids.push(id);
                ids.len() - 1
            });
            line.replace_range(at..at + 36, &format!("ORDER-{}", number + 1));
        }
        if PLACED.contains(&line.split_whitespace().next().unwrap_or_default()) {
            let (what, place) = line.split_once('[').expect("a place");
            assert!(place.split_once("] offset ").is_some_and(|(partition, offset)| {
                partition.parse::<i32>().is_ok() && offset.parse::<i64>().is_ok()
            }));
            line = format!("{what}[P] offset N");
            row += 1;
        } else {
            row = 0;
        }
        lines.push(line);
        let begin = lines.len() - row;
        lines[begin..].sort();
    }
    lines.join("\n") + "\n"
}

fn kept() -> String {
    std::fs::read_to_string(KEPT).unwrap_or_default()
}

#[test]
fn it_is_as_it_is_kept() {
    let place = Place::new("transcript");
    let ended = place.outbox(&[]).run().ok();
    let found = normal(&ended.text(), &place.prefix);
    if std::env::var_os("KAFKALAB_BLESS").is_some() {
        std::fs::write(Path::new(KEPT), &found).expect("writing the transcript");
    }
    assert_eq!(found, kept(), "KAFKALAB_BLESS=1 keeps what is now");
    let quiet = place.outbox(&["-q"]).run().ok();
    assert_eq!((quiet.text(), quiet.stderr), ("done\n".to_owned(), String::new()));
}

#[test]
fn with_nothing_named_it_hosts_a_broker_and_leaves_nothing_behind() {
    nobody_listens();
    let folder = crate::bytes::files::Folder::new("self-contained");
    let temporary = folder.0.to_str().expect("a path");
    let bare = |arguments: &[&str]| {
        let program = kafkalab(["outbox"]).arguments(arguments).env_remove("KAFKALAB_BROKERS").in_folder(&folder.0);
        program.env("TMPDIR", temporary).env("HOME", temporary).env("USER", "tester")
    };
    let ended = bare(&[]).run().ok();
    assert_eq!(normal(&ended.text(), "no prefix"), kept());
    let said: Vec<_> = ended.stderr.lines().collect();
    assert!(said[0].starts_with("store: sqlite:") && said[0].ends_with("/store.db (temporary)"), "{said:?}");
    let hosts = "no broker named and none on localhost:9092: one runs in this process, on 127.0.0.1:";
    assert!(said[1].starts_with(hosts), "{said:?}");
    let ended = bare(&["--quiet"]).run().ok();
    assert_eq!((ended.text(), ended.stderr), ("done\n".to_owned(), String::new()));
    let left: Vec<_> = std::fs::read_dir(&folder.0).expect("the folder").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn killed_it_says_how_to_go_on_and_that_goes_on() {
    nobody_listens();
    let folder = crate::bytes::files::Folder::new("resumed");
    let temporary = folder.0.to_str().expect("a path");
    let bare = |arguments: &[String]| {
        let program = kafkalab(arguments).env_remove("KAFKALAB_BROKERS").in_folder(&folder.0);
        program.env("TMPDIR", temporary).env("HOME", temporary)
    };
    let ended = bare(&["outbox", "--crash-at", "relay.after-ack"].map(str::to_owned)).run();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended.status), Some(9), "{ended:?}");
    let command = |word: &str| {
        let line =
            ended.stderr.lines().find(|line| line.trim().starts_with(word)).unwrap_or_else(|| panic!("{ended:?}"));
        line.trim().split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let (resume, look) = (command("kafkalab outbox relay --once"), command("kafkalab outbox list"));
    let clear: u32 =
        ended.stderr.split("clear up: kill ").nth(1).and_then(|pid| pid.trim().parse().ok()).expect("a pid");
    let (before, resumed, after) = (bare(&look).run(), bare(&resume).run(), bare(&look).run());
    let pid = rustix::process::Pid::from_raw(clear as i32).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the broker lives on");
    assert!(before.ok().stderr.starts_with("3 waiting"));
    assert!(resumed.ok().stderr.ends_with("3 messages published\n"));
    assert_eq!(after.ok().stderr, "3 published\n");
}

/// The committed record at the place that a step names.
fn at(step: &Value) -> Sent {
    let records = sent(step["topic"].as_str().expect("a topic"));
    let here = |record: &Sent| {
        (Some(i64::from(record.partition)), Some(record.offset))
            == (step["partition"].as_i64(), step["offset"].as_i64())
    };
    records.into_iter().find(here).unwrap_or_else(|| panic!("not where it is said to be: {step}"))
}

#[test]
fn json_lines_tell_the_same_and_each_place_is_true() {
    let place = Place::new("transcript-json");
    let json = place.outbox(&["--json"]).run().ok().text();
    let steps: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut told: Vec<&str> = Vec::new();
    let kept = kept();
    for line in kept.lines().filter(|line| !line.is_empty()) {
        told.push(match line.split_whitespace().next().unwrap_or_default() {
            "|" if told.last() == Some(&"lesson") => continue,
            "|" => "lesson",
            word @ ("taken" | "away" | "published" | "parked" | "stock") => word,
            "outbox" => "depth",
            "effect" | "repeat" => "handled",
            word if word.ends_with('.') => "part",
            _ => panic!("{line}"),
        });
    }
    assert_eq!(steps.iter().map(|step| step["step"].as_str().unwrap_or_default()).collect::<Vec<_>>(), told);
    let of = |kind: &'static str| steps.iter().filter(move |step| step["step"] == kind);
    for step in of("published") {
        let record = at(step);
        assert_eq!(step["key"].as_str(), Some(&*record.key));
        assert_eq!(step["event"].as_str(), Some(&*record.headers["ce_type"]));
    }
    let mut seen = std::collections::BTreeSet::new();
    for step in of("handled") {
        assert_eq!(step["message_id"].as_str(), Some(at(step).id()));
        let is_new = seen.insert(step["message_id"].as_str().expect("an id"));
        assert_eq!(step["what"], if is_new { "effect" } else { "repeat" });
    }
    assert_eq!((of("published").count(), of("handled").count(), seen.len()), (6, 6, 5));
    assert_eq!(
        of("taken").map(|step| step["message_id"].as_str()).filter(|id| id.is_some_and(|id| seen.contains(id))).count(),
        5
    );
    assert_eq!(effects(&place), Ok(()));
}

#[test]
fn on_narrow_terminals_lessons_are_wrapped_and_facts_are_the_same() {
    let words = |text: &str, wanted: bool| {
        let lines = text.lines().filter(|line| line.starts_with("  | ") == wanted && !line.is_empty());
        let hint = |line: &&str| line.starts_with("hint:") || line.starts_with("store:");
        let lines = lines.filter(|line| !hint(line)).map(|line| line.trim_start_matches("  | "));
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect::<Vec<_>>()
    };
    // with the tests' long names of topics a fact takes two lines of 80 columns
    let widths: &[u16] = if on_kafka() { &[200] } else { &[200, 40] };
    for columns in widths {
        let place = Place::new("narrow");
        let shown = on_terminal(place.outbox(&[]), *columns, b"").ok().text();
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
