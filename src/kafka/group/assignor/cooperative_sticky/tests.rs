//! The cases of Kafka's AbstractStickyAssignorTest and CooperativeStickyAssignorTest, by their names. Where Java's
//! answer is one of several equal ones (it goes by the order of a hash map), what the case is about is checked instead.

use super::super::{
    Assignor::CooperativeSticky,
    tests::{Group, member, shown, topics},
};
use super::*;

fn plan(members: &[Member], counts: &str) -> String {
    shown(&CooperativeSticky.assign(members, &topics(counts)))
}

/// Where it comes to rest.
fn settled(members: &[Member], counts: &str) -> String {
    let mut group = Group::new(members.to_vec(), topics(counts));
    group.settle();
    shown(&group.owners())
}

#[test]
fn multiple_consumers_mixed_topic_subscriptions() {
    let members = [member("consumer1", "t1"), member("consumer2", "t1 t2"), member("consumer3", "t1")];
    assert_eq!(plan(&members, "t1:3 t2:2"), "consumer1: t1-0 t1-2 | consumer2: t2-0 t2-1 | consumer3: t1-1");
}

#[test]
fn two_consumers_two_topics_six_partitions() {
    let members = [member("consumer1", "t1 t2"), member("consumer2", "t1 t2")];
    assert_eq!(plan(&members, "t1:3 t2:3"), "consumer1: t1-0 t1-2 t2-1 | consumer2: t1-1 t2-0 t2-2");
}

#[test]
fn consumer_owning_min_quota_expected_max_quota() {
    let both =
        [member("consumer1", "t1 t2").owning("t1-0 t2-1", 10), member("consumer2", "t1 t2").owning("t1-1 t2-2", 10)];
    assert_eq!(plan(&both, "t1:2 t2:3"), "consumer1: t1-0 t2-0 t2-1 | consumer2: t1-1 t2-2");
}

#[test]
fn max_quota_consumers_more_than_expected_max_capacity_members() {
    let members = [
        member("consumer1", "t1 t2").owning("t1-0 t2-0", 10),
        member("consumer2", "t1 t2").owning("t1-1 t2-1", 10),
        member("consumer3", "t1 t2").owning("", 10),
    ];
    // Java takes t2-0 of consumer1
    assert_eq!(plan(&members, "t1:2 t2:2"), "consumer1: t1-0 t2-0 | consumer2: t1-1 | consumer3:");
    assert_eq!(settled(&members, "t1:2 t2:2"), "consumer1: t1-0 t2-0 | consumer2: t1-1 | consumer3: t2-1");
}

#[test]
fn all_consumers_are_under_min_quota() {
    let members = [
        member("consumer1", "t1 t2").owning("t1-0", 10),
        member("consumer2", "t1 t2").owning("t1-1", 10),
        member("consumer3", "t1 t2").owning("", 10),
    ];
    assert_eq!(plan(&members, "t1:2 t2:3"), "consumer1: t1-0 t2-1 | consumer2: t1-1 t2-2 | consumer3: t2-0");
}

#[test]
fn add_remove_consumer_one_topic() {
    let first = member("consumer1", "t").owning("t-0 t-1 t-2", 10);
    let both = [first, member("consumer2", "t")];
    assert_eq!(plan(&both, "t:3"), "consumer1: t-0 t-1 | consumer2:", "t-2 is withheld");
    assert_eq!(settled(&both, "t:3"), "consumer1: t-0 t-1 | consumer2: t-2");
    let second = member("consumer2", "t").owning("t-2", 12);
    assert_eq!(plan(&[second], "t:3"), "consumer2: t-0 t-1 t-2");
}

#[test]
fn topic_balance_after_reassignment() {
    let mut group = Group::new(vec![member("consumer1", "t1 t2")], topics("t1:12 t2:12"));
    group.settle();
    for (joining, each) in [(&["consumer2"][..], 6), (&["consumer3", "consumer4"], 3)] {
        group.members.extend(joining.iter().map(|id| member(id, "t1 t2")));
        group.settle();
        for (id, partitions) in group.owners() {
            for topic in ["t1", "t2"] {
                let of_it = partitions.iter().filter(|partition| &*partition.topic == topic).count();
                assert_eq!(of_it, each, "{id}, {topic}: {}", shown(&group.owners()));
            }
        }
    }
    group.members.retain(|member| ["consumer3", "consumer4"].contains(&&*member.id));
    assert_eq!(group.settle(), 1);
    for (id, partitions) in group.owners() {
        let of_t1 = partitions.iter().filter(|partition| &*partition.topic == "t1").count();
        assert_eq!((of_t1, partitions.len()), (6, 12), "{id}: {}", shown(&group.owners()));
    }
}

#[test]
fn add_remove_two_consumers_two_topics() {
    let mut group = Group::new(vec![member("consumer1", "t1 t2"), member("consumer2", "t1 t2")], topics("t1:3 t2:4"));
    group.settle();
    assert_eq!(shown(&group.owners()), "consumer1: t1-0 t1-2 t2-1 t2-3 | consumer2: t1-1 t2-0 t2-2");
    group.members.extend([member("consumer3", "t1 t2"), member("consumer4", "t1 t2")]);
    group.settle();
    let owners = shown(&group.owners());
    assert!(owners.starts_with("consumer1: t1-0 t2-1 | consumer2: t1-1 t2-0 | consumer3: "), "{owners}");
    group.members.drain(..2);
    assert_eq!(group.settle(), 1, "nothing has to be given up");
}

#[test]
fn poor_round_robin_assignment_scenario() {
    let (all, odd) = ("t1 t2 t3 t4 t5", "t1 t3 t5");
    let members =
        [member("consumer1", all), member("consumer2", odd), member("consumer3", odd), member("consumer4", all)];
    let expected = "consumer1: t2-0 t3-0 | consumer2: t1-0 t3-1 | consumer3: t1-1 t5-0 | consumer4: t4-0 t5-1";
    assert_eq!(plan(&members, "t1:2 t2:1 t3:2 t4:1 t5:2"), expected);
}

#[test]
fn move_existing_assignments() {
    let members = [
        member("consumer1", "t1 t2").owning("t1-0", 10),
        member("consumer2", "t1 t2 t3 t4").owning("t2-0 t3-0", 10),
        member("consumer3", "t2 t3 t4 t5 t6").owning("t4-0 t5-0 t6-0", 10),
    ];
    let counts = "t1:1 t2:1 t3:1 t4:1 t5:1 t6:1";
    // sizes 1, 2, 3: consumer3 could give t4 to consumer2 alone, which has only one less
    assert_eq!(settled(&members, counts), plan(&members, counts));
}

#[test]
fn all_consumers_reach_expected_quota_and_are_considered_filled() {
    let members = [
        member("consumer1", "t").owning("t-0 t-1", 10),
        member("consumer2", "t").owning("t-2", 10),
        member("consumer3", "t").owning("", 10),
    ];
    assert_eq!(plan(&members, "t:4"), "consumer1: t-0 t-1 | consumer2: t-2 | consumer3: t-3");
}

#[test]
fn owned_partitions_are_invalidated_for_a_consumer_with_a_stale_generation_or_none() {
    for generation in [9, -1] {
        let members = [
            member("consumer1", "t1 t2").owning("t1-0 t1-2 t2-1", 10),
            member("consumer2", "t1 t2").owning("t1-0 t1-2 t2-1", generation),
        ];
        assert_eq!(plan(&members, "t1:3 t2:3"), "consumer1: t1-0 t1-2 t2-1 | consumer2: t1-1 t2-0 t2-2");
    }
}

#[test]
fn a_partition_claimed_by_two_in_the_same_generation_is_nobodys() {
    let members = [
        member("consumer1", "t").owning("t-0 t-1", 10),
        member("consumer2", "t").owning("t-0 t-2", 10),
        member("consumer3", "t").owning("", 10),
    ];
    assert_eq!(plan(&members, "t:3"), "consumer1: t-1 | consumer2: t-2 | consumer3:");
    assert_eq!(settled(&members, "t:3"), "consumer1: t-1 | consumer2: t-2 | consumer3: t-0");
    // unequal partitions per consumer
    assert_eq!(plan(&members, "t:4"), "consumer1: t-1 t-3 | consumer2: t-2 | consumer3:");
}

#[test]
fn partitions_stay_with_the_highest_generation() {
    let all = "t1 t2 t3";
    let members = [
        member("consumer1", all).owning("t1-0 t2-0 t3-0", 10),
        member("consumer2", all).owning("t1-1 t2-1 t3-1", 9),
        member("consumer3", all).owning("t2-1 t3-0 t3-2", 8),
    ];
    let expected = "consumer1: t1-0 t2-0 t3-0 | consumer2: t1-1 t2-1 t3-1 | consumer3: t1-2 t2-2 t3-2";
    assert_eq!(plan(&members, "t1:3 t2:3 t3:3"), expected);
}

#[test]
fn no_reassignment_on_current_members() {
    let all = "t0 t1 t2 t3";
    let members = [
        member("consumer1", all),
        member("consumer2", all).owning("t0-0 t2-0 t1-0", 9),
        member("consumer3", all).owning("t3-2 t2-2 t1-1", 8),
        member("consumer4", all).owning("t3-1 t0-1 t0-2", 7),
    ];
    assert!(plan(&members, "t0:3 t1:3 t2:3 t3:3").starts_with("consumer1: t1-2 t2-1 t3-0 |"));
}

#[test]
fn owned_partitions_of_several_generations() {
    let members = [
        member("consumer1", "t1 t2").owning("t1-0 t2-1 t1-1", 10),
        member("consumer2", "t1 t2").owning("t1-0 t2-1 t2-2", 8),
    ];
    assert_eq!(plan(&members, "t1:3 t2:3"), "consumer1: t1-0 t1-1 t2-1 | consumer2: t1-2 t2-0 t2-2");
}

#[test]
fn what_is_gone_is_ignored() {
    let owning = member("consumer1", "t gone").owning("t-0 t-7 t--1 gone-0", 10);
    assert_eq!(plan(&[owning, member("consumer2", "t gone")], "t:2"), "consumer1: t-0 | consumer2: t-1");
}

#[test]
fn a_topic_no_longer_wanted_is_withheld_until_it_is_given_up() {
    let members = [member("consumer1", "t1").owning("t1-0 t2-0", 10), member("consumer2", "t2").owning("", 10)];
    assert_eq!(plan(&members, "t1:1 t2:1"), "consumer1: t1-0 | consumer2:");
    assert_eq!(settled(&members, "t1:1 t2:1"), "consumer1: t1-0 | consumer2: t2-0");
}
