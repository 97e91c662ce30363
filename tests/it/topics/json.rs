//! Documents for scripts: one a command, on a terminal too.

use serde_json::{Value, json};

use super::run;
use crate::{
    harness::{kafkalab, on_kafka, program, topic},
    process::on_terminal,
    topics_made::topic_with,
};

#[track_caller]
fn document(arguments: &[&str]) -> Value {
    let ended = run(arguments).ok();
    assert_eq!((ended.stderr.as_str(), ended.text().lines().count()), ("", 1));
    let shown = on_terminal(kafkalab(["topics"]).arguments(arguments), 40, b"").ok();
    assert_eq!(shown.text(), ended.text(), "a document is not wrapped");
    serde_json::from_slice(&ended.stdout).expect("one document")
}

#[test]
fn a_description_is_one_document() {
    let name = topic_with("document", 2);
    kafkalab(["produce", &name, "-p", "1"]).stdin("one\ntwo\n").run().ok();
    let mut document = document(&["describe", &name, "-J"]);
    let topic = document["topics"][0].as_object_mut().expect("the topic");
    let id = topic.remove("id").expect("an id, or null from the embedded broker");
    assert_eq!(id.as_str().map(str::len), on_kafka().then_some(22), "{id}");
    // the cluster may have settings of its own
    let configs = topic.remove("configs").expect("settings");
    let ours =
        json!({"name": "retention.ms", "value": "-1", "source": "topic", "read_only": false, "sensitive": false});
    assert!(configs.as_array().expect("a list").contains(&ours), "{configs}");
    let partition = |number: i32, end: i64| json!({"partition": number, "leader": 1, "replicas": [1], "isr": [1], "start": 0, "end": end, "records": end});
    let topic = json!({"name": name, "internal": false, "partitions": [partition(0, 0), partition(1, 2)]});
    assert_eq!(document, json!({"schema_version": 1, "topics": [topic]}));
}

#[test]
fn settings_are_one_document() {
    let name = topic_with("settings", 1);
    let shown = document(&["config", &name, "-J", "--set", "segment.ms=60000"]);
    assert_eq!((&shown["schema_version"], &shown["topic"]), (&json!(1), &json!(name)));
    let setting = |shown: &Value, name: &str| {
        let entries = shown["configs"].as_array().expect("settings");
        entries
            .iter()
            .find(|entry| entry["name"] == name)
            .map(|entry| (entry["value"].clone(), entry["source"].clone()))
    };
    assert_eq!(setting(&shown, "segment.ms"), Some((json!("60000"), json!("topic"))));
    assert_eq!(setting(&shown, "cleanup.policy"), None, "a default");
    let all = document(&["config", &name, "--all", "--json"]);
    assert_eq!(setting(&all, "cleanup.policy"), Some((json!("delete"), json!("default"))));
    let back = document(&["config", &name, "-J", "--delete", "segment.ms", "--delete", "retention.ms"]);
    assert_eq!((setting(&back, "segment.ms"), setting(&back, "retention.ms")), (None, None));
}

#[test]
#[ignore = "needs jq"]
fn a_list_is_what_jq_takes_and_a_full_pipe_is_no_error() {
    let name = topic("jq");
    run(&["create", &name, "-p", "2"]).ok();
    let kafkalab = env!("CARGO_BIN_EXE_kafkalab");
    let brokers = crate::harness::brokers();
    let line = format!(
        "{kafkalab} topics list -J -b {brokers} | jq -r '.topics[] | select(.name == \"{name}\") | .partitions'"
    );
    assert_eq!(program("sh", ["-c", &line]).run().ok().text(), "2\n");
    let closed = format!("{kafkalab} topics list -b {brokers} >&- ; {kafkalab} topics list -b {brokers} | true");
    let ended = program("bash", ["-c", &format!("set -o pipefail; {closed}")]).run();
    assert!(ended.stderr.is_empty(), "{}", ended.stderr);
}
