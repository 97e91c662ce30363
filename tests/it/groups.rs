//! Groups, as a stranger lists, describes, moves and deletes them, beside the members and the tools of others.

mod life;
mod members;
mod oracle;
mod screen;
mod wrong;

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use crate::{
    harness::{Ended, kafkalab, kcat, topic},
    process::{Running, start},
};

const DEADLINE: Duration = Duration::from_secs(30);

#[track_caller]
fn run(arguments: &[&str]) -> Ended {
    kafkalab(["groups"]).arguments(arguments).run()
}

#[track_caller]
fn says(arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
    let ended = run(arguments);
    let said = (ended.code(), ended.text(), ended.stderr);
    assert_eq!(said, (code, stdout.to_owned(), stderr.to_owned()), "groups {arguments:?}");
}

/// A group name that no other test has, and that is not like the others' either.
fn group(word: &str) -> String {
    topic(word)
}

/// The description of one group; `None` where there is none.
fn described(group: &str) -> Option<Value> {
    let ended = run(&["describe", group, "-J"]);
    let mut document: Value = serde_json::from_slice(&ended.stdout).expect("one document");
    assert_eq!(document["schema_version"], 1);
    document["groups"].get_mut(0).map(Value::take)
}

/// Committed offsets, by topic's partition, as the description has them.
fn committed(group: &str) -> Vec<(i64, Option<i64>)> {
    let group = described(group).expect("the group");
    let offsets = group["offsets"].as_array().expect("offsets").iter();
    offsets.map(|at| (at["partition"].as_i64().expect("a number"), at["committed"].as_i64())).collect()
}

/// Waits for something; panics at the deadline.
#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "no {what} after {DEADLINE:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until the group has so many members and each of them reads something; gives its description.
#[track_caller]
fn until_members(group: &str, count: usize) -> Value {
    until("members with partitions", || {
        let found = described(group)?;
        let members = found["members"].as_array()?;
        let all_read = members.iter().all(|member| member["assigned"].as_array().is_some_and(|all| !all.is_empty()));
        (members.len() == count && all_read && found["state"] == "Stable").then_some(found)
    })
}

/// kcat as a member, which commits five times a second.
fn kcat_member(group: &str, topic: &str, client: &str) -> Running {
    let client = format!("client.id={client}");
    let settings = ["-X", "auto.commit.interval.ms=200", "-X", "auto.offset.reset=earliest", "-X", &client, "-q"];
    start(kcat(settings).arguments(["-G", group, topic]))
}

/// So many records with these values in a partition, written so many seconds ago.
fn written(topic: &str, partition: i32, count: i32, seconds_ago: u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis() as u64;
    let ts = now - seconds_ago * 1000;
    let lines: String = (0..count).map(|n| format!("{{\"payload\":\"{partition}-{n}\",\"ts\":{ts}}}\n")).collect();
    let partition = partition.to_string();
    kafkalab(["produce", topic, "-p", &partition, "--input", "json"]).stdin(lines).run().ok();
}
