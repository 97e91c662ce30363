//! Cooperative rebalancing as a group runs it: rounds of joining, until nobody has anything to give up.

use proptest::{collection::vec, prelude::*, sample::subsequence};

use super::{
    properties::{check_balance, check_owners, wanted},
    *,
};

/// A group between rounds: who owns what.
pub(in super::super) struct Group {
    pub members: Vec<Member>,
    pub topics: BTreeMap<Arc<str>, i32>,
    generation: i32,
}

impl Group {
    pub fn new(members: Vec<Member>, topics: BTreeMap<Arc<str>, i32>) -> Self {
        Self { members, topics, generation: 10 }
    }

    /// One rebalance. True where somebody gave something up, and so has to join again.
    fn round(&mut self) -> bool {
        let plan = Assignor::CooperativeSticky.assign(&self.members, &self.topics);
        check_owners(&self.members, &plan);
        self.generation += 1;
        let mut gave_up = false;
        for at in 0..self.members.len() {
            let assigned = plan[&self.members[at].id].clone();
            for partition in &assigned {
                let other = self.members.iter().enumerate().find(|(other, member)| {
                    *other != at && member.subscription.owned.contains(partition) && self.is_current(member)
                });
                let also = other.map(|(_, member)| &member.id);
                assert_eq!(also, None, "{partition} comes to {} too early: {}", self.members[at].id, shown(&plan));
            }
            gave_up |= self.members[at].subscription.owned.iter().any(|owned| !assigned.contains(owned));
        }
        let generation = self.generation;
        for member in &mut self.members {
            member.subscription.owned = plan[&member.id].clone();
            member.subscription.generation = generation;
        }
        gave_up
    }

    /// Owns what it says, and has not been replaced while it was away.
    fn is_current(&self, member: &Member) -> bool {
        member.subscription.generation == self.generation - 1
    }

    /// Rounds until nobody gives anything up; returns how many.
    pub fn settle(&mut self) -> usize {
        for round in 1..=10 {
            if !self.round() {
                return round;
            }
        }
        panic!("no rest after ten rounds: {}", shown(&self.owners()));
    }

    pub fn owners(&self) -> Plan {
        self.members.iter().map(|member| (member.id.clone(), member.subscription.owned.clone())).collect()
    }
}

#[derive(Clone, Debug)]
enum Event {
    Joins(String),
    Leaves(usize),
    /// Is thrown out and does not know, and comes back after the next event with what it thinks it owns.
    Sleeps(usize),
    Grows(usize, i32),
    Disappears(usize),
    Resubscribes(usize, String),
}

fn wish() -> impl Strategy<Value = String> {
    subsequence(vec!["t0", "t1", "t2", "t3", "t4"], 1..=5).prop_map(|topics| topics.join(" "))
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => wish().prop_map(Event::Joins),
        2 => any::<usize>().prop_map(Event::Leaves),
        1 => any::<usize>().prop_map(Event::Sleeps),
        2 => (0..5usize, 1..5i32).prop_map(|(topic, more)| Event::Grows(topic, more)),
        1 => (0..5usize).prop_map(Event::Disappears),
        1 => (any::<usize>(), wish()).prop_map(|(who, wish)| Event::Resubscribes(who, wish)),
    ]
}

/// What happens to the group between two rests. `all` subscribe to the same, or each to its own.
fn happens(group: &mut Group, event: Event, all: Option<&str>, number: usize) -> Option<Member> {
    let who = |who: usize, members: &[Member]| who % members.len();
    match event {
        Event::Joins(wish) => group.members.push(member(&format!("m{number}"), all.unwrap_or(&wish))),
        Event::Leaves(one) | Event::Sleeps(one) if !group.members.is_empty() => {
            let gone = group.members.remove(who(one, &group.members));
            return matches!(event, Event::Sleeps(_)).then_some(gone);
        }
        Event::Grows(topic, more) => *group.topics.entry(format!("t{topic}").into()).or_default() += more,
        Event::Disappears(topic) => {
            let topic = format!("t{topic}");
            group.topics.remove(topic.as_str());
        }
        Event::Resubscribes(one, wish) if !group.members.is_empty() && all.is_none() => {
            let one = who(one, &group.members);
            group.members[one].subscription.topics = wish.split_whitespace().map(Arc::from).collect();
        }
        _ => {}
    }
    None
}

fn lives(events: Vec<Event>, all: Option<&str>, limit: usize) {
    let mut group = Group::new(Vec::new(), topics("t0:3 t1:8 t2:1 t3:5"));
    let mut asleep: Option<Member> = None;
    for (number, event) in events.into_iter().enumerate() {
        let awake = asleep.take();
        asleep = happens(&mut group, event, all, number);
        group.members.extend(awake);
        let rounds = group.settle();
        assert!(rounds <= limit, "{rounds} rounds");
        let owners = group.owners();
        assert_eq!(check_owners(&group.members, &owners), wanted(&group.members, &group.topics));
        check_balance(&group.members, &owners);
    }
}

proptest! {
    #[test]
    fn members_that_want_the_same_come_to_rest_in_two_rounds(events in vec(event(), 1..12), wish in wish()) {
        lives(events, Some(&wish), 2);
    }

    #[test]
    fn members_that_want_different_topics_come_to_rest_in_three_rounds(events in vec(event(), 1..12)) {
        lives(events, None, 3);
    }
}
