//! The same groups given to Kafka's own assignors (`dev/kafka/Assign.java`). Needs no broker, only Java and Kafka's
//! jars:
//!
//! ```text
//! cargo test --lib java -- --ignored
//! ```

use std::{
    io::Write,
    process::{Command, Stdio},
};

use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::{
    properties::{check_balance, some_members, some_topics},
    *,
};

/// A group in which each partition was one member's, or nobody's.
fn some_group() -> impl Strategy<Value = (Vec<Member>, BTreeMap<Arc<str>, i32>)> {
    (some_members(), some_topics(), vec(any::<usize>(), 64)).prop_map(|(mut members, topics, picks)| {
        let all = topics.iter().flat_map(|(topic, &count)| (0..count).map(move |number| (topic, number)));
        for ((topic, number), pick) in all.zip(picks) {
            let pick = pick % (members.len() + 1);
            let owner = members.get_mut(pick).filter(|member| member.subscription.topics.contains(topic));
            if let Some(owner) = owner {
                owner.subscription.owned.push(TopicPartition::new(topic.clone(), number));
            }
        }
        for member in &mut members {
            member.subscription.generation = 1;
        }
        (members, topics)
    })
}

/// As Assign.java reads it.
fn line(members: &[Member], topics: &BTreeMap<Arc<str>, i32>) -> String {
    let words = |words: Vec<String>| words.join(" ");
    let mut line = words(topics.iter().map(|(topic, count)| format!("{topic}:{count}")).collect());
    for Member { id, instance_id, subscription } in members {
        let instance = instance_id.as_deref().unwrap_or_default();
        let owned = subscription.owned.iter().map(|of| format!("{}-{}", of.topic, of.partition)).collect();
        line += &format!("|{id},{instance},{},{}", subscription.topics.join(" "), words(owned));
    }
    line
}

fn java(lines: &str) -> Vec<String> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/dev/kafka");
    let mut java = Command::new(format!("{root}/kafka.sh"))
        .args(["tool", &format!("{root}/Assign.java")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("dev/kafka/kafka.sh");
    let mut input = java.stdin.take().expect("its input");
    std::thread::scope(|scope| {
        // not before the other is read: both pipes would be full
        scope.spawn(move || input.write_all(lines.as_bytes()).expect("Java reads to the end"));
        let output = java.wait_with_output().expect("Java");
        assert!(output.status.success(), "Java: {}", output.status);
        String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
    })
}

fn parsed(plan: &str) -> Plan {
    let member = |member: &str| {
        let (id, partitions) = member.split_once(':').expect("id: partitions");
        (Arc::from(id), partitions.split_whitespace().map(partition).collect())
    };
    plan.split(" | ").map(member).collect()
}

/// `getBalanceScore` of AbstractStickyAssignor.java: how far apart the sizes are, over all pairs.
fn score(plan: &Plan) -> usize {
    let sizes: Vec<usize> = plan.values().map(Vec::len).collect();
    let pairs = sizes.iter().enumerate().flat_map(|(at, a)| sizes[at..].iter().map(|b| a.abs_diff(*b)));
    pairs.sum()
}

/// How many partitions were taken from who owned them.
fn taken(members: &[Member], plan: &Plan) -> usize {
    let lost =
        |member: &Member| member.subscription.owned.iter().filter(|owned| !plan[&member.id].contains(owned)).count();
    members.iter().map(lost).sum()
}

#[test]
#[ignore = "needs Apache Kafka's jars"]
fn a_thousand_random_groups_are_divided_as_kafkas_assignors_do() {
    let mut runner = TestRunner::default();
    let groups: Vec<_> = (0..1000).map(|_| some_group().new_tree(&mut runner).expect("a group").current()).collect();
    let lines: Vec<String> = groups.iter().map(|(members, topics)| line(members, topics)).collect();
    let said = java(&(lines.join("\n") + "\n"));
    assert_eq!(said.len(), 3 * groups.len());
    let (mut ours_in_all, mut theirs_in_all) = ((0, 0), (0, 0));
    for (((members, topics), line), said) in groups.into_iter().zip(lines).zip(said.chunks(3)) {
        assert_eq!(shown(&Assignor::Range.assign(&members, &topics)), said[0], "{line}");
        assert_eq!(shown(&Assignor::RoundRobin.assign(&members, &topics)), said[1], "{line}");

        let mut group = Group::new(members.clone(), topics);
        group.settle();
        let (ours, theirs) = (group.owners(), parsed(&said[2]));
        check_balance(&members, &ours);
        check_balance(&members, &theirs);
        let figures = |plan: &Plan| (score(plan), taken(&members, plan));
        let (our, their) = (figures(&ours), figures(&theirs));
        if members.iter().all(|member| member.subscription.topics == members[0].subscription.topics) {
            assert_eq!(our, their, "{line}\nours: {}\nJava: {}", shown(&ours), said[2]);
        }
        ours_in_all = (ours_in_all.0 + our.0, ours_in_all.1 + our.1);
        theirs_in_all = (theirs_in_all.0 + their.0, theirs_in_all.1 + their.1);
    }
    // Members that want different topics: balanced both, by other ways. Neither is always the better one.
    let no_more = |our: usize, their: usize| our * 20 <= their * 21;
    let figures = format!("apart, taken: ours {ours_in_all:?}, Java's {theirs_in_all:?}");
    assert!(no_more(ours_in_all.0, theirs_in_all.0) && no_more(ours_in_all.1, theirs_in_all.1), "{figures}");
}
