//! Kafka's `roundrobin`: all partitions of all topics in one line, dealt to the members in turn; who does not subscribe
//! to the topic is passed over. Source: `RoundRobinAssignor.java`.
//!
//! ```text
//! t: 3 partitions, u: 3 partitions, 2 members:   a: t0 t2 u1   b: t1 u0 u2
//! ```
//!
//! Even where all subscribe to the same; lopsided where they do not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{super::super::record::TopicPartition, Member, Plan, ranked};

pub(super) fn assign(members: &[Member], partitions: &BTreeMap<Arc<str>, i32>) -> Plan {
    let ranked: Vec<(&Member, BTreeSet<&Arc<str>>)> =
        ranked(members).into_iter().map(|member| (member, member.subscription.topics.iter().collect())).collect();
    let mut turns = ranked.iter().cycle();
    let mut plan = Plan::new();
    for (topic, &count) in partitions {
        if !ranked.iter().any(|(_, topics)| topics.contains(topic)) {
            continue;
        }
        for partition in 0..count {
            // ends: somebody subscribes, and everybody's turn comes
            if let Some((member, _)) = turns.find(|(_, topics)| topics.contains(topic)) {
                plan.entry(member.id.clone()).or_default().push(TopicPartition::new(topic.clone(), partition));
            }
        }
    }
    plan
}

/// The cases of Kafka's RoundRobinAssignorTest, and the example of its class.
#[cfg(test)]
mod tests {
    use super::super::{
        Assignor::RoundRobin,
        tests::{member, shown, topics},
    };

    #[test]
    fn multiple_consumers_mixed_topics() {
        let members = [member("consumer1", "t1"), member("consumer2", "t1 t2"), member("consumer3", "t1")];
        let plan = RoundRobin.assign(&members, &topics("t1:3 t2:2"));
        assert_eq!(shown(&plan), "consumer1: t1-0 | consumer2: t1-1 t2-0 t2-1 | consumer3: t1-2");
    }

    #[test]
    fn two_consumers_two_topics_six_partitions() {
        let expected = "consumer-b: t1-0 t1-2 t2-1 | consumer-c: t1-1 t2-0 t2-2";
        let members = [member("consumer-b", "t1 t2"), member("consumer-c", "t1 t2")];
        assert_eq!(shown(&RoundRobin.assign(&members, &topics("t1:3 t2:3"))), expected);
    }

    #[test]
    fn static_consumers_go_by_their_instance_id_and_before_the_others() {
        let first = member("consumer-b", "t1 t2").instance("instance1");
        let expected = "consumer-a: t1-1 t2-0 t2-2 | consumer-b: t1-0 t1-2 t2-1";
        let two = [first.clone(), member("consumer-a", "t1 t2").instance("instance2")];
        assert_eq!(shown(&RoundRobin.assign(&two, &topics("t1:3 t2:3"))), expected);
        let one = [first, member("consumer-a", "t1 t2")];
        assert_eq!(shown(&RoundRobin.assign(&one, &topics("t1:3 t2:3"))), expected);
    }

    #[test]
    fn static_members_keep_theirs_when_a_dynamic_one_is_replaced() {
        for dynamic in ["consumer4", "consumer5"] {
            let fixed = |n| member(&format!("consumer{n}"), "t1 t2").instance(&format!("instance{n}"));
            let members = [fixed(1), fixed(2), fixed(3), member(dynamic, "t1 t2")];
            let plan = shown(&RoundRobin.assign(&members, &topics("t1:3 t2:3")));
            let fixed = "consumer1: t1-0 t2-1 | consumer2: t1-1 t2-2 | consumer3: t1-2";
            assert_eq!(plan, format!("{fixed} | {dynamic}: t2-0"));
        }
    }

    #[test]
    fn different_subscriptions_can_be_lopsided() {
        let members = [member("c0", "t0"), member("c1", "t0 t1"), member("c2", "t0 t1 t2")];
        let plan = RoundRobin.assign(&members, &topics("t0:1 t1:2 t2:3"));
        assert_eq!(shown(&plan), "c0: t0-0 | c1: t1-0 | c2: t1-1 t2-0 t2-1 t2-2");
    }
}
