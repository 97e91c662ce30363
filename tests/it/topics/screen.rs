//! `topics` as a person sees it, on a wide and on a narrow terminal.

use kafkalab::broker::EmbeddedBroker;
use rustix::process::Signal;

use super::run;
use crate::{
    harness::{Program, kafkalab, topic},
    process::{on_terminal, start_on_terminal},
};

/// A name of 16 letters, so that where a line is full does not depend on it.
fn name() -> String {
    let name = topic("t");
    name[..2].to_owned() + &name[name.len() - 14..]
}

fn topics(arguments: &[&str]) -> Program {
    kafkalab(["topics"]).arguments(arguments)
}

#[track_caller]
fn shows(program: Program, columns: u16, code: i32, shown: &str) {
    let ended = on_terminal(program, columns, b"");
    assert_eq!((ended.code(), ended.text().as_str()), (code, shown));
}

/// On a broker of its own: the list is all there is.
#[test]
fn the_list_from_nothing_to_too_wide() {
    let broker = EmbeddedBroker::start(0, None).expect("a broker");
    let address = broker.address.to_string();
    let on = |arguments: &[&str]| topics(arguments).env("KAFKALAB_BROKERS", &address);
    let none = "no topics yet\n";
    let hint = "\x1b[1mhint:\x1b[0m kafkalab produce --sample 10 makes one, with ten order events in it\n";
    shows(on(&["list"]), 80, 0, &format!("{none}{hint}"));
    assert_eq!(on(&["list"]).run().ok().stderr, none);
    on(&["create", "orders", "-p", "12"]).run().ok();
    on(&["create", "a.topic-with_a-name.of.thirty.ch"]).run().ok();
    let table = "TOPIC                             PARTITIONS  REPLICAS\n\
                 a.topic-with_a-name.of.thirty.ch           1         1\n\
                 orders                                    12         1\n";
    let piped = on(&["list"]).run().ok();
    assert_eq!((piped.text().as_str(), piped.stderr.as_str()), (table, ""));
    shows(on(&["list", "--no-color"]), 80, 0, table);
    let (head, rows) = table.split_once('\n').expect("lines");
    shows(on(&["list"]), 80, 0, &format!("\x1b[1m{head}\x1b[0m\n{rows}"));
    let stacked = "a.topic-with_a-name.of.thirty.ch\n  partitions 1, replicas 1\norders\n  partitions 12, replicas 1\n";
    shows(on(&["list"]), 40, 0, stacked);
    let all = on(&["list", "--all"]).run().ok().text();
    assert!(all.contains("__consumer_offsets") && all.contains("internal\n"), "{all}");
    assert!(!on(&["list"]).run().ok().text().contains("__"));
}

#[test]
fn a_topic_is_made_grown_and_described() {
    let name = name();
    let hint = "\x1b[1mhint:\x1b[0m";
    let made = format!(
        "created {name}: 2 partitions, 1 replica\n\
         {hint} kafkalab produce {name} sends lines to it, kafkalab consume {name} shows them\n"
    );
    shows(topics(&["create", &name, "-p", "2"]), 80, 0, &made);
    let found = format!("{name} has 2 partitions, not 5\n{name} exists: 2 partitions, 1 replica\n");
    let take = ["create", &name, "--if-not-exists", "-p", "5", "-q"];
    shows(topics(&take), 40, 0, &format!("{name} exists: 2 partitions, 1\n  replica\n"));
    let take = topics(&take[..5]).run().ok();
    let (said, exists) = found.split_at(found.find('\n').expect("lines") + 1);
    assert_eq!((take.text().as_str(), take.stderr.as_str()), (exists, said));
    let grown = format!(
        "{name} has 3 partitions now, 2 before\n\
         {hint} keys go to other partitions from now on; their older records stay where they are\n"
    );
    shows(topics(&["partitions", &name, "3"]), 40, 0, &grown);
    shows(topics(&["partitions", &name, "3"]), 40, 0, &format!("{name} has 3 partitions already\n"));

    kafkalab(["produce", &name, "-p", "1"]).stdin("one\ntwo\n").run().ok();
    let head = format!("{name}: 3 partitions, 1 replica, 2 records\n");
    let wide = on_terminal(topics(&["describe", &name, "--no-color"]), 80, b"").ok().text();
    let table = "PARTITION  LEADER  REPLICAS  ISR  START  END  RECORDS\n\
                 \x20       0       1  1         1        0    0        0\n\
                 \x20       1       1  1         1        0    2        2\n\
                 \x20       2       1  1         1        0    0        0\n";
    assert!(wide.starts_with(&format!("{head}{table}")), "{wide}");
    let narrow = on_terminal(topics(&["describe", &name, "--no-color"]), 40, b"").ok().text();
    let stacked = |partition: i32, end: i32| {
        format!("partition {partition}\n  leader 1, replicas 1, isr 1, start 0,\n  end {end}, records {end}\n")
    };
    let head = format!("{name}: 3 partitions, 1\n  replica, 2 records\n");
    let stacked = format!("{head}{}{}{}", stacked(0, 0), stacked(1, 2), stacked(2, 0));
    assert!(narrow.starts_with(&stacked), "{narrow}");
    assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
    let piped = topics(&["describe", &name]).run().ok().text();
    assert_eq!(piped, wide, "a pipe gets what a wide terminal gets, without styles");
}

#[test]
fn settings_are_shown_changed_and_given_back() {
    let name = name();
    run(&["create", &name]).ok();
    let change = ["config", &name, "--set", "retention.ms=3600000", "--set", "cleanup.policy=compact,delete"];
    let changed = run(&change).ok();
    assert_eq!(changed.stderr, "");
    for line in ["cleanup.policy", "retention.ms"] {
        let found = changed.text();
        let found = found.lines().find(|found| found.starts_with(line)).unwrap_or_else(|| panic!("{line}: {found}"));
        let words: Vec<_> = found.split_whitespace().collect();
        let value = if line == "retention.ms" { "3600000" } else { "compact,delete" };
        assert_eq!(words, [line, value, "topic"]);
    }
    let shown = on_terminal(topics(&["config", &name]), 80, b"").ok().text();
    assert!(shown.starts_with("\x1b[1mSETTING"), "{shown}");
    assert_eq!(super::wrong::plain(&shown), changed.text());
    // forty columns are too few for all settings in a row
    let narrow = on_terminal(topics(&["config", &name, "--all"]), 40, b"").ok().text();
    assert!(narrow.contains("cleanup.policy\n  value compact,delete, source topic\n"), "{narrow}");
    let back = run(&["config", &name, "--delete", "cleanup.policy", "--delete", "retention.ms"]).ok().text();
    assert!(!back.contains(" topic\n"), "{back}");
    let again = run(&["config", &name, "--delete", "retention.ms"]).ok().text();
    assert_eq!(again, back, "given back twice is no error");
}

#[test]
fn deleting_asks_who_sits_there() {
    let name = name();
    run(&["create", &name, "-p", "2"]).ok();
    kafkalab(["produce", &name]).stdin("one\n").run().ok();
    let question = format!("delete {name} (2 partitions, 1 record)? [y/N] ");
    let ask = || topics(&["delete", &name, "--no-color"]);
    // what is typed is on the screen before the question
    for (keys, typed) in [("n\n", "n\n"), ("\n", "\n"), ("yesterday\n", "yesterday\n"), ("\x04", "")] {
        let ended = on_terminal(ask(), 80, keys.as_bytes());
        let expected = format!("{typed}{question}nothing was deleted\n");
        assert_eq!((ended.code(), ended.text().replace("^D\u{8}\u{8}", "")), (1, expected), "{keys:?}");
    }
    // Ctrl-C at the question
    let mut running = start_on_terminal(ask(), 80, b"");
    running.until_stdout_has("[y/N] ");
    running.signal(Signal::INT);
    assert_eq!(running.end().code(), 130);
    assert_eq!(run(&["describe", &name]).code(), 0, "it is still there");
    // a script cannot be asked, even where its stdout is a terminal
    let said =
        "error: deleting topics asks first, and there is no terminal to ask on\nhint: -y deletes without asking\n";
    super::says(&["delete", &name], 2, "", said);
    assert_eq!(topics(&["delete", &name]).stdin("y\n").run().code(), 2);
    let ended = on_terminal(ask(), 40, b"y\n");
    assert_eq!((ended.code(), ended.text()), (0, format!("y\n{question}deleted {name}\n")));
    run(&["create", &name]).ok();
    shows(topics(&["delete", &name, "-y"]), 40, 0, &format!("deleted {name}\n"));
}
