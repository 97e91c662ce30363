//! What a person sees on a terminal: places and next steps, and no payload that steers the screen.

use crate::{
    bytes::files::Folder,
    harness::{kafkalab, topic},
    process::on_terminal,
    records::{Rec, to_json_lines},
};

/// Clears the screen, writes the clipboard (OSC 52), CSI as one C1 character, overwrites its line, turns the order around.
pub const ATTACK: &str = "\x1b[2J\x1b]52;c;ZXZpbA==\x07\u{9b}31m\rover\u{202e}dlrow";
pub const HARMLESS: &str = r"\x1b[2J\x1b]52;c;ZXZpbA==\x07\u{9b}31m\rover\u{202e}dlrow";

fn attacked() -> String {
    let topic = topic("attack");
    let bytes = ATTACK.as_bytes();
    let record = Rec::new(Some(bytes), Some(bytes)).header(bytes, Some(bytes));
    kafkalab(["produce", &topic, "-p", "0", "--input", "json"]).stdin(to_json_lines(&[record])).run().ok();
    topic
}

/// Nothing but text, line ends, and the program's own colours.
#[track_caller]
pub fn assert_harmless(shown: &str) {
    let mut rest = shown.to_owned();
    for own in [
        "\x1b[0m",
        "\x1b[31;1m",
        "\x1b[1m",
        "\x1b[4m",
        "\x1b[22m",
        "\x1b[24m",
        "\x1b[31m",
        "\x1b[32m",
        "\x1b[33m",
        "\x1b[39m",
    ] {
        rest = rest.replace(own, "");
    }
    let harmful = |c: &char| (c.is_control() && *c != '\n' && *c != '\t') || ('\u{202a}'..='\u{202e}').contains(c);
    assert_eq!(rest.chars().find(harmful), None, "{shown:?}");
}

#[test]
fn records_cannot_steer_a_terminal() {
    let topic = attacked();
    let shown = on_terminal(kafkalab(["consume", &topic, "-e"]), 80, b"").ok().text();
    assert_eq!(shown, format!("{topic}[0] 0  {HARMLESS}  {HARMLESS}\n"));
    let format = ["consume", &topic, "-e", "-f", r"%k|%s|%h|%h{%k:%v }\n"];
    let shown = on_terminal(kafkalab(format), 80, b"").ok().text();
    assert_eq!(shown, format!("{0}|{0}|{0}={0}|{0}:{0} \n", HARMLESS));
    let json = on_terminal(kafkalab(["consume", &topic, "-eJ"]), 80, b"").ok().text();
    assert_harmless(&json);
    assert_eq!(Rec::from_json(json.trim_end()).key.as_deref(), Some(ATTACK.as_bytes()));
}

#[test]
fn raw_and_pipes_keep_the_bytes() {
    let topic = attacked();
    let arguments = ["consume", &topic, "-e", "-f", r"%k|%s|%h\n"];
    let bytes = format!("{0}|{0}|{0}={0}\n", ATTACK);
    assert_eq!(kafkalab(arguments).run().ok().text(), bytes);
    assert_eq!(on_terminal(kafkalab(arguments).arguments(["--raw"]), 80, b"").ok().text(), bytes);
    assert_eq!(on_terminal(kafkalab(["consume", &topic, "-e", "--raw"]), 80, b"").ok().text(), format!("{ATTACK}\n"));
}

#[test]
fn what_is_null_is_seen_on_a_terminal() {
    let topic = topic("null");
    let records = [Rec::new(None, None), Rec::new(Some(b""), Some(b"two\nlines"))];
    kafkalab(["produce", &topic, "-p", "0", "--input", "json"]).stdin(to_json_lines(&records)).run().ok();
    let shown = on_terminal(kafkalab(["consume", &topic, "-e"]), 80, b"").ok().text();
    assert_eq!(shown, format!("{topic}[0] 0  NULL  NULL\n{topic}[0] 1    two\nlines\n"));
}

#[test]
fn errors_cannot_steer_a_terminal() {
    let folder = Folder::new("errors");
    let bad = folder
        .file("bad.json", format!("{{\"payload\":\"x\",\"payload_encoding\":\"{}\"}}\n", "\\u001b[2J").as_bytes());
    let toml = folder.file("kafkalab.toml", format!("\"\\u001b[2J{}\" = 1\n", "\u{202e}").as_bytes());
    assert!(toml.ends_with("kafkalab.toml"));
    let topic = topic("errors");
    for arguments in [
        vec!["consume", ATTACK, "-e"],
        vec!["produce", ATTACK],
        vec!["consume", &topic, "-e", "-o", ATTACK],
        vec!["consume", &topic, "-e", "-f", "%\x1b[2J"],
        vec!["produce", &topic, "-l", ATTACK],
        vec!["produce", &topic, "-H", "=\x1b[2J"],
        vec!["produce", &topic, "-K", "\\\x1b[2J"],
        vec!["produce", &topic, "--input", "json", "-l", &bad],
        vec!["consume", &topic, "-b", "host\x1b[2J:1"],
        vec!["consume", &topic, "-X", "\x1b[2J=1"],
        vec!["consume", &topic, "--profile", ATTACK],
        vec!["consume", &topic, "--timeout", ATTACK],
        vec!["consume", &topic, "--isolation", ATTACK],
        vec![ATTACK],
        vec!["consume", &topic, "--\x1b[2J"],
    ] {
        let program = kafkalab(&arguments).in_folder(&folder.0);
        // typed on the terminal: a line and Ctrl-D, where stdin is read; a terminal shows what is typed
        let ended = on_terminal(program, 80, b"");
        let shown = ended.text();
        assert_ne!(ended.code(), 0, "{arguments:?}: {shown:?}");
        assert!(shown.contains("error:"), "{arguments:?}: {shown:?}");
        assert_harmless(&shown);
    }
}

#[test]
fn a_first_lesson_says_what_happens() {
    let topic = topic("lesson");
    let produce = ["produce", &topic, "-p", "0", "--sample", "3", "--seed", "7"];
    let shown = on_terminal(kafkalab(produce), 120, b"").ok().text();
    let keys = kafkalab(["consume", &topic, "-e", "-f", r"key %k -> %t[%p] at offset %o\n"]).run().ok().text();
    assert_eq!(shown, format!("{keys}3 acknowledged: {topic}[0] 3 up to offset 2\n"));
    let typed = on_terminal(kafkalab(["produce", &topic, "-p", "0"]), 80, b"typed\n\x04").ok().text();
    assert!(typed.contains("reading lines from the terminal; Ctrl-D to send the last and end\n"), "{typed:?}");
    assert!(typed.ends_with(&format!("1 acknowledged: {topic}[0] 1 up to offset 3\n")), "{typed:?}");
    let quiet = on_terminal(kafkalab(["-q", "produce", &topic, "-p", "0", "--sample", "1"]), 80, b"").ok().text();
    assert_eq!(quiet, "");
    let following = on_terminal(kafkalab(["consume", &topic, "-n", "1", "-o", "3"]), 80, b"").ok().text();
    assert_eq!(following, format!("following {topic}, 1 partition; Ctrl-C to stop\n{topic}[0] 3  NULL  typed\n"));
}

#[test]
fn help_fits_a_narrow_terminal_and_colours_can_be_refused() {
    for columns in [40, 80] {
        let shown = on_terminal(kafkalab(["consume", "-h"]), columns, b"").ok().text();
        assert!(shown.contains('\x1b'), "headings have a style on a terminal");
        let plain = without_styles(&shown);
        let (options, rest) = plain.split_once("Examples:").expect("examples");
        // but for the usage, which is a line of its own
        let widest = options.lines().filter(|line| !line.starts_with("Usage:")).map(|line| line.chars().count()).max();
        assert!(widest <= Some(columns.into()), "{widest:?} of {columns}:\n{options}");
        assert!(rest.contains("Exit codes:"));
    }
    let nowhere = ["consume", "t", "-e", "-b", "localhost:1"];
    assert!(on_terminal(kafkalab(nowhere), 80, b"").text().starts_with("\x1b[31;1merror:\x1b[0m connecting"));
    let refused = on_terminal(kafkalab(nowhere).arguments(["--no-color"]), 80, b"").text();
    assert!(refused.starts_with("error: connecting"), "{refused:?}");
}

pub fn without_styles(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("\x1b[") {
        out.push_str(before);
        rest = behind.split_once('m').map_or("", |(_, rest)| rest);
    }
    out + rest
}
