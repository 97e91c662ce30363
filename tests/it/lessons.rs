//! The README's lessons in several terminals: its ```console blocks, typed as it says.

use std::collections::BTreeSet;

use rustix::process::Signal;

use crate::{
    harness::{kafkalab, on_kafka, topic},
    process::{Running, start},
};

/// What follows `$ ` in the console block that has this text.
fn commands(text: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md");
    let block = readme.split("```").find(|block| block.starts_with("console") && block.contains(text));
    let block = block.unwrap_or_else(|| panic!("no console block with {text:?}"));
    block.lines().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
}

/// The words after `kafkalab`, for a topic and a group of this test's own.
fn words(command: &str, names: &[(&str, &str)]) -> Vec<String> {
    let (_, words) = command.split_once("kafkalab ").unwrap_or_else(|| panic!("{command}"));
    let own = |word: &str| names.iter().find(|(name, _)| *name == word).map_or(word, |(_, own)| own).to_owned();
    words.split_whitespace().map(own).collect()
}

/// The partitions in the last `generation N: got` of a member.
fn share(member: &Running, topic: &str, generation: i32) -> BTreeSet<i32> {
    member.until_stderr_has(&format!("generation {generation}: got {topic}["));
    let said = member.stderr_so_far();
    let got = said.rsplit_once(&format!("generation {generation}: got {topic}[")).expect("what it got").1;
    let run = got.split_once(']').expect("a bracket").0;
    let (first, last) = run.split_once('-').unwrap_or((run, run));
    (first.parse().expect("a number")..=last.parse().expect("a number")).collect()
}

#[test]
fn two_members_of_a_group_share_a_topic_and_one_takes_over() {
    let lesson = commands("consume tasks -g crew");
    let (topic, group) = (topic("tasks"), topic("crew"));
    let names = [("tasks", topic.as_str()), ("crew", group.as_str())];
    let [create, first, second, produce] = &lesson[..] else { panic!("{lesson:?}") };
    kafkalab(words(create, &names)).run().ok();
    let mut first = start(kafkalab(words(first, &names)));
    assert_eq!(share(&first, &topic, 1), BTreeSet::from([0, 1, 2, 3]));
    let mut second = start(kafkalab(words(second, &names)));
    let (one, other) = (share(&first, &topic, 2), share(&second, &topic, 2));
    assert_eq!((one.len(), other.len()), (2, 2));
    assert!(one.is_disjoint(&other), "{one:?} {other:?}");

    let lines: String = (1..=100).map(|n| format!("{n}\n")).collect();
    kafkalab(words(produce, &names)).arguments(["-K:"]).stdin(lines.replace('\n', ":x\n")).run().ok();
    first.until_stdout_has("x\n");
    second.until_stdout_has("x\n");
    first.signal(Signal::INT);
    let first = first.end();
    assert_eq!(first.code(), 130, "{}", first.stderr);
    assert_eq!(share(&second, &topic, 3).len(), 4);
    // and the work that one of them has done is not done again
    kafkalab(["produce", &topic, "-p", "0"]).stdin("last\n").run().ok();
    second.until_stdout_has("last\n");
    second.signal(Signal::INT);
    let second = second.end();
    let lines = first.text().lines().count() + second.text().lines().count();
    // The embedded broker begins a new generation as soon as a member leaves, and takes no more commits of the old one.
    let repeats_nothing = if on_kafka() { lines == 101 } else { lines >= 101 };
    assert!(repeats_nothing, "{lines} lines: {}{}", first.stderr, second.stderr);
}
