//! `learn`: each lesson's check fails before its commands and passes after them; progress, slips at the prompt, terminals.

use kafkalab::app::learn::{LESSONS, Lesson};
use rustix::process::Signal;

use crate::{
    bytes::files::Folder,
    cli::expect,
    harness::{Ended, Program, kafkalab},
    process::{on_terminal, start, start_on_terminal},
};

/// `learn ARGUMENTS` whose progress is kept in this folder.
fn learn(folder: &Folder, arguments: &[&str]) -> Program {
    kafkalab(["learn"]).arguments(arguments).env("XDG_DATA_HOME", &folder.0.display().to_string())
}

fn takes(folder: &Folder, lesson: &str, lines: &[&str]) -> Ended {
    learn(folder, &[lesson]).stdin(lines.iter().map(|line| format!("{line}\n")).collect::<String>()).run()
}

fn done(folder: &Folder) -> String {
    std::fs::read_to_string(folder.0.join("kafkalab/learned.txt")).unwrap_or_default()
}

fn is_done_only_by_its_commands(lesson: &Lesson) {
    let folder = Folder::new("learn");
    let before = takes(&folder, lesson.name, &["check", "quit"]);
    assert_eq!(before.code(), 1, "{}: {before:?}", lesson.name);
    assert!(before.text().contains("\nnot done: "), "{}: {before:?}", lesson.name);
    // the last command that changes something is left out: those behind it only look
    let looks = |command: &str| {
        [
            "consume greetings",
            "crew -e",
            "-f 'partition",
            "describe",
            "list",
            "stock",
            "show",
            "consume orders",
            "stats",
            "search",
        ]
        .iter()
        .any(|word| command.contains(word))
    };
    let last = lesson.commands.iter().rposition(|command| !looks(command)).expect("a command that does something");
    let without: Vec<&str> = [&lesson.commands[..last], &["check"]].concat();
    let without = takes(&folder, lesson.name, &without);
    assert_eq!((without.code(), done(&folder).as_str()), (1, ""), "{}: {without:?}", lesson.name);
    let after = takes(&folder, lesson.name, lesson.commands);
    assert_eq!(after.code(), 0, "{}: {after:?}", lesson.name);
    assert!(after.text().contains("\ndone: ") && after.text().contains(lesson.learned), "{}: {after:?}", lesson.name);
    let dies = lesson.commands.iter().filter(|command| command.contains("--crash-at")).count();
    assert_eq!(after.stderr.matches("(exit status").count(), dies, "{}: a command failed: {after:?}", lesson.name);
    assert_eq!(done(&folder), format!("{}\n", lesson.name));
}

macro_rules! lessons {
    ($($test:ident $name:literal)*) => {
        $(#[test]
        fn $test() {
            is_done_only_by_its_commands(LESSONS.iter().find(|lesson| lesson.name == $name).expect("a lesson"));
        })*

        #[test]
        fn every_lesson_has_its_test() {
            assert_eq!(LESSONS.iter().map(|lesson| lesson.name).collect::<Vec<_>>(), [$($name),*]);
        }
    };
}

lessons! {
    the_lesson_topic "topic"
    the_lesson_partition "partition"
    the_lesson_key "key"
    the_lesson_group "group"
    the_lesson_offset "offset"
    the_lesson_es "es"
    the_lesson_outbox "outbox"
    the_lesson_inbox "inbox"
    the_lesson_dlt "dlt"
    the_lesson_saga "saga"
    the_lesson_cqrs "cqrs"
    the_lesson_grpc "grpc"
}

/// All that is usual, without what the lesson is about.
#[test]
fn a_lesson_is_not_done_without_its_point() {
    let folder = Folder::new("learn-point");
    let usual = ["order --price USD:12.99", "relay --once", "consume --once"].map(|it| format!("kafkalab outbox {it}"));
    let usual = [&*usual[0], &usual[1], &usual[2], "check"];
    let inbox = takes(&folder, "inbox", &usual);
    assert!(inbox.text().contains("not done: records: 1, orders: 1; none came twice yet\n"), "{inbox:?}");
    let dlt = takes(&folder, "dlt", &usual);
    assert!(dlt.text().contains("not done: topic \"orders.dlt\" does not exist\n"), "{dlt:?}");
    assert_eq!((inbox.code(), dlt.code(), done(&folder).as_str()), (1, 1, ""));
}

#[test]
#[ignore = "needs kcat"]
fn other_commands_that_do_the_same_are_as_good() {
    let folder = Folder::new("learn-other");
    let ended = takes(&folder, "topic", &["seq 2 | kafkalab produce greetings\r", "check\r"]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(
        ended.text().ends_with(
            "done: greetings has 2 records\nthe records are still there after being read: a topic is no queue\n"
        ),
        "{ended:?}"
    );
    // by kcat as well: it is a broker like any other
    let ended = takes(&folder, "topic", &["seq 2 | kcat -P -b $KAFKALAB_BROKERS -t greetings", "check"]);
    assert_eq!(ended.code(), 0, "{ended:?}");
}

#[test]
fn the_list_says_what_is_done_and_what_is_next() {
    let folder = Folder::new("learn-list");
    let list = learn(&folder, &[]).run().ok();
    assert!(list.text().contains("topic      -     a topic is a log with a name\n"), "{}", list.text());
    assert_eq!(list.stderr, "next: kafkalab learn topic\n");
    takes(&folder, "topic", &["seq 2 | kafkalab produce greetings", "check"]).ok();
    let list = learn(&folder, &[]).run().ok();
    assert!(list.text().contains("topic      done  a topic is a log with a name\n"), "{}", list.text());
    assert_eq!(list.stderr, "next: kafkalab learn partition\n");
    let json: serde_json::Value = serde_json::from_slice(&learn(&folder, &["--json"]).run().ok().stdout).unwrap();
    assert_eq!(json["lessons"][0]["done"], true);
    assert_eq!(json["lessons"][1]["done"], false);
    for width in [40, 80] {
        let list = on_terminal(learn(&folder, &["--no-color"]), width, b"").text();
        assert!(list.lines().all(|line| line.chars().count() <= usize::from(width)), "{list}");
    }
}

#[test]
fn text_and_hint_start_nothing() {
    let folder = Folder::new("learn-text");
    expect(
        learn(&folder, &["group", "--hint"]),
        0,
        "-g crew makes the reader a member of the group crew; its lag must come down to 0\n",
        "",
    );
    let text = learn(&folder, &["group", "--text"]).run().ok().text();
    assert!(
        text.starts_with("group: the members of a group share a topic\n\n")
            && text.contains("\n  kafkalab consume jobs -g crew -e\n"),
        "{text}"
    );
    let narrow = on_terminal(learn(&folder, &["group", "--text"]), 40, b"").text();
    let words = narrow
        .split(
            "
  kafkalab",
        )
        .next()
        .unwrap();
    assert!(words.lines().all(|line| line.chars().count() <= 40), "{narrow}");
}

#[test]
fn a_lesson_that_is_none() {
    let folder = Folder::new("learn-none");
    expect(learn(&folder, &["groop"]), 2, "", "error: there is no lesson \"groop\"\nhint: did you mean group?\n");
    expect(
        learn(&folder, &["zebra-crossing"]),
        2,
        "",
        "error: there is no lesson \"zebra-crossing\"\nhint: `kafkalab learn` lists them\n",
    );
}

#[test]
fn a_command_that_fails_and_an_end_too_early() {
    let folder = Folder::new("learn-slips");
    let ended = takes(&folder, "topic", &["kafkalab consume nowhere -e", "no-such-command"]);
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert!(ended.stderr.contains("topic \"nowhere\" does not exist"), "{ended:?}");
    assert!(ended.stderr.ends_with("(exit status: 127)\nnot done: topic \"greetings\" does not exist\n"), "{ended:?}");
}

#[test]
fn progress_without_a_home_or_in_a_folder_that_cannot_be_made() {
    let folder = Folder::new("learn-homeless");
    let lines = "seq 2 | kafkalab produce greetings\ncheck\n";
    let homeless = learn(&folder, &["topic"]).env_remove("XDG_DATA_HOME").env_remove("HOME").stdin(lines);
    let ended = homeless.in_folder(&folder.0).run().ok();
    assert!(ended.stderr.contains("\nnot kept: there is no HOME"), "{ended:?}");
    let file = folder.file("file", b"");
    let ended = learn(&folder, &["topic"]).env("XDG_DATA_HOME", &file).stdin(lines).run().ok();
    assert!(
        ended.stderr.contains("\nnot kept in ") && ended.stderr.contains("next: kafkalab learn partition"),
        "{ended:?}"
    );
}

#[test]
fn at_a_terminal_a_command_reads_what_is_typed_behind_it() {
    let folder = Folder::new("learn-terminal");
    let mut running = start_on_terminal(learn(&folder, &["topic"]), 80, b"");
    running.until_stdout_has("learn> ");
    running.types(b"seq 2 | kafkalab produce greetings\n");
    running.until_stdout_has("(done: greetings has 2 records; `check` ends the lesson)");
    running.types(b"kafkalab produce greetings\none more\n\x04check\n");
    let ended = running.end();
    assert_eq!(ended.code(), 0, "{}", ended.text());
    assert!(ended.text().contains("done: greetings has 3 records"), "{}", ended.text());
}

#[test]
fn an_interrupt_at_the_prompt_ends_the_lesson() {
    let folder = Folder::new("learn-interrupt");
    let mut running = start(learn(&folder, &["topic"]));
    running.until_stderr_has("(check, hint, text, quit; a broker runs on ");
    running.signal(Signal::INT);
    assert_eq!(running.end().code(), 130);
}
