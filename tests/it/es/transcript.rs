//! The demonstration, as it is kept in `transcript.txt`; `KAFKALAB_BLESS=1` writes it anew.

use std::{net::TcpStream, path::Path};

use super::{Place, judge::sent};
use crate::{
    cli::screen::without_styles,
    harness::{kafkalab, on_kafka},
    process::on_terminal,
};

const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/es/transcript.txt");

/// Ids by the order in which they come; places are the cluster's business.
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
            line.replace_range(at..at + 36, &format!("ORDER-{}", number + 1));
        }
        if line.starts_with("  published") {
            let (what, place) = line.split_once('[').expect("a place");
            assert!(place.split_once("] offset ").is_some_and(|(partition, offset)| {
                partition.parse::<i32>().is_ok() && offset.parse::<i64>().is_ok()
            }));
            line = format!("{what}[P] offset N");
        }
        normal.push_str(&line);
        normal.push('\n');
    }
    normal
}

pub fn uuid_in(line: &str) -> Option<usize> {
    let is_uuid = |at: &usize| line.get(*at..at + 36).is_some_and(|text| text.parse::<uuid::Uuid>().is_ok());
    (0..line.len()).find(is_uuid)
}

fn kept() -> String {
    std::fs::read_to_string(KEPT).unwrap_or_default()
}

/// Nothing named: it must be nobody's broker that is found.
pub fn nobody_listens() {
    let found = TcpStream::connect("localhost:9092");
    assert!(found.is_err(), "this test needs localhost:9092 free: a broker that listens there would be taken");
}

#[test]
fn it_is_as_it_is_kept() {
    let place = Place::new("transcript");
    let ended = place.es(&[]).run().ok();
    let found = normal(&ended.text(), &place.prefix);
    if std::env::var_os("KAFKALAB_BLESS").is_some() {
        std::fs::write(Path::new(KEPT), &found).expect("writing the transcript");
    }
    assert_eq!(found, kept(), "KAFKALAB_BLESS=1 keeps what is now");
}

#[test]
fn with_nothing_named_it_hosts_a_broker_and_leaves_nothing_behind() {
    nobody_listens();
    let folder = crate::bytes::files::Folder::new("self-contained");
    let temporary = folder.0.to_str().expect("a path");
    let bare = |arguments: &[&str]| {
        let program = kafkalab(["es"]).arguments(arguments).env_remove("KAFKALAB_BROKERS").in_folder(&folder.0);
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
    let bare = |arguments: &[&str]| {
        let program = kafkalab(arguments).env_remove("KAFKALAB_BROKERS").in_folder(&folder.0);
        program.env("TMPDIR", temporary).env("HOME", temporary)
    };
    let ended = bare(&["es", "--crash-at", "relay.after-send:2"]).run();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended.status), Some(9), "{ended:?}");
    let command = |word: &str| {
        let line = ended.stderr.lines().find(|line| line.trim().starts_with(word)).expect(word);
        line.trim().split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let (resume, look) = (command("kafkalab es publish"), command("kafkalab es streams"));
    let clear: u32 =
        ended.stderr.split("clear up: kill ").nth(1).and_then(|pid| pid.trim().parse().ok()).expect("a pid");
    let resumed = bare(&resume.iter().map(String::as_str).collect::<Vec<_>>()).run();
    let streams = bare(&look.iter().map(String::as_str).collect::<Vec<_>>()).run();
    let pid = rustix::process::Pid::from_raw(clear as i32).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the broker lives on");
    let resumed = resumed.ok();
    assert!(resumed.text().contains("published  OrderPaid"), "{resumed:?}");
    assert!(resumed.stderr.ends_with("1 event published\n"), "{resumed:?}");
    assert!(streams.ok().text().lines().nth(1).is_some_and(|line| line.contains("      2         2  ")));
}

#[test]
fn json_lines_tell_the_same_and_each_place_is_true() {
    let place = Place::new("transcript-json");
    let json = place.es(&["--json"]).run().ok().text();
    let steps: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut told: Vec<&str> = Vec::new();
    let kept = kept();
    for line in kept.lines().filter(|line| !line.is_empty()) {
        let kind = match line.split_whitespace().next().unwrap_or_default() {
            "|" if told.last() == Some(&"lesson") => continue,
            "|" => "lesson",
            word @ ("appended" | "published" | "state" | "refused" | "conflict" | "replayed") => word,
            word if word.ends_with('.') => "part",
            _ => "command",
        };
        told.push(kind);
    }
    assert_eq!(steps.iter().map(|step| step["step"].as_str().unwrap_or_default()).collect::<Vec<_>>(), told);
    let mut checked = 0;
    for step in steps.iter().filter(|step| step["step"] == "published") {
        let found = sent(step["topic"].as_str().expect("a topic")).into_iter().find(|record| {
            (Some(i64::from(record.partition)), Some(record.offset))
                == (step["partition"].as_i64(), step["offset"].as_i64())
        });
        let found = found.unwrap_or_else(|| panic!("not where it is said to be: {step}"));
        assert_eq!(
            (step["key"].as_str(), step["event"].as_str()),
            (Some(&*found.key), Some(&*found.headers["ce_type"]))
        );
        checked += 1;
    }
    assert_eq!(checked, 11);
    assert_eq!(super::judge::judged(&place), 0);
    assert_eq!(sent(&place.topic("orders-replay")).len(), 11);
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
        let shown = on_terminal(place.es(&[]), *columns, b"").ok().text();
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
