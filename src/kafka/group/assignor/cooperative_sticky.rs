//! Kafka's `cooperative-sticky`: partitions stay where they are unless balance asks for a move, and a partition that
//! moves is nobody's for one round.
//!
//! ```text
//! 1 keep   what a member owns and still wants stays with it
//! 2 place  each partition without an owner goes to its smallest subscriber
//! 3 level  while one member has two more than another that could take one of them, one moves
//! 4 hold   what changed owners in 1-3 is left out; the old owner gives it up and the group joins again
//! ```
//!
//! Balanced is what `AbstractStickyAssignor.java` calls so: no single move would bring two members closer together. The
//! algorithm is not Java's, which has one for equal subscriptions and one for others; what it promises is the same.
//!
//! Without step 4 the new owner would read a partition that the old one is still reading (KIP-429).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{super::super::record::TopicPartition, Member, Plan};

/// A member's place in the list by id.
type Place = usize;

pub(super) fn assign(members: &[Member], partitions: &BTreeMap<Arc<str>, i32>) -> Plan {
    let mut members: Vec<&Member> = members.iter().collect();
    members.sort_by_key(|member| &member.id);
    let topics = wanted_topics(&members, partitions);
    let claims = claims(&members, &topics);
    let mut division = Division::new(topics, claims, members.len());
    division.keep_and_place();
    division.level();
    let settled = members.iter().zip(0..).map(|(member, place)| (member.id.clone(), division.settled(place)));
    settled.collect()
}

struct Topic {
    name: Arc<str>,
    count: i32,
    /// In order.
    subscribers: Vec<Place>,
}

/// Those that exist and are subscribed to; the ones with the fewest subscribers first, as they leave the least choice.
fn wanted_topics(members: &[&Member], partitions: &BTreeMap<Arc<str>, i32>) -> Vec<Topic> {
    let mut subscribers = BTreeMap::<&Arc<str>, BTreeSet<Place>>::new();
    for (place, member) in members.iter().enumerate() {
        for topic in &member.subscription.topics {
            subscribers.entry(topic).or_default().insert(place);
        }
    }
    let known = subscribers.into_iter().filter_map(|(name, subscribers)| {
        let (&count, name) = (partitions.get(name)?, name.clone());
        Some(Topic { name, count, subscribers: subscribers.into_iter().collect() })
    });
    let mut topics: Vec<Topic> = known.collect();
    topics.sort_by_key(|topic| topic.subscribers.len()); // stable: by name where equal
    topics
}

/// By its number first: of two that may move, the one with the higher number does, so that topics stay mixed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Partition {
    number: i32,
    topic: usize,
}

/// Who says that a partition is its own.
struct Claim {
    by: Place,
    generation: i32,
    /// By another of the same generation too: nobody's, until both have given it up (KAFKA-12984).
    contested: bool,
}

/// The claim of the latest generation for each partition. A member that was away claims what may long be another's; what
/// is gone may be claimed too, and is asked for by nobody.
fn claims(members: &[&Member], topics: &[Topic]) -> HashMap<Partition, Claim> {
    let numbers: HashMap<&str, usize> = topics.iter().zip(0..).map(|(topic, at)| (&*topic.name, at)).collect();
    let mut claims = HashMap::<Partition, Claim>::new();
    for (by, member) in members.iter().enumerate() {
        let generation = member.subscription.generation;
        for owned in &member.subscription.owned {
            let Some(&topic) = numbers.get(&*owned.topic) else { continue };
            let partition = Partition { number: owned.partition, topic };
            let claim = claims.entry(partition).or_insert(Claim { by, generation, contested: false });
            if generation > claim.generation {
                *claim = Claim { by, generation, contested: false };
            } else if generation == claim.generation && by != claim.by {
                claim.contested = true;
            }
        }
    }
    claims
}

/// A partition with its holder. In order: what it owned before, then what is new to it, which is the first to move on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    new: bool,
    partition: Partition,
}

struct Division {
    topics: Vec<Topic>,
    claims: HashMap<Partition, Claim>,
    held: Vec<BTreeSet<Held>>,
    /// `common[from][to]`: how many of `from`'s partitions `to` subscribes to.
    common: Vec<Vec<u32>>,
}

impl Division {
    fn new(topics: Vec<Topic>, claims: HashMap<Partition, Claim>, members: usize) -> Self {
        Self { topics, claims, held: vec![BTreeSet::new(); members], common: vec![vec![0; members]; members] }
    }

    fn owner(&self, partition: Partition) -> Option<Place> {
        self.claims.get(&partition).filter(|claim| !claim.contested).map(|claim| claim.by)
    }

    fn wants(&self, member: Place, partition: Partition) -> bool {
        self.topics[partition.topic].subscribers.binary_search(&member).is_ok()
    }

    fn held(&self, member: Place, partition: Partition) -> Held {
        Held { new: self.owner(partition) != Some(member), partition }
    }

    fn give(&mut self, member: Place, partition: Partition) {
        let held = self.held(member, partition);
        self.held[member].insert(held);
        for &other in &self.topics[partition.topic].subscribers {
            self.common[member][other] += 1;
        }
    }

    fn take(&mut self, member: Place, partition: Partition) {
        let held = self.held(member, partition);
        self.held[member].remove(&held);
        for &other in &self.topics[partition.topic].subscribers {
            self.common[member][other] -= 1;
        }
    }

    fn keep_and_place(&mut self) {
        let all = self.topics.iter().zip(0..).flat_map(|(of, topic)| (0..of.count).map(move |number| (number, topic)));
        let all = all.map(|(number, topic)| Partition { number, topic });
        let (kept, ownerless): (Vec<_>, Vec<_>) =
            all.partition(|&partition| self.owner(partition).is_some_and(|owner| self.wants(owner, partition)));
        for partition in kept {
            if let Some(owner) = self.owner(partition) {
                self.give(owner, partition);
            }
        }
        for partition in ownerless {
            let subscribers = self.topics[partition.topic].subscribers.iter().copied();
            if let Some(smallest) = subscribers.min_by_key(|&member| self.held[member].len()) {
                self.give(smallest, partition);
            }
        }
    }

    /// Ends: each move makes the sum of the squared sizes smaller.
    fn level(&mut self) {
        while let Some((from, to, partition)) = self.next_move() {
            self.take(from, partition);
            self.give(to, partition);
        }
    }

    /// From the largest member that can give to the smallest that can take: so nobody gives what it has just got.
    fn next_move(&self) -> Option<(Place, Place, Partition)> {
        let size = |member: Place| self.held[member].len();
        let mut by_size: Vec<Place> = (0..self.held.len()).collect();
        by_size.sort_by_key(|&member| size(member));
        let pair = by_size.iter().rev().find_map(|&from| {
            let mut smaller = by_size.iter().take_while(|&&to| size(to) + 2 <= size(from));
            smaller.find(|&&to| self.common[from][to] > 0).map(|&to| (from, to))
        });
        let (from, to) = pair?;
        let movable = self.held[from].iter().rev().find(|held| self.wants(to, held.partition));
        movable.map(|held| (from, to, held.partition))
    }

    /// What a member may have now: what is its own already, or was nobody's.
    fn settled(&self, member: Place) -> Vec<TopicPartition> {
        let free = self.held[member].iter().filter(|held| !held.new || !self.claims.contains_key(&held.partition));
        free.map(|held| TopicPartition::new(self.topics[held.partition.topic].name.clone(), held.partition.number))
            .collect()
    }
}

#[cfg(test)]
mod tests;
