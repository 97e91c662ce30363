//! A group from its first offset to its end.

use serde_json::Value;

use super::{committed, described, group, run, says, written};
use crate::{
    bytes::files::Folder,
    harness::{kafkalab, kcat},
    topics_made::topic_with,
};

/// The table of a plan: partition, from, to, change, note.
fn plan(topic: &str, rows: &[&str]) -> String {
    let width = topic.len();
    let mut table = format!("{:width$}  {}\n", "TOPIC", rows[0]);
    for row in &rows[1..] {
        table.push_str(&format!("{topic}  {row}\n"));
    }
    table
}

#[test]
fn a_group_is_made_moved_described_and_deleted() {
    let (topic, group) = (topic_with("life", 2), group("life"));
    written(&topic, 0, 5, 7_200);
    written(&topic, 1, 3, 5_410);
    says(
        &["reset", &group, "-t", &topic, "--to", "start", "--dry-run"],
        0,
        &plan(&topic, &["PARTITION  FROM  TO  CHANGE", "        0     -   0       -", "        1     -   0       -"]),
        "",
    );
    assert!(described(&group).is_none(), "a dry run makes no group");
    says(
        &["reset", &group, "-t", &topic, "--to", "start", "-y"],
        0,
        &plan(&topic, &["PARTITION  FROM  TO  CHANGE", "        0     -   0       -", "        1     -   0       -"]),
        &format!("moved {group} in 2 partitions\n"),
    );
    let page = run(&["describe", &group]).ok().text();
    let expected = format!(
        "{group}: Empty, classic, 0 members, coordinator 1, lag 8, 2h behind\n{}",
        plan(
            &topic,
            &[
                "PARTITION  COMMITTED  END  LAG  BEHIND",
                "        0          0    5    5      2h",
                "        1          0    3    3   1h30m",
            ]
        )
    );
    assert_eq!(page, expected);
    says(
        &["reset", &group, "--to", "-2", "-p", "0", "-y"],
        0,
        &plan(&topic, &["PARTITION  FROM  TO  CHANGE", "        0     0   3      +3"]),
        &format!("moved {group} in 1 partition\n"),
    );
    says(
        &["reset", &group, "--to", "99", "-y"],
        0,
        &plan(
            &topic,
            &[
                "PARTITION  FROM  TO  CHANGE  NOTE",
                "        0     3   5      +2  99 is behind the end",
                "        1     0   3      +3  99 is behind the end",
            ],
        ),
        &format!("moved {group} in 2 partitions\n"),
    );
    says(
        &["reset", &group, "--to", "end", "-y"],
        0,
        &plan(&topic, &["PARTITION  FROM  TO  CHANGE", "        0     5   5      +0", "        1     3   3      +0"]),
        &format!("{group} is there already\n"),
    );
    says(
        &["reset", &group, "--to", "100m", "-y"],
        0,
        &plan(&topic, &["PARTITION  FROM  TO  CHANGE", "        0     5   5      +0", "        1     3   0      -3"]),
        &format!("moved {group} in 2 partitions\n"),
    );
    says(&["delete", &group, "-y"], 0, &format!("deleted {group}\n"), "");
    says(&["delete", &group, "-y", "--if-exists"], 0, "", &format!("{group} does not exist\n"));
    assert!(described(&group).is_none());
}

#[test]
fn a_place_before_the_start_is_the_start_and_said_so() {
    let (topic, group) = (topic_with("clamped", 1), group("clamped"));
    written(&topic, 0, 4, 0);
    says(
        &["reset", &group, "-t", &topic, "--to", "-9", "-y"],
        0,
        &plan(&topic, &["PARTITION  FROM  TO  CHANGE  NOTE", "        0     -   0       -  -5 is before the start"]),
        &format!("moved {group} in 1 partition\n"),
    );
    let ended = run(&["reset", &group, "--to", "+9", "-J", "-y"]).ok();
    let plan: Value = serde_json::from_slice(&ended.stdout).expect("one document");
    let step = &plan["moves"][0];
    assert_eq!((step["from"].as_i64(), step["to"].as_i64(), step["asked_for"].as_i64()), (Some(0), Some(4), Some(9)));
}

#[test]
#[ignore = "needs kcat"]
fn kcat_goes_on_where_the_group_was_moved_to() {
    let (topic, group) = (topic_with("kcat", 2), group("kcat"));
    written(&topic, 0, 5, 0);
    written(&topic, 1, 3, 0);
    run(&["reset", &group, "-t", &topic, "--to", "-2", "-y"]).ok();
    let read = kcat(["-X", "auto.offset.reset=earliest", "-q", "-c", "4", "-G", &group, &topic]).run().ok().text();
    let mut read: Vec<&str> = read.lines().collect();
    read.sort_unstable();
    assert_eq!(read, ["0-3", "0-4", "1-1", "1-2"]);
}

#[test]
fn a_description_is_read_back_and_copied() {
    let (topic, group) = (topic_with("back", 3), group("back"));
    for partition in 0..3 {
        written(&topic, partition, 6, 0);
    }
    for (partition, offset) in [("0", "2"), ("2", "5")] {
        run(&["reset", &group, "-t", &topic, "-p", partition, "--to", offset, "-y"]).ok();
    }
    let kept = run(&["describe", &group, "-J"]).ok().stdout;
    let folder = Folder::new("back");
    let file = folder.file("group.json", &kept);
    run(&["reset", &group, "--to", "end", "-y"]).ok();
    assert_eq!(committed(&group), [(0, Some(6)), (2, Some(6))]);
    run(&["reset", &group, "--from-file", &file, "-y"]).ok();
    assert_eq!(committed(&group), [(0, Some(2)), (2, Some(5))]);
    let copy = format!("{group}-copy");
    kafkalab(["groups", "reset", &copy, "--from-file", "-", "-y"]).stdin(kept).run().ok();
    assert_eq!(committed(&copy), [(0, Some(2)), (2, Some(5))]);
}

#[test]
fn the_lag_in_seconds_is_the_age_of_the_oldest_record_that_is_not_consumed() {
    let (topic, group) = (topic_with("age", 1), group("age"));
    written(&topic, 0, 2, 10_000);
    written(&topic, 0, 2, 500);
    written(&topic, 0, 2, 100);
    let age = |at: &str| {
        run(&["reset", &group, "-t", &topic, "--to", at, "-y"]).ok();
        let group = described(&group).expect("the group");
        assert_eq!(group["lag_seconds"], group["offsets"][0]["lag_seconds"]);
        group["lag_seconds"].as_f64()
    };
    for (at, seconds) in [("1", 10_000.0), ("2", 500.0), ("5", 100.0)] {
        let age = age(at).expect("an age");
        assert!((seconds..seconds + 60.0).contains(&age), "at {at}: {age}");
    }
    assert_eq!(age("6"), None);
}

#[test]
fn the_list_has_state_kind_and_members() {
    let (topic, group) = (topic_with("listed", 1), group("listed"));
    written(&topic, 0, 1, 0);
    run(&["reset", &group, "-t", &topic, "--to", "start", "-y"]).ok();
    let document: Value = serde_json::from_slice(&run(&["ls", "-J"]).ok().stdout).expect("one document");
    assert_eq!(document["schema_version"], 1);
    let found = document["groups"].as_array().expect("groups").iter().find(|found| found["name"] == group.as_str());
    let found = found.expect("the group is listed");
    assert_eq!((found["state"].as_str(), found["kind"].as_str()), (Some("Empty"), Some("classic")));
    assert_eq!(found["members"], 0);
    let line = |arguments: &[&str]| {
        let text = run(arguments).ok().text();
        text.lines()
            .find(|line| line.starts_with(&group))
            .map(|line| line.split_whitespace().skip(1).collect::<String>())
    };
    assert_eq!(line(&["list"]).as_deref(), Some("Emptyclassic0"));
    assert!(line(&["list", "--state", "empty"]).is_some());
    assert!(line(&["list", "--state", "stable,dead"]).is_none());
}

#[test]
fn offsets_of_a_topic_that_is_gone_hold_nothing_up() {
    let (gone, stays, group) = (topic_with("gone", 1), topic_with("stays", 1), group("gone"));
    written(&gone, 0, 3, 0);
    written(&stays, 0, 3, 0);
    run(&["reset", &group, "-t", &gone, "-t", &stays, "--to", "1", "-y"]).ok();
    kafkalab(["topics", "delete", &gone, "-y"]).run().ok();
    let found = described(&group).expect("the group");
    let offsets = found["offsets"].as_array().expect("offsets");
    let lag = |topic: &str| offsets.iter().find(|at| at["topic"] == topic).map(|at| at["lag"].as_i64());
    assert_eq!(lag(&stays), Some(Some(2)));
    assert!(matches!(lag(&gone), None | Some(None)), "{offsets:?}"); // Kafka forgets them in time
}

#[test]
fn names_of_groups_complete() {
    let (topic, group) = (topic_with("complete", 1), group("complete"));
    written(&topic, 0, 1, 0);
    run(&["reset", &group, "-t", &topic, "--to", "start", "-y"]).ok();
    for command in [["groups", "describe"], ["groups", "delete"], ["groups", "reset"], ["consume", "-g"]] {
        let asked = kafkalab(["--", "kafkalab"]).arguments(command).arguments([&group[..group.len() - 1]]);
        let asked = asked.env("KAFKALAB_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "3").env("_CLAP_IFS", "\n");
        assert_eq!(asked.run().ok().text(), group, "{command:?}");
    }
}
