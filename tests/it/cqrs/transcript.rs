//! The demonstration, as it is kept in `transcript.txt`; `KAFKALAB_BLESS=1` writes it anew.

use std::path::Path;

use serde_json::Value;

use super::read_on;
use crate::{
    cli::screen::without_styles,
    es::{
        Place,
        transcript::{nobody_listens, uuid_in},
    },
    harness::kafkalab,
    process::{on_terminal, start_on_terminal},
};

const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/cqrs/transcript.txt");

/// Ids by the order in which they come; places without their numbers, those that are told in a row in one order.
fn normal(text: &str, prefix: &str) -> String {
    let (mut ids, mut lines, mut row): (Vec<String>, Vec<String>, usize) = (Vec::new(), Vec::new(), 0);
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
        row = if line.starts_with("  published") { row + 1 } else { 0 };
        if row > 0 {
            let (what, place) = line.split_once('[').expect("a place");
            assert!(place.split_once("] offset ").is_some_and(|(partition, offset)| {
                partition.parse::<i32>().is_ok() && offset.parse::<i64>().is_ok()
            }));
            line = format!("{what}[P] offset N");
        }
        if line.starts_with("  killed") {
            line = line.chars().map(|c| if c.is_ascii_digit() { 'N' } else { c }).collect::<String>();
            line = line.replace("record in", "records in");
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
    let ended = place.cqrs(&[]).run().ok();
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
        let program = kafkalab(["cqrs"]).arguments(arguments).env_remove("KAFKALAB_BROKERS").in_folder(&folder.0);
        program.env("TMPDIR", temporary).env("HOME", temporary).env("USER", "tester")
    };
    assert_eq!(normal(&bare(&[]).run().ok().text(), "no prefix"), kept());
    let ended = bare(&["--quiet"]).run().ok();
    assert_eq!((ended.text(), ended.stderr), ("done\n".to_owned(), String::new()));
    let left: Vec<_> = std::fs::read_dir(&folder.0).expect("the folder").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn json_lines_tell_the_same() {
    let place = Place::new("transcript-json");
    let json = place.cqrs(&["--json"]).run().ok().text();
    let steps: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut told: Vec<&str> = Vec::new();
    let kept = kept();
    for line in kept.lines().filter(|line| !line.is_empty()) {
        told.push(match line.split_whitespace().next().unwrap_or_default() {
            "|" if told.last() == Some(&"lesson") => continue,
            "|" => "lesson",
            "write" => "written",
            "by" => "published",
            "killed" => "died",
            word @ ("refused" | "published" | "read" | "known" | "users" | "revenue" | "rebuilt") => word,
            word if word.ends_with('.') => "part",
            _ => panic!("{line}"),
        });
    }
    assert_eq!(steps.iter().map(|step| step["step"].as_str().unwrap_or_default()).collect::<Vec<_>>(), told);
}

/// The page of the read side, whose times are those of the run.
fn page(text: &str) -> String {
    let is_time = |text: &str| {
        text.len() == 8
            && text.bytes().enumerate().all(|(at, byte)| if at % 3 == 2 { byte == b':' } else { byte.is_ascii_digit() })
    };
    let line = |line: &str| match line.trim_start().get(..8) {
        Some(time) if is_time(time) => line.replacen(time, "HH:MM:SS", 1),
        _ => line.to_owned(),
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

fn assert_kept(name: &str, found: &str) {
    let path = Path::new(KEPT).with_file_name(name);
    if std::env::var_os("KAFKALAB_BLESS").is_some() {
        std::fs::write(&path, found).expect("writing a report");
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap_or_default(), "{name}: KAFKALAB_BLESS=1 keeps what is now");
}

fn three(place: &Place) {
    for command in [
        &["create", "--price", "USD:12.99", "--order", "a"][..],
        &["create", "--price", "EUR:7", "--order", "b", "--user", "grace", "--product", "lamp"],
        &["create", "--price", "EUR:7", "--order", "c", "--user", "grace", "--product", "a-product-with-a-long-name"],
        &["pay", "a"],
    ] {
        place.cqrs(&["write", "-q"]).arguments(command).run().ok();
    }
}

#[test]
fn a_report_is_a_block_elsewhere_and_has_bars_on_a_terminal() {
    let place = Place::new("report");
    three(&place);
    let block = page(&read_on(&place, &["-q"]).text());
    assert_kept("report.txt", &block);
    for (columns, kept) in [(80, "report-80.txt"), (40, "report-40.txt")] {
        let shown = on_terminal(place.cqrs(&["stats"]), columns, b"").ok().text();
        let shown = page(&without_styles(&shown));
        assert!(shown.lines().all(|line| line.chars().count() <= usize::from(columns)), "{shown}");
        assert_kept(kept, &shown);
    }
}

#[test]
fn on_a_terminal_the_report_is_drawn_in_place() {
    let place = Place::new("in-place");
    three(&place);
    let mut reader = start_on_terminal(place.cqrs(&["read", "--every", "50ms"]), 80, b"");
    reader.until_stdout_has("a-product-with-a-long-name");
    reader.until_stdout_has("0m 0 events");
    reader.signal(rustix::process::Signal::INT);
    let ended = reader.end();
    assert_eq!(ended.code(), 130);
    let text = ended.text();
    // a picture goes up by the lines of the one before, and nothing else is said in between
    let ups = text.match_indices("F").filter(|(at, _)| text[..*at].rsplit("\x1b[").next().is_some_and(is_number));
    assert!(ups.count() > 0 && !text.contains("assigned:"), "{text}");
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
