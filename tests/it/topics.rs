//! `topics`, as a stranger types it.

mod completion;
mod json;
mod screen;
mod wrong;

use crate::harness::{Ended, kafkalab, topic};

#[track_caller]
fn run(arguments: &[&str]) -> Ended {
    kafkalab(["topics"]).arguments(arguments).run()
}

#[track_caller]
fn says(arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
    let ended = run(arguments);
    assert_eq!(
        (ended.code(), ended.text().as_str(), ended.stderr.as_str()),
        (code, stdout, stderr),
        "topics {arguments:?}"
    );
}

#[test]
fn a_topic_is_made_changed_and_deleted() {
    let name = topic("life");
    says(&["create", &name, "-p", "3", "--dry-run"], 0, &format!("would create {name}: 3 partitions, 1 replica\n"), "");
    says(&["create", &name, "-p", "3"], 0, &format!("created {name}: 3 partitions, 1 replica\n"), "");
    says(&["create", &name, "--if-not-exists"], 0, &format!("{name} exists: 3 partitions, 1 replica\n"), "");
    kafkalab(["produce", &name, "-p", "1"]).stdin("one\ntwo\n").run().ok();
    let described = run(&["describe", &name]).ok().text();
    let expected = format!(
        "{name}: 3 partitions, 1 replica, 2 records\n\
             PARTITION  LEADER  REPLICAS  ISR  START  END  RECORDS\n\
             \x20       0       1  1         1        0    0        0\n\
             \x20       1       1  1         1        0    2        2\n\
             \x20       2       1  1         1        0    0        0\n"
    );
    // Apache Kafka's settings follow, where the cluster has some of its own
    assert!(described.starts_with(&expected), "{described}");
    says(&["partitions", &name, "4"], 0, &format!("{name} has 4 partitions now, 3 before\n"), "");
    run(&["config", &name, "--set", "retention.ms=3600000"]).ok();
    assert!(run(&["config", &name]).ok().text().contains("3600000"));
    run(&["config", &name, "--delete", "retention.ms"]).ok();
    assert!(!run(&["config", &name]).ok().text().contains("3600000"));
    says(&["delete", &name, "-y"], 0, &format!("deleted {name}\n"), "");
    says(&["delete", &name, "-y", "--if-exists"], 0, "", &format!("{name} does not exist\n"));
}

#[test]
fn the_list_is_one_document() {
    let name = topic("listed");
    run(&["create", &name, "-p", "2"]).ok();
    let document: serde_json::Value = serde_json::from_slice(&run(&["list", "-J"]).ok().stdout).expect("one document");
    assert_eq!(document["schema_version"], 1);
    let topics = document["topics"].as_array().expect("topics");
    let found = topics.iter().find(|topic| topic["name"] == name.as_str()).expect("the topic is listed");
    assert_eq!(found["partitions"], 2);
    assert!(run(&["list"]).ok().text().contains(&name));
}

#[test]
fn slips_are_named_with_the_next_thing_to_try() {
    let name = topic("slips");
    run(&["create", &name, "-p", "3"]).ok();
    let near = format!("x{name}");
    let unknown = run(&["describe", &near]);
    assert_eq!((unknown.code(), unknown.text().as_str()), (1, ""));
    let said = format!("error: topic {near:?} does not exist\nhint: did you mean {name}");
    assert!(unknown.stderr.starts_with(&said), "{}", unknown.stderr); // and perhaps other tests' topics
    says(
        &["delete", &name],
        2,
        "",
        "error: deleting topics asks first, and there is no terminal to ask on\nhint: -y deletes without asking\n",
    );
    let fewer = run(&["partitions", &name, "2"]);
    assert_eq!(fewer.code(), 1);
    assert!(fewer.stderr.contains("has 3 partitions, and Kafka takes none away"), "{}", fewer.stderr);
    let twice = run(&["create", &name]);
    assert_eq!(twice.code(), 1);
    assert!(twice.stderr.contains("TOPIC_ALREADY_EXISTS") && twice.stderr.contains("--if-not-exists"));
    let illegal = run(&["create", "bad name"]);
    assert_eq!(illegal.code(), 2);
    assert!(illegal.stderr.contains(": a topic's name has letters"), "{}", illegal.stderr);
    assert_eq!(run(&["create"]).code(), 2);
    assert_eq!(run(&["config", &name, "--set", "nonsense"]).code(), 2);
}
