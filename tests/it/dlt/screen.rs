//! `dlt` as a person sees it, on a wide and on a narrow terminal.

use kafkalab::broker::EmbeddedBroker;

use super::{run, with_letters};
use crate::{
    harness::{Program, kafkalab},
    process::on_terminal,
};

fn dlt(arguments: &[&str]) -> Program {
    kafkalab(["dlt", "--no-color"]).arguments(arguments)
}

#[track_caller]
fn shows(program: Program, columns: u16, shown: &str) {
    let ended = on_terminal(program, columns, b"").ok();
    assert_eq!(ended.text(), shown);
    let longest = ended.text().lines().filter(|line| !line.starts_with("hint:")).map(|line| line.chars().count()).max();
    assert!(longest.is_none_or(|longest| longest <= usize::from(columns)), "{longest:?} of {columns}");
}

const LONG: &str = "the price \"12,99\" is no number, and neither is any other of this customer since the first of May";

#[test]
fn a_list_of_letters_is_cut_to_the_terminal() {
    let name = with_letters("1", &[LONG, "short\n\u{1b}[2J"]);
    let wide = format!(
        "LETTER  WHEN                      FROM                   GROUP  REASON\n\
         0:0     2026-02-01T00:00:00.250Z  {name}[0]@0  stock  {LONG}\n\
         0:1     2026-02-01T00:00:00.250Z  {name}[0]@1  stock  short\\n\\x1b[2J\n"
    );
    shows(dlt(&["list", &name]), 180, &wide);
    assert_eq!(run(&["list", &name]).ok().text(), wide, "a pipe gets all of it");
    let at_90 = format!(
        "LETTER  WHEN                      FROM                   GROUP  REASON\n\
         0:0     2026-02-01T00:00:00.250Z  {name}[0]@0  stock  the price \"12,99\" is no...\n\
         0:1     2026-02-01T00:00:00.250Z  {name}[0]@1  stock  short\\n\\x1b[2J\n"
    );
    shows(dlt(&["list", &name]), 90, &at_90);
    let place = |offset: i32| format!("0:{offset}\n  when 2026-02-01T00:00:00.250Z,\n  from {name}[0]@{offset},\n");
    let first = "  group stock,\n  reason the price \"12,99\" is no numb...\n";
    let at_40 = format!("{}{first}{}  group stock, reason short\\n\\x1b[2J\n", place(0), place(1));
    shows(dlt(&["list", &name]), 40, &at_40);
}

/// On a broker of its own: the list is all there is.
#[test]
fn the_list_of_topics_from_nothing_on() {
    let broker = EmbeddedBroker::start(0, None).expect("a broker");
    let address = broker.address.to_string();
    let on = |arguments: &[&str]| dlt(arguments).env("KAFKALAB_BROKERS", &address);
    shows(on(&["list"]), 80, "no topic has dead letters\n");
    kafkalab(["topics", "create", "orders", "orders.dlt"]).env("KAFKALAB_BROKERS", &address).run().ok();
    let line = r#"{"payload":"x","ts":1769904000250,"headers":[{"key":"kafka_dlt-original-topic","value":"orders"},{"key":"kafka_dlt-exception-message","value":"the price is no number at all, and never was"}]}"#;
    kafkalab(["produce", "orders.dlt", "--input", "json"])
        .env("KAFKALAB_BROKERS", &address)
        .stdin(format!("{line}\n{line}\n"))
        .run()
        .ok();
    let hint = "hint: kafkalab dlt list orders.dlt shows each\n";
    let wide = "TOPIC       WAITING  LETTERS  WHEN                      NEWEST REASON\n\
                orders.dlt        2        2  2026-02-01T00:00:00.250Z  ";
    shows(on(&["list"]), 120, &format!("{wide}the price is no number at all, and never was\n{hint}"));
    shows(on(&["list"]), 80, &format!("{wide}the price is no numbe...\n{hint}"));
    let narrow = "orders.dlt\n  waiting 2, letters 2,\n  when 2026-02-01T00:00:00.250Z,\n  newest reason the price is no numbe...\n";
    shows(on(&["list"]), 40, &format!("{narrow}{hint}"));
    // only those under the prefix
    shows(on(&["list", "--topic-prefix", "lab."]), 80, "no topic has dead letters\n");
    shows(
        on(&["list", "ders", "--topic-prefix", "or", "-n", "0"]),
        80,
        "orders.dlt has no letters that wait\nthere are more: -n 0\n",
    );
}

#[test]
fn a_letter_is_shown_whole_and_harmless() {
    let name = with_letters("1", &["bad \u{1b}[2J price"]);
    let shown = |value: &str| {
        format!(
            "{name}.dlt 0:0\n  \
               from       {name}[0]@0\n  \
               written    2026-02-01T00:00:00.250Z (CreateTime)\n  \
               group      stock\n  \
               attempts   1\n  \
               exception  kafkalab::patterns::inbox::Poison\n  \
               reason     bad \\x1b[2J price\n  \
               state      waiting\n\
             1 header\n  trace: 1\n\
             key, 1 byte\nk\n\
             value, 14 bytes\n{value}\n"
        )
    };
    shows(dlt(&["show", &name, "0:0"]), 80, &shown("bad \\x1b[2J price"));
    assert_eq!(run(&["show", &name, "0:0"]).ok().text(), shown("bad \u{1b}[2J price"), "a pipe gets the bytes");
    kafkalab(["produce", &format!("{name}.dlt"), "--input", "json"]).stdin("{\"payload\":null}\n").run().ok();
    let stray = on_terminal(dlt(&["show", &name, "0:1"]), 40, b"").ok().text();
    let (before, behind) = stray.split_once("  time ").expect("a time");
    assert_eq!(before, format!("{name}.dlt 0:1\n  note       none: no sender of dead letters wrote it\n"));
    assert!(behind.contains("Z\n  state      waiting\n0 headers\nkey: null\nvalue: null\n"), "{behind}");
}

#[test]
fn what_to_do_next_is_said_to_a_person() {
    let name = with_letters("1", &["a"]);
    let shown = format!("replayed 1 letter to {name}\nhint: kafkalab dlt purge {name}.dlt deletes what was replayed\n");
    shows(dlt(&["replay", &name, "--all"]), 80, &shown);
    shows(dlt(&["replay", &name, "--all", "-q"]), 40, "");
}
