//! On terminals: what fits, what is asked, and the picture that is drawn again in place.

use rustix::process::Signal;

use super::{committed, group, kcat_member, run, until_members, written};
use crate::{
    cli::screen::without_styles,
    cluster::Kafka,
    harness::kafkalab,
    process::{on_terminal, start, start_on_terminal},
    topics_made::topic_with,
};

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

#[test]
#[ignore = "needs kcat"]
fn a_description_fits_the_terminal() {
    let (topic, group) = (topic_with("narrow", 3), group("narrow"));
    written(&topic, 0, 5, 100_000);
    let _member = kcat_member(&group, &topic, "reader");
    until_members(&group, 1);
    for columns in [40, 80] {
        let shown = on_terminal(kafkalab(["groups", "describe", &group]), columns, b"").ok().text();
        let shown = without_styles(&shown);
        // but for names, which are not broken
        let short = |line: &str| {
            line.split(' ').map(|word| if word.len() > 30 { "name" } else { word }).collect::<Vec<_>>().join(" ")
        };
        let breakable: String = shown.lines().map(|line| short(line) + "\n").collect();
        assert!(widest(&breakable) <= usize::from(columns), "{columns}:\n{shown}");
        for word in ["partition", "committed", "reader"] {
            assert!(shown.to_lowercase().contains(word), "{word}: {shown}");
        }
    }
}

#[test]
fn who_is_asked_can_say_no() {
    let (topic, group) = (topic_with("asked", 1), group("asked"));
    written(&topic, 0, 4, 0);
    run(&["reset", &group, "-t", &topic, "--to", "start", "-y"]).ok();
    let asked = |arguments: &[&str], keys: &[u8]| {
        let ended = on_terminal(kafkalab(["groups"]).arguments(arguments), 80, keys);
        (ended.code(), without_styles(&ended.text()))
    };
    let reset = ["reset", group.as_str(), "--to", "end"];
    for keys in [b"n\n".as_slice(), b"\n", b"\x04"] {
        let (code, shown) = asked(&reset, keys);
        assert_eq!(code, 1, "{shown}");
        assert!(shown.contains(&format!("move {group} in 1 partition? [y/N] ")), "{shown}");
        assert!(shown.ends_with("nothing was changed\n"), "{shown}");
        assert_eq!(committed(&group), [(0, Some(0))]);
    }
    assert_eq!(asked(&reset, b"y\n").0, 0);
    assert_eq!(committed(&group), [(0, Some(4))]);
    let (code, shown) = asked(&["delete", &group], b"n\n");
    assert_eq!(code, 1);
    assert!(shown.contains(&format!("delete {group} (1 committed offset)? [y/N] ")), "{shown}");
    let (code, shown) = asked(&["delete", &group], b"yes\n");
    assert!(code == 0 && shown.ends_with(&format!("deleted {group}\n")), "{shown}");
}

/// What a terminal shows after it was sent this: only what the program may send, anything else is a failure.
fn screen(sent: &str) -> Vec<String> {
    let (mut rows, mut row, mut rest) = (vec![String::new()], 0, sent);
    let mut column = 0;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\r' => column = 0,
            '\n' => {
                row += 1;
                column = 0;
                if row == rows.len() {
                    rows.push(String::new());
                }
            }
            '\x1b' => {
                let end = rest.find(|c: char| c.is_ascii_alphabetic()).expect("a whole sequence");
                let (sequence, letter) = (rest[1..end].to_owned(), rest.as_bytes()[end]);
                rest = &rest[end + 1..];
                match (letter, sequence.as_str()) {
                    (b'm', _) | (b'l' | b'h', "?7") => {}
                    (b'F', lines) => (row, column) = (row - lines.parse::<usize>().expect("a number"), 0),
                    (b'K', "") => rows[row] = rows[row].chars().take(column).collect(),
                    (b'J', "") => {
                        rows[row] = rows[row].chars().take(column).collect();
                        rows.truncate(row + 1);
                    }
                    other => panic!("not for this program: {other:?}"),
                }
            }
            c => {
                let mut chars: Vec<char> = rows[row].chars().collect();
                if column == chars.len() {
                    chars.push(c)
                } else {
                    chars[column] = c
                }
                rows[row] = chars.into_iter().collect();
                column += 1;
            }
        }
    }
    rows
}

#[test]
fn a_watched_group_is_drawn_again_in_place_with_its_pace() {
    let (topic, group) = (topic_with("watched", 2), group("watched"));
    written(&topic, 0, 50, 5);
    for columns in [80, 40] {
        let moved = |to: &str| run(&["reset", &group, "-t", &topic, "--to", to, "-y"]).ok();
        moved("start");
        let mut watch = start_on_terminal(kafkalab(["groups", "describe", &group, "--watch", "300ms"]), columns, b"");
        watch.until_stdout_has("0 records/s");
        moved("20");
        watch.until_stdout_has("caught up in ");
        moved("end");
        watch.until_stdout_has("caught up\x1b");
        watch.signal(Signal::INT);
        let ended = watch.end();
        let sent = ended.text();
        assert_eq!(ended.code(), 130, "{sent}");
        let rows = screen(&sent);
        let count = |what: &str| rows.iter().filter(|row| row.contains(what)).count();
        assert_eq!(count("every 0.3s"), 1, "one picture: {rows:?}");
        assert_eq!(count(&format!("{group}: ")), 1, "one headline: {rows:?}");
        assert!(rows.len() <= 24, "{rows:?}");
        assert!(rows.iter().any(|row| row.starts_with("stopping")), "{rows:?}");
    }
}

#[test]
fn a_watched_group_in_a_pipe_is_a_block_or_a_line_each_time() {
    let (topic, group) = (topic_with("piped", 1), group("piped"));
    written(&topic, 0, 4, 0);
    run(&["reset", &group, "-t", &topic, "--to", "start", "-y"]).ok();
    let mut text = start(kafkalab(["groups", "describe", &group, "-w", "100ms"]));
    text.until_stdout_has("RATE/S");
    text.signal(Signal::INT);
    let ended = text.end();
    assert_eq!(ended.code(), 130);
    assert!(!ended.text().contains('\x1b') && ended.text().matches("every 0.1s\n").count() >= 2, "{}", ended.text());
    let mut json = start(kafkalab(["groups", "describe", &group, "--watch=100ms", "-J"]));
    json.until_stdout_has("\"records_per_second\":0.0");
    json.signal(Signal::TERM);
    let ended = json.end();
    assert_eq!(ended.code(), 143);
    for line in ended.text().lines() {
        let document: serde_json::Value = serde_json::from_str(line).expect("a document a line");
        assert_eq!(document["groups"][0]["lag"], 4);
    }
}

#[test]
#[ignore = "takes Apache Kafka of its own"]
fn who_watches_is_told_that_the_brokers_are_away_and_sees_them_come_back() {
    let kafka = Kafka::start(1, &[]);
    let kafkalab = |arguments: &[&str]| kafkalab(arguments).env("KAFKALAB_BROKERS", &kafka.brokers);
    kafkalab(&["topics", "create", "t", "-p", "1"]).run().ok();
    kafkalab(&["groups", "reset", "g", "-t", "t", "--to", "start", "-y"]).run().ok();
    let mut watch = start_on_terminal(kafkalab(&["groups", "describe", "g", "--watch", "300ms"]), 80, b"");
    watch.until_stdout_has("0 records/s");
    kafka.pause(1);
    watch.until_stdout_has("the brokers do not answer; waiting for them");
    kafka.resume(1);
    kafkalab(&["produce", "t"]).stdin("one\n").run().ok();
    watch.until_stdout_has("lag 1");
    watch.signal(Signal::INT);
    let ended = watch.end();
    assert_eq!(ended.code(), 130);
    assert!(!screen(&ended.text()).iter().any(|row| row.contains("waiting")), "{}", ended.text());
}

#[test]
fn the_reader_of_screens_sees_what_it_must() {
    assert_eq!(screen("a\r\nbc\r\n\x1b[?7l\x1b[2Fx\x1b[K\r\n\x1b[J\x1b[?7h"), ["x", ""]);
    assert_eq!(screen("abc\rx"), ["xbc"]);
}
