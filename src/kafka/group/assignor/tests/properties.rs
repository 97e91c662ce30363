//! What holds for one plan of any group.

use proptest::{collection::vec, prelude::*, sample::subsequence};

use super::*;

/// `t0`, `t1`, ...: how many partitions each has.
pub(super) fn some_topics() -> impl Strategy<Value = BTreeMap<Arc<str>, i32>> {
    vec(0..9i32, 1..6).prop_map(|counts| (0..).zip(counts).map(|(n, count)| (format!("t{n}").into(), count)).collect())
}

/// Members that want some of six topics (one of which may not be there), or all the same.
pub(super) fn some_members() -> impl Strategy<Value = Vec<Member>> {
    let names = ["t0", "t1", "t2", "t3", "t4", "t5"];
    let wishes = subsequence(names.to_vec(), 0..=6).prop_map(|topics| topics.join(" "));
    (vec((wishes, any::<Option<u8>>()), 1..8), any::<bool>()).prop_map(|(wishes, equal)| {
        let first = wishes[0].0.clone();
        let members = wishes.into_iter().enumerate().map(|(n, (wish, instance))| {
            let member = member(&format!("m{n}"), if equal { &first } else { &wish });
            match instance {
                Some(instance) => member.instance(&format!("i{instance}-{n}")),
                None => member,
            }
        });
        members.collect()
    })
}

/// Claims of all kinds: true ones, stale ones, two of the same, of what is gone or never was.
fn some_claims() -> impl Strategy<Value = Vec<(Vec<(u8, i32)>, i32)>> {
    vec((vec((0..7u8, -1..12i32), 0..12), -1..4i32), 8)
}

fn claiming(mut members: Vec<Member>, claims: Vec<(Vec<(u8, i32)>, i32)>) -> Vec<Member> {
    for (member, (owned, generation)) in members.iter_mut().zip(claims) {
        let owned = owned.into_iter().map(|(topic, number)| TopicPartition::new(format!("t{topic}"), number));
        member.subscription.owned = owned.collect();
        member.subscription.generation = generation;
    }
    members
}

/// As the members would report it in the next round.
fn owning(members: &[Member], plan: &Plan) -> Vec<Member> {
    let mut members = members.to_vec();
    for member in &mut members {
        member.subscription.owned = plan.get(&member.id).cloned().unwrap_or_default();
        member.subscription.generation = 7;
    }
    members
}

fn wants(member: &Member, partition: &TopicPartition) -> bool {
    member.subscription.topics.contains(&partition.topic)
}

/// Every partition that somebody wants.
pub(super) fn wanted(members: &[Member], topics: &BTreeMap<Arc<str>, i32>) -> BTreeSet<TopicPartition> {
    let all =
        topics.iter().flat_map(|(topic, &count)| (0..count).map(|number| TopicPartition::new(topic.clone(), number)));
    all.filter(|partition| members.iter().any(|member| wants(member, partition))).collect()
}

/// Each member with what it wants alone, no partition twice; returns what was given.
pub(super) fn check_owners(members: &[Member], plan: &Plan) -> BTreeSet<TopicPartition> {
    let ids: BTreeSet<_> = members.iter().map(|member| member.id.clone()).collect();
    assert_eq!(plan.keys().cloned().collect::<BTreeSet<_>>(), ids, "every member is a key");
    let mut given = BTreeSet::new();
    for member in members {
        for partition in &plan[&member.id] {
            assert!(wants(member, partition), "{} did not ask for {partition}: {}", member.id, shown(plan));
            assert!(given.insert(partition.clone()), "{partition} has two owners: {}", shown(plan));
        }
    }
    given
}

/// `isBalanced` of AbstractStickyAssignor.java: no single move brings two members closer together.
pub(super) fn check_balance(members: &[Member], plan: &Plan) {
    for to in members {
        for (from, partitions) in plan {
            let (more, less) = (partitions.len(), plan[&to.id].len());
            let movable = partitions.iter().find(|partition| wants(to, partition));
            if let Some(partition) = movable.filter(|_| more >= less + 2) {
                panic!("{partition} of {from} ({more}) should be with {} ({less}): {}", to.id, shown(plan));
            }
        }
    }
}

fn equal_subscriptions(mut members: Vec<Member>) -> Vec<Member> {
    let topics = members[0].subscription.topics.clone();
    for member in &mut members {
        member.subscription.topics = topics.clone();
    }
    members
}

proptest! {
    #[test]
    fn every_wanted_partition_has_one_owner_that_wants_it(members in some_members(), topics in some_topics()) {
        for assignor in Assignor::ALL {
            let plan = assignor.assign(&members, &topics);
            prop_assert_eq!(check_owners(&members, &plan), wanted(&members, &topics), "{}", assignor.name());
        }
    }

    #[test]
    fn the_order_of_members_is_nothing(members in some_members(), topics in some_topics(), claims in some_claims()) {
        let members = claiming(members, claims);
        let mut turned = members.clone();
        turned.reverse();
        turned.rotate_left(members.len() / 3);
        for assignor in Assignor::ALL {
            prop_assert_eq!(assignor.assign(&members, &topics), assignor.assign(&turned, &topics));
        }
    }

    #[test]
    fn any_claims_end_in_one_owner_and_nobody_gets_what_another_claims(
        members in some_members(), topics in some_topics(), claims in some_claims(),
    ) {
        let members = claiming(members, claims);
        let plan = Assignor::CooperativeSticky.assign(&members, &topics);
        let given = check_owners(&members, &plan);
        for partition in wanted(&members, &topics) {
            let claim = |member: &&Member| member.subscription.owned.contains(&partition);
            let latest = members.iter().filter(claim).map(|member| member.subscription.generation).max();
            let latest = members.iter().filter(claim).filter(|member| Some(member.subscription.generation) == latest);
            let owners: Vec<&Member> = latest.collect();
            let holder = plan.iter().find(|(_, partitions)| partitions.contains(&partition)).map(|(id, _)| id);
            match owners[..] {
                [] => prop_assert!(given.contains(&partition), "{} is nobody's and stays so", partition),
                [owner] => prop_assert!(holder.is_none_or(|holder| *holder == owner.id), "{} is {}'s", partition, owner.id),
                _ => prop_assert_eq!(holder, None, "{} is contested", partition),
            }
        }
    }

    #[test]
    fn sticky_is_balanced(members in some_members(), topics in some_topics()) {
        check_balance(&members, &Assignor::CooperativeSticky.assign(&members, &topics));
    }

    #[test]
    fn round_robin_and_sticky_are_even_among_equals(members in some_members(), topics in some_topics()) {
        let members = equal_subscriptions(members);
        for assignor in [Assignor::RoundRobin, Assignor::CooperativeSticky] {
            let plan = assignor.assign(&members, &topics);
            let sizes = plan.values().map(Vec::len);
            let spread = sizes.clone().max().unwrap_or(0) - sizes.min().unwrap_or(0);
            prop_assert!(spread <= 1, "{}: {}", assignor.name(), shown(&plan));
        }
    }

    #[test]
    fn nothing_moves_where_nothing_changed(members in some_members(), topics in some_topics()) {
        let plan = Assignor::CooperativeSticky.assign(&members, &topics);
        let again = Assignor::CooperativeSticky.assign(&owning(&members, &plan), &topics);
        prop_assert_eq!(shown(&again), shown(&plan));
    }

    #[test]
    fn of_equals_one_leaves_and_only_its_partitions_move(members in some_members(), topics in some_topics(), who: usize) {
        let mut members = equal_subscriptions(members);
        let plan = Assignor::CooperativeSticky.assign(&members, &topics);
        members.remove(who % members.len());
        let after = Assignor::CooperativeSticky.assign(&owning(&members, &plan), &topics);
        for (id, partitions) in &after {
            for kept in &plan[id] {
                prop_assert!(partitions.contains(kept), "{} lost {}", id, kept);
            }
        }
        prop_assert_eq!(check_owners(&members, &after), wanted(&members, &topics));
    }

    #[test]
    fn of_equals_one_joins_and_nothing_moves_between_the_old(members in some_members(), topics in some_topics()) {
        let members = equal_subscriptions(members);
        let plan = Assignor::CooperativeSticky.assign(&members, &topics);
        let mut more = owning(&members, &plan);
        more.push(Member { id: "joined".into(), ..members[0].clone() });
        let first = Assignor::CooperativeSticky.assign(&more, &topics);
        let second = Assignor::CooperativeSticky.assign(&owning(&more, &first), &topics);
        for old in &members {
            for partition in first[&old.id].iter().chain(&second[&old.id]) {
                prop_assert!(plan[&old.id].contains(partition), "{} got {}", old.id, partition);
            }
        }
        check_balance(&more, &second);
        // no more than must: the new one's fair share
        prop_assert!(second["joined"].len() <= wanted(&more, &topics).len().div_ceil(more.len()));
    }
}

#[test]
fn a_hundred_members_divide_ten_thousand_partitions_in_time() {
    let counts: BTreeMap<Arc<str>, i32> = (0..100).map(|n| (format!("t{n:02}").into(), 100)).collect();
    let names: Vec<&str> = counts.keys().map(|name| &**name).collect();
    let wishes = |n: usize, equal: bool| {
        let wanted = names.iter().enumerate().filter(|(at, _)| equal || (at * 7 + n * 13) % 10 < 3 || n == 0);
        wanted.map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
    };
    for equal in [true, false] {
        let mut members: Vec<Member> = (0..100).map(|n| member(&format!("m{n:02}"), &wishes(n, equal))).collect();
        // the worst: one has it all, and everybody else has just joined
        members[0].subscription.owned = wanted(&members[..1], &counts).into_iter().collect();
        let start = std::time::Instant::now();
        let plan = Assignor::CooperativeSticky.assign(&members, &counts);
        let took = start.elapsed();
        check_owners(&members, &plan);
        let limit = if cfg!(debug_assertions) { 20 } else { 1 };
        assert!(took.as_secs() < limit, "{took:?}");
    }
}
