//! Beside Kafka's own `kafka-consumer-groups`: the same offsets, lags, members and states.

use std::path::Path;

use super::{described, group, kcat_member, run, until, until_members, written};
use crate::{
    bytes::transactions::{producer, send, within_limit},
    cluster::Kafka,
    harness::{Program, brokers, kafkalab, need_kafka, program},
    process::start,
    topics_made::topic_with,
};

fn tool(class: &str, brokers: &str) -> Program {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("dev/kafka/kafka.sh");
    let class = format!("org.apache.kafka.tools.{class}");
    program("bash", [&script.display().to_string(), "tool", &class, "--bootstrap-server", brokers])
}

/// The rows of a table of Kafka's tool, each by its words, without the titles and without `GROUP`.
fn theirs(group: &str, more: &[&str]) -> Vec<Vec<String>> {
    let asked = tool("consumer.group.ConsumerGroupCommand", brokers());
    let text = asked.arguments(["--describe", "--group", group]).arguments(more).run().ok().text();
    let rows = text.lines().filter(|line| line.starts_with(group));
    rows.map(|row| row.split_whitespace().skip(1).map(str::to_owned).collect()).collect()
}

/// Topic, partition, committed, end, lag, member, host, client.
fn our_offsets(group: &serde_json::Value) -> Vec<Vec<String>> {
    let members = group["members"].as_array().expect("members");
    let offsets = group["offsets"].as_array().expect("offsets").iter().map(|at| {
        let member = members.iter().find(|member| member["id"] == at["member"]);
        let word = |value: Option<&serde_json::Value>| match value {
            None | Some(serde_json::Value::Null) => "-".to_owned(),
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let mut words: Vec<String> =
            ["topic", "partition", "committed", "end", "lag"].map(|field| word(at.get(field))).to_vec();
        words.extend(["id", "host", "client_id"].map(|field| word(member.and_then(|member| member.get(field)))));
        words
    });
    offsets.collect()
}

fn sorted(mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    rows.sort();
    rows
}

#[track_caller]
fn agree(name: &str, kind: &str) {
    let ours = described(name).expect("the group");
    assert_eq!(ours["kind"], kind);
    assert_eq!(sorted(our_offsets(&ours)), sorted(theirs(name, &["--offsets"])));
    let members = ours["members"].as_array().expect("members");
    let our_members = members.iter().map(|member| {
        let count: usize = member["assigned"]
            .as_array()
            .map_or(0, |topics| topics.iter().map(|topic| topic["partitions"].as_array().map_or(0, Vec::len)).sum());
        let text = |field: &str| member[field].as_str().expect("text").to_owned();
        vec![text("id"), text("host"), text("client_id"), count.to_string()]
    });
    let mut their_members = theirs(name, &["--members"]);
    their_members.iter_mut().for_each(|words| words.truncate(4));
    assert_eq!(sorted(our_members.collect()), sorted(their_members));
    let state = theirs(name, &["--state"]);
    let [state] = state.as_slice() else { panic!("one group: {state:?}") };
    // coordinator's address, (its number), strategy if there is one, state, members
    let assignor = ours["assignor"].as_str().unwrap_or_default();
    let (our_state, our_coordinator) = (ours["state"].as_str(), format!("({})", ours["coordinator"]));
    assert_eq!(state[1], our_coordinator);
    assert_eq!(state[state.len() - 2..].first().map(String::as_str), our_state);
    assert_eq!(state.last(), Some(&members.len().to_string()));
    assert!(assignor.is_empty() || state[2] == assignor, "{state:?}: {assignor}");
}

#[test]
#[ignore = "only Apache Kafka has Kafka's tools"]
fn classic_groups_are_described_as_kafkas_own_tool_describes_them() {
    need_kafka();
    let (topic, busy, idle) = (topic_with("agree", 3), group("busy"), group("idle"));
    written(&topic, 0, 7, 100);
    written(&topic, 2, 3, 100);
    run(&["reset", &idle, "-t", &topic, "--to", "-2", "-y"]).ok();
    agree(&idle, "classic");
    let _members = [kcat_member(&busy, &topic, "one"), kcat_member(&busy, &topic, "two")];
    until_members(&busy, 2);
    // the last of the commits: afterwards nothing moves
    until("commits of both partitions with records", || (described(&busy)?["lag"] == 0).then_some(()));
    until("commits", || {
        let offsets =
            described(&busy)?["offsets"].as_array()?.iter().filter_map(|at| at["committed"].as_i64()).sum::<i64>();
        (offsets == 10).then_some(())
    });
    agree(&busy, "classic");
}

#[test]
#[ignore = "only Apache Kafka has KIP-848 groups"]
fn kip_848_groups_are_described_as_kafkas_own_tool_describes_them() {
    need_kafka();
    let (topic, group) = (topic_with("kip848", 3), group("kip848"));
    written(&topic, 1, 5, 0);
    let console = tool("consumer.ConsoleConsumer", brokers()).arguments(["--topic", &topic, "--group", &group]);
    let mut member = start(console.arguments([
        "--from-beginning",
        "--consumer-property",
        "group.protocol=consumer",
        "--consumer-property",
        "auto.commit.interval.ms=200",
    ]));
    until_members(&group, 1);
    until("commit", || (described(&group)?["offsets"][1]["committed"] == 5).then_some(()));
    agree(&group, "consumer");
    let listed = run(&["list"]).ok().text();
    let line = listed.lines().find(|line| line.starts_with(&group)).expect("the group is listed");
    assert_eq!(line.split_whitespace().skip(1).collect::<Vec<_>>(), ["Stable", "consumer", "1"]);
    let refused = run(&["reset", &group, "--to", "start", "-y"]);
    assert!(refused.code() == 1 && refused.stderr.contains("has 1 member, on 127.0.0.1;"), "{refused:?}");

    // a JVM that is started with SIGINT ignored, as behind `&` in a script, never hears it
    member.signal(rustix::process::Signal::TERM);
    member.end();
    until("end of the member", || (described(&group)?["state"] == "Empty").then_some(()));
    run(&["reset", &group, "--to", "start", "-y"]).ok();
    agree(&group, "consumer");
    run(&["delete", &group, "-y"]).ok();
    assert!(described(&group).is_none());
}

/// Open transactions hold up readers of the committed, and the lag says how much waits; a marker is an offset without a
/// record.
#[test]
#[ignore = "only Apache Kafka has Kafka's tools"]
fn open_transactions_count_as_lag_and_markers_have_no_age() {
    need_kafka();
    let (topic, name) = (topic_with("open", 1), group("open"));
    within_limit(async {
        let producer = producer(&topic).await;
        let number = producer.topic(&topic).await.expect("the topic");
        producer.begin().await.expect("begin");
        send(&producer, number, 0, &["one", "two"]).await.expect("send");
        run(&["reset", &name, "-t", &topic, "--to", "start", "-y"]).ok();
        agree(&name, "classic");
        let lag = |group: &serde_json::Value| (group["lag"].as_i64(), group["lag_seconds"].as_f64());
        let (count, seconds) = lag(&described(&name).expect("the group"));
        assert!(count == Some(2) && seconds.is_some_and(|seconds| seconds < 60.0), "{count:?} {seconds:?}");
        producer.commit().await.expect("commit");
        run(&["reset", &name, "--to", "2", "-y"]).ok();
        agree(&name, "classic");
        assert_eq!(lag(&described(&name).expect("the group")), (Some(1), None));
        producer.close().await.expect("close");
    });
}

/// Kafka's tool moves it, and it is where ours would have moved it; and the other way round.
#[test]
#[ignore = "only Apache Kafka has Kafka's tools"]
fn places_are_where_kafkas_own_tool_puts_them() {
    need_kafka();
    let topic = topic_with("places", 2);
    written(&topic, 0, 5, 7_200);
    written(&topic, 0, 5, 60);
    written(&topic, 1, 2, 7_200);
    for (ours, theirs) in [
        ("start", ["--to-earliest", ""].as_slice()),
        ("end", &["--to-latest"]),
        ("3", &["--to-offset", "3"]),
        ("1h", &["--by-duration", "PT1H"]),
        ("3h", &["--by-duration", "PT3H"]),
    ] {
        let (a, b) = (group("places"), group("places"));
        run(&["reset", &a, "-t", &topic, "--to", ours, "-y"]).ok();
        let reset = tool("consumer.group.ConsumerGroupCommand", brokers());
        let words = theirs.iter().filter(|word| !word.is_empty());
        reset.arguments(["--reset-offsets", "--execute", "--topic", &topic, "--group", &b]).arguments(words).run().ok();
        let offsets = |group: &str| super::committed(group);
        assert_eq!(offsets(&a), offsets(&b), "{ours}");
    }
}

#[test]
#[ignore = "takes Apache Kafka of its own"]
fn every_broker_is_asked_for_its_groups() {
    let kafka = Kafka::start(3, &[]);
    let kafkalab = |arguments: &[&str]| kafkalab(arguments).env("KAFKALAB_BROKERS", &kafka.brokers).run();
    kafkalab(&["topics", "create", "t", "-p", "1"]).ok();
    // more than there are partitions of the offsets' topic: no broker is without one
    let names: Vec<String> = (0..30).map(|n| format!("group-{n:02}")).collect();
    for name in &names {
        kafkalab(&["groups", "reset", name, "-t", "t", "--to", "start", "-y"]).ok();
    }
    let listed = kafkalab(&["groups", "list", "-J"]).ok();
    let document: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("one document");
    let found: Vec<&str> =
        document["groups"].as_array().expect("groups").iter().filter_map(|group| group["name"].as_str()).collect();
    assert_eq!(found, names);
    let coordinators: std::collections::BTreeSet<String> = names
        .iter()
        .map(|name| {
            let ended = kafkalab(&["groups", "describe", name, "-J"]).ok();
            let document: serde_json::Value = serde_json::from_slice(&ended.stdout).expect("one document");
            document["groups"][0]["coordinator"].to_string()
        })
        .collect();
    assert_eq!(coordinators.len(), 3, "each broker has some: {coordinators:?}");
}

#[test]
#[ignore = "takes Apache Kafka of its own"]
fn a_coordinator_that_does_not_come_is_waited_for_and_then_a_time_out() {
    // three copies on one broker: the topic of the offsets cannot be made, and no group has a coordinator
    let kafka = Kafka::start(1, &["offsets.topic.replication.factor=3"]);
    let limit = ["-X", "request_timeout=2s", "-b", kafka.brokers.as_str()];
    for arguments in [
        ["groups", "describe", "g"].as_slice(),
        &["groups", "delete", "g", "-y"],
        &["groups", "reset", "g", "--to", "start", "-y"],
    ] {
        let began = std::time::Instant::now();
        let ended = kafkalab(arguments).arguments(limit).run();
        let said = "error: finding the coordinator of group \"g\": not done within 2 s; the last try: COORDINATOR_NOT_AVAILABLE\n";
        assert_eq!((ended.code(), ended.text().as_str(), ended.stderr.as_str()), (4, "", said));
        let took = began.elapsed();
        assert!((2.0..10.0).contains(&took.as_secs_f32()), "{took:?}");
    }
}
