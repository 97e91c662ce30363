//! The demonstration, as it is kept in `transcript.txt`, and the reports beside it; `KAFKALAB_BLESS=1` writes them anew.

use std::path::Path;

use super::read_on;
use crate::{
    cli::screen::without_styles,
    es::Place,
    process::{on_terminal, start_on_terminal},
    transcript::Transcript,
};

const TRANSCRIPT: Transcript = Transcript { name: "cqrs", unordered: &["published"] };

#[test]
fn it_is_as_it_is_kept() {
    let place = Place::new("transcript");
    TRANSCRIPT.holds(&place, &place.cqrs(&[]).run().ok());
}

#[test]
fn with_nothing_named_it_hosts_a_broker_and_leaves_nothing_behind() {
    TRANSCRIPT.stands_alone();
}

#[test]
fn json_lines_tell_the_same() {
    let place = Place::new("transcript-json");
    TRANSCRIPT.steps(&place.cqrs(&["--json"]).run().ok().text(), |word| match word {
        "write" => Some("written"),
        "by" => Some("published"),
        "killed" => Some("died"),
        word => Some(word),
    });
}

#[test]
fn on_narrow_terminals_lessons_are_wrapped_and_facts_are_the_same() {
    TRANSCRIPT.is_wrapped(|place| place.cqrs(&[]));
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
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cqrs").join(name);
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
