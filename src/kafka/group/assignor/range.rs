//! Kafka's `range`: each topic by itself is cut into as many runs as it has subscribers; the first get one more where
//! the count does not divide. Source: `RangeAssignor.java`.
//!
//! ```text
//! 5 partitions, 2 members:   a: 0 1 2   b: 3 4
//! ```
//!
//! Topics with equal counts are cut alike, which joins by partition need. The price: the first members get the extra
//! partition of every topic.

use std::{collections::BTreeMap, sync::Arc};

use super::{super::super::record::TopicPartition, Member, Plan, subscribers};

pub(super) fn assign(members: &[Member], partitions: &BTreeMap<Arc<str>, i32>) -> Plan {
    let mut plan = Plan::new();
    for (topic, subscribers) in subscribers(members) {
        let Some(&count) = partitions.get(topic) else { continue };
        let (each, extra) = (count as usize / subscribers.len(), count as usize % subscribers.len());
        let mut rest = 0..count;
        for (place, member) in subscribers.into_iter().enumerate() {
            let run = rest.by_ref().take(each + usize::from(place < extra));
            let run = run.map(|partition| TopicPartition::new(topic.clone(), partition));
            plan.entry(member.id.clone()).or_default().extend(run);
        }
    }
    plan
}

/// The cases of Kafka's RangeAssignorTest.
#[cfg(test)]
mod tests {
    use super::super::{
        Assignor::Range,
        tests::{member, shown, topics},
    };

    #[test]
    fn multiple_consumers_mixed_topics() {
        let members = [member("consumer1", "t1"), member("consumer2", "t1 t2"), member("consumer3", "t1")];
        let plan = Range.assign(&members, &topics("t1:3 t2:2"));
        assert_eq!(shown(&plan), "consumer1: t1-0 | consumer2: t1-1 t2-0 t2-1 | consumer3: t1-2");
    }

    #[test]
    fn two_consumers_two_topics_six_partitions() {
        let members = [member("consumer1", "t1 t2"), member("consumer2", "t1 t2")];
        let plan = Range.assign(&members, &topics("t1:3 t2:3"));
        assert_eq!(shown(&plan), "consumer1: t1-0 t1-1 t2-0 t2-1 | consumer2: t1-2 t2-2");
    }

    #[test]
    fn static_consumers_go_by_their_instance_id_and_before_the_others() {
        let first = member("consumer-b", "t1 t2").instance("instance1");
        let expected = "consumer-a: t1-2 t2-2 | consumer-b: t1-0 t1-1 t2-0 t2-1";
        let two = [first.clone(), member("consumer-a", "t1 t2").instance("instance2")];
        assert_eq!(shown(&Range.assign(&two, &topics("t1:3 t2:3"))), expected);
        let one = [first, member("consumer-a", "t1 t2")];
        assert_eq!(shown(&Range.assign(&one, &topics("t1:3 t2:3"))), expected);
    }

    #[test]
    fn static_members_keep_theirs_when_a_dynamic_one_is_replaced() {
        for dynamic in ["consumer4", "consumer5"] {
            let fixed = |n| member(&format!("consumer{n}"), "t1 t2").instance(&format!("instance{n}"));
            let members = [fixed(1), fixed(2), fixed(3), member(dynamic, "t1 t2")];
            let plan = shown(&Range.assign(&members, &topics("t1:5 t2:4")));
            let fixed = "consumer1: t1-0 t1-1 t2-0 | consumer2: t1-2 t2-1 | consumer3: t1-3 t2-2";
            assert_eq!(plan, format!("{fixed} | {dynamic}: t1-4 t2-3"));
        }
    }

    #[test]
    fn co_partitioned_assignment_with_same_subscription() {
        let members = ["a", "b", "c"].map(|id| member(id, "t1 t2 t3 t4 t5 t6 t7 t8 t9"));
        let plan = Range.assign(&members, &topics("t1:6 t2:6 t3:2 t4:2 t5:4 t6:4"));
        let expected = "a: t1-0 t1-1 t2-0 t2-1 t3-0 t4-0 t5-0 t5-1 t6-0 t6-1 \
                        | b: t1-2 t1-3 t2-2 t2-3 t3-1 t4-1 t5-2 t6-2 \
                        | c: t1-4 t1-5 t2-4 t2-5 t5-3 t6-3";
        assert_eq!(shown(&plan), expected);
    }
}
