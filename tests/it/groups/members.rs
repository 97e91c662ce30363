//! While somebody is in: described with what it reads, and left alone.

use rustix::process::Signal;

use super::{committed, group, kcat_member, run, says, until, until_members, written};
use crate::{
    cli::screen::{ATTACK, HARMLESS, assert_harmless, without_styles},
    harness::kafkalab,
    process::{on_terminal, start_on_terminal},
    topics_made::topic_with,
};

#[test]
#[ignore = "needs kcat"]
fn a_group_that_somebody_is_in_is_described_and_left_alone() {
    let (topic, group) = (topic_with("held", 2), group("held"));
    written(&topic, 0, 4, 0);
    let mut member = kcat_member(&group, &topic, "the-reader");
    let found = until_members(&group, 1);
    let one = &found["members"][0];
    assert_eq!(one["client_id"], "the-reader");
    assert_eq!(one["assigned"], serde_json::json!([{"topic": topic, "partitions": [0, 1]}]));
    assert!(one["host"].as_str().is_some_and(|host| host.ends_with("127.0.0.1")), "{one}");
    until("commit", || committed(&group).contains(&(0, Some(4))).then_some(()));
    let page = run(&["describe", &group]).ok().text();
    assert!(page.starts_with(&format!("{group}: Stable, classic (range), 1 member, coordinator 1, lag 0\n")), "{page}");
    assert!(page.contains(&format!("  the-reader  {}  {topic} 0-1\n", one["host"].as_str().unwrap())), "{page}");

    let hint = format!(
        "hint: stop its consumers first; `kafkalab groups describe {group}` shows them. One that was killed is in until \
         its session time-out is over (45 s by default)\n"
    );
    let has = format!("error: group {group:?} has 1 member, on 127.0.0.1;");
    let refused = format!("{has} its offsets can be changed only while nobody is in\n{hint}");
    says(&["reset", &group, "--to", "start", "-y"], 1, "", &refused);
    let dry = run(&["reset", &group, "--to", "start", "--dry-run"]);
    assert_eq!((dry.code(), dry.stderr), (1, refused));
    assert!(dry.stdout.ends_with(b"-4\n"), "{}", String::from_utf8_lossy(&dry.stdout));
    let deleted = format!("{has} a group is deleted only while nobody is in\n{hint}nothing was deleted\n");
    says(&["delete", &group, "-y"], 1, "", &deleted);
    assert_eq!(committed(&group).first(), Some(&(0, Some(4))));

    member.signal(Signal::INT);
    assert_eq!(member.end().code(), 0);
    run(&["reset", &group, "--to", "1", "-p", "0", "-y"]).ok();
    assert_eq!(committed(&group).first(), Some(&(0, Some(1))));
    run(&["delete", &group, "-y"]).ok();
}

#[test]
#[ignore = "needs kcat"]
fn members_share_the_partitions_and_each_is_named() {
    let (topic, group) = (topic_with("shared", 4), group("shared"));
    let _members = [kcat_member(&group, &topic, "one"), kcat_member(&group, &topic, "two")];
    let found = until_members(&group, 2);
    for (at, client) in ["one", "two"].into_iter().enumerate() {
        let member = &found["members"][at];
        assert_eq!(member["client_id"], client);
        assert_eq!(member["assigned"][0]["partitions"].as_array().map(Vec::len), Some(2), "{found}");
        let read: Vec<_> = found["offsets"].as_array().expect("offsets").iter().collect();
        assert_eq!(read.iter().filter(|at| at["member"] == member["id"]).count(), 2, "{read:?}");
    }
    let listed = run(&["list"]).ok().text();
    let line = listed.lines().find(|line| line.starts_with(&group)).expect("the group is listed");
    assert_eq!(line.split_whitespace().skip(1).collect::<Vec<_>>(), ["Stable", "classic", "2"]);
}

/// The plan was made while nobody was in; the coordinator sees that somebody is by now.
#[test]
#[ignore = "needs kcat"]
fn a_member_that_joins_before_the_answer_makes_the_broker_refuse() {
    let (topic, group) = (topic_with("race", 1), group("race"));
    written(&topic, 0, 4, 0);
    run(&["reset", &group, "-t", &topic, "--to", "end", "-y"]).ok();
    let mut reset = start_on_terminal(kafkalab(["groups", "reset", &group, "--to", "start"]), 80, b"");
    reset.until_stdout_has("[y/N] ");
    let _member = kcat_member(&group, &topic, "late");
    until_members(&group, 1);
    reset.types(b"y\n");
    let ended = reset.end();
    let shown = without_styles(&ended.text().replace("\r\n", "\n"));
    assert_eq!(ended.code(), 1, "{shown}");
    let said = format!(
        "error: a member joined in between, and the broker refuses: committing offsets of {topic}[0] for group {group:?}: \
         UNKNOWN_MEMBER_ID hint:"
    );
    // whatever the terminal's width makes of it
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(&said), "{shown}");
    assert_eq!(committed(&group), [(0, Some(4))]);
}

#[test]
#[ignore = "needs kcat"]
fn what_members_call_themselves_cannot_steer_a_terminal() {
    let topic = topic_with("attack", 1);
    let group = format!("{ATTACK}{}", group("attack"));
    let _member = kcat_member(&group, &topic, ATTACK);
    let found = until_members(&group, 1);
    assert_eq!((found["name"].as_str(), found["members"][0]["client_id"].as_str()), (Some(&*group), Some(ATTACK)));
    for columns in [80, 200] {
        let shown = on_terminal(kafkalab(["groups", "describe", &group]), columns, b"").ok().text();
        assert_harmless(&shown);
        assert!(without_styles(&shown).contains(HARMLESS), "{shown}");
    }
    for arguments in [["groups", "describe", &group, "-J"].as_slice(), &["groups", "list", "-J"]] {
        let shown = on_terminal(kafkalab(arguments), 80, b"").ok().text();
        assert_harmless(&shown);
        let document: serde_json::Value = serde_json::from_str(&shown).expect("one document");
        let names = document["groups"].as_array().expect("groups").iter().map(|found| found["name"].as_str());
        assert!(names.flatten().any(|name| name == group), "{shown}");
    }
    let listed = on_terminal(kafkalab(["groups", "list"]), 80, b"").ok().text();
    assert_harmless(&listed);
    assert!(listed.contains(HARMLESS), "{listed}");
    for arguments in [["reset", &group, "--to", "start"].as_slice(), &["delete", &group]] {
        let ended = on_terminal(kafkalab(["groups"]).arguments(arguments), 80, b"y\n");
        assert_eq!(ended.code(), 1, "{ended:?}");
        assert_harmless(&ended.text());
    }
    let piped = run(&["describe", &group]).ok().text();
    assert_harmless(&piped);
}
